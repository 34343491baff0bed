package run

import (
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Origin is where a forked run branched off.
type Origin struct {
	Run eventlog.RunID
	At  eventlog.Version
}

// forked begins the run where another stood. Results and state are the other's;
// what was spent there was spent there; what was under way is begun anew.
func (s *State) forked(p *event.RunForked) error {
	if s.Status != Pending || s.Version != 1 {
		return fmt.Errorf("%w: the run exists", ErrHistory)
	}
	if s.Other == nil {
		return errors.New("a fork needs the run it branched off, which this fold was not given")
	}
	past, err := s.Other(p.From, p.At)
	if err != nil {
		return fmt.Errorf("forked from run %s: %w", p.From, err)
	}
	if past.Version != p.At || past.Status.Terminal() {
		return fmt.Errorf("%w: run %s cannot be forked at version %d", ErrHistory, p.From, p.At)
	}
	if past.Namespace != p.Namespace {
		return fmt.Errorf("%w: run %s is of namespace %s, and its fork of %s", ErrHistory, p.From, past.Namespace, p.Namespace)
	}
	now := *s
	*s = *past
	s.Archived = false
	s.Run, s.Version, s.Seq, s.Time = now.Run, now.Version, now.Seq, now.Time
	s.Past, s.Other = now.Past, now.Other
	s.Origin = &Origin{p.From, p.At}
	s.Workflow, s.WFVer, s.Hash = p.Workflow, p.Version, p.Hash
	s.Labels, s.Env, s.Key, s.Created = p.Labels, p.Env, p.Key, s.Time
	s.Breaks, s.Break, s.Passed = p.Breakpoints, nil, nil
	s.Parent, s.Depth, s.Keys, s.Marks, s.Usage = nil, 0, nil, nil, event.Usage{}
	s.Limits, s.Spent, s.Holds, s.Gone, s.Over = p.Limits, event.Spend{}, nil, nil, nil
	s.Output, s.Failure, s.Errors, s.Ended, s.Reason, s.Expired = nil, nil, nil, 0, "", false
	for _, v := range s.Halted { // p.At lies between the events that ended the other run
		s.Live[v.Node] = v
	}
	s.Halted = nil
	for _, id := range p.Anew {
		if v := s.Live[id]; v != nil {
			v.Each, v.Chat = nil, nil
		}
		if n := s.Nodes[id]; n != nil {
			n.Kept = nil
		}
	}
	for _, id := range s.LiveIDs() {
		s.rewind(s.Live[id])
	}
	s.Timers, s.Deadline = nil, p.Deadline
	if p.Deadline != 0 {
		s.Timers = []Timer{{For: "run", At: p.Deadline}}
	}
	if len(p.Input) > 0 {
		s.Input = p.Input
		for _, t := range s.Tokens {
			if t.From == "" {
				t.Result = p.Input
			}
		}
	}
	s.Status = Running
	if p.Pause {
		s.Status, s.Reason = Paused, "forked, and to be looked at first"
	}
	return nil
}

// edit sets a key from outside, for every branch: what they wrote to it before
// no longer counts.
func (s *State) edit(key string, value event.Value) {
	if !s.Forked {
		return
	}
	if s.Base == nil {
		s.Base = Map[event.Value]{}
	}
	s.Base[key] = value
	for i := range s.Journal {
		e := &s.Journal[i]
		var keep []Write
		for _, w := range e.Writes {
			if w.Key != key {
				keep = append(keep, w)
			}
		}
		e.Writes = keep
	}
}
