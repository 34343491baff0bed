package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/invariant"
	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// ledgerKeeper keeps the ledger of a process, as that of package engine does: what is
// there read from the views is read from the costs of the log, which are theirs. Bugs are
// planted here, around a ledger that is the real one.
type ledgerKeeper struct {
	e       *engine
	loaded  bool
	setting bool // the limits of a budget are on their way to the log
	budgets *ledger.Ledger
}

func newLedger(e *engine) *ledgerKeeper {
	k := &ledgerKeeper{e: e}
	k.budgets = ledger.New(k)
	return k
}

// load reads the views, once.
func (k *ledgerKeeper) load() {
	if k.loaded {
		return
	}
	k.loaded = true
	c := &k.e.w.costs
	spent, limits := map[event.BudgetID]event.Spend{}, map[event.BudgetID]event.Limits{}
	var holds []*ledger.Hold
	for id, a := range c.Accounts {
		if id.Scope != event.ScopeOfRun {
			spent[id] = a.Spent
		}
	}
	for id, lim := range c.Limits {
		if id.Scope != event.ScopeOfRun {
			limits[id] = lim
		}
	}
	for a, held := range c.Held {
		for _, r := range held {
			h := &ledger.Hold{Call: callOf(a, r), Spend: r.Spend}
			for _, id := range r.Of {
				if id.Scope != event.ScopeOfRun {
					h.Of = append(h.Of, id)
				}
			}
			holds = append(holds, h)
		}
	}
	k.budgets.Load(eventlog.Seq(k.e.w.seen), spent, limits, holds)
}

func callOf(a invariant.Attempt, r invariant.Reserved) ledger.Call {
	return ledger.Call{Run: a.Run, CallID: event.CallID{Node: a.Node, Visit: a.Visit, Attempt: a.Attempt, Turn: r.Turn}}
}

// Tree implements [ledger.Source].
func (k *ledgerKeeper) Tree(id eventlog.RunID, s *run.State) (ledger.Tree, error) {
	c, own := &k.e.w.costs, event.OfRun(id)
	t := ledger.Tree{Spent: c.Accounts[own].Spent, At: eventlog.Seq(k.e.w.seen), Limits: c.Limits[own], Parent: c.Runs[id].Parent}
	if id == s.Run && s.Parent != nil { // it may have begun just now
		t.Parent = s.Parent.Run
	}
	for of, held := range c.Held {
		for _, r := range held {
			if slices.Contains(r.Of, own) {
				t.Calls = append(t.Calls, callOf(of, r))
			}
		}
	}
	return t, nil
}

// Standing implements [ledger.Source].
func (k *ledgerKeeper) Standing(event.BudgetID) event.Limits { return event.Limits{} }

// Delegates implements [ledger.Source].
func (k *ledgerKeeper) Delegates() bool { return false }

// grant sets aside what a call may use in every budget beyond its run.
func (k *ledgerKeeper) grant(s *run.State, w *workflow.Workflow, n *event.Need, at event.Time) (machine.Grant, *ledger.Hold) {
	k.load()
	waited := k.budgets.Waiting()
	if k.e.w.plant == Overspend {
		defer k.forget()()
	}
	said, h, err := k.budgets.Grant(s, w, n, at)
	if err != nil {
		k.e.w.broken(err)
	}
	if k.budgets.Waiting() > waited {
		k.e.w.count.Waited++
	}
	return said, h
}

// forget has the ledger forget what is set aside, until what it returns is called.
func (k *ledgerKeeper) forget() (remember func()) {
	held := map[*ledger.Account]event.Spend{}
	for _, a := range k.budgets.Accounts {
		held[a], a.Held = a.Held, event.Spend{}
	}
	return func() {
		for a, h := range held {
			a.Held = a.Held.Add(h)
		}
	}
}

// giveBack takes back grants whose append failed.
func (k *ledgerKeeper) giveBack(grants []*ledger.Hold) {
	if len(grants) > 0 && k.e.w.plant != KeepFailed {
		k.wake(k.budgets.GiveBack(grants))
	}
}

// committed takes in what a run's events that are on disk by now say of cost.
func (k *ledgerKeeper) committed(s *run.State, events []machine.Event, last eventlog.Seq) {
	if !k.loaded || !ledger.Concerned(events) {
		return
	}
	if k.e.w.plant == FreeTwice {
		defer k.freeTwice(maps.Clone(k.budgets.Holds))
	}
	k.wake(k.budgets.Committed(s, events, last))
}

// freeTwice frees for a second time what is set aside no more.
func (k *ledgerKeeper) freeTwice(before map[ledger.Call]*ledger.Hold) {
	for c, h := range before {
		if k.budgets.Holds[c] == h {
			continue
		}
		for _, id := range h.Of {
			if a := k.budgets.Accounts[id]; a != nil {
				a.Held = a.Held.Sub(h.Spend)
			}
		}
	}
}

// wake wakes runs, whose calls may be made by now.
func (k *ledgerKeeper) wake(runs []eventlog.RunID) {
	for _, id := range runs {
		k.e.step(func() { k.e.insist(id, "system", machine.Wake{}, func() { k.wake(k.budgets.Woke(id)) }) })
	}
}

// check holds the ledger against what the log says: it is that, and what was granted for
// appends that wait for their commit.
func (k *ledgerKeeper) check() {
	if !k.loaded {
		return
	}
	granted := map[event.BudgetID]event.Spend{}
	for _, p := range k.e.log.batch {
		for _, h := range p.grants {
			for _, id := range h.Of {
				granted[id] = granted[id].Add(h.Spend)
			}
		}
	}
	var wrong []string
	for id, a := range k.budgets.Accounts {
		c := k.e.w.costs.Accounts[id]
		if held := c.Held.Add(granted[id]); a.Spent != c.Spent || a.Held != held {
			wrong = append(wrong, fmt.Sprintf("of %s %+v is spent and %+v set aside; the log says %+v and %+v", id, a.Spent, a.Held, c.Spent, held))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		k.e.w.broken(fmt.Errorf("the ledger is not the fold of the log: %s", strings.Join(wrong, "; ")))
	}
	k.e.w.count.Ledgers++
}
