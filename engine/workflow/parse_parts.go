package workflow

import (
	"fmt"
	"math"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

func (p *parser) state(t *source.Tree) {
	if t.Kind != source.Map {
		p.wrong(t, "state", "", "state", "an object of keys")
		return
	}
	for i, k := range t.Keys {
		p.stateKey(k, t.Items[i])
	}
}

func (p *parser) stateKey(k, v *source.Tree) {
	name := k.Value.(string)
	path := source.Join("state", name)
	if why := badID(name, false); why != "" {
		hint := "letters a-z, digits and _"
		if why := badID(strings.ReplaceAll(name, "-", "_"), false); why == "" {
			hint = "write " + strings.ReplaceAll(name, "-", "_")
		}
		p.fail(CodeStateKey, k.Place, path, "", fmt.Sprintf("the state key %q %s", source.Clip(name), why), hint)
		return
	}
	if why, ok := expr.ReservedKey(name); ok {
		p.fail(CodeReservedKey, k.Place, path, "", fmt.Sprintf("a state key cannot be called %q: it %s", name, why), "take another name, such as "+name+"_value")
		return
	}
	d := KeyDef{Name: name}
	switch {
	case v.IsNull():
	case v.Kind == source.Scalar:
		d.Type = p.choice(v, find(keyFields, "type"), path, "")
	default:
		p.object(v, path, "", "a state key", keyFields, func(name string, fk, fv *source.Tree) {
			sub := source.Join(path, name)
			if fv.IsNull() {
				return
			}
			switch name {
			case "type":
				d.Type = p.choice(fv, find(keyFields, name), sub, "")
			case "default":
				d.Default = fv.Plain()
			case "reduce":
				if s := p.choice(fv, &field{name: "reduce", choices: append([]string{"last"}, find(keyFields, name).choices...)}, sub, ""); s != "last" {
					d.Reduce = Reduce(s)
				}
			case "description":
				d.Description = p.longText(fv, sub, "", name)
			}
		})
	}
	p.def.State = append(p.def.State, d)
	if d.Default != nil && d.Type != "" && !fits(d.Default, d.Type) {
		p.fail(CodeDefault, p.src.PlaceOf(source.Join(path, "default"), false), source.Join(path, "default"), "", fmt.Sprintf("the default of %s is %s, but its type is %s", name, typeOf(d.Default), d.Type), "")
	}
	if want := reduceTypes[d.Reduce]; d.Type != "" && want != "" && !strings.Contains(want, d.Type) {
		p.fail(CodeReduce, p.src.PlaceOf(source.Join(path, "reduce"), false), source.Join(path, "reduce"), "", fmt.Sprintf("reduce: %s needs a key of type %s, but %s is %s", d.Reduce, strings.ReplaceAll(want, " ", " or "), name, d.Type), "")
	}
}

// reduceTypes are the types a reducer can work on.
var reduceTypes = map[Reduce]string{
	ReduceAppend: "array", ReduceUnion: "array", ReduceMerge: "object", ReduceSum: "number integer",
	ReduceMin: "number integer", ReduceMax: "number integer", ReduceAnd: "boolean", ReduceOr: "boolean",
}

// fits reports whether a value is of a JSON Schema type.
func fits(v any, typ string) bool {
	got := typeOf(v)
	if f, ok := v.(float64); ok && typ == "integer" {
		return f == math.Trunc(f)
	}
	return got == typ || got == "integer" && typ == "number"
}

// typeOf is the JSON Schema type of a plain value.
func typeOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

func (p *parser) budget(t *source.Tree) {
	b := &Budget{}
	p.object(t, "budget", "", "budget", budgetFields, func(name string, k, v *source.Tree) {
		path := source.Join("budget", name)
		switch name {
		case "usd":
			b.Micros = p.money(v, find(budgetFields, name), path, "")
		case "tokens":
			b.Tokens = p.count(v, find(budgetFields, name), path, "")
		case "on_exceed":
			b.OnExceed = p.choice(v, find(budgetFields, name), path, "")
		}
	})
	if t.Kind == source.Map && b.Micros == 0 && b.Tokens == 0 {
		p.fail(CodeMissingField, p.src.PlaceOf("budget", true), "budget", "", "a budget needs usd or tokens", "")
	}
	p.def.Budget = b
}

func (p *parser) nodes(t *source.Tree) {
	var keys []*source.Tree
	items := t.Items
	switch t.Kind {
	case source.Map:
		keys = t.Keys
	case source.List: // [{id: a, …}, …]
		seen := map[string]int{}
		items = nil
		for i, x := range t.Items {
			id := x.Get("id")
			if id == nil || id.Kind != source.Scalar {
				p.fail(CodeMissingField, x.Place, source.Join("nodes", i), "", "a node in a list needs an id", "")
				continue
			}
			name, ok := id.Value.(string)
			if !ok {
				p.wrong(id, source.Join("nodes", i), "", "id", "text")
				continue
			}
			if line, ok := seen[name]; ok {
				p.fail(CodeDuplicateID, id.Place, source.Join("nodes", i), name, fmt.Sprintf("the node %q is there twice", source.Clip(name)), fmt.Sprintf("the first is at line %d", line))
				continue
			}
			seen[name] = id.Place.Line
			rest := &source.Tree{Kind: source.Map, Place: x.Place}
			for j, k := range x.Keys {
				if k.Value != "id" {
					rest.Keys, rest.Items = append(rest.Keys, k), append(rest.Items, x.Items[j])
				}
			}
			keys, items = append(keys, id), append(items, rest)
			p.src.Keys[source.Join("nodes", name)] = id.Place
			p.src.Bind(source.Join("nodes", name), rest)
		}
	default:
		p.wrong(t, "nodes", "", "nodes", "an object of nodes by id")
		return
	}
	switch {
	case len(items) == 0:
		p.fail(CodeMissingField, p.src.PlaceOf("nodes", true), "nodes", "", "a definition needs at least one node", "")
	case len(items) > MaxNodes:
		p.fail(CodeLimit, p.src.PlaceOf("nodes", true), "nodes", "", fmt.Sprintf("the definition has %d nodes, the limit is %d", len(items), MaxNodes), "split it into several workflows")
		return
	}
	for i, k := range keys {
		id := k.Value.(string)
		path := source.Join("nodes", id)
		if why := badID(id, true); why != "" {
			p.fail(CodeID, k.Place, path, id, fmt.Sprintf("the node id %q %s", source.Clip(id), why), "ids are letters a-z, digits, _ and -; a readable name goes into name:")
		}
		if n := p.node(id, k, items[i], path, false); n != nil {
			p.def.Nodes = append(p.def.Nodes, n)
		}
	}
}

func (p *parser) edges(t *source.Tree) {
	if t.Kind != source.List {
		p.wrong(t, "edges", "", "edges", "a list of {from, to, if}")
		return
	}
	if len(t.Items) > MaxEdges {
		p.fail(CodeLimit, p.src.PlaceOf("edges", true), "edges", "", fmt.Sprintf("the definition has %d edges, the limit is %d", len(t.Items), MaxEdges), "split it into several workflows")
		return
	}
	for i, x := range t.Items {
		path := source.Join("edges", i)
		e := EdgeDef{}
		e.Extra = p.object(x, path, "", "an edge", edgeFields, func(name string, k, v *source.Tree) {
			sub := source.Join(path, name)
			if v.IsNull() {
				return
			}
			switch name {
			case "from":
				e.From = p.id(v, sub, "", name)
			case "to":
				e.To = p.id(v, sub, "", name)
			case "if":
				e.If = p.condition(v, sub, e.From)
			case "default":
				e.Default = p.flag(v, sub, "", name)
			}
		})
		if x.Kind == source.Map {
			p.def.Edges = append(p.def.Edges, e)
		} else {
			p.def.Edges = append(p.def.Edges, EdgeDef{}) // keeps the numbers of paths
		}
	}
}

func (p *parser) condition(t *source.Tree, path, node string) string {
	switch s := t.Value.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(s), "${") && strings.HasSuffix(strings.TrimSpace(s), "}") {
			p.fail(CodeCondition, t.Place, path, node, "a condition is an expression already", "leave out ${ and }")
		}
		return strings.TrimSpace(s)
	case bool:
		return fmt.Sprint(s)
	}
	p.wrong(t, path, node, "if", `a condition, such as "score >= 0.8"`)
	return ""
}
