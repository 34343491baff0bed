package engine

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// DefaultQueues bounds the attempts under way at once, by queue. A node's queue
// is its kind unless it names another; a queue not listed has OtherQueue.
var DefaultQueues = map[string]int{
	string(workflow.Exec):  64,
	string(workflow.HTTP):  256,
	string(workflow.Agent): 1024,
}

// OtherQueue bounds the attempts under way at once of a queue that is not listed.
const OtherQueue = 1024

// sweepEvery is how soon work is found whose doorbell was lost.
const sweepEvery = time.Second

// scheduler holds the attempts that are ready, by queue, and the ones under way.
type scheduler struct {
	e   *Engine
	ctx context.Context // of every attempt; nil before start

	mu      sync.Mutex
	queues  map[string]*queue
	jobs    map[attempt]*job // ready and under way
	number  uint64           // of jobs added, for a stable order
	offers  offers
	leases  leases
	workers workers
	ignored map[claimed]bool // attempts of which a late result was recorded
	wg      sync.WaitGroup   // attempts under way here
}

// attempt names one visit of a run's node; at most one attempt of it counts.
type attempt struct {
	run   eventlog.RunID
	node  string
	visit int
}

// queue is a set of jobs that share a limit.
type queue struct {
	name    string
	limit   int
	running int // here and by workers
	ready   jobHeap
	offers  map[who]*jobHeap // what waits for workers, by handler
}

// job is an attempt that is ready or under way. To do it is a duty.
type job struct {
	s        *scheduler
	task     agent.Task
	queue    string
	limit    int                // of the queue; 0: the engine's
	assigned *roster.Assignment // nil: no agent has it
	answer   *agent.Answer      // known already: the settings could not be evaluated
	priority int
	number   uint64
	place    int            // in its heap
	gone     bool           // guarded by scheduler.mu: given up before it began
	ctx      attemptContext // begins when the attempt does; guarded by scheduler.mu until then
	result   request        // what hands its result in

	// Of a worker node; guarded by scheduler.mu.
	handler string // that it is for; "": it is done here
	unsure  bool   // a worker may have it, see leases.go
	parked  bool   // its run is paused
	hold    *hold  // nil: no worker has it
}

// who names a worker, or a handler, of a namespace.
type who struct {
	namespace event.Namespace
	name      string
}

// wanted is the handler that a job is for.
func (j *job) wanted() who { return who{j.task.Namespace, j.handler} }

func (j *job) key() attempt { return attempt{j.task.Run, j.task.Node, j.task.Visit} }

func (j *job) id() lease.ID {
	return lease.ID{Run: j.task.Run, Node: j.task.Node, Visit: j.task.Visit}
}

func queueOf(n *workflow.Node) string { return cmp.Or(n.Def.Queue, string(n.Kind)) }

func newScheduler(e *Engine) *scheduler {
	s := &scheduler{e: e, queues: map[string]*queue{}, jobs: map[attempt]*job{}, ignored: map[claimed]bool{}}
	s.offers.most = maxOffers
	s.leases = leases{book: e.opt.Leases, held: map[*job]bool{}, next: e.opt.Now().Add(leaseIdle), nudge: make(chan struct{}, 1)}
	s.workers = workers{now: e.opt.Now, byName: map[who]*presence{}}
	return s
}

const topicTasks = "tasks"

// start begins to do tasks, until ctx ends.
func (s *scheduler) start(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	if err := s.e.bus.Listen(ctx, topicTasks, func(string) { s.sweep() }); err != nil {
		return err
	}
	s.e.spawn(func() { s.keepLeases(ctx) })
	s.e.spawn(func() {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				s.sweep()
			case <-ctx.Done():
				return
			}
		}
	})
	return nil
}

// wait waits for the attempts under way, which must have been told to end.
func (s *scheduler) wait() {
	s.mu.Lock()
	under := &s.wg // whoever has seen the engine open has begun by now
	s.mu.Unlock()
	under.Wait()
}

