package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const callerSource = "name: caller\nnodes:\n  ask: {agent: helper, prompt: \"?\", retry: {max: 2}}\n"

const calledSource = `
name: called
input: {type: object, required: [n], properties: {n: {type: integer}}}
nodes:
  ask: {human: {prompt: "?"}}
output: "${result}"
`

// caller opens an engine whose agent calls the workflow called as a tool, n times with
// the same input, and answers with what it is told.
func caller(t *testing.T, dir string, n int, attempts *atomic.Int64) (*Engine, eventlog.Log, func()) {
	t.Helper()
	files := filepath.Join(dir, "agents")
	if err := os.MkdirAll(files, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "---\nrole: helper\nprovider: sim\ntools:\n  - {name: sub, workflow: called}\n---\nYou help.\n"
	if err := os.WriteFile(filepath.Join(files, "helper.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	agents, _, err := roster.New(roster.Options{Dir: files})
	if err != nil {
		t.Fatal(err)
	}
	return openWith(t, filepath.Join(dir, "data"), Options{Agents: agents}, agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		attempts.Add(1)
		var told []any
		for range n {
			out, err := task.Workflows.Call(ctx, "sub", "called", task.Key()+"/sub", map[string]any{"n": int64(1)})
			var f *agent.Failure
			switch {
			case errors.As(err, &f):
				return agent.Answer{Failure: f}
			case err != nil:
				return agent.Fail(event.ClassTimeout, "%v", err)
			}
			told = append(told, out.Text)
		}
		return agent.Answer{Result: told}
	}))
}

// childOf waits until a run has a child, and returns it; it is the only one.
func childOf(t *testing.T, e *Engine, id eventlog.RunID) eventlog.RunID {
	t.Helper()
	for range 2000 {
		rows, _, err := e.views.Children(t.Context(), id, "", 10)
		if err != nil || len(rows) > 1 {
			t.Fatal(rows, err)
		}
		if len(rows) == 1 {
			return rows[0].ID
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("there is no child run")
	return eventlog.RunID{}
}

// A workflow that an agent calls is run once for a visit, as a child: an attempt after a
// crash goes on waiting for the same run, and its output is what the agent is told.
func TestCallsAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	var attempts atomic.Int64
	e, _, stop := caller(t, dir, 2, &attempts)
	register(t, e, calledSource)
	register(t, e, callerSource)
	id := start(t, e, "caller", nil).ID
	child := childOf(t, e, id)
	await(t, e, child, status(run.Waiting))
	stop()
	e, log, stop := caller(t, dir, 2, &attempts)
	defer func() { stop() }()
	for attempts.Load() < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	if got := childOf(t, e, id); got != child {
		t.Fatal("another run was started")
	}
	if _, err := e.Do(t.Context(), child, machine.Answer{Value: event.MustValue("42")}, By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	r := await(t, e, id, Settled)
	if out, _ := r.Output.Any(); r.Status != run.Completed || len(out.([]any)) != 2 || out.([]any)[0] != "42" || out.([]any)[1] != "42" {
		t.Fatal(r.Status, r.Why, out)
	}
	first, err := log.ReadRun(child, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := event.Decode(first[0].Kind, first[0].Payload)
	if c := p.(*event.RunCreated); err != nil || c.Depth != 1 || *c.Parent != (event.Parent{Run: id, Node: "ask", Visit: 1, Tool: "sub"}) {
		t.Fatal(p, err)
	}
	// It belongs to its parent: what that gives up nobody takes up again.
	if _, err := e.Do(t.Context(), child, machine.Retry{}, By{Actor: "ann"}); !errors.Is(err, machine.ErrRefused) {
		t.Error(err)
	}
}

// With the run, or the visit, that called it ends the run that was called; it is paused and
// resumed with it, too.
func TestCallsAreGivenUp(t *testing.T) {
	var attempts atomic.Int64
	e, _, stop := caller(t, t.TempDir(), 1, &attempts)
	defer stop()
	register(t, e, calledSource)
	register(t, e, callerSource)
	register(t, e, strings.ReplaceAll(strings.ReplaceAll(callerSource, "caller", "hasty"), "retry: {max: 2}", "retry: {max: 1}, timeout: 300ms"))
	id := start(t, e, "caller", nil).ID
	child := childOf(t, e, id)
	await(t, e, child, status(run.Waiting))
	for _, x := range []struct {
		c    machine.Command
		want run.Status
	}{{machine.Pause{}, run.Paused}, {machine.Resume{}, run.Waiting}, {machine.Cancel{}, run.Cancelled}} {
		if _, err := e.Do(t.Context(), id, x.c, By{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		await(t, e, child, status(x.want))
	}
	id = start(t, e, "hasty", nil).ID
	child = childOf(t, e, id)
	if r := await(t, e, id, Settled); r.Status != run.Failed || r.Error.Class != event.ClassTimeout {
		t.Fatal(r.Status, r.Error)
	}
	await(t, e, child, status(run.Cancelled))
}

// What cannot be started the agent is told, or fails it where it never can be.
func TestCallsThatCannotBe(t *testing.T) {
	var attempts atomic.Int64
	e, _, stop := caller(t, t.TempDir(), 1, &attempts)
	defer stop()
	register(t, e, callerSource)
	r := await(t, e, start(t, e, "caller", nil).ID, Settled)
	if r.Status != run.Failed || r.Error.Class != event.ClassNotFound || attempts.Load() != 1 {
		t.Fatal(r.Status, r.Error, attempts.Load())
	}
	register(t, e, strings.Replace(calledSource, "type: integer", "type: string", 1))
	r = await(t, e, start(t, e, "caller", nil).ID, Settled)
	if out, _ := r.Output.Any(); r.Status != run.Completed || !strings.Contains(out.([]any)[0].(string), "the run was not started: invalid") {
		t.Fatal(r.Status, r.Why, out)
	}
	deep := calls{e, &agent.Task{Run: r.ID, Node: "ask", Visit: 1, Depth: machine.MaxDepth}}
	if out, err := deep.Call(t.Context(), "sub", "called", "k", nil); err != nil || !out.Failed || !strings.Contains(out.Text, "nested deeper than 8") {
		t.Fatal(out, err)
	}
	if _, _, err := deep.Describe(t.Context(), "nothing"); err == nil {
		t.Fatal("described")
	}
}

// A run that an agent calls spends from the budget of the run that calls it.
func TestCallsSpendFromTheirParent(t *testing.T) {
	dir := t.TempDir()
	text := "---\nrole: helper\nprovider: sim\ntools:\n  - {name: sub, workflow: child}\n---\nYou help.\n"
	if err := os.WriteFile(filepath.Join(dir, "helper.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	agents, _, err := roster.New(roster.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	used := &event.Usage{InputTokens: 2, OutputTokens: 1024}
	e, _, stop := openWith(t, filepath.Join(dir, "data"), Options{Agents: agents}, agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		if task.Workflow == "child" {
			return agent.Answer{Result: "ok", Usage: used}
		}
		out, err := task.Workflows.Call(ctx, "sub", "child", task.Key()+"/sub", map[string]any{})
		if err != nil {
			return agent.Fail(event.ClassTimeout, "%v", err)
		}
		return agent.Answer{Result: out.Text, Usage: used}
	}))
	defer stop()
	register(t, e, wide("child", 3, ""))
	register(t, e, "name: parent\nbudget: {tokens: 3300}\nnodes:\n  a: {agent: helper, prompt: abc}\n")
	id := start(t, e, "parent", nil).ID
	child := childOf(t, e, id)
	for { // whoever awaits is shown no more than where a run stands
		r, err := e.Run(t.Context(), child)
		if err != nil {
			t.Fatal(err)
		}
		if r.Cost.Spent.Tokens > 0 && strings.Contains(r.Why, "budget") {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	more := int64(20_000)
	if _, err := e.RaiseRun(t.Context(), id, nil, &more, "", By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, child, status(run.Completed))
	await(t, e, id, status(run.Completed))
}
