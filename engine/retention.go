package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Retention says how long the payloads of ended runs stay in the log. Events and
// hashes stay for good, and with them every proof.
type Retention struct {
	Default   Policy            `json:"default"`
	Workflows map[string]Policy `json:"workflows,omitempty"` // instead of Default, by name to the letter
	// Every is how often the compactor looks. Default: an hour.
	Every time.Duration `json:"-"`
	// MinBytes is how much there must be to gain before it does something by
	// itself: a segment is written anew for it. Default: 16 MiB.
	MinBytes int64 `json:"-"`
}

// Policy keeps the payloads of an ended run as long as none of its limits is
// passed; 0 is no limit. A run goes with all runs under it, and stays while it has
// the label "hold".
type Policy struct {
	After time.Duration `json:"after,omitempty"` // since its end
	Runs  int           `json:"runs,omitempty"`  // ended runs of the workflow that keep their payloads, the newest
	Bytes int64         `json:"bytes,omitempty"` // of payloads of ended runs of the workflow, the newest
	// Drop drops payloads instead of moving them to an archive.
	Drop bool `json:"drop,omitempty"`
	// DropAfter drops payloads from the archives, that long after they came there.
	DropAfter time.Duration `json:"drop_after,omitempty"`
}

// HoldLabel keeps a run from retention, with any value.
const HoldLabel = "hold"

func (p Policy) limits() bool { return p.After > 0 || p.Runs > 0 || p.Bytes > 0 }

// any reports whether a policy has anything to do.
func (r *Retention) any() bool {
	if r.Default.limits() || r.Default.DropAfter > 0 {
		return true
	}
	for _, p := range r.Workflows {
		if p.limits() || p.DropAfter > 0 {
			return true
		}
	}
	return false
}

func (r *Retention) of(workflow string) Policy {
	if p, ok := r.Workflows[workflow]; ok {
		return p
	}
	return r.Default
}

// Bounds of one pass of retention over the log, so that it takes little memory.
const (
	passRuns      = 10_000
	passEvents    = 1_000_000
	archiveEvents = 200_000 // of one archive
)

// Compaction is what retention did, or would do.
type Compaction struct {
	Policy   bool  `json:"policy"`   // there is one
	Runs     int   `json:"runs"`     // whose payloads go from the log
	Archived int   `json:"archived"` // of these, to an archive
	Dropped  int   `json:"dropped"`  // runs whose payloads are dropped, archived ones included
	Bytes    int64 `json:"bytes"`    // of these payloads
	// Freed is by how many bytes the log's files have become smaller, archives not
	// counted.
	Freed      int64 `json:"freed"`
	ViewsFreed int64 `json:"views_freed"`
	Segments   int   `json:"segments"` // that were written anew
	// Workflows says of each what goes, and by which limit.
	Workflows map[string]*CompactedWorkflow `json:"workflows,omitempty"`
}

// CompactedWorkflow is a workflow's part in a Compaction.
type CompactedWorkflow struct {
	Runs  int            `json:"runs"`
	Bytes int64          `json:"bytes"`
	By    map[string]int `json:"by"` // runs, by the limit they passed: after, runs, bytes, drop_after
}

func (c *Compaction) note(workflow, by string, bytes int64) {
	if c.Workflows == nil {
		c.Workflows = map[string]*CompactedWorkflow{}
	}
	w := c.Workflows[workflow]
	if w == nil {
		w = &CompactedWorkflow{By: map[string]int{}}
		c.Workflows[workflow] = w
	}
	w.Runs++
	w.Bytes += bytes
	w.By[by]++
}

// retain looks now and then until ctx ends.
func (c *compactor) retain(ctx context.Context) {
	r := c.e.opt.Retention
	if c.e.erasures.log == nil || !r.any() {
		return
	}
	for wait := min(r.Every, time.Minute); ; wait = r.Every {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		plan, err := c.e.retainNow(ctx, &r, true)
		if err == nil && plan.Bytes >= r.MinBytes {
			began := time.Now()
			plan, err = c.e.retainNow(ctx, &r, false)
			if err == nil {
				c.e.slog.Info("retention has moved payloads out of the log", "runs", plan.Runs, "archived", plan.Archived,
					"dropped", plan.Dropped, "freed", plan.Freed, "took", time.Since(began).Round(time.Millisecond))
			}
		}
		if err != nil && ctx.Err() == nil {
			c.e.slog.Error("retention failed; it tries again", "error", err)
		}
	}
}

