package workflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// node reads a node. inner is set for the node a foreach does: it has no edges
// of its own, so that what concerns them is refused.
func (p *parser) node(id string, key, t *source.Tree, path string, inner bool) *NodeDef {
	if t.Kind != source.Map {
		p.fail(CodeType, key.Place, path, id, fmt.Sprintf("node %q is %s, but should be an object", source.Clip(id), t.What()), "a node names what it does: {agent: writer, prompt: …}")
		return nil
	}
	n := &NodeDef{ID: id, Fields: map[string]any{}}
	kind, kindKey := p.kindOf(id, key, t, path)
	if kind == "" {
		// Nothing else can be said about the node, but its edges can be.
		return n
	}
	n.Kind = kind
	spec := specOf(kind)
	given := map[string]source.Place{}
	use := func(name string, k, v *source.Tree, sub string) {
		if _, ok := given[name]; ok {
			p.fail(CodeDuplicateKey, k.Place, sub, id, fmt.Sprintf("%s is given twice", name), "once beside the kind and once inside it")
			return
		}
		if v.IsNull() && name != "input" && name != "body" {
			return // as if left out
		}
		given[name] = k.Place
		at := source.Join(path, name)
		p.src.Keys[at] = k.Place
		if sub != at {
			p.src.Bind(at, v)
		}
		if f := spec.field(name); f != nil {
			p.kindField(n, f, v, at)
		} else {
			p.commonField(n, name, v, at, inner)
		}
	}
	what := nodeWords(kind)
	for i, k := range t.Keys {
		name, v := k.Value.(string), t.Items[i]
		sub := source.Join(path, name)
		switch {
		case name == "type":
		case name == kindKey:
			p.inside(n, spec, k, v, sub, use)
		case spec.field(name) != nil, find(commonFields, name) != nil:
			use(name, k, v, sub)
		case strings.HasPrefix(name, "x-"):
			if n.Extra == nil {
				n.Extra = map[string]any{}
			}
			n.Extra[name] = v.Plain()
		default:
			p.unknownNodeField(k, sub, id, what, spec)
		}
	}
	for _, f := range spec.fields {
		if _, ok := given[f.name]; f.required && !ok {
			p.fail(CodeMissingField, key.Place, path, id, what+" lacks "+f.name, f.doc)
		}
	}
	if len(spec.oneOf) > 0 && !slices.ContainsFunc(spec.oneOf, func(f string) bool { _, ok := given[f]; return ok }) {
		p.fail(CodeMissingField, key.Place, path, id, what+" lacks "+list(spec.oneOf, "or"), "")
	}
	p.contradictions(n, given, key, path)
	return n
}

func nodeWords(k Kind) string {
	switch k {
	case Agent, HTTP, Exec, End:
		return "an " + string(k) + " node"
	}
	return "a " + string(k) + " node"
}

