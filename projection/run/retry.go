package run

import (
	"github.com/wfd-dev/wfd/projection/event"
)

func (s *State) resumed(p *event.RunResumed) {
	s.key(p.Key)
	s.pass()
	if p.Rebreak {
		s.Breaks = p.Breakpoints
	}
	s.goOn()
	if !p.Retry {
		return
	}
	s.Failure, s.Errors, s.Ended, s.Expired = nil, nil, 0, false
	if s.Deadline > s.Time {
		s.Timers = append(s.Timers, Timer{For: "run", At: s.Deadline})
	}
	halted, tokens := s.Halted, s.Tokens
	s.Halted, s.Tokens = nil, nil
	var again []*Visit
	for _, v := range halted {
		again = append(again, s.unfail(v)...)
	}
	for _, t := range tokens { // a failure that still waits at a converge is tried again too
		if t.Source != nil {
			again = append(again, s.unfail(t.Source)...)
		} else {
			s.Tokens = append(s.Tokens, t)
		}
	}
	for _, v := range again {
		// Two visits of one node wait at a converge behind a loop: only one can be
		// under way, and the later has superseded the other.
		if o := s.Live[v.Node]; o == nil || o.Visit < v.Visit {
			s.Live[v.Node] = v
			s.setStatus(v)
		}
	}
}

// goOn lets a run go on that was paused. What it was paused for is tried again.
func (s *State) goOn() {
	s.Status, s.Reason, s.Over = Running, "", nil
	for _, v := range s.Live {
		v.Losses = 0
		if v.Then == event.ThenPause {
			v.Then, v.Tried, v.DueAt = event.ThenRetry, 0, s.Time
		}
	}
}

// unfail makes ready again what made v fail: v itself, or, where v only joined
// branches of which some failed, those branches; what had arrived well then
// waits at v again.
func (s *State) unfail(v *Visit) []*Visit {
	if v.Status == NodeCompleted {
		return []*Visit{v} // its edges are owed
	}
	if v.Attempt == 0 && (v.Then == event.ThenRun || v.Then == event.ThenConverge) {
		if again, found := s.unfailInputs(v); found {
			s.unconsume(v, false)
			return again
		}
	}
	if v.Stale {
		s.renew(v)
		return nil
	}
	if v.Then != "" { // what made it fail is not looked at again
		v.Status, v.Result = NodeScheduled, nil
	}
	if v.Status == NodeRunning {
		v.Status = NodeScheduled
	}
	if v.Signal != "" {
		v.Status = NodeWaiting
	}
	v.Failure, v.Errors, v.Then, v.Fired = nil, nil, "", ""
	v.Tried, v.Taken, v.RetryAt, v.Losses = 0, 0, 0, 0
	v.Chat.reopen()
	if v.Each != nil {
		v.Each.Failures = nil
	}
	return []*Visit{v}
}

// unfailInputs makes ready again what made the branches fail that v joined, if any
// did.
func (s *State) unfailInputs(v *Visit) (again []*Visit, found bool) {
	for i, t := range v.Inputs {
		if t.Source != nil {
			t.Source.Thread = s.before(v, i)
			again = append(again, s.unfail(t.Source)...)
			found = true
		}
	}
	return again, found
}
