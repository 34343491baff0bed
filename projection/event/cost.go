package event

import (
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
)

// Spend is what was used, or is set aside: tokens of input and output, and what they
// cost.
type Spend struct {
	Tokens int64  `json:"tokens"`
	Micros Micros `json:"micro_usd"`
}

// Add returns s and o together. What does not fit stays at the largest amount.
func (s Spend) Add(o Spend) Spend {
	return Spend{add(s.Tokens, o.Tokens), Micros(add(int64(s.Micros), int64(o.Micros)))}
}

// Sub returns s without o, of which s is to have so much.
func (s Spend) Sub(o Spend) Spend {
	return Spend{s.Tokens - o.Tokens, s.Micros - o.Micros}
}

// IsZero reports whether s is nothing.
func (s Spend) IsZero() bool { return s == Spend{} }

// Limits bound what is spent; 0 is no bound.
type Limits struct {
	Micros   Micros `json:"micro_usd"`
	Tokens   int64  `json:"tokens"`
	OnExceed string `json:"on_exceed,omitempty"` // of a run: OnExceedPause or OnExceedFail
}

// What a run does that a budget does not allow to go on.
const (
	OnExceedPause = "pause"
	OnExceedFail  = "fail"
)

// None reports whether l bounds nothing.
func (l Limits) None() bool { return l.Micros == 0 && l.Tokens == 0 }

// Allow reports whether s may be spent.
func (l Limits) Allow(s Spend) bool {
	return (l.Micros == 0 || s.Micros <= l.Micros) && (l.Tokens == 0 || s.Tokens <= l.Tokens)
}

// Left is what may still be spent beyond s, of what is bounded; never less than 0.
func (l Limits) Left(s Spend) Spend {
	return Spend{max(0, l.Tokens-s.Tokens), max(0, l.Micros-s.Micros)}
}

// Check refuses limits that are negative or beyond what a budget may be.
func (l Limits) Check() error {
	switch {
	case l.Micros < 0 || l.Micros > MaxBudget:
		return fmt.Errorf("%w: a budget has 0 to %s dollars, not %s", ErrAmount, MaxBudget, l.Micros)
	case l.Tokens < 0 || l.Tokens > MaxBudgetTokens:
		return fmt.Errorf("a budget has 0 to %d tokens, not %d", int64(MaxBudgetTokens), l.Tokens)
	}
	switch l.OnExceed {
	case "", OnExceedPause, OnExceedFail:
		return nil
	}
	return fmt.Errorf("on_exceed is %s or %s, not %q", OnExceedPause, OnExceedFail, clip(l.OnExceed))
}

// CallID names one call of a model within a run: what is reserved and charged once.
type CallID struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	// Turn is 0 for the call that begins with the attempt, and counts those that the
	// attempt makes later.
	Turn int `json:"turn,omitempty"`
}

// Need is what a call may use at most, and who makes it.
type Need struct {
	CallID
	Agent  string `json:"agent,omitempty"`
	Model  string `json:"model,omitempty"`
	Input  int64  `json:"input_tokens"`  // as estimated from the characters that are sent
	Output int64  `json:"output_tokens"` // that the answer may have
	Micros Micros `json:"micro_usd"`
	Price  *Price `json:"price,omitempty"` // nil: none is known, and Micros is 0
}

// Spend is what is set aside for the call.
func (n *Need) Spend() Spend { return Spend{add(n.Input, n.Output), n.Micros} }

// NewNeed returns what a call may use that sends so many characters and is answered
// with at most so many tokens.
func NewNeed(chars, output int64, price *Price) Need {
	chars, output = max(0, min(chars, 3*MaxTokens-3)), max(0, min(output, MaxTokens))
	n := Need{Input: (chars+2)/3 + 1, Output: output, Price: price}
	if price != nil {
		n.Micros = price.Cost(Usage{InputTokens: n.Input, OutputTokens: n.Output})
	}
	return n
}

// Scopes of budgets.
const (
	ScopeOfRun      = "run"      // of one run with its child runs; its name is the run's ID
	ScopeOfWorkflow = "workflow" // of all runs of a workflow; see OfWorkflow
	ScopeOfAgent    = "agent"    // of all that an agent does
	ScopeOfDay      = "day"      // of all that is done on one day, UTC
)

// BudgetID names a budget.
type BudgetID struct {
	Scope string `json:"scope"`
	Name  string `json:"name,omitempty"` // of a day, as 2026-01-31
}

// OfWorkflow names the budget of a workflow. In another namespace than the default one
// the scope says in which: workflow@team-a.
func OfWorkflow(n Namespace, name string) BudgetID {
	if n == "" {
		return BudgetID{Scope: ScopeOfWorkflow, Name: name}
	}
	return BudgetID{Scope: ScopeOfWorkflow + "@" + string(n), Name: name}
}

// OfRun names the budget of a run.
func OfRun(id eventlog.RunID) BudgetID { return BudgetID{Scope: ScopeOfRun, Name: id.String()} }

// Namespace returns where the workflow is that a budget is of; ok is false if it is
// not of a workflow.
func (b BudgetID) Namespace() (n Namespace, ok bool) {
	scope, at, named := strings.Cut(b.Scope, "@")
	return Namespace(at), scope == ScopeOfWorkflow && (!named || at != "")
}

// String is the budget as people name it: "workflow:review-loop".
func (b BudgetID) String() string {
	if b.Name == "" {
		return b.Scope
	}
	return b.Scope + ":" + b.Name
}

// CostReserved: what a call may use is set aside, until it is settled. It stands
// before the event that begins the call.
type CostReserved struct {
	Need
}

