package machine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"pgregory.net/rapid"
)

// A purse is several runs that spend from one budget beyond their own, and what the
// outside world can do to them.
type purse struct {
	t      *rapid.T
	runs   []*history
	shared event.Limits
	called map[callKey]*event.Need // every call that was reserved
	paid   map[callKey]bool        // that was charged
	beyond map[*history]event.Spend
	seen   map[*history]int // events looked at
	counts map[string]int
	ends   []machineCall // attempts that no longer count, whose usage may be told
}

type callKey struct {
	h *history
	event.CallID
}

type machineCall struct {
	h  *history
	id event.CallID
}

var scopeOfPurse = event.BudgetID{Scope: event.ScopeOfAgent, Name: "shared"}

func (p *purse) taken() (s event.Spend) {
	for _, h := range p.runs {
		s = s.Add(h.s.Taken())
	}
	return s
}

// Need implements Meter: the first call of an attempt may use about 15 tokens.
func (p *purse) Need(_ *workflow.Node, v *run.Visit, id event.CallID) *event.Need {
	n := event.Need{Model: "unit", Input: int64(8 + len(id.Node)), Output: int64(3 + id.Attempt%4), Price: unit}
	n.Micros = event.Micros(n.Input + n.Output)
	return &n
}

// Grant implements Meter.
func (p *purse) Grant(n *event.Need) Grant {
	taken := p.taken()
	if p.shared.Allow(taken.Add(n.Spend())) {
		return Grant{}
	}
	for _, h := range p.runs {
		if len(h.s.Holds) > 0 {
			return Grant{Wait: &run.Short{Budget: scopeOfPurse, Limits: p.shared, Taken: taken, Need: n.Spend()}}
		}
	}
	return Grant{Over: &event.BudgetExceeded{Budget: scopeOfPurse, Limits: p.shared, Spent: taken}}
}

// look holds every new event against what must be true of all of them.
func (p *purse) look(h *history) {
	for ; p.seen[h] < len(h.events); p.seen[h]++ {
		e := h.events[p.seen[h]]
		payload, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			p.t.Fatal(err)
		}
		p.counts[event.KindName(e.Kind)]++
		switch q := payload.(type) {
		case *event.CostReserved:
			k := callKey{h, q.CallID}
			if p.called[k] != nil {
				p.t.Fatalf("%v is reserved twice", k)
			}
			p.called[k] = &q.Need
			if q.Node == "far" {
				p.counts["worker"]++
			}
		case *event.ChatEnded:
			if q.Outcome == event.ChatTimeout && slices.ContainsFunc(h.s.Holds, func(o run.Hold) bool { return o.Node == q.Node }) {
				p.counts["a chat's time was over amid a turn"]++
			}
		case *event.CostSettled:
			if q.Usage == nil {
				continue
			}
			k := callKey{h, q.CallID}
			if p.paid[k] {
				p.t.Fatalf("%v is charged twice", k)
			}
			p.paid[k] = true
			if q.Reserved.IsZero() { // told after it was known to be lost
				p.beyond[h] = p.beyond[h].Add(q.Charged())
			}
		case *event.NodeLost:
			p.ends = append(p.ends, machineCall{h, event.CallID{Node: q.Node, Visit: q.Visit, Attempt: q.Attempt}})
		}
	}
}

// holds wants every budget to hold, but for what was used by calls that were lost.
func (p *purse) holds() {
	var all event.Spend
	for _, h := range p.runs {
		b := p.beyond[h]
		all = all.Add(b)
		if !h.s.Limits.Allow(h.s.Taken().Sub(b)) {
			p.t.Fatalf("run %s has spent %v and set aside %v of %v", h.s.Run, h.s.Spent, h.s.Reserved(), *h.s.Limits)
		}
	}
	if taken := p.taken().Sub(all); !p.shared.Allow(taken) {
		p.t.Fatalf("%v of %v are taken", taken, p.shared)
	}
}

