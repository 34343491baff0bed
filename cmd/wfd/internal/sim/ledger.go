package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/invariant"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// ledger is a model of the ledger of package engine: what is granted of budgets that
// several runs spend from, beyond what the log says so far.
type ledger struct {
	e        *engine
	loaded   bool
	setting  bool // the limits of a budget are on their way to the log
	accounts map[event.BudgetID]*account
	limits   map[event.BudgetID]event.Limits
	holds    map[callKey]*allotment
	waits    map[callKey]*waitingCall
	number   int // of waiters, for their order
}

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
	number int
	ids    []event.BudgetID
	need   event.Spend
	woken  bool
}

func newLedger(e *engine) *ledger {
	return &ledger{
		e: e, accounts: map[event.BudgetID]*account{}, limits: map[event.BudgetID]event.Limits{},
		holds: map[callKey]*allotment{}, waits: map[callKey]*waitingCall{},
	}
}

// load reads the views, once.
func (l *ledger) load() {
	if l.loaded {
		return
	}
	l.loaded = true
	c := &l.e.w.costs
	for id, a := range c.Accounts {
		if id.Scope != event.ScopeOfRun {
			l.accounts[id] = &account{spent: a.Spent, held: a.Held, at: eventlog.Seq(l.e.w.seen)}
		}
	}
	for id, lim := range c.Limits {
		if id.Scope != event.ScopeOfRun {
			l.limits[id] = lim
		}
	}
	for a, held := range c.Held {
		for _, h := range held {
			g := &allotment{key: keyOf(a, h), spend: h.Spend}
			for _, id := range h.Of {
				if id.Scope != event.ScopeOfRun {
					g.ids = append(g.ids, id)
				}
			}
			l.holds[g.key] = g
		}
	}
}

func keyOf(a invariant.Attempt, h invariant.Reserved) callKey {
	return callKey{a.Run, event.CallID{Node: a.Node, Visit: a.Visit, Attempt: a.Attempt, Turn: h.Turn}}
}

func (l *ledger) account(id event.BudgetID) *account {
	a := l.accounts[id]
	if a == nil {
		a = &account{}
		l.accounts[id] = a
	}
	return a
}

func ofRun(id eventlog.RunID) event.BudgetID {
	return event.BudgetID{Scope: event.ScopeOfRun, Name: id.String()}
}

// scopes are the budgets that a call spends from whatever its run.
func scopes(workflowName, agent, day string) []event.BudgetID {
	ids := []event.BudgetID{{Scope: event.ScopeOfDay, Name: day}, event.OfWorkflow("", workflowName)}
	if agent != "" {
		ids = append(ids, event.BudgetID{Scope: event.ScopeOfAgent, Name: agent})
	}
	return ids
}

// tree returns the budgets of the runs that s is under, and its own if others are under
// it, and has their accounts.
func (l *ledger) tree(s *run.State, w *workflow.Workflow) (ids []event.BudgetID) {
	if s.Parent == nil && !hasChildren(w) {
		return nil
	}
	for id := s.Run; !id.IsZero(); {
		own := ofRun(id)
		a := l.accounts[own]
		if a == nil {
			a = l.open(id)
			l.accounts[own] = a
		}
		if id == s.Run { // it is being decided, and may have begun just now
			if s.Limits != nil {
				a.limits = *s.Limits
			}
			if s.Parent != nil {
				a.parent = s.Parent.Run
			}
		}
		ids = append(ids, own)
		id = a.parent
	}
	return ids
}

// open reads what a run and those under it have spent.
func (l *ledger) open(id eventlog.RunID) *account {
	c, own := &l.e.w.costs, ofRun(id)
	a := &account{spent: c.Accounts[own].Spent, at: eventlog.Seq(l.e.w.seen), limits: c.Limits[own], parent: c.Runs[id].Parent}
	for of, held := range c.Held {
		for _, h := range held {
			if g := l.holds[keyOf(of, h)]; g != nil && slices.Contains(h.Of, own) {
				g.ids = append(g.ids, own)
				a.held = a.held.Add(g.spend)
			}
		}
	}
	return a
}

func hasChildren(w *workflow.Workflow) bool {
	return slices.ContainsFunc(w.Nodes, func(n *workflow.Node) bool {
		return n.Kind == workflow.Sub || n.Kind == workflow.Foreach && n.Do == nil
	})
}

func (l *ledger) limitsOf(id event.BudgetID) event.Limits {
	if id.Scope == event.ScopeOfRun {
		return l.accounts[id].limits
	}
	if id.Scope == event.ScopeOfDay {
		id.Name = ""
	}
	return l.limits[id]
}

