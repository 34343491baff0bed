package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A ledger holds what is spent and set aside in the budgets that several runs spend
// from: of a workflow, of an agent, of a day, and of a run that has child runs. It is
// folded from the events of cost: from the views when it is first asked, and from then
// on from what the engine commits, which is all there is.
//
// What a call may use is granted while its run is decided, before the append: so runs
// that are decided at the same time do not all find the same money. If the append
// fails, the grant is given back. If we crash between the two, nothing was in the log,
// and the next ledger does not know of it.
//
// A call that does not fit waits here, while others have something set aside; its run
// is woken when something comes free that it may fit into.
type ledger struct {
	e *Engine

	setting sync.Mutex // held while the limits of a budget are set

	mu       sync.Mutex
	loaded   bool
	accounts map[event.BudgetID]*account
	limits   map[event.BudgetID]event.Limits // as they were set; a day's has no name
	holds    map[callKey]*allotment
	turns    map[callKey]int // by attempt, the last turn that was set aside for; none: 0
	waits    map[callKey]*waitingCall
	number   uint64 // of waiters, for their order
}

// account is one budget. spent + held ≤ limits, but for what calls used beyond what was
// set aside for them.
type account struct {
	spent, held event.Spend
	at          eventlog.Seq // events up to here are in it
	// Of a run's tree.
	limits event.Limits
	parent eventlog.RunID
}

type callKey struct {
	run eventlog.RunID
	event.CallID
}

// allotment is what is set aside for a call, and where.
type allotment struct {
	key   callKey
	ids   []event.BudgetID
	spend event.Spend
}

type waitingCall struct {
	number uint64
	ids    []event.BudgetID
	need   event.Spend
	woken  bool
}

func newLedger(e *Engine) *ledger {
	return &ledger{
		e: e, accounts: map[event.BudgetID]*account{}, limits: map[event.BudgetID]event.Limits{},
		holds: map[callKey]*allotment{}, turns: map[callKey]int{}, waits: map[callKey]*waitingCall{},
	}
}

// load reads the views, once. Called with mu held.
func (l *ledger) load() error {
	if l.loaded {
		return nil
	}
	v, err := l.e.views.Ledger(context.Background())
	if err != nil {
		return fmt.Errorf("what was spent so far: %w", err)
	}
	for id, s := range v.Costs {
		l.accounts[id] = &account{spent: s, at: v.At}
	}
	l.limits = v.Limits
	for i := range v.Holds {
		h := &v.Holds[i]
		g := &allotment{key: callKey{h.Run, h.Call}, spend: h.Spend, ids: scopes(h.Workflow, h.Agent, projection.Day(h.Since))}
		l.keep(g)
		for _, id := range g.ids {
			a := l.account(id, v.At)
			a.held = a.held.Add(g.spend)
		}
	}
	l.loaded = true
	return nil
}

// account returns the account of a budget. Called with mu held.
func (l *ledger) account(id event.BudgetID, at eventlog.Seq) *account {
	a := l.accounts[id]
	if a == nil {
		a = &account{at: at}
		l.accounts[id] = a
	}
	return a
}

// scopes are the budgets that a call spends from whatever its run.
func scopes(workflow event.BudgetID, agent, day string) []event.BudgetID {
	ids := []event.BudgetID{{Scope: event.ScopeOfDay, Name: day}, workflow}
	if agent != "" {
		ids = append(ids, event.BudgetID{Scope: event.ScopeOfAgent, Name: agent})
	}
	return ids
}

func ofRun(id eventlog.RunID) event.BudgetID {
	return event.BudgetID{Scope: event.ScopeOfRun, Name: id.String()}
}

// shares reports whether a run spends from another's budget, or another from its own.
func (l *ledger) shares(s *run.State, w *workflow.Workflow) bool {
	return s.Parent != nil || hasChildren(w) || l.e.delegates()
}

// tree returns the budgets of the runs that s is under, and its own if others are under
// it, and has their accounts. Called with mu held.
func (l *ledger) tree(s *run.State, w *workflow.Workflow) ([]event.BudgetID, error) {
	var ids []event.BudgetID
	if !l.shares(s, w) {
		return nil, nil
	}
	for id := s.Run; !id.IsZero() && len(ids) <= machine.MaxDepth; {
		own := ofRun(id)
		a := l.accounts[own]
		if a == nil {
			var err error
			if a, err = l.open(id, s); err != nil {
				return nil, err
			}
			l.accounts[own] = a
		}
		if id == s.Run { // it is being decided: what an append that failed had raised is gone
			a.limits = limitsIn(s)
		}
		ids = append(ids, own)
		id = a.parent
	}
	return ids, nil
}

