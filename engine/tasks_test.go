package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// shop is an engine whose tasks are done by workers. It can be crashed.
type shop struct {
	*Engine
	t    *testing.T
	dir  string
	opt  Options
	book *lease.Book
	stop func()
}

func openShop(t *testing.T, opt Options) *shop {
	s := &shop{t: t, dir: t.TempDir(), opt: opt}
	s.open()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *shop) open() {
	s.t.Helper()
	log, views, err := Store(s.dir, nil, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.book, err = lease.Open(filepath.Join(s.dir, "leases"), nil, nil); err != nil {
		s.t.Fatal(err)
	}
	s.opt.Leases = s.book
	s.Engine = New(log, views, s.opt)
	if err := s.Start(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	s.stop = func() {
		s.Stop()
		if err := errors.Join(views.Close(), log.Close(), s.book.Close()); err != nil {
			s.t.Error(err)
		}
	}
}

// restart stops the engine and opens its directory again. Nothing that a worker holds is
// ended by it, so that to the tasks of workers it is as a crash.
func (s *shop) restart() {
	s.t.Helper()
	s.stop()
	s.open()
}

const shopSource = `
name: shop
nodes:
  a: {worker: {worker: paint, input: {color: "${input.color}"}}, timeout: 1h, retry: {max: 3, backoff: 10ms}}
`

func (s *shop) begin(color string) eventlog.RunID {
	s.t.Helper()
	return start(s.t, s.Engine, "shop", map[string]any{"color": color}).ID
}

// poll asks for a task of handler paint.
func (s *shop) poll(worker string, wait time.Duration, change ...func(*PollRequest)) []Task {
	s.t.Helper()
	r := PollRequest{Worker: worker, Handlers: []string{"paint"}, Wait: wait, Max: 10}
	for _, f := range change {
		f(&r)
	}
	tasks, err := s.Poll(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return tasks
}

// one polls for one task, which must come.
func (s *shop) one(worker string, change ...func(*PollRequest)) Task {
	s.t.Helper()
	tasks := s.poll(worker, 5*time.Second, change...)
	if len(tasks) != 1 {
		s.t.Fatalf("%d tasks came, want 1: %+v", len(tasks), tasks)
	}
	return tasks[0]
}

func (s *shop) none(worker string) {
	s.t.Helper()
	if tasks := s.poll(worker, 20*time.Millisecond); len(tasks) != 0 {
		s.t.Fatalf("%d tasks came, want none: %+v", len(tasks), tasks)
	}
}

func ref(t Task) TaskRef { return TaskRef{"", t.ID.String(), t.Token} }

func (s *shop) complete(t Task, result any) (Outcome, error) {
	return s.Complete(s.t.Context(), ref(t), agent.Answer{Result: result}, By{Actor: "api:local"})
}

func (s *shop) fail(t Task, class string) (Outcome, error) {
	return s.Fail(s.t.Context(), ref(t), agent.Answer{Failure: &agent.Failure{Class: class, Message: "it broke"}}, nil, By{})
}

// done has a task completed, which must be recorded.
func (s *shop) done(t Task, result any) {
	s.t.Helper()
	if o, err := s.complete(t, result); err != nil || o.Status != "completed" || o.Repeated {
		s.t.Fatalf("%+v, %v", o, err)
	}
}

// ends waits for a run to end and returns its output.
func (s *shop) ends(id eventlog.RunID) any {
	s.t.Helper()
	r := await(s.t, s.Engine, id, func(r Run) bool { return r.Status.Terminal() })
	if r.Status != run.Completed {
		s.t.Fatal(r.Why)
	}
	v, err := r.Output.Any()
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

// stale wants an error to be a StaleError that says why.
func stale(t *testing.T, err error, why string) {
	t.Helper()
	var s *StaleError
	if !errors.As(err, &s) || !strings.Contains(s.Why, why) {
		t.Errorf("error %v, want a StaleError that says %q", err, why)
	}
}

// history lists the kinds of a run's events that are about attempts.
func (s *shop) history(id eventlog.RunID) string {
	s.t.Helper()
	events, err := s.log.ReadRun(id, 0, 10_000)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		switch p := p.(type) {
		case *event.NodeStarted:
			out = append(out, fmt.Sprint("started ", p.Attempt))
		case *event.NodeLost:
			out = append(out, fmt.Sprint("lost ", p.Attempt))
		case *event.NodeFailed:
			out = append(out, fmt.Sprint("failed ", p.Attempt))
		case *event.NodeCompleted:
			out = append(out, fmt.Sprintf("completed %d by %s", p.Attempt, e.Actor))
		case *event.ResultIgnored:
			out = append(out, fmt.Sprint("ignored ", p.Attempt))
		}
	}
	return strings.Join(out, ", ")
}

func (s *shop) wants(id eventlog.RunID, want string) {
	s.t.Helper()
	if have := s.history(id); have != want {
		s.t.Errorf("history: %s\nwant:    %s", have, want)
	}
}

// A worker polls, gets what it needs to know, and its result is the node's.
func TestWorkerDoesATask(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	s.none("w1")
	id := s.begin("red")
	task := s.one("w1")
	in, _ := task.Input.(map[string]any)
	if task.Run != id || task.Node != "a" || task.Visit != 1 || task.Attempt != 1 || task.Handler != "paint" || task.Queue != "worker" || in["color"] != "red" ||
		task.Key != id.String()+"/a/1" || string(task.Checkpoint) != string(event.Null) || task.Lease != 30 ||
		time.Until(task.Deadline.Std()) < 59*time.Minute || !strings.HasPrefix(task.Token, "1.") {
		t.Fatalf("%+v", task)
	}
	s.none("w2")
	if b, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)}); err != nil || b.Status != "running" || time.Until(b.Until.Std()) < 29*time.Second {
		t.Fatal(b, err)
	}
	s.done(task, "painted")
	if out := s.ends(id); out != "painted" {
		t.Fatal(out)
	}
	s.wants(id, "started 1, completed 1 by worker:w1@local")
}