// do gives a run a command; a refusal changes nothing.
func (p *purse) do(h *history, c Command) {
	h.at += 1e6
	h.before, h.cmd = snapshot(h.t, h.s), c
	decided, err := Decide(h.wf, h.s, Meta{At: h.at, Actor: "test", Meter: p}, c)
	if err != nil {
		if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrInvalid) {
			p.t.Fatalf("%T: %v", c, err)
		}
		return
	}
	p.cut(h, decided)
	p.look(h)
	p.holds()
}

// cut keeps what was decided; now and then the process dies in the middle of it, and
// the next goes on from what there is.
func (p *purse) cut(h *history, decided []Event) {
	if len(decided) < 2 || rapid.IntRange(0, 7).Draw(p.t, "crash") > 0 {
		h.keep(decided)
		return
	}
	p.counts["crash"]++
	h.keep(decided[:rapid.IntRange(1, len(decided)-1).Draw(p.t, "at")])
	s, err := fold(h.events)
	if err != nil {
		p.t.Fatal(err)
	}
	h.s = s
	h.s.Past = h.past
	p.look(h)
	p.holds()
	for _, c := range []Command{Continue{}, Recover{Reason: "restarted"}} {
		h.at += 1e6
		more, err := Decide(h.wf, h.s, Meta{At: h.at, Actor: "test", Meter: p}, c)
		if err != nil {
			p.t.Fatalf("%T: %v", c, err)
		}
		h.keep(more)
		p.look(h)
		p.holds()
	}
}

// usage draws what a call used: at most what was reserved for its attempt.
func (p *purse) usage(h *history, id event.CallID) *event.Usage {
	need := p.called[callKey{h, id}]
	if need == nil {
		return nil
	}
	u := &event.Usage{InputTokens: need.Input, OutputTokens: need.Output, Model: "unit", Price: unit}
	switch rapid.IntRange(0, 3).Draw(p.t, "usage") {
	case 0:
		u.OutputTokens = 0
	case 1:
		u.InputTokens /= 2
	}
	return u
}

// answer draws what the attempt of a visit answers: of a chat a turn, of a plan the
// plan, which may be none.
func (p *purse) answer(h *history, v *run.Visit) event.Value {
	switch n := NodeOf(h.wf, v); {
	case n.Kind == workflow.Chat:
		said := rapid.SampledFrom([]string{"I agree.", "I disagree.", "PROPOSE: tea", "Hm."}).Draw(p.t, "said")
		return event.StringValue(said)
	case n.Kind == workflow.Plan:
		tasks := []any{map[string]any{"description": "one"}, map[string]any{"description": "two", "prerequisites": []any{int64(0)}}, map[string]any{"description": "three"}}
		return event.MustValue(map[string]any{"tasks": tasks[:rapid.IntRange(0, 3).Draw(p.t, "tasks")]})
	}
	return event.Null
}