// add makes an attempt ready. It returns the attempt if it may begin at once: the
// caller has the duty done. Otherwise it waits for its turn in its queue.
func (s *scheduler) add(j *job) *job {
	s.assign(j)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.enter(j)
	switch {
	case j.handler != "":
		s.offer(j)
	case len(q.ready) == 0 && q.running < q.limit && s.open():
		q.running++
		s.begin(j)
		return j
	default:
		heap.Push(&q.ready, j)
	}
	s.e.bus.Ring(topicTasks, j.queue)
	return nil
}

// begin notes that an attempt begins, and with it its time. Called with mu held, while the engine is open.
func (s *scheduler) begin(j *job) {
	j.ctx.begin(s.ctx, j.task.Timeout)
	s.wg.Add(1)
}

// enter makes a job known in the place of an earlier attempt of its visit, and returns
// its queue. Called with mu held.
func (s *scheduler) enter(j *job) *queue {
	s.number++
	j.s, j.number = s, s.number
	if old := s.jobs[j.key()]; old != nil && old.handler != "" {
		j.number = old.number // it has waited long enough
		s.withdraw(old)
		if old.hold != nil {
			old.hold.over = true
		}
	}
	s.jobs[j.key()] = j
	q := s.queues[j.queue]
	if q == nil {
		q = &queue{name: j.queue, limit: s.limit(j.queue)}
		s.queues[j.queue] = q
	}
	if j.limit > 0 {
		q.limit = j.limit
	}
	return q
}

func (s *scheduler) limit(name string) int {
	if n := s.e.opt.Queues[name]; n > 0 {
		return n
	}
	if n := DefaultQueues[name]; n > 0 {
		return n
	}
	return OtherQueue
}

// sweep starts what is ready, in every queue, as far as the limits allow, and gives
// workers what they wait for.
func (s *scheduler) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		s.fill(q)
	}
	s.match()
	s.refill(s.ctx)
}

// fill starts what is ready in q. Called with mu held.
func (s *scheduler) fill(q *queue) {
	for q.running < q.limit && s.open() {
		j := q.next()
		if j == nil {
			return
		}
		q.running++
		s.begin(j)
		s.e.crew.do(j)
	}
}

// open reports whether attempts may begin: not while the engine stops, nor once the
// log has failed, since their results could not be recorded.
func (s *scheduler) open() bool {
	return s.ctx != nil && s.ctx.Err() == nil && s.e.accepting(true) == nil
}

func (q *queue) next() *job {
	for len(q.ready) > 0 {
		if j := heap.Pop(&q.ready).(*job); !j.gone {
			return j
		}
	}
	return nil
}

// do does the attempt and hands its result in. If nobody owns the run, that follows
// from it.
func (j *job) do() duty {
	j.assigned.Now(roster.Thinking, j.s.e.opt.Now())
	q := j.s.attempt(j)
	if q == nil {
		j.s.end(j)
		return nil
	}
	q.meta.At = j.s.e.now()
	l, err := j.s.e.runs.enqueue(j.task.Run, q)
	if err != nil {
		j.recorded(q, err)
	}
	if l == nil {
		return nil
	}
	return l
}

// recorded is told what became of a job's result. It is kept until the engine has it on
// disk, and handed in again if it could not be stored.
func (j *job) recorded(q *request, err error) {
	e := j.s.e
	if err == nil || refusal(err) || errors.Is(err, ErrNotFound) || e.accepting(false) != nil {
		j.s.end(j)
		return
	}
	e.slog.Warn("a result is handed in again", "run", j.task.Run.String(), "node", j.task.Node, "error", err)
	go func() { // j.s waits for it
		defer j.s.end(j)
		e.insist(func() error {
			again := &request{meta: q.meta, cmd: q.cmd, internal: true}
			again.meta.At = e.now()
			return e.runs.do(context.Background(), j.task.Run, again)
		})
	}()
}

// end notes that a job is over, and has the next one of its queue begin.
func (s *scheduler) end(j *job) {
	j.assigned.End()
	if a := j.task.Agent; a != nil && a.CallsWorkflows() {
		s.e.tendCalled(j.task.Run) // those that it waits for no longer
	}
	j.ctx.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.wg.Done()
	if s.jobs[j.key()] == j {
		delete(s.jobs, j.key())
	}
	q := s.queues[j.queue]
	q.running--
	s.fill(q)
}

