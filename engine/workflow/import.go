package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
)

// Import reads a JSON template of the original engine and compiles what it
// became, so that its problems are those of both. What importing changed or kept
// without meaning is a note. Importing the same content again gives the same
// hash.
//
//   - `edges` rules; `next_nodes` is checked against it and only used for a node
//     that has no edges there.
//   - ACTION becomes agent, HUMAN_INPUT human, SUBGRAPH workflow; DECISION,
//     PARALLEL and CONVERGE keep their names, in any letter case.
//   - A fallback is the default edge of a node that chooses, and on_error of one
//     that acts. The fallback "none" ends the run normally.
//   - Edges of one node are ordered by priority (1 before 2) where it is given.
//   - State keys that conditions read are declared, with the type of what they
//     are compared with and no default.
func Import(file string, text []byte) (*Definition, Problems) {
	return importTemplate(file, text, false)
}

// ImportStrict is Import, but refuses fields the format does not have.
func ImportStrict(file string, text []byte) (*Definition, Problems) {
	return importTemplate(file, text, true)
}

func importTemplate(file string, text []byte, strict bool) (*Definition, Problems) {
	src, t, problem := readTree(file, text)
	if problem != nil {
		return nil, Problems{*problem}
	}
	m := &importer{parser: parser{src: src, def: &Definition{src: src}}, strict: strict, ids: map[string]int{}}
	if t.shape != aMap {
		m.fail(CodeType, t.mark, "", "", "a template is an object, but this is "+t.kind(), "")
		return nil, m.problems
	}
	src.marks[""] = mark{line: t.mark.line, col: t.mark.col, width: 1}
	if nodes := t.get("nodes"); t.get("entry_node") == nil && nodes != nil && nodes.shape == aMap {
		m.fail(CodeTemplate, t.mark, "", "", "this is a definition already, not a template of the original engine", "wfd workflow apply takes it")
		return nil, m.problems
	}
	m.template(t)
	_, more := Compile(m.def)
	if m.problems.HasErrors() {
		more = more.beyond(m.problems)
	}
	return m.def, append(m.problems, more...).sorted()
}

type importer struct {
	parser
	strict bool
	ids    map[string]int // node id → index
	nodes  []*imported
	ends   string // the node a fallback of "none" leads to
}

// imported is a node with what is only known of it in the template.
type imported struct {
	def      *NodeDef
	kind     string // action, decision, …
	path     string // in the template: nodes[3]
	tree     *tree
	next     []string
	nextMark mark
	hasNext  bool
	fallback *tree
}

func (m *importer) note(mk mark, path, node, msg, hint string) {
	m.add(Note, CodeImport, mk, path, node, msg, hint)
}

// kept puts a field the format does not have under x-<name>.
func (m *importer) kept(extra *map[string]any, k, v *tree, path, node string) {
	name := k.scalar.(string)
	if m.strict {
		m.fail(CodeUnknownField, k.mark, join(path, name), node, fmt.Sprintf("the template format has no field %q", clip(name)), "")
		return
	}
	if *extra == nil {
		*extra = map[string]any{}
	}
	(*extra)["x-"+name] = v.plain()
	m.note(k.mark, join(path, name), node, fmt.Sprintf("the field %q has no meaning here", clip(name)), "kept as x-"+clip(name))
}

func (m *importer) template(t *tree) {
	d := m.def
	var entry, nodes, edges *tree
	for i, k := range t.keys {
		v, name := t.items[i], k.scalar.(string)
		m.src.keys[name] = k.mark
		m.src.bind(name, v)
		if v.isNull() {
			continue
		}
		switch name {
		case "name":
			d.Name = m.name(v, name, "")
		case "description":
			d.Description = m.longText(v, name, "", name)
		case "entry_node", "entry_node_id":
			entry = v
			d.Entry = m.importID(v)
			m.src.keys["entry"], m.src.marks["entry"] = k.mark, v.mark
		case "nodes":
			nodes = v
		case "edges":
			edges = v
		case "metadata":
			if v.shape == aMap {
				d.Metadata = v.plain().(map[string]any)
			} else {
				d.Metadata = map[string]any{"metadata": v.plain()}
			}
		case "timeout", "timeout_seconds", "timeout_ms":
			d.Timeout = m.seconds(v, name, name, "")
		default:
			m.kept(&d.Extra, k, v, "", "")
		}
	}
	for _, f := range []struct {
		name string
		have bool
	}{{"name", t.get("name") != nil}, {"entry_node", entry != nil}, {"nodes", nodes != nil}} {
		if !f.have {
			m.fail(CodeMissingField, m.src.marks[""], "", "", "the template lacks "+f.name, "")
		}
	}
	if nodes != nil {
		m.importNodes(nodes)
	}
	m.importEdges(edges)
	m.reconcile(edges != nil)
	m.fallbacks()
	m.declare()
}

