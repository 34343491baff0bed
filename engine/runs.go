package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const (
	// maxQueue is how many commands may wait for one run; more are refused.
	maxQueue = 4096
	// maxBatch is how many records a batch of commands may reach before it is
	// appended; a single command may go beyond.
	maxBatch = 4096
	// maxBatchBytes likewise.
	maxBatchBytes = 16 << 20
	// maxSpare is how large the slice is that a run keeps for its next requests.
	maxSpare = 16
	// loadPage is how many events are read at once.
	loadPage = 1024
)

// ErrBusy: more commands wait for the run than it can take.
var ErrBusy = errors.New("too many commands wait for this run")

// runs holds the runs that are in memory and gives each to one owner at a time.
type runs struct {
	e *Engine

	mu     sync.Mutex
	byID   map[eventlog.RunID]*loaded
	idle   idle
	closed bool
	owners sync.WaitGroup
}

// loaded is one run in memory. To own it is a duty.
type loaded struct {
	r     *runs
	id    eventlog.RunID
	queue []*request // guarded by runs.mu
	owned bool       // guarded by runs.mu: a goroutine drains queue
	place place      // guarded by runs.mu: in runs.idle, while not owned

	// Only the owner touches what follows.
	state *run.State // nil: not loaded, or dropped
	wf    *workflow.Workflow
	begun []*job     // attempts that may begin, and that nobody does yet
	spare []*request // empty, for queue
}

func (l *loaded) do() duty { return l.r.own(l) }

// A request is a command for a run, or a look at it.
type request struct {
	meta machine.Meta
	cmd  machine.Command
	// wf is set with a command that may create the run.
	wf *workflow.Workflow
	// first says that the run's ID was made for it: the log has nothing of it.
	first bool
	// view is called with the state after the request's batch is on disk. It must
	// not keep the state.
	view func(*run.State, *workflow.Workflow)
	// internal is set on what the engine gives itself: it is served to the end.
	internal bool
	// answered is called once with what became of the request, on the run's owner; or
	// job is told, whose result the request is.
	answered func(error)
	job      *job

	mu   sync.Mutex // guards gone, and with it what view writes to
	gone bool       // nobody waits any more
}

// show calls view, unless whoever asked has gone.
func (q *request) show(s *run.State, wf *workflow.Workflow) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.view != nil && !q.gone {
		q.view(s, wf)
	}
}

func (q *request) answer(err error) {
	if q.job != nil {
		q.job.recorded(q, err)
	} else {
		q.answered(err)
	}
}

func (q *request) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gone = true
}

func newRuns(e *Engine) *runs {
	return &runs{e: e, byID: map[eventlog.RunID]*loaded{}}
}

// do gives a request to its run and waits for the answer. Giving up the wait does
// not take the command back.
func (r *runs) do(ctx context.Context, id eventlog.RunID, q *request) error {
	done := make(chan error, 1)
	q.answered = func(err error) { done <- err }
	if err := r.give(id, q); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		q.leave()
		return fmt.Errorf("gave up waiting for run %s: %w", id, ctx.Err())
	}
}

// give gives a request to its run, whose owner answers it.
func (r *runs) give(id eventlog.RunID, q *request) error {
	l, err := r.enqueue(id, q)
	if l != nil {
		r.e.crew.do(l)
	}
	return err
}

// enqueue gives a request to its run. It returns the run if nobody owns it: the caller
// does then, and has the duty done.
func (r *runs) enqueue(id eventlog.RunID, q *request) (*loaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrStopped
	}
	l := r.byID[id]
	if l == nil {
		l = &loaded{r: r, id: id}
		r.byID[id] = l
	}
	if len(l.queue) >= maxQueue {
		return nil, fmt.Errorf("%w: %d", ErrBusy, len(l.queue))
	}
	l.queue = append(l.queue, q)
	if l.owned {
		return nil, nil
	}
	l.owned = true
	r.idle.remove(l)
	r.owners.Add(1)
	return l, nil
}

// own serves the run's requests until there are none. What may begin then does: one
// attempt follows on this goroutine, the others are the crew's.
func (r *runs) own(l *loaded) duty {
	for {
		r.mu.Lock()
		batch := l.queue
		begun := l.begun
		l.begun = nil
		if len(batch) == 0 {
			l.owned = false
			r.rest(l)
			r.mu.Unlock()
			r.owners.Done()
			return r.begin(begun, 1)
		}
		l.queue, l.spare = l.spare, nil
		r.mu.Unlock()
		r.begin(begun, 0) // not to wait for another commit
		r.serve(l, batch)
		if cap(batch) <= maxSpare {
			clear(batch)
			l.spare = batch[:0]
		}
	}
}

