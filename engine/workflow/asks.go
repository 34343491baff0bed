package workflow

import (
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
)

// Asks is what a node's answer decides, as far as the definition shows: the keys that
// conditions read next and that nothing else sets, what the node's own set takes from
// the result, and what it promises as outputs. Whoever answers has to be told, or the
// run would not know where to go.
type Asks struct {
	Keys []AskedKey // in the order in which they are met
	// Cases are answers that between them take every edge, one for each edge and in
	// their order; none if that cannot be told.
	Cases []map[string]any
}

// AskedKey is one field of the answer.
type AskedKey struct {
	Name   string
	Type   string // JSON Schema type name, "" = any
	Doc    string
	Values []string // it is one of these; none: any
}

const (
	textKey = "text" // the answer itself, which every answer has
	maxDoc  = 300
)

// Asks returns what is asked of a node's answer. It is worked out once.
func (w *Workflow) Asks(n *Node) *Asks {
	if a, ok := w.asks.Load(n); ok {
		return a.(*Asks)
	}
	q := asking{w: w, n: n, fields: map[string]string{}}
	a, _ := w.asks.LoadOrStore(n, q.asks())
	return a.(*Asks)
}

// asking works out what is asked of one node.
type asking struct {
	w      *Workflow
	n      *Node
	out    Asks
	fields map[string]string // by reference of a condition: the answer's field
}

func (q *asking) asks() *Asks {
	q.outputs()
	q.own()
	near, far := q.decisions()
	for _, d := range near {
		q.conditions(d, true)
	}
	for _, d := range far {
		q.conditions(d, false)
	}
	q.cases(slices.Concat(near, far))
	return &q.out
}

// outputs takes what the node promises.
func (q *asking) outputs() {
	outputs, _ := q.n.Def.Fields["outputs"].(map[string]any)
	for _, k := range sortedKeys(outputs) {
		typ, _ := outputs[k].(string)
		q.add(k, typ, "")
		q.fields["state."+k] = k
	}
}

// own takes what the node sets from its result.
func (q *asking) own() {
	for _, s := range q.n.Set {
		refs := s.Value.Refs()
		for _, r := range refs {
			field, ok := strings.CutPrefix(r, "result.")
			if !ok {
				continue
			}
			field, deeper, _ := strings.Cut(field, ".")
			typ := ""
			if deeper != "" {
				typ = "object"
			} else if k := q.w.Key(s.Key); k != nil && len(refs) == 1 && k.Reduce == ReduceLast {
				typ = k.Type
				q.fields["state."+s.Key] = field
			}
			q.add(field, typ, "")
		}
	}
}

// decisions returns the nodes whose conditions are looked at once the node has
// answered: itself and those that follow without anybody doing anything; near are
// those that see its result, far those behind a join.
func (q *asking) decisions() (near, far []*Node) {
	type step struct {
		n    *Node
		near bool
	}
	seen := map[int]bool{q.n.Index: true}
	for todo := []step{{q.n, true}}; len(todo) > 0; todo = todo[1:] {
		s := todo[0]
		switch {
		case !s.n.Conditional():
		case s.near:
			near = append(near, s.n)
		default:
			far = append(far, s.n)
		}
		for _, e := range s.n.Out {
			m := q.w.Nodes[e.To]
			if seen[m.Index] || m.Runs || m.Kind != Decision && m.Kind != Parallel && m.Kind != Converge {
				continue
			}
			seen[m.Index] = true
			todo = append(todo, step{m, s.near && m.Kind != Converge && len(m.In) == 1})
		}
	}
	return near, far
}

// conditions takes what the conditions of a node read.
func (q *asking) conditions(d *Node, near bool) {
	for _, e := range d.Out {
		if e.If == nil {
			continue
		}
		for _, ref := range e.If.Refs() {
			if _, known := q.fields[ref]; known {
				continue
			}
			path := strings.Split(ref, ".")
			switch {
			case len(path) < 2:
			case path[0] == "state" && q.w.Key(path[1]) != nil && !q.w.sets(path[1]):
				q.fields[ref] = path[1]
				q.add(path[1], q.w.Key(path[1]).Type, q.w.keyDoc(path[1]))
			case path[0] == "result" && near && len(path) == 2:
				q.fields[ref] = path[1]
				q.add(path[1], "", "")
			}
		}
		q.values(d, e)
	}
}