// The same end again is recorded once and answered alike; another is refused.
func TestWorkerRepeatsItself(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	id := s.begin("red")
	task := s.one("w1")
	s.done(task, map[string]any{"n": 1})
	for range 2 {
		if o, err := s.complete(task, map[string]any{"n": 1}); err != nil || o.Status != "completed" || !o.Repeated {
			t.Fatal(o, err)
		}
		_, err := s.complete(task, map[string]any{"n": 2})
		stale(t, err, "the run is completed")
		_, err = s.fail(task, event.ClassTimeout)
		stale(t, err, "the run is completed")
		_, err = s.Release(t.Context(), ref(task), "", nil, By{})
		stale(t, err, "the run is completed")
		_, err = s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)})
		stale(t, err, "the run is completed")
		s.restart()
	}
	s.wants(id, "started 1, completed 1 by worker:w1@local, ignored 1, ignored 1") // one in each life

	id = s.begin("blue")
	task = s.one("w1")
	for i := range 3 {
		if o, err := s.fail(task, event.ClassTimeout); err != nil || o.Status != "failed" || o.Repeated != (i > 0) {
			t.Fatal(o, err)
		}
	}
	next := s.one("w2")
	if next.Attempt != 2 || next.ID != task.ID || next.Key != task.Key {
		t.Fatalf("%+v", next)
	}
	for i := range 3 {
		if o, err := s.Release(t.Context(), ref(next), "going home", nil, By{}); err != nil || o.Status != "released" || o.Repeated != (i > 0) {
			t.Fatal(o, err)
		}
	}
	s.done(s.one("w3"), "blue")
	s.wants(id, "started 1, failed 1, started 2, lost 2, started 3, completed 3 by worker:w3@local")
}

