package engine

import (
	"context"
	"errors"
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
	dueSince event.Time     // when somebody began to, and has not come to an end of it; 0: he has
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
