package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/bus"
	"github.com/wfd-dev/wfd/engine/bus/bustest"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

var discard = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// await waits until a run satisfies done.
func await(t testing.TB, e *Engine, id eventlog.RunID, done func(Run) bool) Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := e.Await(ctx, id, done)
	if err != nil {
		t.Fatalf("run %s: %v; it is %s: %s", id, err, r.Status, r.Why)
	}
	return r
}

func start(t testing.TB, e *Engine, name string, input any) Run {
	t.Helper()
	r, _, err := e.StartRun(context.Background(), StartRequest{Workflow: name, Input: event.MustValue(input)}, By{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func status(want run.Status) func(Run) bool { return func(r Run) bool { return r.Status == want } }

const familySource = `
name: parent
nodes:
  list: {exec: {command: [x]}}
  each: {foreach: {items: "${result.items}", workflow: child, max_parallel: 3}, needs: [list]}
  one: {workflow: {workflow: child, input: {n: 100}}, needs: [each]}
output: "${[nodes.each.result, nodes.one.result]}"
`

const childSource = `
name: child
nodes:
  work: {exec: {command: [x]}}
  ask: {human: {prompt: "?"}}
  done: {exec: {command: [x]}}
edges:
  - {from: work, to: ask, if: "has(input.n) && input.n == 100"}
  - {from: work, to: done, default: true}
`

const familyReplies = `
nodes:
  list: {result: {items: [1, 2, 3, 4, 5, 6, 7]}}
  done: {result: 5}
default: {text: ok, delay: 5ms}
`

// Child runs are started once and their ends are told once, across a restart.
func TestChildren(t *testing.T) {
	dir := t.TempDir()
	e, stop := open(t, dir, familyReplies)
	defer func() { stop() }()
	register(t, e, childSource)
	register(t, e, familySource)
	r := start(t, e, "parent", map[string]any{})
	time.Sleep(20 * time.Millisecond)
	stop()
	e, stop = open(t, dir, familyReplies)
	var child eventlog.RunID
	deadline := time.Now().Add(20 * time.Second)
	for child.IsZero() {
		in, _, err := e.views.Inbox(context.Background(), projection.InputFilter{}, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(in) > 0 {
			child = in[0].Run
		} else if time.Now().After(deadline) {
			p, _ := e.Run(context.Background(), r.ID)
			t.Fatal("the child never asked: ", p.Why)
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	e, stop = open(t, dir, familyReplies)
	if _, err := e.Do(context.Background(), child, machine.Answer{Value: event.MustValue("yes")}, By{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	r = await(t, e, r.ID, Settled)
	out, _ := r.Output.Any()
	if got := fmt.Sprint(out); got != "[[5 5 5 5 5 5 5] yes]" {
		t.Fatalf("%s: %s", r.Why, got)
	}
	rows, _, err := e.views.Children(context.Background(), r.ID, "", 100)
	if err != nil || len(rows) != 8 {
		t.Fatalf("%d child runs, want 8: %v", len(rows), err)
	}
}

// Cancelling a run cancels its children and the attempts under way.
func TestCancelReachesChildren(t *testing.T) {
	e, stop := open(t, t.TempDir(), "nodes: {list: {result: {items: [1, 2, 3]}}}\ndefault: {text: ok, delay: 1m}")
	defer stop()
	register(t, e, childSource)
	register(t, e, familySource)
	r := start(t, e, "parent", map[string]any{})
	var rows []projection.Row
	for i := 0; len(rows) < 3; i++ {
		if i > 2000 {
			t.Fatal("the children were not started")
		}
		time.Sleep(5 * time.Millisecond)
		rows, _, _ = e.views.Children(context.Background(), r.ID, "", 10)
	}
	if _, err := e.Do(context.Background(), r.ID, machine.Cancel{Reason: "enough"}, By{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		await(t, e, row.ID, status(run.Cancelled))
	}
	e.sched.mu.Lock()
	defer e.sched.mu.Unlock()
	if n := len(e.sched.jobs); n != 0 {
		t.Fatalf("%d attempts are still under way", n)
	}
}

// Timers fire after a restart, as do those that came due while nothing ran.
func TestTimersAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	src := "name: nap\nnodes:\n  a: {wait: {for: 150ms}}\n  b: {exec: {command: [x]}, needs: [a]}\n"
	e, stop := open(t, dir, "default: {text: ok}")
	register(t, e, src)
	r := start(t, e, "nap", nil)
	await(t, e, r.ID, status(run.Waiting))
	stop()
	time.Sleep(200 * time.Millisecond)
	e, stop = open(t, dir, "default: {text: ok}")
	defer stop()
	await(t, e, r.ID, status(run.Completed))
}

// A thousand runs at once, on a bus that loses and doubles its messages, and with
// room for few of them in memory: each is done once.
func TestManyRuns(t *testing.T) {
	n := 1000
	if testing.Short() || raceEnabled {
		n = 200
	}
	log, views, err := Store(t.TempDir(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := agent.ParseReplies("r.yaml", []byte(loopReplies))
	if err != nil {
		t.Fatal(err)
	}
	e := New(log, views, Options{Replies: r.Runner(), MaxLoaded: 20, Bus: bustest.Chaos(bus.New(discard), 7)})
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		e.Stop()
		if err := errors.Join(views.Close(), log.Close()); err != nil {
			t.Error(err)
		}
	}()
	register(t, e, loopSource)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			r, _, err := e.StartRun(ctx, StartRequest{Workflow: "loop"}, By{Actor: "test", Key: fmt.Sprint("k", i)})
			if err != nil {
				t.Error(err)
				return
			}
			if r, err = e.Await(ctx, r.ID, func(r Run) bool { return r.OnlyPeople }); err != nil {
				t.Error(err, r.Why)
				return
			}
			if _, err := e.Do(ctx, r.ID, machine.Answer{Value: event.MustValue(true)}, By{Actor: "test", Key: "answer"}); err != nil {
				t.Error(err)
			}
			if r, err = e.Do(ctx, r.ID, machine.Answer{Value: event.MustValue(true)}, By{Actor: "test", Key: "answer"}); err != nil {
				t.Error("a repeated answer:", err)
			}
			if r.Status != run.Completed {
				t.Error(r.Why)
			}
		})
	}
	wg.Wait()
	total, err := views.Totals(context.Background(), "")
	if err != nil || total[run.Completed] != n {
		t.Fatal(total, err)
	}
	if err := views.Verify(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// A hundred branches run at once, more are queued, and all are joined.
func TestFanOut(t *testing.T) {
	const branches = 150
	src := "name: fan\nstate:\n  seen: {type: array, reduce: append}\nnodes:\n  f: {parallel: {}}\n  j: {converge: {}}\n"
	edges := "edges:\n"
	for i := range branches {
		src += fmt.Sprintf("  b%d: {exec: {command: [x]}, set: {seen: \"${[%d]}\"}}\n", i, i)
		edges += fmt.Sprintf("  - {from: f, to: b%d}\n  - {from: b%d, to: j}\n", i, i)
	}
	var mu sync.Mutex
	now, most := 0, 0
	runner := agent.RunnerFunc(func(ctx context.Context, t *agent.Task) agent.Answer {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(2 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		return agent.Answer{Result: "ok"}
	})
	e, stop := open(t, t.TempDir(), "default: {text: ok}")
	defer stop()
	e.opt.Replies, e.opt.Queues = runner, map[string]int{"exec": 1000}
	register(t, e, src+edges)
	r := await(t, e, start(t, e, "fan", nil).ID, Settled)
	if r.Status != run.Completed {
		t.Fatal(r.Why)
	}
	if most > machine.MaxParallel {
		t.Fatalf("%d attempts at once, more than %d", most, machine.MaxParallel)
	}
	v, err := e.State(context.Background(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	seen, _ := v.State["seen"].Any()
	for i, x := range seen.([]any) {
		if x != int64(i) {
			t.Fatalf("state is not in branch order: %v", seen)
		}
	}
}

// unknownLog stores an append and reports its outcome as unknown.
type unknownLog struct {
	eventlog.Log
	mu    sync.Mutex
	after int // appends until then go well; -1: for ever
}

func (l *unknownLog) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.after == 0 {
		return 0, eventlog.ErrStopped
	}
	seq, err := l.Log.Append(ctx, a)
	if l.after--; l.after == 0 {
		return 0, eventlog.ErrUnknown
	}
	return seq, err
}

// After an append of unknown outcome nothing is accepted or dispatched; reads go
// on; an engine started afresh on the log goes on where the log stands.
func TestUnknownOutcomeStops(t *testing.T) {
	for after := 2; after < 9; after++ {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			inner := eventlogtest.NewMemory()
			log := &unknownLog{Log: inner, after: after}
			e, stop := onLog(t, log, true)
			register(t, e, loopSource)
			r, _, err := e.StartRun(context.Background(), StartRequest{Workflow: "loop"}, By{Actor: "test", Key: "k"})
			if err == nil {
				for i := 0; e.Failed() == nil; i++ {
					if i > 2000 {
						t.Fatal("the engine did not notice")
					}
					time.Sleep(5 * time.Millisecond)
				}
			} else if !errors.Is(err, eventlog.ErrUnknown) {
				t.Fatal(err)
			}
			if _, _, err := e.StartRun(context.Background(), StartRequest{Workflow: "loop"}, By{Actor: "test"}); !errors.Is(err, ErrStopped) {
				t.Fatalf("accepted after an unknown outcome: %v", err)
			}
			head := inner.Head()
			time.Sleep(20 * time.Millisecond)
			if inner.Head() != head {
				t.Fatal("something was appended after an unknown outcome")
			}
			stop()
			e, stop = onLog(t, &unknownLog{Log: inner, after: -1}, true)
			defer stop()
			again, _, err := e.StartRun(context.Background(), StartRequest{Workflow: "loop"}, By{Actor: "test", Key: "k"})
			if err != nil {
				t.Fatal(err)
			}
			if !r.ID.IsZero() && r.ID != again.ID {
				t.Fatalf("the key found run %s, was %s", again.ID, r.ID)
			}
			await(t, e, again.ID, func(r Run) bool { return r.OnlyPeople })
		})
	}
}

// fullLog has a full disk for a while.
type fullLog struct {
	eventlog.Log
	mu   sync.Mutex
	full bool
}

func (l *fullLog) set(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = full
}

func (l *fullLog) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	l.mu.Lock()
	full := l.full
	l.mu.Unlock()
	if full {
		return 0, eventlog.ErrFull
	}
	return l.Log.Append(ctx, a)
}

// A full disk refuses commands; results and timers are kept, and once there is
// space the run goes on by itself.
func TestFullDisk(t *testing.T) {
	log := &fullLog{Log: eventlogtest.NewMemory()}
	e, stop := onLog(t, log, true)
	defer stop()
	release := make(chan struct{})
	e.opt.Replies = agent.RunnerFunc(func(ctx context.Context, t *agent.Task) agent.Answer {
		<-release
		return agent.Answer{Result: "ok"}
	})
	register(t, e, "name: two\nnodes:\n  a: {exec: {command: [x]}}\n  w: {wait: {for: 50ms}, needs: [a]}\n  b: {exec: {command: [x]}, needs: [w]}\n")
	r := start(t, e, "two", nil)
	log.set(true)
	close(release)
	if _, _, err := e.StartRun(context.Background(), StartRequest{Workflow: "two"}, By{}); !errors.Is(err, eventlog.ErrFull) {
		t.Fatalf("a start on a full disk: %v", err)
	}
	time.Sleep(100 * time.Millisecond)
	log.set(false)
	await(t, e, r.ID, status(run.Completed))
}

// A runner that panics fails its attempt and nothing else.
func TestRunnerPanics(t *testing.T) {
	e, stop := open(t, t.TempDir(), "default: {text: ok}")
	defer stop()
	e.opt.Replies = nil
	e.opt.Runners = map[workflow.Kind]agent.Runner{workflow.Exec: agent.RunnerFunc(func(context.Context, *agent.Task) agent.Answer { panic("boom") })}
	register(t, e, "name: p\nnodes:\n  a: {exec: {command: [x]}}\n")
	r := await(t, e, start(t, e, "p", nil).ID, Settled)
	if r.Status != run.Failed || r.Error.Class != event.ClassInternal {
		t.Fatalf("%s %+v", r.Status, r.Error)
	}
}

// A name that is like several others can still be registered.
func TestRegisterAlikeNames(t *testing.T) {
	e, stop := open(t, t.TempDir(), "default: {text: ok}")
	defer stop()
	for _, name := range []string{"code-review", "code-style", "code", "Code_Review", "code review"} {
		if reg := register(t, e, "name: "+name+"\nnodes:\n  a: {exec: {command: [x]}}\n"); reg.Name != name || reg.Version != 1 {
			t.Errorf("%s was registered as %s, version %d", name, reg.Name, reg.Version)
		}
	}
	if reg := register(t, e, "name: code\nnodes:\n  b: {exec: {command: [x]}}\n"); reg.Version != 2 {
		t.Errorf("the second definition of code has version %d", reg.Version)
	}
}