// escape keeps text from being read as a template.
func escape(s string) string { return strings.ReplaceAll(s, "${", "$${") }

// importID reads an id, which old schemas also write as a number.
func (m *importer) importID(t *tree) string {
	switch s := t.scalar.(type) {
	case string:
		return s
	case int64:
		return fmt.Sprintf("n%d", s)
	}
	m.fail(CodeType, t.mark, "", "", "an id is "+t.kind()+", but should be text", "")
	return ""
}

// seconds reads a time given as a number of seconds, or as a duration.
func (m *importer) seconds(t *tree, name, path, node string) time.Duration {
	unit := time.Second
	if strings.HasSuffix(name, "_ms") {
		unit = time.Millisecond
	}
	switch s := t.scalar.(type) {
	case int64:
		if s > 0 && s < int64(100*365*24*time.Hour/unit) {
			return time.Duration(s) * unit
		}
	case float64:
		if s > 0 && s < float64(100*365*24*time.Hour/unit) {
			return time.Duration(s * float64(unit))
		}
	case string:
		return m.duration(t, path, node, name)
	}
	m.fail(CodeDuration, t.mark, path, node, name+" is no time", "write a number of seconds")
	return 0
}

var importKinds = map[string]Kind{
	"action": Agent, "decision": Decision, "human_input": Human, "subgraph": Sub, "parallel": Parallel, "converge": Converge,
}

func (m *importer) importNodes(t *tree) {
	if t.shape != aList {
		m.wrong(t, "nodes", "", "nodes", "a list of nodes")
		return
	}
	if len(t.items) > MaxNodes {
		m.fail(CodeLimit, m.src.markOf("nodes", true), "nodes", "", fmt.Sprintf("the template has %d nodes, the limit is %d", len(t.items), MaxNodes), "")
		return
	}
	for i, x := range t.items {
		path := join("nodes", i)
		if x.shape != aMap {
			m.wrong(x, path, "", "a node", "an object")
			continue
		}
		id := x.get("id")
		if id == nil {
			id = x.get("node_id")
		}
		if id == nil || id.isNull() {
			m.fail(CodeMissingField, x.mark, path, "", "a node has no id", "")
			continue
		}
		n := &imported{def: &NodeDef{ID: m.importID(id), Fields: map[string]any{}}, path: path, tree: x}
		if first, ok := m.ids[n.def.ID]; ok {
			m.fail(CodeDuplicateID, id.mark, path, n.def.ID, fmt.Sprintf("the node %q is there twice", clip(n.def.ID)), fmt.Sprintf("the first is at line %d", m.nodes[first].tree.mark.line))
			continue
		}
		if why := badID(n.def.ID, true); why != "" {
			m.fail(CodeID, id.mark, path, n.def.ID, fmt.Sprintf("the node id %q %s", clip(n.def.ID), why), "ids are letters a-z, digits, _ and -")
		}
		m.ids[n.def.ID] = len(m.nodes)
		m.nodes = append(m.nodes, n)
		m.src.keys[join("nodes", n.def.ID)] = id.mark
		m.importNode(n)
		m.def.Nodes = append(m.def.Nodes, n.def)
	}
}

