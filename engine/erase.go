package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// EraseRequest says what is to be erased: a run and all under it, or a payload
// wherever it is.
type EraseRequest struct {
	Run eventlog.RunID
	// Payload is the hex SHA-256 of a payload, as blobs are named, or the salted
	// one of a proof or an export.
	Payload string
	Reason  string // why, for the audit; not empty
	DryRun  bool   // only say what would go
}

// Erasure is what was erased, or would be.
type Erasure struct {
	Seq    eventlog.Seq `json:"seq,omitempty"` // of the event that says so; 0 in a dry run
	Runs   []ErasedRun  `json:"runs"`
	Events int          `json:"events"` // that lose their content
	Bytes  int64        `json:"bytes"`  // of their payloads
	// Forks stand on events that are erased; what they wrote themselves stays.
	Forks []eventlog.RunID `json:"forks,omitempty"`
	// Freed is by how many bytes the files have become smaller.
	Freed int64 `json:"freed"`

	held []projection.Row // that take no commands meanwhile
}

// hold keeps commands from a run until the erasure is done.
func (d *Erasure) hold(ctx context.Context, x *erasures, row projection.Row) error {
	rows := []projection.Row{row}
	held, err := x.hold(ctx, rows)
	if err == nil && !held {
		err = fmt.Errorf("%w: run %s has just moved", ErrBusy, row.ID)
	}
	if held {
		d.held = append(d.held, row)
	}
	return err
}

// ErasedRun is the part of one run, or system stream, in an erasure.
type ErasedRun struct {
	ID       string `json:"id"`
	Workflow string `json:"workflow,omitempty"`
	Events   int    `json:"events"`
}

// Erase takes content out of the log for good: out of its segments, blobs, archives
// and views. The events stay, with what their fold rests on and with the hashes by
// which every proof stays valid; an event says who had what erased, and why.
func (e *Engine) Erase(ctx context.Context, r EraseRequest, by By) (Erasure, error) {
	var done Erasure
	if e.erasures.log == nil {
		return done, fmt.Errorf("%w: this log cannot erase", ErrUnsupported)
	}
	if strings.TrimSpace(r.Reason) == "" {
		return done, fmt.Errorf("%w: an erasure needs a reason: it stays in the audit trail", machine.ErrInvalid)
	}
	if err := e.accepting(false); err != nil {
		return done, err
	}
	if err := e.erasures.resume(ctx); err != nil {
		return done, fmt.Errorf("an earlier erasure: %w", err)
	}
	e.erasures.mu.Lock()
	defer e.erasures.mu.Unlock()
	p := &event.PayloadErased{Scope: event.ScopeRun, Reason: r.Reason, Key: by.Key}
	defer func() { e.erasures.release(done.held) }()
	var err error
	if r.Payload != "" {
		p.Scope = event.ScopePayload
		err = e.erasePayload(ctx, r.Payload, p, &done)
	} else {
		err = e.eraseRuns(ctx, r.Run, p, &done)
	}
	if err != nil || r.DryRun {
		return done, err
	}
	var list []ordered
	for targets := range slices.Chunk(p.Targets, maxTargets) {
		part := *p
		part.Targets = targets
		o, err := e.erasures.order(ctx, &part, by.Actor)
		if err != nil {
			return done, err
		}
		done.Seq = o.seq
		list = append(list, o)
	}
	freed, err := e.erasures.carryOut(ctx, list)
	done.Freed = freed.Bytes
	if err != nil {
		return done, fmt.Errorf("the log says that it is erased, and it is not yet: the next start or the next erasure goes on: %w", err)
	}
	return done, nil
}

// eraseRuns finds what is to go of a run and of those under it.
func (e *Engine) eraseRuns(ctx context.Context, id eventlog.RunID, p *event.PayloadErased, done *Erasure) error {
	root, err := e.row(ctx, id)
	if err != nil {
		return err
	}
	if root.Parent != nil {
		parent, err := e.row(ctx, root.Parent.Run)
		if err == nil && parent.Erased != projection.ErasedByPerson {
			return fmt.Errorf("%w: run %s is a child of %s, whose events have its input and its output as well: erase that",
				machine.ErrRefused, id, root.Parent.Run)
		}
	}
	tree, err := e.tree(ctx, root)
	if err != nil {
		return err
	}
	if root.Erased == projection.ErasedByPerson {
		return fmt.Errorf("%w: run %s was erased", machine.ErrRefused, id)
	}
	for _, row := range tree {
		if !row.Status.Terminal() {
			return fmt.Errorf("%w: run %s is %s, and needs its past: cancel it, or wait for its end", machine.ErrRefused, row.ID, row.Status)
		}
		if err := done.hold(ctx, e.erasures, row); err != nil {
			return err
		}
		if err := e.forksOf(ctx, row.ID, done); err != nil {
			return err
		}
		l, err := e.erasures.lose(ctx, row.ID, p.Rest(), func(eventlog.Version) bool { return true })
		if err != nil {
			return err
		}
		done.add(p, l, ErasedRun{ID: row.ID.String(), Workflow: row.Workflow})
	}
	return nil
}

// add adds what a run loses to an erasure, and to the event that says so.
func (d *Erasure) add(p *event.PayloadErased, l loss, of ErasedRun) {
	p.Targets = append(p.Targets, l.targets...)
	of.Events = l.events
	d.Runs = append(d.Runs, of)
	d.Events += l.events
	d.Bytes += l.bytes
}

// row returns the row of a run.
func (e *Engine) row(ctx context.Context, id eventlog.RunID) (projection.Row, error) {
	row, err := e.views.Run(ctx, id)
	if err != nil {
		return row, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return row, nil
}

// tree returns a run and all under it.
func (e *Engine) tree(ctx context.Context, root projection.Row) ([]projection.Row, error) {
	tree := []projection.Row{root}
	for i := 0; i < len(tree); i++ {
		for row, err := range e.childrenOf(ctx, tree[i].ID) {
			if err != nil {
				return nil, err
			}
			tree = append(tree, row)
		}
	}
	return tree, nil
}

// forksOf notes the forks of a run, and of its forks, and refuses if one of them
// is not at its end.
func (e *Engine) forksOf(ctx context.Context, id eventlog.RunID, done *Erasure) error {
	forks := everyRow(func(cursor string) ([]projection.Row, string, error) {
		return e.views.Forks(ctx, id, cursor, recoverPage)
	})
	for row, err := range forks {
		if err != nil {
			return err
		}
		if !row.Status.Terminal() {
			return fmt.Errorf("%w: run %s, which is %s, was forked off %s and needs its past: cancel it, or wait for its end",
				machine.ErrRefused, row.ID, row.Status, id)
		}
		done.Forks = append(done.Forks, row.ID)
		if err := e.forksOf(ctx, row.ID, done); err != nil {
			return err
		}
	}
	return nil
}
