package machine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Before a model is called what the call may use is reserved, in the append that
// begins it; cost.settled follows whatever ends it. How much that is comes from
// outside, as who does an attempt does, and is in the event. Whether it fits into the
// run's own budget is decided here; budgets that runs share are looked after by whoever
// gives the commands, and what they say is in the events too.

// Meter knows what calls may use, and the budgets beyond one run.
type Meter interface {
	// Need returns what a call may use; nil if nothing is to be reserved for it. It is the
	// machine's until the next is asked for.
	Need(n *workflow.Node, v *run.Visit, id event.CallID) *event.Need
	// Grant sets aside what a call may use in every budget beyond the run. It is asked
	// last: what it grants is reserved.
	Grant(n *event.Need) Grant
}

// Grant is what a Meter says. The zero value grants.
type Grant struct {
	// Wait: it does not fit into a budget of which others have set something aside.
	Wait *run.Short
	// Over: it does not fit, and nothing will come free. Budget, Limits and Spent are set.
	Over *event.BudgetExceeded
}

// CallsModel reports whether an attempt of a node begins with a call of a model.
func CallsModel(n *workflow.Node) bool {
	switch n.Kind {
	case workflow.Agent, workflow.Chat, workflow.Plan:
		return true
	case workflow.Converge:
		return n.Runs
	}
	return false
}

// Spends reports whether an attempt of a node may use a model: of its own accord, or
// because a worker does it that may.
func Spends(n *workflow.Node) bool { return n.Kind == workflow.Worker || CallsModel(n) }

// affords reserves what the next attempt of a visit may use. It reports whether the
// attempt can begin.
func (d *decider) affords(v *run.Visit) bool {
	if !Spends(d.node(v)) {
		return true
	}
	return d.reserve(v, event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1})
}

// reserve reserves what a call may use, unless that was done before the history was
// cut. It reports whether the call can be made now. If not, the visit waits, and is
// looked at again when something was settled; or what the run does about it is decided.
func (d *decider) reserve(v *run.Visit, id event.CallID) bool {
	v.Short = nil // it may have waited
	if d.s.Limits == nil || d.meter == nil || d.s.Hold(id) != nil {
		return true
	}
	need := d.meter.Need(d.node(v), v, id)
	if need == nil {
		return true
	}
	need.CallID = id
	ok := false
	v.Short, ok = d.setAside(need, nil)
	return ok && d.err == nil
}

// setAside reserves what a call may use. It returns what the call waits for, if it does;
// one that cannot wait is refused. used is what the attempt has used so far. Where
// nobody knows what an attempt may use, nothing is reserved, and no event says so; it
// is enough that no budget is overspent already.
func (d *decider) setAside(need *event.Need, used *event.Usage) (short *run.Short, ok bool) {
	if taken := d.s.Taken(); !d.s.Limits.Allow(taken.Add(need.Spend())) {
		own := &event.BudgetExceeded{Budget: d.s.OwnBudget(), Limits: *d.s.Limits, Spent: taken}
		if len(d.s.Holds) > 0 && need.Turn == 0 {
			return &run.Short{Budget: own.Budget, Limits: own.Limits, Taken: own.Spent, Need: need.Spend()}, false
		}
		d.overdraw(own, need, used)
		return nil, false
	}
	g := d.meter.Grant(need)
	switch {
	case g.Over != nil:
		d.overdraw(g.Over, need, used)
		return nil, false
	case g.Wait != nil && need.Turn == 0:
		return g.Wait, false
	case g.Wait != nil:
		d.overdraw(&event.BudgetExceeded{Budget: g.Wait.Budget, Limits: g.Wait.Limits, Spent: g.Wait.Taken}, need, used)
		return nil, false
	}
	if !need.Spend().IsZero() {
		d.emit(&event.CostReserved{Need: *need})
	}
	return nil, true
}

// overdraw records that a call does not fit into a budget, and decides what follows.
func (d *decider) overdraw(p *event.BudgetExceeded, need *event.Need, used *event.Usage) {
	p.Need, p.Usage, p.Then = *need, used, event.OnExceedPause
	if d.s.Limits.OnExceed == event.OnExceedFail {
		p.Then = event.OnExceedFail
	}
	d.emit(p)
	if d.err == nil {
		d.overdrawn()
	}
}

// exceeds reports whether a budget was exceeded and what the run does about it is owed.
func (d *decider) exceeds() bool {
	o := d.s.Over
	if o == nil || o.Told && o.Turn == 0 {
		return false
	}
	v := d.s.Live[o.Node]
	return v != nil && v.Visit == o.Visit && v.Status == d.overdrawnAt(o)
}

// overdrawnAt is where a visit stands whose call does not fit into a budget.
func (d *decider) overdrawnAt(o *run.Over) run.NodeStatus {
	if o.Turn > 0 {
		return run.NodeRunning
	}
	return run.NodeScheduled
}

// overdrawn decides what follows a budget that was exceeded. A run that is paused has
// the call still before it; an attempt that has begun ends.
func (d *decider) overdrawn() {
	o := d.s.Over
	if o.Turn == 0 && o.Then == event.OnExceedPause {
		d.emit(&event.RunPaused{Reason: o.Why()})
		return
	}
	v := d.s.Live[o.Node]
	pause := o.Then == event.OnExceedPause
	d.fail(v, event.Failure{Class: event.ClassBudget, Message: o.Why()}, failing{usage: o.Usage, pause: pause, final: true})
	d.again(v)
}

