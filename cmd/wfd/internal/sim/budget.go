package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/invariant"
	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// meter says what calls may use while a batch of a run's commands is decided, and has it
// granted. See engine/meter.go.
type meter struct {
	e      *engine
	l      *loaded
	at     event.Time
	grants []*ledger.Hold
}

// unit is the price of the simulated models: a micro-dollar a token.
var unit = &event.Price{Input: 1_000_000, Cached: 1_000_000, Output: 1_000_000}

// Need implements machine.Meter.
func (m *meter) Need(n *workflow.Node, v *run.Visit, id event.CallID) *event.Need {
	if n.Kind == workflow.Worker {
		return &event.Need{Output: int64(n.Def.Int("max_tokens"))}
	}
	need := event.NewNeed(30, int64(max(n.Def.Int("max_tokens"), 40)), unit)
	need.Model = "sim"
	if v.Agent != nil && v.Agent.Attempt == id.Attempt {
		need.Agent = v.Agent.Agent
	}
	return &need
}

// Grant implements machine.Meter.
func (m *meter) Grant(n *event.Need) machine.Grant {
	said, g := m.e.ledger.grant(m.l.state, m.l.wf, n, max(m.at, m.l.state.Time))
	if g != nil {
		m.grants = append(m.grants, g)
	}
	return said
}

// choose says who does an attempt of an agent's.
func (e *engine) choose(n *workflow.Node, v *run.Visit) *event.AgentChosen {
	name := n.Def.Text("agent")
	switch {
	case n.Kind == workflow.Chat:
		p, _, _ := machine.NextTurn(n, v)
		name = p.Name
	case name == "" && n.Def.Text("role") != "":
		name = fmt.Sprint(n.Def.Text("role"), "-", 1+e.w.rng.IntN(2))
	}
	if name == "" {
		return nil
	}
	return &event.AgentChosen{Agent: name, Provider: "sim", Model: "sim"}
}

// usage is what an attempt used: mostly no more than it may, now and then more, or
// nobody knows.
func (e *engine) usage(j *job) *event.Usage {
	if !j.spends || e.w.rng.IntN(10) == 0 {
		return nil
	}
	u := &event.Usage{InputTokens: int64(e.w.rng.IntN(12)), OutputTokens: int64(e.w.rng.IntN(40)), Model: "sim"}
	if e.w.troubled(20) {
		u.OutputTokens += 100
	}
	return u
}

// turn has a further call reserved amid an attempt, and then the attempt goes on.
func (e *engine) turn(j *job, n int, then func()) {
	need := event.NewNeed(30, 20, unit)
	need.CallID = event.CallID{Node: j.node, Visit: j.visit, Attempt: j.number, Turn: n}
	need.Agent, need.Model = j.agent, "sim"
	e.insist(j.run, "runner", machine.Reserve{Need: need, Used: e.usage(j)}, then)
}

// settleGivenUp settles the calls of a visit that was given up and that nobody works on.
func (e *engine) settleGivenUp(s *run.State, node string, visit int) {
	for i := range s.Holds {
		if h := &s.Holds[i]; h.Node == node && h.Visit == visit && !h.Due {
			e.post(s.Run, machine.Settle{Call: h.CallID})
		}
	}
}

// held returns what is set aside for calls, in order.
func held(c *invariant.Costs) (list []ledger.Call) {
	for _, id := range c.Order() {
		for _, h := range c.Held[id] {
			list = append(list, callOf(id, h))
		}
	}
	return list
}

// releaseDead frees what a former process had set aside for calls that were given up.
func (e *engine) releaseDead(holds []ledger.Call) {
	if e.w.plant == KeepDead {
		return
	}
	for _, k := range holds {
		e.post(k.Run, machine.Settle{Call: k.CallID})
	}
}

// setBudget gives a budget beyond one run other limits.
func (e *engine) setBudget(id event.BudgetID, lim event.Limits, answered func(error)) {
	l := e.ledger
	if l.setting {
		answered(errBusy)
		return
	}
	l.load()
	l.setting = true
	at := e.w.now()
	if seqs := e.log.runs[event.Budgets]; len(seqs) > 0 {
		at = max(at, event.Time(e.log.events[seqs[len(seqs)-1]-1].Time))
	}
	p := &event.BudgetRaised{Budget: id, Limits: lim}
	e.append(&pending{Append: eventlog.Append{
		Run: event.Budgets, Expect: eventlog.Version(len(e.log.runs[event.Budgets])),
		Records: []eventlog.Record{{Time: int64(at), Kind: p.Kind(), Actor: "client", Payload: event.Encode(p)}},
	}, done: func(first eventlog.Seq, err error) {
		l.setting = false
		if err == nil {
			e.w.feed(e.log.events[first-1], p)
			l.wake(l.budgets.Set(id, lim))
			e.step(func() { e.resumeOver(id, lim) })
		}
		answered(err)
	}})
}

var errBusy = errors.New("the limits of a budget are being set")