// attempt does one attempt and returns what hands its result in. An attempt that was
// cancelled has no result: its run has ended or given it up, or the engine stops and
// the next start takes it up.
func (s *scheduler) attempt(j *job) *request {
	t := &j.task
	t.Redact = s.e.opt.Secrets.Redactor()
	if t.Kind != workflow.Worker { // which calls no model and no tool of ours
		t.Show, t.Note, t.Reserve = s.e.tokens.show(t), s.note(t), s.reserve(t)
		t.Screen, t.Workflows = s.e.screenTool(t), calls{s.e, t}
	}
	if j.assigned != nil {
		t.Doing = func(what string) { j.assigned.Now(what, s.e.opt.Now()) }
	}
	answer := j.answer
	if answer == nil {
		a := s.run(&j.ctx, t)
		answer = &a
	}
	// From here on the answer is on its way into the log, and to whoever looks. The
	// redactor is a new one: secrets may have become known meanwhile.
	answer.Redact(s.e.opt.Secrets.Redactor())
	answer.Usage = s.e.priced(answer.Usage, t.Agent)
	if answer.Failure != nil && errors.Is(j.ctx.Err(), context.Canceled) {
		return s.givenUp(t, answer.Usage)
	}
	j.assigned.Result(answer.Failure != nil)
	c, err := result(t, answer)
	if err != nil {
		c.Failure = &event.Failure{Class: event.ClassInvalidOutput, Message: err.Error()}
	}
	if answer.Failure != nil && answer.Failure.After > 0 {
		c.After = s.e.now() + event.Time(answer.Failure.After)
	}
	j.result = request{meta: machine.Meta{Actor: runnerOf(t)}, cmd: c, internal: true, job: j}
	return &j.result
}

// runnerOf is the actor of what comes of a task that is done here.
func runnerOf(t *agent.Task) string {
	if name := runners[t.Kind]; name != "" {
		return name
	}
	return "runner:" + string(t.Kind)
}

// runners are the actors of the kinds that most tasks are of.
var runners = map[workflow.Kind]string{
	workflow.Agent: "runner:agent", workflow.HTTP: "runner:http", workflow.Exec: "runner:exec", workflow.Worker: "runner:worker",
}

// givenUp tells what an attempt used that was called off. If the engine stops there is
// nothing to tell: the attempt is still under way in the log, and lost.
func (s *scheduler) givenUp(t *agent.Task, u *event.Usage) *request {
	if s.ctx.Err() != nil || !machine.Spends(t.Def) {
		return nil
	}
	id := event.CallID{Node: t.Node, Visit: t.Visit, Attempt: t.Attempt}
	s.e.post(t.Run, machine.Meta{Actor: runnerOf(t)}, machine.Settle{Call: id, Usage: u})
	return nil
}

// reserve returns what has a further call of a task's model reserved: one that sends so
// many characters, after so much was used. ErrNotCurrent says that it cannot be made, and
// that the attempt has ended.
func (s *scheduler) reserve(t *agent.Task) func(ctx context.Context, turn int, chars, output int64, used *event.Usage) error {
	if !machine.CallsModel(t.Def) {
		return nil
	}
	return func(ctx context.Context, turn int, chars, output int64, used *event.Usage) error {
		need := s.e.need(t.Agent, chars, output)
		need.CallID = event.CallID{Node: t.Node, Visit: t.Visit, Attempt: t.Attempt, Turn: turn}
		return s.hand(ctx, t, machine.Reserve{Need: need, Used: s.e.priced(used, t.Agent)})
	}
}

// note returns what has a call of a tool recorded for a task.
func (s *scheduler) note(t *agent.Task) func(context.Context, *event.ToolCalled) error {
	return func(ctx context.Context, p *event.ToolCalled) error { return s.hand(ctx, t, machine.Note{Call: *p}) }
}