// begin has attempts begin but for the last keep of them, at most one, which it returns.
func (r *runs) begin(jobs []*job, keep int) duty {
	for len(jobs) > keep {
		r.e.crew.do(jobs[0])
		jobs = jobs[1:]
	}
	if len(jobs) == 0 {
		return nil
	}
	return jobs[0]
}

// rest keeps an idle run in the cache and drops the one idle longest. Called with
// mu held.
func (r *runs) rest(l *loaded) {
	if l.state == nil || l.state.Status == run.Pending || l.state.Status.Terminal() {
		delete(r.byID, l.id)
		return
	}
	r.idle.add(l)
	for r.idle.n > r.e.opt.MaxLoaded {
		old := r.idle.first
		r.idle.remove(old)
		delete(r.byID, old.id)
	}
}

// drain takes no more requests and waits until all are answered.
func (r *runs) drain() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.owners.Wait()
}

// serve decides a batch of requests as one append, or a few.
func (r *runs) serve(l *loaded, batch []*request) {
	for len(batch) > 0 {
		n := r.append(l, batch)
		batch = batch[n:]
	}
}

// append decides requests from the front of batch until there is enough for one
// append, appends, dispatches and answers. It returns how many it took.
func (r *runs) append(l *loaded, batch []*request) int {
	if err := r.load(l, batch[0]); err != nil {
		batch[0].answer(err)
		return 1
	}
	from := l.state.Version
	d := decisions.Get().(*decided)
	defer d.done()
	d.choose, d.chosen = r.e.choosing(l.wf.Name)
	d.meter.e, d.meter.l = r.e, l
	fresh := r.fresh(l, batch)
	if fresh {
		if err := r.e.lost(l, d); err != nil {
			return r.broken(l, batch, d, err)
		}
	}
	for _, q := range batch {
		if d.enough() {
			break
		}
		refused, err := r.decide(l, q, d)
		if err != nil {
			return r.broken(l, batch, d, err)
		}
		d.answers = append(d.answers, refused)
	}
	answers, taken := d.answers, batch[:len(d.answers)]
	events := d.room.Events()
	if len(events) > 0 {
		if err := r.commit(l, from, d); err != nil {
			l.state = nil
			r.e.ledger.giveBack(d.meter.grants)
			for _, q := range taken {
				q.answer(err)
			}
			return len(taken)
		}
	}
	r.e.ledger.committed(l.state, events, l.state.Seq)
	for i, q := range taken { // their places are free for what follows from them
		if q.job != nil {
			q.answer(answers[i])
		}
	}
	r.e.dispatch(l, events, fresh, &d.meter)
	if d.cut {
		r.e.post(l.id, machine.Meta{Actor: system}, machine.Continue{})
	}
	for i, q := range taken {
		if q.job != nil {
			continue
		}
		if answers[i] == nil {
			q.show(l.state, l.wf)
		}
		q.answer(answers[i])
	}
	return len(taken)
}

// decided is what a batch has decided so far. Its memory is that of a batch before.
type decided struct {
	choose  func(*workflow.Node, *run.Visit) *event.AgentChosen
	chosen  func() // ends choose
	meter   meter
	room    machine.Room
	bytes   int
	cut     bool              // a decision was so large that the rest of it is left to Continue
	answers []error           // by request
	records []eventlog.Record // what the append is made of
}

// decisions are those that are done with.
var decisions = sync.Pool{New: func() any { return new(decided) }}

// done ends a batch: nothing is left that looks at what it decided.
func (d *decided) done() {
	d.chosen()
	d.room.Clear()
	clear(d.answers)
	clear(d.records)
	d.choose, d.chosen, d.meter, d.bytes, d.cut = nil, nil, meter{}, 0, false
	d.answers, d.records = d.answers[:0], d.records[:0]
	if max(cap(d.answers), cap(d.records)) <= maxSpare {
		decisions.Put(d)
	}
}

// decide has the machine decide a command, on top of what was decided before.
func (d *decided) decide(l *loaded, m machine.Meta, c machine.Command) error {
	m.Choose, m.Meter, m.Room = d.choose, &d.meter, &d.room
	d.meter.at = m.At
	events, err := machine.Decide(l.wf, l.state, m, c)
	if err != nil {
		return err
	}
	for i := range events {
		d.bytes += len(events[i].Record.Payload)
	}
	d.cut = d.cut || machine.Cut(events)
	return nil
}

func (d *decided) enough() bool { return len(d.room.Events()) >= maxBatch || d.bytes >= maxBatchBytes }

