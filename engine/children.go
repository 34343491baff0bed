package engine

import (
	"context"
	"errors"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// startChild starts the child run that an event ordered. The child's ID is in
// the event: ordered again after a crash, it is found and not started twice.
func (e *Engine) startChild(parent *run.State, p *event.ChildStarted) {
	from := event.Parent{Run: parent.Run, Node: p.Node, Visit: p.Visit}
	depth, order := parent.Depth+1, *p
	e.spawn(func() {
		e.insist(func() error { return e.ensureChild(from, depth, &order) })
	})
}

func (e *Engine) ensureChild(from event.Parent, depth int, p *event.ChildStarted) error {
	ctx := context.Background()
	reg, wf, err := e.defs.find(ctx, p.Workflow, p.Version)
	if err == nil {
		err = e.supported(wf)
	}
	if err != nil {
		return e.childFailed(from, p, event.ClassNotFound, err)
	}
	env, err := e.env(wf)
	if err != nil {
		return e.childFailed(from, p, event.ClassAuth, err)
	}
	start := machine.Start{Version: reg.Version, Input: p.Input, Parent: &from, Depth: depth, Env: env}
	err = e.runs.do(ctx, p.Child, &request{
		meta: machine.Meta{At: e.now(), Actor: system}, cmd: start, wf: wf, internal: true,
	})
	switch {
	case errors.Is(err, machine.ErrRefused):
		// It exists. It may have ended while nobody listened.
		return e.runs.do(ctx, p.Child, &request{view: func(s *run.State, _ *workflow.Workflow) {
			if s.Status.Terminal() {
				e.tellParent(s)
			}
		}})
	case errors.Is(err, machine.ErrInvalid):
		return e.childFailed(from, p, event.ClassInvalidOutput, err)
	}
	return err
}

// childFailed tells the parent that its child could not be started.
func (e *Engine) childFailed(from event.Parent, p *event.ChildStarted, class string, err error) error {
	return e.runs.do(context.Background(), from.Run, &request{internal: true, meta: machine.Meta{At: e.now(), Actor: system}, cmd: machine.ChildEnded{
		Node: from.Node, Visit: from.Visit, Child: p.Child, Status: run.Failed,
		Failure: &event.Failure{Class: class, Message: "it could not be started: " + err.Error()},
	}})
}

// tellParent reports the end of a run to the run it is the child of.
func (e *Engine) tellParent(s *run.State) {
	if s.Parent == nil {
		return
	}
	e.post(s.Parent.Run, machine.Meta{Actor: system}, machine.ChildEnded{
		Node: s.Parent.Node, Visit: s.Parent.Visit, Child: s.Run, Status: s.Status, Output: s.Output, Failure: s.Failure,
	})
}

// tellChildren passes a pause or a resumption on.
func (e *Engine) tellChildren(s *run.State, c machine.Command) {
	for _, id := range s.LiveIDs() {
		if v := s.Live[id]; v.Ordered {
			e.post(v.Child, machine.Meta{Actor: system}, c)
		}
	}
}

// takeUp takes up what a run that was just read from disk has under way in other
// runs.
func (e *Engine) takeUp(s *run.State) {
	for _, id := range s.LiveIDs() {
		if v := s.Live[id]; v.Ordered {
			e.recoverChild(s, v)
		}
	}
}

// recoverChild makes sure that an ordered child run exists and that its end, if
// it has ended, is known to its parent.
func (e *Engine) recoverChild(s *run.State, v *run.Visit) {
	parent, depth, node, visit, child := s.Run, s.Depth+1, v.Node, v.Visit, v.Child
	e.spawn(func() {
		e.insist(func() error {
			p, err := e.order(parent, node, visit, child)
			if err != nil {
				return err
			}
			return e.ensureChild(event.Parent{Run: parent, Node: node, Visit: visit}, depth, p)
		})
	})
}

// order finds the event that ordered a child run.
func (e *Engine) order(parent eventlog.RunID, node string, visit int, child eventlog.RunID) (*event.ChildStarted, error) {
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
		if err == nil || refusal(err) || errors.Is(err, ErrNotFound) {
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