func (m *importer) importNode(n *imported) {
	def, id := n.def, n.def.ID
	at := join("nodes", id) // where it stands in the definition
	here := func(field string, k, v *tree) {
		m.src.keys[join(at, field)] = k.mark
		m.src.bind(join(at, field), v)
	}
	typ := n.tree.get("type")
	if typ == nil {
		typ = n.tree.get("node_type")
	}
	if typ == nil {
		m.fail(CodeMissingField, n.tree.mark, n.path, id, fmt.Sprintf("the node %s has no type", id), "")
		return
	}
	s, _ := typ.scalar.(string)
	n.kind = strings.ReplaceAll(strings.ToLower(s), "-", "_")
	kind, ok := importKinds[n.kind]
	if !ok {
		names := sortedKeys(importKinds)
		hint := "types are " + strings.ToUpper(list(names, "and"))
		if near := suggest(n.kind, names); near != "" {
			hint = "did you mean " + strings.ToUpper(near) + "? Types are " + strings.ToUpper(list(names, "and"))
		}
		m.fail(CodeKind, typ.mark, join(n.path, "type"), id, fmt.Sprintf("the node %s has the type %q, which does not exist", id, clip(s)), hint)
		return
	}
	def.Kind = kind
	var role, agent, prompt, child string
	for i, k := range n.tree.keys {
		v, name := n.tree.items[i], k.scalar.(string)
		path := join(n.path, name)
		if v.isNull() {
			continue
		}
		switch name {
		case "id", "node_id", "type", "node_type":
		case "name":
			here("name", k, v)
			def.Name = m.name(v, join(at, "name"), id)
		case "description":
			here("description", k, v)
			def.Description = m.longText(v, join(at, "description"), id, name)
		case "agent_role", "role":
			here("role", k, v)
			role = strings.ToLower(m.text(v, join(at, "role"), id, name))
		case "agent_id", "agent", "agent_name":
			here("agent", k, v)
			agent = expr.Text(v.scalar)
			if _, number := v.scalar.(int64); number {
				if agent == "0" { // the old schema's "none"
					agent = ""
					continue
				}
				m.note(v.mark, path, id, "the agent is given as a number", fmt.Sprintf("an agent called %q is needed", agent))
			}
		case "action_prompt", "prompt":
			here("prompt", k, v)
			prompt = escape(m.longText(v, join(at, "prompt"), id, name))
		case "next_nodes":
			n.hasNext, n.nextMark = true, v.mark
			m.src.keys[join(at, name)] = k.mark
			m.nextNodes(n, v, path)
		case "fallback", "fallback_node", "fallback_node_id":
			n.fallback = v
		case "timeout", "timeout_seconds", "timeout_ms":
			here("timeout", k, v)
			def.Timeout = m.seconds(v, name, join(at, "timeout"), id)
		case "max_retries", "retries":
			here("retry", k, v)
			def.Retry = &Retry{Max: 1 + int(m.count(v, &field{name: name, max: MaxAttempts - 1}, join(at, "retry"), id))}
		case "max_visits", "max_iterations":
			here("max_visits", k, v)
			def.MaxVisits = int(m.count(v, &field{name: name, min: 1, max: MaxVisitLimit}, join(at, "max_visits"), id))
		case "workflow", "workflow_name", "workflow_id", "subgraph", "subgraph_id", "subgraph_name":
			here("workflow", k, v)
			child = expr.Text(v.scalar)
		default:
			m.kept(&def.Extra, k, v, n.path, id)
		}
	}
	set := func(field, value string) {
		if value != "" {
			def.Fields[field] = value
		}
	}
	switch kind {
	case Agent, Converge:
		if agent == "" {
			set("role", role)
		}
		set("agent", agent)
		set("prompt", prompt)
		switch {
		case kind == Agent && role == "" && agent == "":
			m.fail(CodeMissingField, m.src.markOf(at, true), n.path, id, fmt.Sprintf("the ACTION %s has no agent_role and no agent", id), "")
		case kind == Converge && prompt == "":
			delete(def.Fields, "role")
			delete(def.Fields, "agent")
		case kind == Converge && role == "" && agent == "":
			def.Fields["role"] = "orchestrator"
			m.note(m.src.markOf(join(at, "prompt"), true), n.path, id, fmt.Sprintf("the CONVERGE %s has a prompt and no role", id), "the role orchestrator combines its inputs")
		}
	case Human:
		if prompt == "" {
			prompt = escape(def.Description)
		}
		if prompt == "" {
			prompt = escape(def.Title())
		}
		set("prompt", prompt)
	case Sub:
		set("workflow", child)
		if child == "" {
			m.fail(CodeMissingField, m.src.markOf(at, true), n.path, id, fmt.Sprintf("the SUBGRAPH %s does not name a workflow", id), "")
		}
	}
}

func (m *importer) nextNodes(n *imported, v *tree, path string) {
	switch v.shape {
	case aScalar:
		m.add(Note, CodeNextNodes, v.mark, path, n.def.ID, "next_nodes is text, not a list", "taken as a list of one")
		n.next = append(n.next, m.importID(v))
	case aList:
		for _, x := range v.items {
			if x.shape == aScalar {
				n.next = append(n.next, m.importID(x))
			} else {
				m.wrong(x, path, n.def.ID, "a next node", "an id")
			}
		}
	default:
		m.wrong(v, path, n.def.ID, "next_nodes", "a list of ids")
	}
}

