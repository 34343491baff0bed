package run

import (
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
)

// A Hold is a call of a model that was reserved and is not settled, or one that was
// made without and is yet to be charged. While it is not Due, the call is under way:
// also one whose visit was given up, until somebody tells what it used.
type Hold struct {
	event.CallID
	Agent    string
	Price    *event.Price
	Reserved event.Spend
	Since    event.Time

	Due   bool         // the call has ended, and its cost.settled is owed
	Usage *event.Usage // Due: what it used; nil: nothing is known
}

// Over is a budget that did not allow a call.
type Over struct {
	event.BudgetExceeded
	// Told: what the run does about it was decided.
	Told bool
}

// Short is why a call waits: it does not fit into a budget of which others have set
// something aside.
type Short struct {
	Budget event.BudgetID
	Limits event.Limits
	Taken  event.Spend // spent and set aside
	Need   event.Spend
}

// Why says in words what the call waits for.
func (s *Short) Why() string { return s.Budget.Waits(s.Limits, s.Taken, s.Need) }

// maxGone is how many attempts are remembered whose usage may come late.
const maxGone = 1024

// Reserved is what is set aside for calls.
func (s *State) Reserved() event.Spend {
	var r event.Spend
	for i := range s.Holds {
		r = r.Add(s.Holds[i].Reserved)
	}
	return r
}

// Taken is what was spent and what is set aside.
func (s *State) Taken() event.Spend { return s.Spent.Add(s.Reserved()) }

// OwnBudget names the run's own budget.
func (s *State) OwnBudget() event.BudgetID { return event.OfRun(s.Run) }

// OwnLimits returns what bounds the run itself.
func (s *State) OwnLimits() event.Limits {
	if s.Limits == nil {
		return event.Limits{}
	}
	return *s.Limits
}

// Hold returns what is set aside for a call, nil if nothing is.
func (s *State) Hold(id event.CallID) *Hold {
	for i := range s.Holds {
		if s.Holds[i].CallID == id {
			return &s.Holds[i]
		}
	}
	return nil
}

// Owed returns the settlement that is owed next, nil if none is.
func (s *State) Owed() *event.CostSettled {
	for i := range s.Holds {
		if h := &s.Holds[i]; h.Due {
			return h.Settle(h.Usage)
		}
	}
	return nil
}

// Settle returns what settles a call that has used so much. Usage without a price of
// its own is charged at the one that was reserved.
func (h *Hold) Settle(u *event.Usage) *event.CostSettled {
	p := &event.CostSettled{CallID: h.CallID, Agent: h.Agent, Reserved: h.Reserved, Since: h.Since, Lost: u == nil}
	if u == nil {
		return p
	}
	priced := *u
	if priced.Price == nil {
		priced.Price = h.Price
	}
	if priced.Price != nil {
		p.Micros = priced.Price.Cost(priced)
	}
	p.Usage = &priced
	return p
}

func (s *State) reserved(p *event.CostReserved) {
	s.Holds = append(s.Holds, Hold{CallID: p.CallID, Agent: p.Agent, Price: p.Price, Reserved: p.Spend(), Since: s.Time})
}

// ended notes that an attempt has ended, and what it used. The settlement of all its
// calls that were not settled one by one is then owed, as one.
func (s *State) ended(node string, visit, attempt int, u *event.Usage) {
	if s.Limits == nil {
		return
	}
	id := event.CallID{Node: node, Visit: visit, Attempt: attempt}
	first := -1
	for i := 0; i < len(s.Holds); i++ {
		h := &s.Holds[i]
		switch {
		case h.of() != id || h.Due:
		case first < 0:
			first, h.CallID = i, id
		default:
			s.Holds[first].Reserved = s.Holds[first].Reserved.Add(h.Reserved)
			s.Holds = slices.Delete(s.Holds, i, i+1)
			i--
		}
	}
	if first < 0 && u == nil {
		return
	}
	if first < 0 {
		h := Hold{CallID: id, Since: s.Time}
		if n := s.Nodes[node]; n != nil {
			h.Agent = n.Agent
		}
		s.Holds = append(s.Holds, h)
		first = len(s.Holds) - 1
	}
	s.Holds[first].Due, s.Holds[first].Usage = true, u
}

// of is the attempt that a call is of.
func (h *Hold) of() event.CallID {
	id := h.CallID
	id.Turn = 0
	return id
}

// gone notes that an attempt was given up; should what it used be told later, it is
// charged then.
func (s *State) gone(v *Visit) {
	if s.Limits == nil || v.Attempt == 0 || v.Each != nil {
		return
	}
	if len(s.Gone) >= maxGone {
		s.Gone = slices.Delete(s.Gone, 0, len(s.Gone)-maxGone+1)
	}
	s.Gone = append(s.Gone, event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt})
}

// dropped notes that a visit was given up. An attempt for which something is set aside
// goes on to count as under way: it is called off, and what it used until then is told.
func (s *State) dropped(v *Visit) {
	if v.Status != NodeRunning { // the next attempt was reserved, and never began
		s.ended(v.Node, v.Visit, v.Attempt+1, nil)
		return
	}
	if !slices.ContainsFunc(s.Holds, func(h Hold) bool { return h.of() == (event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt}) }) {
		s.gone(v)
	}
}

// late notes what an attempt used that no longer counts. It is charged unless it was.
func (s *State) late(p *event.ResultIgnored) {
	id := event.CallID{Node: p.Node, Visit: p.Visit, Attempt: p.Attempt}
	held := slices.ContainsFunc(s.Holds, func(h Hold) bool { return h.of() == id && !h.Due })
	i := slices.Index(s.Gone, id)
	if !held && (i < 0 || p.Usage == nil) {
		return
	}
	s.forget(id)
	s.ended(id.Node, id.Visit, id.Attempt, p.Usage)
}

func (s *State) forget(id event.CallID) {
	if s.Gone = slices.DeleteFunc(s.Gone, func(o event.CallID) bool { return o == id }); len(s.Gone) == 0 {
		s.Gone = nil // as a snapshot has it
	}
}

// settled charges a call. One that names no turn stands for all calls of the attempt
// that are left.
func (s *State) settled(p *event.CostSettled) {
	s.Spent = s.Spent.Add(p.Charged())
	s.Holds = slices.DeleteFunc(s.Holds, func(h Hold) bool {
		return h.CallID == p.CallID || p.Turn == 0 && h.of() == p.CallID
	})
	if len(s.Holds) == 0 {
		s.Holds = nil
	}
	if p.Usage != nil {
		s.forget(p.CallID)
	}
}

// raised gives the run's budget other limits, and lets the run go on that was paused
// for this budget.
func (s *State) raised(p *event.BudgetRaised) {
	s.key(p.Key)
	if s.Limits != nil && p.Budget == s.OwnBudget() {
		l := p.Limits
		s.Limits = &l
	}
	if o := s.Over; s.Status == Paused && o != nil && o.Budget == p.Budget {
		s.goOn()
	}
}
