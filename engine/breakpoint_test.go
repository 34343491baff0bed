package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A run stops at its breakpoints, each once, over restarts in between; a fork has
// its own.
func TestBreakpoints(t *testing.T) {
	dir := t.TempDir()
	e, stop := open(t, dir, againReplies)
	defer func() { stop() }()
	ctx := context.Background()
	register(t, e, "name: child\nnodes: {inner: {exec: {command: [x]}}}\n")
	register(t, e, againSource)
	_, _, err := e.StartRun(ctx, StartRequest{Workflow: "again", Breakpoints: []string{"node=reviw"}}, By{})
	if !errors.Is(err, machine.ErrInvalid) || !strings.Contains(err.Error(), "did you mean review?") {
		t.Fatal(err)
	}
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "again", Breakpoints: []string{"node=review", "edge=review->draft", "if=nodes.review.visits > 1"}}, By{Actor: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Breakpoint{{"review", 1, ""}, {"review", 1, "draft"}, {"review", 2, ""}, {"each", 1, ""}, {"sub", 1, ""}, {"publish", 1, ""}} {
		r = await(t, e, r.ID, Settled)
		if r.Status != run.Paused || r.Breakpoint == nil || *r.Breakpoint != want {
			t.Fatalf("it is %s at %+v, want %+v", r.Status, r.Breakpoint, want)
		}
		stop()
		e, stop = open(t, dir, againReplies)
		if again, err := e.Run(ctx, r.ID); err != nil || again.Status != run.Paused || again.Version != r.Version {
			t.Fatalf("after a restart it is %s at version %d: %v", again.Status, again.Version, err)
		}
		if _, err := e.Do(ctx, r.ID, machine.Resume{}, By{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	if r = await(t, e, r.ID, Settled); r.Status != run.Failed || r.Breakpoint != nil {
		t.Fatal(r.Why)
	}
	// From the first breakpoint, apart and with another state.
	f, err := e.ForkRun(ctx, r.ID, ForkRequest{At: 6, Breakpoints: []string{"node=publish"}}, By{Actor: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if f = await(t, e, f.ID, Settled); f.Breakpoint == nil || f.Breakpoint.Node != "publish" {
		t.Fatalf("the fork is %s: %s", f.Status, f.Why)
	}
	if _, err := e.Do(ctx, f.ID, machine.Resume{Set: map[string]event.Value{"scor": event.Null}}, By{}); !errors.Is(err, machine.ErrInvalid) {
		t.Fatal(err)
	}
	if f, err = e.Do(ctx, f.ID, machine.Resume{Set: map[string]event.Value{"score": event.MustValue(7)}, Rebreak: true}, By{Actor: "ann"}); err != nil || len(f.Breakpoints) != 0 {
		t.Fatal(f.Breakpoints, err)
	}
	if v, err := e.State(ctx, f.ID); err != nil || string(v.State["score"]) != string(event.MustValue(7)) {
		t.Fatal(v.State, err)
	}
	await(t, e, f.ID, Settled)
	if err := e.views.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
}

// The engine's own breakpoints are for every run that has what they name, child
// runs too.
func TestBreakpointsOfTheEngine(t *testing.T) {
	e, stop := open(t, t.TempDir(), againReplies)
	defer stop()
	e.opt.Breakpoints = []string{"node=inner", "edge=draft->review"}
	ctx := context.Background()
	register(t, e, "name: child\nnodes: {inner: {exec: {command: [x]}}}\n")
	register(t, e, againSource)
	id := start(t, e, "again", nil).ID
	for range 2 {
		await(t, e, id, status(run.Paused))
		if _, err := e.Do(ctx, id, machine.Resume{}, By{}); err != nil {
			t.Fatal(err)
		}
	}
	var childID eventlog.RunID
	for started := false; !started; time.Sleep(time.Millisecond) {
		err := e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) {
			if v := s.Live["sub"]; v != nil {
				childID = v.Child
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Run(ctx, childID)
		started = err == nil
	}
	child := await(t, e, childID, status(run.Paused))
	if child.Breakpoint == nil || child.Breakpoint.Node != "inner" {
		t.Fatalf("the child is %s: %s", child.Status, child.Why)
	}
	if _, err := e.Do(ctx, child.ID, machine.Resume{}, By{}); err != nil {
		t.Fatal(err)
	}
	await(t, e, id, Settled)
}

// A fork whose edits touch what a foreach under way goes over does all its items
// again; one that does not keeps what they gave.
func TestForkAmidForeach(t *testing.T) {
	e, stop := open(t, t.TempDir(), `nodes: {"each[1]": [{fail: tool_failed}, {text: "1"}]}`+"\ndefault: {text: ok}")
	defer stop()
	ctx := context.Background()
	register(t, e, `
name: items
state: {more: {type: array, default: [1, 2]}}
nodes:
  each: {foreach: {items: "${input.urls + state.more}", do: {exec: {command: [x]}, retry: 1}, max_parallel: 1}}
`)
	r := start(t, e, "items", map[string]any{"urls": []any{"a", "b"}})
	if r = await(t, e, r.ID, Settled); r.Status != run.Failed {
		t.Fatal(r.Why)
	}
	three := event.MustValue(map[string]any{"urls": []any{"c"}})
	other := event.MustValue(map[string]any{"urls": []any{"c", "d"}})
	for _, c := range []struct {
		req  ForkRequest
		anew bool
	}{
		{ForkRequest{}, false},
		{ForkRequest{Input: other}, true},
		{ForkRequest{Input: three}, true},
		{ForkRequest{Set: map[string]event.Value{"more": event.MustValue([]any{3})}}, true},
	} {
		c.req.At = 6 // each[0] has ended
		f, err := e.ForkRun(ctx, r.ID, c.req, By{})
		if err != nil {
			t.Fatal(err)
		}
		f = await(t, e, f.ID, Settled)
		first := 0
		err = e.eachEvent(f.ID, 0, func(ev eventlog.Event) (bool, error) {
			p, err := event.Decode(ev.Kind, ev.Payload)
			if s, ok := p.(*event.NodeStarted); ok && s.Node == "each[0]" {
				first++
			}
			return true, err
		})
		if err != nil || (first > 0) != c.anew {
			t.Errorf("%+v: each[0] is begun %d times in the fork: %v", c.req, first, err)
		}
	}
}