// step makes something happen.
func (p *purse) step() {
	h := rapid.SampledFrom(p.runs).Draw(p.t, "run")
	draw := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(p.t, what) }
	switch k := draw(20, "what"); {
	case h.s.Status == run.Paused && k < 9:
		if o := h.s.Over; o != nil && k < 7 {
			if o.Budget == scopeOfPurse {
				p.shared.Tokens = max(p.shared.Tokens, p.taken().Tokens) + int64(15+draw(100, "more"))
				p.do(h, Raise{Budget: scopeOfPurse, Tokens: &p.shared.Tokens})
				return
			}
			more := h.s.Taken().Tokens + int64(15+draw(100, "more"))
			micros := event.Micros(more)
			p.do(h, Raise{Tokens: &more, Micros: &micros})
			return
		}
		p.do(h, Resume{})
	case h.s.Status == run.Failed && k < 9:
		if k < 4 {
			more := h.s.Taken().Tokens + int64(15+draw(100, "more"))
			p.do(h, Raise{Tokens: &more})
		}
		p.do(h, Retry{})
	case k < 10:
		vs := h.running()
		if len(vs) == 0 {
			p.do(h, Wake{})
			return
		}
		v := vs[draw(len(vs), "visit")]
		id := event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt}
		r := Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Value: p.answer(h, v), Usage: p.usage(h, id)}
		if draw(3, "fails") == 0 {
			r.Value, r.Failure = nil, &event.Failure{Class: event.ClassTimeout, Message: "test"}
		}
		p.do(h, r)
		if draw(3, "twice") == 0 { // it is handed in again
			p.do(h, r)
			p.counts["twice"]++
		}
	case k == 10 && len(p.ends) > 0: // a late result of an attempt that was lost
		c := p.ends[draw(len(p.ends), "late")]
		p.do(c.h, Result{Node: c.id.Node, Visit: c.id.Visit, Attempt: c.id.Attempt, Value: event.Null, Usage: p.usage(c.h, c.id)})
		p.counts["late"]++
	case k == 11: // a call that was given up tells what it used, or never will
		for _, hold := range slices.Clone(h.s.Holds) {
			c := Settle{Call: hold.CallID}
			if draw(2, "tells") == 0 {
				c.Usage = p.usage(h, hold.CallID)
			}
			p.do(h, c)
		}
	case k == 12 && len(h.events) > 2:
		p.do(h, Restore{To: eventlog.Version(1 + draw(len(h.events)-1, "to")), Pause: draw(2, "pause") == 0})
	case k == 13:
		p.do(h, Recover{Reason: "test"})
	case k == 14:
		p.do(h, Pause{})
	case k >= 15 && k < 19: // the time of a chat is over, or of a retry has come
		h.at += 2e9
		p.do(h, Wake{})
	default:
		// A further call of an attempt.
		if vs := h.running(); len(vs) > 0 {
			v := vs[draw(len(vs), "visit")]
			turn := 1
			for h.s.Hold(event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Turn: turn}) != nil {
				turn++
			}
			id := event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Turn: turn}
			p.do(h, Reserve{Need: event.Need{CallID: id, Input: 4, Output: 3, Micros: 7, Price: unit}, Used: p.usage(h, event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt})})
		}
	}
}

// Whatever happens to runs that share a budget - branches that end in any order, fail,
// are tried again, given up, lost; results that come late or twice; crashes at any
// event; restores; budgets that are raised - no event leaves more spent and set aside
// than its budgets allow, and no call is charged twice. What a call used that was
// known to be lost is charged when it is told all the same: by so much, and no more, a
// budget can be overspent.
func TestBudgetsHold(tt *testing.T) {
	counts := map[string]int{}
	rapid.Check(tt, func(t *rapid.T) {
		p := &purse{
			t: t, shared: event.Limits{Tokens: int64(rapid.IntRange(20, 600).Draw(t, "shared"))}, called: map[callKey]*event.Need{},
			paid: map[callKey]bool{}, beyond: map[*history]event.Spend{}, seen: map[*history]int{}, counts: counts,
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "runs") {
			h := newHistory(tt, spending(rapid.IntRange(0, 1<<20).Draw(t, "graph")))
			h.s = run.New(eventlog.RunID{1, 2, 3})
			h.s.Past = h.past
			p.runs = append(p.runs, h)
			budget := map[string]any{"tokens": rapid.IntRange(14, 400).Draw(t, "own"), "on_exceed": rapid.SampledFrom([]string{"pause", "fail"}).Draw(t, "on_exceed")}
			if i == 1 {
				budget["usd"] = 0.000060
			}
			p.do(h, Start{Metered: true, Budget: event.MustValue(budget)})
		}
		for range rapid.IntRange(5, 160).Draw(t, "steps") {
			p.step()
		}
		for _, h := range p.runs {
			h.checkFold()
		}
	})
	for what, least := range map[string]int{
		"cost.reserved": 10, "cost.settled": 10, "budget.exceeded": 10, "budget.raised": 10, "node.lost": 10, "node.skipped": 10, "run.restored": 10,
		"result.ignored": 10, "crash": 10, "twice": 10, "late": 10, "worker": 10, "chat.turn": 1, "plan.made": 1, "a chat's time was over amid a turn": 1,
	} {
		if counts[what] < least && !testing.Short() {
			tt.Errorf("only %d times %s: the trials are too tame", counts[what], what)
		}
	}
}

