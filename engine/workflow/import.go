package workflow

import (
	"fmt"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
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
	src, t, problem := source.Read(file, text, words)
	if problem != nil {
		return nil, Problems{*problem}
	}
	m := &importer{parser: parser{src: src, def: &Definition{src: src}}, strict: strict, ids: map[string]int{}}
	if t.Kind != source.Map {
		m.fail(CodeType, t.Place, "", "", "a template is an object, but this is "+t.What(), "")
		return nil, m.problems
	}
	src.Values[""] = source.Place{Line: t.Place.Line, Column: t.Place.Column, Width: 1}
	if nodes := t.Get("nodes"); t.Get("entry_node") == nil && nodes != nil && nodes.Kind == source.Map {
		m.fail(CodeTemplate, t.Place, "", "", "this is a definition already, not a template of the original engine", "wfd workflow apply takes it")
		return nil, m.problems
	}
	m.template(t)
	_, more := Compile(m.def)
	if m.problems.HasErrors() {
		more = beyond(m.problems, more)
	}
	return m.def, append(m.problems, more...).Sorted()
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
	tree     *source.Tree
	next     []string
	nextMark source.Place
	hasNext  bool
	fallback *source.Tree
}

func (m *importer) note(mk source.Place, path, node, msg, hint string) {
	m.add(Note, CodeImport, mk, path, node, msg, hint)
}

// kept puts a field the format does not have under x-<name>.
func (m *importer) kept(extra *map[string]any, k, v *source.Tree, path, node string) {
	name := k.Value.(string)
	if m.strict {
		m.fail(CodeUnknownField, k.Place, source.Join(path, name), node, fmt.Sprintf("the template format has no field %q", source.Clip(name)), "")
		return
	}
	if *extra == nil {
		*extra = map[string]any{}
	}
	(*extra)["x-"+name] = v.Plain()
	m.note(k.Place, source.Join(path, name), node, fmt.Sprintf("the field %q has no meaning here", source.Clip(name)), "kept as x-"+source.Clip(name))
}

