package sim

import (
	"errors"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// tend looks after a child run: once at a time, and once more if it was asked to
// meanwhile. See engine/children.go.
func (e *engine) tend(parent event.Parent, child eventlog.RunID) {
	if again, busy := e.tended[child]; busy {
		*again = true
		return
	}
	again := new(bool)
	e.tended[child] = again
	var once func()
	once = func() {
		e.tendOnce(parent, child, func() {
			if *again && !e.failed {
				*again = false
				e.step(once)
				return
			}
			delete(e.tended, child)
		})
	}
	e.step(once)
}

// look has a run loaded and calls view with its state, nil if there is none.
func (e *engine) look(id eventlog.RunID, view func(*run.State)) {
	seen := false
	e.enqueue(id, &request{
		view: func(s *run.State) { seen = true; view(s) },
		answered: func(err error) {
			switch {
			case seen:
			case errors.Is(err, errNotFound):
				view(nil)
			case !e.failed: // it was asked together with what could not be stored
				e.after(insistAgain, func() { e.look(id, view) })
			}
		},
	})
}

const reasonPaused = "the parent run was paused"

func (e *engine) tendOnce(parent event.Parent, child eventlog.RunID, done func()) {
	e.look(parent.Run, func(p *run.State) {
		wanted, paused, depth := false, false, 0
		if p != nil {
			v := p.Live[parent.Node]
			wanted = !p.Status.Terminal() && v != nil && v.Visit == parent.Visit && v.Ordered && v.Child == child
			paused, depth = p.Status == run.Paused, p.Depth+1
		}
		e.look(child, func(c *run.State) {
			switch {
			case c == nil && wanted:
				e.startChild(parent, depth, child, done)
			case c == nil, c.Status.Terminal() && !wanted:
				done()
			case c.Status.Terminal():
				e.insist(parent.Run, "system", machine.ChildEnded{
					Node: parent.Node, Visit: parent.Visit, Child: child, Status: c.Status, Output: c.Output, Failure: c.Failure,
				}, done)
			case !wanted:
				e.insist(child, "system", machine.Cancel{Reason: "the parent run gave it up"}, done)
			case paused && c.Status != run.Paused:
				e.insist(child, "system", machine.Pause{Reason: reasonPaused}, done)
			case !paused && c.Status == run.Paused && c.Reason == reasonPaused:
				e.insist(child, "system", machine.Resume{Reason: "the parent run was resumed"}, done)
			default:
				done()
			}
		})
	})
}

// startChild starts the child run that an event ordered.
func (e *engine) startChild(parent event.Parent, depth int, child eventlog.RunID, done func()) {
	for _, seq := range e.log.runs[parent.Run] {
		ev := e.log.events[seq-1]
		if ev.Kind != event.KindChildStarted {
			continue
		}
		p, err := event.Decode(ev.Kind, ev.Payload)
		if err != nil {
			e.w.broken(err)
			return
		}
		c := p.(*event.ChildStarted)
		if c.Child != child {
			continue
		}
		wf := e.w.defs.byName[c.Workflow]
		e.enqueue(child, &request{
			meta: machine.Meta{At: e.w.now(), Actor: "system"}, wf: wf,
			cmd: machine.Start{Version: 1, Input: c.Input, Metered: true, Parent: &parent, Depth: depth},
			answered: func(err error) {
				if err != nil && !refusal(err) && !e.failed { // a full disk, say
					e.after(insistAgain, func() { e.startChild(parent, depth, child, done) })
					return
				}
				*e.tended[child] = true // the parent may have changed its mind meanwhile
				done()
			},
		})
		return
	}
	e.w.broken(errors.New("no event ordered the child run"))
}

func (e *engine) tendChildren(s *run.State) {
	for _, id := range s.LiveIDs() {
		if v := s.Live[id]; v.Ordered {
			e.tend(event.Parent{Run: s.Run, Node: v.Node, Visit: v.Visit}, v.Child)
		}
	}
}
