package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A workflow that is a tool of an agent is called in the midst of an attempt. Its run is
// a child of the agent's, named after the visit and the call: a later attempt that makes
// the same call finds it, whatever crashed. It is wanted for as long as the visit may
// still come to that.

// mayCall reports whether an attempt of a visit may be under way, or may follow.
func mayCall(v *run.Visit) bool {
	switch v.Status {
	case run.NodeCompleted, run.NodeSkipped:
		return false
	case run.NodeFailed:
		return v.Then == event.ThenRetry || v.Then == event.ThenPause
	}
	return true
}

// delegates reports whether runs here may be called as tools.
func (e *Engine) delegates() bool { return e.opt.Agents != nil && e.opt.Agents.CallsWorkflows() }

// tendCalled looks after the runs that a run's agents have called, in the background.
func (e *Engine) tendCalled(id eventlog.RunID) {
	if !e.delegates() {
		return
	}
	e.spawn(func() {
		for row, err := range e.childrenOf(context.Background(), id) {
			if err != nil {
				e.slog.Warn("cannot look after the runs that agents have called", "run", id.String(), "error", err)
			} else if row.Parent != nil && !row.Status.Terminal() {
				e.tend(*row.Parent, row.ID)
			}
		}
	})
}

// calls has the tools of a task's agent start runs.
type calls struct {
	e *Engine
	t *agent.Task
}

// Describe implements agent.Workflows.
func (c calls) Describe(ctx context.Context, name string) (string, map[string]any, error) {
	_, wf, err := c.e.defs.find(ctx, c.t.Namespace, name, 0)
	if errors.Is(err, ErrNotFound) || errors.Is(err, projection.ErrAmbiguous) {
		return "", nil, &agent.Failure{Class: event.ClassNotFound, Message: err.Error(), Again: new(bool)}
	}
	if err != nil {
		return "", nil, err
	}
	input, _ := wf.Def.Input.(map[string]any)
	return wf.Def.Description, input, nil
}

// Call implements agent.Workflows. If we crash in the midst, the next attempt of the visit
// goes on waiting where this one stood.
func (c calls) Call(ctx context.Context, tool, name, key string, input map[string]any) (agent.ToolOutcome, error) {
	if c.t.Depth+1 > machine.MaxDepth {
		return said("child runs are nested deeper than %d", machine.MaxDepth), nil
	}
	value, err := event.ValueOf(input)
	if err != nil {
		return said("the arguments are no input: %v", err), nil
	}
	id := keyed("tool", key)
	from := event.Parent{Run: c.t.Run, Node: c.t.Node, Visit: c.t.Visit, Tool: tool}
	if err := c.start(ctx, id, name, value, from); errors.Is(err, machine.ErrInvalid) {
		return said("the run was not started: %v", err), nil
	} else if err != nil {
		return agent.ToolOutcome{}, err
	}
	c.e.tend(from, id) // it may be paused, or cancelled for an attempt that was given up
	r, err := c.e.Await(ctx, id, func(r Run) bool { return r.Status.Terminal() })
	if err != nil {
		c.e.tend(from, id)
		return agent.ToolOutcome{}, err
	}
	return c.outcome(&r), nil
}

// start starts a run, unless it is there.
func (c calls) start(ctx context.Context, id eventlog.RunID, name string, input event.Value, from event.Parent) error {
	err := c.e.look(ctx, id, nil)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	reg, wf, err := c.e.defs.find(ctx, c.t.Namespace, name, 0)
	if err != nil {
		return &agent.Failure{Class: event.ClassNotFound, Message: err.Error(), Again: new(bool)}
	}
	env, err := c.e.env(wf)
	if err != nil {
		return &agent.Failure{Class: event.ClassAuth, Message: err.Error(), Again: new(bool)}
	}
	err = c.e.runs.do(ctx, id, &request{
		meta: machine.Meta{At: c.e.now(), Actor: runnerOf(c.t)}, internal: true, wf: wf,
		cmd: machine.Start{Namespace: c.t.Namespace, Version: reg.Version, Input: input, Metered: true, Parent: &from, Depth: c.t.Depth + 1, Env: env, Breakpoints: c.e.breakpoints(wf, nil)},
	})
	if errors.Is(err, machine.ErrRefused) { // another attempt was sooner
		return nil
	}
	return err
}

// outcome is what an agent is told of a run that has ended.
func (c calls) outcome(r *Run) agent.ToolOutcome {
	if r.Status != run.Completed {
		why := "it was cancelled"
		if r.Error != nil {
			why = r.Error.Error()
		}
		return said("run %s %s: %s", r.ID, r.Status, why)
	}
	x, err := r.Output.Any()
	if err != nil {
		return said("run %s has an output that cannot be read: %v", r.ID, err)
	}
	if s, ok := x.(string); ok {
		return agent.ToolOutcome{Text: s}
	}
	b, err := json.Marshal(x)
	if err != nil {
		return said("run %s has an output that cannot be told: %v", r.ID, err)
	}
	return agent.ToolOutcome{Text: string(b)}
}

// said is the answer of a tool that failed.
func said(format string, args ...any) agent.ToolOutcome {
	return agent.ToolOutcome{Text: fmt.Sprintf(format, args...), Failed: true}
}
