package engine

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Trigger is a trigger as people see it.
type Trigger struct {
	projection.Trigger
	Next event.Time `json:"next,omitzero" doc:"when a schedule is due next; absent while it is paused"`
	// Waiting is the run whose end the starts in Queue wait for.
	Waiting eventlog.RunID `json:"waiting_for,omitzero"`
	Broken  string         `json:"broken,omitempty" doc:"why it does nothing"`
	// Denied is how many webhooks were not let in since the start, and Why the last was not.
	Denied uint64 `json:"denied,omitempty"`
	Why    string `json:"denied_reason,omitempty"`
	Behind uint64 `json:"behind,omitempty" doc:"of a hook that sends: events of the log that it has not come to"`
}

// view returns a trigger as people see it. Called with mu held.
func (t *triggers) view(s *triggerState) Trigger {
	v := Trigger{Trigger: s.Trigger, Waiting: s.awaiting}
	if s.broken != nil {
		v.Broken = s.broken.Error()
	} else if s.Schedule != nil && !s.Paused {
		v.Next, _ = s.next(s.from(t.e.now()))
	}
	if s.in != nil {
		v.Denied, v.Why = s.in.denied, s.in.why
	}
	if d := s.Delivery; d != nil {
		v.Behind = uint64(max(t.e.log.Head(), d.Upto) - d.Upto)
	}
	return v
}

// Triggers lists the triggers of a type in a namespace, by name; after is the name that
// the page begins after.
func (e *Engine) Triggers(ctx context.Context, n event.Namespace, kind, after string, limit int) (list []Trigger, next string, err error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return nil, "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*triggerState
	for _, s := range t.byName {
		if id := s.ID(); s.Type == kind && id.Namespace() == n && id.Name() > after {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *triggerState) int { return cmp.Compare(a.Name, b.Name) })
	list = []Trigger{}
	for _, s := range all[:min(len(all), limit)] {
		list = append(list, t.view(s))
	}
	if len(all) > limit {
		next = list[limit-1].ID().Name()
	}
	return list, next, nil
}

// TriggerTotals returns how many triggers there are by type and state ("active",
// "paused", "failing", "dead"), and how often they have fired since the start.
func (e *Engine) TriggerTotals() (there, fires map[TriggerCount]uint64) {
	t := e.triggers
	t.mu.Lock()
	defer t.mu.Unlock()
	there, fires = map[TriggerCount]uint64{{event.TriggerOutgoing, "dead"}: 0, {event.TriggerOutgoing, "failing"}: 0}, map[TriggerCount]uint64{}
	for _, s := range t.byName {
		state := "active"
		switch {
		case s.Paused || s.broken != nil:
			state = "paused"
		case s.Delivery != nil && s.Delivery.Dead:
			state = "dead"
		case s.Delivery != nil && s.Delivery.Attempts > 0:
			state = "failing"
		}
		there[TriggerCount{s.Type, state}]++
	}
	for k, n := range t.fires {
		fires[k] = n
	}
	return there, fires
}

// TriggerDelays is what is late with triggers.
type TriggerDelays struct {
	Overdue time.Duration // of the schedule that has been due longest; 0: none is
	Failing time.Duration // of the hook that has failed longest and is not dead; 0: none does
	Queued  int           // starts that wait for the end of the run before
}

