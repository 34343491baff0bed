package run

import (
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
)

func (s *State) dropTimers(v *Visit) {
	s.Timers = slices.DeleteFunc(s.Timers, func(t Timer) bool { return t.Node == v.Node && t.Visit == v.Visit })
}

func (s *State) timerSet(p *event.TimerSet) error {
	s.Timers = append(s.Timers, Timer{p.Node, p.Visit, p.For, p.At})
	if p.Node == "" {
		return nil
	}
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	if p.For == event.ForChat {
		return nil // which goes on meanwhile
	}
	v.Status = NodeWaiting
	s.setStatus(v)
	return nil
}

func (s *State) timerFired(p *event.TimerFired) error {
	s.Timers = slices.DeleteFunc(s.Timers, func(t Timer) bool {
		return t.Node == p.Node && t.Visit == p.Visit && t.For == p.For
	})
	s.moving()
	if p.Node == "" {
		s.Expired = true
		return nil
	}
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.Fired = p.For
	return nil
}
