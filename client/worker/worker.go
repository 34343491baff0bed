package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/client"
)

// Options of a worker. All of them may be left out.
type Options struct {
	// Name says who did it, in events and lists; made of the host's name and the
	// process's number if empty. No two workers should have the same.
	Name   string
	Queues []string // none: "worker", the queue of nodes that name none
	// Tasks is how many are done at once; 0 is 1.
	Tasks int
	// Lease is how long a task is kept for this worker when it is not heard of, 1s to
	// 1h; 0 is 30s. It is renewed every third of it.
	Lease time.Duration
	// Grace is how long tasks may come to their end when the worker is to stop; 0 is
	// 10s, and less than nothing is no time at all.
	Grace  time.Duration
	Logger *slog.Logger // nil: nothing is logged
}

const (
	// pollWait is how long the daemon is asked to wait for a task.
	pollWait = 20 * time.Second
	// maxTasks is the most that one poll may ask for.
	maxTasks = 100
	// handInTime is how long the last word about a task is tried to be sent once the
	// worker is to stop: a daemon that is away may have to be given up.
	handInTime = 10 * time.Second
)

// Worker does tasks.
type Worker struct {
	c        *client.Client
	o        Options
	handlers map[string]Handler
	slog     *slog.Logger
}

// New returns a worker that has yet to be given handlers.
func New(c *client.Client, o Options) *Worker {
	if o.Name == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "worker"
		}
		o.Name = fmt.Sprintf("%s-%d-%s", clip(host, 64), os.Getpid(), rand.Text()[:4])
	}
	if o.Tasks <= 0 {
		o.Tasks = 1
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	w := &Worker{c: c, o: o, handlers: map[string]Handler{}, slog: o.Logger}
	if w.slog == nil {
		w.slog = slog.New(slog.DiscardHandler)
	}
	return w
}

// Handle has f do the tasks of a handler, as worker: names it in definitions. It must
// be called before Run.
func (w *Worker) Handle(name string, f Handler) { w.handlers[name] = f }

// Run does tasks until ctx ends, then sees to those that are under way and returns nil.
// It returns an error when the daemon refuses to hand out tasks to this worker for what
// it asks or who it is. A daemon that cannot be reached is waited for.
func (w *Worker) Run(ctx context.Context) error {
	if len(w.handlers) == 0 {
		return errors.New("the worker has no handlers: call Handle before Run")
	}
	// Tasks outlive ctx: for as long as the grace, or until the worker is refused.
	tasks, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	graceful := context.AfterFunc(ctx, func() {
		t := time.NewTimer(max(0, w.o.Grace))
		defer t.Stop()
		select {
		case <-t.C:
			end(ErrStopping)
		case <-tasks.Done():
		}
	})
	defer graceful()
	var under sync.WaitGroup
	err := w.take(ctx, tasks, &under)
	if err != nil {
		end(ErrStopping)
	}
	under.Wait()
	return err
}

type pollAnswer struct {
	Tasks []*Task `json:"tasks"`
}

// take polls for as many tasks as there are places, and starts them.
func (w *Worker) take(ctx, tasks context.Context, under *sync.WaitGroup) error {
	var names []string
	for name := range w.handlers {
		names = append(names, name)
	}
	slices.Sort(names)
	poll := map[string]any{"worker": w.o.Name, "handlers": names, "wait": pollWait.String()}
	if len(w.o.Queues) > 0 {
		poll["queues"] = w.o.Queues
	}
	if w.o.Lease > 0 {
		poll["lease"] = w.o.Lease.String()
	}
	places := make(chan struct{}, w.o.Tasks)
	var backoff client.Backoff
	for {
		free := 0
		select {
		case places <- struct{}{}: // wait for one
			free++
		case <-ctx.Done():
			return nil
		}
	more:
		for free < maxTasks {
			select {
			case places <- struct{}{}:
				free++
			default:
				break more
			}
		}
		poll["max"] = free
		var a pollAnswer
		err := w.c.Get(ctx, client.Request{Path: "/v1/tasks/poll", In: poll}, &a)
		for range free - len(a.Tasks) {
			<-places
		}
		for _, t := range a.Tasks {
			under.Go(func() {
				defer func() { <-places }()
				w.do(tasks, t)
			})
		}
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			backoff.Reset()
			continue
		}
		again, after := client.Retryable(err)
		if p := (*client.Problem)(nil); !again && errors.As(err, &p) && p.Status < 500 {
			return fmt.Errorf("the worker is refused: %w", err)
		}
		w.slog.Warn("no tasks can be had; this is tried again", "error", err)
		if backoff.Pause(ctx, after) != nil {
			return nil
		}
	}
}

