package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Bounds of looking for copies of a payload.
const (
	minCopied   = 16 // bytes of a text that is looked for elsewhere
	maxPatterns = 32 // texts that are looked for, the longest first
)

// found are the events that have what is to be erased.
type found struct {
	in    map[eventlog.RunID]map[eventlog.Version]bool
	order []eventlog.RunID
}

func (f *found) add(id eventlog.RunID, v eventlog.Version) {
	if f.in[id] == nil {
		f.in[id] = map[eventlog.Version]bool{}
		f.order = append(f.order, id)
	}
	f.in[id][v] = true
}

// erasePayload finds the events with a payload, wherever they are, and, in the
// trees of runs that have it, those that say what it says: a result is in the state
// that it was set in, and in the input of a child.
func (e *Engine) erasePayload(ctx context.Context, name string, p *event.PayloadErased, done *Erasure) error {
	var want [32]byte
	if n, err := hex.Decode(want[:], []byte(strings.ToLower(name))); err != nil || n != len(want) {
		return fmt.Errorf("%w: %q is not a hash of 64 hex digits", machine.ErrInvalid, name)
	}
	var texts []string
	f := found{in: map[eventlog.RunID]map[eventlog.Version]bool{}}
	err := e.everyPayload(ctx, func(ev eventlog.Event) error {
		if sha256.Sum256(ev.Payload) != want && ev.PayloadHash() != want {
			return nil
		}
		f.add(ev.Run, ev.Version)
		more, err := event.Content(ev.Kind, ev.Payload)
		texts = append(texts, more...)
		return err
	})
	if err != nil {
		return err
	}
	if len(f.order) == 0 {
		return fmt.Errorf("%w: no event has a payload with the hash %s", ErrNotFound, name)
	}
	if err := e.findCopies(ctx, longest(texts), &f); err != nil {
		return err
	}
	var refused []string
	for _, id := range f.order {
		of, err := e.erasable(ctx, id, f.in[id], done)
		if err != nil {
			refused = append(refused, err.Error())
			continue
		}
		l, err := e.erasures.lose(ctx, id, p.Rest(), func(v eventlog.Version) bool { return f.in[id][v] })
		if err != nil {
			return err
		}
		done.add(p, l, of)
	}
	if len(refused) > 0 {
		return fmt.Errorf("%w: %s", machine.ErrRefused, strings.Join(refused, "; "))
	}
	return nil
}

// findCopies adds the events that have one of the texts, in the trees of the runs
// that were found.
func (e *Engine) findCopies(ctx context.Context, texts [][]byte, f *found) error {
	seen := map[eventlog.RunID]bool{}
	for _, id := range slices.Clone(f.order) {
		if id.IsSystem() {
			continue
		}
		root, err := e.row(ctx, id)
		for err == nil && root.Parent != nil {
			root, err = e.row(ctx, root.Parent.Run)
		}
		if err != nil {
			return err
		}
		if seen[root.ID] {
			continue
		}
		seen[root.ID] = true
		tree, err := e.tree(ctx, root)
		if err != nil {
			return err
		}
		for _, row := range tree {
			err := e.everyEvent(ctx, row.ID, func(ev eventlog.Event) error {
				if !ev.Erased && slices.ContainsFunc(texts, func(t []byte) bool { return bytes.Contains(ev.Payload, t) }) {
					f.add(ev.Run, ev.Version)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// erasable returns the head of an entry for a run or a stream, or why its events
// must not be erased.
func (e *Engine) erasable(ctx context.Context, id eventlog.RunID, versions map[eventlog.Version]bool, done *Erasure) (ErasedRun, error) {
	entry := ErasedRun{ID: id.String()}
	if id.IsSystem() {
		if id != projection.Workflows {
			return entry, fmt.Errorf("an event of %s has it, which is never erased", id)
		}
		return entry, e.definitionsUnused(ctx, versions)
	}
	row, err := e.row(ctx, id)
	if err != nil {
		return entry, err
	}
	entry.Workflow = row.Workflow
	if !row.Status.Terminal() {
		return entry, fmt.Errorf("run %s is %s, and has it: cancel it, or wait for its end", id, row.Status)
	}
	if err := done.hold(ctx, e.erasures, row); err != nil {
		return entry, err
	}
	return entry, e.forksOf(ctx, id, done)
}

// definitionsUnused refuses if a run that is not at its end has one of the
// definitions registered by these events.
func (e *Engine) definitionsUnused(ctx context.Context, versions map[eventlog.Version]bool) error {
	hashes := map[string]bool{}
	err := e.everyEvent(ctx, projection.Workflows, func(ev eventlog.Event) error {
		if !versions[ev.Version] || ev.Erased {
			return nil
		}
		p, err := event.Decode(ev.Kind, ev.Payload)
		if d, ok := p.(*event.DefinitionRegistered); ok {
			hashes[d.Hash] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, status := range []run.Status{run.Running, run.Waiting, run.Paused} {
		for row, err := range e.inStatus(ctx, status) {
			if err != nil {
				return err
			}
			if hashes[row.Hash] {
				return fmt.Errorf("it is the definition of run %s, which is %s: cancel it, or wait for its end", row.ID, row.Status)
			}
		}
	}
	return nil
}

// everyPayload calls do for every event of the log that has its payload, in the
// log or in an archive.
func (e *Engine) everyPayload(ctx context.Context, do func(eventlog.Event) error) error {
	archived := map[eventlog.RunID]bool{}
	for after := eventlog.Seq(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := e.log.ReadFrom(after, loadPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, ev := range page {
			after = ev.Seq
			switch {
			case !ev.Erased:
				if err := do(ev); err != nil {
					return err
				}
			case !archived[ev.Run]:
				archived[ev.Run] = true
				err := e.everyEvent(ctx, ev.Run, func(ev eventlog.Event) error {
					if !ev.Archived {
						return nil
					}
					return do(ev)
				})
				if err != nil {
					return err
				}
			}
		}
	}
}

// everyEvent calls do for every event of a run.
func (e *Engine) everyEvent(ctx context.Context, id eventlog.RunID, do func(eventlog.Event) error) error {
	for after := eventlog.Version(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := e.log.ReadRun(id, after, loadPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, ev := range page {
			after = ev.Version
			if err := do(ev); err != nil {
				return err
			}
		}
	}
}

// longest returns the texts that are worth looking for.
func longest(texts []string) [][]byte {
	slices.SortFunc(texts, func(a, b string) int { return len(b) - len(a) })
	var out [][]byte
	for _, t := range slices.Compact(texts) {
		if len(t) < minCopied || len(out) == maxPatterns {
			break
		}
		out = append(out, []byte(t))
	}
	return out
}
