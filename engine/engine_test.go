package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/bus"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// open returns a started engine on a data directory, and a function that stops it
// and closes everything.
func open(t testing.TB, dir, replies string) (*Engine, func()) {
	t.Helper()
	return openOn(t, dir, replies, func(log eventlog.Log) eventlog.Log { return log })
}

// openOn is open with the log wrapped.
func openOn(t testing.TB, dir, replies string, wrap func(eventlog.Log) eventlog.Log) (*Engine, func()) {
	t.Helper()
	log, views, err := Store(dir, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := agent.ParseReplies("replies.yaml", []byte(replies))
	if err != nil {
		t.Fatal(err)
	}
	e := New(wrap(log), views, Options{Replies: r.Runner()})
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return e, func() {
		e.Stop()
		if err := views.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}

// register registers a definition.
func register(t testing.TB, e *Engine, src string) Registered {
	t.Helper()
	wf, problems := workflow.Load("test.yaml", []byte(src))
	if wf == nil {
		t.Fatal(problems)
	}
	reg, err := e.Register(context.Background(), wf, src, "test")
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

const loopSource = `
name: loop
state:
  notes: {type: array, reduce: append}
  score: {type: number, default: 0}
nodes:
  a: {exec: {command: [x]}}
  b: {exec: {command: [x]}, needs: [a], set: {notes: "${[result.text]}"}}
  c: {exec: {command: [x]}, needs: [a], set: {notes: "${[result.text]}"}}
  j: {converge: {}, needs: [b, c]}
  r: {exec: {command: [x]}, set: {score: "${result.v}"}, needs: [j], retry: {max: 3, backoff: 10ms}}
  r2: {exec: {command: [x]}}
  h: {human: {prompt: "ok ${state.score}?"}}
edges:
  - {from: r, to: r2, if: "state.score < 0.8"}
  - {from: r, to: h, default: true}
  - {from: r2, to: r}
`

const loopReplies = `
nodes:
  b: {text: B, delay: 30ms}
  c: {text: C}
  r: [[{fail: timeout}, {result: {v: 0.2}}], {result: {v: 0.9}}]
default: {text: ok}
`

func TestRunToTheEnd(t *testing.T) {
	dir := t.TempDir()
	e, stop := open(t, dir, loopReplies)
	defer func() { stop() }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	register(t, e, loopSource)
	r, created, err := e.StartRun(ctx, StartRequest{Workflow: "loop"}, By{Actor: "t", Key: "k1"})
	if err != nil || !created {
		t.Fatal(err, created)
	}
	r2, created, err := e.StartRun(ctx, StartRequest{Workflow: "loop"}, By{Actor: "t", Key: "k1"})
	if err != nil || created || r2.ID != r.ID {
		t.Fatal(err, created, r2.ID)
	}
	if r, err = e.Await(ctx, r.ID, func(r Run) bool { return r.Status == run.Waiting && r.OnlyPeople }); err != nil {
		t.Fatal(err, r.Why)
	}
	fmt.Println(r.Why)
	stop()
	e, stop = open(t, dir, loopReplies)
	if r, err = e.Do(ctx, r.ID, machine.Answer{Value: event.MustValue("yes")}, By{Actor: "t"}); err != nil {
		t.Fatal(err)
	}
	if r.Status != run.Completed {
		t.Fatalf("%+v", r)
	}
	v, err := e.State(ctx, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := v.State["notes"].MarshalJSON()
	fmt.Println(string(b), r.Why, v.Nodes["r"].Visits)
}

// A chain run by one client costs one commit per node transition, and one more.
func TestCommitsOfAChain(t *testing.T) {
	e, stop := open(t, t.TempDir(), "default: {text: ok}")
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	const nodes = 20
	register(t, e, chainSource(nodes))
	db := e.log.(*eventlog.DB)
	before := db.Stats().Commits
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "chain"}, By{Actor: "t"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = e.Await(ctx, r.ID, Settled); err != nil || r.Status != run.Completed {
		t.Fatal(err, r.Why)
	}
	// The start schedules the first node, each result the next.
	if got := db.Stats().Commits - before; got != nodes+1 {
		t.Fatalf("%d commits for a chain of %d nodes, want %d", got, nodes, nodes+1)
	}
}

// ringing counts the rings of a bus.
type ringing struct {
	bus.Bus
	rings atomic.Int32
}

func (b *ringing) Ring(topic, message string) {
	b.rings.Add(1)
	b.Bus.Ring(topic, message)
}

// A step goes on where the one before has ended: no bell has to be heard for it, unless
// its queue is full. Then its turn comes all the same.
func TestStepsRingNoBell(t *testing.T) {
	const nodes, runs = 20, 8
	for _, limit := range []int{runs, 1} {
		log, views, err := Store(t.TempDir(), nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := &ringing{Bus: bus.New(nil)}
		var under, most atomic.Int32
		e := New(log, views, Options{Bus: b, Queues: map[string]int{"worker": limit}, Runners: map[workflow.Kind]agent.Runner{
			workflow.Worker: agent.RunnerFunc(func(context.Context, *agent.Task) agent.Answer {
				if n := under.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				under.Add(-1)
				return agent.Answer{Result: "ok"}
			}),
		}})
		if err := e.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		register(t, e, chainSource(nodes))
		var wg sync.WaitGroup
		for range runs {
			wg.Go(func() {
				r, _, err := e.StartRun(t.Context(), StartRequest{Workflow: "chain"}, By{Actor: "t"})
				if err == nil {
					r, err = e.Await(t.Context(), r.ID, Settled)
				}
				if err != nil || r.Status != run.Completed {
					t.Error(err, r.Why)
				}
			})
		}
		wg.Wait()
		e.Stop()
		if rings := b.rings.Load(); (rings > 0) != (limit < runs) {
			t.Errorf("a queue for %d: %d rings for %d runs of %d nodes", limit, rings, runs, nodes)
		}
		if int(most.Load()) > limit {
			t.Errorf("a queue for %d: %d attempts at once", limit, most.Load())
		}
		if err := errors.Join(views.Close(), log.Close()); err != nil {
			t.Error(err)
		}
	}
}
