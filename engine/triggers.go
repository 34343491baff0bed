package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/trigger"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	maxTriggers    = 20_000 // at once
	maxTriggerName = 64
	// lookAtClock is how often triggers look at the clock, which may have been set.
	lookAtClock = 10 * time.Second
	// setBack is by how much the clock is behind what was done that it counts as set
	// back.
	setBack = event.Time(time.Minute)
)

// triggers are the schedules and hooks of the log: the fold of the stream
// [event.Triggers], and what it takes to act on them. What one of them does is done
// first (a run is started under a key that follows from the schedule and the time it
// was due) and told in the stream then: if we crash in between, it is found due again
// and its run is found there.
type triggers struct {
	e     *Engine
	clock *alarms[string] // when schedules are due

	change sync.Mutex // one change at a time: each is decided on those before it

	writing sync.Mutex // held by whoever appends what waits
	queue   sync.Mutex // guards pending
	pending []*triggerFact

	mu     sync.Mutex
	loaded bool
	byName map[string]*triggerState
	// awaited are the runs whose end schedules wait for.
	awaited map[eventlog.RunID]*triggerState
	waits   atomic.Int32 // len(awaited)
	fires   map[TriggerCount]uint64

	ctx     context.Context // of what acts; set before anything does
	sending map[*triggerState]bool
	senders atomic.Int32 // len(sending)
}

// triggerState is a trigger in memory. Its fields are guarded by triggers.mu; what
// points from it is replaced and never changed.
type triggerState struct {
	projection.Trigger
	broken error // why it does nothing: it was written by another version

	// Of a schedule.
	cron  *trigger.Cron
	input *expr.Template
	// after is up to when its times are dealt with: Upto, unless the clock was set back.
	after    event.Time
	busy     bool           // somebody acts on it
	awaiting eventlog.RunID // the run that its queue waits for

	in  *incoming
	out *outgoing
}

// TriggerCount says what fires are counted by.
type TriggerCount struct{ Type, Outcome string }

// triggerFact is an event that waits to be appended.
type triggerFact struct {
	fact
	done chan error // has room for the one answer
}

func newTriggers(e *Engine) *triggers {
	t := &triggers{e: e, byName: map[string]*triggerState{}, awaited: map[eventlog.RunID]*triggerState{}, sending: map[*triggerState]bool{}, fires: map[TriggerCount]uint64{}}
	t.clock = newAlarms(e.opt.Now, t.wake)
	t.clock.look = lookAtClock
	return t
}

// load reads the triggers as they are, once.
func (t *triggers) load(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loaded {
		return nil
	}
	list, err := t.e.views.Triggers(ctx, "")
	if err != nil {
		return err
	}
	for _, row := range list {
		s := &triggerState{Trigger: *row}
		t.byName[row.Name] = s
		t.compile(s)
	}
	t.loaded = true
	return nil
}

// acts reports whether this engine does what triggers are for.
func (t *triggers) acts() bool { return t.e.running() && !t.e.opt.NoTriggers }

func (t *triggers) start(ctx context.Context) error {
	if t.e.opt.NoTriggers {
		return nil
	}
	if err := t.load(ctx); err != nil {
		return err
	}
	t.ctx = ctx
	t.rearmAll()
	t.e.spawn(func() { t.clock.run(ctx) })
	t.e.spawn(func() { t.watchClock(ctx) })
	return nil
}

// rearmAll sets the alarms of all schedules.
func (t *triggers) rearmAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.byName {
		t.rearm(s)
		t.tend(s)
	}
}

// watchClock notices that the clock was set back: what is due then is not what alarms
// were set for.
func (t *triggers) watchClock(ctx context.Context) {
	tick := time.NewTicker(lookAtClock)
	defer tick.Stop()
	for last := t.e.now(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := t.e.now()
		if now < last-setBack {
			t.e.slog.Warn("the clock was set back; schedules go by it", "by", time.Duration(last-now).Round(time.Second))
			t.rearmAll()
		}
		last = now
	}
}

// compile makes what is needed to act on a trigger. Called with mu held.
func (t *triggers) compile(s *triggerState) {
	s.broken = nil
	if s.Schedule != nil {
		s.cron, s.input, s.broken = compileSchedule(s.Schedule, s.Created)
		s.after = s.Upto
	}
	if s.Incoming != nil {
		old := s.in
		if s.in, s.broken = compileIncoming(s.Incoming); s.in != nil && old != nil {
			s.in.received, s.in.denied, s.in.why = old.received, old.denied, old.why
		}
	}
	if s.Outgoing != nil {
		s.broken = checkOutgoing(s.Outgoing)
	}
	if s.broken != nil {
		t.e.slog.Error("a trigger does nothing", "trigger", s.Name, "error", s.broken)
	}
}