// A lease that is not renewed passes: the task is another attempt's, with the
// checkpoint of the one before, and nothing that the first worker says counts.
func TestLeasePasses(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	id := s.begin("red")
	short := func(r *PollRequest) { r.Lease = time.Second }
	task := s.one("w1", short)
	checkpoint := event.MustValue(map[string]any{"strokes": 12})
	if _, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task), Checkpoint: checkpoint}); err != nil {
		t.Fatal(err)
	}
	next := s.one("w2", short)
	if next.Attempt != 2 || string(next.Checkpoint) != string(checkpoint) || next.ID != task.ID || next.Token == task.Token {
		t.Fatalf("%+v", next)
	}
	_, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)})
	stale(t, err, "attempt 2 has taken the place of attempt 1")
	_, err = s.complete(task, "late")
	stale(t, err, "attempt 2 has taken the place of attempt 1")
	for range 15 { // a lease that is renewed goes on
		time.Sleep(100 * time.Millisecond)
		if _, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(next)}); err != nil {
			t.Fatal(err)
		}
	}
	s.done(next, "done")
	s.wants(id, "started 1, lost 1, started 2, ignored 1, completed 2 by worker:w2@local")
}

// After a restart a worker that is still at work goes on as if nothing had happened.
func TestWorkerOutlivesTheEngine(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	var tasks []Task
	var ids []eventlog.RunID
	for i := range 3 {
		ids = append(ids, s.begin(fmt.Sprint(i)))
		tasks = append(tasks, s.one("w1"))
	}
	waiting := s.begin("waiting")
	checkpoint := event.MustValue("half")
	if _, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(tasks[2]), Checkpoint: checkpoint}); err != nil {
		t.Fatal(err)
	}
	s.restart()
	// What nobody had is handed out, as another attempt: who knows.
	if got := s.one("w2"); got.Run != waiting || got.Attempt != 2 {
		t.Fatalf("%+v", got)
	}
	s.done(tasks[0], "x")
	if b, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(tasks[1])}); err != nil || b.Status != "running" {
		t.Fatal(b, err)
	}
	s.restart()
	s.done(tasks[1], "y")
	if _, err := s.Release(t.Context(), ref(tasks[2]), "", nil, By{}); err != nil {
		t.Fatal(err)
	}
	next := s.one("w2")
	if next.Run != ids[2] || next.Attempt != 2 || string(next.Checkpoint) != string(checkpoint) {
		t.Fatalf("%+v", next)
	}
	s.wants(ids[0], "started 1, completed 1 by worker:w1@local")
	s.wants(ids[1], "started 1, completed 1 by worker:w1@local")
	s.wants(waiting, "started 1, lost 1, started 2")
}

// Without its book the engine does not know who has what. Whoever comes first has it:
// the worker that still works, or one that is new; never both.
func TestLostBook(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	id, other, third := s.begin("red"), s.begin("blue"), s.begin("green")
	tasks := s.poll("w1", time.Second)
	if len(tasks) != 3 {
		t.Fatal(tasks)
	}
	s.stop()
	s.open()
	for _, task := range tasks { // as if its last lines had not come to the disk
		s.book.End(task.ID, task.Attempt)
	}
	s.stop()
	s.open()
	if b, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(tasks[0])}); err != nil || b.Status != "running" {
		t.Fatal(b, err)
	}
	s.done(tasks[1], "blue")
	next := s.one("w2")
	if next.Run != third || next.Attempt != 2 {
		t.Fatalf("%+v", next)
	}
	_, err := s.complete(tasks[2], "green")
	stale(t, err, "attempt 2 has taken the place of attempt 1")
	s.done(tasks[0], "red")
	s.done(next, "green")
	s.none("w3")
	s.wants(id, "started 1, completed 1 by worker:w1@local")
	s.wants(other, "started 1, completed 1 by worker:w1@local")
	s.wants(third, "started 1, lost 1, started 2, ignored 1, completed 2 by worker:w2@local")
}

