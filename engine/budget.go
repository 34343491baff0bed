package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Budget is a budget as people see it.
type Budget struct {
	Budget   string       `json:"budget" doc:"run:ID, workflow:NAME, agent:NAME, or day:DATE"`
	Limits   event.Limits `json:"limits" doc:"0 is no limit"`
	Spent    event.Spend  `json:"spent"`
	Reserved event.Spend  `json:"reserved" doc:"set aside for calls that are under way"`
	// Left is nil where nothing is bounded.
	Left *event.Spend `json:"left,omitempty" doc:"of what is bounded"`
}

func budgetOf(id event.BudgetID, l event.Limits, spent, held event.Spend) Budget {
	b := Budget{Budget: id.String(), Limits: l, Spent: spent, Reserved: held}
	if !l.None() {
		left := l.Left(spent.Add(held))
		b.Left = &left
	}
	return b
}

// RaiseRun gives a run's budget other limits; what is nil stays. A run that is paused
// because it was used up goes on, and so do those under it.
func (e *Engine) RaiseRun(ctx context.Context, id eventlog.RunID, micros *event.Micros, tokens *int64, reason string, by By) (Run, error) {
	return e.Do(ctx, id, machine.Raise{Micros: micros, Tokens: tokens, Reason: reason}, by)
}

// SetBudget gives the budget of a workflow, an agent or every day other limits; what is
// nil stays, and 0 is no limit. Runs that are paused because it was used up go on.
func (e *Engine) SetBudget(ctx context.Context, id event.BudgetID, micros *event.Micros, tokens *int64, reason string, by By) (Budget, error) {
	if err := e.accepting(false); err != nil {
		return Budget{}, err
	}
	if id.Scope == event.ScopeOfAgent && e.opt.Agents != nil {
		if a, err := e.opt.Agents.Lookup(id.Name); err == nil {
			id.Name = a.ID
		}
	}
	if n, ok := id.Namespace(); ok {
		reg, _, err := e.defs.find(ctx, n, id.Name, 0)
		if err != nil {
			return Budget{}, err
		}
		id.Name = reg.Name
	}
	l := e.ledger
	l.setting.Lock()
	defer l.setting.Unlock()
	l.mu.Lock()
	err := l.load()
	lim := l.budgets.Limits(id)
	l.mu.Unlock()
	if err != nil {
		return Budget{}, err
	}
	if micros != nil {
		lim.Micros = *micros
	}
	if tokens != nil {
		lim.Tokens = *tokens
	}
	if err := lim.Check(); err != nil {
		return Budget{}, fmt.Errorf("%w: %w", machine.ErrInvalid, err)
	}
	_, err = appendFact(ctx, e.log, event.Budgets, &event.BudgetRaised{Budget: id, Limits: lim, Reason: reason, Key: by.Key}, by.Actor, e.now())
	if e.stored(err) != nil {
		return Budget{}, err
	}
	l.mu.Lock()
	l.wake(l.budgets.Set(id, lim))
	b := l.budget(id, e.now())
	l.mu.Unlock()
	e.spawn(func() { e.resumeOver(id, lim) })
	return b, nil
}

// budget returns a budget as it stands. Called with mu held.
func (l *ledgerKeeper) budget(id event.BudgetID, now event.Time) Budget {
	if id.Scope == event.ScopeOfDay && id.Name == "" {
		id.Name = projection.Day(now)
	}
	a := l.budgets.Accounts[id]
	if a == nil {
		a = &ledger.Account{}
	}
	return budgetOf(id, l.budgets.Limits(id), a.Spent, a.Held)
}

// Budgets returns the budgets beyond one run that have limits, and what is spent of
// them: all there are, or those of the workflows of one namespace.
func (e *Engine) Budgets(ctx context.Context, only *event.Namespace) ([]Budget, error) {
	l := e.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(); err != nil {
		return nil, err
	}
	ids := map[event.BudgetID]bool{}
	for _, id := range l.budgets.Budgets() {
		ids[id] = true
	}
	if e.opt.Agents != nil {
		for _, name := range e.opt.Agents.IDs() {
			if a, err := e.opt.Agents.Lookup(name); err == nil && a.Budget != nil {
				ids[event.BudgetID{Scope: event.ScopeOfAgent, Name: a.ID}] = true
			}
		}
	}
	list := []Budget{}
	for _, id := range sortedBudgets(ids) {
		if n, ok := id.Namespace(); only != nil && (!ok || n != *only) {
			continue
		}
		if b := l.budget(id, e.now()); !b.Limits.None() {
			list = append(list, b)
		}
	}
	return list, nil
}

func sortedBudgets(ids map[event.BudgetID]bool) []event.BudgetID {
	return slices.SortedFunc(maps.Keys(ids), func(a, b event.BudgetID) int {
		return cmp.Or(strings.Compare(a.Scope, b.Scope), strings.Compare(a.Name, b.Name))
	})
}