// do does one task. tasks ends when tasks are to be given back.
func (w *Worker) do(tasks context.Context, t *Task) {
	log := w.slog.With("run", t.Run, "node", t.Node, "attempt", t.Attempt)
	t.soon = make(chan struct{}, 1)
	ctx, lose := context.WithCancelCause(tasks)
	defer lose(nil)
	if left, bounded := t.left(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, left, ErrDeadline)
		defer cancel()
	}
	// The lease is renewed until the last word is answered.
	beating, stop := context.WithCancel(context.Background())
	var beats sync.WaitGroup
	beats.Go(func() { w.beat(beating, t, lose) })
	defer beats.Wait()
	defer stop()

	v, err := w.call(ctx, t)
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, ErrStale), errors.Is(cause, ErrCancelled):
		log.Info("a task is not this worker's any more", "why", cause)
		// What it has used is charged all the same.
		if m := outcome(v, err, nil); m.body["usage"] != nil {
			if err := w.say(tasks, t, m); err != nil && !errors.Is(err, ErrStale) && !errors.Is(err, client.ErrNotFound) {
				log.Warn("what a task has used is not recorded", "error", err)
			}
		}
		return
	case errors.Is(cause, ErrStopping) && err != nil:
		err = Release(ErrStopping.Error())
	case errors.Is(cause, ErrDeadline) && err != nil: // the daemon may have been away then
		err = fmt.Errorf("%w: %w", ErrDeadline, err)
	}
	checkpoint, _ := t.news()
	m := outcome(v, err, checkpoint)
	if err = w.say(tasks, t, m); err != nil && errors.Is(err, errRefused) {
		log.Error("what came of a task is refused: the task fails", "error", err)
		err = w.say(tasks, t, failed(Fail("invalid_output", "what the worker handed in was refused: %w", err)))
	}
	if err != nil {
		log.Warn("what came of a task is not recorded", "error", err)
		return
	}
	log.Info("a task has ended", "with", m.verb)
}

// call calls the handler of a task.
func (w *Worker) call(ctx context.Context, t *Task) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.slog.Error("a handler panicked", "handler", t.Handler, "run", t.Run, "node", t.Node, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = Fail("internal", "the handler panicked: %v", p)
		}
	}()
	return w.handlers[t.Handler](ctx, t)
}

// request is one about a task. Its body is given the token.
func (w *Worker) request(t *Task, verb string, body map[string]any) client.Request {
	body["token"] = t.Token
	return client.Request{Path: "/v1/tasks/" + t.ID + "/" + verb, In: body}
}

// beat renews the lease of a task until ctx ends, every third of it, and when there is
// something to say. lose is called when the task is not the worker's any more.
func (w *Worker) beat(ctx context.Context, t *Task, lose context.CancelCauseFunc) {
	every := max(t.lease()/3, leastBeat)
	timer := time.NewTimer(every)
	defer timer.Stop()
	var backoff client.Backoff
	for {
		select {
		case <-timer.C:
		case <-t.soon:
		case <-ctx.Done():
			return
		}
		body := map[string]any{}
		checkpoint, progress := t.news()
		if checkpoint != nil {
			body["checkpoint"] = checkpoint
		}
		if progress != nil {
			body["progress"] = *progress
		}
		var a struct{ Status string }
		err := w.c.Get(ctx, w.request(t, "heartbeat", body), &a)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrStale), errors.Is(err, client.ErrNotFound):
			lose(ErrStale)
			return
		case err != nil:
			again, after := client.Retryable(err)
			if again {
				t.unsent(checkpoint, progress)
			} else {
				w.slog.Error("the lease of a task is not renewed", "run", t.Run, "node", t.Node, "error", err)
			}
			if again || len(body) > 1 { // without what was refused, it may be renewed
				if backoff.Pause(ctx, min(after, every)) == nil {
					t.ring()
				}
				continue
			}
		case a.Status == "cancelled":
			lose(ErrCancelled)
			return
		default:
			t.mu.Lock()
			t.paused = a.Status == "paused"
			t.mu.Unlock()
		}
		backoff.Reset()
		timer.Reset(every)
	}
}

// leastBeat is how often a lease is renewed at most, however short it is said to be.
const leastBeat = 100 * time.Millisecond

// errRefused: the daemon does not take what was said, for what it is.
var errRefused = errors.New("refused")

// say sends the last word about a task until it is answered; for a while, once the
// worker is to stop.
func (w *Worker) say(tasks context.Context, t *Task, m message) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(tasks))
	defer cancel()
	defer context.AfterFunc(tasks, func() {
		timer := time.NewTimer(handInTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-ctx.Done():
		}
	})()
	var backoff client.Backoff
	for {
		var a struct{ Repeated bool }
		err := w.c.Get(ctx, w.request(t, m.verb, m.body), &a)
		again, after := client.Retryable(err)
		p := (*client.Problem)(nil)
		switch {
		case err == nil:
			return nil
		case errors.As(err, &p) && p.Status == 500: // as docs/workers.md has it
			again = true
		case errors.Is(err, client.ErrInvalid), errors.Is(err, client.ErrTooLarge):
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if !again {
			return err
		}
		if backoff.Pause(ctx, after) != nil {
			return fmt.Errorf("given up: %w", err)
		}
	}
}
