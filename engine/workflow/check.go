package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// checkReads looks at what expressions refer to.
func (c *compiler) checkReads() {
	c.env = map[string]bool{}
	known := c.known
	if len(known) == 0 {
		known = sortedKeys(c.declared)
	}
	said := map[string]bool{} // one warning per key and node
	for _, r := range c.reads {
		steps := strings.Split(r.name, ".")
		id := ""
		if r.node >= 0 {
			id = c.w.Nodes[r.node].ID
		}
		switch {
		case len(steps) < 2:
		case steps[0] == "env":
			c.env[steps[1]] = true
		case steps[0] == "state":
			key := steps[1]
			if r.cond && c.w.Node(key) != nil && !said["node "+key] {
				said["node "+key] = true
				c.add(Warning, CodeKeyIsNode, r.mark, r.path, id, fmt.Sprintf("%s is a state key here, and also the id of a node", key), "the node's result is nodes."+key+".result")
			}
			if c.declared[key] || said[id+" "+key] {
				continue
			}
			said[id+" "+key] = true
			hint := "declare it under state:"
			if near := expr.Closest(key, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			msg := fmt.Sprintf("the state key %s is declared nowhere, so that nothing sets it", key)
			c.add(Warning, CodeUnknownKey, r.mark, r.path, id, msg, hint)
		case steps[0] == "input":
			c.checkInput(steps[1], r, id)
		case steps[0] == "nodes":
			c.checkNodeRead(steps, r, id)
		}
	}
}

// checkInput compares input.<name> with the input's schema.
func (c *compiler) checkInput(name string, r read, id string) {
	schema, _ := c.def.Input.(map[string]any)
	props, ok := schema["properties"].(map[string]any)
	_, known := props[name]
	_, patterns := schema["patternProperties"]
	if !ok || known || patterns {
		return
	}
	hint := "add it to the properties of input:"
	if near := expr.Closest(name, sortedKeys(props)); near != "" {
		hint = "did you mean " + near + "?"
	}
	c.add(Warning, CodeUnknownInput, r.mark, r.path, id, fmt.Sprintf("the input's schema has no property %s", name), hint)
}

// nodeParts are what nodes.<id> has.
var nodeParts = []string{"result", "visits"}

func (c *compiler) checkNodeRead(steps []string, r read, id string) {
	i, ok := c.w.byID[steps[1]]
	if !ok {
		hint := ""
		for _, other := range c.nodeIDs() {
			if strings.HasPrefix(other, steps[1]+"-") {
				hint = fmt.Sprintf(`write nodes["%s"]: a - is a minus here`, other)
			}
		}
		if near := expr.Closest(steps[1], c.nodeIDs()); hint == "" && near != "" {
			hint = "did you mean " + near + "?"
		}
		c.add(Error, CodeUnknownNode, r.mark, r.path, id, fmt.Sprintf("there is no node %q to read from", source.Clip(steps[1])), hint)
		return
	}
	if len(steps) > 2 && !slices.Contains(nodeParts, steps[2]) {
		c.add(Warning, CodeUnknownKey, r.mark, r.path, id, fmt.Sprintf("nodes.%s has no %s", steps[1], steps[2]), "did you mean nodes."+steps[1]+".result."+steps[2]+"?")
	}
	if c.w.graph == nil || r.node < 0 || r.own && i == r.node || c.precedes(i, r.node) {
		return
	}
	c.add(Warning, CodeTooEarly, r.mark, r.path, id, fmt.Sprintf("%s reads the result of %s, which cannot have run before it", id, steps[1]), "no path leads from "+steps[1]+" to "+id)
}

// precedes reports whether a path leads from a to b.
func (c *compiler) precedes(a, b int) bool {
	g := c.w.graph
	seen := newBitset(g.n)
	for stack := []int{a}; len(stack) > 0; {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, e := range g.out[v] {
			switch w := g.edges[e][1]; {
			case w == b:
				return true
			case !seen.has(w):
				seen.add(w)
				stack = append(stack, w)
			}
		}
	}
	return false
}

// checkShape looks at the graph.
func (c *compiler) checkShape() {
	g := c.w.graph
	if g == nil {
		return
	}
	for i, n := range c.w.Nodes {
		if !g.reachable.has(i) {
			hint := "add an edge to it, or remove it"
			if c.def.Entry != "" && len(n.In) == 0 {
				hint = "the run starts at entry: " + c.def.Entry + " alone; " + hint
			}
			c.onNode(Error, CodeUnreachable, n.ID, fmt.Sprintf("no path leads to the node %s", n.ID), hint)
		}
	}
	for _, knot := range g.knots {
		c.onNode(Error, CodeIrreducible, c.w.Nodes[knot[0]].ID, fmt.Sprintf("the loop of %s can be entered at more than one node", list(c.ids(knot), "and")), "let every way into the loop lead to the same node first")
	}
	for i, e := range c.w.Edges {
		if e.From == e.To && c.w.Nodes[e.From].Def.MaxVisits == 0 {
			c.fail(CodeSelfEdge, c.paths[i], c.w.Nodes[e.From].ID, fmt.Sprintf("%s leads to itself and has no max_visits", c.w.Nodes[e.From].ID), "say how often: max_visits: 3")
		}
	}
	for head := range g.n {
		if loop, ok := g.loops[head]; ok {
			c.checkLoop(head, loop.members(g.n), loop)
		}
	}
	for _, n := range c.w.Nodes {
		if n.Kind == Converge && g.reachable.has(n.Index) {
			c.checkConverge(n)
		}
	}
}

func (c *compiler) ids(nodes []int) []string {
	var ids []string
	for _, i := range nodes {
		if len(ids) == 8 {
			return append(ids, fmt.Sprintf("%d more", len(nodes)-8))
		}
		ids = append(ids, c.w.Nodes[i].ID)
	}
	return ids
}

func (c *compiler) checkLoop(head int, members []int, loop bitset) {
	exits, bounded := false, false
	for _, v := range members {
		n := c.w.Nodes[v]
		bounded = bounded || n.Def.MaxVisits > 0
		for _, e := range c.w.graph.out[v] {
			exits = exits || !loop.has(c.w.graph.edges[e][1])
		}
	}
	id := c.w.Nodes[head].ID
	what := "the loop of " + list(c.ids(members), "and")
	if len(members) == 1 {
		what = "the loop of " + id + " with itself"
	}
	switch {
	case !exits:
		c.onNode(Error, CodeEndlessLoop, id, what+" has no way out", "add an edge that leaves it by condition")
	case c.spins(head, loop):
		c.onNode(Warning, CodeSpinningLoop, id, what+" goes on whatever happens, until max_visits fails the run", "make the way on or the way out conditional")
	case !bounded && len(members) > 1:
		c.onNode(Warning, CodeUnboundLoop, id, fmt.Sprintf("%s has no bound of its own: the default of %d visits applies", what, DefaultMaxVisits), "give one of its nodes max_visits:")
	}
}

// spins reports whether edges that are taken whatever happens lead around the
// loop.
func (c *compiler) spins(head int, loop bitset) bool {
	seen := newBitset(c.w.graph.n)
	for stack := []int{head}; len(stack) > 0; {
		n := c.w.Nodes[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		if n.Conditional() {
			continue
		}
		for _, e := range n.Out {
			switch {
			case e.To == head:
				return true
			case loop.has(e.To) && !seen.has(e.To):
				seen.add(e.To)
				stack = append(stack, e.To)
			}
		}
	}
	return false
}

func (c *compiler) checkConverge(n *Node) {
	if n.Join.Mode == JoinQuorum && n.Join.N > len(n.In) {
		path := source.Join(source.Join("nodes", n.ID), "join")
		c.fail(CodeRange, path, n.ID, fmt.Sprintf("%s waits for %d inputs and has %d", n.ID, n.Join.N, len(n.In)), "")
	}
	if len(n.In) < 2 {
		if len(n.In) == 1 {
			c.onNode(Warning, CodeSingleInput, n.ID, fmt.Sprintf("the converge %s has one input: there is nothing to join", n.ID), "")
		}
		return
	}
	for i, a := range n.In {
		for _, b := range n.In[i+1:] {
			if a.From == b.From && !c.w.Nodes[a.From].Conditional() || c.w.graph.concurrent(a.From, b.From, c.forks) || c.forkMeets(a, b) || c.forkMeets(b, a) {
				return
			}
		}
	}
	c.onNode(Warning, CodeExclusive, n.ID, fmt.Sprintf("of the branches that meet at the converge %s only one is ever taken", n.ID), "a converge is for branches that run at once")
}

// forkMeets reports whether a leaves a node that takes all its edges, another of
// which leads to where b comes from.
func (c *compiler) forkMeets(a, b *Edge) bool {
	n := c.w.Nodes[a.From]
	if n.Conditional() {
		return false
	}
	for _, e := range n.Out {
		if e != a && (e.To == b.From || c.w.graph.reach[e.To].has(b.From)) {
			return true
		}
	}
	return false
}

// checkWriters finds keys that parallel nodes write without a reducer.
func (c *compiler) checkWriters() {
	if c.w.graph == nil || len(c.forks) == 0 {
		return
	}
	writers := map[string][]int{}
	for i, n := range c.w.Nodes {
		for _, s := range n.Def.Set {
			writers[s.Key] = append(writers[s.Key], i)
		}
		outputs, _ := n.Def.Fields["outputs"].(map[string]any)
		for _, k := range sortedKeys(outputs) {
			if !slices.Contains(writers[k], i) {
				writers[k] = append(writers[k], i)
			}
		}
	}
	tries := 0
	for _, k := range c.w.Keys {
		if k.Reduce != ReduceLast {
			continue
		}
	pairs:
		for i, a := range writers[k.Name] {
			for _, b := range writers[k.Name][i+1:] {
				if tries++; tries > 2000 {
					return // a large graph: enough has been looked at
				}
				if c.w.graph.concurrent(a, b, c.forks) {
					path := source.Join(source.Join("nodes", c.w.Nodes[b].ID), "set")
					if c.src.PlaceOf(source.Join(path, k.Name), true).Line > 0 {
						path = source.Join(path, k.Name)
					}
					c.add(Warning, CodeWriters, c.src.PlaceOf(path, true), path, c.w.Nodes[b].ID,
						fmt.Sprintf("%s and %s may run at once and both set %s: the last in branch order wins", c.w.Nodes[a].ID, c.w.Nodes[b].ID, k.Name),
						"give "+k.Name+" a reduce: under state:")
					break pairs
				}
			}
		}
	}
}
