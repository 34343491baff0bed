package sim

import (
	"container/heap"
	"errors"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// engine is one process on the world's directory: a model of package engine, in the
// order in which that does things.
type engine struct {
	w      *world
	log    *log
	boot   eventlog.Seq // the log's head when it was started
	loaded map[eventlog.RunID]*loaded
	idle   []*loaded // that nobody owns, the longest idle first

	jobs     map[attempt]*job // ready and under way
	ready    []*job
	under    []*job          // under way
	handing  map[attempt]int // results on their way to the log
	sweeping bool            // a doorbell has rung

	ledger *ledgerKeeper
	alarms alarms
	tended map[eventlog.RunID]*bool

	committing bool // the writer has something to do
	failed     bool
}

// loaded is one run in memory.
type loaded struct {
	id    eventlog.RunID
	queue []*request
	owned bool
	state *run.State // nil: not loaded, or dropped
	wf    *workflow.Workflow
}

// request is a command for a run, or a look at it.
type request struct {
	meta     machine.Meta
	cmd      machine.Command
	wf       *workflow.Workflow // with a command that may create the run
	view     func(*run.State)
	answered func(error)
}

var (
	errStopped  = errors.New("engine has stopped")
	errNotFound = errors.New("not found")
)

func (w *world) newEngine(l *log) *engine {
	e := &engine{
		w: w, log: l, boot: l.Head(), loaded: map[eventlog.RunID]*loaded{}, jobs: map[attempt]*job{},
		handing: map[attempt]int{}, tended: map[eventlog.RunID]*bool{}, alarms: alarms{at: map[eventlog.RunID]event.Time{}},
	}
	e.ledger = newLedger(e)
	return e
}

// step does something in a while, if this process is still there then.
func (e *engine) step(do func()) {
	e.w.step(func() {
		if e.w.engine == e {
			do()
		}
	})
}

// after does something after a while.
func (e *engine) after(d time.Duration, do func()) {
	e.w.after(d, func() {
		if e.w.engine == e {
			do()
		}
	})
}

// enqueue gives a request to its run.
func (e *engine) enqueue(id eventlog.RunID, q *request) {
	l := e.loaded[id]
	if l == nil {
		l = &loaded{id: id}
		e.loaded[id] = l
	}
	l.queue = append(l.queue, q)
	if !l.owned {
		l.owned = true
		e.step(func() { e.own(l) })
	}
}

// own serves what waits for a run.
func (e *engine) own(l *loaded) {
	batch := l.queue
	l.queue = nil
	if len(batch) == 0 {
		l.owned = false
		e.rest(l)
		return
	}
	e.serve(l, batch)
}

// rest keeps an idle run in the cache and drops the one idle longest.
func (e *engine) rest(l *loaded) {
	if l.state == nil || l.state.Status == run.Pending || l.state.Status.Terminal() {
		delete(e.loaded, l.id)
		return
	}
	e.idle = append(e.idle, l)
	for len(e.idle) > maxIdle {
		old := e.idle[0]
		e.idle = e.idle[1:]
		if !old.owned && e.loaded[old.id] == old {
			delete(e.loaded, old.id)
		}
	}
}

// maxIdle is how many runs are kept in memory between commands: few, so that they
// are read again often.
const maxIdle = 20

// serve decides a batch of requests as one append.
func (e *engine) serve(l *loaded, batch []*request) {
	if err := e.load(l, batch[0].wf); err != nil {
		batch[0].answered(err)
		l.queue = append(batch[1:], l.queue...)
		e.own(l)
		return
	}
	from := l.state.Version
	var events []machine.Event
	m := &meter{e: e, l: l, at: e.w.now()}
	fresh := e.fresh(l, batch)
	if fresh {
		lost, err := machine.Decide(l.wf, l.state, machine.Meta{At: m.at, Actor: "system", Choose: e.choose, Meter: m}, machine.Recover{
			Reason: "the engine was restarted",
			Keep:   func(v *run.Visit) bool { return e.has(attempt{l.id, v.Node, v.Visit}, v.Attempt) },
		})
		if err != nil {
			e.w.broken(fmt.Errorf("run %s: recover: %w", l.id, err))
			return
		}
		events = append(events, lost...)
	}
	answers := make([]error, len(batch))
	for i, q := range batch {
		answers[i] = e.decide(l, q, m, &events)
	}
	if len(events) == 0 {
		e.settle(l, batch, answers, nil, fresh)
		return
	}
	p := &pending{Append: eventlog.Append{Run: l.id, Expect: from, Records: make([]eventlog.Record, len(events))}, grants: m.grants}
	for i := range events {
		p.Records[i] = events[i].Record
	}
	p.done = func(first eventlog.Seq, err error) {
		if err == nil {
			l.state.Seq = first + eventlog.Seq(len(events)) - 1
			e.w.stored(l, first, events)
			e.ledger.committed(l.state, events, l.state.Seq)
			e.settle(l, batch, answers, events, fresh)
			return
		}
		l.state = nil
		e.ledger.giveBack(m.grants)
		for _, q := range batch {
			q.answered(err)
		}
		e.own(l)
	}
	e.append(p)
}

// append gives the writer something to commit.
func (e *engine) append(p *pending) {
	p.ID = eventlog.AppendID(e.w.rng.Uint64() | 1)
	if err := e.log.enqueue(p); err != nil {
		if !errors.Is(err, eventlog.ErrStopped) {
			e.w.broken(fmt.Errorf("an append was refused: %w", err))
		}
		p.done(0, err)
		return
	}
	if !e.committing {
		e.committing = true
		e.step(e.commit)
	}
}

// decide decides one request of a batch.
func (e *engine) decide(l *loaded, q *request, m *meter, events *[]machine.Event) error {
	if l.state.Status == run.Pending {
		if q.wf == nil {
			return errNotFound
		}
		l.wf = q.wf
	}
	if q.cmd == nil {
		return nil
	}
	if e.failed {
		return errStopped
	}
	meta := q.meta
	meta.Choose, meta.Meter = e.choose, m
	m.at = meta.At
	decided, err := machine.Decide(l.wf, l.state, meta, q.cmd)
	if err != nil && !refusal(err) {
		e.w.broken(fmt.Errorf("run %s: %T: %w", l.id, q.cmd, err))
	}
	*events = append(*events, decided...)
	if machine.Cut(decided) {
		e.post(l.id, machine.Continue{})
	}
	return err
}

func refusal(err error) bool {
	return errors.Is(err, machine.ErrRefused) || errors.Is(err, machine.ErrInvalid) || errors.Is(err, machine.ErrNotFound)
}

// settle dispatches what was decided and is on disk, and answers.
func (e *engine) settle(l *loaded, batch []*request, answers []error, events []machine.Event, fresh bool) {
	e.dispatch(l, events, fresh)
	for i, q := range batch {
		if answers[i] == nil && q.view != nil {
			q.view(l.state)
		}
		q.answered(answers[i])
	}
	e.w.check(l)
	if l.queue == nil {
		l.owned = false
		e.rest(l)
		return
	}
	e.step(func() { e.own(l) })
}

// load makes sure that the run's state is in memory.
func (e *engine) load(l *loaded, wf *workflow.Workflow) error {
	if l.state == nil {
		s, err := run.Fold(e.log, l.id, run.Newest)
		if err != nil {
			e.w.broken(fmt.Errorf("run %s does not fold: %w", l.id, err))
			return err
		}
		l.state = s
	}
	if l.state.Status == run.Pending {
		if l.wf = wf; wf == nil {
			l.state = nil
			return errNotFound
		}
		return nil
	}
	l.wf = e.w.defs.byHash[l.state.Hash]
	return nil
}

// fresh reports whether the run has to be taken up first: it has not moved since
// before this process, and now somebody moves it.
func (e *engine) fresh(l *loaded, batch []*request) bool {
	if l.state.Status == run.Pending || l.state.Seq > e.boot {
		return false
	}
	for _, q := range batch {
		if q.cmd != nil {
			return true
		}
	}
	return false
}

// post sends a command without waiting for it, and again until the run has it.
func (e *engine) post(id eventlog.RunID, c machine.Command) { e.insist(id, "system", c, func() {}) }

// insist gives a command to a run until it has it, or refuses it; then is called.
func (e *engine) insist(id eventlog.RunID, actor string, c machine.Command, then func()) {
	wait := 20 * time.Millisecond
	var try func()
	try = func() {
		e.enqueue(id, &request{meta: machine.Meta{At: e.w.now(), Actor: actor}, cmd: c, answered: func(err error) {
			if err == nil || refusal(err) || errors.Is(err, errNotFound) {
				then()
				return
			}
			if e.failed {
				return
			}
			e.after(wait, try)
			wait = min(2*wait, 2*time.Second)
		}})
	}
	try()
}

// dispatch lets out what follows from events that are on disk.
func (e *engine) dispatch(l *loaded, events []machine.Event, fresh bool) {
	s := l.state
	for i := range events {
		switch p := events[i].Payload.(type) {
		case *event.NodeStarted:
			if v := s.Live[p.Node]; !p.Each && v != nil && v.Visit == p.Visit && v.Attempt == p.Attempt && v.Status == run.NodeRunning {
				e.add(l, v)
			}
		case *event.ChatEnded:
			if !e.cancel(attempt{s.Run, p.Node, p.Visit}) {
				e.settleGivenUp(s, p.Node, p.Visit)
			}
		case *event.NodeSkipped:
			if !e.cancel(attempt{s.Run, p.Node, p.Visit}) {
				e.settleGivenUp(s, p.Node, p.Visit)
			}
			if c := events[i].Child; !c.IsZero() {
				e.tend(event.Parent{Run: s.Run, Node: p.Node, Visit: p.Visit}, c)
			}
		case *event.ChildStarted:
			e.tend(event.Parent{Run: s.Run, Node: p.Node, Visit: p.Visit}, p.Child)
		case *event.RunPaused, *event.RunResumed:
			e.tendChildren(s)
			if o := s.Over; o != nil && s.Status == run.Paused && o.Budget != s.OwnBudget() {
				id := s.Run // the budget may have been raised since it was asked
				e.step(func() { e.resumeIfRaised(id) })
			}
		case *event.BudgetRaised:
			e.tendChildren(s)
			if p.Budget == s.OwnBudget() && l.wf.HasChildren() {
				e.step(func() { e.resumeOver(p.Budget, p.Limits) })
			}
		case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			if s.Parent != nil {
				e.tend(*s.Parent, s.Run)
			}
		}
	}
	if fresh {
		e.tendChildren(s)
	}
	if len(events) > 0 || fresh {
		at, ok := machine.Due(s)
		e.arm(s.Run, at, ok)
	}
}

// recover takes up every run that was running, sets the alarms, and frees what nobody
// will ever tell of.
func (e *engine) recover() {
	holds, taken := held(&e.w.costs), 1
	took := func() {
		if taken--; taken == 0 {
			e.releaseDead(holds)
			e.keepDays("")
			e.resumeRaised()
		}
	}
	for _, id := range e.w.ids {
		row := e.w.rows[id]
		if row == nil || row.Status.Terminal() {
			continue
		}
		if row.Parent != nil {
			e.tend(*row.Parent, id)
		}
		if row.Status == run.Running {
			taken++
			e.insist(id, "system", machine.Continue{}, took)
			continue
		}
		// The views have its timers.
		s, err := run.Fold(e.log, id, run.Newest)
		if err != nil {
			e.w.broken(fmt.Errorf("run %s does not fold: %w", id, err))
			return
		}
		at, ok := machine.Due(s)
		e.arm(id, at, ok)
	}
	e.ring()
	took()
}

// alarms wake runs when something of theirs is due.
type alarms struct {
	at    map[eventlog.RunID]event.Time
	heap  alarmHeap // may hold moments that at no longer names
	timer int       // of those that were set, the one that counts
}

// horizon is how long the timer of the alarms sleeps at most: a clock that was set
// is noticed then.
const horizon = time.Hour

func (e *engine) arm(id eventlog.RunID, at event.Time, ok bool) {
	if !ok {
		delete(e.alarms.at, id)
		return
	}
	if e.alarms.at[id] == at {
		return
	}
	e.alarms.at[id] = at
	heap.Push(&e.alarms.heap, alarm{at, id})
	if e.alarms.heap[0].run == id {
		e.step(e.ring)
	}
}

// ring wakes the runs that are due, and sleeps until the next is.
func (e *engine) ring() {
	a, now, next := &e.alarms, e.w.now(), horizon
	for len(a.heap) > 0 {
		first := a.heap[0]
		if a.at[first.run] == first.at && first.at > now {
			next = min(time.Duration(first.at-now), horizon)
			break
		}
		heap.Pop(&a.heap)
		if a.at[first.run] == first.at {
			delete(a.at, first.run)
			e.wake(first.run)
		}
	}
	if len(a.heap) == 0 {
		return // who arms the first rings
	}
	a.timer++
	mine := a.timer
	e.after(next, func() {
		if e.alarms.timer == mine {
			e.ring()
		}
	})
}

// wake has a run look at what is due.
func (e *engine) wake(id eventlog.RunID) {
	var at event.Time
	var armed bool
	e.enqueue(id, &request{
		meta: machine.Meta{At: e.w.now(), Actor: "system"}, cmd: machine.Wake{},
		view: func(s *run.State) { at, armed = machine.Due(s) },
		answered: func(err error) {
			if err != nil && !errors.Is(err, errNotFound) {
				at, armed = e.w.now()+event.Time(time.Second), true
			}
			e.arm(id, at, armed)
		},
	})
}

type alarm struct {
	at  event.Time
	run eventlog.RunID
}

type alarmHeap []alarm

func (h alarmHeap) Len() int { return len(h) }
func (h alarmHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && string(h[i].run[:]) < string(h[j].run[:])
}
func (h alarmHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *alarmHeap) Push(x any)   { *h = append(*h, x.(alarm)) }
func (h *alarmHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
