package engine

import (
	"context"
	"log/slog"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection/event"
)

// tell writes to the daemon's log what runs come to: failures and stops as they are
// worth a look, the rest for those who debug. What agents and people said is in the
// event log alone; the message of a failure is a line here, since it is what somebody
// looks for, and secrets have been taken out of it.
func (e *Engine) tell(l *loaded, events []machine.Event) {
	ctx := context.Background()
	if !e.slog.Enabled(ctx, slog.LevelInfo) {
		return
	}
	debug := e.slog.Enabled(ctx, slog.LevelDebug)
	say := func(level slog.Level, what string, more ...any) {
		e.slog.Log(ctx, level, what, append([]any{"run", l.id.String(), "workflow", l.state.Workflow}, more...)...)
	}
	for i := range events {
		switch p := events[i].Payload.(type) {
		case *event.NodeFailed:
			say(slog.LevelInfo, "a node failed", "node", p.Node, "visit", p.Visit, "attempt", p.Attempt, "class", p.Class, "error", p.Message, "then", p.Then)
			continue
		case *event.NodeLost:
			say(slog.LevelInfo, "an attempt was lost", "node", p.Node, "visit", p.Visit, "attempt", p.Attempt)
			continue
		case *event.RunFailed:
			say(slog.LevelWarn, "a run failed", "node", p.Node, "class", p.Class, "error", p.Message)
			continue
		case *event.RunPaused:
			say(slog.LevelInfo, "a run is paused", "reason", p.Reason)
			continue
		case *event.BudgetExceeded:
			say(slog.LevelInfo, "a budget is used up", "node", p.Node, "then", p.Then)
			continue
		}
		if !debug {
			continue
		}
		what := event.KindName(events[i].Record.Kind)
		switch p := events[i].Payload.(type) {
		case *event.NodeStarted:
			say(slog.LevelDebug, what, "node", p.Node, "visit", p.Visit, "attempt", p.Attempt)
		case *event.NodeCompleted:
			say(slog.LevelDebug, what, "node", p.Node, "visit", p.Visit, "attempt", p.Attempt)
		case *event.RunCreated, *event.RunCompleted, *event.RunCancelled, *event.RunWaiting, *event.RunForked, *event.RunRestored, *event.RunResumed:
			say(slog.LevelDebug, what)
		}
	}
}