// TriggerDelays returns what is late with triggers.
func (e *Engine) TriggerDelays() (d TriggerDelays) {
	t := e.triggers
	if t.acts() {
		d.Overdue = t.clock.late()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := e.now()
	for _, s := range t.byName {
		if s.Paused || s.broken != nil {
			continue
		}
		d.Queued += len(s.Queue)
		if s.dueSince != 0 { // it is seen to, and its moment is set no more
			d.Overdue = max(d.Overdue, time.Duration(now-s.dueSince))
		}
		if x := s.Delivery; x != nil && x.Attempts > 0 && !x.Dead && x.Since != 0 {
			d.Failing = max(d.Failing, time.Duration(now-x.Since))
		}
	}
	return d
}

// Trigger returns a trigger of a type.
func (e *Engine) Trigger(ctx context.Context, kind string, id event.TriggerID) (Trigger, error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return Trigger{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(kind, id)
	if err != nil {
		return Trigger{}, err
	}
	return t.view(s), nil
}

// find returns a trigger. Called with mu held.
func (t *triggers) find(kind string, id event.TriggerID) (*triggerState, error) {
	s := t.byName[string(id)]
	if s == nil || s.Type != kind {
		return nil, fmt.Errorf("%w: %s %q", ErrNotFound, kindOfTrigger[kind], clip(id.Name()))
	}
	return s, nil
}

// kindOfTrigger is what people call the types of triggers.
var kindOfTrigger = map[string]string{
	event.TriggerSchedule: "schedule", event.TriggerIncoming: "incoming hook", event.TriggerOutgoing: "outgoing hook",
}

var triggerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// setTrigger makes a trigger, or with replace changes it. One that is there as asked
// for is left as it is.
func (e *Engine) setTrigger(ctx context.Context, p *event.TriggerSet, replace bool, actor string) (made bool, v Trigger, err error) {
	t := e.triggers
	id := event.TriggerID(p.Name)
	if name := id.Name(); len(name) > maxTriggerName || !triggerName.MatchString(name) {
		return false, v, fmt.Errorf("%w: name %q: want up to %d letters, digits, dots, hyphens and underscores", machine.ErrInvalid, clip(name), maxTriggerName)
	}
	if len(p.Reason) > maxReason {
		return false, v, fmt.Errorf("%w: the reason has more than %d bytes", machine.ErrInvalid, maxReason)
	}
	err = t.changing(ctx, func() (event.Payload, error) {
		old := t.byName[p.Name]
		switch {
		case old == nil:
			made = true
			if p.Outgoing != nil && t.outgoing() >= maxOutgoing {
				return nil, fmt.Errorf("%w: there are %d hooks that send, the most that there can be", machine.ErrRefused, maxOutgoing)
			}
			if len(t.byName) >= maxTriggers {
				return nil, fmt.Errorf("%w: there are %d triggers, the most that there can be", machine.ErrRefused, maxTriggers)
			}
		case old.Type != p.Type:
			return nil, fmt.Errorf("%w: %q is an %s; choose another name", ErrExists, id.Name(), kindOfTrigger[old.Type])
		case reflect.DeepEqual(old.Schedule, p.Schedule) && reflect.DeepEqual(old.Incoming, p.Incoming) && reflect.DeepEqual(old.Outgoing, p.Outgoing):
			return nil, nil
		case !replace:
			return nil, fmt.Errorf("%w: %s %q is there, and is another one; replace it, or choose another name", ErrExists, kindOfTrigger[old.Type], id.Name())
		}
		return p, nil
	}, actor)
	if err == nil {
		v, err = e.Trigger(ctx, p.Type, id)
	}
	return made, v, err
}

// outgoing counts the hooks that send. Called with mu held.
func (t *triggers) outgoing() (n int) {
	for _, s := range t.byName {
		if s.Outgoing != nil {
			n++
		}
	}
	return n
}

// maxReason bounds what somebody says why.
const maxReason = 1024

// changing appends what decide returns, which is called with mu held; nil is nothing.
func (t *triggers) changing(ctx context.Context, decide func() (event.Payload, error), actor string) error {
	if err := t.e.accepting(false); err != nil {
		return err
	}
	if err := t.load(ctx); err != nil {
		return err
	}
	t.change.Lock()
	defer t.change.Unlock()
	t.mu.Lock()
	p, err := decide()
	t.mu.Unlock()
	if err != nil || p == nil {
		return err
	}
	return t.append(p, actor)
}

// PauseTrigger lets a trigger do nothing until it is resumed.
func (e *Engine) PauseTrigger(ctx context.Context, kind string, id event.TriggerID, reason, actor string) (Trigger, error) {
	err := e.triggers.changing(ctx, func() (event.Payload, error) {
		s, err := e.triggers.find(kind, id)
		if err != nil || s.Paused {
			return nil, err
		}
		return &event.TriggerPaused{Name: string(id), Reason: reason}, nil
	}, actor)
	if err != nil {
		return Trigger{}, err
	}
	return e.Trigger(ctx, kind, id)
}

// ResumeTrigger lets a trigger work again, from now on: a schedule does not make up for
// times while it was paused. An outgoing hook goes on where it was, unless skip is set.
func (e *Engine) ResumeTrigger(ctx context.Context, kind string, id event.TriggerID, reason string, skip bool, actor string) (Trigger, error) {
	err := e.triggers.changing(ctx, func() (event.Payload, error) {
		s, err := e.triggers.find(kind, id)
		if err != nil || !s.Paused && (s.Delivery == nil || s.Delivery.Attempts == 0 && !s.Delivery.Dead && !skip) {
			return nil, err
		}
		return &event.TriggerResumed{Name: string(id), Reason: reason, Skip: skip}, nil
	}, actor)
	if err != nil {
		return Trigger{}, err
	}
	return e.Trigger(ctx, kind, id)
}

// DeleteTrigger deletes a trigger. What it has started goes on.
func (e *Engine) DeleteTrigger(ctx context.Context, kind string, id event.TriggerID, reason, actor string) error {
	return e.triggers.changing(ctx, func() (event.Payload, error) {
		if _, err := e.triggers.find(kind, id); err != nil {
			return nil, err
		}
		return &event.TriggerDeleted{Name: string(id), Reason: reason}, nil
	}, actor)
}

// PauseTriggers pauses every trigger that is not, and returns how many that were.
func (e *Engine) PauseTriggers(ctx context.Context, reason, actor string) (int, error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return 0, err
	}
	t.mu.Lock()
	var active []*triggerState
	for _, s := range t.byName {
		if !s.Paused {
			active = append(active, s)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(active, func(a, b *triggerState) int { return cmp.Compare(a.Name, b.Name) })
	for _, s := range active {
		if _, err := e.PauseTrigger(ctx, s.Type, s.ID(), reason, actor); err != nil {
			return 0, err
		}
	}
	return len(active), nil
}
