package replay

import (
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// VisitKey names a visit of a node.
type VisitKey struct {
	Node  string `json:"node"`
	Visit int    `json:"visit"`
}

// A moment is one event of a run's past with what the fold knew at it.
type moment struct {
	entry
	// inputs are the visits whose tokens a node.scheduled consumed; one without a
	// node is the start of the run.
	inputs []VisitKey
	// writers are, of an edge.taken, the visits that wrote the state it read, where
	// that was in a branch of its own.
	writers map[string]VisitKey
	forked  bool // branches were under way after it
}

// lineage returns the events that led to a position, in order. What a restore
// went back behind is not among them: it did not lead there.
func lineage(log eventlog.Log, id eventlog.RunID, at Position) ([]moment, *run.State, error) {
	end, err := State(log, id, at)
	if err != nil {
		return nil, nil, err
	}
	var before, all []moment // of the run that it was forked from, and its own
	s := newState(log, id)
	for e, err := range history(log, id) {
		if err != nil {
			return nil, nil, err
		}
		if e.Version > end.Version {
			break
		}
		p, err := payload(e)
		if err != nil {
			return nil, nil, err
		}
		m := moment{entry: entry{e, p}}
		if p, ok := p.(*event.RunForked); ok {
			if before, _, err = lineage(log, p.From, Position{Version: p.At}); err != nil {
				return nil, nil, err
			}
		}
		if p, ok := p.(*event.EdgeTaken); ok {
			m.writers = writersOf(s, p)
		}
		if err := s.ApplyPayload(e, p); err != nil {
			return nil, nil, err
		}
		if p, ok := p.(*event.NodeScheduled); ok {
			if v := s.Live[p.Node]; v != nil {
				m.inputs = inputsOf(v)
			}
		}
		m.forked = s.Forked
		all = append(all, m)
	}
	return append(before, visible(all)...), end, nil
}

// visible leaves out what restores went back behind.
func visible(all []moment) []moment {
	var back []moment
	for i := len(all) - 1; i >= 0; {
		m := all[i]
		back = append(back, m)
		i--
		if p, ok := m.p.(*event.RunRestored); ok {
			i = int(p.To) - 1
		}
	}
	slices.Reverse(back)
	return back
}

func inputsOf(v *run.Visit) []VisitKey {
	if v.Item > 0 {
		return []VisitKey{{v.Of, v.Visit}}
	}
	keys := make([]VisitKey, len(v.Inputs))
	for i, t := range v.Inputs {
		keys[i] = VisitKey{t.From, t.Visit}
	}
	return keys
}

// writersOf returns who wrote the state that the conditions of an edge read, as
// far as it was written in a branch that has not met the others yet.
func writersOf(s *run.State, p *event.EdgeTaken) map[string]VisitKey {
	v := s.Live[p.From]
	if v == nil || !s.Forked {
		return nil
	}
	var m map[string]VisitKey
	for _, e := range p.Evals {
		for _, r := range e.Reads {
			key, ok := stateKey(r.Name)
			if !ok {
				continue
			}
			for _, i := range v.Thread.Seen {
				j := &s.Journal[i]
				if slices.ContainsFunc(j.Writes, func(w run.Write) bool { return w.Key == key }) {
					if m == nil {
						m = map[string]VisitKey{}
					}
					m[key] = VisitKey{j.Node, j.Visit}
				}
			}
		}
	}
	return m
}

// stateKey returns the key of the state that a reference reads.
func stateKey(ref string) (key string, ok bool) {
	key, ok = strings.CutPrefix(ref, "state.")
	if i := strings.IndexAny(key, ".["); i > 0 {
		key = key[:i]
	}
	return key, ok
}

// past is a lineage with its visits found.
type past struct {
	moments []moment
	visits  map[VisitKey]*trace
	edges   map[VisitKey][]int // indexes of edge.taken, by the visit they leave
	names   map[string]int     // the latest visit of each node
}

// trace is what a lineage has of one visit: indexes of its moments.
type trace struct {
	key    VisitKey
	begin  int
	inputs []VisitKey
	events []int
}

func pastOf(moments []moment) *past {
	p := &past{moments: moments, visits: map[VisitKey]*trace{}, edges: map[VisitKey][]int{}, names: map[string]int{}}
	for i, m := range moments {
		k, ok := visitKey(m.p)
		if !ok {
			continue
		}
		t := p.visits[k]
		if _, late := m.p.(*event.CostSettled); late && t == nil {
			continue // of a visit that a restore went back behind
		}
		if t == nil {
			t = &trace{key: k, begin: i}
			p.visits[k] = t
			p.names[k.Node] = max(p.names[k.Node], k.Visit)
		}
		t.events = append(t.events, i)
		switch m.p.(type) {
		case *event.NodeScheduled:
			t.inputs, t.begin = m.inputs, i
		case *event.EdgeTaken:
			p.edges[k] = append(p.edges[k], i)
		}
	}
	return p
}

// visitKey returns the visit that an event is about.
func visitKey(p event.Payload) (VisitKey, bool) {
	var k VisitKey
	switch p := p.(type) {
	case *event.NodeScheduled:
		k = VisitKey{p.Node, p.Visit}
	case *event.ToolCalled:
		k = VisitKey{p.Node, p.Visit}
	case *event.CostReserved:
		k = VisitKey{p.Node, p.Visit}
	case *event.CostSettled:
		k = VisitKey{p.Node, p.Visit}
	case *event.BudgetExceeded:
		k = VisitKey{p.Node, p.Visit}
	case *event.AgentChosen:
		k = VisitKey{p.Node, p.Visit}
	case *event.ChatTurn:
		k = VisitKey{p.Node, p.Visit}
	case *event.PlanMade:
		k = VisitKey{p.Node, p.Visit}
	case *event.ChatEnded:
		k = VisitKey{p.Node, p.Visit}
	case *event.NodeStarted:
		k = VisitKey{p.Node, p.Visit}
	case *event.NodeCompleted:
		k = VisitKey{p.Node, p.Visit}
	case *event.NodeFailed:
		k = VisitKey{p.Node, p.Visit}
	case *event.NodeRetried:
		k = VisitKey{p.Node, p.Visit}
	case *event.NodeLost:
		k = VisitKey{p.Node, p.Visit}
	case *event.NodeSkipped:
		k = VisitKey{p.Node, p.Visit}
	case *event.EdgeTaken:
		k = VisitKey{p.From, p.Visit}
	case *event.StateSet:
		k = VisitKey{p.Node, p.Visit}
	case *event.TimerSet:
		k = VisitKey{p.Node, p.Visit}
	case *event.TimerFired:
		k = VisitKey{p.Node, p.Visit}
	case *event.InputRequested:
		k = VisitKey{p.Node, p.Visit}
	case *event.InputReceived:
		k = VisitKey{p.Node, p.Visit}
	case *event.SecurityRequested:
		k = VisitKey{p.Node, p.Visit}
	case *event.SecurityGranted:
		k = VisitKey{p.Node, p.Visit}
	case *event.SecurityDenied:
		k = VisitKey{p.Node, p.Visit}
	case *event.ChildStarted:
		k = VisitKey{p.Node, p.Visit}
	case *event.ChildEnded:
		k = VisitKey{p.Node, p.Visit}
	}
	return k, k.Node != "" && k.Visit > 0
}