// Compact lets retention do now what it would do by and by, or with dry only say
// what that is. A policy takes the place of the engine's own. Files that nothing
// refers to go, too, and the views are written anew.
func (e *Engine) Compact(ctx context.Context, policy *Retention, dry bool) (Compaction, error) {
	if policy == nil {
		policy = &e.opt.Retention
	}
	done, err := e.retainNow(ctx, policy, dry)
	if err != nil || dry {
		return done, err
	}
	if _, err := e.erasures.log.Sweep(); err != nil {
		return done, err
	}
	before, err := e.views.Size()
	if err == nil {
		err = e.views.Scrub(ctx)
	}
	if err != nil {
		return done, err
	}
	after, err := e.views.Size()
	done.ViewsFreed = max(before-after, 0)
	return done, err
}

// retainNow makes one pass of retention.
func (e *Engine) retainNow(ctx context.Context, policy *Retention, dry bool) (Compaction, error) {
	done := Compaction{Policy: policy.any()}
	if e.erasures.log == nil {
		return done, fmt.Errorf("%w: this log cannot erase", ErrUnsupported)
	}
	if !dry {
		if err := e.accepting(false); err != nil {
			return done, err
		}
		if err := e.erasures.resume(ctx); err != nil {
			return done, fmt.Errorf("an earlier erasure: %w", err)
		}
		e.erasures.mu.Lock()
		defer e.erasures.mu.Unlock()
	}
	p := pass{e: e, policy: policy, dry: dry, done: &done}
	defer p.release()
	if err := p.choose(ctx); err != nil {
		return done, err
	}
	return done, p.carryOut(ctx)
}

// A pass collects what retention takes, and carries it out in portions.
type pass struct {
	e      *Engine
	policy *Retention
	dry    bool
	done   *Compaction

	archive, drop []tree
	events        int
}

// tree is a run with those under it that is to go as one.
type tree []projection.Row

// reckoned is what a workflow's newer ended runs amount to.
type reckoned struct {
	runs  int
	bytes int64
}