// open reads what a run and those under it have spent. The run of s is being decided:
// what it was like before is in the views, and what is granted since is not.
func (l *ledger) open(id eventlog.RunID, s *run.State) (*account, error) {
	spent, holds, at, err := l.e.views.TreeSpend(context.Background(), id)
	if err != nil {
		return nil, err
	}
	a := &account{spent: spent, at: at}
	for i := range holds {
		k := callKey{holds[i].Run, holds[i].Call}
		if g := l.holds[k]; g != nil {
			g.ids = append(g.ids, ofRun(id))
			a.held = a.held.Add(g.spend)
		}
	}
	of := s
	if id != s.Run { // its owner may be at work: the log has it too
		if of, err = l.e.snapshots.load(l.e.log, id); err != nil {
			return nil, err
		}
	}
	a.limits = limitsIn(of)
	if of.Parent != nil {
		a.parent = of.Parent.Run
	}
	return a, nil
}

// limitsIn returns what bounds the run itself.
func limitsIn(s *run.State) event.Limits {
	if s.Limits == nil {
		return event.Limits{}
	}
	return *s.Limits
}

// hasChildren reports whether runs of w may have child runs.
func hasChildren(w *workflow.Workflow) bool {
	return slices.ContainsFunc(w.Nodes, func(n *workflow.Node) bool {
		return n.Kind == workflow.Sub || n.Kind == workflow.Foreach && n.Do == nil || n.Do != nil && n.Do.Kind == workflow.Sub
	})
}

// limitsOf returns what bounds a budget. Called with mu held.
func (l *ledger) limitsOf(id event.BudgetID) event.Limits {
	if id.Scope == event.ScopeOfRun {
		return l.accounts[id].limits
	}
	set := id
	if id.Scope == event.ScopeOfDay {
		set.Name = ""
	}
	if lim, ok := l.limits[set]; ok {
		return lim
	}
	if id.Scope == event.ScopeOfAgent && l.e.opt.Agents != nil {
		if a, err := l.e.opt.Agents.Lookup(id.Name); err == nil && a.Budget != nil {
			return event.Limits{Micros: event.Micros(a.Budget.MicroUSD), Tokens: a.Budget.Tokens}
		}
	}
	return event.Limits{}
}

// grant sets aside what a call may use in every budget beyond its run.
func (l *ledger) grant(s *run.State, w *workflow.Workflow, n *event.Need, at event.Time) (machine.Grant, *allotment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(); err != nil {
		return machine.Grant{}, nil, err
	}
	if len(l.limits) == 0 && len(l.waits) == 0 && n.Agent == "" && n.Spend().IsZero() && !l.shares(s, w) {
		return machine.Grant{}, nil, nil // nothing is asked for, of no budget
	}
	under, err := l.tree(s, w)
	if err != nil {
		return machine.Grant{}, nil, err
	}
	g := &allotment{key: callKey{s.Run, n.CallID}, spend: n.Spend(), ids: append(scopes(event.OfWorkflow(s.Namespace, s.Workflow), n.Agent, projection.Day(at)), under...)}
	var short *run.Short
	for _, id := range g.ids {
		a, lim := l.account(id, 0), l.limitsOf(id)
		if taken := a.spent.Add(a.held); !lim.Allow(taken.Add(g.spend)) {
			if a.held.IsZero() {
				delete(l.waits, g.key)
				return machine.Grant{Over: &event.BudgetExceeded{Budget: id, Limits: lim, Spent: taken}}, nil, nil
			}
			if short == nil {
				short = &run.Short{Budget: id, Limits: lim, Taken: taken, Need: g.spend}
			}
		}
	}
	if short != nil {
		w := l.waits[g.key]
		if w == nil {
			l.number++
			w = &waitingCall{number: l.number}
			l.waits[g.key] = w
		}
		w.ids, w.need, w.woken = g.ids, g.spend, false
		return machine.Grant{Wait: short}, nil, nil
	}
	delete(l.waits, g.key)
	if g.spend.IsZero() {
		return machine.Grant{}, nil, nil // no budget is overspent: that was the question
	}
	l.keep(g)
	for _, id := range g.ids {
		a := l.accounts[id]
		a.held = a.held.Add(g.spend)
	}
	return machine.Grant{}, g, nil
}

// keep notes what is set aside for a call. Called with mu held.
func (l *ledger) keep(g *allotment) {
	l.holds[g.key] = g
	if of := g.key.attempt(); g.key.Turn > l.turns[of] {
		l.turns[of] = g.key.Turn
	}
}

// attempt is the attempt that a call is of.
func (k callKey) attempt() callKey {
	k.Turn = 0
	return k
}

// giveBack takes back grants whose append failed.
func (l *ledger) giveBack(grants []*allotment) {
	if len(grants) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range grants {
		if l.holds[g.key] == g {
			l.release(g)
		}
	}
	l.wake()
}

// release frees what is set aside. Called with mu held.
func (l *ledger) release(g *allotment) {
	delete(l.holds, g.key)
	for _, id := range g.ids {
		if a := l.accounts[id]; a != nil {
			a.held = a.held.Sub(g.spend)
		}
	}
}