func (m *importer) importEdges(t *tree) {
	if t == nil {
		return
	}
	if t.shape != aList {
		m.wrong(t, "edges", "", "edges", "a list of edges")
		return
	}
	if len(t.items) > MaxEdges {
		m.fail(CodeLimit, m.src.markOf("edges", true), "edges", "", fmt.Sprintf("the template has %d edges, the limit is %d", len(t.items), MaxEdges), "")
		return
	}
	type ordered struct {
		EdgeDef
		tree     *tree
		cond     *tree
		priority int64
	}
	var edges []ordered
	prioritised := false
	for i, x := range t.items {
		path := join("edges", i)
		if x.shape != aMap {
			m.wrong(x, path, "", "an edge", "an object with from and to")
			continue
		}
		e := ordered{tree: x}
		for j, k := range x.keys {
			v, name := x.items[j], k.scalar.(string)
			if v.isNull() {
				continue
			}
			switch name {
			case "from", "from_node", "from_node_id":
				e.From = m.importID(v)
			case "to", "to_node", "to_node_id":
				e.To = m.importID(v)
			case "condition":
				e.cond = v
				e.If = m.importCondition(v, join(path, "condition"), e.From)
			case "is_default", "default":
				if i, ok := v.scalar.(int64); ok {
					e.Default = i != 0
				} else {
					e.Default = m.flag(v, join(path, name), e.From, name)
				}
			case "priority":
				e.priority, prioritised = m.count(v, &field{name: name, min: -1 << 31}, join(path, name), e.From), true
			default:
				m.kept(&e.Extra, k, v, path, e.From)
			}
		}
		if e.From == "" || e.To == "" {
			m.fail(CodeMissingField, x.mark, path, e.From, "an edge needs from and to", "")
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
		path := join("edges", i)
		m.src.bind(path, e.tree)
		for old, field := range map[string]string{"from_node": "from", "from_node_id": "from", "to_node": "to", "to_node_id": "to", "is_default": "default"} {
			if v := e.tree.get(old); v != nil {
				m.src.bind(join(path, field), v)
			}
		}
		if e.cond != nil {
			m.src.bind(join(path, "if"), e.cond)
		}
		m.def.Edges = append(m.def.Edges, e.EdgeDef)
	}
}

func (m *importer) importCondition(v *tree, path, node string) string {
	s := m.condition(v, path, node)
	if len(s) > expr.MaxCondition {
		return s // refused when it is compiled
	}
	if r := expr.RewriteInfix(s); r != s {
		m.note(v.mark, path, node, fmt.Sprintf("the condition %q is written with an infix operator", clip(s)), "imported as "+r)
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
		id, path := n.def.ID, join(n.path, "next_nodes")
		have := out[id]
		add := func(s Severity, msg, hint string) { m.add(s, CodeNextNodes, n.nextMark, path, id, msg, hint) }
		switch {
		case !n.hasNext:
		case len(have) == 0:
			for _, to := range n.next {
				m.src.bind(join(join("edges", len(m.def.Edges)), "to"), &tree{scalar: to, mark: n.nextMark})
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
		id, at := n.def.ID, join("nodes", n.def.ID)
		to := ""
		switch s := n.fallback.scalar.(type) {
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
				to = m.normalEnd(n.fallback.mark)
			}
			path := join("edges", len(m.def.Edges))
			m.src.bind(join(path, "to"), &tree{scalar: to, mark: n.fallback.mark})
			m.def.Edges = append(m.def.Edges, EdgeDef{From: id, To: to, Default: true})
			m.note(n.fallback.mark, join(n.path, "fallback"), id, "the fallback is the default edge", "")
		}
		if none {
			continue
		}
		switch {
		case n.def.Kind == Human && !chooses:
			n.def.OnTimeout = to
			m.src.bind(join(at, "on_timeout"), n.fallback)
		case n.def.Kind != Decision && n.def.Kind != Human && n.def.Kind != Parallel:
			n.def.OnError = to
			m.src.bind(join(at, "on_error"), n.fallback)
		}
	}
}

// normalEnd returns the node that a fallback of "none" leads to.
func (m *importer) normalEnd(mk mark) string {
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
		m.src.keys[join("nodes", m.ends)] = mk
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
			m.fail(CodeReservedKey, m.src.marks[""], "", "", fmt.Sprintf("a condition reads the key %q, but that %s", key, why), "rename it in the template")
			continue
		}
		k := KeyDef{Name: key}
		if len(types[key]) == 1 {
			k.Type = sortedKeys(types[key])[0]
		}
		m.def.State = append(m.def.State, k)
	}
}
