package machine

import (
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// unit is the price of meters of tests: a micro-dollar a token.
var unit = &event.Price{Input: 1_000_000, Cached: 1_000_000, Output: 1_000_000}

// tab is a meter of tests: a call may use ten tokens and five, and a budget beyond the
// run says what grant says.
type tab struct {
	grant func(*event.Need) Grant
}

// Need implements Meter.
func (t *tab) Need(_ *workflow.Node, v *run.Visit, _ event.CallID) *event.Need {
	n := event.Need{Model: "unit", Input: 10, Output: 5, Micros: 15, Price: unit}
	if v.Agent != nil {
		n.Agent = v.Agent.Agent
	}
	return &n
}

// Grant implements Meter.
func (t *tab) Grant(n *event.Need) Grant {
	if t.grant == nil {
		return Grant{}
	}
	return t.grant(n)
}

// told answers from events, as they were decided on.
type told []Event

// Need implements Meter.
func (t told) Need(_ *workflow.Node, _ *run.Visit, id event.CallID) *event.Need {
	for _, e := range t {
		switch p := e.Payload.(type) {
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
		}
	}
	return &event.Need{}
}

// Grant implements Meter.
func (t told) Grant(n *event.Need) Grant {
	for _, e := range t {
		switch p := e.Payload.(type) {
		case *event.CostReserved:
			if p.CallID == n.CallID {
				return Grant{}
			}
		case *event.BudgetExceeded:
			if p.CallID == n.CallID {
				return Grant{Over: &event.BudgetExceeded{Budget: p.Budget, Limits: p.Limits, Spent: p.Spent}}
			}
		}
	}
	return Grant{Wait: &run.Short{}}
}