func (m *importer) template(t *source.Tree) {
	d := m.def
	var entry, nodes, edges *source.Tree
	for i, k := range t.Keys {
		v, name := t.Items[i], k.Value.(string)
		m.src.Keys[name] = k.Place
		m.src.Bind(name, v)
		if v.IsNull() {
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
			m.src.Keys["entry"], m.src.Values["entry"] = k.Place, v.Place
		case "nodes":
			nodes = v
		case "edges":
			edges = v
		case "metadata":
			if v.Kind == source.Map {
				d.Metadata = v.Plain().(map[string]any)
			} else {
				d.Metadata = map[string]any{"metadata": v.Plain()}
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
	}{{"name", t.Get("name") != nil}, {"entry_node", entry != nil}, {"nodes", nodes != nil}} {
		if !f.have {
			m.fail(CodeMissingField, m.src.Values[""], "", "", "the template lacks "+f.name, "")
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
func (m *importer) importID(t *source.Tree) string {
	switch s := t.Value.(type) {
	case string:
		return s
	case int64:
		return fmt.Sprintf("n%d", s)
	}
	m.fail(CodeType, t.Place, "", "", "an id is "+t.What()+", but should be text", "")
	return ""
}

// seconds reads a time given as a number of seconds, or as a duration.
func (m *importer) seconds(t *source.Tree, name, path, node string) time.Duration {
	unit := time.Second
	if strings.HasSuffix(name, "_ms") {
		unit = time.Millisecond
	}
	switch s := t.Value.(type) {
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
	m.fail(CodeDuration, t.Place, path, node, name+" is no time", "write a number of seconds")
	return 0
}

var importKinds = map[string]Kind{
	"action": Agent, "decision": Decision, "human_input": Human, "subgraph": Sub, "parallel": Parallel, "converge": Converge,
}

func (m *importer) importNodes(t *source.Tree) {
	if t.Kind != source.List {
		m.wrong(t, "nodes", "", "nodes", "a list of nodes")
		return
	}
	if len(t.Items) > MaxNodes {
		m.fail(CodeLimit, m.src.PlaceOf("nodes", true), "nodes", "", fmt.Sprintf("the template has %d nodes, the limit is %d", len(t.Items), MaxNodes), "")
		return
	}
	for i, x := range t.Items {
		path := source.Join("nodes", i)
		if x.Kind != source.Map {
			m.wrong(x, path, "", "a node", "an object")
			continue
		}
		id := x.Get("id")
		if id == nil {
			id = x.Get("node_id")
		}
		if id == nil || id.IsNull() {
			m.fail(CodeMissingField, x.Place, path, "", "a node has no id", "")
			continue
		}
		n := &imported{def: &NodeDef{ID: m.importID(id), Fields: map[string]any{}}, path: path, tree: x}
		if first, ok := m.ids[n.def.ID]; ok {
			m.fail(CodeDuplicateID, id.Place, path, n.def.ID, fmt.Sprintf("the node %q is there twice", source.Clip(n.def.ID)), fmt.Sprintf("the first is at line %d", m.nodes[first].tree.Place.Line))
			continue
		}
		if why := badID(n.def.ID, true); why != "" {
			m.fail(CodeID, id.Place, path, n.def.ID, fmt.Sprintf("the node id %q %s", source.Clip(n.def.ID), why), "ids are letters a-z, digits, _ and -")
		}
		m.ids[n.def.ID] = len(m.nodes)
		m.nodes = append(m.nodes, n)
		m.src.Keys[source.Join("nodes", n.def.ID)] = id.Place
		m.importNode(n)
		m.def.Nodes = append(m.def.Nodes, n.def)
	}
}

func (m *importer) importNode(n *imported) {
	def, id := n.def, n.def.ID
	at := source.Join("nodes", id) // where it stands in the definition
	here := func(field string, k, v *source.Tree) {
		m.src.Keys[source.Join(at, field)] = k.Place
		m.src.Bind(source.Join(at, field), v)
	}
	typ := n.tree.Get("type")
	if typ == nil {
		typ = n.tree.Get("node_type")
	}
	if typ == nil {
		m.fail(CodeMissingField, n.tree.Place, n.path, id, fmt.Sprintf("the node %s has no type", id), "")
		return
	}
	s, _ := typ.Value.(string)
	n.kind = strings.ReplaceAll(strings.ToLower(s), "-", "_")
	kind, ok := importKinds[n.kind]
	if !ok {
		names := sortedKeys(importKinds)
		hint := "types are " + strings.ToUpper(list(names, "and"))
		if near := suggest(n.kind, names); near != "" {
			hint = "did you mean " + strings.ToUpper(near) + "? Types are " + strings.ToUpper(list(names, "and"))
		}
		m.fail(CodeKind, typ.Place, source.Join(n.path, "type"), id, fmt.Sprintf("the node %s has the type %q, which does not exist", id, source.Clip(s)), hint)
		return
	}
	def.Kind = kind
	var role, agent, prompt, child string
	for i, k := range n.tree.Keys {
		v, name := n.tree.Items[i], k.Value.(string)
		path := source.Join(n.path, name)
		if v.IsNull() {
			continue
		}
		switch name {
		case "id", "node_id", "type", "node_type":
		case "name":
			here("name", k, v)
			def.Name = m.name(v, source.Join(at, "name"), id)
		case "description":
			here("description", k, v)
			def.Description = m.longText(v, source.Join(at, "description"), id, name)
		case "agent_role", "role":
			here("role", k, v)
			role = strings.ToLower(m.text(v, source.Join(at, "role"), id, name))
		case "agent_id", "agent", "agent_name":
			here("agent", k, v)
			agent = expr.Text(v.Value)
			if _, number := v.Value.(int64); number {
				if agent == "0" { // the old schema's "none"
					agent = ""
					continue
				}
				m.note(v.Place, path, id, "the agent is given as a number", fmt.Sprintf("an agent called %q is needed", agent))
			}
		case "action_prompt", "prompt":
			here("prompt", k, v)
			prompt = escape(m.longText(v, source.Join(at, "prompt"), id, name))
		case "next_nodes":
			n.hasNext, n.nextMark = true, v.Place
			m.src.Keys[source.Join(at, name)] = k.Place
			m.nextNodes(n, v, path)
		case "fallback", "fallback_node", "fallback_node_id":
			n.fallback = v
		case "timeout", "timeout_seconds", "timeout_ms":
			here("timeout", k, v)
			def.Timeout = m.seconds(v, name, source.Join(at, "timeout"), id)
		case "max_retries", "retries":
			here("retry", k, v)
			def.Retry = &Retry{Max: 1 + int(m.count(v, &field{name: name, max: MaxAttempts - 1}, source.Join(at, "retry"), id))}
		case "max_visits", "max_iterations":
			here("max_visits", k, v)
			def.MaxVisits = int(m.count(v, &field{name: name, min: 1, max: MaxVisitLimit}, source.Join(at, "max_visits"), id))
		case "workflow", "workflow_name", "workflow_id", "subgraph", "subgraph_id", "subgraph_name":
			here("workflow", k, v)
			child = expr.Text(v.Value)
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
			m.fail(CodeMissingField, m.src.PlaceOf(at, true), n.path, id, fmt.Sprintf("the ACTION %s has no agent_role and no agent", id), "")
		case kind == Converge && prompt == "":
			delete(def.Fields, "role")
			delete(def.Fields, "agent")
		case kind == Converge && role == "" && agent == "":
			def.Fields["role"] = "orchestrator"
			m.note(m.src.PlaceOf(source.Join(at, "prompt"), true), n.path, id, fmt.Sprintf("the CONVERGE %s has a prompt and no role", id), "the role orchestrator combines its inputs")
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
			m.fail(CodeMissingField, m.src.PlaceOf(at, true), n.path, id, fmt.Sprintf("the SUBGRAPH %s does not name a workflow", id), "")
		}
	}
}

func (m *importer) nextNodes(n *imported, v *source.Tree, path string) {
	switch v.Kind {
	case source.Scalar:
		m.add(Note, CodeNextNodes, v.Place, path, n.def.ID, "next_nodes is text, not a list", "taken as a list of one")
		n.next = append(n.next, m.importID(v))
	case source.List:
		for _, x := range v.Items {
			if x.Kind == source.Scalar {
				n.next = append(n.next, m.importID(x))
			} else {
				m.wrong(x, path, n.def.ID, "a next node", "an id")
			}
		}
	default:
		m.wrong(v, path, n.def.ID, "next_nodes", "a list of ids")
	}
}
