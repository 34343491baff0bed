package projection

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Lists have at most maxPage rows a page; a limit of 0 asks for defaultPage.
const (
	defaultPage = 50
	maxPage     = 1000
	// examine is how many entries one snapshot looks at, so that a filter that
	// matches little does not hold one open for long.
	examine = 4096
)

func pageLimit(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return min(n, maxPage)
}

// Filter says which runs of a namespace a list has: those that match every field that
// is set.
type Filter struct {
	Namespace event.Namespace
	Status    run.Status
	// Workflow matches as names do: letter case, - and _ alike, unless several
	// registered names do; see Resolve.
	Workflow string
	Labels   map[string]string
}

func (v *Views) labelRing() *crypt.Ring {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.store == nil {
		return nil
	}
	return v.store.labelRing()
}

// Run returns the row of a run, or ErrNotFound.
func (v *Views) Run(ctx context.Context, id eventlog.RunID) (Row, error) {
	var row Row
	var found bool
	err := v.read(ctx, func(r *reader) (err error) {
		row, found, err = r.row(id)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("run %s: %w", id, ErrNotFound)
	}
	return row, err
}

// Runs returns a page of runs, newest first. next is empty at the end of the
// list, and else the cursor of the next page; a page may be short of limit.
func (v *Views) Runs(ctx context.Context, f Filter, cursor string, limit int) (rows []Row, next string, err error) {
	exact := ""
	if f.Workflow != "" {
		if exact, err = v.filterName(ctx, f.Namespace, f.Workflow); err != nil {
			return nil, "", err
		}
	}
	keys := slices.Sorted(maps.Keys(f.Labels))
	var in []index // in each of which a run is that is wanted
	ring := v.labelRing()
	for _, k := range keys {
		in = append(in, index{bucketByLabel, labelKey(ring, f.Namespace, k, f.Labels[k])})
	}
	switch {
	case f.Workflow != "" && f.Status != "":
		in = append(in, index{bucketByBoth, part(part(of(f.Namespace), sameName(f.Workflow)), string(f.Status))})
	case f.Workflow != "":
		in = append(in, index{bucketByWorkflow, part(of(f.Namespace), sameName(f.Workflow))})
	case f.Status != "":
		in = append(in, index{bucketByStatus, statusKey(f.Status, f.Namespace)})
	case len(in) == 0:
		in = append(in, index{bucketAll, of(f.Namespace)})
	}
	list := fmt.Sprintf("runs %s %q %q", f.Namespace, f.Status, f.Workflow)
	for _, k := range keys {
		list += fmt.Sprintf(" %q=%q", k, f.Labels[k])
	}
	keep := func(row *Row) bool {
		for k, val := range f.Labels {
			if have, ok := row.Labels[k]; !ok || have != val {
				return false
			}
		}
		return (f.Status == "" || row.Status == f.Status) &&
			(f.Workflow == "" || sameName(row.Workflow) == sameName(f.Workflow)) && (exact == "" || row.Workflow == exact)
	}
	return pagesOf(ctx, v, list, in, cursor, limit, func(r *reader, key, value []byte) (row Row, ok bool, err error) {
		if row, err = r.indexed(in[0].bucket, key, value); err != nil {
			return row, false, err
		}
		return row, keep(&row), nil
	})
}

// ByStatus returns a page of the runs of one status in all namespaces, one after the
// other: the live ones, say, of an engine that starts.
func (v *Views) ByStatus(ctx context.Context, s run.Status, cursor string, limit int) (rows []Row, next string, err error) {
	return v.everywhere(ctx, bucketByStatus, part(nil, string(s)), cursor, limit)
}

// AllRuns returns a page of the runs of all namespaces, one after the other, newest
// first in each.
func (v *Views) AllRuns(ctx context.Context, cursor string, limit int) (rows []Row, next string, err error) {
	return v.everywhere(ctx, bucketAll, nil, cursor, limit)
}

func (v *Views) everywhere(ctx context.Context, bucket string, prefix []byte, cursor string, limit int) ([]Row, string, error) {
	return pages(ctx, v, fmt.Sprintf("%s %q", bucket, prefix), bucket, prefix, cursor, limit, func(r *reader, key, value []byte) (Row, bool, error) {
		row, err := r.indexed(bucket, key, value)
		return row, true, err
	})
}

// Children returns a page of the runs whose parent is run, oldest first.
func (v *Views) Children(ctx context.Context, parent eventlog.RunID, cursor string, limit int) (rows []Row, next string, err error) {
	return pages(ctx, v, "children "+parent.String(), bucketChildren, parent[:], cursor, limit,
		func(r *reader, key, value []byte) (Row, bool, error) {
			row, err := r.indexed(bucketChildren, key, value)
			return row, true, err
		})
}

// Forks returns a page of the runs that branched off run, oldest first.
func (v *Views) Forks(ctx context.Context, run eventlog.RunID, cursor string, limit int) (rows []Row, next string, err error) {
	return pages(ctx, v, "forks "+run.String(), bucketForks, run[:], cursor, limit,
		func(r *reader, key, value []byte) (Row, bool, error) {
			row, err := r.indexed(bucketForks, key, value)
			return row, true, err
		})
}

// Totals returns the number of runs of a namespace by status.
func (v *Views) Totals(ctx context.Context, n event.Namespace) (map[run.Status]int, error) {
	all, err := v.AllTotals(ctx)
	if all[n] == nil {
		return map[run.Status]int{}, err
	}
	return all[n], err
}

// AllTotals returns the number of runs by status of each namespace that has any.
func (v *Views) AllTotals(ctx context.Context) (map[event.Namespace]map[run.Status]int, error) {
	var totals map[event.Namespace]map[run.Status]int
	err := v.read(ctx, func(r *reader) error {
		totals = map[event.Namespace]map[run.Status]int{}
		return r.scan(bucketTotals, nil, nil, func(key, value []byte) (bool, error) {
			k, d := decoder{b: key}, decoder{b: value}
			n := event.Namespace(k.str())
			if totals[n] == nil {
				totals[n] = map[run.Status]int{}
			}
			totals[n][run.Status(k.b)] = int(d.uint())
			if k.bad {
				return false, damaged("the number of runs of a namespace")
			}
			return true, d.done()
		})
	})
	return totals, err
}

func (r *reader) row(id eventlog.RunID) (Row, bool, error) {
	b, err := r.get(bucketRuns, id[:])
	if b == nil || err != nil {
		return Row{}, false, err
	}
	row, err := decodeRow(id, b)
	if err != nil {
		return row, false, damaged("run %s: %v", id, err)
	}
	return row, true, nil
}

// indexed returns the row that an index entry leads to.
func (r *reader) indexed(bucket string, key, value []byte) (Row, error) {
	if len(value) != len(eventlog.RunID{}) || len(key) < 8 {
		return Row{}, damaged("an entry of bucket %s has no run", bucket)
	}
	id := eventlog.RunID(value)
	row, ok, err := r.row(id)
	if err != nil {
		return row, err
	}
	seq := ^binary.BigEndian.Uint64(key[len(key)-8:])
	if bucket == bucketChildren || bucket == bucketForks {
		seq = ^seq
	}
	if !ok || uint64(row.CreatedSeq) != seq {
		return row, damaged("an entry of bucket %s leads to run %s, which is not there", bucket, id)
	}
	return row, nil
}

// pages reads one page of the entries of bucket with prefix, in key order: the
// items that pick makes of them. It looks at a bounded number of entries per
// snapshot and goes on in another.
func pages[T any](ctx context.Context, v *Views, list, bucket string, prefix []byte, cursor string, limit int,
	pick func(r *reader, key, value []byte) (item T, ok bool, err error),
) (items []T, next string, err error) {
	return pagesOf(ctx, v, list, []index{{bucket, prefix}}, cursor, limit, pick)
}

// pagesOf is pages of what is in several indexes at once; keys and values are of the first.
func pagesOf[T any](ctx context.Context, v *Views, list string, in []index, cursor string, limit int,
	pick func(r *reader, key, value []byte) (item T, ok bool, err error),
) (items []T, next string, err error) {
	prefix := in[0].prefix
	limit = pageLimit(limit)
	from, err := after(list, cursor, prefix)
	if err != nil {
		return nil, "", err
	}
	items = []T{} // a list without items is [] in JSON
	for {
		var got []T
		var last []byte // the last key looked at
		more := false
		err := v.read(ctx, func(r *reader) error {
			got, last, more = nil, nil, false
			seen := 0
			return r.meet(in, from, func(key, value []byte) (bool, error) {
				if seen == examine || len(items)+len(got) == limit {
					more = true
					return false, nil
				}
				seen++
				last = append(last[:0], key...)
				if value == nil {
					return true, nil
				}
				item, ok, err := pick(r, key, value)
				if ok && err == nil {
					got = append(got, item)
				}
				return true, err
			})
		})
		if err != nil {
			return nil, "", err
		}
		items = append(items, got...)
		if !more {
			return items, "", nil
		}
		if len(items) == limit {
			return items, makeCursor(list, last[len(prefix):]), nil
		}
		from = append(last, 0)
	}
}
