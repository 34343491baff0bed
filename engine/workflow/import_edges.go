package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

func (m *importer) importEdges(t *source.Tree) {
	if t == nil {
		return
	}
	if t.Kind != source.List {
		m.wrong(t, "edges", "", "edges", "a list of edges")
		return
	}
	if len(t.Items) > MaxEdges {
		m.fail(CodeLimit, m.src.PlaceOf("edges", true), "edges", "", fmt.Sprintf("the template has %d edges, the limit is %d", len(t.Items), MaxEdges), "")
		return
	}
	type ordered struct {
		EdgeDef
		tree     *source.Tree
		cond     *source.Tree
		priority int64
	}
	var edges []ordered
	prioritised := false
	for i, x := range t.Items {
		path := source.Join("edges", i)
		if x.Kind != source.Map {
			m.wrong(x, path, "", "an edge", "an object with from and to")
			continue
		}
		e := ordered{tree: x}
		for j, k := range x.Keys {
			v, name := x.Items[j], k.Value.(string)
			if v.IsNull() {
				continue
			}
			switch name {
			case "from", "from_node", "from_node_id":
				e.From = m.importID(v)
			case "to", "to_node", "to_node_id":
				e.To = m.importID(v)
			case "condition":
				e.cond = v
				e.If = m.importCondition(v, source.Join(path, "condition"), e.From)
			case "is_default", "default":
				if i, ok := v.Value.(int64); ok {
					e.Default = i != 0
				} else {
					e.Default = m.flag(v, source.Join(path, name), e.From, name)
				}
			case "priority":
				e.priority, prioritised = m.count(v, &field{name: name, min: -1 << 31}, source.Join(path, name), e.From), true
			default:
				m.kept(&e.Extra, k, v, path, e.From)
			}
		}
		if e.From == "" || e.To == "" {
			m.fail(CodeMissingField, x.Place, path, e.From, "an edge needs from and to", "")
			continue
		}
		edges = append(edges, e)
	}
	if prioritised {
		before := slices.Clone(edges)
		byPriority := map[string][]ordered{}
		for _, e := range before {
			byPriority[e.From] = append(byPriority[e.From], e)
		}
		for _, from := range sortedKeys(byPriority) {
			slices.SortStableFunc(byPriority[from], func(a, b ordered) int { return int(a.priority - b.priority) })
		}
		edges = edges[:0]
		for _, e := range before { // each node's places stay, their order is that of priority
			edges = append(edges, byPriority[e.From][0])
			byPriority[e.From] = byPriority[e.From][1:]
		}
	}
	for i, e := range edges {
		path := source.Join("edges", i)
		m.src.Bind(path, e.tree)
		for old, field := range map[string]string{"from_node": "from", "from_node_id": "from", "to_node": "to", "to_node_id": "to", "is_default": "default"} {
			if v := e.tree.Get(old); v != nil {
				m.src.Bind(source.Join(path, field), v)
			}
		}
		if e.cond != nil {
			m.src.Bind(source.Join(path, "if"), e.cond)
		}
		m.def.Edges = append(m.def.Edges, e.EdgeDef)
	}
}

func (m *importer) importCondition(v *source.Tree, path, node string) string {
	s := m.condition(v, path, node)
	if len(s) > expr.MaxCondition {
		return s // refused when it is compiled
	}
	if r := expr.RewriteInfix(s); r != s {
		m.note(v.Place, path, node, fmt.Sprintf("the condition %q is written with an infix operator", source.Clip(s)), "imported as "+r)
		return r
	}
	return s
}

