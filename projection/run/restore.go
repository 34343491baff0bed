package run

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
)

// restored goes back to the position after version p.To. The history is not
// rewritten, and what only ever grows stays: visit numbers, signals consumed,
// what was spent, the keys of commands, the names of checkpoints. Breakpoints stay as
// they are, and the run comes to them again.
func (s *State) restored(p *event.RunRestored) error {
	if s.Past == nil {
		return errors.New("a restore needs the run's past, which this fold was not given")
	}
	if p.To == 0 || p.To >= s.Version {
		return fmt.Errorf("%w: restores version %d", ErrHistory, p.To)
	}
	past, err := s.Past(p.To)
	if err != nil {
		return err
	}
	if past.Version != p.To || past.Run != s.Run {
		return fmt.Errorf("%w: its past stands at version %d", ErrHistory, past.Version)
	}
	now := *s
	*s = *past
	s.Version, s.Seq, s.Time = now.Version, now.Seq, now.Time
	s.Past, s.Other = now.Past, now.Other
	s.Keys, s.Marks, s.Signals, s.Usage = now.Keys, now.Marks, now.Signals, now.Usage
	s.Limits, s.Spent, s.Holds, s.Gone, s.Over = now.Limits, now.Spent, now.Holds, now.Gone, nil
	s.Breaks, s.Break, s.Passed = now.Breaks, nil, nil
	s.Reason, s.Expired = "", false
	for _, v := range s.Halted { // p.To lies between the events that ended the run
		s.Live[v.Node] = v
	}
	s.Output, s.Failure, s.Errors, s.Ended, s.Halted = nil, nil, nil, 0, nil
	for id, n := range now.Nodes {
		m := s.node(id)
		m.Visits, m.Completed = n.Visits, n.Completed
	}
	for _, id := range s.LiveIDs() {
		s.rewind(s.Live[id])
	}
	stale(s.Tokens)
	if p.Node != "" { // as with any retry, a deadline that has passed no longer counts
		s.Timers = slices.DeleteFunc(s.Timers, func(t Timer) bool { return t.Node == "" && t.At <= s.Time })
	}
	s.Status = Running
	if p.Pause {
		s.Status, s.Reason = Paused, "restored to a checkpoint"
	}
	s.key(p.Key)
	return nil
}

// rewind makes a visit that was under way at the restored position begin anew,
// under a number of its own: the old one may have ended since.
func (s *State) rewind(v *Visit) {
	if v.Status == NodeCompleted {
		return // routed from here as it was
	}
	s.dropTimers(v)
	delete(s.Live, v.Node)
	if v.Item == 0 { // the foreach sees to its items
		s.renew(v)
	}
}

// renew makes a visit that is no longer under way begin anew.
func (s *State) renew(v *Visit) {
	switch {
	case v.Each != nil:
		v.Each.rewind()
		s.node(v.Node).Kept = &Visit{Each: v.Each}
	case v.Chat != nil:
		v.Chat.reopen()
		s.node(v.Node).Kept = &Visit{Chat: v.Chat}
	case len(v.Result) > 0 && v.Failure == nil: // answered during a pause
		s.node(v.Node).Kept = &Visit{Result: v.Result}
	}
	s.unconsume(v, true)
	s.node(v.Node).Status = NodeScheduled // as soon as the run goes on
}

// stale notes that a retry cannot take up the visits that failed the branches of
// ts under the numbers they had.
func stale(ts []*Token) {
	for _, t := range ts {
		if t.Source != nil {
			t.Source.Stale = true
			stale(t.Source.Inputs)
		}
	}
}

// rewind makes the items that were under way, or had failed, to be done again.
func (e *Each) rewind() {
	e.Again, e.Failures, e.Open = nil, nil, 0
	if e.Plan != nil {
		e.Next = e.Ended // which begins the others is known from the plan
		return
	}
	for i := range e.Next {
		if len(e.Results[i]) == 0 {
			e.Again = append(e.Again, Redo{Item: i})
		}
	}
}
