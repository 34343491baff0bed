package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// commandOf returns the command that a decision was made on, from the events it
// led to. What came from outside is in the first of them, the fact; of attempts
// that were lost, and timers that were due together, in the first few. s is the
// state before. An error says that no command begins with such an event.
//
// Two things that a runner says are not in the log as such: that a further
// attempt makes sense, and not before when. Both show in what was decided for the
// failure and are taken from there.
//
// After a decision that was cut at the bounds of one, the rest may follow as a
// decision of its own, which no fact begins.
func commandOf(s *run.State, events []entry, cut bool) (machine.Meta, machine.Command, error) {
	first := events[0]
	m := machine.Meta{At: event.Time(first.Time), Actor: first.Actor}
	if given := givesUp(events); cut && !given && !outside(s, first.p) {
		return m, machine.Continue{}, nil
	}
	switch p := first.p.(type) {
	case *event.RunCreated:
		m.Key = p.Key
		return m, machine.Start{Namespace: p.Namespace, Version: p.Version, Input: p.Input, Labels: p.Labels, Env: p.Env, Parent: p.Parent, Depth: p.Depth, Budget: p.Budget, Metered: p.Limits != nil, Breakpoints: p.Breakpoints}, nil
	case *event.RunForked:
		m.Key = p.Key
		return m, forkOf(p, events[1:]), nil
	case *event.NodeCompleted:
		if due(s, p.Node, p.Visit) {
			return m, machine.Wake{}, nil
		}
		return m, resultOf(p), nil
	case *event.NodeFailed:
		if due(s, p.Node, p.Visit) {
			return m, machine.Wake{}, nil
		}
		return m, failureOf(p), nil
	case *event.ChatTurn:
		return m, turnOf(p), nil
	case *event.PlanMade:
		return m, planOf(p), nil
	case *event.ToolCalled:
		return m, machine.Note{Call: *p}, nil
	case *event.ResultIgnored:
		return m, machine.Result{Node: p.Node, Visit: p.Visit, Attempt: p.Attempt, Usage: p.Usage}, nil
	case *event.TimerFired:
		return m, machine.Wake{}, nil
	case *event.AgentChosen, *event.NodeStarted, *event.ChildStarted:
		if machine.Rings(s, m.At) { // a waking run would have fired its timer first: it was taken up
			return m, machine.Continue{}, nil
		}
		return m, machine.Wake{}, nil
	case *event.CostReserved:
		return m, reserveOf(p.Need, nil), nil
	case *event.BudgetExceeded:
		return m, reserveOf(p.Need, p.Usage), nil
	case *event.CostSettled:
		return m, machine.Settle{Call: p.CallID, Usage: p.Usage}, nil
	case *event.BudgetRaised:
		m.Key = p.Key
		return m, machine.Raise{Budget: p.Budget, Micros: &p.Limits.Micros, Tokens: &p.Limits.Tokens, Reason: p.Reason}, nil
	case *event.NodeLost:
		return m, lossOf(p, events), nil
	case *event.SignalReceived:
		m.Key = p.Key
		return m, machine.Signal{Name: p.Name, Value: p.Value}, nil
	case *event.InputReceived:
		m.Key = p.Key
		return m, machine.Answer{Node: p.Node, Visit: p.Visit, Value: p.Value}, nil
	case *event.SecurityRequested:
		return m, holdOf(p), nil
	case *event.SecurityGranted:
		m.Key = p.Key
		return m, reviewOf(&p.Review, true, p.Reason), nil
	case *event.SecurityDenied:
		m.Key = p.Key
		return m, reviewOf(&p.Review, false, p.Reason), nil
	case *event.ChildEnded:
		return m, childEndOf(p), nil
	case *event.CheckpointCreated:
		m.Key = p.Key
		return m, machine.Checkpoint{Name: p.Name, To: p.At, Pinned: p.Pinned}, nil
	case *event.CheckpointPruned:
		return m, machine.Prune{Below: p.Below}, nil
	case *event.RunPaused:
		if p.Breakpoint != "" {
			break // no command, but what one led to
		}
		m.Key = p.Key
		return m, machine.Pause{Reason: p.Reason}, nil
	case *event.RunImported:
		return m, machine.Imported{Mark: p}, nil
	case *event.RunResumed:
		m.Key = p.Key
		if p.Retry {
			return m, machine.Retry{Reason: p.Reason}, nil
		}
		return m, machine.Resume{Reason: p.Reason, Set: edits(events[1:]), Rebreak: p.Rebreak, Breakpoints: p.Breakpoints}, nil
	case *event.RunCancelled, *event.RunRestored, *event.NodeSkipped, *event.ChatEnded:
		// Who cancels or restores a run gives up first what is under way.
		for _, e := range events {
			switch p := e.p.(type) {
			case *event.RunCancelled:
				m.Key = p.Key
				return m, machine.Cancel{Reason: p.Reason}, nil
			case *event.RunRestored:
				m.Key = p.Key
				if p.Node != "" {
					return m, machine.Retry{Reason: p.Reason, Node: p.Node, Visit: p.Visit, To: p.To}, nil
				}
				return m, machine.Restore{To: p.To, Name: p.Name, Pause: p.Pause}, nil
			case *event.NodeSkipped, *event.ChatEnded, *event.CostSettled:
				continue
			}
			break
		}
	}
	return m, nil, fmt.Errorf("no command begins with %s", event.KindName(first.Kind))
}