// choose goes through all runs, the newest first.
func (p *pass) choose(ctx context.Context) error {
	sums := map[string]*reckoned{}
	now := p.e.now()
	for cursor := ""; ; {
		rows, next, err := p.e.views.Runs(ctx, projection.Filter{}, cursor, 1000)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.Parent != nil || !row.Status.Terminal() || row.Erased == projection.ErasedByPerson || row.Erased == projection.ErasedDropped {
				continue
			}
			if err := p.consider(ctx, row, sums, now); err != nil {
				return err
			}
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// consider decides about one run.
func (p *pass) consider(ctx context.Context, row projection.Row, sums map[string]*reckoned, now event.Time) error {
	policy := p.policy.of(row.Workflow)
	age := now.Std().Sub(row.Ended.Std())
	if row.Erased == projection.ErasedArchived {
		if policy.DropAfter <= 0 || age < policy.DropAfter+policy.After {
			return nil
		}
		return p.take(ctx, row, "drop_after", true)
	}
	if !policy.limits() {
		return nil
	}
	if _, held := row.Labels[HoldLabel]; held {
		return nil
	}
	s := sums[row.Workflow]
	if s == nil {
		s = &reckoned{}
		sums[row.Workflow] = s
	}
	s.runs++
	s.bytes += row.Bytes
	switch {
	case policy.After > 0 && age >= policy.After:
		return p.take(ctx, row, "after", policy.Drop)
	case policy.Runs > 0 && s.runs > policy.Runs:
		return p.take(ctx, row, "runs", policy.Drop)
	case policy.Bytes > 0 && s.bytes > policy.Bytes:
		return p.take(ctx, row, "bytes", policy.Drop)
	}
	return nil
}

// take takes a run with all under it, unless somebody needs it as it is.
func (p *pass) take(ctx context.Context, root projection.Row, by string, drop bool) error {
	rows, err := p.e.tree(ctx, root)
	if err != nil {
		return err
	}
	var bytes int64
	for _, row := range rows {
		if !row.Status.Terminal() {
			return nil
		}
		if drop {
			var forks Erasure
			if err := p.e.forksOf(ctx, row.ID, &forks); err != nil {
				return nil // a fork that is not at its end reads its past here
			}
		}
		bytes += row.Bytes
		p.events += int(row.Version)
	}
	if !p.dry {
		held, err := p.e.erasures.hold(ctx, rows)
		if err != nil || !held {
			return err // it moved: the next pass looks again
		}
	}
	p.done.note(root.Workflow, by, bytes)
	p.done.Runs += len(rows)
	p.done.Bytes += bytes
	if drop {
		p.done.Dropped += len(rows)
		p.drop = append(p.drop, rows)
	} else {
		p.done.Archived += len(rows)
		p.archive = append(p.archive, rows)
	}
	if p.dry {
		p.archive, p.drop = nil, nil
		return nil
	}
	if len(p.archive)+len(p.drop) < passRuns && p.events < passEvents {
		return nil
	}
	return p.carryOut(ctx)
}

// carryOut archives and drops what was collected.
func (p *pass) carryOut(ctx context.Context) error {
	if p.dry || len(p.archive)+len(p.drop) == 0 {
		return nil
	}
	var orders []ordered
	for part := range portions(p.archive) {
		o, err := p.order(ctx, part, true)
		if err != nil {
			return err
		}
		orders = append(orders, o...)
	}
	for part := range portions(p.drop) {
		o, err := p.order(ctx, part, false)
		if err != nil {
			return err
		}
		orders = append(orders, o...)
	}
	freed, err := p.e.erasures.carryOut(ctx, orders)
	p.release()
	p.done.Freed += freed.Bytes
	p.done.Segments += freed.Segments
	return err
}

// release lets go of the runs that were collected.
func (p *pass) release() {
	for _, rows := range slices.Concat(p.archive, p.drop) {
		p.e.erasures.release(rows)
	}
	p.archive, p.drop, p.events = nil, nil, 0
}

// portions yields what makes one archive: the runs of a few trees.
func portions(trees []tree) func(func([]projection.Row) bool) {
	return func(yield func([]projection.Row) bool) {
		var rows []projection.Row
		events := 0
		for _, t := range trees {
			for _, row := range t {
				rows = append(rows, row)
				events += int(row.Version)
			}
			if events >= archiveEvents {
				if !yield(rows) {
					return
				}
				rows, events = nil, 0
			}
		}
		if len(rows) > 0 {
			yield(rows)
		}
	}
}

// order writes an archive of the runs, if they are not to be dropped, and the
// events that say what is to go.
func (p *pass) order(ctx context.Context, rows []projection.Row, archive bool) ([]ordered, error) {
	// In the order of the log, so that the archive is written in one pass over it.
	slices.SortFunc(rows, func(a, b projection.Row) int { return int(a.CreatedSeq) - int(b.CreatedSeq) })
	say := event.PayloadErased{Scope: event.ScopeRetention, Reason: "retention: payloads are dropped"}
	if archive {
		spans := make([]eventlog.Span, len(rows))
		for i, row := range rows {
			spans[i] = eventlog.Span{Run: row.ID, From: 1, To: row.Version}
		}
		a, err := p.e.erasures.log.WriteArchive(ctx, spans)
		if err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
		say.Archive, say.Reason = a.ID.String(), "retention: payloads are archived"
	}
	var targets []event.ErasedSpan
	for _, row := range rows {
		l, err := p.e.erasures.lose(ctx, row.ID, say.Rest(), func(v eventlog.Version) bool { return v <= row.Version })
		if err != nil {
			return nil, err
		}
		targets = append(targets, l.targets...)
	}
	var orders []ordered
	for part := range slices.Chunk(targets, maxTargets) {
		one := say
		one.Targets = part
		o, err := p.e.erasures.order(ctx, &one, system)
		if err != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		orders = append(orders, o)
	}
	return orders, nil
}

// DiskUsage is what the data directory takes, and what of it can go.
type DiskUsage struct {
	eventlog.Usage
	Views int64 `json:"views"`
	// Workflows says how many bytes of payload the runs of each have.
	Workflows map[string]*WorkflowUsage `json:"workflows"`
}

// WorkflowUsage is the part of a workflow.
type WorkflowUsage struct {
	Runs     int   `json:"runs"`
	Live     int   `json:"live"`     // of these, not at their end
	Archived int   `json:"archived"` // of these, with payloads in an archive
	Erased   int   `json:"erased"`   // of these, without payloads
	Events   int64 `json:"events"`
	Bytes    int64 `json:"bytes"` // of payloads in the log
}

// Usage says what takes how much room. It looks at every run.
func (e *Engine) Usage(ctx context.Context) (u DiskUsage, err error) {
	if log := e.erasures.log; log != nil {
		if u.Usage, err = log.Usage(); err != nil {
			return u, err
		}
	}
	if u.Views, err = e.views.Size(); err != nil {
		return u, err
	}
	u.Workflows = map[string]*WorkflowUsage{}
	for cursor := ""; ; {
		rows, next, err := e.views.Runs(ctx, projection.Filter{}, cursor, 1000)
		if err != nil {
			return u, err
		}
		for _, row := range rows {
			w := u.Workflows[row.Workflow]
			if w == nil {
				w = &WorkflowUsage{}
				u.Workflows[row.Workflow] = w
			}
			w.add(&row)
		}
		if cursor = next; cursor == "" {
			return u, nil
		}
	}
}

func (w *WorkflowUsage) add(row *projection.Row) {
	w.Runs++
	w.Events += int64(row.Version)
	w.Bytes += row.Bytes
	if !row.Status.Terminal() {
		w.Live++
	}
	switch row.Erased {
	case projection.ErasedArchived:
		w.Archived++
	case projection.ErasedByPerson, projection.ErasedDropped:
		w.Erased++
	}
}
