package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// dyingLog stores the append that holds an event of kind at, and is dead from then
// on: the process was killed right after that commit.
type dyingLog struct {
	eventlog.Log
	at   atomic.Int64
	dead atomic.Bool
}

func (l *dyingLog) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	if l.dead.Load() {
		return 0, eventlog.ErrStopped
	}
	seq, err := l.Log.Append(ctx, a)
	for _, r := range a.Records {
		if int64(r.Kind) == l.at.Load() {
			l.dead.Store(true)
		}
	}
	return seq, err
}

// onLog opens an engine on log with the answers of the loop, and starts it if so
// asked.
func onLog(t *testing.T, log eventlog.Log, begin bool) (*Engine, func()) {
	t.Helper()
	views, err := projection.Open(t.TempDir(), log, projection.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := agent.ParseReplies("replies.yaml", []byte(loopReplies))
	if err != nil {
		t.Fatal(err)
	}
	e := New(log, views, Options{Replies: r.Runner()})
	if begin {
		if err := e.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	return e, func() {
		e.Stop()
		if err := views.Close(); err != nil {
			t.Error(err)
		}
	}
}

// mother registers a parent whose child asks a person, starts it and returns both
// runs once the child waits.
func mother(t *testing.T, e *Engine) (parent, child eventlog.RunID) {
	t.Helper()
	register(t, e, "name: kid\nnodes:\n  ask: {human: {prompt: '?'}}\n  after: {exec: {command: [x]}, needs: [ask]}\n")
	register(t, e, "name: mother\nnodes:\n  c: {workflow: {workflow: kid}}\n")
	parent = start(t, e, "mother", nil).ID
	for i := 0; ; i++ {
		v, err := e.State(context.Background(), parent)
		if err != nil {
			t.Fatal(err)
		}
		if child, err = eventlog.ParseRunID(v.Nodes["c"].Child); err == nil {
			if r, err := e.Run(context.Background(), child); err == nil && r.Status == run.Waiting {
				return parent, child
			}
		}
		if i > 2000 {
			t.Fatal("the child never asked")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A process that is killed right after a parent's commit has told the child
// nothing. The next one does.
func TestChildrenAfterACrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		before machine.Command
		kind   eventlog.Kind
		do     machine.Command
		want   run.Status
	}{
		{"cancelled", nil, event.KindRunCancelled, machine.Cancel{}, run.Cancelled},
		{"paused", nil, event.KindRunPaused, machine.Pause{}, run.Paused},
		{"resumed", machine.Pause{}, event.KindRunResumed, machine.Resume{}, run.Waiting},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner := eventlogtest.NewMemory()
			log := &dyingLog{Log: inner}
			e, stop := onLog(t, log, true)
			parent, child := mother(t, e)
			if c.before != nil {
				if _, err := e.Do(context.Background(), parent, c.before, By{}); err != nil {
					t.Fatal(err)
				}
				await(t, e, child, status(run.Paused))
			}
			log.at.Store(int64(c.kind))
			if _, err := e.Do(context.Background(), parent, c.do, By{}); err != nil {
				t.Fatal(err)
			}
			stop()
			e, stop = onLog(t, inner, true)
			defer stop()
			await(t, e, child, status(c.want))
		})
	}
}

// What was commanded before the engine is started is taken up by the start, the
// children too.
func TestCommandsBeforeTheStart(t *testing.T) {
	log := eventlogtest.NewMemory()
	e, stop := onLog(t, log, true)
	parent, child := mother(t, e)
	stop()
	e, stop = onLog(t, log, false)
	defer stop()
	other := start(t, e, "mother", nil)
	if _, err := e.Do(context.Background(), parent, machine.Cancel{}, By{}); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	await(t, e, child, status(run.Cancelled))
	for i := 0; ; i++ {
		if v, err := e.State(context.Background(), other.ID); err == nil && v.Nodes["c"].Child != "" {
			id, _ := eventlog.ParseRunID(v.Nodes["c"].Child)
			if r, err := e.Run(context.Background(), id); err == nil && r.Status == run.Waiting {
				return
			}
		}
		if i > 2000 {
			t.Fatal("the run started before the engine has no child")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A pause and a resume that follow at once leave the child as the parent is.
func TestPauseAndResumeAtOnce(t *testing.T) {
	e, stop := onLog(t, eventlogtest.NewMemory(), true)
	defer stop()
	parent, child := mother(t, e)
	for range 50 {
		for _, c := range []machine.Command{machine.Pause{}, machine.Resume{}} {
			if _, err := e.Do(context.Background(), parent, c, By{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, e, child, status(run.Waiting))
}

// A start that was refused leaves nothing behind: the same ID can be started with
// another definition.
func TestRefusedStartIsForgotten(t *testing.T) {
	e, stop := onLog(t, eventlogtest.NewMemory(), true)
	defer stop()
	register(t, e, "name: s\ninput: {type: object, required: [topic]}\nnodes:\n  a: {exec: {command: [x]}}\n")
	ctx, by := context.Background(), By{Actor: "test", Key: "k"}
	if _, _, err := e.StartRun(ctx, StartRequest{Workflow: "s"}, by); !errors.Is(err, machine.ErrInvalid) {
		t.Fatal(err)
	}
	if _, err := e.Run(ctx, keyed("s", "k")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a run that was refused can be looked at: %v", err)
	}
	register(t, e, "name: s\nnodes:\n  b: {exec: {command: [x]}}\n")
	r, created, err := e.StartRun(ctx, StartRequest{Workflow: "s"}, by)
	if err != nil || !created {
		t.Fatal(err, created)
	}
	await(t, e, r.ID, status(run.Completed))
}

// A decision that no append can hold is made in several.
func TestDecisionsBeyondOneAppend(t *testing.T) {
	e, stop := onLog(t, eventlogtest.NewMemory(), true)
	defer stop()
	register(t, e, `
name: spin
state: {n: {type: number, default: 0}}
nodes:
  a: {exec: {command: [x]}, set: {n: "${5000}"}}
  d: {decision: {}, max_visits: 10000, set: {n: "${state.n - 1}"}}
  z: {end: completed}
edges:
  - {from: a, to: d}
  - {from: d, to: d, if: "state.n > 0"}
  - {from: d, to: z, default: true}
`)
	r := await(t, e, start(t, e, "spin", nil).ID, Settled)
	if r.Status != run.Completed || r.Version < 20_000 {
		t.Fatalf("%s after %d events", r.Why, r.Version)
	}
}

// Restores that lie one behind the other cost no more than one.
func TestRestoresBehindEachOther(t *testing.T) {
	e, stop := onLog(t, eventlogtest.NewMemory(), true)
	defer stop()
	register(t, e, "name: r\nnodes:\n  a: {exec: {command: [x]}}\n  h: {human: {prompt: '?'}, needs: [a]}\n")
	id := start(t, e, "r", nil).ID
	r := await(t, e, id, func(r Run) bool { return r.OnlyPeople })
	for range 60 {
		if _, err := e.RestoreTo(context.Background(), id, r.Version, "", false, By{}); err != nil {
			t.Fatal(err)
		}
		r = await(t, e, id, func(r Run) bool { return r.OnlyPeople })
	}
	if _, err := run.Fold(e.log, id, run.Newest); err != nil {
		t.Fatal(err)
	}
}
