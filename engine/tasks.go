package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Limits of what workers may ask for.
const (
	MaxPoll       = 100         // tasks of one poll
	MaxPollWait   = time.Minute // that a poll waits
	MinLease      = time.Second
	MaxLease      = time.Hour
	DefaultLease  = 30 * time.Second
	MaxPollNames  = 100      // queues, or handlers, of one poll
	MaxWorkerName = 128      // bytes of the name of a worker, a queue or a handler
	MaxCheckpoint = 64 << 10 // bytes of a checkpoint, as it is stored
	MaxProgress   = 1 << 10  // bytes of a text of progress
	MaxReason     = 4 << 10  // bytes of the message of a failure, or of the reason of a release
)

// DefaultQueue is the queue of worker nodes that name none.
const DefaultQueue = string(workflow.Worker)

// PollRequest asks for tasks.
type PollRequest struct {
	Namespace event.Namespace // whose tasks are handed out
	Worker    string          // who asks
	Queues    []string        // none: DefaultQueue
	Handlers  []string        // what it can do
	Max       int             // tasks; 0 = 1
	Wait      time.Duration
	Lease     time.Duration // how long it holds a task without a word; 0 = DefaultLease
}

// check fills in what is left out, and returns what is wrong.
func (r *PollRequest) check() error {
	if len(r.Queues) == 0 {
		r.Queues = []string{DefaultQueue}
	}
	if r.Max == 0 {
		r.Max = 1
	}
	if r.Lease == 0 {
		r.Lease = DefaultLease
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{machine.ErrInvalid}, args...)...)
	}
	switch {
	case len(r.Handlers) == 0:
		return wrong("handlers: name at least one, as worker: names them in definitions")
	case len(r.Handlers) > MaxPollNames || len(r.Queues) > MaxPollNames:
		return wrong("%d queues and %d handlers: at most %d of each", len(r.Queues), len(r.Handlers), MaxPollNames)
	case r.Max < 0 || r.Max > MaxPoll:
		return wrong("max: %d is not between 1 and %d", r.Max, MaxPoll)
	case r.Wait < 0 || r.Wait > MaxPollWait:
		return wrong("wait: %s is not between 0s and %s", r.Wait, MaxPollWait)
	}
	if err := checkLease(r.Lease); err != nil {
		return err
	}
	for what, names := range map[string][]string{"worker": {r.Worker}, "queues": r.Queues, "handlers": r.Handlers} {
		for _, name := range names {
			if why := badName(name); why != "" {
				return wrong("%s: %q %s", what, clip(name), why)
			}
		}
	}
	return nil
}

func checkLease(d time.Duration) error {
	if d < MinLease || d > MaxLease {
		return fmt.Errorf("%w: lease: %s is not between %s and %s", machine.ErrInvalid, d, MinLease, MaxLease)
	}
	return nil
}

func badName(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > MaxWorkerName:
		return fmt.Sprintf("has %d bytes, the limit is %d", len(s), MaxWorkerName)
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return "has a character that cannot be printed"
		}
	}
	return ""
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Task is a task as a worker gets it.
type Task struct {
	ID       lease.ID       `json:"id" doc:"of the task: it is the same each time the task is handed out"`
	Token    string         `json:"token" doc:"goes with everything that is said about the task; begins with the attempt, a fencing token"`
	Run      eventlog.RunID `json:"run"`
	Workflow string         `json:"workflow"`
	Node     string         `json:"node"`
	Visit    int            `json:"visit"`
	Attempt  int            `json:"attempt" doc:"rises each time the task is handed out"`
	Queue    string         `json:"queue"`
	Handler  string         `json:"handler"`
	Input    any            `json:"input" doc:"the node's input; without one, what was delivered to the node"`
	// Key is the same for every attempt.
	Key         string      `json:"idempotency_key" doc:"the same each time the task is handed out, for services that take one"`
	Traceparent string      `json:"traceparent,omitempty" doc:"the attempt's place in its trace, as W3C Trace Context has it"`
	Lease       float64     `json:"lease" doc:"seconds that the task is held without a word"`
	Until       event.Time  `json:"lease_until"`
	Deadline    event.Time  `json:"deadline,omitzero" doc:"when the attempt fails whatever is said: the node's timeout"`
	Checkpoint  event.Value `json:"checkpoint" doc:"how far an attempt before had come; null: nobody said"`
}