// kindOf finds what a node does: `type`, or the key that names the kind.
func (p *parser) kindOf(id string, key, t *source.Tree, path string) (Kind, string) {
	if typ := t.Get("type"); typ != nil {
		s, ok := typ.Value.(string)
		if !ok {
			p.wrong(typ, source.Join(path, "type"), id, "type", "the name of a kind")
			return "", ""
		}
		k := Kind(strings.ToLower(s))
		if specOf(k) == nil {
			hint := "kinds are " + list(kindNames(), "and")
			if near := suggest(s, kindNames()); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.fail(CodeKind, typ.Place, source.Join(path, "type"), id, fmt.Sprintf("there is no kind of node called %q", source.Clip(s)), hint)
			return "", ""
		}
		// {type: http, http: {…}} says it twice; the second is read as the fields.
		if v := t.Get(string(k)); v != nil && (specOf(k).field(string(k)) == nil || v.Kind == source.Map) {
			return k, string(k)
		}
		return k, ""
	}
	var found []Kind
	for _, k := range t.Keys {
		if s := k.Value.(string); specOf(Kind(s)) != nil {
			found = append(found, Kind(s))
		}
	}
	if len(found) > 1 { // `agent` may be a field of a converge, `workflow` of a foreach
		found = slices.DeleteFunc(found, func(k Kind) bool {
			return slices.ContainsFunc(found, func(o Kind) bool { return o != k && specOf(o).field(string(k)) != nil })
		})
	}
	switch {
	case len(found) == 1:
		return found[0], string(found[0])
	case len(found) > 1:
		p.fail(CodeKind, key.Place, path, id, fmt.Sprintf("node %q has two kinds, %s and %s", source.Clip(id), found[0], found[1]), "make it two nodes with an edge")
		return "", ""
	case t.Get("role") != nil:
		return Agent, ""
	}
	for _, k := range t.Keys {
		if near := suggest(k.Value.(string), kindNames()); near != "" && find(commonFields, k.Value.(string)) == nil {
			p.fail(CodeKind, k.Place, path, id, fmt.Sprintf("node %q has no kind, and %q is none", source.Clip(id), source.Clip(k.Value.(string))), "did you mean "+near+"?")
			return "", ""
		}
	}
	p.fail(CodeKind, key.Place, path, id, fmt.Sprintf("node %q does not say what it does", source.Clip(id)), "it needs one of "+list(kindNames(), "or"))
	return "", ""
}

// inside reads the value of the key that names the kind.
func (p *parser) inside(n *NodeDef, spec *kindSpec, k, v *source.Tree, path string, use func(name string, k, v *source.Tree, sub string)) {
	switch {
	case v.IsNull(), v.Kind == source.Scalar && v.Value == true && spec.short == "":
	case v.Kind == source.Map:
		for i, fk := range v.Keys {
			name := fk.Value.(string)
			sub := source.Join(path, name)
			if spec.field(name) != nil || find(commonFields, name) != nil && name != "type" && name != "name" && name != "needs" {
				use(name, fk, v.Items[i], sub)
			} else {
				p.unknownNodeField(fk, sub, n.ID, nodeWords(n.Kind), spec)
			}
		}
	case spec.short == "":
		p.wrong(v, path, n.ID, string(n.Kind), "an object, possibly {}")
	default:
		use(spec.short, k, v, path)
		p.src.Values[source.Join(source.Parent(path), spec.short)] = v.Place
	}
}

func (p *parser) unknownNodeField(k *source.Tree, path, id, what string, spec *kindSpec) {
	name := k.Value.(string)
	known := fieldNames(spec.fields, commonFields)
	if near := suggest(name, known); near == "" {
		for _, other := range kinds {
			if other.kind != spec.kind && other.field(name) != nil {
				p.fail(CodeUnknownField, k.Place, path, id, fmt.Sprintf("%s has no field %q", what, source.Clip(name)), "that is a field of "+nodeWords(other.kind))
				return
			}
		}
	}
	if own := fieldNames(spec.fields); suggest(name, known) == "" && len(own) > 0 {
		p.fail(CodeUnknownField, k.Place, path, id, fmt.Sprintf("%s has no field %q", what, source.Clip(name)), "its fields are "+list(own, "and")+", besides those of every node")
		return
	}
	p.unknown(k, path, id, what, known)
}