// grant sets aside what a call may use in every budget beyond its run.
func (l *ledger) grant(s *run.State, w *workflow.Workflow, n *event.Need, at event.Time) (machine.Grant, *allotment) {
	l.load()
	under := l.tree(s, w)
	g := &allotment{key: callKey{s.Run, n.CallID}, spend: n.Spend(), ids: append(scopes(s.Workflow, n.Agent, projection.Day(at)), under...)}
	var short *run.Short
	for _, id := range g.ids {
		a, lim := l.account(id), l.limitsOf(id)
		taken := a.spent.Add(a.held)
		if l.e.w.plant == Overspend {
			taken = a.spent
		}
		if !lim.Allow(taken.Add(g.spend)) {
			if a.held.IsZero() {
				delete(l.waits, g.key)
				return machine.Grant{Over: &event.BudgetExceeded{Budget: id, Limits: lim, Spent: taken}}, nil
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
			l.e.w.count.Waited++
		}
		w.ids, w.need, w.woken = g.ids, g.spend, false
		return machine.Grant{Wait: short}, nil
	}
	delete(l.waits, g.key)
	if g.spend.IsZero() {
		return machine.Grant{}, nil
	}
	l.holds[g.key] = g
	for _, id := range g.ids {
		a := l.accounts[id]
		a.held = a.held.Add(g.spend)
	}
	return machine.Grant{}, g
}

// giveBack takes back grants whose append failed.
func (l *ledger) giveBack(grants []*allotment) {
	if len(grants) == 0 || l.e.w.plant == KeepFailed {
		return
	}
	for _, g := range grants {
		if l.holds[g.key] == g {
			l.release(g)
		}
	}
	l.wake()
}

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
	mine := false
	for i := range events {
		switch p := events[i].Payload.(type) {
		case *event.CostSettled:
			if mine = true; l.loaded {
				l.settled(s, p, last-eventlog.Seq(len(events)-1-i))
			}
		case *event.BudgetRaised:
			mine = true
			if a := l.accounts[p.Budget]; a != nil && p.Budget == s.OwnBudget() {
				a.limits = p.Limits
			}
		case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			mine = true
			maps.DeleteFunc(l.waits, func(k callKey, _ *waitingCall) bool { return k.run == s.Run })
		}
	}
	if !mine || !l.loaded {
		return
	}
	l.wake()
	if own := ofRun(s.Run); s.Status.Terminal() && l.accounts[own] != nil && l.accounts[own].held.IsZero() {
		delete(l.accounts, own)
	}
}

// settled frees what was set aside for a call, and charges what it used.
func (l *ledger) settled(s *run.State, p *event.CostSettled, seq eventlog.Seq) {
	ids := append(scopes(s.Workflow, p.Agent, projection.Day(p.Since)), l.under(s)...)
	for k := (callKey{s.Run, p.CallID}); k.Turn == p.Turn || p.Turn == 0 && k.Turn < maxTurns; k.Turn++ {
		g := l.holds[k]
		if g == nil {
			continue
		}
		if k.Turn == p.Turn {
			ids = g.ids
		}
		l.release(g)
		if l.e.w.plant == FreeTwice {
			l.release(g)
		}
	}
	for _, id := range ids {
		if a := l.account(id); seq > a.at {
			a.spent = a.spent.Add(p.Charged())
		}
	}
}

// under returns the accounts of a run and of those that it is under, as far as they are
// open.
func (l *ledger) under(s *run.State) (ids []event.BudgetID) {
	if l.accounts[ofRun(s.Run)] != nil {
		ids = append(ids, ofRun(s.Run))
	}
	if s.Parent == nil {
		return ids
	}
	for id := s.Parent.Run; !id.IsZero(); {
		a := l.accounts[ofRun(id)]
		if a == nil {
			return ids
		}
		ids = append(ids, ofRun(id))
		id = a.parent
	}
	return ids
}

// wake wakes the runs whose calls may be made by now, the longest waiting first.
func (l *ledger) wake() {
	if len(l.waits) == 0 {
		return
	}
	promised := map[event.BudgetID]event.Spend{}
	var woken []eventlog.RunID
	for _, k := range slices.SortedFunc(maps.Keys(l.waits), func(a, b callKey) int { return cmp.Compare(l.waits[a].number, l.waits[b].number) }) {
		w := l.waits[k]
		if w.woken || !l.mayGo(w, promised) {
			continue
		}
		for _, id := range w.ids {
			promised[id] = promised[id].Add(w.need)
		}
		w.woken = true
		if !slices.Contains(woken, k.run) {
			woken = append(woken, k.run)
		}
	}
	for _, id := range woken {
		l.e.step(func() { l.e.insist(id, "system", machine.Wake{}, func() { l.woke(id) }) })
	}
}

// woke notes that a run was woken. Calls of it that did not ask again no longer wait.
func (l *ledger) woke(id eventlog.RunID) {
	maps.DeleteFunc(l.waits, func(k callKey, w *waitingCall) bool { return k.run == id && w.woken })
	l.wake()
}

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

// check holds the ledger against what the log says: it is that, and what was granted for
// appends that wait for their commit.
func (l *ledger) check() {
	if !l.loaded {
		return
	}
	granted := map[event.BudgetID]event.Spend{}
	for _, p := range l.e.log.batch {
		for _, g := range p.grants {
			for _, id := range g.ids {
				granted[id] = granted[id].Add(g.spend)
			}
		}
	}
	var wrong []string
	for id, a := range l.accounts {
		c := l.e.w.costs.Accounts[id]
		if held := c.Held.Add(granted[id]); a.spent != c.Spent || a.held != held {
			wrong = append(wrong, fmt.Sprintf("of %s %+v is spent and %+v set aside; the log says %+v and %+v", id, a.spent, a.held, c.Spent, held))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		l.e.w.broken(fmt.Errorf("the ledger is not the fold of the log: %s", strings.Join(wrong, "; ")))
	}
	l.e.w.count.Ledgers++
}
