package engine

import (
	"context"
	"fmt"
	"sync"

	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// ledgerKeeper keeps the ledger of an engine: it is read from the views when it is first
// asked, and from then on told what the engine commits, which is all there is.
type ledgerKeeper struct {
	e *Engine

	setting sync.Mutex // held while the limits of a budget are set

	mu      sync.Mutex
	loaded  bool
	budgets *ledger.Ledger
}

func newLedger(e *Engine) *ledgerKeeper {
	k := &ledgerKeeper{e: e}
	k.budgets = ledger.New(k)
	return k
}

// load reads the views, once. Called with mu held.
func (k *ledgerKeeper) load() error {
	if k.loaded {
		return nil
	}
	v, err := k.e.views.Ledger(context.Background())
	if err != nil {
		return fmt.Errorf("what was spent so far: %w", err)
	}
	holds := make([]*ledger.Hold, len(v.Holds))
	for i := range v.Holds {
		h := &v.Holds[i]
		holds[i] = &ledger.Hold{Call: ledger.Call{Run: h.Run, CallID: h.Call}, Spend: h.Spend, Of: ledger.Scopes(h.Workflow, h.Agent, h.Since)}
	}
	k.budgets.Load(v.At, v.Costs, v.Limits, holds)
	k.loaded = true
	return nil
}

// Tree implements [ledger.Source].
func (k *ledgerKeeper) Tree(id eventlog.RunID, s *run.State) (ledger.Tree, error) {
	spent, holds, at, err := k.e.views.TreeSpend(context.Background(), id)
	if err != nil {
		return ledger.Tree{}, err
	}
	if id != s.Run { // its owner may be at work: the log has it too
		if s, err = k.e.snapshots.load(k.e.log, id); err != nil {
			return ledger.Tree{}, err
		}
	}
	t := ledger.Tree{Spent: spent, At: at, Limits: s.OwnLimits()}
	for i := range holds {
		t.Calls = append(t.Calls, ledger.Call{Run: holds[i].Run, CallID: holds[i].Call})
	}
	if s.Parent != nil {
		t.Parent = s.Parent.Run
	}
	return t, nil
}

// Standing implements [ledger.Source]: an agent's budget is in its file.
func (k *ledgerKeeper) Standing(id event.BudgetID) event.Limits {
	if id.Scope == event.ScopeOfAgent && k.e.opt.Agents != nil {
		if a, err := k.e.opt.Agents.Lookup(id.Name); err == nil && a.Budget != nil {
			return event.Limits{Micros: event.Micros(a.Budget.MicroUSD), Tokens: a.Budget.Tokens}
		}
	}
	return event.Limits{}
}

// Delegates implements [ledger.Source].
func (k *ledgerKeeper) Delegates() bool { return k.e.delegates() }

// grant sets aside what a call may use in every budget beyond its run.
func (k *ledgerKeeper) grant(s *run.State, w *workflow.Workflow, n *event.Need, at event.Time) (machine.Grant, *ledger.Hold, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.load(); err != nil {
		return machine.Grant{}, nil, err
	}
	return k.budgets.Grant(s, w, n, at)
}

// giveBack takes back grants whose append failed.
func (k *ledgerKeeper) giveBack(grants []*ledger.Hold) {
	if len(grants) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wake(k.budgets.GiveBack(grants))
}

// committed takes in what a run's events that are on disk by now say of cost.
func (k *ledgerKeeper) committed(s *run.State, events []machine.Event, last eventlog.Seq) {
	if !ledger.Concerned(events) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded { // else it will be read with the rest
		k.wake(k.budgets.Committed(s, events, last))
	}
}

// wake wakes runs, whose calls may be made by now. Called with mu held.
func (k *ledgerKeeper) wake(runs []eventlog.RunID) {
	for _, id := range runs {
		k.e.spawn(func() {
			k.e.insist(func() error {
				return k.e.runs.do(context.Background(), id, &request{meta: machine.Meta{At: k.e.now(), Actor: system}, cmd: machine.Wake{}})
			})
			k.mu.Lock()
			defer k.mu.Unlock()
			k.wake(k.budgets.Woke(id))
		})
	}
}