func (p *parser) commonField(n *NodeDef, name string, v *source.Tree, path string, inner bool) {
	f := find(commonFields, name)
	if inner && slices.Contains([]string{"needs", "set", "max_visits", "on_error", "on_timeout", "join", "on_failure"}, name) {
		p.fail(CodeUnknownField, p.src.PlaceOf(path, true), path, n.ID, "the node of a foreach has no "+name, "give it to the foreach itself")
		return
	}
	switch name {
	case "name":
		n.Name = p.name(v, path, n.ID)
	case "description":
		n.Description = p.longText(v, path, n.ID, name)
	case "needs":
		if v.Kind != source.List && v.Kind != source.Scalar {
			p.wrong(v, path, n.ID, name, "a list of node ids")
			return
		}
		items := v.Items
		if v.Kind == source.Scalar { // needs: a
			items = []*source.Tree{v}
		}
		for _, x := range items {
			n.Needs = append(n.Needs, p.id(x, path, n.ID, name))
		}
	case "set":
		p.set(n, v, path)
	case "expect":
		n.Expect = p.schema(v, path, n.ID)
	case "retry":
		p.retry(n, v, path)
	case "timeout":
		n.Timeout = p.duration(v, path, n.ID, name)
	case "max_visits":
		n.MaxVisits = int(p.count(v, f, path, n.ID))
	case "on_error":
		n.OnError = p.id(v, path, n.ID, name)
	case "on_timeout":
		n.OnTimeout = p.id(v, path, n.ID, name)
	case "join":
		p.join(n, v, path)
	case "on_failure":
		n.OnFailure = OnFailure(p.choice(v, f, path, n.ID))
	case "priority":
		n.Priority = int(p.count(v, f, path, n.ID))
	case "queue":
		n.Queue = p.word(v, path, n.ID, name)
	}
}

func (p *parser) set(n *NodeDef, v *source.Tree, path string) {
	if v.Kind != source.Map {
		p.wrong(v, path, n.ID, "set", "an object of state keys and their values")
		return
	}
	for i, k := range v.Keys {
		key := strings.TrimPrefix(k.Value.(string), "state.")
		if why := badID(key, false); why != "" {
			p.fail(CodeStateKey, k.Place, source.Join(path, key), n.ID, fmt.Sprintf("the state key %q %s", source.Clip(key), why), "letters a-z, digits and _")
			continue
		}
		if why, ok := expr.ReservedKey(key); ok {
			p.fail(CodeReservedKey, k.Place, source.Join(path, key), n.ID, fmt.Sprintf("a state key cannot be called %q: it %s", key, why), "take another name, such as "+key+"_value")
			continue
		}
		if slices.ContainsFunc(n.Set, func(s SetDef) bool { return s.Key == key }) {
			p.fail(CodeDuplicateKey, k.Place, source.Join(path, key), n.ID, fmt.Sprintf("the key %q is set twice", key), "")
			continue
		}
		n.Set = append(n.Set, SetDef{key, v.Items[i].Plain()})
	}
}

func (p *parser) retry(n *NodeDef, v *source.Tree, path string) {
	n.Retry = &Retry{}
	if v.Kind == source.Scalar { // retry: 4
		n.Retry.Max = int(p.count(v, &field{name: "retry", min: 1, max: MaxAttempts}, path, n.ID))
		return
	}
	p.object(v, path, n.ID, "retry", retryFields, func(name string, k, v *source.Tree) {
		sub := source.Join(path, name)
		switch name {
		case "max":
			n.Retry.Max = int(p.count(v, find(retryFields, name), sub, n.ID))
		case "backoff":
			n.Retry.Backoff = p.duration(v, sub, n.ID, name)
		case "max_backoff":
			n.Retry.MaxBackoff = p.duration(v, sub, n.ID, name)
		case "then":
			n.Retry.Then = p.choice(v, find(retryFields, name), sub, n.ID)
		}
	})
}

func (p *parser) join(n *NodeDef, v *source.Tree, path string) {
	if v.Kind == source.Map {
		n.Join = &Join{Mode: JoinQuorum}
		p.object(v, path, n.ID, "join", []field{{name: "quorum", required: true, doc: "how many inputs are enough"}}, func(name string, k, v *source.Tree) {
			n.Join.N = int(p.count(v, &field{name: name, min: 1, max: MaxNodes}, source.Join(path, name), n.ID))
		})
		return
	}
	f := &field{name: "join", choices: []string{"all", "any"}}
	if s := p.choice(v, f, path, n.ID); s != "" {
		n.Join = &Join{Mode: JoinMode(s)}
	}
}

