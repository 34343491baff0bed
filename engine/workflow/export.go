package workflow

import (
	"fmt"
	"io"
	"strings"
)

// Drawing says what a diagram shows besides the graph: how far a run has come.
type Drawing struct {
	Status map[string]string // by node id: scheduled, running, waiting, completed, failed, skipped
	Taken  map[int]bool      // by Edge.Index
}

// Statuses of nodes, in the order diagrams define them, with their colours.
var statusColors = []struct{ name, fill, stroke string }{
	{"scheduled", "#eef2ff", "#818cf8"}, {"running", "#dbeafe", "#2563eb"}, {"waiting", "#fef3c7", "#d97706"},
	{"completed", "#dcfce7", "#16a34a"}, {"failed", "#fee2e2", "#dc2626"}, {"skipped", "#f3f4f6", "#9ca3af"},
}

// Mermaid writes the graph as a Mermaid flowchart. Ids in the diagram are made up
// (n0, n1, …), so that no id of a definition can collide with Mermaid's words.
func (w *Workflow) Mermaid(out io.Writer, d Drawing) error {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	b.WriteString("    start((\"start\"))\n")
	for i, n := range w.Nodes {
		open, shut := mermaidShape(n.Kind)
		fmt.Fprintf(&b, "    n%d%s\"%s\"%s\n", i, open, mermaidText(n.Def.Title()), shut)
	}
	for _, i := range w.Entry {
		fmt.Fprintf(&b, "    start --> n%d\n", i)
	}
	lines := len(w.Entry)
	var taken []string
	for _, e := range w.Edges {
		arrow := "-->"
		if e.Role != Route {
			arrow = "-.->"
		}
		label := ""
		if t := e.label(); t != "" {
			label = "|\"" + mermaidText(t) + "\"|"
		}
		fmt.Fprintf(&b, "    n%d %s%s n%d\n", e.From, arrow, label, e.To)
		if d.Taken[e.Index] {
			taken = append(taken, fmt.Sprint(lines+e.Index))
		}
	}
	for _, s := range statusColors {
		var ids []string
		for i, n := range w.Nodes {
			if d.Status[n.ID] == s.name {
				ids = append(ids, fmt.Sprintf("n%d", i))
			}
		}
		if len(ids) > 0 {
			fmt.Fprintf(&b, "    classDef %s fill:%s,stroke:%s,color:#111827\n    class %s %s\n", s.name, s.fill, s.stroke, strings.Join(ids, ","), s.name)
		}
	}
	if len(taken) > 0 {
		fmt.Fprintf(&b, "    linkStyle %s stroke:#16a34a,stroke-width:3px\n", strings.Join(taken, ","))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// label is what a diagram writes at an edge.
func (e *Edge) label() string {
	var parts []string
	switch {
	case e.Role == OnError:
		parts = append(parts, "on error")
	case e.Role == OnTimeout:
		parts = append(parts, "on timeout")
	case e.If != nil:
		parts = append(parts, e.If.Text())
	case e.Default:
		parts = append(parts, "default")
	}
	if e.Back {
		parts = append(parts, "↺")
	}
	return strings.Join(parts, " ")
}

func mermaidShape(k Kind) (open, shut string) {
	switch k {
	case Decision:
		return "{", "}"
	case Human, Parallel, Converge:
		return "([", "])"
	case Sub, Foreach, Plan:
		return "[[", "]]"
	case Wait:
		return "{{", "}}"
	case End:
		return "(((", ")))"
	case Chat:
		return ">", "]"
	}
	return "[", "]"
}

// mermaidText writes text with Mermaid's entities for whatever could end a label
// or be read as markup.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r':
			b.WriteByte(' ')
		case strings.ContainsRune("\"#&<>|`;[]{}()\\*_~$", r):
			fmt.Fprintf(&b, "#%d;", r)
		case r < ' ':
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// DOT writes the graph for Graphviz.
func (w *Workflow) DOT(out io.Writer, d Drawing) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n    rankdir=TB;\n    node [fontname=\"sans-serif\"];\n    edge [fontname=\"sans-serif\"];\n", dotText(w.Name))
	b.WriteString("    \"\" [shape=point];\n")
	for _, n := range w.Nodes {
		fmt.Fprintf(&b, "    %s [label=%s, shape=%s", dotText(n.ID), dotText(n.Def.Title()), dotShape(n.Kind))
		for _, s := range statusColors {
			if d.Status[n.ID] == s.name {
				fmt.Fprintf(&b, ", style=filled, fillcolor=%q, color=%q", s.fill, s.stroke)
			}
		}
		b.WriteString("];\n")
	}
	for _, i := range w.Entry {
		fmt.Fprintf(&b, "    \"\" -> %s;\n", dotText(w.Nodes[i].ID))
	}
	for _, e := range w.Edges {
		var attrs []string
		if t := e.label(); t != "" {
			attrs = append(attrs, "label="+dotText(t))
		}
		if e.Role != Route {
			attrs = append(attrs, "style=dashed")
		}
		if e.Back {
			attrs = append(attrs, "constraint=false")
		}
		if d.Taken[e.Index] {
			attrs = append(attrs, "color=\"#16a34a\"", "penwidth=3")
		}
		fmt.Fprintf(&b, "    %s -> %s", dotText(w.Nodes[e.From].ID), dotText(w.Nodes[e.To].ID))
		if len(attrs) > 0 {
			fmt.Fprintf(&b, " [%s]", strings.Join(attrs, ", "))
		}
		b.WriteString(";\n")
	}
	b.WriteString("}\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func dotShape(k Kind) string {
	switch k {
	case Decision:
		return "diamond"
	case Human, Parallel, Converge:
		return "oval"
	case Sub, Foreach, Plan:
		return "box3d"
	case Wait:
		return "hexagon"
	case End:
		return "doublecircle"
	}
	return "box"
}

func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", "").Replace(s) + `"`
}
