// Package ledger knows what is spent and set aside in the budgets that several runs
// spend from: of a workflow, of an agent, of a day, and of a run that has child runs. It
// reads no file, waits for nobody and has no lock: whoever keeps a ledger brings what is
// in the log, and wakes the runs that it names.
//
// What a call may use is granted while its run is decided, before the append: so runs
// that are decided at the same time do not all find the same money. If the append
// fails, the grant is given back. If a process crashes between the two, nothing was in the
// log, and the next ledger does not know of it.
//
// A call that does not fit waits here, while others have something set aside; its run
// is to be woken when something comes free that it may fit into.
package ledger

import (
	"cmp"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Ledger is the fold of the events of cost, and what was granted since.
type Ledger struct {
	// Accounts are the budgets that something is known of, and Holds what is set aside.
	// Both are to be looked at.
	Accounts map[event.BudgetID]*Account
	Holds    map[Call]*Hold

	src    Source
	limits map[event.BudgetID]event.Limits // as they were set; a day's has no name
	turns  map[Call]int                    // by attempt, the last turn that was set aside for; none: 0
	waits  map[Call]*waiting
	number uint64 // of waiters, for their order
}

// Account is one budget. Spent + Held ≤ limits, but for what calls used beyond what was
// set aside for them.
type Account struct {
	Spent, Held event.Spend

	at eventlog.Seq // events up to here are in it
	// Of a run's tree.
	limits event.Limits
	parent eventlog.RunID
}

// Call names a call among those of all runs.
type Call struct {
	Run eventlog.RunID
	event.CallID
}

// attempt is the attempt that a call is of.
func (c Call) attempt() Call {
	c.Turn = 0
	return c
}

// Hold is what is set aside for a call, and where.
type Hold struct {
	Call
	Of    []event.BudgetID
	Spend event.Spend
}

type waiting struct {
	number uint64
	of     []event.BudgetID
	need   event.Spend
	woken  bool
}

// Source is where a ledger reads what it has not been told.
type Source interface {
	// Tree returns what a run and those under it have spent. The run of s is being decided:
	// what it was like before is in the views, and what is granted since is not.
	Tree(id eventlog.RunID, s *run.State) (Tree, error)
	// Standing returns the limits of a budget that nobody has set.
	Standing(id event.BudgetID) event.Limits
	// Delegates reports whether any run may have others under it, whatever its workflow.
	Delegates() bool
}

// Tree is a run with those under it.
type Tree struct {
	Spent  event.Spend
	At     eventlog.Seq // events up to here are in it
	Calls  []Call       // that something is set aside for
	Limits event.Limits
	Parent eventlog.RunID
}

// New returns a ledger that knows of nothing.
func New(src Source) *Ledger {
	return &Ledger{
		src: src, Accounts: map[event.BudgetID]*Account{}, limits: map[event.BudgetID]event.Limits{},
		Holds: map[Call]*Hold{}, turns: map[Call]int{}, waits: map[Call]*waiting{},
	}
}

// Load takes in what the events up to at say: what is spent of budgets beyond one run, their
// limits, which the ledger keeps, and what is set aside.
func (l *Ledger) Load(at eventlog.Seq, spent map[event.BudgetID]event.Spend, limits map[event.BudgetID]event.Limits, holds []*Hold) {
	for id, s := range spent {
		l.Accounts[id] = &Account{Spent: s, at: at}
	}
	l.limits = limits
	for _, h := range holds {
		l.keep(h)
		for _, id := range h.Of {
			a := l.account(id, at)
			a.Held = a.Held.Add(h.Spend)
		}
	}
}

func (l *Ledger) account(id event.BudgetID, at eventlog.Seq) *Account {
	a := l.Accounts[id]
	if a == nil {
		a = &Account{at: at}
		l.Accounts[id] = a
	}
	return a
}

// Scopes are the budgets that a call spends from whatever its run.
func Scopes(workflow event.BudgetID, agent string, at event.Time) []event.BudgetID {
	ids := []event.BudgetID{{Scope: event.ScopeOfDay, Name: projection.Day(at)}, workflow}
	if agent != "" {
		ids = append(ids, event.BudgetID{Scope: event.ScopeOfAgent, Name: agent})
	}
	return ids
}

// shares reports whether a run spends from another's budget, or another from its own.
func (l *Ledger) shares(s *run.State, w *workflow.Workflow) bool {
	return s.Parent != nil || w.HasChildren() || l.src.Delegates()
}

// tree returns the budgets of the runs that s is under, and its own if others are under
// it, and has their accounts.
func (l *Ledger) tree(s *run.State, w *workflow.Workflow) ([]event.BudgetID, error) {
	var ids []event.BudgetID
	if !l.shares(s, w) {
		return nil, nil
	}
	for id := s.Run; !id.IsZero() && len(ids) <= machine.MaxDepth; {
		own := event.OfRun(id)
		a := l.Accounts[own]
		if a == nil {
			var err error
			if a, err = l.open(id, s); err != nil {
				return nil, err
			}
			l.Accounts[own] = a
		}
		if id == s.Run { // it is being decided: what an append that failed had raised is gone
			a.limits = s.OwnLimits()
		}
		ids = append(ids, own)
		id = a.parent
	}
	return ids, nil
}

func (l *Ledger) open(id eventlog.RunID, s *run.State) (*Account, error) {
	t, err := l.src.Tree(id, s)
	if err != nil {
		return nil, err
	}
	a := &Account{Spent: t.Spent, at: t.At, limits: t.Limits, parent: t.Parent}
	for _, c := range t.Calls {
		if h := l.Holds[c]; h != nil {
			h.Of = append(h.Of, event.OfRun(id))
			a.Held = a.Held.Add(h.Spend)
		}
	}
	return a, nil
}

// Limits returns what bounds a budget. Of those of runs it knows the open ones.
func (l *Ledger) Limits(id event.BudgetID) event.Limits {
	if id.Scope == event.ScopeOfRun {
		return l.Accounts[id].limits
	}
	set := id
	if id.Scope == event.ScopeOfDay {
		set.Name = ""
	}
	if lim, ok := l.limits[set]; ok {
		return lim
	}
	return l.src.Standing(id)
}

// Budgets returns the budgets that have been given limits.
func (l *Ledger) Budgets() []event.BudgetID { return slices.Collect(maps.Keys(l.limits)) }

// Set gives a budget beyond one run other limits, and returns the runs to be woken.
func (l *Ledger) Set(id event.BudgetID, lim event.Limits) []eventlog.RunID {
	l.limits[id] = lim
	return l.wake()
}

// Grant sets aside what a call may use in every budget beyond its run. There is a Hold if
// it did.
func (l *Ledger) Grant(s *run.State, w *workflow.Workflow, n *event.Need, at event.Time) (machine.Grant, *Hold, error) {
	if len(l.limits) == 0 && len(l.waits) == 0 && n.Agent == "" && n.Spend().IsZero() && !l.shares(s, w) {
		return machine.Grant{}, nil, nil // nothing is asked for, of no budget
	}
	under, err := l.tree(s, w)
	if err != nil {
		return machine.Grant{}, nil, err
	}
	h := &Hold{Call: Call{s.Run, n.CallID}, Spend: n.Spend(), Of: append(Scopes(event.OfWorkflow(s.Namespace, s.Workflow), n.Agent, at), under...)}
	var short *run.Short
	for _, id := range h.Of {
		a, lim := l.account(id, 0), l.Limits(id)
		if taken := a.Spent.Add(a.Held); !lim.Allow(taken.Add(h.Spend)) {
			if a.Held.IsZero() {
				delete(l.waits, h.Call)
				return machine.Grant{Over: &event.BudgetExceeded{Budget: id, Limits: lim, Spent: taken}}, nil, nil
			}
			if short == nil {
				short = &run.Short{Budget: id, Limits: lim, Taken: taken, Need: h.Spend}
			}
		}
	}
	if short != nil {
		w := l.waits[h.Call]
		if w == nil {
			l.number++
			w = &waiting{number: l.number}
			l.waits[h.Call] = w
		}
		w.of, w.need, w.woken = h.Of, h.Spend, false
		return machine.Grant{Wait: short}, nil, nil
	}
	delete(l.waits, h.Call)
	if h.Spend.IsZero() {
		return machine.Grant{}, nil, nil // no budget is overspent: that was the question
	}
	l.keep(h)
	for _, id := range h.Of {
		a := l.Accounts[id]
		a.Held = a.Held.Add(h.Spend)
	}
	return machine.Grant{}, h, nil
}

// Waiting is how many calls wait.
func (l *Ledger) Waiting() int { return len(l.waits) }

// keep notes what is set aside for a call.
func (l *Ledger) keep(h *Hold) {
	l.Holds[h.Call] = h
	if of := h.attempt(); h.Turn > l.turns[of] {
		l.turns[of] = h.Turn
	}
}

// GiveBack takes back grants whose append failed, and returns the runs to be woken.
func (l *Ledger) GiveBack(grants []*Hold) []eventlog.RunID {
	for _, h := range grants {
		if l.Holds[h.Call] == h {
			l.release(h)
		}
	}
	return l.wake()
}

// release frees what is set aside.
func (l *Ledger) release(h *Hold) {
	delete(l.Holds, h.Call)
	for _, id := range h.Of {
		if a := l.Accounts[id]; a != nil {
			a.Held = a.Held.Sub(h.Spend)
		}
	}
}

// Concerned reports whether events say anything to a ledger.
func Concerned(events []machine.Event) bool {
	for i := range events {
		switch events[i].Payload.(type) {
		case *event.CostSettled, *event.BudgetRaised, *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			return true
		}
	}
	return false
}

// Committed takes in what a run's events that are on disk by now say of cost. The last of
// them is at the seq last. It returns the runs to be woken.
func (l *Ledger) Committed(s *run.State, events []machine.Event, last eventlog.Seq) []eventlog.RunID {
	for i := range events {
		switch p := events[i].Payload.(type) {
		case *event.CostSettled:
			l.settled(s, p, last-eventlog.Seq(len(events)-1-i))
		case *event.BudgetRaised:
			if a := l.Accounts[p.Budget]; a != nil && p.Budget == s.OwnBudget() {
				a.limits = p.Limits
			}
		case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			maps.DeleteFunc(l.waits, func(c Call, _ *waiting) bool { return c.Run == s.Run })
		}
	}
	woken := l.wake()
	if own := s.OwnBudget(); s.Status.Terminal() && l.Accounts[own] != nil && l.Accounts[own].Held.IsZero() {
		delete(l.Accounts, own) // read again should it be asked for
	}
	return woken
}

// settled frees what was set aside for a call, and charges what it used. A settlement that
// names no turn frees all turns of its attempt that were not settled one by one.
func (l *Ledger) settled(s *run.State, p *event.CostSettled, seq eventlog.Seq) {
	of := append(Scopes(event.OfWorkflow(s.Namespace, s.Workflow), p.Agent, p.Since), l.under(s)...)
	c := Call{s.Run, p.CallID}
	last := c.Turn
	if c.Turn == 0 {
		last = l.turns[c]
		delete(l.turns, c)
	}
	for ; c.Turn <= last; c.Turn++ {
		h := l.Holds[c]
		if h == nil {
			continue
		}
		if c.Turn == p.Turn {
			of = h.Of
		}
		l.release(h)
	}
	for _, id := range of {
		if a := l.account(id, 0); seq > a.at {
			a.Spent = a.Spent.Add(p.Charged())
		}
	}
}

// under returns the accounts of a run and of those that it is under, as far as they are
// open.
func (l *Ledger) under(s *run.State) (ids []event.BudgetID) {
	if l.Accounts[s.OwnBudget()] != nil {
		ids = append(ids, s.OwnBudget())
	}
	if s.Parent == nil {
		return ids
	}
	for id := s.Parent.Run; !id.IsZero(); {
		a := l.Accounts[event.OfRun(id)]
		if a == nil {
			return ids
		}
		ids = append(ids, event.OfRun(id))
		id = a.parent
	}
	return ids
}

// wake returns the runs whose calls may be made by now, the longest waiting first, as far
// as what is free may reach.
func (l *Ledger) wake() (woken []eventlog.RunID) {
	if len(l.waits) == 0 {
		return nil
	}
	promised := map[event.BudgetID]event.Spend{}
	calls := slices.SortedFunc(maps.Keys(l.waits), func(a, b Call) int { return cmp.Compare(l.waits[a].number, l.waits[b].number) })
	for _, c := range calls {
		w := l.waits[c]
		if w.woken || !l.mayGo(w, promised) {
			continue
		}
		for _, id := range w.of {
			promised[id] = promised[id].Add(w.need)
		}
		w.woken = true
		if !slices.Contains(woken, c.Run) {
			woken = append(woken, c.Run)
		}
	}
	return woken
}

// Woke notes that a run was woken. Calls of it that did not ask again no longer wait:
// the run was paused, say. Others may have what was promised to them, and are to be woken.
func (l *Ledger) Woke(id eventlog.RunID) []eventlog.RunID {
	maps.DeleteFunc(l.waits, func(c Call, w *waiting) bool { return c.Run == id && w.woken })
	return l.wake()
}

// mayGo reports whether a call would fit by now, or never will.
func (l *Ledger) mayGo(w *waiting, promised map[event.BudgetID]event.Spend) bool {
	for _, id := range w.of {
		a := l.Accounts[id]
		if a == nil {
			continue // its run has ended
		}
		taken := a.Spent.Add(a.Held).Add(promised[id])
		if !l.Limits(id).Allow(taken.Add(w.need)) {
			return a.Held.IsZero() && promised[id].IsZero()
		}
	}
	return true
}
