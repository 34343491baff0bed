package replay

import (
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// ahead are the events of an append, as the answers to what a decision asks for while it
// is made again: what was answered then is the event that follows.
type ahead struct {
	s      *run.State
	events []entry
}

// next is the event that follows what was decided so far, nil if none does. One of
// another time or actor is of another decision: an append may hold several, and one
// that was imported holds all of the run's.
func (a ahead) next() event.Payload {
	first := a.events[0]
	i := int(a.s.Version + 1 - first.Version)
	if i >= len(a.events) || a.events[i].Time != first.Time || a.events[i].Actor != first.Actor {
		return nil
	}
	return a.events[i].p
}

// choose says who was chosen for an attempt.
func (a ahead) choose(_ *workflow.Node, v *run.Visit) *event.AgentChosen {
	if p, ok := a.next().(*event.AgentChosen); ok && p.Node == v.Node && p.Visit == v.Visit && p.Attempt == v.Attempt+1 {
		again := *p
		return &again
	}
	return nil
}

// metered says of calls what they could use, and what budgets said. A call that was
// neither reserved nor refused had to wait.
type metered struct{ ahead }

// Need implements machine.Meter.
func (m metered) Need(_ *workflow.Node, _ *run.Visit, id event.CallID) *event.Need {
	switch p := m.next().(type) {
	case *event.CostReserved:
		if p.CallID == id {
			n := p.Need
			return &n
		}
	case *event.BudgetExceeded:
		if p.CallID == id {
			n := p.Need
			return &n
		}
	case *event.NodeStarted:
		if p.Node == id.Node && p.Visit == id.Visit && p.Attempt == id.Attempt {
			return nil // nothing was reserved
		}
	}
	return &event.Need{}
}

// Grant implements machine.Meter.
func (m metered) Grant(n *event.Need) machine.Grant {
	switch p := m.next().(type) {
	case *event.CostReserved:
		if p.CallID == n.CallID {
			return machine.Grant{}
		}
	case *event.BudgetExceeded:
		if p.CallID == n.CallID {
			return machine.Grant{Over: overOf(p)}
		}
	}
	return machine.Grant{Wait: &run.Short{}}
}

// overOf is what a Meter said of a budget.
func overOf(p *event.BudgetExceeded) *event.BudgetExceeded {
	return &event.BudgetExceeded{Budget: p.Budget, Limits: p.Limits, Spent: p.Spent}
}

// calls is what a recording has of a run's calls.
type calls map[event.CallID]*call

type call struct {
	need  event.Need
	heard []heard // what budgets said, in order
}

// heard is what budgets said of a call when it was to begin.
type heard struct {
	at   event.Time
	over *event.BudgetExceeded // of a budget beyond the run; nil: it was reserved
}

func (c calls) note(s *run.State, p event.Payload) {
	var need *event.Need
	h := heard{at: s.Time}
	switch p := p.(type) {
	case *event.CostReserved:
		need = &p.Need
	case *event.BudgetExceeded:
		if need = &p.Need; p.Budget != s.OwnBudget() {
			h.over = p
		}
	default:
		return
	}
	known := c[need.CallID]
	if known == nil {
		known = &call{need: *need}
		c[need.CallID] = known
	}
	if p, ok := p.(*event.BudgetExceeded); !ok || p == h.over {
		known.heard = append(known.heard, h)
	}
}

// playedMeter says of calls what the recording says of them, and makes them wait as
// long as they waited there; of those that it does not have, that they are free. The
// run's own budget is that of the definition that is played.
type playedMeter struct {
	*player
	now event.Time
}

// Need implements machine.Meter.
func (m playedMeter) Need(_ *workflow.Node, _ *run.Visit, id event.CallID) *event.Need {
	if c := m.rec.calls[id]; c != nil {
		n := c.need
		return &n
	}
	if v := m.rec.s.Live[id.Node]; v != nil && v.Visit == id.Visit && v.Status == run.NodeScheduled && v.Attempt+1 == id.Attempt {
		return &event.Need{} // it still waited when the recording ends
	}
	return nil
}

// Grant implements machine.Meter.
func (m playedMeter) Grant(n *event.Need) machine.Grant {
	wait := machine.Grant{Wait: &run.Short{}}
	c := m.rec.calls[n.CallID]
	if c == nil {
		return wait
	}
	told := m.told[n.CallID]
	switch {
	case told >= len(c.heard):
		return machine.Grant{} // the recorded run went no further
	case m.now < c.heard[told].at:
		return wait
	}
	m.told[n.CallID]++
	if over := c.heard[told].over; over != nil {
		return machine.Grant{Over: overOf(over)}
	}
	return machine.Grant{}
}