// reconcile compares next_nodes with the edges.
func (m *importer) reconcile(haveEdges bool) {
	out := map[string][]string{}
	for _, e := range m.def.Edges {
		if !slices.Contains(out[e.From], e.To) {
			out[e.From] = append(out[e.From], e.To)
		}
	}
	for _, n := range m.nodes {
		id, path := n.def.ID, source.Join(n.path, "next_nodes")
		have := out[id]
		add := func(s Severity, msg, hint string) { m.add(s, CodeNextNodes, n.nextMark, path, id, msg, hint) }
		switch {
		case !n.hasNext:
		case len(have) == 0:
			for _, to := range n.next {
				m.src.Bind(source.Join(source.Join("edges", len(m.def.Edges)), "to"), &source.Tree{Value: to, Place: n.nextMark})
				m.def.Edges = append(m.def.Edges, EdgeDef{From: id, To: to})
			}
			if haveEdges && len(n.next) > 0 {
				add(Note, fmt.Sprintf("%s has next_nodes but no edges", id), "they become unconditional edges")
			}
		case slices.Equal(sorted(have), sorted(n.next)):
			if !slices.Equal(have, n.next) {
				add(Warning, fmt.Sprintf("next_nodes of %s are in another order than its edges", id), "the order of edges rules")
			}
		case n.kind == "action" && len(n.next) == 0:
			add(Note, fmt.Sprintf("%s has edges, but its next_nodes is empty", id), "edges rules")
		case n.kind == "parallel" && m.isJoin(n.next, have):
			add(Note, fmt.Sprintf("next_nodes of %s names where its branches meet, not the branches", id), "edges rules")
		default:
			add(Error, fmt.Sprintf("next_nodes of %s is [%s], but its edges lead to [%s]", id, strings.Join(n.next, ", "), strings.Join(have, ", ")), "make them equal, or leave next_nodes out")
		}
	}
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// isJoin reports whether every branch reaches each of the nodes named.
func (m *importer) isJoin(joins, branches []string) bool {
	next := map[string][]string{}
	for _, e := range m.def.Edges {
		next[e.From] = append(next[e.From], e.To)
	}
	for _, j := range joins {
		for _, b := range branches {
			seen := map[string]bool{b: true}
			for stack := []string{b}; len(stack) > 0 && !seen[j]; {
				v := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				for _, w := range next[v] {
					if !seen[w] {
						seen[w] = true
						stack = append(stack, w)
					}
				}
			}
			if !seen[j] {
				return false
			}
		}
	}
	return len(joins) > 0
}

// fallbacks turns node-level fallbacks into default edges and on_error.
func (m *importer) fallbacks() {
	for _, n := range m.nodes {
		if n.fallback == nil {
			continue
		}
		id, at := n.def.ID, source.Join("nodes", n.def.ID)
		to := ""
		switch s := n.fallback.Value.(type) {
		case string:
			to = s
		case int64:
			if s != 0 {
				to = m.importID(n.fallback)
			}
		}
		none := to == "" || strings.EqualFold(to, "none")
		chooses := n.def.Kind == Decision
		for _, e := range m.def.Edges {
			chooses = chooses || e.From == id && e.If != ""
		}
		if chooses {
			if none {
				to = m.normalEnd(n.fallback.Place)
			}
			path := source.Join("edges", len(m.def.Edges))
			m.src.Bind(source.Join(path, "to"), &source.Tree{Value: to, Place: n.fallback.Place})
			m.def.Edges = append(m.def.Edges, EdgeDef{From: id, To: to, Default: true})
			m.note(n.fallback.Place, source.Join(n.path, "fallback"), id, "the fallback is the default edge", "")
		}
		if none {
			continue
		}
		switch {
		case n.def.Kind == Human && !chooses:
			n.def.OnTimeout = to
			m.src.Bind(source.Join(at, "on_timeout"), n.fallback)
		case n.def.Kind != Decision && n.def.Kind != Human && n.def.Kind != Parallel:
			n.def.OnError = to
			m.src.Bind(source.Join(at, "on_error"), n.fallback)
		}
	}
}

// normalEnd returns the node that a fallback of "none" leads to.
func (m *importer) normalEnd(mk source.Place) string {
	if m.ends == "" {
		m.ends = "finished"
		for i := 2; ; i++ {
			if _, ok := m.ids[m.ends]; !ok {
				break
			}
			m.ends = fmt.Sprintf("finished_%d", i)
		}
		m.ids[m.ends] = len(m.nodes)
		m.def.Nodes = append(m.def.Nodes, &NodeDef{ID: m.ends, Kind: End, Fields: map[string]any{"end": "completed"}})
		m.src.Keys[source.Join("nodes", m.ends)] = mk
	}
	return m.ends
}

// declare declares the state keys that conditions read.
func (m *importer) declare() {
	types := map[string]map[string]bool{}
	var order []string
	for _, e := range m.def.Edges {
		if e.If == "" {
			continue
		}
		c, err := expr.CompileCondition(e.If, conditionScope)
		if err != nil {
			continue // Compile reports it
		}
		atoms, _ := c.Atoms()
		for _, ref := range c.Refs() {
			key, ok := strings.CutPrefix(ref, "state.")
			if !ok {
				continue
			}
			key, _, deeper := strings.Cut(key, ".")
			if types[key] == nil {
				types[key] = map[string]bool{}
				order = append(order, key)
			}
			if deeper {
				types[key]["object"] = true
			}
			for _, a := range atoms {
				switch {
				case a.Ref != ref && a.Other != ref:
				case a.Op == "":
					types[key]["boolean"] = true
				case a.Other != "" && strings.ContainsAny(a.Op, "<>"):
					types[key]["number"] = true
				case a.Other == "" && a.Ref == ref:
					if t := typeOf(a.Value); t == "integer" {
						types[key]["number"] = true
					} else {
						types[key][t] = true
					}
				}
			}
		}
	}
	for _, key := range order {
		if why, ok := expr.ReservedKey(key); ok {
			m.fail(CodeReservedKey, m.src.Values[""], "", "", fmt.Sprintf("a condition reads the key %q, but that %s", key, why), "rename it in the template")
			continue
		}
		k := KeyDef{Name: key}
		if len(types[key]) == 1 {
			k.Type = sortedKeys(types[key])[0]
		}
		m.def.State = append(m.def.State, k)
	}
}