// resumeOver lets the runs go on that are paused because a budget was used up.
func (e *engine) resumeOver(id event.BudgetID, lim event.Limits) {
	for _, r := range e.w.ids {
		row := e.w.rows[r]
		if row.Status == run.Paused && (row.Over == id || row.Over.Scope == id.Scope && id.Scope == event.ScopeOfDay) {
			e.post(r, machine.Raise{Budget: row.Over, Micros: &lim.Micros, Tokens: &lim.Tokens})
		}
	}
}

// resumeIfRaised lets a run go on that is paused because a budget was used up which has
// other limits by now.
func (e *engine) resumeIfRaised(id eventlog.RunID) {
	e.look(id, func(s *run.State) {
		if s == nil || s.Over == nil || !s.Over.Told || s.Status != run.Paused || s.Over.Budget == s.OwnBudget() {
			return
		}
		was, of := s.Over.Limits, s.Over.Budget
		e.limitsNow(of, func(now event.Limits) {
			if now.Micros != was.Micros || now.Tokens != was.Tokens {
				e.post(id, machine.Raise{Budget: of, Micros: &now.Micros, Tokens: &now.Tokens})
			}
		})
	})
}

// limitsNow calls then with the limits that a budget has.
func (e *engine) limitsNow(id event.BudgetID, then func(event.Limits)) {
	if id.Scope != event.ScopeOfRun {
		e.ledger.load()
		then(e.ledger.budgets.Limits(id))
		return
	}
	of, err := eventlog.ParseRunID(id.Name)
	if err != nil {
		e.w.broken(err)
		return
	}
	e.look(of, func(s *run.State) {
		if s != nil && s.Limits != nil {
			then(*s.Limits)
		}
	})
}

// resumeRaised is resumeIfRaised for all runs.
func (e *engine) resumeRaised() {
	for _, id := range e.w.ids {
		if row := e.w.rows[id]; row.Status == run.Paused && row.Over != (event.BudgetID{}) {
			e.resumeIfRaised(id)
		}
	}
}

// dayCheck is how often it is looked whether another day has begun.
const dayCheck = 5 * time.Minute

// keepDays lets the runs go on, when a day begins, that are paused because the budget of
// a day before was used up.
func (e *engine) keepDays(today string) {
	now := e.w.now()
	if d := projection.Day(now); d != today {
		today = d
		for _, id := range e.w.ids {
			if row := e.w.rows[id]; row.Status == run.Paused && row.Over.Scope == event.ScopeOfDay && row.Over.Name < today {
				e.post(id, machine.Raise{Budget: row.Over, Reason: "another day has begun"})
			}
		}
	}
	e.after(dayCheck, func() { e.keepDays(today) })
}

// shared are the budgets that runs spend from together, share what each has at first and
// is raised by.
var shared = []event.BudgetID{
	event.OfWorkflow("", "sim-spend"), event.OfWorkflow("", "sim-firm"),
	{Scope: event.ScopeOfAgent, Name: "writer"}, {Scope: event.ScopeOfAgent, Name: "critic-1"}, {Scope: event.ScopeOfDay},
}

const share = 2500

// setShared gives a budget limits; who does is not heard until it is done.
func (w *world) setShared(id event.BudgetID, lim event.Limits) {
	e := w.engine
	if e == nil || e.failed {
		w.after(time.Second, func() { w.setShared(id, lim) })
		return
	}
	e.setBudget(id, lim, func(err error) {
		if err != nil {
			w.after(time.Second, func() { w.setShared(id, lim) })
		}
	})
}

// raise gives a budget more: one that runs share, or that of a run that is paused for it.
func (w *world) raise() {
	id := shared[w.rng.IntN(len(shared))]
	if n := w.rng.IntN(2); n == 0 {
		for _, r := range w.ids {
			if row := w.rows[r]; row.Status == run.Paused && row.Over.Scope == event.ScopeOfRun {
				w.raiseRun(row.Over, w.costs.Limits[row.Over].Tokens+share/4)
				return
			}
		}
	}
	// Money is bounded as tokens are, at a micro-dollar each.
	n := w.costs.Limits[id].Tokens + share
	w.setShared(id, event.Limits{Tokens: n, Micros: event.Micros(n)})
}

// raiseRun gives the budget of a run other limits; 0 is none.
func (w *world) raiseRun(id event.BudgetID, tokens int64) {
	of, err := eventlog.ParseRunID(id.Name)
	if err != nil {
		w.broken(err)
		return
	}
	micros := event.Micros(tokens)
	w.give(of, machine.Raise{Micros: &micros, Tokens: &tokens})
}

// afford lets a run go on for good that is paused because a budget was used up.
func (w *world) afford(over event.BudgetID) {
	if over.Scope == event.ScopeOfRun {
		w.raiseRun(over, 0)
		return
	}
	if over.Scope == event.ScopeOfDay {
		over.Name = ""
	}
	w.setShared(over, event.Limits{})
}
