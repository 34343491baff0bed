package run

import (
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/projection/event"
)

// restored goes back to the position after version p.To. The history is not
// rewritten, and what only ever grows stays: visit numbers, signals consumed,
// what was spent, the keys of commands, the names of checkpoints.
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
	s.Version, s.Seq, s.Time, s.Past = now.Version, now.Seq, now.Time, now.Past
	s.Keys, s.Marks, s.Signals, s.Usage = now.Keys, now.Marks, now.Signals, now.Usage
	s.Reason = ""
	s.Output, s.Failure, s.Errors, s.Ended, s.Halted = nil, nil, nil, 0, nil
	for id, n := range now.Nodes {
		m := s.node(id)
		m.Visits, m.Completed = n.Visits, n.Completed
	}
	for _, id := range s.LiveIDs() {
		s.rewind(s.Live[id])
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
	if s.Live[v.Node] != v || v.Status == NodeCompleted {
		return // routed from here as it was
	}
	s.dropTimers(v)
	if v.Item > 0 {
		delete(s.Live, v.Node)
		each := s.Live[v.Of].Each
		each.Open--
		each.Again = append(each.Again, v.Item-1)
		return
	}
	if v.Each != nil { // items that have ended are not done again
		n := s.node(v.Node)
		n.Visits++
		v.Visit, v.Attempt = n.Visits, 0
		v.Failure, v.Then, v.Status = nil, "", NodeScheduled
		v.Each.Failure = nil
		return
	}
	delete(s.Live, v.Node)
	s.unconsume(v)
}