// values takes from a condition which values a field is compared with.
func (q *asking) values(d *Node, e *Edge) {
	atoms, ok := e.If.Atoms()
	for _, a := range atoms {
		k := q.key(q.fields[a.Ref])
		if k == nil {
			continue
		}
		if doc := "decides " + e.If.Text(); !strings.Contains(k.Doc, doc) && len(k.Doc) < maxDoc {
			k.Doc = strings.TrimPrefix(k.Doc+"; "+doc, "; ")
		}
		switch v := a.Value.(type) {
		case string:
			if k.Type = either(k.Type, "string"); ok && a.Op == "==" && !slices.Contains(k.Values, v) {
				k.Values = append(k.Values, v)
			}
		case int64, float64:
			k.Type = either(k.Type, "number")
		case bool:
			k.Type = either(k.Type, "boolean")
		}
		if a.Op == "" {
			k.Type = either(k.Type, "boolean")
		}
	}
	if slices.ContainsFunc(d.Out, func(e *Edge) bool { return e.Default }) {
		for _, a := range atoms {
			if k := q.key(q.fields[a.Ref]); k != nil && len(k.Values) > 0 && !slices.Contains(k.Values, otherValue) {
				k.Values = append(k.Values, otherValue)
			}
		}
	}
}

// otherValue stands for all that no condition names.
const otherValue = "other"

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (q *asking) key(name string) *AskedKey {
	for i := range q.out.Keys {
		if q.out.Keys[i].Name == name {
			return &q.out.Keys[i]
		}
	}
	return nil
}

func (q *asking) add(name, typ, doc string) {
	if name == "" || name == textKey {
		return
	}
	if k := q.key(name); k == nil {
		q.out.Keys = append(q.out.Keys, AskedKey{Name: name, Type: typ, Doc: doc})
	} else if k.Type == "" {
		k.Type = typ
	}
}

// sets reports whether the definition itself sets a key.
func (w *Workflow) sets(key string) bool {
	is := func(s SetExpr) bool { return s.Key == key }
	return slices.ContainsFunc(w.Nodes, func(n *Node) bool { return slices.ContainsFunc(n.Set, is) })
}

func (w *Workflow) keyDoc(name string) string {
	for _, k := range w.Def.State {
		if k.Name == name {
			return k.Description
		}
	}
	return ""
}

// cases finds an answer for every edge of the decisions.
func (q *asking) cases(decisions []*Node) {
	longest := 0
	var found [][]map[string]any
	for _, d := range decisions {
		if list := q.casesOf(d); len(list) > 0 {
			found = append(found, list)
			longest = max(longest, len(list))
		}
	}
	for i := range longest {
		answer := map[string]any{}
		for _, list := range found {
			for k, v := range list[i%len(list)] {
				answer[k] = v
			}
		}
		q.out.Cases = append(q.out.Cases, answer)
	}
}

// casesOf returns an answer for each edge of one decision that the answer can lead to.
func (q *asking) casesOf(d *Node) []map[string]any {
	literals := map[string][]any{}
	for _, e := range d.Out {
		if e.If == nil {
			continue
		}
		atoms, ok := e.If.Atoms()
		if !ok {
			return nil
		}
		for _, a := range atoms {
			v := a.Value
			if a.Op == "" {
				v = true
			}
			if a.Other != "" || q.fields[a.Ref] == "" {
				return nil // others have a say in it
			}
			literals[a.Ref] = append(literals[a.Ref], v)
		}
	}
	refs := sortedKeys(literals)
	values, total := make([][]any, len(refs)), 1
	for i, r := range refs {
		values[i] = q.w.candidates(r, literals[r])
		if total *= len(values[i]); total > maxCases {
			return nil
		}
	}
	byEdge := map[int]map[string]any{}
	for k := range total {
		vars := caseVars{}
		vars.fill(refs, values, k)
		at := taken(d, vars)
		if at < 0 || byEdge[at] != nil {
			continue
		}
		answer := map[string]any{}
		for i, r := range refs {
			answer[q.fields[r]] = values[i][k%len(values[i])]
			k /= len(values[i])
		}
		byEdge[at] = answer
	}
	var list []map[string]any
	for i := range d.Out {
		if byEdge[i] != nil {
			list = append(list, byEdge[i])
		}
	}
	return list
}

// taken returns which edge of a decision is taken, -1 if none is.
func taken(d *Node, vars expr.Vars) int {
	other := -1
	for i, e := range d.Out {
		if e.If == nil {
			other = i
		} else if e.If.Eval(vars).Met {
			return i
		}
	}
	return other
}

// Schema returns the JSON Schema of an answer with all that is asked; nil if nothing
// is.
func (a *Asks) Schema() map[string]any {
	if len(a.Keys) == 0 {
		return nil
	}
	props := map[string]any{textKey: map[string]any{"type": "string", "description": "the answer itself"}}
	required := []any{textKey}
	for _, k := range a.Keys {
		s := map[string]any{"type": either(k.Type, "string")}
		switch {
		case len(k.Values) > 1:
			enum := make([]any, len(k.Values))
			for i, v := range k.Values {
				enum[i] = v
			}
			s["enum"] = enum
		case k.Type == "array":
			s["items"] = map[string]any{}
		}
		if k.Doc != "" {
			s["description"] = k.Doc
		}
		props[k.Name] = s
		required = append(required, k.Name)
	}
	return map[string]any{"type": "object", "properties": props, "required": required, "additionalProperties": false}
}