// CostSettled: what was set aside for a call is free again, and what it used is
// charged. It follows the event that says how the call ended. Each call is charged
// once, however often its result is handed in.
type CostSettled struct {
	CallID
	Agent    string `json:"agent,omitempty"`
	Usage    *Usage `json:"usage,omitempty"` // nil: nothing is known to have been used
	Micros   Micros `json:"micro_usd"`       // what Usage costs
	Reserved Spend  `json:"reserved"`        // what is free again
	// Since is when the call was reserved, or else charged: it counts on that day.
	Since Time `json:"since"`
	// Lost says that nobody will tell what the call used.
	Lost bool `json:"lost,omitempty"`
}

// Charged is what the call is charged.
func (p *CostSettled) Charged() Spend {
	s := Spend{Micros: p.Micros}
	if p.Usage != nil {
		s.Tokens = p.Usage.Tokens()
	}
	return s
}

// BudgetExceeded: a call does not fit into a budget, of which nothing is set aside
// that could come free. What the run does about it follows.
type BudgetExceeded struct {
	Need
	Budget BudgetID `json:"budget"`
	Limits Limits   `json:"limits"` // of the budget
	Spent  Spend    `json:"spent"`  // of it
	Then   string   `json:"then"`   // OnExceedPause or OnExceedFail
	// Usage is what the attempt has used so far that would have made the call; nil: it
	// has not begun.
	Usage *Usage `json:"usage,omitempty"`
}

// Why says in words why the call cannot be made.
func (p *BudgetExceeded) Why() string {
	return fmt.Sprintf("the budget of %s is used up: it needs %s, has %s", p.Budget.words(), p.amounts(p.Limits, p.Need.Spend()), p.left(p.Limits, p.Spent))
}

func (b BudgetID) words() string {
	switch b.Scope {
	case ScopeOfRun:
		return "run " + b.Name
	case ScopeOfDay:
		return "the day " + b.Name
	}
	return b.Scope + " " + b.Name
}

// Waits says in words what a call waits for that needs so much.
func (b BudgetID) Waits(l Limits, taken, need Spend) string {
	var p BudgetExceeded
	return fmt.Sprintf("waits for the budget of %s: needs %s, has %s", b.words(), p.amounts(l, need), p.left(l, taken))
}

// amounts names the parts of s that l bounds.
func (*BudgetExceeded) amounts(l Limits, s Spend) string {
	switch {
	case l.Tokens == 0:
		return s.Micros.String() + " USD"
	case l.Micros == 0:
		return fmt.Sprintf("%d tokens", s.Tokens)
	}
	return fmt.Sprintf("%s USD and %d tokens", s.Micros, s.Tokens)
}

func (p *BudgetExceeded) left(l Limits, taken Spend) string {
	return p.amounts(l, l.Left(taken)) + " left of " + p.amounts(l, Spend{l.Tokens, l.Micros})
}

// BudgetRaised: a budget has other limits from here on. In the stream of a run it is
// a budget that the run spends from, and the run goes on if that is what it was paused
// for. In the system stream "budgets" it is one of a workflow, an agent, or every day.
type BudgetRaised struct {
	Budget BudgetID `json:"budget"`
	Limits Limits   `json:"limits"`
	Reason string   `json:"reason,omitempty"`
	Key    string   `json:"key,omitempty"`
}

// Budgets is the system stream of the budgets beyond one run.
var Budgets = eventlog.System("budgets")

// The order of the fields below is on disk: append, never reorder.

func (n *Need) code(c *coder) {
	n.CallID.code(c)
	c.str(&n.Agent)
	c.str(&n.Model)
	c.int64(&n.Input)
	c.int64(&n.Output)
	c.micros(&n.Micros)
	c.price(&n.Price)
}

func (n *CallID) code(c *coder) {
	c.str(&n.Node)
	c.int(&n.Visit)
	c.int(&n.Attempt)
	c.int(&n.Turn)
}

func (c *coder) spend(v *Spend) {
	nested(c, v, func(c *coder, s *Spend) {
		c.int64(&s.Tokens)
		c.micros(&s.Micros)
	})
}

func codeLimits(c *coder, l *Limits) {
	c.micros(&l.Micros)
	c.int64(&l.Tokens)
	c.str(&l.OnExceed)
}

func (c *coder) budget(v *BudgetID) {
	nested(c, v, func(c *coder, b *BudgetID) {
		c.str(&b.Scope)
		c.str(&b.Name)
	})
}

// Kind returns KindCostReserved.
func (*CostReserved) Kind() eventlog.Kind { return KindCostReserved }

func (p *CostReserved) code(c *coder) { p.Need.code(c) }

// Kind returns KindCostSettled.
func (*CostSettled) Kind() eventlog.Kind { return KindCostSettled }

func (p *CostSettled) code(c *coder) {
	p.CallID.code(c)
	c.str(&p.Agent)
	c.usage(&p.Usage)
	c.micros(&p.Micros)
	c.spend(&p.Reserved)
	c.time(&p.Since)
	c.bool(&p.Lost)
}

// Kind returns KindBudgetExceeded.
func (*BudgetExceeded) Kind() eventlog.Kind { return KindBudgetExceeded }

func (p *BudgetExceeded) code(c *coder) {
	p.Need.code(c)
	c.budget(&p.Budget)
	nested(c, &p.Limits, codeLimits)
	c.spend(&p.Spent)
	c.str(&p.Then)
	c.usage(&p.Usage)
}

// Kind returns KindBudgetRaised.
func (*BudgetRaised) Kind() eventlog.Kind { return KindBudgetRaised }

func (p *BudgetRaised) code(c *coder) {
	c.budget(&p.Budget)
	nested(c, &p.Limits, codeLimits)
	c.text(&p.Reason)
	c.text(&p.Key)
}
