package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// watchers are told when runs have new events on disk. Every step of every run looks
// here, so runs are spread over parts: those who step at the same time seldom meet.
type watchers [64]watchersPart

// of returns the part that a run is in: the end of a run's ID is random.
func (w *watchers) of(id eventlog.RunID) *watchersPart { return &w[int(id[len(id)-1])%len(w)] }

type watchersPart struct {
	mu      sync.Mutex
	run     map[eventlog.RunID]*watched
	waiting map[eventlog.RunID][]*waiter
}

type watched struct {
	n  int           // watchers
	ch chan struct{} // closed at the run's next commit
}

// Watch returns a function that returns a channel which is closed at the run's
// next commit after the call, and one that ends the watch.
func (e *Engine) Watch(id eventlog.RunID) (next func() <-chan struct{}, stop func()) {
	w := e.watchers.of(id)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run == nil {
		w.run = map[eventlog.RunID]*watched{}
	}
	r := w.run[id]
	if r == nil {
		r = &watched{ch: make(chan struct{})}
		w.run[id] = r
	}
	r.n++
	next = func() <-chan struct{} {
		w.mu.Lock()
		defer w.mu.Unlock()
		return r.ch
	}
	var once sync.Once
	return next, func() {
		once.Do(func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if r.n--; r.n == 0 {
				delete(w.run, id)
			}
		})
	}
}

// waiter waits for a run to satisfy until.
type waiter struct {
	until func(Run) bool
	found chan Run // has room for the one answer
}

// changed tells those who watch a run, and answers those who waited for what it
// has become. It runs on the run's owner, so that waiting for the end of a run
// wakes nobody at every step on the way.
func (w *watchersPart) changed(s *run.State, wf *workflow.Workflow, e *Engine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.run[s.Run]; r != nil {
		close(r.ch)
		r.ch = make(chan struct{})
	}
	waiting := w.waiting[s.Run]
	if len(waiting) == 0 {
		return
	}
	now := e.glance(s, wf)
	waiting = slices.DeleteFunc(waiting, func(a *waiter) bool {
		if !a.until(now) {
			return false
		}
		a.found <- e.viewOf(s, wf)
		return true
	})
	w.keep(s.Run, waiting)
}

// keep sets who waits for a run. Called with mu held.
func (w *watchersPart) keep(id eventlog.RunID, waiting []*waiter) {
	if len(waiting) == 0 {
		delete(w.waiting, id)
		return
	}
	if w.waiting == nil {
		w.waiting = map[eventlog.RunID][]*waiter{}
	}
	w.waiting[id] = waiting
}

func (w *watchersPart) add(id eventlog.RunID, a *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(id, append(w.waiting[id], a))
}

func (w *watchersPart) remove(id eventlog.RunID, a *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(id, slices.DeleteFunc(w.waiting[id], func(o *waiter) bool { return o == a }))
}

// Await waits until the run satisfies until, and returns it as it then stands. When
// ctx ends first it returns the run as it stands together with ctx's error. until
// is called after every step with a Run that has its ID, Version, Status and OnlyPeople, and
// must be quick.
func (e *Engine) Await(ctx context.Context, id eventlog.RunID, until func(Run) bool) (Run, error) {
	a, w := &waiter{until: until, found: make(chan Run, 1)}, e.watchers.of(id)
	w.add(id, a) // before the look: a change after it is not missed
	defer w.remove(id, a)
	r, err := e.Run(ctx, id)
	if err != nil || until(r) {
		return r, err
	}
	select {
	case r = <-a.found:
		return r, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-e.failed:
		err = e.accepting(false)
	case <-e.stopped:
		err = ErrStopped
	}
	brief, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	if now, lookErr := e.Run(brief, id); lookErr == nil {
		r = now
	}
	return r, err
}

// lastLook is how long Await takes to see where the run stands once its time is up.
const lastLook = 50 * time.Millisecond

// Settled reports whether a run is terminal or paused: nothing more happens to it
// by itself.
func Settled(r Run) bool { return r.Status.Terminal() || r.Status == run.Paused }

// Run returns a run as it stands.
func (e *Engine) Run(ctx context.Context, id eventlog.RunID) (Run, error) {
	var view Run
	err := e.look(ctx, id, func(s *run.State, w *workflow.Workflow) { view = e.viewOf(s, w) })
	return view, err
}

// State returns the run's state as it stands.
func (e *Engine) State(ctx context.Context, id eventlog.RunID) (run.View, error) {
	var view run.View
	err := e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) { view = s.View() })
	return view, err
}
