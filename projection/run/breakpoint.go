package run

import (
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
)

// Place is where a run comes to a breakpoint.
type Place struct {
	Node  string
	Visit int
	To    string // before the visit's edge to this node is taken; "": before the visit begins
}

func (s *State) paused(p *event.RunPaused) {
	s.Status, s.Reason, s.Break = Paused, p.Reason, nil
	if s.Over != nil {
		s.Over.Told = true
	}
	if p.Breakpoint != "" {
		s.Break = &Place{p.Node, p.Visit, p.To}
	}
	s.key(p.Key)
}

// pass lets the run go past the breakpoint that it was paused at, once.
func (s *State) pass() {
	if s.Break != nil {
		s.Passed = append(s.Passed, *s.Break)
	}
	s.Break = nil
}

// passed forgets what a breakpoint was passed for, once that has happened: the
// visit begins or, with edges, its edges are taken.
func (s *State) passed(node string, edges bool) {
	s.Passed = slices.DeleteFunc(s.Passed, func(p Place) bool { return p.Node == node && (p.To != "") == edges })
	if len(s.Passed) == 0 {
		s.Passed = nil // as a snapshot has it
	}
}
