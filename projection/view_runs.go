package projection

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Buckets of the runs. Keys of indexes end in the sequence number at which the
// run was created, inverted, so that the newest comes first; their value is the
// run's ID.
const (
	bucketRuns       = "runs"          // run → row
	bucketAll        = "runs.all"      // namespace, seq
	bucketByStatus   = "runs.status"   // status, namespace, seq
	bucketByWorkflow = "runs.workflow" // namespace, workflow, seq
	bucketByBoth     = "runs.both"     // namespace, workflow, status, seq
	bucketByLabel    = "runs.label"    // namespace, key, value, seq; see labelKey
	bucketChildren   = "runs.children" // parent, seq (not inverted)
	bucketForks      = "runs.forks"    // run it branched off, seq (not inverted)
	bucketTotals     = "runs.totals"   // namespace, status → number of runs
)

// runsView keeps a row per run and its indexes.
type runsView struct{}

func (runsView) name() string { return "runs" }
func (runsView) version() int { return 5 }
func (runsView) buckets() []string {
	return []string{
		bucketRuns, bucketAll, bucketByStatus, bucketByWorkflow, bucketByBoth, bucketByLabel, bucketChildren,
		bucketForks, bucketTotals,
	}
}

func (runsView) begin(w *writer) fold {
	return &runsFold{w: w, rows: map[eventlog.RunID]*rowChange{}}
}

type runsFold struct {
	w    *writer
	rows map[eventlog.RunID]*rowChange
}

// rowChange is a row as it was before the batch and as it is now.
type rowChange struct {
	raw      []byte // of old; nil: the run is new
	old, row Row
}

func (f *runsFold) apply(e *fact) error {
	if e.Kind == event.KindPayloadErased {
		return f.erased(e)
	}
	if e.Kind == 0 && (e.Run.IsZero() || e.Run.IsSystem()) {
		return errCut
	}
	if e.Run.IsSystem() {
		return nil
	}
	c, err := f.change(e.Run)
	if err != nil {
		return err
	}
	switch {
	case e.Kind == 0 && c.row.Version > 0 && c.row.Damaged == 0:
		c.row.Damaged = e.Seq
		return errCut
	case e.Kind == 0, c.row.Damaged > 0, f.w.holes && c.row.Version == 0 && e.Version > 1:
		return errCut
	case f.w.holes && e.Version > c.row.Version+1:
		c.row.Damaged = e.Seq
		return errCut
	case e.Version != c.row.Version+1:
		return damaged("the row of run %s is at version %d, version %d is next", e.Run, c.row.Version, e.Version)
	}
	return c.row.apply(e)
}

// change returns the row of a run, to be changed.
func (f *runsFold) change(id eventlog.RunID) (*rowChange, error) {
	if c := f.rows[id]; c != nil {
		return c, nil
	}
	c := &rowChange{}
	raw, err := f.w.get(bucketRuns, id[:])
	if err != nil {
		return nil, err
	}
	if raw != nil {
		if c.row, err = decodeRow(id, raw); err != nil {
			return nil, damaged("run %s: %v", id, err)
		}
		// The slices and maps of old are shared with row, which replaces them or, in
		// the case of marks, is compared by no index.
		c.raw, c.old = raw, c.row
	}
	f.rows[id] = c
	return c, nil
}

func (f *runsFold) erased(e *fact) error {
	return onErased(e, func(p *event.PayloadErased, t *event.ErasedSpan) error {
		c, err := f.change(t.Run)
		if err == nil && c.row.Version > 0 {
			c.row.erased(p, t)
		}
		return err
	})
}

