package invariant

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Costs is what the rules keep of all budgets, of runs, workflows, agents and days. Events
// are added in the order of the log. The rules:
//
//   - after every reservation, what is spent and set aside of each budget that the call
//     spends from is within its limits;
//   - a call is set aside once, and freed once, with what was set aside for it;
//   - a call is charged once.
//
// What a call used beyond what it had reserved is spent all the same: nobody can take it
// back. Until those who grant have heard of it, they may grant as much too much; Quiet
// says that they have.
type Costs struct {
	// Wrong is what broke a rule.
	Wrong []error

	Accounts map[event.BudgetID]Account
	Runs     map[eventlog.RunID]RunCosts
	Limits   map[event.BudgetID]event.Limits // a day's has no name: it is every day's
	Held     map[Attempt][]Reserved          // what is set aside, by turn

	charged map[call]bool
	beyond  map[event.BudgetID]event.Spend  // used beyond what was reserved, since it was quiet
	before  map[event.BudgetID]event.Limits // that were lowered since
}

// Account is what is spent and set aside of one budget.
type Account struct{ Spent, Held event.Spend }

// RunCosts is what a run has spent and set aside by itself, and where it belongs.
type RunCosts struct {
	Workflow event.BudgetID
	Parent   eventlog.RunID
	own      event.BudgetID
	Account
}

// Attempt names one attempt among all runs.
type Attempt struct {
	Run            eventlog.RunID
	Node           string
	Visit, Attempt int
}

// Reserved is what is set aside for a call of an attempt, and where.
type Reserved struct {
	Turn int
	event.Spend
	Of []event.BudgetID
}

type call struct {
	Attempt
	turn int
}

func (k call) String() string {
	return fmt.Sprintf("call %d of attempt %d of visit %d of %s of run %s", k.turn, k.Attempt.Attempt, k.Visit, k.Node, k.Run)
}

func callOf(id eventlog.RunID, c event.CallID) call {
	return call{Attempt{id, c.Node, c.Visit, c.Attempt}, c.Turn}
}

// Add holds the log's next event against the rules. Most events are of no concern, and
// are not decoded.
func (c *Costs) Add(e eventlog.Event) error {
	switch e.Kind {
	case event.KindRunCreated, event.KindRunForked, event.KindCostReserved, event.KindCostSettled, event.KindBudgetRaised:
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			return fmt.Errorf("event %d: %w", e.Seq, err)
		}
		c.AddPayload(e, p)
	}
	return nil
}

// AddPayload is Add for an event whose payload is decoded.
func (c *Costs) AddPayload(e eventlog.Event, p event.Payload) {
	if c.Accounts == nil {
		c.Accounts, c.Runs, c.Limits = map[event.BudgetID]Account{}, map[eventlog.RunID]RunCosts{}, map[event.BudgetID]event.Limits{}
		c.Held, c.charged = map[Attempt][]Reserved{}, map[call]bool{}
		c.Quiet()
	}
	if event.IsImported(e.Actor) {
		return // what was spent elsewhere is in no budget here
	}
	switch p := p.(type) {
	case *event.RunCreated:
		r := RunCosts{Workflow: event.OfWorkflow(p.Namespace, p.Workflow)}
		if p.Parent != nil {
			r.Parent = p.Parent.Run
		}
		c.created(e, r, p.Limits)
	case *event.RunForked:
		c.created(e, RunCosts{Workflow: event.OfWorkflow(p.Namespace, p.Workflow)}, p.Limits)
	case *event.CostReserved:
		c.reserved(e, p)
	case *event.CostSettled:
		c.settled(e, p)
	case *event.BudgetRaised:
		if id := p.Budget; e.Run == event.Budgets || id == event.OfRun(e.Run) {
			c.before[id] = c.Limits[id]
			c.Limits[id] = event.Limits{Micros: p.Limits.Micros, Tokens: p.Limits.Tokens}
		}
	}
}

// Quiet says that whoever grants knows of all events so far.
func (c *Costs) Quiet() {
	c.beyond, c.before = map[event.BudgetID]event.Spend{}, map[event.BudgetID]event.Limits{}
}

func (c *Costs) created(e eventlog.Event, r RunCosts, l *event.Limits) {
	r.own = event.OfRun(e.Run)
	c.Runs[e.Run] = r
	if l != nil && !l.None() {
		c.Limits[r.own] = event.Limits{Micros: l.Micros, Tokens: l.Tokens}
	}
}

// of returns the budgets that a call of a run spends from.
func (c *Costs) of(id eventlog.RunID, agent string, at event.Time) []event.BudgetID {
	ids := append(make([]event.BudgetID, 0, 5), event.BudgetID{Scope: event.ScopeOfDay, Name: projection.Day(at)}, c.Runs[id].Workflow)
	if agent != "" {
		ids = append(ids, event.BudgetID{Scope: event.ScopeOfAgent, Name: agent})
	}
	for !id.IsZero() {
		r := c.Runs[id]
		ids = append(ids, r.own)
		id = r.Parent
	}
	return ids
}

