package replay

import (
	"errors"
	"fmt"
	"iter"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// ErrErased: what an event said is gone, so that nothing can be said to follow
// from it.
var ErrErased = errors.New("its payload was erased")

// history yields the events of a run in order. An error ends it.
func history(log eventlog.Log, id eventlog.RunID) iter.Seq2[eventlog.Event, error] {
	return func(yield func(eventlog.Event, error) bool) {
		for after := eventlog.Version(0); ; {
			events, err := log.ReadRun(id, after, page)
			if err != nil {
				yield(eventlog.Event{}, err)
				return
			}
			for _, e := range events {
				after = e.Version
				if !yield(e, nil) {
					return
				}
			}
			if len(events) == 0 {
				return
			}
		}
	}
}

// appends yields the events of a run append by append.
func appends(log eventlog.Log, id eventlog.RunID) iter.Seq2[[]eventlog.Event, error] {
	return func(yield func([]eventlog.Event, error) bool) {
		var group []eventlog.Event
		for e, err := range history(log, id) {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(group) > 0 && group[0].Append != e.Append {
				if !yield(group, nil) {
					return
				}
				group = nil
			}
			group = append(group, e)
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}

// entry is an event with what it says.
type entry struct {
	eventlog.Event
	p event.Payload
}

// whole returns what an event says, or ErrErased if that is not all it said: to
// decide anew needs the content.
func whole(e eventlog.Event) (event.Payload, error) {
	if e.Erased {
		return nil, fmt.Errorf("event %d, version %d: %w", e.Seq, e.Version, ErrErased)
	}
	return payload(e)
}

// payload returns what an event says, or what is left of it; ErrErased if that is
// nothing.
func payload(e eventlog.Event) (event.Payload, error) {
	if e.Erased && len(e.Payload) == 0 {
		return nil, fmt.Errorf("event %d, version %d: %w", e.Seq, e.Version, ErrErased)
	}
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return nil, fmt.Errorf("event %d, version %d: %w", e.Seq, e.Version, err)
	}
	return p, nil
}

// newState returns the state of a run without events, which finds its past in the log.
func newState(log eventlog.Log, id eventlog.RunID) *run.State {
	s := run.New(id)
	s.Past = func(v eventlog.Version) (*run.State, error) { return run.Fold(log, id, v) }
	s.Other = func(id eventlog.RunID, v eventlog.Version) (*run.State, error) { return run.Fold(log, id, v) }
	return s
}