// onErased calls do for every run that a payload.erased is about. Other systems'
// streams have no rows.
func onErased(e *fact, do func(*event.PayloadErased, *event.ErasedSpan) error) error {
	if e.Run != Erasures {
		return nil
	}
	return try(e, func(p *event.PayloadErased) error {
		for i := range p.Targets {
			if t := &p.Targets[i]; !t.Run.IsSystem() {
				if err := do(p, t); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (f *runsFold) finish() error {
	totals := map[string]int64{} // by key
	var out []entry
	for _, id := range slices.SortedFunc(maps.Keys(f.rows), func(a, b eventlog.RunID) int { return bytes.Compare(a[:], b[:]) }) {
		c := f.rows[id]
		if c.row.Version == 0 {
			continue // erased, and never there
		}
		if err := f.w.set(bucketRuns, id[:], c.raw, encodeRow(&c.row)); err != nil {
			return err
		}
		if c.raw == nil {
			for _, k := range f.w.store.indexKeys(&c.row) {
				out = append(out, entry{k.bucket, k.key, nil, id[:]})
			}
			totals[totalKey(&c.row)]++
			continue
		}
		if c.old.Status != c.row.Status {
			totals[totalKey(&c.old)]--
			totals[totalKey(&c.row)]++
		}
		out = append(out, f.w.store.moved(&c.old, &c.row, id[:])...)
	}
	if err := f.w.setAll(out); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(totals)) {
		old, err := f.w.get(bucketTotals, []byte(k))
		if err != nil {
			return err
		}
		d := decoder{b: old}
		var n int64
		if old != nil {
			n = int64(d.uint())
		}
		n += totals[k]
		var to []byte
		if n != 0 {
			to = binary.AppendUvarint(nil, uint64(n))
		}
		if old == nil && to == nil {
			continue
		}
		if err := f.w.set(bucketTotals, []byte(k), old, to); err != nil {
			return err
		}
	}
	return nil
}

type indexKey struct {
	bucket string
	key    []byte
}

// key is empty, and has room for what most keys of an index are.
func key() []byte { return make([]byte, 0, 64) }

// of begins a key with a namespace.
func of(n event.Namespace) []byte { return part(key(), string(n)) }

func totalKey(r *Row) string { return string(append(of(r.Namespace), r.Status...)) }

// indexKeys is where r stands in the indexes.
func (s *store) indexKeys(r *Row) []indexKey {
	byStatus, byBoth := statusKeys(r)
	keys := []indexKey{
		{bucketAll, newest(of(r.Namespace), r.CreatedSeq)},
		byStatus,
		{bucketByWorkflow, newest(part(of(r.Namespace), sameName(r.Workflow)), r.CreatedSeq)},
		byBoth,
	}
	for k, v := range r.Labels {
		keys = append(keys, indexKey{bucketByLabel, newest(labelKey(s.labelRing(), r.Namespace, k, v), r.CreatedSeq)})
	}
	if r.Parent != nil {
		keys = append(keys, indexKey{bucketChildren, runKey(r.Parent.Run, r.CreatedSeq)})
	}
	if !r.From.IsZero() {
		keys = append(keys, indexKey{bucketForks, runKey(r.From, r.CreatedSeq)})
	}
	return keys
}

// statusKeys is where r stands in the indexes that begin with its status, or end with it.
func statusKeys(r *Row) (byStatus, byBoth indexKey) {
	return indexKey{bucketByStatus, newest(statusKey(r.Status, r.Namespace), r.CreatedSeq)},
		indexKey{bucketByBoth, newest(part(part(of(r.Namespace), sameName(r.Workflow)), string(r.Status)), r.CreatedSeq)}
}

// labelRing is what hides labels in keys, nil if nothing does.
func (s *store) labelRing() *crypt.Ring {
	if !s.sealed {
		return nil
	}
	return s.ring
}

// labelKey begins the key of a label. Labels are content: where rows are sealed their keys
// have a tag in its place.
func labelKey(ring *crypt.Ring, n event.Namespace, k, v string) []byte {
	if ring == nil {
		return part(part(of(n), k), v)
	}
	tag := ring.Tag("label", []byte(k), []byte(v))
	return append(of(n), tag[:16]...)
}

// statusKey begins with the status: those who look after runs do so in every namespace.
func statusKey(s run.Status, n event.Namespace) []byte {
	return part(part(key(), string(s)), string(n))
}

func runKey(id eventlog.RunID, seq eventlog.Seq) []byte {
	return binary.BigEndian.AppendUint64(id[:len(id):len(id)], uint64(seq))
}

// moved returns what changes in the indexes when a row does. Of what they hold
// an event after run.created changes the status alone, and an erasure the labels.
func (s *store) moved(old, row *Row, id []byte) []entry {
	if old.Status == row.Status && old.Workflow == row.Workflow && len(old.Labels) == len(row.Labels) {
		return nil
	}
	if old.Workflow == row.Workflow && len(old.Labels) == len(row.Labels) {
		wasBy, wasBoth := statusKeys(old)
		isBy, isBoth := statusKeys(row)
		return []entry{
			{wasBy.bucket, wasBy.key, id, nil}, {wasBoth.bucket, wasBoth.key, id, nil},
			{isBy.bucket, isBy.key, nil, id}, {isBoth.bucket, isBoth.key, nil, id},
		}
	}
	var out []entry
	was := s.indexKeys(old)
	is := s.indexKeys(row)
	has := func(list []indexKey, k indexKey) bool {
		return slices.ContainsFunc(list, func(o indexKey) bool { return o.bucket == k.bucket && bytes.Equal(o.key, k.key) })
	}
	for _, k := range was {
		if !has(is, k) {
			out = append(out, entry{k.bucket, k.key, id, nil})
		}
	}
	for _, k := range is {
		if !has(was, k) {
			out = append(out, entry{k.bucket, k.key, nil, id})
		}
	}
	return out
}