// A worker learns with its next heartbeat that nobody waits for its result, or that the
// run is paused; then nothing is handed out.
func TestRunEndsUnderAWorker(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	id := s.begin("red")
	task := s.one("w1")
	if _, err := s.Do(t.Context(), id, machine.Cancel{Reason: "enough"}, By{}); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)}); err != nil || b.Status != "cancelled" {
		t.Fatal(b, err)
	}
	_, err := s.complete(task, "x")
	stale(t, err, "the run is cancelled")

	id = s.begin("blue")
	task = s.one("w1")
	waits := s.begin("green")
	for _, id := range []eventlog.RunID{id, waits} {
		if _, err := s.Do(t.Context(), id, machine.Pause{}, By{}); err != nil {
			t.Fatal(err)
		}
	}
	s.none("w2")
	if b, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)}); err != nil || b.Status != "paused" {
		t.Fatal(b, err)
	}
	s.restart()
	s.none("w2")
	if b, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)}); err != nil || b.Status != "paused" {
		t.Fatal(b, err)
	}
	if _, err := s.Release(t.Context(), ref(task), "", nil, By{}); err != nil {
		t.Fatal(err)
	}
	s.none("w2")
	for _, id := range []eventlog.RunID{id, waits} {
		if _, err := s.Do(t.Context(), id, machine.Resume{}, By{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s.done(s.one("w2"), "x")
	}
	s.ends(id)
	s.ends(waits)
}

// An attempt that takes longer than the node's timeout fails, and counts.
func TestWorkerTimeout(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, strings.Replace(shopSource, "timeout: 1h", "timeout: 300ms", 1))
	id := s.begin("red")
	task := s.one("w1")
	next := s.one("w2")
	_, err := s.complete(task, "x")
	stale(t, err, "attempt 2 has taken the place")
	s.done(next, "y")
	s.wants(id, "started 1, failed 1, started 2, ignored 1, completed 2 by worker:w2@local")
}

// Tasks are handed out by priority, then by age; a task that comes back keeps its age,
// and no queue has more under way than its limit.
func TestOrderAndLimits(t *testing.T) {
	s := openShop(t, Options{Queues: map[string]int{"small": 2}})
	register(t, s.Engine, shopSource)
	register(t, s.Engine, strings.NewReplacer("name: shop", "name: urgent", "timeout:", "priority: 5, timeout:").Replace(shopSource))
	register(t, s.Engine, strings.NewReplacer("name: shop", "name: little", "timeout:", "queue: small, timeout:").Replace(shopSource))
	register(t, s.Engine, strings.NewReplacer("name: shop", "name: other", "paint", "sing").Replace(shopSource))
	red := map[string]any{"color": "red"}
	var want []eventlog.RunID
	for range 3 {
		want = append(want, s.begin("red"))
	}
	sings := start(t, s.Engine, "other", red).ID
	want = append([]eventlog.RunID{start(t, s.Engine, "urgent", red).ID}, want...)
	one := func(r *PollRequest) { r.Max = 1 }
	for i, id := range want {
		task := s.one("w", one)
		if task.Run != id {
			t.Errorf("task %d is of another run", i)
		}
		if i == 1 {
			if _, err := s.Release(t.Context(), ref(task), "", nil, By{}); err != nil {
				t.Fatal(err)
			}
			if task = s.one("w", one); task.Run != id || task.Attempt != 2 {
				t.Errorf("what was released does not come first: %+v", task)
			}
		}
	}
	s.none("w")
	if task := s.one("w", func(r *PollRequest) { r.Handlers = []string{"dance", "sing"} }); task.Run != sings {
		t.Errorf("%+v", task)
	}

	for range 4 {
		start(t, s.Engine, "little", red)
	}
	small := func(r *PollRequest) { r.Queues = []string{"small", "large"} }
	tasks := s.poll("w", time.Second, small)
	if len(tasks) != 2 || len(s.poll("w", 0, small)) != 0 {
		t.Fatalf("%d tasks of a queue with the limit 2", len(tasks))
	}
	s.done(tasks[0], "x")
	if more := s.poll("w", time.Second, small); len(more) != 1 {
		t.Fatalf("%d tasks once there is one place", len(more))
	}
}