// spending returns a definition of some shape in which agents work in parallel.
func spending(seed int) string {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	join := []string{"all", "any", "{quorum: 2}"}[rng.IntN(3)]
	src := "name: spending\nnodes:\n  begin: {parallel: {}}\n"
	edges := "edges:\n"
	for i := range 2 + rng.IntN(3) {
		src += fmt.Sprintf("  b%d: {agent: x, retry: {max: %d, backoff: 1s}}\n", i, 1+rng.IntN(3))
		edges += fmt.Sprintf("  - {from: begin, to: b%d}\n  - {from: b%d, to: meet}\n", i, i)
	}
	for _, node := range [][2]string{
		{"talk", "{chat: {participants: [x, y], rounds: 2, prompt: tea}, timeout: 2s}"},
		{"tasks", "{plan: {goal: tea, agent: x}, retry: {max: 2, backoff: 1s}}"},
		{"far", "{worker: {worker: w, max_tokens: 9}}"},
	} {
		if id := node[0]; rng.IntN(3) > 0 {
			src += "  " + id + ": " + node[1] + "\n"
			edges += fmt.Sprintf("  - {from: begin, to: %s}\n  - {from: %s, to: meet}\n", id, id)
		}
	}
	src += "  meet: {converge: {prompt: sum, agent: y}, join: " + join + ", on_failure: " + []string{"wait", "continue", "fail_fast"}[rng.IntN(3)] + "}\n"
	if rng.IntN(2) == 0 {
		src += "  each: {foreach: {items: [1, 2, 3], do: {agent: z}}}\n"
		edges += "  - {from: meet, to: each}\n"
	}
	return src + edges
}

// What a run is started with takes the place of what the definition says, where it says
// something that can be a budget.
func TestBudgetOfARun(t *testing.T) {
	w, problems := workflow.Load("x.yaml", []byte("name: x\nbudget: {usd: 1, tokens: 5, on_exceed: fail}\nnodes: {a: {agent: x}}\n"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for asked, want := range map[string]any{
		`null`:                         event.Limits{Micros: 1_000_000, Tokens: 5, OnExceed: "fail"},
		`{"usd": 0.000001}`:            event.Limits{Micros: 1, Tokens: 5, OnExceed: "fail"},
		`{"usd": "2.50", "tokens": 0}`: event.Limits{Micros: 2_500_000, OnExceed: "fail"},
		`{"usd": 0.0000001}`:           "budget.usd: not an amount of US dollars: \"0.0000001\" has more than six decimals",
		`{"usd": -1}`:                  "budget.usd: not an amount",
		`{"usd": 1e300}`:               "is more than 1000000000",
		`{"usd": true}`:                "budget.usd: not an amount",
		`{"tokens": -1}`:               "budget.tokens: want a whole number from 0 to 1000000000000000",
		`{"tokens": 1000000000000001}`: "budget.tokens: want a whole number",
		`{"tokens": 1e30}`:             "budget.tokens: want a whole number",
		`{"tokens": 1.5}`:              "budget.tokens: want a whole number",
		`{"on_exceed": "ignore"}`:      "budget.on_exceed: want pause or fail",
		`{"eur": 1}`:                   `budget has no field "eur"`,
		`[1]`:                          "want an object",
	} {
		x, err := event.DecodeJSON([]byte(asked))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Limits(w, event.MustValue(x))
		switch want := want.(type) {
		case event.Limits:
			if err != nil || *got != want {
				t.Errorf("%s: %+v, %v", asked, got, err)
			}
		case string:
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", asked, err)
			}
		}
	}
}
