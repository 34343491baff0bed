package projection

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Bounds of one transaction. It takes all there is up to these, so that the
// rows of busy runs are written once for many events.
const (
	batchEvents = 8192
	batchBytes  = 16 << 20    // of payloads
	pageEvents  = batchEvents // of one read of the log
)

// CatchUp folds what the log has and the views have not seen, up to its head at
// the time of the call. progress, which may be nil, is called after each
// transaction.
func (v *Views) CatchUp(ctx context.Context, progress func(done, head eventlog.Seq)) error {
	return v.reach(ctx, v.log.Head(), progress)
}

// Flush makes reads see everything that was committed up to the log's head at
// the time of the call. Calls at the same time share the work. Every list and
// every look-up does it by itself.
func (v *Views) Flush(ctx context.Context) error {
	return v.reach(ctx, v.log.Head(), nil)
}

// WaitFor returns once reads see the event at seq. Where the log has not come so
// far it waits for a doorbell.
func (v *Views) WaitFor(ctx context.Context, seq eventlog.Seq) error {
	for {
		bell := v.rung()
		if err := v.reach(ctx, min(seq, v.log.Head()), nil); err != nil || v.Applied() >= seq {
			return err
		}
		select {
		case <-bell:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Notify says that the log has come to head. It never blocks; a call that is
// lost or made twice changes how soon rows are written, and nothing else.
func (v *Views) Notify(eventlog.Seq) {
	select {
	case v.bell <- struct{}{}:
	default:
	}
	v.moved.Lock()
	defer v.moved.Unlock()
	close(v.advance)
	v.advance = make(chan struct{})
}

// rung returns a channel that is closed at the next doorbell.
func (v *Views) rung() <-chan struct{} {
	v.moved.Lock()
	defer v.moved.Unlock()
	return v.advance
}

// reach folds events until the one at seq is among them.
func (v *Views) reach(ctx context.Context, seq eventlog.Seq, progress func(done, head eventlog.Seq)) error {
	repairs := 0
	for v.Applied() < seq {
		err := v.inTurn(ctx, func() error {
			if v.Applied() >= seq {
				return nil // while this call waited for its turn
			}
			err := v.batch()
			if isDamage(err) && repairs < maxRepairs {
				repairs++
				err = v.repair(v.store, err)
			}
			return err
		})
		if err != nil {
			return err
		}
		if progress != nil {
			progress(v.Applied(), max(seq, v.log.Head()))
		}
	}
	return nil
}

// batch folds the next events in one transaction. The caller has the turn.
func (v *Views) batch() error {
	if v.store == nil { // set to nil only by Close, which has the turn then
		return ErrClosed
	}
	events, err := v.gather(v.Applied())
	if err != nil {
		return err
	}
	if v.clean {
		// From here on the file is ahead of what was synced.
		if err := writeMarker(v.dir, v.store.sealed, false); err != nil {
			return err
		}
		v.clean = false
	}
	if err := v.store.fold(events, v.holes); err != nil {
		return err
	}
	v.applied.Store(uint64(events[len(events)-1].Seq))
	return nil
}

// gather reads the events of a batch before the transaction begins, for none
// may wait for the log.
func (v *Views) gather(after eventlog.Seq) ([]eventlog.Event, error) {
	var events []eventlog.Event
	bytes := 0
	head := v.log.Head() // what comes meanwhile is for the next batch
	for len(events) < batchEvents && bytes < batchBytes {
		page, err := v.log.ReadFrom(after, pageEvents)
		if hole, ok := holeAt(err, after+1); ok {
			page, v.holes = []eventlog.Event{hole}, true
		} else if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Seq != after+1 {
				return nil, fmt.Errorf("event %d of the log follows event %d", e.Seq, after)
			}
			after = e.Seq
			bytes += len(e.Payload)
		}
		if events == nil {
			events = page // mostly it is all there is up to head
		} else {
			events = append(events, page...)
		}
		if len(page) == 0 || after >= head {
			break
		}
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("the log has no event %d, and %d is its head", after+1, v.log.Head())
	}
	return events, nil
}

// holeAt returns what stands for the event at seq if err says that it is not as it was
// written: an event without a kind, of the run that has lost it, if that is known. A
// file that cannot be read now is not a hole.
func holeAt(err error, seq eventlog.Seq) (eventlog.Event, bool) {
	var c *eventlog.CorruptError
	var fault runtime.Error
	if !errors.As(err, &c) || c.Seq != seq || errors.As(err, &fault) {
		return eventlog.Event{}, false
	}
	return eventlog.Event{Seq: seq, Run: c.Run}, true
}

// errCut: an event follows one that is lost, and is no part of any row.
var errCut = errors.New("an event before it is lost")

// fold applies events, which follow the cursor, and moves the cursor in the same
// transaction. With holes, events before may be lost.
func (s *store) fold(events []eventlog.Event, holes bool) error {
	return s.update(func(w *writer) error {
		w.holes = holes
		if first := uint64(events[0].Seq); first != w.meta.cursor+1 {
			return damaged("its cursor is %d, event %d is next", w.meta.cursor, first)
		}
		folds := make([]fold, len(views))
		for i, view := range views {
			folds[i] = view.begin(w)
		}
		var f fact // of one event after the other: no fold keeps it
		for i := range events {
			f = fact{Event: events[i]}
			for _, fold := range folds {
				err := fold.apply(&f)
				if errors.Is(err, errCut) {
					break // the runs come first, and say it for all
				}
				if err != nil {
					return fmt.Errorf("event %d, %s of run %s: %w", f.Seq, event.KindName(f.Kind), f.Run, err)
				}
			}
		}
		for _, fold := range folds {
			if err := fold.finish(); err != nil {
				return err
			}
		}
		last := events[len(events)-1]
		w.meta.cursor, w.meta.print = uint64(last.Seq), fingerprint(last)
		return nil
	})
}
