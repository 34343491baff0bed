package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// dispatch lets out what follows from events that are on disk. If we crash
// before or in the middle of it, the next start finds the same work in the log.
// fresh says that the run had not moved since the engine was started: what it has
// under way besides these events is then taken up too. It runs on the run's owner and never waits.
func (e *Engine) dispatch(l *loaded, events []machine.Event, fresh bool, m *meter) {
	if len(events) > 0 {
		e.watchers.of(l.id).changed(l.state, l.wf, e)
		e.triggers.committed()
	}
	if !e.running() {
		return
	}
	s := l.state
	for i := range events {
		switch p := events[i].Payload.(type) {
		case *event.NodeStarted:
			if v := s.Live[p.Node]; !p.Each && v != nil && v.Visit == p.Visit && v.Attempt == p.Attempt && v.Status == run.NodeRunning {
				if j := e.sched.add(e.task(l, v, m)); j != nil {
					l.begun = append(l.begun, j)
				}
			}
		case *event.ChatEnded:
			if !e.sched.cancel(s.Run, p.Node, p.Visit) { // a turn may be under way
				e.settleGivenUp(s, p.Node, p.Visit)
			}
		case *event.NodeSkipped:
			if !e.sched.cancel(s.Run, p.Node, p.Visit) {
				e.settleGivenUp(s, p.Node, p.Visit)
			}
			if child := events[i].Child; !child.IsZero() {
				e.tend(event.Parent{Run: s.Run, Node: p.Node, Visit: p.Visit}, child)
			}
		case *event.ChildStarted:
			e.tend(event.Parent{Run: s.Run, Node: p.Node, Visit: p.Visit}, p.Child)
		case *event.RunPaused, *event.RunResumed:
			e.sched.paused(s, s.Status == run.Paused)
			e.tendChildren(s)
			if o := s.Over; o != nil && s.Status == run.Paused && o.Budget != s.OwnBudget() {
				id := s.Run // the budget may have been raised since it was asked
				e.spawn(func() { e.insist(func() error { return e.resumeIfRaised(context.Background(), id) }) })
			}
		case *event.BudgetRaised:
			e.sched.paused(s, s.Status == run.Paused)
			e.tendChildren(s)
			if p.Budget == s.OwnBudget() && (l.wf.HasChildren() || e.delegates()) {
				e.spawn(func() { e.resumeOver(p.Budget, p.Limits) })
			}
		case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			if s.Parent != nil {
				e.tend(*s.Parent, s.Run)
			}
			e.triggers.ended(s.Run)
		}
	}
	if fresh {
		e.tendChildren(s)
		e.offerAll(s, l.wf)
	}
	if len(events) > 0 || fresh {
		at, ok := machine.Due(s)
		e.clock.arm(s.Run, at, ok)
	}
}

// bare returns the task of a visit's attempt without its settings.
func bare(s *run.State, w *workflow.Workflow, v *run.Visit) agent.Task {
	n := machine.NodeOf(w, v)
	return agent.Task{
		Run: s.Run, Namespace: s.Namespace, Workflow: w.Name, Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Depth: s.Depth,
		Kind: n.Kind, Def: n, Timeout: n.Timeout,
	}
}

// task returns the job of a visit's attempt, its settings evaluated unless it is for a
// worker: as they were when what it may use was measured, which is when it began.
func (e *Engine) task(l *loaded, v *run.Visit, m *meter) *job {
	n := machine.NodeOf(l.wf, v)
	if e.remote(l.wf, n) {
		return e.forWorkers(l.state, l.wf, v)
	}
	j := &job{priority: n.Def.Priority}
	if t := m.measured(l.state, v); t != nil {
		j.task = *t
	} else {
		j.task = bare(l.state, l.wf, v)
		j.task.Agent = e.chosen(v)
		e.describe(&j.task, l.state, l.wf, v)
		j.answer = e.evaluate(&j.task, l.state, l.wf, v)
	}
	j.queue, j.limit = agentQueue(j.task.Agent, n)
	j.task.Traceparent = e.traceparent(l.state, v)
	return j
}

// describe fills in what a model is told besides the settings.
func (e *Engine) describe(t *agent.Task, s *run.State, w *workflow.Workflow, v *run.Visit) {
	if t.Attempt > 1 {
		t.Before = v.Failure
	}
	t.Part = partOf(s, v)
	switch n := t.Def; {
	case t.Part != nil:
	case n.Kind == workflow.Agent, n.Kind == workflow.Converge:
		t.Asks = w.Asks(n)
	case n.Kind == workflow.Chat:
		t.Timeout, t.Turn = n.Chat.TurnTimeout, turnOf(n, v)
	}
}

// evaluate evaluates the settings of a visit's task. It returns the answer of a task
// whose settings cannot be evaluated, nil of any other.
func (e *Engine) evaluate(t *agent.Task, s *run.State, w *workflow.Workflow, v *run.Visit) *agent.Answer {
	var secrets *withSecrets // nil: no setting sees any variable
	given, err := machine.Evaluate(w, s, v, func(vars expr.Vars) expr.Vars {
		secrets = &withSecrets{Vars: vars, store: e.opt.Secrets}
		return secrets
	})
	t.Input, t.Prompt, t.Settings = given.Input, given.Prompt, given.Settings
	if err == nil {
		return nil
	}
	f := secrets.failure(err)
	return &f
}

// withSecrets adds the variable secrets, which only the settings of tasks see.
type withSecrets struct {
	expr.Vars
	store   *secret.Store
	refused map[string]error // by name: why there is no value
}

// Var implements expr.Vars.
func (w *withSecrets) Var(name string) (any, bool) {
	if name == "secrets" {
		return secretVars{w}, true
	}
	return w.Vars.Var(name)
}

// failure is the answer of a task whose settings cannot be evaluated.
func (w *withSecrets) failure(err error) agent.Answer {
	var missing *expr.MissingError
	if w != nil && errors.As(err, &missing) {
		if name, ok := strings.CutPrefix(missing.Name, "secrets."); ok && w.refused[name] != nil {
			return agent.Fail(event.ClassAuth, "%v", w.refused[name])
		}
	}
	return agent.Fail(event.ClassInternal, "%v", err)
}

type secretVars struct{ *withSecrets }

// Get implements expr.Object.
func (s secretVars) Get(key string) (any, bool) {
	v, err := s.store.Get(key)
	if err != nil {
		if s.refused == nil {
			s.refused = map[string]error{}
		}
		s.refused[key] = err
	}
	return v, err == nil
}

// Keys implements expr.Object: secrets are not listed.
func (secretVars) Keys() []string { return nil }
