package projection

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Due returns the timers of a namespace that are due at or before a time, soonest
// first, at most limit of them.
func (v *Views) Due(ctx context.Context, n event.Namespace, before event.Time, limit int) ([]Timer, error) {
	timers, _, err := v.NextTimers(ctx, n, "", limit)
	for i, t := range timers {
		if t.At > before {
			return timers[:i], err
		}
	}
	return timers, err
}

// NextTimers returns a page of the open timers of a namespace, soonest first.
func (v *Views) NextTimers(ctx context.Context, n event.Namespace, cursor string, limit int) (timers []Timer, next string, err error) {
	prefix := of(n)
	return pages(ctx, v, "timers "+n.String(), bucketDue, prefix, cursor, limit, func(r *reader, key, _ []byte) (Timer, bool, error) {
		if key = key[len(prefix):]; len(key) < 8 {
			return Timer{}, false, damaged("a timer has no time")
		}
		t, err := openTimerAt(r, key[8:])
		if err != nil {
			return t, false, err
		}
		if uint64(t.At)^1<<63 != binary.BigEndian.Uint64(key) {
			return t, false, damaged("a timer of run %s is at another time", t.Run)
		}
		return t, true, nil
	})
}

// Timers returns the open timers of one run, by node.
func (v *Views) Timers(ctx context.Context, run eventlog.RunID) ([]Timer, error) {
	var timers []Timer
	prefix := append(run[:len(run):len(run)], openTimer)
	err := v.read(ctx, func(r *reader) error {
		timers = nil
		return r.scan(bucketOpen, prefix, prefix, func(k, value []byte) (bool, error) {
			t, err := decodeTimer(k, value)
			if err != nil {
				return false, damaged("a timer of run %s: %v", run, err)
			}
			timers = append(timers, t)
			return true, nil
		})
	})
	return timers, err
}

func openTimerAt(r *reader, key []byte) (Timer, error) {
	value, err := r.get(bucketOpen, key)
	if err != nil {
		return Timer{}, err
	}
	if value == nil || len(key) < len(eventlog.RunID{}) {
		return Timer{}, damaged("a timer is in its index alone")
	}
	t, err := decodeTimer(key, value)
	if err != nil {
		return t, damaged("a timer of run %s: %v", t.Run, err)
	}
	return t, nil
}

// InputFilter says which questions of a namespace a list has: those that match every
// field that is set.
type InputFilter struct {
	Namespace event.Namespace
	Run       eventlog.RunID
	Workflow  string // letter case, - and _ alike
	Assignee  string
}

// Inbox returns a page of the questions that wait for an answer, newest first.
func (v *Views) Inbox(ctx context.Context, f InputFilter, cursor string, limit int) (inputs []Input, next string, err error) {
	list := fmt.Sprintf("inbox %s %s %q %q", f.Namespace, f.Run, f.Workflow, f.Assignee)
	prefix := of(f.Namespace)
	return pages(ctx, v, list, bucketInbox, prefix, cursor, limit, func(r *reader, key, value []byte) (Input, bool, error) {
		if len(value) < len(f.Run) {
			return Input{}, false, damaged("a question has no run")
		}
		if !f.Run.IsZero() && eventlog.RunID(value) != f.Run {
			return Input{}, false, nil
		}
		in, err := openInputAt(r, value)
		if err != nil {
			return in, false, err
		}
		if key = key[len(prefix):]; len(key) != 8 || ^binary.BigEndian.Uint64(key) != uint64(in.Seq) {
			return in, false, damaged("a question of run %s is out of order", in.Run)
		}
		ok := (f.Assignee == "" || in.Assignee == f.Assignee) && (f.Workflow == "" || sameName(in.Workflow) == sameName(f.Workflow))
		return in, ok, nil
	})
}

// openInputAt returns the question at a key of open, with what other rows know
// of it.
func openInputAt(r *reader, key []byte) (Input, error) {
	value, err := r.get(bucketOpen, key)
	if err != nil {
		return Input{}, err
	}
	if value == nil {
		return Input{}, damaged("a question is in its index alone")
	}
	in, err := decodeInput(key, value)
	if err != nil {
		return in, damaged("a question of run %s: %v", in.Run, err)
	}
	row, ok, err := r.row(in.Run)
	if err != nil {
		return in, err
	}
	if !ok {
		return in, damaged("a question is of run %s, which is not there", in.Run)
	}
	in.Namespace, in.Workflow = row.Namespace, row.Workflow
	due, err := r.get(bucketOpen, openEntryKey(in.Run, openTimer, openKey{in.Node, in.Visit, "input"}))
	if err != nil {
		return in, err
	}
	if due != nil {
		d := decoder{b: due}
		in.Due = event.Time(d.int())
	}
	return in, nil
}