// append appends an event of a trigger, together with those that others append at the
// time, and applies it.
func (t *triggers) append(p event.Payload, actor string) error {
	f := &triggerFact{fact{p, actor}, make(chan error, 1)}
	t.queue.Lock()
	t.pending = append(t.pending, f)
	t.queue.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	for {
		select {
		case err := <-f.done: // whoever had the turn before has appended f too
			return err
		default:
		}
		t.queue.Lock()
		batch := t.pending[:min(len(t.pending), maxBatch)]
		t.pending = t.pending[len(batch):]
		t.queue.Unlock()
		t.write(batch)
	}
}

// write appends a batch and applies it. If we crash in between, the next start reads
// it.
func (t *triggers) write(batch []*triggerFact) {
	facts := make([]fact, len(batch))
	for i, f := range batch {
		facts[i] = f.fact
	}
	first, at, err := appendFacts(context.Background(), t.e.log, event.Triggers, t.e.now(), facts)
	t.e.stored(err)
	for i, f := range batch {
		if err == nil {
			t.apply(f.payload, first+eventlog.Seq(i), at, f.actor)
		}
		f.done <- err
	}
}

// apply folds an event that is on disk.
func (t *triggers) apply(p event.Payload, seq eventlog.Seq, at event.Time, by string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, _ := event.TriggerOf(p)
	s := t.byName[name]
	var row *projection.Trigger
	if s != nil {
		old := s.Trigger
		if d := old.Delivery; d != nil {
			copied := *d
			old.Delivery = &copied
		}
		row = &old
	}
	row, err := projection.FoldTrigger(row, p, seq, at, by)
	switch {
	case err != nil:
		t.e.slog.Error("an event of a trigger cannot be applied", "trigger", name, "error", err)
		return
	case row == nil:
		if s != nil {
			if s.out != nil {
				ring(s.out.nudge)
			}
			t.await(s, eventlog.RunID{})
			delete(t.byName, name)
			t.clock.arm(name, 0, false)
		}
		return
	case s == nil:
		s = &triggerState{}
		t.byName[name] = s
	}
	s.Trigger = *row
	switch p := p.(type) {
	case *event.TriggerSet:
		t.compile(s)
	case *event.TriggerResumed:
		s.after = s.Upto
	case *event.TriggerFired:
		t.fires[TriggerCount{s.Type, p.Outcome}] += uint64(max(p.Count, 1))
	case *event.TriggerDelivered:
		t.fires[TriggerCount{s.Type, event.DeliveredSent}] += uint64(p.Count)
	}
	t.rearm(s)
	t.tend(s)
}

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

// Triggers lists the triggers of a type, by name; after is the name that the page
// begins after.
func (e *Engine) Triggers(ctx context.Context, kind, after string, limit int) (list []Trigger, next string, err error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return nil, "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*triggerState
	for _, s := range t.byName {
		if s.Type == kind && s.Name > after {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *triggerState) int { return cmp.Compare(a.Name, b.Name) })
	list = []Trigger{}
	for _, s := range all[:min(len(all), limit)] {
		list = append(list, t.view(s))
	}
	if len(all) > limit {
		next = list[limit-1].Name
	}
	return list, next, nil
}

// TriggerTotals returns how many triggers there are by type and state ("active",
// "paused", "dead"), and how often they have fired since the start.
func (e *Engine) TriggerTotals() (there, fires map[TriggerCount]uint64) {
	t := e.triggers
	t.mu.Lock()
	defer t.mu.Unlock()
	there, fires = map[TriggerCount]uint64{{event.TriggerOutgoing, "dead"}: 0}, map[TriggerCount]uint64{}
	for _, s := range t.byName {
		state := "active"
		switch {
		case s.Paused || s.broken != nil:
			state = "paused"
		case s.Delivery != nil && s.Delivery.Dead:
			state = "dead"
		}
		there[TriggerCount{s.Type, state}]++
	}
	for k, n := range t.fires {
		fires[k] = n
	}
	return there, fires
}