func (c *Costs) reserved(e eventlog.Event, p *event.CostReserved) {
	k := callOf(e.Run, p.CallID)
	if slices.ContainsFunc(c.Held[k.Attempt], func(h Reserved) bool { return h.Turn == p.Turn }) {
		c.bad(e, "%v is set aside for a second time", k)
	}
	h := Reserved{p.Turn, p.Spend(), c.of(e.Run, p.Agent, event.Time(e.Time))}
	c.Held[k.Attempt] = append(c.Held[k.Attempt], h)
	c.own(e.Run, func(a *Account) { a.Held = a.Held.Add(h.Spend) })
	for _, id := range h.Of {
		a := c.Accounts[id]
		a.Held = a.Held.Add(h.Spend)
		c.Accounts[id] = a
		if l := c.limits(id); !l.Allow(a.Spent.Add(a.Held)) {
			c.bad(e, "the budget of %s is overspent: %+v are spent and %+v set aside of %+v", id, a.Spent, a.Held, l)
		}
	}
}

// limits returns what is to be kept to, for now.
func (c *Costs) limits(id event.BudgetID) event.Limits {
	set := id
	if id.Scope == event.ScopeOfDay {
		set.Name = ""
	}
	l, b := c.Limits[set], c.beyond[id]
	if was, raised := c.before[set]; raised {
		l = looser(l, was)
	}
	if l.Tokens != 0 {
		l.Tokens += b.Tokens
	}
	if l.Micros != 0 {
		l.Micros += b.Micros
	}
	return l
}

// looser returns of each amount the larger one; none is more than any.
func looser(a, b event.Limits) event.Limits {
	l := event.Limits{Micros: max(a.Micros, b.Micros), Tokens: max(a.Tokens, b.Tokens)}
	if a.Micros == 0 || b.Micros == 0 {
		l.Micros = 0
	}
	if a.Tokens == 0 || b.Tokens == 0 {
		l.Tokens = 0
	}
	return l
}

func (c *Costs) own(id eventlog.RunID, change func(*Account)) {
	r := c.Runs[id]
	change(&r.Account)
	c.Runs[id] = r
}

// settled frees what is set aside for a call, or for all calls of its attempt that are
// left, and charges it.
func (c *Costs) settled(e eventlog.Event, p *event.CostSettled) {
	k := callOf(e.Run, p.CallID)
	of := c.of(e.Run, p.Agent, p.Since)
	var freed, own event.Spend
	var left []Reserved
	for _, h := range c.Held[k.Attempt] {
		if h.Turn != k.turn && k.turn > 0 {
			left = append(left, h)
			continue
		}
		freed = freed.Add(h.Spend)
		c.own(e.Run, func(a *Account) { a.Held = a.Held.Sub(h.Spend) })
		for _, id := range h.Of {
			a := c.Accounts[id]
			a.Held = a.Held.Sub(h.Spend)
			c.Accounts[id] = a
		}
		if h.Turn == k.turn {
			of, own = h.Of, h.Spend
		}
	}
	if c.Held[k.Attempt] = left; len(left) == 0 {
		delete(c.Held, k.Attempt)
	}
	if freed != p.Reserved && own != p.Reserved { // what a former process had set aside is told call by call
		c.bad(e, "%v frees %+v, and %+v was set aside for it", k, p.Reserved, freed)
	}
	if p.Usage == nil {
		return
	}
	if c.charged[k] {
		c.bad(e, "%v is charged for a second time", k)
	}
	c.charged[k] = true
	spent := p.Charged()
	c.own(e.Run, func(a *Account) { a.Spent = a.Spent.Add(spent) })
	more := event.Spend{Tokens: max(0, spent.Tokens-freed.Tokens), Micros: max(0, spent.Micros-freed.Micros)}
	for _, id := range of {
		a := c.Accounts[id]
		a.Spent = a.Spent.Add(spent)
		c.Accounts[id] = a
		c.beyond[id] = c.beyond[id].Add(more)
	}
}

// Order returns the attempts that something is set aside for, in order.
func (c *Costs) Order() []Attempt {
	return slices.SortedFunc(maps.Keys(c.Held), func(a, b Attempt) int {
		return cmp.Or(bytes.Compare(a.Run[:], b.Run[:]), strings.Compare(a.Node, b.Node), a.Visit-b.Visit, a.Attempt-b.Attempt)
	})
}

func (c *Costs) bad(e eventlog.Event, format string, args ...any) {
	c.Wrong = append(c.Wrong, fmt.Errorf("event %d, %s: %s", e.Seq, event.KindName(e.Kind), fmt.Sprintf(format, args...)))
}
