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
			rep, err := e.Costs(t.Context(), ByWorkflow, "")
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
	held := map[callKey]event.Spend{}
	paid := map[callKey]bool{}
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
				held[callKey{e.Run, p.CallID}] = p.Spend()
				taken = taken.Add(p.Spend())
			case *event.CostSettled:
				k := callKey{e.Run, p.CallID}
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
	held, account := len(e.ledger.holds), e.ledger.accounts[event.BudgetID{Scope: event.ScopeOfWorkflow, Name: "one"}]
	e.ledger.mu.Unlock()
	if held != 0 || account == nil || !account.held.IsZero() {
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
