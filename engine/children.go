package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// What a parent wants of its child runs follows from the parent's state: a child
// that it waits for is to run, or to pause while the parent is paused; any other
// is to be cancelled. tend makes it so. It is called whenever the parent's state
// may want something else, and looks at both runs afresh each time, one call at a
// time per child: so it does not matter what was lost, doubled or overtaken.

// tend looks after a child run in the background.
func (e *Engine) tend(parent event.Parent, child eventlog.RunID) {
	e.children.mu.Lock()
	defer e.children.mu.Unlock()
	if again, busy := e.children.tended[child]; busy {
		*again = true
		return
	}
	if e.children.tended == nil {
		e.children.tended = map[eventlog.RunID]*bool{}
	}
	again := new(bool)
	e.children.tended[child] = again
	e.spawn(func() {
		for {
			e.insist(func() error { return e.tendOnce(parent, child) })
			e.children.mu.Lock()
			if !*again || e.accepting(false) != nil {
				delete(e.children.tended, child)
				e.children.mu.Unlock()
				return
			}
			*again = false
			e.children.mu.Unlock()
		}
	})
}

// children says which child runs are being tended, and whether once more.
type children struct {
	mu     sync.Mutex
	tended map[eventlog.RunID]*bool
}

// reasonPaused is why a child is paused with its parent; only such a one is
// resumed with it.
const reasonPaused = "the parent run was paused"

func (e *Engine) tendOnce(parent event.Parent, child eventlog.RunID) error {
	ctx := context.Background()
	var status run.Status
	var reason string
	var output event.Value
	var failure *event.Failure
	err := e.look(ctx, child, func(s *run.State, _ *workflow.Workflow) {
		status, reason, output, failure = s.Status, s.Reason, s.Output, s.Failure
		if s.Parent != nil {
			parent = *s.Parent // lists do not say as which tool it was called
		}
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	missing := err != nil
	wanted, paused, depth, n := false, false, 0, event.Namespace("")
	err = e.look(ctx, parent.Run, func(s *run.State, _ *workflow.Workflow) {
		wanted = waitsFor(s, parent, child)
		paused, depth, n = s.Status == run.Paused, s.Depth+1, s.Namespace
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	tell := func(id eventlog.RunID, c machine.Command) error {
		return e.runs.do(ctx, id, &request{meta: machine.Meta{At: e.now(), Actor: system}, internal: true, cmd: c})
	}
	switch {
	case missing && wanted:
		order, err := e.order(parent.Run, child)
		if err != nil {
			return err
		}
		return e.startChild(parent, n, depth, order)
	case missing:
		return nil
	case status.Terminal() && wanted && parent.Tool == "": // else who called it looks by himself
		return tell(parent.Run, machine.ChildEnded{
			Node: parent.Node, Visit: parent.Visit, Child: child, Status: status, Output: output, Failure: failure,
		})
	case status.Terminal():
		return nil
	case !wanted:
		return tell(child, machine.Cancel{Reason: "the parent run gave it up"})
	case paused && status != run.Paused:
		return tell(child, machine.Pause{Reason: reasonPaused})
	case !paused && status == run.Paused && reason == reasonPaused:
		return tell(child, machine.Resume{Reason: "the parent run was resumed"})
	}
	return nil
}

// waitsFor reports whether a parent's visit waits for a child.
func waitsFor(s *run.State, p event.Parent, child eventlog.RunID) bool {
	v := s.Live[p.Node]
	if p.Tool != "" {
		return !s.Status.Terminal() && v != nil && v.Visit == p.Visit && mayCall(v)
	}
	return !s.Status.Terminal() && v != nil && v.Visit == p.Visit && v.Ordered && v.Child == child
}

// startChild starts the child run that an event ordered. The child's ID is in
// the event: ordered again after a crash, it is found and not started twice.
func (e *Engine) startChild(from event.Parent, n event.Namespace, depth int, p *event.ChildStarted) error {
	ctx := context.Background()
	reg, wf, err := e.defs.find(ctx, n, p.Workflow, p.Version)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, projection.ErrAmbiguous):
		return e.childFailed(from, p, event.ClassNotFound, err)
	case err != nil:
		return err
	}
	env, err := e.env(wf)
	if err != nil {
		return e.childFailed(from, p, event.ClassAuth, err)
	}
	err = e.runs.do(ctx, p.Child, &request{
		meta: machine.Meta{At: e.now(), Actor: system}, internal: true, wf: wf,
		cmd: machine.Start{Namespace: n, Version: reg.Version, Input: p.Input, Metered: true, Parent: &from, Depth: depth, Env: env, Breakpoints: e.breakpoints(wf, nil)},
	})
	if errors.Is(err, machine.ErrInvalid) {
		return e.childFailed(from, p, event.ClassInvalidOutput, err)
	}
	// The parent may have changed its mind while the child was started, and a child
	// that was there may have ended while nobody listened: look again.
	e.tend(from, p.Child)
	return err
}

// childFailed tells the parent that its child could not be started.
func (e *Engine) childFailed(from event.Parent, p *event.ChildStarted, class string, err error) error {
	return e.runs.do(context.Background(), from.Run, &request{internal: true, meta: machine.Meta{At: e.now(), Actor: system}, cmd: machine.ChildEnded{
		Node: from.Node, Visit: from.Visit, Child: p.Child, Status: run.Failed,
		Failure: &event.Failure{Class: class, Message: "it could not be started: " + err.Error()},
	}})
}

// tendChildren looks after the child runs that a run waits for.
func (e *Engine) tendChildren(s *run.State) {
	e.tendCalled(s.Run)
	for _, id := range s.LiveIDs() {
		if v := s.Live[id]; v.Ordered {
			e.tend(event.Parent{Run: s.Run, Node: v.Node, Visit: v.Visit}, v.Child)
		}
	}
}

// order finds the event that ordered a child run.
func (e *Engine) order(parent, child eventlog.RunID) (*event.ChildStarted, error) {
	var found *event.ChildStarted
	err := e.eachEvent(parent, 0, func(ev eventlog.Event) (bool, error) {
		if ev.Kind != event.KindChildStarted {
			return true, nil
		}
		p, err := event.Decode(ev.Kind, ev.Payload)
		if err != nil {
			return false, err
		}
		if c := p.(*event.ChildStarted); c.Child == child {
			found = c
			return false, nil
		}
		return true, nil
	})
	if err == nil && found == nil {
		err = errors.New("no event ordered the child run")
	}
	return found, err
}

// eachEvent calls f with the events of a run after a version until it returns
// false.
func (e *Engine) eachEvent(id eventlog.RunID, after eventlog.Version, f func(eventlog.Event) (bool, error)) error {
	for {
		page, err := e.log.ReadRun(id, after, loadPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, ev := range page {
			if more, err := f(ev); err != nil || !more {
				return err
			}
			after = ev.Version
		}
	}
}

const (
	insistFirst = 20 * time.Millisecond
	insistMost  = 2 * time.Second
)

// insist calls f until it succeeds, was refused for good, or the engine stops.
// What it stands for can be found in the log again by the next start.
func (e *Engine) insist(f func() error) {
	for wait := insistFirst; ; wait = min(2*wait, insistMost) {
		err := f()
		if err == nil || refusal(err) || errors.Is(err, ErrNotFound) || shutOff(err) {
			return
		}
		if e.accepting(false) != nil {
			return
		}
		e.slog.Warn("trying again", "error", err, "in", wait)
		select {
		case <-time.After(wait):
		case <-e.stopped:
			return
		}
	}
}
