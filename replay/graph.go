package replay

import "github.com/wfd-dev/wfd/engine/workflow"

// Graph is a definition's graph as a text can show it.
type Graph struct {
	Workflow string      `json:"workflow"`
	Nodes    []GraphNode `json:"nodes"` // in declared order
}

// GraphNode is a node with the edges that leave it.
type GraphNode struct {
	ID    string        `json:"id"`
	Kind  workflow.Kind `json:"kind"`
	Entry bool          `json:"entry,omitempty"`
	To    []GraphEdge   `json:"to,omitempty"`
}

// GraphEdge is an edge.
type GraphEdge struct {
	To      string `json:"to"`
	If      string `json:"if,omitempty"`
	Default bool   `json:"default,omitempty"`
	On      string `json:"on,omitempty"` // error or timeout
	Back    bool   `json:"back,omitempty"`
}

// GraphOf returns the graph of a definition.
func GraphOf(w *workflow.Workflow) Graph {
	g := Graph{Workflow: w.Name, Nodes: make([]GraphNode, len(w.Nodes))}
	for i, n := range w.Nodes {
		g.Nodes[i] = GraphNode{ID: n.ID, Kind: n.Kind}
	}
	for _, i := range w.Entry {
		g.Nodes[i].Entry = true
	}
	for _, e := range w.Edges {
		ge := GraphEdge{To: w.Nodes[e.To].ID, Default: e.Default, Back: e.Back}
		switch {
		case e.Role == workflow.OnError:
			ge.On = "error"
		case e.Role == workflow.OnTimeout:
			ge.On = "timeout"
		case e.If != nil:
			ge.If = e.If.Text()
		}
		g.Nodes[e.From].To = append(g.Nodes[e.From].To, ge)
	}
	return g
}
