package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// Report is what playing runs through a definition gave.
type Report struct {
	Workflow  string `json:"workflow"`
	Hash      string `json:"hash"`
	Runs      int    `json:"runs"`
	Same      int    `json:"same"`
	Elsewhere int    `json:"elsewhere"`
	Unknown   int    `json:"unknown"` // could not be played
	// Groups are the runs that would go elsewhere by reason, the largest first.
	Groups []Group `json:"groups"`
	// Changed names nodes that ask for other work than in the definition of some
	// run. What they had answered is taken as what they would answer.
	Changed []string `json:"changed,omitempty"`
}

// Group are runs that would go elsewhere for the same reason.
type Group struct {
	What    string           `json:"what"`
	Reason  string           `json:"reason"`
	Node    string           `json:"node,omitempty"`
	Runs    int              `json:"runs"`
	IDs     []eventlog.RunID `json:"ids"`
	Example Outcome          `json:"example"` // the first of them
}

// WhatIf plays the recorded results of runs through a definition, several runs at
// once, and reports which would have gone elsewhere. Nothing is executed. The
// report does not depend on the order in which runs are played. done, if not nil,
// is called after each run, by several goroutines.
func WhatIf(ctx context.Context, log eventlog.Log, defs Definitions, w *workflow.Workflow, ids []eventlog.RunID, done func()) (Report, error) {
	outcomes := make([]*Outcome, len(ids))
	changed := make([][]string, len(ids))
	errs := make([]error, len(ids))
	var next atomic.Int64
	var wg sync.WaitGroup
	memo := &changedBy{w: w, defs: defs, known: map[string][]string{}}
	for range min(runtime.GOMAXPROCS(0), len(ids)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) || ctx.Err() != nil {
					return
				}
				outcomes[i], changed[i], errs[i] = whatIf(log, defs, w, ids[i], memo)
				if done != nil {
					done()
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(ctx.Err(), errors.Join(errs...)); err != nil {
		return Report{}, err
	}
	r := Report{Workflow: w.Name, Hash: w.Hash.String(), Runs: len(ids), Groups: []Group{}}
	names := map[string]bool{}
	groups := map[string]*Group{}
	for i, o := range outcomes {
		for _, n := range changed[i] {
			names[n] = true
		}
		r.add(groups, o, ids[i])
	}
	r.Changed = slices.Sorted(maps.Keys(names))
	r.group(groups)
	return r, nil
}

func (r *Report) add(groups map[string]*Group, o *Outcome, id eventlog.RunID) {
	switch {
	case o == nil:
		r.Same++
		return
	case o.What == WhatUnknown:
		r.Unknown++
	default:
		r.Elsewhere++
	}
	key := o.What + "\x00" + o.Reason
	g := groups[key]
	if g == nil {
		g = &Group{What: o.What, Reason: o.Reason, Node: o.Node, Example: *o}
		groups[key] = g
	}
	g.Runs++
	g.IDs = append(g.IDs, id)
}

func (r *Report) group(groups map[string]*Group) {
	for _, g := range groups {
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Runs, a.Runs), cmp.Compare(a.What, b.What), cmp.Compare(a.Reason, b.Reason))
	})
}

// Merge adds the report of other runs, played through the same definition.
func (r *Report) Merge(o Report) {
	groups := map[string]*Group{}
	for _, g := range append(r.Groups, o.Groups...) {
		key := g.What + "\x00" + g.Reason
		if have := groups[key]; have != nil {
			have.Runs += g.Runs
			have.IDs = append(have.IDs, g.IDs...)
			continue
		}
		groups[key] = &g
	}
	r.Workflow, r.Hash = o.Workflow, o.Hash
	r.Runs, r.Same, r.Elsewhere, r.Unknown = r.Runs+o.Runs, r.Same+o.Same, r.Elsewhere+o.Elsewhere, r.Unknown+o.Unknown
	r.Groups = []Group{}
	r.group(groups)
	for _, n := range o.Changed {
		if !slices.Contains(r.Changed, n) {
			r.Changed = append(r.Changed, n)
		}
	}
	slices.Sort(r.Changed)
}

// whatIf plays one run. No outcome: it goes the same way.
func whatIf(log eventlog.Log, defs Definitions, w *workflow.Workflow, id eventlog.RunID, memo *changedBy) (*Outcome, []string, error) {
	rec, err := recordingOf(log, id, defs)
	if errors.Is(err, errUnplayable) {
		reason := "cannot be played"
		if errors.Is(err, ErrErased) {
			reason += ": payloads were erased"
		}
		return &Outcome{Run: id, What: WhatUnknown, Reason: reason, Why: err.Error()}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("run %s: %w", id, err)
	}
	if len(rec.facts) == 0 {
		return nil, nil, fmt.Errorf("%w: run %s", run.ErrNotFound, id)
	}
	changed, err := memo.of(rec.s.Hash)
	if err != nil {
		return nil, nil, err
	}
	p, err := play(w, rec)
	switch {
	case refused(err) && p.s.Version == 0:
		o := &Outcome{
			Run: id, What: WhatInput, Reason: "does not begin: its input no longer fits", Why: err.Error(),
			Status: rec.s.Status, Played: string(run.Pending),
		}
		if rec.s.Origin != nil {
			o.What, o.Reason = WhatFork, "cannot begin where it was forked"
		}
		return o, changed, nil
	case err != nil:
		return &Outcome{Run: id, What: WhatUnknown, Reason: "cannot be played", Why: err.Error(), Status: rec.s.Status, Played: "stopped"}, changed, nil
	}
	if o, ok := outcomeOf(p); ok {
		return &o, changed, nil
	}
	return nil, changed, nil
}

// changedBy remembers, by the hash of the definition that runs had, which nodes
// changed.
type changedBy struct {
	w     *workflow.Workflow
	defs  Definitions
	mu    sync.Mutex
	known map[string][]string
}

func (c *changedBy) of(hash string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ids, ok := c.known[hash]; ok {
		return ids, nil
	}
	old, err := c.defs.ByHash(hash)
	switch {
	case errors.Is(err, ErrNoDefinition):
		c.known[hash] = nil
	case err != nil:
		return nil, err
	default:
		c.known[hash] = changedNodes(old, c.w)
	}
	return c.known[hash], nil
}