// resumeOver lets the runs go on that are paused because a budget was used up. A run
// that still does not fit is paused again.
func (e *Engine) resumeOver(id event.BudgetID, lim event.Limits) {
	ctx := context.Background()
	e.insist(func() error {
		for row, err := range e.inStatus(ctx, run.Paused) {
			if err != nil {
				return err
			}
			if row.Over != id && (row.Over.Scope != id.Scope || id.Scope != event.ScopeOfDay) {
				continue
			}
			err := e.runs.do(ctx, row.ID, &request{internal: true, meta: machine.Meta{At: e.now(), Actor: system}, cmd: machine.Raise{Budget: row.Over, Micros: &lim.Micros, Tokens: &lim.Tokens}})
			if err != nil && !refusal(err) && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// resumeRaised lets the runs go on that are paused because a budget was used up which
// has other limits by now: it was raised while they were about to pause, or just before
// a crash.
func (e *Engine) resumeRaised(ctx context.Context) {
	for row, err := range e.inStatus(ctx, run.Paused) {
		switch {
		case err != nil && ctx.Err() == nil:
			e.slog.Error("cannot look for runs whose budget was raised", "error", err)
		case err == nil && row.Over != (event.BudgetID{}):
			e.insist(func() error { return e.resumeIfRaised(ctx, row.ID) })
		}
	}
}

// resumeIfRaised is resumeRaised for one run. Nothing is recorded if the budget still has
// the limits that the run was paused at.
func (e *Engine) resumeIfRaised(ctx context.Context, id eventlog.RunID) error {
	var over event.BudgetExceeded
	err := e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) {
		if o := s.Over; o != nil && o.Told && s.Status == run.Paused && o.Budget != s.OwnBudget() {
			over = o.BudgetExceeded
		}
	})
	if err != nil || over.Budget == (event.BudgetID{}) {
		return err
	}
	now, err := e.limitsNow(ctx, over.Budget)
	if err != nil || now.Micros == over.Limits.Micros && now.Tokens == over.Limits.Tokens {
		return err
	}
	return e.runs.do(ctx, id, &request{internal: true, meta: machine.Meta{At: e.now(), Actor: system}, cmd: machine.Raise{Budget: over.Budget, Micros: &now.Micros, Tokens: &now.Tokens}})
}

// limitsNow returns the limits that a budget has.
func (e *Engine) limitsNow(ctx context.Context, id event.BudgetID) (event.Limits, error) {
	var lim event.Limits
	if id.Scope == event.ScopeOfRun {
		of, err := eventlog.ParseRunID(id.Name)
		if err == nil {
			err = e.look(ctx, of, func(s *run.State, _ *workflow.Workflow) { lim = s.OwnLimits() })
		}
		return lim, err
	}
	l := e.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.load()
	if err == nil {
		lim = l.budgets.Limits(id)
	}
	return lim, err
}

// keepDays lets the runs go on, when a day begins, that are paused because the budget of
// a day before was used up, until ctx ends.
func (e *Engine) keepDays(ctx context.Context) {
	for today := ""; ; {
		now := e.opt.Now().UTC()
		if d := projection.Day(event.At(now)); d != today {
			today = d
			e.resumeDays(ctx, today)
		}
		next := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
		select {
		case <-time.After(min(next, dayCheck)):
		case <-ctx.Done():
			return
		}
	}
}

// dayCheck is how often it is looked whether another day has begun: clocks are set, and
// machines sleep.
const dayCheck = time.Minute

func (e *Engine) resumeDays(ctx context.Context, today string) {
	for row, err := range e.inStatus(ctx, run.Paused) {
		switch {
		case err != nil && ctx.Err() == nil:
			e.slog.Error("cannot look for runs that waited for another day", "error", err)
		case err == nil && row.Over.Scope == event.ScopeOfDay && row.Over.Name < today:
			e.post(row.ID, machine.Meta{Actor: system}, machine.Raise{Budget: row.Over, Reason: "another day has begun"})
		}
	}
}

// releaseDead frees what a former process had set aside for calls that were given up:
// nobody is left to tell what they used. What was set aside for attempts of live visits
// is freed with those, which are lost. holds are those of the ledger as this process
// found it: of calls that it has begun itself, somebody will tell.
func (e *Engine) releaseDead(holds []projection.Hold) {
	for i := range holds {
		h := &holds[i]
		e.post(h.Run, machine.Meta{Actor: system}, machine.Settle{Call: h.Call})
	}
}

// settleGivenUp settles the calls of a visit that was given up and that nobody works on:
// they had not begun, or their end is not known here.
func (e *Engine) settleGivenUp(s *run.State, node string, visit int) {
	for i := range s.Holds {
		if h := &s.Holds[i]; h.Node == node && h.Visit == visit && !h.Due {
			e.post(s.Run, machine.Meta{Actor: system}, machine.Settle{Call: h.CallID})
		}
	}
}

// Cost is what a run has spent, and what its budget leaves.
type Cost struct {
	Spent    event.Spend   `json:"spent"`
	Reserved event.Spend   `json:"reserved"`
	Limits   *event.Limits `json:"limits,omitempty" doc:"of the run's own budget; absent: there is none"`
	Left     *event.Spend  `json:"left,omitempty" doc:"of what is bounded"`
	// Over names the budget that the run is paused for.
	Over string `json:"over,omitempty" doc:"the budget that is used up, of a run that is paused for it"`
}

func costOf(s *run.State) *Cost {
	if s.Limits == nil {
		return nil
	}
	c := &Cost{Spent: s.Spent, Reserved: s.Reserved()}
	if !s.Limits.None() {
		l, left := *s.Limits, s.Limits.Left(s.Taken())
		c.Limits, c.Left = &l, &left
	}
	if o := s.Over; o != nil && s.Status == run.Paused {
		c.Over = o.Budget.String()
	}
	return c
}
