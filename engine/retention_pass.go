package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

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
	sums := map[asked]*reckoned{}
	now := p.e.now()
	for cursor := ""; ; {
		rows, next, err := p.e.views.AllRuns(ctx, cursor, 1000)
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
func (p *pass) consider(ctx context.Context, row projection.Row, sums map[asked]*reckoned, now event.Time) error {
	policy := p.policy.of(labelOf(row.Namespace, row.Workflow))
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
	of := asked{namespace: row.Namespace, name: row.Workflow}
	s := sums[of]
	if s == nil {
		s = &reckoned{}
		sums[of] = s
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
	p.done.note(labelOf(root.Namespace, root.Workflow), by, bytes)
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
