package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// missing tells why a node was not reached: for each edge to it, why it was not
// taken, and so on back to nodes that were.
func (x *explainer) missing(node string) {
	seen := map[string]bool{}
	var reached []VisitKey
	for todo := []string{node}; len(todo) > 0; {
		id := todo[0]
		todo = todo[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		if from := x.waits(id); len(from) > 0 {
			reached = append(reached, from...)
			continue
		}
		n := x.wf.Node(id)
		for _, e := range n.In {
			from := x.wf.Nodes[e.From].ID
			if visit := x.names[from]; visit > 0 {
				k := VisitKey{from, visit}
				x.out.Missing = append(x.out.Missing, x.notTaken(id, e, k))
				reached = append(reached, k)
				continue
			}
			x.out.Missing = append(x.out.Missing, Missing{Node: id, Why: from + " was not reached"})
			todo = append(todo, from)
		}
		if len(n.In) == 0 {
			x.out.Missing = append(x.out.Missing, Missing{Node: id, Why: "the run does not start with " + id})
		}
	}
	x.steps(reached...)
}

// waits tells of a node that was come to but has not begun, and returns from where.
func (x *explainer) waits(id string) []VisitKey {
	var from []VisitKey
	for _, t := range x.s.TokensAt(id) {
		from = append(from, VisitKey{t.From, t.Visit})
	}
	if len(from) == 0 {
		return nil
	}
	var on []string
	n := x.wf.Node(id)
	for _, v := range x.s.LiveIDs() {
		if o := x.wf.Node(v); o != nil && x.wf.Blocks(o.Index, n.Index) {
			on = append(on, v)
		}
	}
	why := "one branch has arrived"
	if len(from) > 1 {
		why = fmt.Sprintf("%d branches have arrived", len(from))
	}
	switch {
	case len(on) > 0:
		why += "; it waits for " + strings.Join(on, ", ")
	case x.s.Status == run.Paused || x.s.Status.Terminal():
		why += "; the run is " + string(x.s.Status)
	default:
		why += "; it is about to begin"
	}
	x.out.Missing = append(x.out.Missing, Missing{Node: id, Why: why})
	return from
}

// notTaken tells why an edge was not taken from the latest visit of its source.
func (x *explainer) notTaken(node string, e *workflow.Edge, from VisitKey) Missing {
	m := Missing{Node: node, From: &from}
	st := x.step(x.visits[from])
	for _, i := range x.edges[from] {
		p := x.moments[i].p.(*event.EdgeTaken)
		m.Taken = p.To
		for _, ev := range p.Evals {
			if ev.To == node && e.If != nil && ev.If == e.If.Text() {
				t := x.tested(i, ev)
				m.Tested = &t
			}
		}
	}
	switch {
	case e.Role == workflow.OnError && st.Status == run.NodeCompleted:
		m.Why = from.Node + " did not fail"
	case e.Role == workflow.OnTimeout && st.Status == run.NodeCompleted:
		m.Why = from.Node + " did not pass its deadline"
	case st.Status == run.NodeFailed && m.Taken == "":
		m.Why = fmt.Sprintf("%s failed: %s", from.Node, st.Failure.Error())
	case st.Status == run.NodeFailed:
		m.Why = fmt.Sprintf("%s failed and went to %s", from.Node, m.Taken)
	case st.Status == run.NodeSkipped:
		m.Why = from.Node + " was given up: " + st.Skipped
	case st.Status != run.NodeCompleted:
		m.Why = fmt.Sprintf("%s is %s", from.Node, st.Status)
	case m.Taken == "":
		m.Why = x.noEdge(from, &m)
	case m.Tested != nil && !m.Tested.Met:
		m.Why = "its condition was not met"
	case e.Default:
		m.Why = "a condition of " + from.Node + " was met"
	default:
		m.Why = from.Node + " went elsewhere first"
	}
	return m
}

// noEdge tells why a completed visit took no edge.
func (x *explainer) noEdge(from VisitKey, m *Missing) string {
	if f := x.s.Failure; f != nil && f.Node == from.Node && f.Visit == from.Visit {
		return f.Message
	}
	if slices.ContainsFunc(x.s.LiveIDs(), func(id string) bool { return id == from.Node }) {
		return "the run is " + string(x.s.Status)
	}
	return m.From.Node + " ended the run's branch"
}
