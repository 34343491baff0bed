package engine

import (
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// What a paused run is said to need is what lets it go on: a budget that it came to after
// somebody had paused it does not, unless the budget is its own.
func TestWhyPausedByBudgets(t *testing.T) {
	day := event.BudgetID{Scope: event.ScopeOfDay, Name: "2026-01-02"}
	s := &run.State{Run: eventlog.RunID{1}, Status: run.Paused, Reason: "by hand"}
	for _, c := range []struct {
		what   string
		over   *run.Over
		budget bool // raising it is asked for
		resume bool
	}{
		{"by a person", nil, false, true},
		{"for a budget", &run.Over{BudgetExceeded: event.BudgetExceeded{Budget: day}, Told: true}, true, false},
		{"for its own", &run.Over{BudgetExceeded: event.BudgetExceeded{Budget: s.OwnBudget()}}, true, false},
		{"by a person, before it came to a budget", &run.Over{BudgetExceeded: event.BudgetExceeded{Budget: day}}, true, true},
	} {
		s.Over = c.over
		why, _ := (&Engine{}).why(s, nil)
		if strings.Contains(why, "wfd budget") != c.budget || strings.Contains(strings.ToLower(why), "resume") != c.resume || !strings.Contains(why, "by hand") {
			t.Errorf("%s: %s", c.what, why)
		}
	}
}