// settleOwed settles what the history was cut before.
func (d *decider) settleOwed() {
	if owed := d.s.Owed(); owed != nil && d.err == nil {
		d.emit(owed)
	}
}

// Reserve sets aside what a further call of an attempt may use that is under way. A
// call that does not fit ends the attempt: what it holds would keep others waiting.
type Reserve struct {
	Need event.Need   // its Turn is at least 1
	Used *event.Usage // by the attempt so far
}

func (c Reserve) decide(d *decider) error {
	v := d.s.Live[c.Need.Node]
	if d.s.Status.Terminal() || v == nil || v.Visit != c.Need.Visit || v.Status != run.NodeRunning || v.Attempt != c.Need.Attempt || c.Need.Turn < 1 {
		return fmt.Errorf("%w: attempt %d of visit %d of node %s is not under way", ErrRefused, c.Need.Attempt, c.Need.Visit, c.Need.Node)
	}
	if d.s.Limits == nil || d.meter == nil || d.s.Hold(c.Need.CallID) != nil {
		return nil
	}
	need := c.Need
	d.setAside(&need, c.Used)
	d.touch(v.Node)
	return nil
}

// Settle says that a call has ended whose visit was given up, and what it used.
type Settle struct {
	Call  event.CallID
	Usage *event.Usage // nil: nobody will ever tell
}

func (c Settle) decide(d *decider) error {
	if v := d.s.Live[c.Call.Node]; v != nil && v.Visit == c.Call.Visit && v.Attempt == c.Call.Attempt && v.Status == run.NodeRunning {
		return fmt.Errorf("%w: attempt %d of visit %d of node %s is under way", ErrRefused, c.Call.Attempt, c.Call.Visit, c.Call.Node)
	}
	if h := d.s.Hold(c.Call); h != nil && !h.Due {
		d.emit(h.Settle(c.Usage))
	}
	return nil
}

// Raise gives a budget that the run spends from other limits. What is nil stays.
type Raise struct {
	Budget event.BudgetID // the zero value: the run's own
	Micros *event.Micros
	Tokens *int64
	Reason string
}

func (c Raise) decide(d *decider) error {
	if d.s.Status == run.Pending || d.s.Status.Terminal() && d.s.Status != run.Failed {
		return refuse(d.s, "raise the budget of")
	}
	if d.s.Limits == nil {
		return fmt.Errorf("%w: the run began before budgets were kept", ErrRefused)
	}
	p := &event.BudgetRaised{Budget: c.Budget, Reason: c.Reason, Key: d.key}
	own := d.s.OwnBudget()
	if p.Budget == (event.BudgetID{}) {
		p.Budget = own
	}
	if p.Budget == own {
		p.Limits = *d.s.Limits
	} else if o := d.s.Over; o == nil || !o.Told || o.Budget != p.Budget {
		return nil // it does not wait for it
	}
	if c.Micros != nil {
		p.Limits.Micros = *c.Micros
	}
	if c.Tokens != nil {
		p.Limits.Tokens = *c.Tokens
	}
	if err := p.Limits.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if taken := d.s.Taken(); p.Budget == own && !p.Limits.Allow(taken) {
		return fmt.Errorf("%w: the run has spent or set aside %s USD and %d tokens already", ErrInvalid, taken.Micros, taken.Tokens)
	}
	paused := d.s.Status == run.Paused
	d.emit(p)
	if paused && d.s.Status == run.Running {
		d.fire()
		d.touchAll()
	}
	return nil
}

// Limits returns what a run may spend: what the definition says, and in its place what
// the run was started with, where it says something.
func Limits(w *workflow.Workflow, asked event.Value) (*event.Limits, error) {
	l := &event.Limits{OnExceed: event.OnExceedPause}
	if def := w.Def.Budget; def != nil {
		l.Micros, l.Tokens = event.Micros(def.Micros), def.Tokens
		if def.OnExceed != "" {
			l.OnExceed = def.OnExceed
		}
	}
	if len(asked) == 0 {
		return l, nil
	}
	bad := func(format string, args ...any) (*event.Limits, error) {
		return nil, fmt.Errorf("%w: budget"+format, append([]any{ErrInvalid}, args...)...)
	}
	x, err := asked.Any()
	m, ok := x.(map[string]any)
	switch {
	case err != nil:
		return nil, err
	case x == nil:
		return l, nil
	case !ok:
		return bad(": want an object such as {\"usd\": 0.5, \"tokens\": 200000}")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		v := m[k]
		switch k {
		case "usd":
			if l.Micros, err = event.AmountOf(v); err != nil {
				return bad(".usd: %w", err)
			}
		case "tokens":
			if l.Tokens, ok = v.(int64); !ok || l.Tokens < 0 || l.Tokens > event.MaxBudgetTokens {
				return bad(".tokens: want a whole number from 0 to %d", int64(event.MaxBudgetTokens))
			}
		case "on_exceed":
			if l.OnExceed, _ = v.(string); l.OnExceed != event.OnExceedPause && l.OnExceed != event.OnExceedFail {
				return bad(".on_exceed: want %s or %s", event.OnExceedPause, event.OnExceedFail)
			}
		default:
			return bad(" has no field %q: there is usd, tokens, on_exceed", clip(k))
		}
	}
	return l, nil
}