// kindField reads a field of the node's kind.
func (p *parser) kindField(n *NodeDef, f *field, v *source.Tree, path string) {
	switch f.form {
	case aText:
		n.Fields[f.name] = p.longText(v, path, n.ID, f.name)
	case aWord:
		n.Fields[f.name] = p.word(v, path, n.ID, f.name)
	case aTree:
		n.Fields[f.name] = v.Plain()
	case aTexts:
		if v.Kind != source.List || len(v.Items) == 0 {
			hint := ""
			if s, ok := v.Value.(string); ok && f.name == "command" {
				hint = "there is no shell: write [" + strings.Join(strings.Fields(s), ", ") + "]"
			}
			p.fail(CodeType, v.Place, path, n.ID, fmt.Sprintf("%s is %s, but should be a list of text", f.name, v.What()), hint)
			return
		}
		texts := make([]any, len(v.Items))
		for i, x := range v.Items {
			texts[i] = p.scalarText(x, source.Join(path, i), n.ID, f.name)
		}
		n.Fields[f.name] = texts
	case aTextMap:
		if v.Kind != source.Map {
			p.wrong(v, path, n.ID, f.name, "an object of text")
			return
		}
		m := map[string]any{}
		for i, k := range v.Keys {
			m[k.Value.(string)] = p.scalarText(v.Items[i], source.Join(path, k.Value.(string)), n.ID, f.name)
		}
		n.Fields[f.name] = m
	case aWords:
		words := p.words(v, path, n.ID, f.name)
		if len(words) == 0 && v.Kind == source.List && f.required {
			p.fail(CodeMissingField, p.src.PlaceOf(path, true), path, n.ID, f.name+" is empty", f.doc)
		}
		l := make([]any, len(words))
		for i, w := range words {
			l[i] = w
		}
		n.Fields[f.name] = l
	case aCount:
		n.Fields[f.name] = p.count(v, f, path, n.ID)
	case aNumber:
		n.Fields[f.name] = p.numberIn(v, f, path, n.ID)
		if i, ok := v.Value.(int64); ok {
			n.Fields[f.name] = i
		}
	case aMoney:
		p.money(v, f, path, n.ID)
		n.Fields[f.name] = v.Value
	case aBool:
		n.Fields[f.name] = p.flag(v, path, n.ID, f.name)
	case aSchema:
		if s := p.schema(v, path, n.ID); s != nil {
			n.Fields[f.name] = s
		}
	case aChoice:
		n.Fields[f.name] = p.choice(v, f, path, n.ID)
	case aSpan:
		n.Fields[f.name] = span(p.duration(v, path, n.ID, f.name))
	case aWait:
		if s, ok := v.Value.(string); ok && strings.Contains(s, "${") {
			n.Fields[f.name] = s
			return
		}
		n.Fields[f.name] = span(p.duration(v, path, n.ID, f.name))
	case special:
		p.specialField(n, f.name, v, path)
	}
}

// scalarText reads text; numbers and booleans are taken as their text, since
// 8080 or true in a list of arguments can mean nothing else.
func (p *parser) scalarText(v *source.Tree, path, node, what string) string {
	if v.Kind == source.Scalar {
		switch v.Value.(type) {
		case bool, int64, float64:
			return expr.Text(v.Value)
		}
	}
	return p.longText(v, path, node, what)
}

