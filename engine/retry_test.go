package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const againSource = `
name: again
entry: draft
state: {score: {type: number, default: 0}}
nodes:
  draft: {exec: {command: [x]}}
  review: {exec: {command: [x]}, set: {score: "${result.v}"}}
  each: {foreach: {items: "${[1, 2]}", do: {exec: {command: [x]}}}}
  sub: {workflow: child, needs: [each]}
  never: {exec: {command: [x]}}
  publish: {exec: {command: [x]}, needs: [sub], retry: 1}
edges:
  - {from: draft, to: review}
  - {from: review, to: draft, if: "state.score < 0.5"}
  - {from: review, to: never, if: "state.score > 2"}
  - {from: review, to: each, default: true}
`

const againReplies = `
nodes:
  review: [{result: {v: 0.2}}, {result: {v: 0.9}}]
  publish: [{fail: tool_failed}, {fail: tool_failed}, {text: out}]
default: {text: ok}
`

// A failed run goes on from just before a visit: what had completed there is not
// done again, history stays, and the views agree after a restart.
func TestRetryFrom(t *testing.T) {
	dir := t.TempDir()
	e, stop := open(t, dir, againReplies)
	defer func() { stop() }()
	ctx := context.Background()
	register(t, e, "name: child\nnodes: {inner: {exec: {command: [x]}}}\n")
	register(t, e, againSource)
	id := start(t, e, "again", nil).ID
	failed := await(t, e, id, Settled)
	if failed.Status != run.Failed || failed.Error.Node != "publish" {
		t.Fatal(failed.Why)
	}
	before, err := e.State(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.RetryFrom(ctx, id, "each", 1, "look again", By{Actor: "ann", Key: "again-1"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, id, Settled)
	stop()
	e, stop = open(t, dir, againReplies)
	if again, err := e.RetryFrom(ctx, id, "each", 1, "look again", By{Actor: "ann", Key: "again-1"}); err != nil || again.Status != run.Failed {
		t.Fatalf("repeated with its key: %v, %s", err, again.Status)
	}
	if _, err := e.RetryFrom(ctx, id, "sub", 0, "", By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	done := await(t, e, id, Settled)
	after, err := e.State(ctx, id)
	if err != nil || done.Status != run.Completed {
		t.Fatal(err, done.Why)
	}
	for node, want := range map[string]int{"draft": 2, "review": 2, "each": 2, "sub": 3, "publish": 1} {
		if got := after.Nodes[node].Visits; got != want {
			t.Errorf("%s has completed %d times, want %d", node, got, want)
		}
	}
	if done.Version <= failed.Version || before.Nodes["review"].Visits != 2 {
		t.Errorf("version %d after %d", done.Version, failed.Version)
	}
	children, _, err := e.views.Children(ctx, id, "", 10)
	if err != nil || len(children) != 3 {
		t.Errorf("%d child runs, want one for each visit: %v", len(children), err)
	}
	if err := e.views.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
}

// What cannot be retried from is refused, with what can be.
func TestRetryFromRefusals(t *testing.T) {
	e, stop := open(t, t.TempDir(), `nodes: {inner: {fail: tool_failed}, review: [{result: {v: 0.2}}, {result: {v: 0.9}}]}`+"\ndefault: {text: ok}")
	defer stop()
	ctx := context.Background()
	register(t, e, "name: child\nnodes: {inner: {exec: {command: [x]}, retry: 1}}\n")
	register(t, e, againSource)
	id := start(t, e, "again", nil).ID
	if r := await(t, e, id, Settled); r.Status != run.Failed {
		t.Fatal(r.Why)
	}
	children, _, err := e.views.Children(ctx, id, "", 10)
	if err != nil || len(children) != 1 {
		t.Fatal(len(children), err)
	}
	child := children[0].ID
	fork, err := e.ForkRun(ctx, id, ForkRequest{At: 20, Pause: true}, By{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Do(ctx, fork.ID, machine.Resume{}, By{}); err != nil {
		t.Fatal(err)
	}
	if r := await(t, e, fork.ID, Settled); r.Status != run.Failed {
		t.Fatal(r.Why)
	}
	for _, c := range []struct {
		id    eventlog.RunID
		node  string
		visit int
		kind  error
		says  string
	}{
		{id, "reviw", 0, machine.ErrNotFound, `again has no node "reviw"; did you mean review?`},
		{id, "inner", 0, machine.ErrNotFound, "a child run of node sub has: retry from sub"},
		{id, "never", 0, machine.ErrNotFound, "has not come to node never; it has come to draft, review, each, sub"},
		{id, "review", 7, machine.ErrNotFound, "node review has no visit 7; it has visits 1 to 2"},
		{id, "sub", 2, machine.ErrNotFound, "it has visit 1"},
		{id, "each[1]", 0, machine.ErrInvalid, "retry from each"},
		{child, "inner", 0, machine.ErrRefused, "retry that"},
		{fork.ID, "draft", 1, machine.ErrNotFound, "forked from run " + id.String() + " at version 20"},
	} {
		_, err := e.RetryFrom(ctx, c.id, c.node, c.visit, "", By{})
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("from %s#%d: %v", c.node, c.visit, err)
		}
	}
	if place, ok, err := e.Root(ctx, child); err != nil || !ok || place.Run != id || place.Node != "sub" {
		t.Errorf("the child's root is %+v, %t, %v", place, ok, err)
	}
	if _, err := e.Do(ctx, id, machine.Cancel{}, By{}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.RetryFrom(ctx, id, "draft", 0, "", By{}); !errors.Is(err, machine.ErrRefused) || !strings.Contains(err.Error(), "cannot retry a run that is cancelled") {
		t.Errorf("a cancelled run: %v", err)
	}
}

// Of several visits the latest is meant that led to where the run stands: not one
// that a restore went back behind.
func TestRetryFromTheLatestVisitOfTheLine(t *testing.T) {
	e, stop := open(t, t.TempDir(), `nodes: {review: [{result: {v: 0.2}}, {result: {v: 0.9}}], publish: {fail: tool_failed}}`+"\ndefault: {text: ok}")
	defer stop()
	ctx := context.Background()
	register(t, e, "name: child\nnodes: {inner: {exec: {command: [x]}}}\n")
	register(t, e, againSource)
	id := start(t, e, "again", nil).ID
	await(t, e, id, Settled)
	if _, err := e.RetryFrom(ctx, id, "draft", 1, "", By{}); err != nil { // leaves every visit behind
		t.Fatal(err)
	}
	await(t, e, id, Settled)
	visits, err := projection.Visits(e.log, id)
	if err != nil {
		t.Fatal(err)
	}
	line := map[string][]int{}
	for _, v := range visits {
		if !v.Behind {
			line[v.Node] = append(line[v.Node], v.Visit)
		}
		ev, err := e.log.ReadRun(id, v.Begins-1, 1)
		if err != nil || ev[0].Kind != event.KindNodeScheduled {
			t.Errorf("%s#%d begins at version %d: %v", v.Node, v.Visit, v.Begins, err)
		}
	}
	if got := line["review"]; len(got) != 1 || got[0] != 3 {
		t.Errorf("review is on the line with visits %v, want 3", got)
	}
	if _, err := e.RetryFrom(ctx, id, "review", 2, "", By{}); err != nil { // one left behind can be named
		t.Fatal(err)
	}
	r := await(t, e, id, Settled)
	if visits, err = projection.Visits(e.log, id); err != nil || r.Status != run.Failed {
		t.Fatal(err, r.Why)
	}
	onLine := ""
	for _, v := range visits {
		if !v.Behind && (v.Node == "draft" || v.Node == "review") {
			onLine += v.Node + string(rune('0'+v.Visit)) + " "
		}
	}
	if onLine != "draft1 review1 draft2 review4 " {
		t.Errorf("on the line are %s", onLine)
	}
}