// hand gives the run of an attempt that is under way a command of the attempt's, and
// returns once it is on disk. ErrNotCurrent says that the attempt is not under way, or
// is not any more.
func (s *scheduler) hand(ctx context.Context, t *agent.Task, c machine.Command) error {
	m := machine.Meta{Actor: runnerOf(t)}
	for wait := insistFirst; ; wait = min(2*wait, insistMost) {
		m.At = s.e.now()
		current := false
		err := s.e.runs.do(ctx, t.Run, &request{meta: m, cmd: c, internal: true, view: func(st *run.State, _ *workflow.Workflow) {
			v := st.Live[t.Node]
			current = v != nil && v.Visit == t.Visit && v.Attempt == t.Attempt && v.Status == run.NodeRunning
		}})
		switch {
		case err == nil && current:
			return nil
		case err == nil, refusal(err), errors.Is(err, ErrNotFound):
			return agent.ErrNotCurrent
		}
		select { // the disk is full, say: the attempt waits for it as its result would
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run calls the runner. A panic in it fails the attempt.
func (s *scheduler) run(ctx context.Context, t *agent.Task) (a agent.Answer) {
	runner := s.e.runner(t.Workflow, t.Kind)
	defer func() {
		if p := recover(); p != nil {
			why := s.e.opt.Secrets.Redactor().Text(fmt.Sprint(p))
			s.e.slog.Error("a runner panicked", "run", t.Run.String(), "node", t.Node, "panic", why, "stack", string(debug.Stack()))
			a = agent.Fail(event.ClassInternal, "the runner of %s nodes panicked: %s", t.Kind, why)
		}
	}()
	a = runner.Run(ctx, t)
	if a.Failure != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		a.Failure = &agent.Failure{Class: event.ClassTimeout, Message: fmt.Sprintf("no result within %s: %s", t.Timeout, a.Failure.Message)}
	}
	return a
}

func (e *Engine) runner(of string, k workflow.Kind) agent.Runner {
	if e.scripted(of) {
		return e.opt.Replies
	}
	if r := e.opt.Runners[k]; r != nil {
		return r
	}
	return agent.Unavailable(k)
}

// result turns an answer into the command that hands it in.
func result(t *agent.Task, a *agent.Answer) (machine.Result, error) {
	c := machine.Result{Node: t.Node, Visit: t.Visit, Attempt: t.Attempt, Usage: a.Usage, Sandbox: a.Sandbox}
	if f := a.Failure; f != nil {
		c.Failure, c.Again = &event.Failure{Class: f.Class, Message: f.Message}, f.Again
		return c, nil
	}
	var err error
	if c.Value, err = event.ValueOf(a.Result); err != nil {
		return c, fmt.Errorf("the result is no value: %w", err)
	}
	if len(a.Set) > 0 {
		c.Set = make(map[string]event.Value, len(a.Set))
		for k, v := range a.Set {
			if c.Set[k], err = event.ValueOf(v); err != nil {
				return c, fmt.Errorf("state %s: %w", k, err)
			}
		}
	}
	return c, nil
}

// cancel gives up the attempt of a visit; an unknown one is none. It reports whether the
// attempt has begun: what it used until it ends is told.
func (s *scheduler) cancel(id eventlog.RunID, node string, visit int) (told bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := attempt{id, node, visit}
	j := s.jobs[k]
	switch {
	case j == nil:
		return false
	case j.hold != nil: // the worker is told when it next says something
		j.hold.over = true
		return true
	case j.handler != "":
		s.withdraw(j)
	case j.ctx.begun():
		j.gone = true
		j.ctx.end()
		told = true
	default:
		j.gone = true
		j.assigned.End() // nobody will begin it
	}
	delete(s.jobs, k)
	return told
}

// has reports whether an attempt is ready or under way here.
func (s *scheduler) has(id eventlog.RunID, node string, visit, number int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[attempt{id, node, visit}]
	return j != nil && j.task.Attempt == number
}

// jobHeap orders jobs by priority, the higher first, then by age.
type jobHeap []*job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h jobHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}
func (h *jobHeap) Push(x any) {
	j := x.(*job)
	j.place = len(*h)
	*h = append(*h, j)
}
func (h *jobHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	x.place = -1
	return x
}

// before reports whether j comes before o.
func (j *job) before(o *job) bool {
	if j.priority != o.priority {
		return j.priority > o.priority
	}
	return j.number < o.number
}
