package projection

import (
	"context"
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Trigger is one trigger as the fold of its events: what it is, how far it has come,
// and what it did last.
type Trigger struct {
	Name    string     `json:"name"` // a [event.TriggerID]
	Type    string     `json:"type"`
	Created event.Time `json:"created"` // a trigger that is made again under a name is another one
	Changed event.Time `json:"changed"`
	By      string     `json:"by"` // who changed it last
	// The one of these that Type says is set.
	Schedule *event.Schedule `json:"schedule,omitempty"`
	Incoming *event.Incoming `json:"incoming,omitempty"`
	Outgoing *event.Outgoing `json:"outgoing,omitempty"`

	Paused      bool       `json:"paused"`
	PauseReason string     `json:"pause_reason,omitempty"`
	PausedBy    string     `json:"paused_by,omitempty"`
	PausedAt    event.Time `json:"paused_at,omitzero"`

	// Upto is up to when the times of a schedule are dealt with; those in Queue are
	// before it, and wait.
	Upto  event.Time   `json:"upto,omitzero"`
	Queue []event.Time `json:"queue,omitempty"`

	Started int64 `json:"started"` // runs, or signals that were sent
	Skipped int64 `json:"skipped"`
	Failed  int64 `json:"failed"`
	// LastRun is the run that was started last.
	LastRun eventlog.RunID `json:"last_run,omitzero"`
	// Recent is what became of the last times it fired, the newest first.
	Recent []Fire `json:"recent,omitempty"`

	// Delivery is how far an outgoing hook has come.
	Delivery *Delivery `json:"delivery,omitempty"`
}

// ID returns what events name the trigger by, which is what Name is.
func (t *Trigger) ID() event.TriggerID { return event.TriggerID(t.Name) }

// Fire is what became of a trigger when it fired.
type Fire struct {
	At      event.Time     `json:"at"`
	Outcome string         `json:"outcome"`
	Due     event.Time     `json:"due,omitzero"`
	Until   event.Time     `json:"until,omitzero"`
	Count   int            `json:"count,omitempty"`
	Run     eventlog.RunID `json:"run,omitzero"`
	ID      string         `json:"id,omitempty"`
	Reason  string         `json:"reason,omitempty"`
}

// Delivery is how far an outgoing hook has come.
type Delivery struct {
	Upto     eventlog.Seq `json:"upto"` // events up to there are done with
	Sent     int64        `json:"sent"`
	At       event.Time   `json:"at,omitzero"`      // when that was noted
	Attempts int          `json:"attempts"`         // that the next event has failed
	Since    event.Time   `json:"since,omitzero"`   // when the first of these was
	Dead     bool         `json:"dead"`             // nothing is sent until somebody resumes it
	Reason   string       `json:"reason,omitempty"` // of the last failure
}

// maxFires is how many of the last fires are kept.
const maxFires = 10

// NewTrigger returns the trigger that an event sets.
func NewTrigger(p *event.TriggerSet, seq eventlog.Seq, at event.Time, by string) *Trigger {
	t := &Trigger{Name: p.Name, Type: p.Type, Created: at, Upto: at}
	if p.Type == event.TriggerOutgoing {
		t.Delivery = &Delivery{Upto: seq}
	}
	t.set(p, at, by)
	return t
}

func (t *Trigger) set(p *event.TriggerSet, at event.Time, by string) {
	if old, s := t.Schedule, p.Schedule; old != nil && s != nil && (old.Cron != s.Cron || old.Zone != s.Zone) {
		t.Upto = max(t.Upto, at) // no time of the new one has been missed
	}
	t.Changed, t.By, t.Schedule, t.Incoming, t.Outgoing = at, by, p.Schedule, p.Incoming, p.Outgoing
}

// Apply folds an event of the trigger other than its being made or deleted.
func (t *Trigger) Apply(p event.Payload, seq eventlog.Seq, at event.Time, by string) error {
	switch p := p.(type) {
	case *event.TriggerSet:
		t.set(p, at, by)
	case *event.TriggerPaused:
		t.Paused, t.PauseReason, t.PausedBy, t.PausedAt = true, p.Reason, by, at
	case *event.TriggerResumed:
		t.Paused, t.PauseReason, t.PausedBy, t.PausedAt = false, "", "", 0
		t.Upto = max(t.Upto, at)
		if d := t.Delivery; d != nil {
			d.Attempts, d.Since, d.Dead, d.Reason = 0, 0, false, ""
			if p.Skip {
				d.Upto = max(d.Upto, seq)
			}
		}
	case *event.TriggerFired:
		t.fired(p, at)
	case *event.TriggerDelivered:
		if d := t.Delivery; d != nil {
			d.Upto, d.At, d.Sent = max(d.Upto, p.Upto), at, d.Sent+int64(p.Count)
			d.Attempts, d.Since, d.Dead, d.Reason = p.Attempts, p.Since, p.Outcome == event.DeliveredDead, p.Reason
		}
	default:
		return fmt.Errorf("%w: a %s among the triggers", event.ErrUnknown, event.KindName(p.Kind()))
	}
	return nil
}

func (t *Trigger) fired(p *event.TriggerFired, at event.Time) {
	if i := slices.Index(t.Queue, p.Due); i >= 0 && p.Outcome != event.FiredQueued {
		t.Queue = slices.Delete(slices.Clone(t.Queue), i, i+1)
	}
	t.Upto = max(t.Upto, p.Due, p.Until)
	switch n := int64(max(p.Count, 1)); p.Outcome {
	case event.FiredStarted:
		t.Started++
		t.LastRun = p.Run
	case event.FiredSignalled:
		t.Started++
	case event.FiredQueued:
		if !slices.Contains(t.Queue, p.Due) {
			t.Queue = append(t.Queue[:len(t.Queue):len(t.Queue)], p.Due)
		}
		return // what becomes of it is told later
	case event.FiredSkipped:
		t.Skipped += n
	case event.FiredFailed:
		t.Failed += n
	}
	f := Fire{At: at, Outcome: p.Outcome, Due: p.Due, Until: p.Until, Count: p.Count, Run: p.Run, ID: p.ID, Reason: p.Reason}
	t.Recent = append([]Fire{f}, t.Recent[:min(len(t.Recent), maxFires-1)]...)
}

// Triggers returns every trigger of a type, "" for all, by name.
func (v *Views) Triggers(ctx context.Context, kind string) (list []*Trigger, err error) {
	err = v.read(ctx, func(r *reader) error {
		list = nil
		return r.scan(bucketTriggers, nil, nil, func(_, value []byte) (bool, error) {
			t, err := decodeTrigger(value)
			if err == nil && (kind == "" || t.Type == kind) {
				list = append(list, t)
			}
			return err == nil, err
		})
	})
	return list, err
}