// Many workers that poll, work, vanish and repeat themselves: every task has one result,
// and it is the one that its worker was told to be recorded.
func TestManyWorkers(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	const n = 200
	var ids []eventlog.RunID
	for i := range n {
		ids = append(ids, s.begin(fmt.Sprint(i)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	told := map[eventlog.RunID]string{}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				mu.Lock()
				all := len(told) == n
				mu.Unlock()
				if all {
					return
				}
				tasks, err := s.Poll(ctx, PollRequest{Worker: fmt.Sprint(w), Handlers: []string{"paint"}, Wait: 50 * time.Millisecond, Max: 1 + i%4, Lease: time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				for k, task := range tasks {
					if (i+k)%11 == 0 {
						continue // it vanishes
					}
					mine := fmt.Sprintf("%d-%d", w, i)
					for range 1 + i%2 {
						_, err := s.complete(task, mine)
						var late *StaleError
						if errors.As(err, &late) {
							continue
						}
						if err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						if old := told[task.Run]; old != "" && old != mine {
							t.Errorf("two results of one task: %s and %s", old, mine)
						}
						told[task.Run] = mine
						mu.Unlock()
					}
				}
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if out := s.ends(id); out != told[id] {
			t.Errorf("its output is %v, recorded was %q", out, told[id])
		}
	}
}

// Many tasks wait without costing a goroutine each; what does not fit waits in the log,
// and is handed out once there is room.
func TestManyTasksWait(t *testing.T) {
	s := openShop(t, Options{})
	s.sched.offers.most = 150
	const each, runs = 100, 6
	register(t, s.Engine, `
name: many
nodes:
  all: {foreach: {items: "${input.items}", do: {worker: {worker: paint, input: "${item}"}}, max_parallel: 100}}
`)
	var items []any
	for i := range each {
		items = append(items, i)
	}
	before := runtime.NumGoroutine()
	var ids []eventlog.RunID
	for range runs {
		ids = append(ids, start(t, s.Engine, "many", map[string]any{"items": items}).ID)
	}
	for runtime.NumGoroutine() > before+20 { // what the starts left behind ends
		time.Sleep(time.Millisecond)
	}
	s.sched.mu.Lock()
	waiting, spilled := s.sched.offers.waiting, s.sched.offers.spilled
	s.sched.mu.Unlock()
	if waiting != 150 || !spilled {
		t.Fatalf("%d tasks wait in memory, spilled: %v", waiting, spilled)
	}
	for done := 0; done < each*runs; {
		tasks := s.poll("w", 5*time.Second, func(r *PollRequest) { r.Max = 50 })
		if len(tasks) == 0 {
			t.Fatalf("no more tasks after %d", done)
		}
		for _, task := range tasks {
			s.done(task, task.Input)
			done++
		}
	}
	for _, id := range ids {
		if out, _ := s.ends(id).([]any); len(out) != each || out[7] != int64(7) {
			t.Errorf("%v", out)
		}
	}
}

// Where a task is, or why nobody does it, is said in a sentence.
func TestWhyOfTasks(t *testing.T) {
	s := openShop(t, Options{Queues: map[string]int{"worker": 1}})
	register(t, s.Engine, shopSource)
	says := func(id eventlog.RunID, want string) {
		t.Helper()
		r, err := s.Run(t.Context(), id)
		if err != nil || !strings.Contains(r.Why, want) {
			t.Errorf("it says %q, want %q (%v)", r.Why, want, err)
		}
	}
	id := s.begin("red")
	says(id, "It waits: node a is ready, but no worker offers handler paint on queue worker.")
	r, _ := s.Run(t.Context(), id)
	if len(r.Waits) != 1 || r.Waits[0].For != "worker" || r.Waits[0].Name != "paint" || r.OnlyPeople {
		t.Errorf("%+v", r)
	}
	s.poll("w1", 0, func(r *PollRequest) { r.Queues = []string{"other"} })
	s.poll("w1", 0, func(r *PollRequest) { r.Handlers = []string{"sing"} })
	says(id, "no worker offers handler paint on queue worker")
	task := s.one("w1")
	says(id, "It is at work: node a is done by worker w1 (attempt 1).")
	progress := "half of it"
	if _, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task), Progress: &progress}); err != nil {
		t.Fatal(err)
	}
	says(id, "node a is done by worker w1 (attempt 1): half of it.")
	other := s.begin("blue")
	says(other, "node a waits for a place in queue worker, all of which are taken")
	list, more := s.Workers("", "", 10)
	if more || len(list) != 1 || list[0].Name != "w1" || list[0].State != "working" || len(list[0].Tasks) != 1 || list[0].Tasks[0].Progress != progress {
		t.Errorf("%+v", list)
	}
	s.done(task, 1)
	says(other, "node a waits for the one worker that offers handler paint on queue worker")
	end := time.Now().Add(10 * time.Second)
	for r, _ = s.Run(t.Context(), other); !strings.Contains(r.Why, "no worker offers handler paint on queue worker; w1 did until "); r, _ = s.Run(t.Context(), other) {
		if time.Now().After(end) {
			t.Fatal(r.Why)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if list, _ := s.Workers("", "", 10); list[0].State != "gone" || len(list[0].Tasks) != 0 {
		t.Errorf("%+v", list)
	}
}

// An engine that no worker can reach leaves their tasks to another, and says so.
func TestNoWorkers(t *testing.T) {
	s := openShop(t, Options{NoWorkers: true})
	register(t, s.Engine, shopSource)
	id := s.begin("red")
	r := await(t, s.Engine, id, func(r Run) bool { return r.OnlyPeople })
	if r.Status != run.Running || !strings.Contains(r.Why, "run wfd serve") {
		t.Error(r.Why)
	}
	s.opt.NoWorkers = false
	s.restart()
	s.done(s.one("w1"), "x")
	s.ends(id)
}

// A task whose settings cannot be evaluated is handed to nobody, and fails.
func TestTaskWithoutSettings(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, strings.NewReplacer("${input.color}", "${input.color + 1}", "max: 3", "max: 1").Replace(shopSource))
	id := s.begin("red")
	s.none("w1")
	if r := await(t, s.Engine, id, Settled); r.Status != run.Failed || !strings.Contains(r.Why, "input") {
		t.Error(r.Why)
	}
	s.wants(id, "started 1, failed 1")
}

// What is asked for beyond the limits is refused, with the limit, and changes nothing.
func TestWorkerLimits(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	s.begin("red")
	long := strings.Repeat("x", 129)
	for want, change := range map[string]func(*PollRequest){
		"handlers: name at least one":     func(r *PollRequest) { r.Handlers = nil },
		"at most 100":                     func(r *PollRequest) { r.Handlers = make([]string, 101) },
		"max: 101":                        func(r *PollRequest) { r.Max = 101 },
		"max: -1":                         func(r *PollRequest) { r.Max = -1 },
		"wait: 1h0m0s":                    func(r *PollRequest) { r.Wait = time.Hour },
		"wait: -1ns":                      func(r *PollRequest) { r.Wait = -1 },
		"lease: 1ms":                      func(r *PollRequest) { r.Lease = time.Millisecond },
		"lease: 1h0m1s":                   func(r *PollRequest) { r.Lease = time.Hour + time.Second },
		`worker: "" is empty`:             func(r *PollRequest) { r.Worker = "" },
		"has 129 bytes, the limit is 128": func(r *PollRequest) { r.Worker = long },
		"queues: \"a\\nb\" has a character": func(r *PollRequest) {
			r.Queues = []string{"a\nb"}
		},
		"is not valid UTF-8": func(r *PollRequest) { r.Handlers = []string{"\xff"} },
	} {
		r := PollRequest{Worker: "w", Handlers: []string{"paint"}, Max: 1}
		change(&r)
		if tasks, err := s.Poll(t.Context(), r); !errors.Is(err, machine.ErrInvalid) || !strings.Contains(err.Error(), want) || len(tasks) > 0 {
			t.Errorf("want %q: %v", want, err)
		}
	}
	task := s.one("w")
	big, text := event.MustValue(strings.Repeat("x", MaxCheckpoint)), strings.Repeat("x", MaxProgress+1)
	for _, b := range []Beat{{Checkpoint: big}, {Progress: &text}, {Lease: 1}, {Lease: 2 * time.Hour}} {
		b.TaskRef = ref(task)
		if _, err := s.Heartbeat(t.Context(), b); !errors.Is(err, machine.ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.Release(t.Context(), ref(task), strings.Repeat("x", MaxReason+1), nil, By{}); !errors.Is(err, machine.ErrInvalid) {
		t.Error(err)
	}
	for _, lie := range []TaskRef{
		{"", task.ID.String(), ""}, {"", task.ID.String(), task.Token + "x"}, {"", task.ID.String(), "2" + task.Token[1:]},
		{"", task.ID.String(), strings.Repeat("x", 100_000)}, {"", lease.ID{Run: task.Run, Node: "b", Visit: 1}.String(), task.Token},
		{"team-b", task.ID.String(), task.Token},
	} {
		_, err := s.Complete(t.Context(), lie, agent.Answer{Result: "mine"}, By{})
		stale(t, err, "was not handed out")
	}
	if _, err := s.Heartbeat(t.Context(), Beat{TaskRef: TaskRef{"", "../../etc", task.Token}}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	s.done(task, "x")
	s.wants(task.Run, "started 1, completed 1 by worker:w@local")
}

// Who hangs up has been handed nothing.
func TestPollerHangsUp(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, shopSource)
	for i := range 50 {
		ctx, hangUp := context.WithCancel(t.Context())
		got := make(chan []Task)
		go func() {
			tasks, _ := s.Poll(ctx, PollRequest{Worker: "w1", Handlers: []string{"paint"}, Wait: time.Second})
			got <- tasks
		}()
		time.Sleep(time.Duration(i) * 100 * time.Microsecond)
		go hangUp()
		s.begin("red")
		if tasks := <-got; len(tasks) == 0 {
			tasks = s.poll("w2", time.Second)
			if len(tasks) != 1 || tasks[0].Attempt != 1 {
				t.Fatalf("%+v", tasks)
			}
		}
	}
}

// A result that is not as the node expects it is a failed attempt, and the worker is
// told; so it is when it asks again after a restart.
func TestUnexpectedResult(t *testing.T) {
	s := openShop(t, Options{})
	register(t, s.Engine, strings.Replace(shopSource, "retry:", "expect: {type: integer}, retry:", 1))
	id := s.begin("red")
	task := s.one("w1")
	for i := range 3 {
		o, err := s.complete(task, "text")
		if err != nil || o.Status != "failed" || o.Error == nil || o.Error.Class != event.ClassInvalidOutput || o.Repeated != (i > 0) {
			t.Fatal(o, err)
		}
		if i == 1 {
			s.restart()
		}
	}
	s.done(s.one("w1"), 7)
	s.ends(id)
	s.restart()
	if err := s.views.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// A log that cannot take a result leaves the task with the worker, who hands it in
// again.
func TestResultWhileTheDiskIsFull(t *testing.T) {
	dir := t.TempDir()
	mem := &full{Log: eventlogtest.NewMemory()}
	views, err := projection.Open(dir, mem, projection.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := New(mem, views, Options{})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &shop{Engine: e, t: t}
	defer func() {
		e.Stop()
		views.Close()
	}()
	register(t, e, shopSource)
	id := s.begin("red")
	task := s.one("w1", func(r *PollRequest) { r.Lease = time.Second })
	mem.is.Store(true)
	for range 3 {
		if _, err := s.complete(task, "x"); !errors.Is(err, eventlog.ErrFull) {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond) // longer than the lease, in all
	}
	mem.is.Store(false)
	s.done(task, "x")
	s.ends(id)
}

// full is a log on a disk that may be full.
type full struct {
	eventlog.Log
	is atomic.Bool
}

func (l *full) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	if l.is.Load() {
		return 0, eventlog.ErrFull
	}
	return l.Log.Append(ctx, a)
}