// givesUp reports whether events begin with what is given up because a person ends
// the run or takes it back.
func givesUp(events []entry) bool {
	for _, e := range events {
		switch e.p.(type) {
		case *event.RunCancelled, *event.RunRestored:
			return true
		case *event.NodeSkipped, *event.ChatEnded, *event.CostSettled:
			continue
		}
		break
	}
	return false
}

// outside reports whether an event stands for something from outside, rather than
// following from what is before it.
func outside(s *run.State, p event.Payload) bool {
	running := func(node string, visit int) bool {
		v := s.Live[node]
		return v != nil && v.Visit == visit && v.Status == run.NodeRunning && v.Each == nil && !v.Ordered && v.Attempt > 0
	}
	late := func(node string, visit int) bool {
		v := s.Live[node]
		return v != nil && v.Visit == visit && v.Status == run.NodeScheduled && v.RetryAt != 0
	}
	switch p := p.(type) {
	case *event.RunImported:
		return !s.Status.Terminal() // else it changed nothing
	case *event.NodeCompleted:
		return running(p.Node, p.Visit) || late(p.Node, p.Visit)
	case *event.NodeFailed:
		return running(p.Node, p.Visit) || late(p.Node, p.Visit)
	case *event.AgentChosen:
		return late(p.Node, p.Visit)
	case *event.NodeStarted:
		if v := s.Live[p.Node]; v != nil && v.Agent != nil && v.Agent.Attempt == p.Attempt {
			return false // who does the attempt was chosen at the same moment
		}
		return late(p.Node, p.Visit)
	case *event.ChildStarted:
		return late(p.Node, p.Visit)
	case *event.NodeSkipped:
		return false // who cancels or restores is told by the event that says so
	case *event.RunPaused:
		return p.Breakpoint == "" && (s.Over == nil || s.Over.Told)
	case *event.ToolCalled:
		return running(p.Node, p.Visit)
	case *event.ChatTurn:
		return running(p.Node, p.Visit)
	case *event.ResultIgnored:
		return s.Limits != nil && p.Usage != nil
	case *event.CostReserved:
		return p.Turn > 0
	case *event.BudgetExceeded:
		return p.Turn > 0
	case *event.CostSettled:
		h := s.Hold(p.CallID)
		return h != nil && !h.Due
	case *event.PlanMade:
		return running(p.Node, p.Visit)
	case *event.SecurityRequested:
		return running(p.Node, p.Visit)
	case *event.RunCreated, *event.RunForked, *event.NodeLost, *event.SignalReceived, *event.InputReceived, *event.ChildEnded,
		*event.TimerFired, *event.RunResumed, *event.RunCancelled, *event.RunRestored, *event.BudgetRaised,
		*event.SecurityGranted, *event.SecurityDenied:
		return true
	}
	return false
}

// forkOf returns the fork that a run began with; rest is what follows: first the
// state that it was given.
func forkOf(p *event.RunForked, rest []entry) machine.Fork {
	return machine.Fork{
		From: p.From, At: p.At, Version: p.Version, Input: p.Input, Set: edits(rest), Labels: p.Labels, Env: p.Env, Pause: p.Pause,
		Breakpoints: p.Breakpoints, Metered: p.Limits != nil, Limits: p.Limits,
	}
}

// reserveOf returns the command that a call was reserved on: that of an attempt under
// way, or the end of a wait.
func reserveOf(n event.Need, used *event.Usage) machine.Command {
	if n.Turn > 0 {
		return machine.Reserve{Need: n, Used: used}
	}
	return machine.Wake{}
}

// edits returns the state that a person sets with a command, from the events after
// the command's own; before it stands what completed visits still owed.
func edits(rest []entry) map[string]event.Value {
	var sets map[string]event.Value
	for _, e := range rest {
		set, ok := e.p.(*event.StateSet)
		if !ok || set.Merge || set.Node != "" && len(sets) > 0 {
			break
		}
		if set.Node != "" {
			continue
		}
		if sets == nil {
			sets = map[string]event.Value{}
		}
		sets[set.Key] = set.Value
	}
	return sets
}

