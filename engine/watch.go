package engine

import (
	"context"
	"sync"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// watchers are told when a run has new events on disk.
type watchers struct {
	mu  sync.Mutex
	run map[eventlog.RunID]*watched
}

type watched struct {
	n  int           // watchers
	ch chan struct{} // closed at the run's next commit
}

// Watch returns a function that returns a channel which is closed at the run's
// next commit after the call, and one that ends the watch.
func (e *Engine) Watch(id eventlog.RunID) (next func() <-chan struct{}, stop func()) {
	w := &e.watchers
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

// changed tells those who watch a run.
func (w *watchers) changed(id eventlog.RunID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.run[id]; r != nil {
		close(r.ch)
		r.ch = make(chan struct{})
	}
}

// Await waits until the run satisfies done, and returns it as it then stands. When
// ctx ends first it returns the run as it stands together with ctx's error.
func (e *Engine) Await(ctx context.Context, id eventlog.RunID, done func(Run) bool) (Run, error) {
	next, stop := e.Watch(id)
	defer stop()
	for {
		ch := next() // before the look: a change after it is not missed
		r, err := e.Run(context.WithoutCancel(ctx), id)
		if err != nil || done(r) {
			return r, err
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return r, ctx.Err()
		case <-e.failed:
			return r, e.accepting(false)
		case <-e.stopped:
			return r, ErrStopped
		}
	}
}

// Settled reports whether a run is terminal or paused: nothing more happens to it
// by itself.
func Settled(r Run) bool { return r.Status.Terminal() || r.Status == run.Paused }

// Run returns a run as it stands.
func (e *Engine) Run(ctx context.Context, id eventlog.RunID) (Run, error) {
	var view Run
	err := e.look(ctx, id, func(s *run.State, w *workflow.Workflow) { view = viewOf(s, w) })
	return view, err
}

// State returns the run's state as it stands.
func (e *Engine) State(ctx context.Context, id eventlog.RunID) (run.View, error) {
	var view run.View
	err := e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) { view = s.View() })
	return view, err
}