// decide decides one request of a batch. Where it is refused the state is as it was; an
// error says that the state cannot be decided on.
func (r *runs) decide(l *loaded, q *request, d *decided) (refused, err error) {
	if l.state.Status == run.Pending {
		if q.wf == nil {
			return fmt.Errorf("%w: run %s", ErrNotFound, l.id), nil
		}
		l.wf = q.wf
	}
	if q.cmd == nil {
		return nil, nil
	}
	if err := r.e.accepting(q.internal); err != nil {
		return err, nil
	}
	cmd := q.cmd
	if !l.state.HasKey(q.meta.Key) { // what was done is answered as it was
		err := r.e.erasures.allows(l.state, cmd)
		if err == nil {
			cmd, err = r.e.screen(l, cmd, q.meta.Actor)
		}
		if err != nil {
			return err, nil
		}
	}
	if err = d.decide(l, q.meta, cmd); refusal(err) {
		return err, nil
	}
	return nil, err
}

// fresh reports whether the run has to be taken up first: it has not moved since
// before the engine was started, and now somebody moves it. Those who only look
// at it must not have to wait for the log.
func (r *runs) fresh(l *loaded, batch []*request) bool {
	if l.state.Status == run.Pending || l.state.Seq > r.e.taken() {
		return false
	}
	moved := false
	for _, q := range batch {
		moved = moved || q.cmd != nil
	}
	return moved
}

// broken answers a batch whose run's state cannot be decided on: what the batch
// has decided so far rests on it and goes with it.
func (r *runs) broken(l *loaded, batch []*request, d *decided, err error) int {
	l.state = nil
	r.e.ledger.giveBack(d.meter.grants)
	err = fmt.Errorf("run %s: %w", l.id, err)
	r.e.slog.Error("a decision failed", "run", l.id.String(), "error", err)
	for _, q := range batch {
		q.answer(err)
	}
	return len(batch)
}

// refusal reports whether a decision was refused, with the state as it was.
func refusal(err error) bool {
	return err != nil && (errors.Is(err, machine.ErrRefused) || errors.Is(err, machine.ErrInvalid) || errors.Is(err, machine.ErrNotFound))
}

// commit appends what was decided. If we crash before it returns, none of it or
// all of it is in the log, and the next start goes on from there.
func (r *runs) commit(l *loaded, from eventlog.Version, d *decided) error {
	events := d.room.Events()
	for i := range events {
		d.records = append(d.records, events[i].Record)
	}
	records := d.records
	// The wait is not bound to any caller: the batch is of several.
	began := time.Now()
	first, err := r.e.log.Append(context.Background(), eventlog.Append{ID: appendID(), Run: l.id, Expect: from, Records: records})
	if err != nil {
		return fmt.Errorf("run %s: %w", l.id, r.e.stored(err))
	}
	if observe := r.e.opt.OnAppend; observe != nil {
		observe(records, time.Since(began))
	}
	l.state.Seq = first + eventlog.Seq(len(records)) - 1
	r.e.compact.committed(l.id, from, l.state.Version)
	r.e.tell(l, events)
	return nil
}

// appendID returns a number that no other append has. Nobody gains by guessing it.
func appendID() eventlog.AppendID {
	for {
		if id := eventlog.AppendID(rand.Uint64()); id != 0 {
			return id
		}
	}
}

// load makes sure that the run's state and definition are in memory, for q. A run
// without events gets q's.
func (r *runs) load(l *loaded, q *request) error {
	if l.state != nil && l.state.Status != run.Pending {
		return nil
	}
	if l.state == nil && q.first {
		l.state = run.Begin(r.e.log, l.id)
	}
	if l.state == nil {
		s, err := r.e.snapshots.load(r.e.log, l.id)
		if err != nil {
			return err
		}
		l.state = s
	}
	if l.state.Status == run.Pending {
		l.wf = q.wf
		if q.wf == nil {
			l.state = nil
			return fmt.Errorf("%w: run %s", ErrNotFound, l.id)
		}
		return nil
	}
	var err error
	if l.wf, err = r.e.defs.byHash(l.state.Hash); err != nil {
		l.state = nil
		return fmt.Errorf("run %s: %w", l.id, err)
	}
	return nil
}

// post sends a command without waiting for it, and again until the run has it:
// it follows from what is in the log, so that a crash in between is made good by
// the next start.
func (e *Engine) post(id eventlog.RunID, m machine.Meta, c machine.Command) {
	m.At = max(m.At, e.now())
	e.wg.Go(func() {
		e.insist(func() error { return e.runs.do(context.Background(), id, &request{meta: m, cmd: c}) })
	})
}

// system is the actor of what the engine does by itself.
const system = "system"