// Trigger returns a trigger of a type by its name.
func (e *Engine) Trigger(ctx context.Context, kind, name string) (Trigger, error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return Trigger{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(kind, name)
	if err != nil {
		return Trigger{}, err
	}
	return t.view(s), nil
}

// find returns a trigger. Called with mu held.
func (t *triggers) find(kind, name string) (*triggerState, error) {
	s := t.byName[name]
	if s == nil || s.Type != kind {
		return nil, fmt.Errorf("%w: %s %q", ErrNotFound, kindOfTrigger[kind], clip(name))
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
	if len(p.Name) > maxTriggerName || !triggerName.MatchString(p.Name) {
		return false, v, fmt.Errorf("%w: name %q: want up to %d letters, digits, dots, hyphens and underscores", machine.ErrInvalid, clip(p.Name), maxTriggerName)
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
			return nil, fmt.Errorf("%w: %q is an %s; choose another name", ErrExists, p.Name, kindOfTrigger[old.Type])
		case reflect.DeepEqual(old.Schedule, p.Schedule) && reflect.DeepEqual(old.Incoming, p.Incoming) && reflect.DeepEqual(old.Outgoing, p.Outgoing):
			return nil, nil
		case !replace:
			return nil, fmt.Errorf("%w: %s %q is there, and is another one; replace it, or choose another name", ErrExists, kindOfTrigger[old.Type], p.Name)
		}
		return p, nil
	}, actor)
	if err == nil {
		v, err = e.Trigger(ctx, p.Type, p.Name)
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
func (e *Engine) PauseTrigger(ctx context.Context, kind, name, reason, actor string) (Trigger, error) {
	err := e.triggers.changing(ctx, func() (event.Payload, error) {
		s, err := e.triggers.find(kind, name)
		if err != nil || s.Paused {
			return nil, err
		}
		return &event.TriggerPaused{Name: name, Reason: reason}, nil
	}, actor)
	if err != nil {
		return Trigger{}, err
	}
	return e.Trigger(ctx, kind, name)
}

// ResumeTrigger lets a trigger work again, from now on: a schedule does not make up for
// times while it was paused. An outgoing hook goes on where it was, unless skip is set.
func (e *Engine) ResumeTrigger(ctx context.Context, kind, name, reason string, skip bool, actor string) (Trigger, error) {
	err := e.triggers.changing(ctx, func() (event.Payload, error) {
		s, err := e.triggers.find(kind, name)
		if err != nil || !s.Paused && (s.Delivery == nil || s.Delivery.Attempts == 0 && !s.Delivery.Dead && !skip) {
			return nil, err
		}
		return &event.TriggerResumed{Name: name, Reason: reason, Skip: skip}, nil
	}, actor)
	if err != nil {
		return Trigger{}, err
	}
	return e.Trigger(ctx, kind, name)
}

// DeleteTrigger deletes a trigger. What it has started goes on.
func (e *Engine) DeleteTrigger(ctx context.Context, kind, name, reason, actor string) error {
	return e.triggers.changing(ctx, func() (event.Payload, error) {
		if _, err := e.triggers.find(kind, name); err != nil {
			return nil, err
		}
		return &event.TriggerDeleted{Name: name, Reason: reason}, nil
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
		if _, err := e.PauseTrigger(ctx, s.Type, s.Name, reason, actor); err != nil {
			return 0, err
		}
	}
	return len(active), nil
}

// named are variables of templates.
type named map[string]any

// Var implements expr.Vars.
func (n named) Var(name string) (any, bool) {
	v, ok := n[name]
	return v, ok
}

// compileTemplate compiles a value of a trigger, in which the given variables are.
func compileTemplate(what string, v event.Value, vars ...string) (*expr.Template, error) {
	if len(v) == 0 {
		v = event.Null
	}
	tree, err := v.Any()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", machine.ErrInvalid, what, err)
	}
	return compileTree(what, tree, vars...)
}

func compileTree(what string, tree any, vars ...string) (*expr.Template, error) {
	t, err := expr.CompileTemplate(tree, triggerScope(vars...))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", machine.ErrInvalid, what, err)
	}
	return t, nil
}

// triggerScope is the scope of expressions in which the given variables are.
func triggerScope(vars ...string) expr.Scope {
	scope := expr.Scope{Vars: vars, Refused: map[string]string{}}
	for _, name := range expr.Variables {
		scope.Refused[name] = fmt.Sprintf("a trigger has only %v", vars)
	}
	return scope
}

// permanent reports whether what failed would fail again.
func permanent(err error) bool {
	for _, e := range []error{
		machine.ErrRefused, machine.ErrInvalid, machine.ErrNotFound, ErrNotFound, ErrExists, ErrUnsupported, eventlog.ErrTooLarge, projection.ErrAmbiguous,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