// due reports whether a visit waits for an attempt to be due: what it does then
// follows from the time, not from a runner.
func due(s *run.State, node string, visit int) bool {
	v := s.Live[node]
	return v != nil && v.Visit == visit && v.Status == run.NodeScheduled
}

func resultOf(p *event.NodeCompleted) machine.Result {
	r := machine.Result{Node: p.Node, Visit: p.Visit, Attempt: p.Attempt, Value: p.Result, Usage: p.Usage, Sandbox: p.Sandbox}
	if len(p.Set)+len(p.Dropped) > 0 {
		r.Set = make(map[string]event.Value, len(p.Set)+len(p.Dropped))
		for _, kv := range p.Set {
			r.Set[kv.Key] = kv.Value
		}
		for _, k := range p.Dropped {
			r.Set[k] = event.Null
		}
	}
	return r
}

// holdOf returns what had a result held.
func holdOf(p *event.SecurityRequested) machine.Hold {
	r := resultOf(&event.NodeCompleted{Node: p.Node, Visit: p.Visit, Attempt: p.Attempt, Result: p.Result, Set: p.Set, Usage: p.Usage, Sandbox: p.Sandbox})
	return machine.Hold{Result: r, Rule: p.Rule, Message: p.Message}
}

// reviewOf returns the answer that a review was decided on.
func reviewOf(r *event.Review, approved bool, reason string) machine.Answer {
	said := map[string]any{"approved": approved}
	if reason != "" {
		said["reason"] = reason
	}
	return machine.Answer{Node: r.Node, Visit: r.Visit, Value: event.MustValue(said)}
}

// turnOf returns the result that a turn was decided on, as it was understood.
func turnOf(p *event.ChatTurn) machine.Result {
	r := machine.Result{Node: p.Node, Visit: p.Visit, Attempt: p.Attempt, Usage: p.Usage}
	if p.Missed != nil {
		no := false
		f := *p.Missed
		r.Failure, r.Again = &f, &no
		return r
	}
	said := map[string]any{}
	for k, v := range map[string]event.Value{"message": p.Message, "proposal": p.Proposes} {
		if x, err := v.Any(); err == nil && len(v) > 0 {
			said[k] = x
		}
	}
	if p.Vote != "" && !p.Read {
		said["vote"] = p.Vote
	}
	r.Value = event.MustValue(said)
	return r
}

// planOf returns the result that a plan was decided on, as it was understood.
func planOf(p *event.PlanMade) machine.Result {
	tasks := make([]any, len(p.Tasks))
	for i, t := range p.Tasks {
		m := map[string]any{"role": t.Role}
		before := make([]any, len(t.Prerequisites))
		for j, n := range t.Prerequisites {
			before[j] = int64(n)
		}
		m["prerequisites"] = before
		for k, v := range map[string]event.Value{"description": t.Description, "validation": t.Validation} {
			if x, err := v.Any(); err == nil && len(v) > 0 {
				m[k] = x
			}
		}
		tasks[i] = m
	}
	return machine.Result{Node: p.Node, Visit: p.Visit, Attempt: p.Attempt, Usage: p.Usage, Value: event.MustValue(map[string]any{"tasks": tasks})}
}

func failureOf(p *event.NodeFailed) machine.Result {
	f := p.Failure
	again := p.Then == event.ThenRetry
	return machine.Result{
		Node: p.Node, Visit: p.Visit, Attempt: p.Attempt, Usage: p.Usage,
		Failure: &f, Again: &again, After: p.RetryAt, Checkpoint: p.Checkpoint, Sandbox: p.Sandbox,
	}
}

// lossOf returns the recovery that lost the attempts that the events begin with.
func lossOf(p *event.NodeLost, events []entry) machine.Recover {
	var lost []event.NodeLost
	checkpoints := map[string]event.Value{}
	for _, e := range events {
		switch p := e.p.(type) {
		case *event.NodeLost:
			lost = append(lost, *p)
			checkpoints[p.Node] = p.Checkpoint
			continue
		case *event.RunPaused, *event.CostSettled: // lost too often; what was set aside is free
			continue
		}
		break
	}
	return machine.Recover{Reason: p.Reason, Checkpoints: checkpoints, Keep: func(v *run.Visit) bool {
		return !slices.ContainsFunc(lost, func(l event.NodeLost) bool {
			return l.Node == v.Node && l.Visit == v.Visit && l.Attempt == v.Attempt
		})
	}}
}

func childEndOf(p *event.ChildEnded) machine.ChildEnded {
	c := machine.ChildEnded{Node: p.Node, Visit: p.Visit, Child: p.Child, Status: run.Status(p.Status), Output: p.Output}
	if f := p.Failure; f != nil {
		if msg, ok := strings.CutPrefix(f.Message, fmt.Sprintf("child run %s: ", p.Child)); ok {
			c.Failure = &event.Failure{Class: f.Class, Message: msg}
		}
	}
	return c
}
