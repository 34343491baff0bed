package machine

import (
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// unmeasured is a meter whose calls wait once, and of which nothing is known later.
type unmeasured struct{ waited bool }

// Need implements Meter.
func (m *unmeasured) Need(*workflow.Node, *run.Visit, event.CallID) *event.Need {
	if m.waited {
		return nil
	}
	return &event.Need{}
}

// Grant implements Meter.
func (m *unmeasured) Grant(*event.Need) Grant {
	m.waited = true
	return Grant{Wait: &run.Short{}}
}

// What an attempt had to wait for is of no concern once it has begun: a visit whose next
// attempt waits for its time alone has the run wait, whoever decides it again.
func TestWaitedOnce(t *testing.T) {
	h := newHistory(t, "name: once\nnodes: {a: {worker: w, retry: {max: 2, backoff: 1m}}}\n")
	h.meter = &unmeasured{}
	h.do(Start{Metered: true})
	for h.s.Live["a"].Status == run.NodeScheduled {
		h.do(Continue{})
	}
	if v := h.s.Live["a"]; v.Status != run.NodeRunning || v.Short != nil {
		t.Fatalf("it is %s, and waits for %v", v.Status, v.Short)
	}
	h.do(Result{Node: "a", Visit: 1, Attempt: 1, Failure: &event.Failure{Class: event.ClassTimeout, Message: "test"}})
	if h.s.Status != run.Waiting {
		t.Errorf("the run is %s, and waits for a timer", h.s.Status)
	}
}

// A run in which a second call does not fit, while it is paused for the first one, goes
// on once that budget is raised.
func TestExceededTwice(t *testing.T) {
	h := newHistory(t, "name: twice\nnodes:\n  a: {agent: x, prompt: p}\n  b: {agent: x, prompt: p}\n")
	day := event.BudgetID{Scope: event.ScopeOfDay, Name: "2026-01-31"}
	full := false
	h.meter = &tab{grant: func(*event.Need) Grant {
		if !full {
			return Grant{}
		}
		return Grant{Over: &event.BudgetExceeded{Budget: day, Limits: event.Limits{Tokens: 30}, Spent: event.Spend{Tokens: 30}}}
	}}
	h.do(Start{Metered: true})
	full = true
	for _, node := range []string{"a", "b"} {
		h.do(Reserve{Need: event.Need{CallID: event.CallID{Node: node, Visit: 1, Attempt: 1, Turn: 1}, Output: 5}})
		if v := h.s.Live[node]; h.s.Status != run.Paused || v.Status != run.NodeFailed {
			t.Fatalf("the run is %s, %s is %s", h.s.Status, node, v.Status)
		}
		h.checkFold()
	}
	full = false
	tokens := int64(100)
	h.do(Raise{Budget: day, Tokens: &tokens})
	h.do(Wake{})
	for _, node := range []string{"a", "b"} {
		if v := h.s.Live[node]; h.s.Status != run.Running || v.Status != run.NodeRunning || v.Attempt != 2 {
			t.Errorf("the run is %s, %s is %s in attempt %d", h.s.Status, node, v.Status, v.Attempt)
		}
	}
	h.checkFold()
}
