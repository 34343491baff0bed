package ledger

import (
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// nothing is a source that knows of nothing.
type nothing struct{}

func (nothing) Tree(eventlog.RunID, *run.State) (Tree, error) { return Tree{}, nil }
func (nothing) Standing(event.BudgetID) event.Limits          { return event.Limits{} }
func (nothing) Delegates() bool                               { return false }

// What is set aside for the calls of an attempt that nobody will tell of is freed call by
// call, in any order, and all of it is free then.
func TestTurnsAreFreedInAnyOrder(t *testing.T) {
	wf, problems := workflow.Load("one.yaml", []byte("name: one\nnodes:\n  b0: {agent: writer, prompt: Write.}\n"))
	if wf == nil {
		t.Fatal(problems)
	}
	s := run.New(eventlog.RunID{1})
	s.Workflow = "one"
	l, day := New(nothing{}), event.At(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC))
	for turn := range 4 {
		need := event.NewNeed(30, 10, nil)
		need.CallID = event.CallID{Node: "b0", Visit: 1, Attempt: 1, Turn: turn}
		if g, _, err := l.Grant(s, wf, &need, day); err != nil || g.Over != nil || g.Wait != nil {
			t.Fatalf("%+v %v", g, err)
		}
	}
	for _, turn := range []int{1, 0} {
		l.settled(s, &event.CostSettled{CallID: event.CallID{Node: "b0", Visit: 1, Attempt: 1, Turn: turn}, Since: day, Lost: true}, 1)
	}
	if len(l.Holds) > 0 || len(l.turns) > 0 {
		t.Errorf("%d calls are held yet: %v", len(l.Holds), l.turns)
	}
	for id, a := range l.Accounts {
		if !a.Held.IsZero() {
			t.Errorf("%s has %+v set aside", id, a.Held)
		}
	}
}