func (p *parser) specialField(n *NodeDef, name string, v *source.Tree, path string) {
	switch name {
	case "participants":
		p.participants(n, v, path)
	case "sandbox":
		n.Fields[name] = p.sandbox(n.ID, v, path)
	case "do":
		if n.Do = p.node(n.ID, &source.Tree{Place: p.src.PlaceOf(path, true)}, v, path, true); n.Do != nil && n.Do.Kind != "" && !n.Do.Kind.IsAction() {
			p.fail(CodeForeach, p.src.PlaceOf(path, true), path, n.ID, "a foreach cannot do "+nodeWords(n.Do.Kind), "it does agent, http, exec, worker or tool; anything else goes into a workflow: of its own")
		}
	case "outputs":
		m := map[string]any{}
		switch v.Kind {
		case source.Map:
			for i, k := range v.Keys {
				m[k.Value.(string)] = "" // any type
				if x := v.Items[i]; x.IsNull() || x.Value == "" {
					continue
				}
				m[k.Value.(string)] = p.choice(v.Items[i], find(keyFields, "type"), source.Join(path, k.Value.(string)), n.ID)
			}
		default:
			for _, w := range p.words(v, path, n.ID, name) {
				m[w] = ""
			}
		}
		for _, k := range sortedKeys(m) {
			if why := badID(k, false); why != "" {
				p.fail(CodeStateKey, p.src.PlaceOf(path, false), path, n.ID, fmt.Sprintf("the state key %q %s", source.Clip(k), why), "")
			} else if why, ok := expr.ReservedKey(k); ok {
				p.fail(CodeReservedKey, p.src.PlaceOf(path, false), path, n.ID, fmt.Sprintf("a state key cannot be called %q: it %s", k, why), "")
			}
		}
		n.Fields[name] = m
	}
}

// contradictions finds fields that do not go together.
func (p *parser) contradictions(n *NodeDef, given map[string]source.Place, key *source.Tree, path string) {
	both := func(a, b, hint string) {
		if m, ok := given[b]; ok {
			if _, ok := given[a]; ok {
				p.fail(CodeContradiction, m, source.Join(path, b), n.ID, fmt.Sprintf("%s and %s exclude each other", a, b), hint)
			}
		}
	}
	switch n.Kind {
	case Foreach:
		both("do", "workflow", "")
		both("do", "input", "input is for workflow")
	case Wait:
		both("for", "until", "")
		both("for", "signal", "a signal's deadline is timeout:")
		both("until", "signal", "a signal's deadline is timeout:")
	case Agent, Converge, Plan:
		both("agent", "role", "an agent has a role already")
	}
	if m, ok := given["join"]; ok && n.Kind != Converge {
		p.fail(CodeContradiction, m, source.Join(path, "join"), n.ID, "join is for converge nodes, and this is "+nodeWords(n.Kind), "")
	}
	if m, ok := given["on_failure"]; ok {
		switch at := source.Join(path, "on_failure"); {
		case n.Kind != Converge && n.Kind != Foreach && n.Kind != Plan:
			p.fail(CodeContradiction, m, at, n.ID, "on_failure is for converge, foreach and plan nodes, and this is "+nodeWords(n.Kind), "")
		case n.Kind != Converge && n.OnFailure == FailFast:
			p.fail(CodeContradiction, m, at, n.ID, nodeWords(n.Kind)+" cannot fail_fast", "it waits for the items under way (wait), or goes on with the error as the item's result (continue)")
		}
	}
	runs := n.Kind.IsAction() || n.Kind == Converge || n.Kind == Foreach || n.Kind == Plan || n.Kind == Chat
	if m, ok := given["retry"]; ok && !runs {
		p.add(Warning, CodeNoEffect, m, source.Join(path, "retry"), n.ID, "retry has no effect: "+nodeWords(n.Kind)+" is not attempted again", "")
	}
	if m, ok := given["as"]; ok && n.Kind == Foreach {
		name := n.Text("as")
		if why := badID(name, false); why != "" {
			p.fail(CodeID, m, source.Join(path, "as"), n.ID, fmt.Sprintf("the name %q %s", source.Clip(name), why), "")
		} else if why, ok := expr.ReservedKey(name); ok && name != "item" {
			p.fail(CodeReservedKey, m, source.Join(path, "as"), n.ID, fmt.Sprintf("an item cannot be called %q: it %s", name, why), "")
		}
	}
}
