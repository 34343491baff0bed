package run

import (
	"fmt"
	"slices"
)

// Lawful returns what is wrong with s: what no history that was decided can give.
// Nothing is the rule; anything is a bug, or a log that was tampered with.
func (s *State) Lawful() (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if s.Status.Terminal() != (s.Ended != 0) {
		bad("it is %s, and its end is %d", s.Status, s.Ended)
	}
	if s.Status.Terminal() && s.Status != Failed && len(s.Live)+len(s.Tokens)+len(s.Halted) > 0 {
		bad("it is %s, and %d visits and %d tokens are under way", s.Status, len(s.Live)+len(s.Halted), len(s.Tokens))
	}
	if s.Status == Failed && len(s.Live) > 0 {
		bad("it has failed, and %d visits are under way", len(s.Live))
	}
	if s.Break != nil && s.Status != Paused {
		bad("it is %s at a breakpoint", s.Status)
	}
	for _, p := range s.Passed {
		if n := s.Nodes[p.Node]; n != nil && p.To == "" && p.Visit <= n.Visits {
			bad("visit %d of %s has begun, and the breakpoint before it is passed", p.Visit, p.Node)
		}
	}
	for id, n := range s.Nodes {
		if n.Completed > n.Visits || n.Counted > n.Visits {
			bad("node %s has completed %d of %d visits, and %d count", id, n.Completed, n.Visits, n.Counted)
		}
		if n.Kept != nil && n.Kept.Each != nil {
			s.lawfulEach(id, n.Kept.Each, 0, bad)
		}
	}
	for _, id := range s.LiveIDs() {
		s.lawfulVisit(id, s.Live[id], bad)
	}
	for _, t := range s.Timers {
		halted := slices.ContainsFunc(s.Halted, func(v *Visit) bool { return v.Node == t.Node && v.Visit == t.Visit })
		if v := s.Live[t.Node]; t.Node != "" && (v == nil || v.Visit != t.Visit) && !halted {
			bad("a timer is set for visit %d of %s, which is not under way", t.Visit, t.Node)
		}
	}
	s.threads(func(t Thread) {
		if slices.ContainsFunc(t.Seen, func(i int) bool { return i < 0 || i >= len(s.Journal) }) {
			bad("a branch has seen %v of %d entries", t.Seen, len(s.Journal))
		}
	})
	slices.Sort(wrong)
	return wrong
}

func (s *State) lawfulVisit(id string, v *Visit, bad func(string, ...any)) {
	n := s.Nodes[id]
	// One that has completed goes on from a restore under its number.
	if v.Node != id || n == nil || n.Visits < v.Visit || n.Visits > v.Visit && v.Status != NodeCompleted {
		bad("visit %d of %s is under way at node %s, which has begun another", v.Visit, v.Node, id)
		return
	}
	if v.SetDone > v.Sets || v.Tried < 0 {
		bad("visit %d of %s has set %d of %d keys in %d attempts", v.Visit, id, v.SetDone, v.Sets, v.Tried)
	}
	if v.Held != nil && v.Status != NodeWaiting {
		bad("visit %d of %s is %s, and its result is held", v.Visit, id, v.Status)
	}
	if v.Item > 0 {
		if of := s.Live[v.Of]; of != nil && (of.Each == nil || of.Visit != v.Visit) { // nil: it was given up, the item is next
			bad("item %s is under way in visit %d of its foreach, which is at %d", id, v.Visit, of.Visit)
		}
		return
	}
	if v.Each != nil {
		s.lawfulEach(id, v.Each, len(s.items(v)), bad)
	}
}

// lawfulEach holds the progress of a foreach with so many items under way.
func (s *State) lawfulEach(id string, e *Each, open int, bad func(string, ...any)) {
	ended := 0
	for _, r := range e.Results {
		if len(r) > 0 {
			ended++
		}
	}
	if e.Ended != ended || e.Open != open || e.Next > len(e.Results) || e.Ended+e.Open+len(e.Again) != e.Next {
		bad("foreach %s has begun %d of %d items: %d ended, %d under way, %d to be done again; there are %d results and %d visits",
			id, e.Next, len(e.Results), e.Ended, e.Open, len(e.Again), ended, open)
	}
}
