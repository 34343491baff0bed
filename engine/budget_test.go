package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// wide returns a definition in which so many agents work at once.
func wide(name string, n int, more string) string {
	s := "name: " + name + "\n" + more + "nodes:\n  go: {parallel: {}}\n"
	var all []string
	for i := range n {
		id := fmt.Sprintf("b%d", i)
		all = append(all, id)
		s += "  " + id + ": {agent: writer, prompt: abc, needs: [go]}\n"
	}
	return s + "  meet: {converge: {}, needs: [" + strings.Join(all, ", ") + "]}\n"
}

// One call of wide needs two tokens of prompt and 1,024 of answer.
const oneCall = 2 + agent.DefaultMaxTokens

// Of fifty branches that begin together, those that the budget covers are made, and no
// more; the run is paused, and goes on once its budget is raised.
func TestBranchesWithinABudget(t *testing.T) {
	e, stop := open(t, t.TempDir(), "default: {text: ok, usage: {input_tokens: 2, output_tokens: 1024}}")
	defer stop()
	register(t, e, wide("wide", 50, fmt.Sprintf("budget: {tokens: %d}\n", 12*oneCall+5)))
	r := start(t, e, "wide", nil)
	r = await(t, e, r.ID, status(run.Paused))
	if r.Cost == nil || r.Cost.Spent.Tokens != 12*oneCall || r.Cost.Over != "run:"+r.ID.String() || r.Cost.Left.Tokens != 5 {
		t.Fatalf("%+v", r.Cost)
	}
	if !strings.Contains(r.Why, "needs 1026 tokens, has 5 tokens left of 12317 tokens") {
		t.Error(r.Why)
	}
	more := int64(50 * oneCall)
	if _, err := e.RaiseRun(t.Context(), r.ID, nil, &more, "go on", By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	if r = await(t, e, r.ID, Settled); r.Status != run.Completed || r.Cost.Spent.Tokens != 50*oneCall {
		t.Fatalf("%s: %+v", r.Why, r.Cost)
	}
}

// Many runs spend from one budget at once, of a workflow, of a day: whatever order they
// are decided in, and though the engine is stopped in the middle, at no event is more
// spent and set aside than it has; and what was paused goes on when it is raised.
func TestRunsShareABudget(t *testing.T) {
	for _, budget := range []string{"workflow:shared", "day"} {
		t.Run(budget, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			const replies = "default: {text: ok, delay: 2ms, usage: {input_tokens: 1, output_tokens: 1000}}"
			e, stop := open(t, dir, replies)
			register(t, e, wide("shared", 4, ""))
			id, err := projection.ParseBudget(budget)
			if err != nil {
				t.Fatal(err)
			}
			limit := int64(40 * oneCall)
			if _, err := e.SetBudget(t.Context(), id, nil, &limit, "", By{Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
			const runs = 24 // of four calls: more than twice what there is
			var ids []eventlog.RunID
			var mu sync.Mutex
			var wg sync.WaitGroup
			for range runs {
				wg.Go(func() {
					r, _, err := e.StartRun(context.Background(), StartRequest{Workflow: "shared"}, By{Actor: "t"})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					ids = append(ids, r.ID)
					mu.Unlock()
				})
			}
			wg.Wait()
			stop() // calls are under way
			e, stop = open(t, dir, replies)
			defer func() { stop() }()
			for _, id := range ids {
				await(t, e, id, Settled)
			}
			within(t, e.log, limit)
			more := int64(1000 * oneCall)
			if _, err := e.SetBudget(t.Context(), id, nil, &more, "", By{Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				await(t, e, id, status(run.Completed))
			}
			rep, err := e.Costs(t.Context(), nil, ByWorkflow, "")
			if err != nil || rep.Total.Calls != 4*runs {
				t.Fatalf("%d calls were charged, not %d (%v)", rep.Total.Calls, 4*runs, err)
			}
			if err := e.views.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// within reads the log and wants no event at which more is spent and set aside than
// limit; and no call charged twice.
func within(t *testing.T, log eventlog.Log, limit int64) {
	t.Helper()
	var taken event.Spend
	held := map[ledger.Call]event.Spend{}
	paid := map[ledger.Call]bool{}
	for after := eventlog.Seq(0); ; {
		page, err := log.ReadFrom(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return
		}
		for _, e := range page {
			after = e.Seq
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				t.Fatal(err)
			}
			switch p := p.(type) {
			case *event.CostReserved:
				held[ledger.Call{Run: e.Run, CallID: p.CallID}] = p.Spend()
				taken = taken.Add(p.Spend())
			case *event.CostSettled:
				k := ledger.Call{Run: e.Run, CallID: p.CallID}
				if p.Usage != nil && paid[k] {
					t.Fatalf("event %d charges a second time", e.Seq)
				}
				paid[k] = paid[k] || p.Usage != nil
				taken = taken.Sub(held[k]).Add(p.Charged())
				delete(held, k)
			}
			if taken.Tokens > limit {
				t.Fatalf("event %d: %d tokens are taken of %d", e.Seq, taken.Tokens, limit)
			}
		}
	}
}

// A child run spends from its parent's budget: it is paused when that is used up, and
// goes on when the parent's is raised.
func TestChildrenSpendFromTheirParent(t *testing.T) {
	e, stop := open(t, t.TempDir(), "default: {text: ok, usage: {input_tokens: 2, output_tokens: 1024}}")
	defer stop()
	register(t, e, wide("child", 3, ""))
	register(t, e, fmt.Sprintf("name: parent\nbudget: {tokens: %d}\nnodes:\n  a: {agent: writer, prompt: abc}\n  b: {workflow: {workflow: child}, needs: [a]}\n", 3*oneCall))
	r := start(t, e, "parent", nil)
	var child eventlog.RunID
	for child.IsZero() {
		rows, _, err := e.views.Children(t.Context(), r.ID, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) > 0 {
			child = rows[0].ID
		}
	}
	await(t, e, child, status(run.Paused))
	c, err := e.Run(t.Context(), child)
	if err != nil || c.Cost.Over != "run:"+r.ID.String() || c.Cost.Spent.Tokens != 2*oneCall {
		t.Fatalf("%s %+v %v", c.Why, c.Cost, err)
	}
	more := int64(10 * oneCall)
	if _, err := e.RaiseRun(t.Context(), r.ID, nil, &more, "", By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, r.ID, status(run.Completed))
}

// An append that fails gives back what was granted for it.
func TestGrantIsGivenBack(t *testing.T) {
	var full fullLog
	e, stop := openOn(t, t.TempDir(), "default: {text: ok}", func(log eventlog.Log) eventlog.Log {
		full.Log = log
		return &full
	})
	defer stop()
	register(t, e, wide("one", 1, ""))
	full.set(true)
	if _, _, err := e.StartRun(t.Context(), StartRequest{Workflow: "one"}, By{Actor: "t"}); !errors.Is(err, eventlog.ErrFull) {
		t.Fatal(err)
	}
	full.set(false)
	e.ledger.mu.Lock()
	held, account := len(e.ledger.budgets.Holds), e.ledger.budgets.Accounts[event.BudgetID{Scope: event.ScopeOfWorkflow, Name: "one"}]
	e.ledger.mu.Unlock()
	if held != 0 || account == nil || !account.Held.IsZero() {
		t.Fatalf("%d calls are held, the account is %+v", held, account)
	}
}

// What a call used that was given up is charged when it tells, and what it would have
// used is set aside until then.
func TestGivenUpCallsAreCharged(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	slow := agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		u := &event.Usage{InputTokens: 7, OutputTokens: 5}
		if task.Node == "fast" {
			<-began
			return agent.Answer{Result: "ok", Usage: u}
		}
		close(began)
		<-ctx.Done()
		<-end
		a := agent.Fail(event.ClassCancelled, "called off")
		a.Usage = u
		return a
	})
	e, _, stop := openWith(t, t.TempDir(), Options{}, slow)
	defer stop()
	register(t, e, "name: race\nnodes:\n  go: {parallel: {}}\n  fast: {agent: x, needs: [go]}\n  slow: {agent: x, needs: [go]}\n  meet: {converge: {}, join: any, needs: [fast, slow]}\n")
	r := await(t, e, start(t, e, "race", nil).ID, status(run.Completed))
	if r.Cost.Spent.Tokens != 12 || r.Cost.Reserved.Tokens != 1+agent.DefaultMaxTokens {
		t.Fatalf("%+v", r.Cost)
	}
	close(end)
	for range 200 {
		if r, _ = e.Run(t.Context(), r.ID); r.Cost.Spent.Tokens == 24 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if r.Cost.Spent.Tokens != 24 || !r.Cost.Reserved.IsZero() {
		t.Fatalf("%+v", r.Cost)
	}
}

// A chat whose time is over amid a turn ends then, wherever that leads; the turn is
// called off, what it used is charged, and what was set aside for it is free. Nothing is
// kept for turns that do not come.
func TestChatEndsAmidATurn(t *testing.T) {
	for name, then := range map[string]string{"completes": "", "fails": ", on_timeout: late}\n  late: {wait: 1ms"} {
		t.Run(name, func(t *testing.T) { chatEndsAmidATurn(t, then) })
	}
}

func chatEndsAmidATurn(t *testing.T, then string) {
	slow := agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		u := &event.Usage{InputTokens: 7, OutputTokens: 5}
		if task.Turn.Number == 1 {
			return agent.Answer{Result: map[string]any{"message": "Tea?"}, Usage: u}
		}
		<-ctx.Done()
		a := agent.Fail(event.ClassCancelled, "called off")
		a.Usage = u
		return a
	})
	e, log, stop := openWith(t, t.TempDir(), Options{Agents: judges(t, 2, "")}, slow)
	defer stop()
	register(t, e, "name: talks\nbudget: {tokens: 5000}\nnodes:\n  talk: {chat: {participants: [judge-0, judge-1], prompt: tea}, timeout: 300ms"+then+"}\n")
	r := await(t, e, start(t, e, "talks", nil).ID, status(run.Completed))
	if then == "" {
		if got := resultOf(t, e, r, "talk"); got["outcome"] != event.ChatTimeout || got["turns"] != int64(1) {
			t.Fatalf("the chat came to %v", got)
		}
	}
	for range 500 {
		if r, _ = e.Run(t.Context(), r.ID); r.Cost.Reserved.IsZero() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if r.Cost.Spent.Tokens != 24 || !r.Cost.Reserved.IsZero() {
		t.Fatalf("%+v", r.Cost)
	}
	within(t, log, 5000)
}

// What a worker may use is reserved before its task is offered, if the definition says
// how much that is; if not, its task is offered unless more is spent than there is.
func TestWorkersWithinABudget(t *testing.T) {
	s := openShop(t, Options{})
	reports := func(task Task, tokens int64) {
		t.Helper()
		if o, err := s.Complete(t.Context(), ref(task), agent.Answer{Usage: &event.Usage{OutputTokens: tokens}}, By{}); err != nil || o.Status != "completed" {
			t.Fatalf("%+v, %v", o, err)
		}
	}
	raise := func(r Run, tokens int64) {
		t.Helper()
		if _, err := s.RaiseRun(t.Context(), r.ID, nil, &tokens, "", By{}); err != nil {
			t.Fatal(err)
		}
	}
	register(t, s.Engine, "name: known\nbudget: {tokens: 100}\nnodes:\n  a: {worker: {worker: paint, max_tokens: 60}}\n  b: {worker: {worker: paint, max_tokens: 60}}\n")
	r := start(t, s.Engine, "known", nil)
	first := s.one("w")
	s.none("w") // the other one waits for what is set aside
	if r, _ = s.Run(t.Context(), r.ID); r.Cost.Reserved.Tokens != 60 || !strings.Contains(r.Why, "needs 60 tokens, has 40 tokens left of 100") {
		t.Fatalf("%s %+v", r.Why, r.Cost)
	}
	reports(first, 50)
	r = await(t, s.Engine, r.ID, status(run.Paused))
	raise(r, 110)
	reports(s.one("w"), 60)
	if r = await(t, s.Engine, r.ID, status(run.Completed)); r.Cost.Spent.Tokens != 110 || !r.Cost.Reserved.IsZero() {
		t.Fatalf("%+v", r.Cost)
	}

	register(t, s.Engine, "name: unknown\nbudget: {tokens: 100}\nnodes:\n  a: {worker: paint}\n  b: {worker: paint, needs: [a]}\n  c: {worker: paint, needs: [b]}\n")
	r = start(t, s.Engine, "unknown", nil)
	reports(s.one("w"), 100)
	reports(s.one("w"), 1) // all is spent, and nothing beyond it
	r = await(t, s.Engine, r.ID, status(run.Paused))
	s.none("w")
	if r.Cost.Spent.Tokens != 101 || r.Cost.Over == "" {
		t.Fatalf("%s %+v", r.Why, r.Cost)
	}
	raise(r, 101)
	reports(s.one("w"), 0)
	await(t, s.Engine, r.ID, status(run.Completed))

	// A task that is given up keeps what is set aside until its worker knows.
	r = start(t, s.Engine, "known", nil)
	task := s.one("w")
	if _, err := s.Do(t.Context(), r.ID, machine.Cancel{}, By{}); err != nil {
		t.Fatal(err)
	}
	if r, _ = s.Run(t.Context(), r.ID); r.Cost.Reserved.Tokens != 60 {
		t.Fatalf("%+v", r.Cost)
	}
	if beat, err := s.Heartbeat(t.Context(), Beat{TaskRef: ref(task)}); err != nil || beat.Status != "cancelled" {
		t.Fatalf("%+v, %v", beat, err)
	}
	for range 500 {
		if r, _ = s.Run(t.Context(), r.ID); r.Cost.Reserved.IsZero() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !r.Cost.Reserved.IsZero() || r.Cost.Spent.Tokens != 0 {
		t.Fatalf("%+v", r.Cost)
	}
	if err := s.views.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// A call that was given up and whose run is erased meanwhile is settled all the same:
// what was set aside for it does not stay so for good.
func TestErasedRunsSettle(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	slow := agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		if task.Node == "fast" {
			<-began
			return agent.Answer{Result: "ok"}
		}
		close(began)
		<-ctx.Done()
		<-end
		a := agent.Fail(event.ClassCancelled, "called off")
		a.Usage = &event.Usage{InputTokens: 7}
		return a
	})
	e, _, stop := openWith(t, t.TempDir(), Options{}, slow)
	defer stop()
	register(t, e, "name: race\nnodes:\n  go: {parallel: {}}\n  fast: {agent: x, needs: [go]}\n  slow: {agent: x, needs: [go]}\n  meet: {converge: {}, join: any, needs: [fast, slow]}\n")
	r := await(t, e, start(t, e, "race", nil).ID, status(run.Completed))
	if _, err := e.Erase(t.Context(), EraseRequest{Run: r.ID, Reason: "asked for"}, By{Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
	close(end)
	day := event.BudgetID{Scope: event.ScopeOfDay}
	limit := int64(1_000_000)
	var b Budget
	for range 500 {
		var err error
		if b, err = e.SetBudget(t.Context(), day, nil, &limit, "", By{}); err != nil {
			t.Fatal(err)
		}
		if b.Reserved.IsZero() {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !b.Reserved.IsZero() || b.Spent.Tokens != 7 {
		t.Fatalf("%+v", b)
	}
	if err := e.views.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if _, err := e.Do(t.Context(), r.ID, machine.Checkpoint{Name: "x"}, By{}); !errors.Is(err, machine.ErrRefused) {
		t.Error(err)
	}
}

// An estimate counts child runs, the items of a list that is known, further calls after
// tools, and what workers may use; it names what nobody can know, and ends where child
// runs start themselves.
func TestEstimates(t *testing.T) {
	e, stop := open(t, t.TempDir(), "default: {text: ok}")
	defer stop()
	register(t, e, "name: leaf\nnodes:\n  call: {agent: writer, prompt: abc, max_tokens: 8, retry: {max: 2}}\n  itself: {workflow: {workflow: leaf}, needs: [call]}\n")
	register(t, e, `
name: all
nodes:
  one: {agent: writer, prompt: abc, max_tokens: 8, retry: {max: 3}}
  tools: {agent: writer, prompt: abc, max_tokens: 8, tools: [search], retry: {max: 1}, needs: [one]}
  known: {foreach: {items: [1, 2, 3, 4], do: {agent: writer, prompt: abc, max_tokens: 8, retry: {max: 1}}}, needs: [tools]}
  unknown: {foreach: {items: "${input.list}", workflow: leaf}, needs: [known]}
  far: {worker: {worker: w, max_tokens: 100, max_usd: 0.05}, needs: [unknown]}
  free: {worker: w, needs: [far]}
`)
	got, err := e.EstimateRun(t.Context(), "", "all", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	const one = 2 + 8
	want := map[string]int64{"one": 3, "tools": 1 + agent.MaxRounds, "known": 4, "unknown/call": 2, "far": 3}
	worst := int64(3*one + (1+agent.MaxRounds)*one + 4*one + 2*one + 3*100)
	for _, n := range got.Nodes {
		if want[n.Node] != n.Calls {
			t.Errorf("%s is called %d times, want %d", n.Node, n.Calls, want[n.Node])
		}
		delete(want, n.Node)
	}
	if len(want) > 0 || got.Worst != (event.Spend{Tokens: worst, Micros: 150_000}) || got.Once.Tokens != 4*one+100 {
		t.Errorf("%v are missing; %+v", want, got)
	}
	partly := "[tools: what tools say unknown: items beyond the first unknown/itself: child runs within child runs]"
	if fmt.Sprint(got.Partly) != partly {
		t.Error(got.Partly)
	}
	// Definitions that start one another many times are not followed along each way.
	register(t, e, "name: deep-0\nnodes:\n  call: {agent: writer, prompt: abc, max_tokens: 8, retry: {max: 1}}\n")
	const levels, wide = 6, 40
	for level := 1; level <= levels; level++ {
		src := fmt.Sprintf("name: deep-%d\nnodes:\n", level)
		for i := range wide {
			src += fmt.Sprintf("  n%d: {workflow: {workflow: deep-%d}}\n", i, level-1)
		}
		register(t, e, src)
	}
	if got, err = e.EstimateRun(t.Context(), "", "deep-2", 0, nil); err != nil || got.Worst.Tokens < maxEstimated/2*one || len(got.Partly) == 0 {
		t.Errorf("%+v of %d nodes, %v", got.Worst, len(got.Nodes), err)
	}
	register(t, e, "name: empty-0\nnodes:\n  n: {wait: 1ms}\n")
	for level := 1; level <= levels; level++ {
		src := fmt.Sprintf("name: empty-%d\nnodes:\n", level)
		for i := range wide {
			src += fmt.Sprintf("  n%d: {workflow: {workflow: empty-%d}}\n", i, level-1)
		}
		register(t, e, src)
	}
	if got, err = e.EstimateRun(t.Context(), "", fmt.Sprint("empty-", levels), 0, nil); err != nil || len(got.Partly) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	register(t, e, "name: huge\nnodes:\n  a: {worker: {worker: w, max_tokens: 1000000000000000, max_usd: 1000000000}, max_visits: 10000, retry: {max: 100}}\n  b: {decision: {}}\n  c: {end: completed}\nentry: a\nedges:\n  - {from: a, to: b}\n  - {from: b, to: a, if: input.x}\n  - {from: b, to: c, default: true}\n")
	if got, err = e.EstimateRun(t.Context(), "", "huge", 0, nil); err != nil || got.Worst.Tokens < 1e18 || got.Worst.Micros < 1e18 {
		t.Errorf("%+v, %v", got.Worst, err)
	}
}

// What is set aside for a worker's task that a script answers is free again when the task
// is given up.
func TestScriptedWorkerIsGivenUp(t *testing.T) {
	e, stop := open(t, t.TempDir(), "nodes: {slow: {text: ok, delay: 1h}}\ndefault: {text: ok}")
	defer stop()
	register(t, e, "name: race\nnodes:\n  go: {parallel: {}}\n  fast: {wait: 100ms, needs: [go]}\n  slow: {worker: {worker: w, max_tokens: 60}, needs: [go]}\n  meet: {converge: {}, join: any, needs: [fast, slow]}\n")
	r := await(t, e, start(t, e, "race", nil).ID, status(run.Completed))
	for range 500 {
		if r, _ = e.Run(t.Context(), r.ID); r.Cost.Reserved.IsZero() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%+v", r.Cost)
}

// hookLog calls a function once, before an append that has an event of a kind.
type hookLog struct {
	eventlog.Log
	kind eventlog.Kind
	once sync.Once
	hook func()
}

func (l *hookLog) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	for i := range a.Records {
		if a.Records[i].Kind == l.kind {
			l.once.Do(l.hook)
		}
	}
	return l.Log.Append(ctx, a)
}

// A budget that is raised while a run is about to be paused for it, and one that is
// raised just before a crash, have the run go on all the same.
func TestRaisedWhileItPauses(t *testing.T) {
	const replies = "default: {text: ok, usage: {input_tokens: 2, output_tokens: 1024}}"
	id := event.BudgetID{Scope: event.ScopeOfWorkflow, Name: "one"}
	few, more := int64(1), int64(100*oneCall)
	t.Run("at once", func(t *testing.T) {
		log := &hookLog{kind: event.KindBudgetExceeded}
		e, stop := openOn(t, t.TempDir(), replies, func(l eventlog.Log) eventlog.Log { log.Log = l; return log })
		defer stop()
		log.hook = func() {
			if _, err := e.SetBudget(context.Background(), id, nil, &more, "", By{}); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Millisecond) // nobody is paused yet
		}
		register(t, e, wide("one", 1, ""))
		if _, err := e.SetBudget(t.Context(), id, nil, &few, "", By{}); err != nil {
			t.Fatal(err)
		}
		await(t, e, start(t, e, "one", nil).ID, status(run.Completed))
	})
	t.Run("before a crash", func(t *testing.T) {
		dir := t.TempDir()
		e, stop := open(t, dir, replies)
		register(t, e, wide("one", 1, ""))
		register(t, e, wide("child", 1, ""))
		register(t, e, fmt.Sprintf("name: parent\nbudget: {tokens: %d}\nnodes:\n  b: {workflow: {workflow: child}}\n", few))
		if _, err := e.SetBudget(t.Context(), id, nil, &few, "", By{}); err != nil {
			t.Fatal(err)
		}
		r := await(t, e, start(t, e, "one", nil).ID, status(run.Paused))
		parent := start(t, e, "parent", nil)
		var child projection.Row
		for child.Status != run.Paused {
			rows, _, err := e.views.Children(t.Context(), parent.ID, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) > 0 {
				child = rows[0]
			}
		}
		stop()
		log, err := eventlog.Open(dir, eventlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for stream, budget := range map[eventlog.RunID]event.BudgetID{event.Budgets: id, parent.ID: event.OfRun(parent.ID)} {
			raised := &event.BudgetRaised{Budget: budget, Limits: event.Limits{Tokens: more, OnExceed: event.OnExceedPause}}
			if _, err := appendFact(t.Context(), log, stream, raised, "ann", r.Created); err != nil {
				t.Fatal(err)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		e, stop = open(t, dir, replies)
		defer stop()
		await(t, e, r.ID, status(run.Completed))
		await(t, e, parent.ID, status(run.Completed))
	})
}
