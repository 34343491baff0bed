package replay

import (
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// step tells one visit.
func (x *explainer) step(t *trace) Step {
	m := x.moments[t.begin]
	st := Step{VisitKey: t.key, Version: m.Version, Seq: m.Seq, Began: m.When(), Status: run.NodeScheduled, Came: []Came{}}
	if m.Run != x.out.Run {
		st.Run = &m.Run
	}
	for _, from := range t.inputs {
		if c, ok := x.came(t, from); ok {
			st.Came = append(st.Came, c)
		}
	}
	for _, i := range t.events {
		m := x.moments[i]
		st.Events = append(st.Events, m.Seq)
		x.tell(&st, i, m)
	}
	return st
}

// came returns the edge over which a visit came from another. Of an item of a
// foreach there is none.
func (x *explainer) came(t *trace, from VisitKey) (Came, bool) {
	edges := x.edges[from]
	for i := len(edges) - 1; i >= 0; i-- {
		m := x.moments[edges[i]]
		p := m.p.(*event.EdgeTaken)
		if p.To != t.key.Node || edges[i] > t.begin {
			continue
		}
		c := Came{VisitKey: from, Version: m.Version, Outcome: p.Outcome, Failure: p.Failure}
		for _, e := range p.Evals {
			c.Tested = append(c.Tested, x.tested(edges[i], e))
		}
		return c, true
	}
	return Came{}, false
}

// tested tells a condition that was evaluated at moment i.
func (x *explainer) tested(i int, e event.Eval) Tested {
	t := Tested{To: e.To, If: e.If, Met: e.Met, Err: e.Err}
	for _, r := range e.Reads {
		read := Read{Read: r}
		if key, ok := stateKey(r.Name); ok {
			if w := x.writer(i, key); w >= 0 {
				m := x.moments[w]
				read.Set, read.Seq = m.Version, m.Seq
				if k, ok := visitKey(m.p); ok {
					read.From = &k
				} else if isEdit(m.p.(*event.StateSet)) {
					read.By = m.Actor
				}
			}
		}
		t.Reads = append(t.Reads, read)
	}
	return t
}

// writer returns the moment at which the value was written that moment i read
// under a key, -1 if none was.
func (x *explainer) writer(i int, key string) int {
	by, branch := x.moments[i].writers[key]
	before := i // what was written before it, every branch sees
	for !branch && before > 0 && x.moments[before-1].forked {
		before--
	}
	for i--; i >= 0; i-- {
		p, ok := x.moments[i].p.(*event.StateSet)
		if ok && p.Key == key && (isEdit(p) || branch && VisitKey{p.Node, p.Visit} == by || !branch && i < before) {
			return i
		}
	}
	return -1
}

// isEdit reports whether a person set the state, for every branch.
func isEdit(p *event.StateSet) bool { return p.Node == "" && !p.Merge }

// tell adds to a step what one of its events says.
func (x *explainer) tell(st *Step, i int, m moment) {
	switch p := m.p.(type) {
	case *event.AgentChosen:
		st.chosen = p
	case *event.NodeStarted:
		st.Status = run.NodeRunning
		if p.Each {
			st.Items = p.Items
			return
		}
		at := Attempt{Attempt: p.Attempt, Began: m.When(), Outcome: "running"}
		if st.chosen != nil && st.chosen.Attempt == p.Attempt {
			at.Agent = st.chosen.Agent
		}
		st.Attempts = append(st.Attempts, at)
	case *event.NodeCompleted:
		st.Status, st.Ended, st.Result, st.Dropped = run.NodeCompleted, m.When(), p.Result, p.Dropped
		st.Failure, st.Then = nil, ""
		if a := st.attempt(); a != nil {
			a.Outcome, a.Ended, a.Sandbox = "completed", m.When(), p.Sandbox
		}
		if p.Signal != "" {
			st.Signal = x.signal(i, p)
		}
	case *event.PlanMade:
		st.Items = len(p.Tasks)
		if a := st.attempt(); a != nil {
			a.Outcome, a.Ended = "planned", m.When()
		}
	case *event.ChatTurn:
		st.Status = run.NodeScheduled
		if a := st.attempt(); a != nil {
			a.Outcome, a.Ended, a.Speaker, a.Failure = "spoke", m.When(), p.Speaker, p.Missed
			if p.Missed != nil {
				a.Outcome = "missed"
			}
		}
	case *event.NodeFailed:
		f := p.Failure
		st.Status, st.Ended, st.Failure, st.Then = run.NodeFailed, m.When(), &f, p.Then
		if a := st.attempt(); a != nil {
			a.Outcome, a.Ended, a.Failure, a.Sandbox = "failed", m.When(), &f, p.Sandbox
			if p.RetryAt != 0 {
				a.Again = p.RetryAt.Std()
			}
		}
	case *event.NodeRetried:
		st.Status = run.NodeScheduled
	case *event.NodeLost:
		st.Status = run.NodeScheduled
		if a := st.attempt(); a != nil {
			a.Outcome, a.Ended, a.Reason = "lost", m.When(), p.Reason
		}
	case *event.NodeSkipped:
		st.Status, st.Ended, st.Skipped = run.NodeSkipped, m.When(), p.Reason
		st.SkippedBy = x.skippedBy(i, p.Reason)
	case *event.StateSet:
		st.Sets = append(st.Sets, Set{p.Key, p.Value, m.Version})
	case *event.TimerSet:
		st.Status = run.NodeWaiting
	case *event.TimerFired:
		st.Fired = p.For
	case *event.InputRequested:
		st.Status, st.Asked = run.NodeWaiting, p.Prompt
	case *event.InputReceived:
		st.Answer = &Given{Version: m.Version, Time: m.When(), Actor: m.Actor, Value: p.Value}
	case *event.SecurityRequested:
		st.Status, st.Asked = run.NodeWaiting, p.Question()
		if a := st.attempt(); a != nil {
			a.Reason = "its result is held by rule " + p.Rule
		}
	case *event.SecurityGranted:
		st.Answer = &Given{Version: m.Version, Time: m.When(), Actor: m.Actor, Value: reviewOf(&p.Review, true, p.Reason).Value}
	case *event.SecurityDenied:
		st.Answer = &Given{Version: m.Version, Time: m.When(), Actor: m.Actor, Value: reviewOf(&p.Review, false, p.Reason).Value}
	case *event.ChildStarted:
		st.Status, st.Child = run.NodeRunning, &Child{Run: p.Child}
	case *event.ChildEnded:
		st.Child = &Child{p.Child, p.Status, p.Failure}
	}
}

// attempt returns the attempt under way, nil if there is none.
func (st *Step) attempt() *Attempt {
	if n := len(st.Attempts); n > 0 && st.Attempts[n-1].Outcome == "running" {
		return &st.Attempts[n-1]
	}
	return nil
}

// signal returns the signal that the completion at moment i consumed: the oldest
// of its name that no other had.
func (x *explainer) signal(i int, p *event.NodeCompleted) *Given {
	consumed := 0
	for _, m := range x.moments[:i] {
		if c, ok := m.p.(*event.NodeCompleted); ok && c.Signal == p.Signal {
			consumed++
		}
	}
	for _, m := range x.moments[:i] {
		if s, ok := m.p.(*event.SignalReceived); ok && s.Name == p.Signal {
			if consumed == 0 {
				return &Given{Version: m.Version, Time: m.When(), Actor: m.Actor, Name: s.Name, Value: s.Value}
			}
			consumed--
		}
	}
	return nil
}

// skippedBy returns what the visit that moment i skips was given up for.
func (x *explainer) skippedBy(i int, reason string) string {
	for _, m := range x.moments[i:] {
		switch p := m.p.(type) {
		case *event.NodeScheduled:
			if reason == event.SkipJoined {
				return p.Node
			}
		case *event.RunFailed, *event.RunCancelled, *event.RunRestored:
			return event.KindName(m.Kind)
		}
	}
	return ""
}