// committed takes in what a run's events that are on disk by now say of cost.
func (l *ledger) committed(s *run.State, events []machine.Event, last eventlog.Seq) {
	var mine bool
	for i := range events {
		switch events[i].Payload.(type) {
		case *event.CostSettled, *event.BudgetRaised, *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			mine = true
		}
	}
	if !mine {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		return // it will be read with the rest
	}
	for i := range events {
		switch p := events[i].Payload.(type) {
		case *event.CostSettled:
			l.settled(s, p, last-eventlog.Seq(len(events)-1-i))
		case *event.BudgetRaised:
			if a := l.accounts[p.Budget]; a != nil && p.Budget == s.OwnBudget() {
				a.limits = p.Limits
			}
		case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			for k := range l.waits {
				if k.run == s.Run {
					delete(l.waits, k)
				}
			}
		}
	}
	l.wake()
	if own := ofRun(s.Run); s.Status.Terminal() && l.accounts[own] != nil && l.accounts[own].held.IsZero() {
		delete(l.accounts, own) // read again should it be asked for
	}
}

// settled frees what was set aside for a call, and charges what it used. Called with mu
// held.
func (l *ledger) settled(s *run.State, p *event.CostSettled, seq eventlog.Seq) {
	ids := scopes(event.OfWorkflow(s.Namespace, s.Workflow), p.Agent, projection.Day(p.Since))
	for id := range l.under(s) {
		ids = append(ids, id)
	}
	for k, g := range l.ofAttempt(s.Run, p.CallID) {
		if k.CallID == p.CallID {
			ids = g.ids
		}
		l.release(g)
	}
	for _, id := range ids {
		if a := l.account(id, 0); seq > a.at {
			a.spent = a.spent.Add(p.Charged())
		}
	}
}

// ofAttempt returns the grants that a settlement ends: one that names no turn, those of
// all turns that were not settled one by one. Called with mu held.
func (l *ledger) ofAttempt(id eventlog.RunID, c event.CallID) map[callKey]*allotment {
	found := map[callKey]*allotment{}
	k := callKey{id, c}
	last := k.Turn
	if k.Turn == 0 {
		last = l.turns[k]
		delete(l.turns, k)
	}
	for ; k.Turn <= last; k.Turn++ {
		if g := l.holds[k]; g != nil {
			found[k] = g
		}
	}
	return found
}

// under returns the accounts of a run and of those that it is under, as far as they are
// open. Called with mu held.
func (l *ledger) under(s *run.State) map[event.BudgetID]bool {
	ids := map[event.BudgetID]bool{}
	if l.accounts[ofRun(s.Run)] != nil {
		ids[ofRun(s.Run)] = true
	}
	if s.Parent == nil {
		return ids
	}
	for id := s.Parent.Run; !id.IsZero(); {
		a := l.accounts[ofRun(id)]
		if a == nil {
			return ids
		}
		ids[ofRun(id)] = true
		id = a.parent
	}
	return ids
}

// wake wakes the runs whose calls may be made by now, the longest waiting first, as far
// as what is free may reach. Called with mu held.
func (l *ledger) wake() {
	if len(l.waits) == 0 {
		return
	}
	promised := map[event.BudgetID]event.Spend{}
	woken := map[eventlog.RunID]bool{}
	keys := slices.SortedFunc(maps.Keys(l.waits), func(a, b callKey) int { return cmp.Compare(l.waits[a].number, l.waits[b].number) })
	for _, k := range keys {
		w := l.waits[k]
		if w.woken || !l.mayGo(w, promised) {
			continue
		}
		for _, id := range w.ids {
			promised[id] = promised[id].Add(w.need)
		}
		w.woken = true
		woken[k.run] = true
	}
	for id := range woken {
		l.e.spawn(func() {
			l.e.insist(func() error {
				return l.e.runs.do(context.Background(), id, &request{meta: machine.Meta{At: l.e.now(), Actor: system}, cmd: machine.Wake{}})
			})
			l.woke(id)
		})
	}
}

// woke notes that a run was woken. Calls of it that did not ask again no longer wait:
// the run was paused, say. Others may have what was promised to them.
func (l *ledger) woke(id eventlog.RunID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.waits, func(k callKey, w *waitingCall) bool { return k.run == id && w.woken })
	l.wake()
}

// mayGo reports whether a call would fit by now, or never will. Called with mu held.
func (l *ledger) mayGo(w *waitingCall, promised map[event.BudgetID]event.Spend) bool {
	for _, id := range w.ids {
		a := l.accounts[id]
		if a == nil {
			continue // its run has ended
		}
		taken := a.spent.Add(a.held).Add(promised[id])
		if !l.limitsOf(id).Allow(taken.Add(w.need)) {
			return a.held.IsZero() && promised[id].IsZero()
		}
	}
	return true
}