// Poll hands out tasks to a worker, which holds each on a lease. It returns as soon as
// there is one, or none once r.Wait is over. When ctx ends before, what was about to be
// handed out is offered to others.
func (e *Engine) Poll(ctx context.Context, r PollRequest) ([]Task, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := e.accepting(false); err != nil {
		return nil, err
	}
	defer e.sched.workers.polls(&r)()
	waiting, cancel := context.WithTimeout(ctx, r.Wait)
	defer cancel()
	p := &poller{worker: who{r.Namespace, r.Worker}, queues: r.Queues, handlers: r.Handlers, max: r.Max, length: r.Lease}
	for {
		g := e.sched.await(waiting, p)
		e.renumber(g.unsure)
		tasks, err := e.handOut(ctx, g.jobs)
		if len(tasks) > 0 || err != nil || g.empty() {
			return tasks, err
		}
	}
}

// handOut makes tasks of jobs that a worker holds. What cannot be handed out is let go.
func (e *Engine) handOut(ctx context.Context, jobs []*job) ([]Task, error) {
	tasks := make([]*Task, len(jobs))
	places := make(chan struct{}, recoverWide)
	var wg sync.WaitGroup
	for i, j := range jobs {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			tasks[i] = e.handOutOne(ctx, j)
		})
	}
	wg.Wait()
	held, given := e.sched.grants(jobs, tasks)
	// If we crash from here on, the worker may have the tasks: the book says so.
	e.sched.leases.book.Put(held...)
	if err := ctx.Err(); err != nil {
		for i, j := range jobs {
			if tasks[i] != nil {
				e.sched.leases.book.End(j.id(), j.task.Attempt)
				e.sched.giveBack(j)
			}
		}
		return nil, err
	}
	return given, nil
}

// handOutOne evaluates the settings of a job that a worker holds. If there is nothing to
// be handed out the job is let go and there is no task.
func (e *Engine) handOutOne(ctx context.Context, j *job) *Task {
	t := j.task
	var task *Task
	var answer *agent.Answer
	stale, paused := false, false
	err := e.look(ctx, t.Run, func(s *run.State, w *workflow.Workflow) {
		if stale, paused = e.stale(s, w, j.id(), t.Attempt) != "", s.Status == run.Paused; stale || paused {
			return
		}
		v := s.Live[t.Node]
		if answer = e.evaluate(&t, s, w, v); answer == nil {
			in, _ := t.Input.Any() // as in a template, what cannot be read is not there
			task = &Task{
				ID: j.id(), Run: t.Run, Workflow: t.Workflow, Node: t.Node, Visit: t.Visit, Attempt: t.Attempt,
				Queue: j.queue, Handler: j.handler, Input: in, Key: t.Key(), Checkpoint: v.Checkpoint,
				Traceparent: e.traceparent(s, v),
			}
		}
	})
	switch {
	case errors.Is(err, ErrNotFound) || stale:
		e.sched.letGo(j)
	case err != nil && (ctx.Err() != nil || errors.Is(err, ErrBusy)):
		e.sched.giveBack(j)
	case err != nil:
		e.slog.Error("a task cannot be handed out; it is tried again", "run", t.Run.String(), "node", t.Node, "error", err)
		e.sched.rest(j)
	case paused:
		e.sched.park(j)
	case answer != nil:
		c, _ := result(&t, answer) // of a failure
		e.end(j, c)
	default:
		if in, ok := t.Settings["input"]; ok {
			task.Input = in
		} else if in, ok := t.Def.Def.Fields["input"]; ok {
			task.Input = in
		}
		return task
	}
	return nil
}

// grants completes tasks with what the worker's hold on them says. What was given up
// meanwhile is taken out.
func (s *scheduler) grants(jobs []*job, tasks []*Task) (held []lease.Lease, given []Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.e.opt.Now()
	given = []Task{}
	for i, j := range jobs {
		t, h := tasks[i], j.hold
		if h == nil || h.ending { // its lease passed before it was handed out
			tasks[i] = nil
		}
		if tasks[i] == nil {
			continue
		}
		h.until = now.Add(h.Length)
		t.Until, t.Lease = event.At(h.until), h.Length.Seconds()
		if j.task.Timeout > 0 {
			h.Deadline = event.At(now.Add(j.task.Timeout))
			t.Deadline = h.Deadline
			s.lookBy(h.Deadline.Std())
		}
		t.Token = s.leases.book.Token(t.ID, h.Claim)
		if len(t.Checkpoint) == 0 {
			t.Checkpoint = event.Null
		}
		held = append(held, h.Lease)
		given = append(given, *t)
	}
	return held, given
}
