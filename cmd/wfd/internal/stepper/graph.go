package stepper

import (
	"strings"

	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// marks stand before nodes by their status.
var marks = map[run.NodeStatus]string{
	"": "·", run.NodeScheduled: "○", run.NodeRunning: "◐", run.NodeWaiting: "◷",
	run.NodeCompleted: "●", run.NodeFailed: "✗", run.NodeSkipped: "–",
}

// Line is a line of the graph: a node, how it stands, and where it leads.
type Line struct {
	Node   string
	Status run.NodeStatus
	Text   string
}

// Graph returns a graph as text: the nodes in declared order, each with the edges
// that leave it. An edge that closes a loop is marked ↺; tokens that wait at a node
// are shown as dots behind it.
func Graph(g replay.Graph, s *Shot) []Line {
	width := 0
	for _, n := range g.Nodes {
		width = max(width, len([]rune(n.ID)))
	}
	lines := make([]Line, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		st := s.Nodes[n.ID]
		var b strings.Builder
		b.WriteString(marks[st] + " " + n.ID + strings.Repeat(" ", width-len([]rune(n.ID))))
		if t := s.Tokens[n.ID]; t > 0 {
			b.WriteString(" " + strings.Repeat("•", min(t, 9)))
		}
		var to []string
		for _, e := range n.To {
			to = append(to, edgeText(e))
		}
		if len(to) > 0 {
			b.WriteString(" → " + strings.Join(to, ", "))
		}
		lines = append(lines, Line{n.ID, st, b.String()})
	}
	return lines
}

func edgeText(e replay.GraphEdge) string {
	t := e.To
	if e.Back {
		t = "↺" + t
	}
	switch {
	case e.On != "":
		return t + " on " + e.On
	case e.If != "":
		return t + " if " + e.If
	case e.Default:
		return t + " else"
	}
	return t
}
