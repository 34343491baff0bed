package workflow

import (
	"fmt"
	"sort"
	"sync"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Compile makes a definition ready to run: expressions compiled, graph analysed,
// everything checked. All problems are reported; the workflow is nil if one is
// an error.
func Compile(d *Definition) (*Workflow, Problems) {
	c := &compiler{def: d, src: d.src, w: &Workflow{Name: d.Name, Def: d, Timeout: d.Timeout, byID: map[string]int{}}}
	c.nodes()
	c.edges()
	c.routing()
	c.keys()
	c.settings()
	c.graph()
	c.checkReads()
	c.checkShape()
	c.checkWriters()
	c.checkConditions()
	problems := c.problems.Sorted()
	if problems.HasErrors() {
		return nil, problems
	}
	c.w.Hash = d.Hash()
	c.w.EnvRefs = sortedKeys(c.env)
	return c.w, problems
}

type compiler struct {
	def      *Definition
	src      *source.File
	w        *Workflow
	problems Problems
	paths    []string // by edge: where it is written
	reads    []read
	env      map[string]bool
	declared map[string]bool // state keys somebody declares
	known    []string        // those of them that are not only set
	forks    [][]int         // by node that takes all its edges: where they lead
	work     int             // spent on comparing conditions
	broken   bool            // edges lead nowhere: the graph says nothing
}

// read is a reference of an expression, to be checked when the graph is known.
type read struct {
	name string
	node int  // that reads, -1 = the definition's output
	own  bool // after the node is done: its own result may be read
	cond bool // in a condition
	mark source.Place
	path string
}

func (c *compiler) add(s Severity, code string, m source.Place, path, node, msg, hint string) {
	p := Problem{Severity: s, Code: code, Message: msg, Hint: hint, Path: path, Node: node}
	c.src.Locate(&p, m)
	c.problems = append(c.problems, p)
}

func (c *compiler) fail(code, path, node, msg, hint string) {
	c.add(Error, code, c.src.PlaceOf(path, false), path, node, msg, hint)
}

func (c *compiler) warn(code, path, node, msg, hint string) {
	c.add(Warning, code, c.src.PlaceOf(path, false), path, node, msg, hint)
}

// onNode reports at the key of a node.
func (c *compiler) onNode(s Severity, code, id, msg, hint string) {
	path := source.Join("nodes", id)
	c.add(s, code, c.src.PlaceOf(path, true), path, id, msg, hint)
}

func (c *compiler) nodes() {
	for i, def := range c.def.Nodes {
		n := &Node{Index: i, ID: def.ID, Kind: def.Kind, Def: def, MaxVisits: def.MaxVisits, Timeout: def.Timeout, OnFailure: def.OnFailure}
		if _, ok := c.w.byID[def.ID]; ok {
			c.onNode(Error, CodeDuplicateID, def.ID, fmt.Sprintf("the node %q is there twice", source.Clip(def.ID)), "")
		}
		c.w.byID[def.ID] = i
		if n.MaxVisits == 0 {
			n.MaxVisits = DefaultMaxVisits
		}
		n.Join = Join{Mode: JoinAll}
		if def.Join != nil {
			n.Join = *def.Join
		}
		if n.OnFailure == "" {
			n.OnFailure = FailWait
		}
		c.attempts(n)
		c.w.Nodes = append(c.w.Nodes, n)
	}
}

// attempts fills in what a runner needs.
func (c *compiler) attempts(n *Node) {
	_, prompt := n.Def.Fields["prompt"]
	n.Runs = n.Kind.IsAction() || n.Kind == Converge && prompt || n.Kind == Chat || n.Kind == Plan
	n.Retry = Retry{Max: 1}
	if !n.Runs {
		return
	}
	n.Retry = Retry{Max: DefaultAttempts, Backoff: DefaultBackoff, MaxBackoff: DefaultMaxBackoff}
	if r := n.Def.Retry; r != nil {
		if r.Max != 0 {
			n.Retry.Max = r.Max
		}
		if r.Backoff != 0 {
			n.Retry.Backoff = r.Backoff
		}
		if r.MaxBackoff != 0 {
			n.Retry.MaxBackoff = r.MaxBackoff
		}
		n.Retry.MaxBackoff = max(n.Retry.MaxBackoff, n.Retry.Backoff)
		n.Retry.Then = r.Then
	}
	if n.Kind == Chat {
		c.chat(n)
	} else if n.Timeout == 0 {
		n.Timeout = DefaultTimeout
	}
	if n.Kind == Plan {
		c.plan(n)
	}
}

// target finds a node by id, -1 if there is none.
func (c *compiler) target(id, path, node, what string) int {
	if i, ok := c.w.byID[id]; ok {
		return i
	}
	c.broken = true
	if id == "" {
		return -1 // the missing field is a problem already
	}
	ids := make([]string, len(c.w.Nodes))
	for i, n := range c.w.Nodes {
		ids[i] = n.ID
	}
	hint := ""
	if near := expr.Closest(id, ids); near != "" {
		hint = "did you mean " + near + "?"
	} else if len(ids) <= 12 {
		hint = "nodes are " + list(ids, "and")
	}
	c.fail(CodeUnknownNode, path, node, fmt.Sprintf("%s: there is no node %q", what, source.Clip(id)), hint)
	return -1
}

func (c *compiler) edges() {
	seen := map[string]string{}
	link := func(from, to int, e *Edge, text, path string) {
		if from < 0 || to < 0 {
			return
		}
		key := fmt.Sprint(from, " ", to, " ", e.Role, " ", text)
		if first, ok := seen[key]; ok {
			m := c.src.PlaceOf(first, true)
			hint := "remove one"
			if m.Line > 0 {
				hint = fmt.Sprintf("the first is at line %d; remove one", m.Line)
			}
			c.fail(CodeDuplicateEdge, path, c.w.Nodes[from].ID, fmt.Sprintf("the edge from %s to %s is there twice", c.w.Nodes[from].ID, c.w.Nodes[to].ID), hint)
			return
		}
		seen[key] = path
		e.Index, e.From, e.To = len(c.w.Edges), from, to
		c.w.Edges = append(c.w.Edges, e)
		c.paths = append(c.paths, path)
		n := c.w.Nodes[from]
		switch e.Role {
		case OnError:
			n.OnError = e
		case OnTimeout:
			n.OnTimeout = e
		default:
			n.Out = append(n.Out, e)
		}
		c.w.Nodes[to].In = append(c.w.Nodes[to].In, e)
	}
	for i, x := range c.def.Edges {
		path := source.Join("edges", i)
		from := c.target(x.From, source.Join(path, "from"), x.From, "from")
		to := c.target(x.To, source.Join(path, "to"), x.From, "to")
		e := &Edge{Default: x.Default}
		if x.If != "" {
			e.If = c.condition(x.If, source.Join(path, "if"), from, x.From)
			if x.Default {
				c.fail(CodeContradiction, source.Join(path, "default"), x.From, "an edge has a condition or is the default, not both", "the default is taken when no condition is met")
			}
			if e.If == nil {
				e.If = neverMet() // keeps the edge conditional for the checks that follow
			}
		}
		link(from, to, e, x.If, path)
	}
	if len(c.w.Edges) > MaxEdges {
		c.fail(CodeLimit, "edges", "", fmt.Sprintf("the definition has more than %d edges", MaxEdges), "")
	}
	for i, n := range c.def.Nodes {
		for j, id := range n.Needs {
			path := source.Join(source.Join("nodes", n.ID), "needs")
			if at := source.Join(path, j); c.src.Values[at].Line > 0 {
				path = at
			}
			link(c.target(id, path, n.ID, "needs"), i, &Edge{}, "", path)
		}
	}
	for i, n := range c.def.Nodes {
		if n.OnError != "" {
			path := source.Join(source.Join("nodes", n.ID), "on_error")
			link(i, c.target(n.OnError, path, n.ID, "on_error"), &Edge{Role: OnError}, "", path)
		}
		if n.OnTimeout != "" {
			path := source.Join(source.Join("nodes", n.ID), "on_timeout")
			link(i, c.target(n.OnTimeout, path, n.ID, "on_timeout"), &Edge{Role: OnTimeout}, "", path)
		}
	}
}

var neverMet = sync.OnceValue(func() *expr.Condition {
	c, err := expr.CompileCondition("false", expr.Scope{})
	if err != nil {
		panic(err) // the text is constant
	}
	return c
})

// routing settles which edge is the default and refuses what is ambiguous.
func (c *compiler) routing() {
	for _, n := range c.w.Nodes {
		var free, defaults, conds []*Edge
		for _, e := range n.Out {
			switch {
			case e.If != nil:
				conds = append(conds, e)
			case e.Default:
				defaults = append(defaults, e)
			default:
				free = append(free, e)
			}
		}
		switch {
		case len(defaults) > 1:
			c.fail(CodeAmbiguous, c.paths[defaults[1].Index], n.ID, fmt.Sprintf("node %s has %d default edges", n.ID, len(defaults)), "one edge can be the default")
		case len(conds) > 0 && len(defaults)+len(free) > 1:
			e := free[len(free)-1]
			c.fail(CodeAmbiguous, c.paths[e.Index], n.ID, fmt.Sprintf("node %s chooses by condition, but has %d edges without one", n.ID, len(defaults)+len(free)), "give them conditions, or let one lead to a parallel node")
		case len(conds) > 0 && len(free) == 1:
			free[0].Default = true
		}
		switch {
		case n.Kind == End && len(n.Out) > 0:
			c.fail(CodeAfterEnd, c.paths[n.Out[0].Index], n.ID, fmt.Sprintf("an edge leaves %s, which ends there", n.ID), "")
		case n.Kind == Decision && len(n.Out) == 0:
			c.onNode(Error, CodeNoEdges, n.ID, fmt.Sprintf("the decision %s has no edges to choose from", n.ID), "add edges from: "+n.ID)
		case n.Kind == Parallel && len(n.Out) == 0:
			c.onNode(Error, CodeNoEdges, n.ID, fmt.Sprintf("the parallel node %s has no branches", n.ID), "add edges from: "+n.ID)
		case n.Kind == Decision && len(conds) == 0 && len(n.Out) > 1:
			c.onNode(Error, CodeAmbiguous, n.ID, fmt.Sprintf("the decision %s has %d edges and no condition", n.ID, len(n.Out)), "give the edges an if:, or make it a parallel node")
		case n.Kind == Parallel && len(conds) > 0:
			c.fail(CodeContradiction, c.paths[conds[0].Index], n.ID, fmt.Sprintf("%s is a parallel node: it takes all its edges, none by condition", n.ID), "make it a decision")
		}
		if len(n.Out) > 1 && len(conds) == 0 {
			var to []int
			for _, e := range n.Out {
				to = append(to, e.To)
			}
			c.forks = append(c.forks, to)
		}
	}
}

// keys collects the state keys: declared, promised by outputs, and set.
func (c *compiler) keys() {
	c.declared = map[string]bool{}
	for _, k := range c.def.State {
		if c.declared[k.Name] {
			c.fail(CodeDuplicateKey, source.Join("state", k.Name), "", fmt.Sprintf("the state key %q is declared twice", k.Name), "")
			continue
		}
		c.declared[k.Name] = true
		c.w.Keys = append(c.w.Keys, StateKey{Name: k.Name, Type: k.Type, Default: k.Default, Reduce: k.Reduce})
	}
	for _, n := range c.def.Nodes {
		outputs, _ := n.Fields["outputs"].(map[string]any)
		if n.Do != nil {
			outputs, _ = n.Do.Fields["outputs"].(map[string]any)
		}
		for _, k := range sortedKeys(outputs) {
			if !c.declared[k] {
				c.declared[k] = true
				typ, _ := outputs[k].(string)
				c.w.Keys = append(c.w.Keys, StateKey{Name: k, Type: typ})
			}
		}
	}
	known := sortedKeys(c.declared)
	c.known = known
	for _, n := range c.def.Nodes {
		c.setKeys(n, source.Join("nodes", n.ID), known)
	}
}

// setKeys declares what n sets and nobody declares.
func (c *compiler) setKeys(n *NodeDef, path string, known []string) {
	for _, s := range n.Set {
		if c.declared[s.Key] {
			continue
		}
		at := source.Join(source.Join(path, "set"), s.Key)
		hint := "declare it under state:"
		if near := expr.Closest(s.Key, known); near != "" {
			hint = "did you mean " + near + "? Otherwise declare it under state:"
		}
		c.add(Warning, CodeUnknownKey, c.src.PlaceOf(at, true), at, n.ID, fmt.Sprintf("node %s sets the state key %s, which is not declared", n.ID, s.Key), hint)
		c.declared[s.Key] = true
		c.w.Keys = append(c.w.Keys, StateKey{Name: s.Key})
	}
}

func (c *compiler) graph() {
	if c.broken {
		return
	}
	edges := make([][2]int, len(c.w.Edges))
	for i, e := range c.w.Edges {
		edges[i] = [2]int{e.From, e.To}
	}
	switch {
	case c.def.Entry != "":
		if i := c.target(c.def.Entry, "entry", "", "entry"); i >= 0 {
			c.w.Entry = []int{i}
		}
	default:
		for i, n := range c.w.Nodes {
			if len(n.In) == 0 {
				c.w.Entry = append(c.w.Entry, i)
			}
		}
		if len(c.w.Entry) == 0 && len(c.w.Nodes) > 0 {
			c.add(Error, CodeEntry, c.src.PlaceOf("nodes", true), "nodes", "", "no node to start with: each has an incoming edge", "name one, such as entry: "+c.w.Nodes[0].ID)
		}
	}
	if len(c.w.Entry) == 0 {
		return
	}
	if len(c.w.Entry) > 1 {
		c.forks = append(c.forks, c.w.Entry)
	}
	c.w.graph = newGraph(len(c.w.Nodes), edges, c.w.Entry, func(i int) bool { return c.w.Nodes[i].Kind == Converge })
	for i, e := range c.w.Edges {
		e.Back = c.w.graph.back[i]
	}
}

// nodeIDs are all ids, sorted.
func (c *compiler) nodeIDs() []string {
	ids := make([]string, len(c.w.Nodes))
	for i, n := range c.w.Nodes {
		ids[i] = n.ID
	}
	sort.Strings(ids)
	return ids
}
