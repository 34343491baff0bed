package workflow

import (
	"fmt"
	"math"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
)

func (p *parser) state(t *tree) {
	if t.shape != aMap {
		p.wrong(t, "state", "", "state", "an object of keys")
		return
	}
	for i, k := range t.keys {
		p.stateKey(k, t.items[i])
	}
}

func (p *parser) stateKey(k, v *tree) {
	name := k.scalar.(string)
	path := join("state", name)
	if why := badID(name, false); why != "" {
		hint := "letters a-z, digits and _"
		if why := badID(strings.ReplaceAll(name, "-", "_"), false); why == "" {
			hint = "write " + strings.ReplaceAll(name, "-", "_")
		}
		p.fail(CodeStateKey, k.mark, path, "", fmt.Sprintf("the state key %q %s", clip(name), why), hint)
		return
	}
	if why, ok := expr.ReservedKey(name); ok {
		p.fail(CodeReservedKey, k.mark, path, "", fmt.Sprintf("a state key cannot be called %q: it %s", name, why), "take another name, such as "+name+"_value")
		return
	}
	d := KeyDef{Name: name}
	switch {
	case v.isNull():
	case v.shape == aScalar:
		d.Type = p.choice(v, find(keyFields, "type"), path, "")
	default:
		p.object(v, path, "", "a state key", keyFields, func(name string, fk, fv *tree) {
			sub := join(path, name)
			if fv.isNull() {
				return
			}
			switch name {
			case "type":
				d.Type = p.choice(fv, find(keyFields, name), sub, "")
			case "default":
				d.Default = fv.plain()
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
		p.fail(CodeDefault, p.src.markOf(join(path, "default"), false), join(path, "default"), "", fmt.Sprintf("the default of %s is %s, but its type is %s", name, typeOf(d.Default), d.Type), "")
	}
	if want := reduceTypes[d.Reduce]; d.Type != "" && want != "" && !strings.Contains(want, d.Type) {
		p.fail(CodeReduce, p.src.markOf(join(path, "reduce"), false), join(path, "reduce"), "", fmt.Sprintf("reduce: %s needs a key of type %s, but %s is %s", d.Reduce, strings.ReplaceAll(want, " ", " or "), name, d.Type), "")
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

func (p *parser) budget(t *tree) {
	b := &Budget{}
	p.object(t, "budget", "", "budget", budgetFields, func(name string, k, v *tree) {
		path := join("budget", name)
		switch name {
		case "usd":
			b.Micros = int64(math.Round(p.numberIn(v, find(budgetFields, name), path, "") * 1e6))
		case "tokens":
			b.Tokens = p.count(v, find(budgetFields, name), path, "")
		case "on_exceed":
			b.OnExceed = p.choice(v, find(budgetFields, name), path, "")
		}
	})
	if t.shape == aMap && b.Micros == 0 && b.Tokens == 0 {
		p.fail(CodeMissingField, p.src.markOf("budget", true), "budget", "", "a budget needs usd or tokens", "")
	}
	p.def.Budget = b
}

func (p *parser) nodes(t *tree) {
	var keys []*tree
	items := t.items
	switch t.shape {
	case aMap:
		keys = t.keys
	case aList: // [{id: a, …}, …]
		seen := map[string]int{}
		items = nil
		for i, x := range t.items {
			id := x.get("id")
			if id == nil || id.shape != aScalar {
				p.fail(CodeMissingField, x.mark, join("nodes", i), "", "a node in a list needs an id", "")
				continue
			}
			name, ok := id.scalar.(string)
			if !ok {
				p.wrong(id, join("nodes", i), "", "id", "text")
				continue
			}
			if line, ok := seen[name]; ok {
				p.fail(CodeDuplicateID, id.mark, join("nodes", i), name, fmt.Sprintf("the node %q is there twice", clip(name)), fmt.Sprintf("the first is at line %d", line))
				continue
			}
			seen[name] = id.mark.line
			rest := &tree{shape: aMap, mark: x.mark}
			for j, k := range x.keys {
				if k.scalar != "id" {
					rest.keys, rest.items = append(rest.keys, k), append(rest.items, x.items[j])
				}
			}
			keys, items = append(keys, id), append(items, rest)
			p.src.keys[join("nodes", name)] = id.mark
			p.src.bind(join("nodes", name), rest)
		}
	default:
		p.wrong(t, "nodes", "", "nodes", "an object of nodes by id")
		return
	}
	switch {
	case len(items) == 0:
		p.fail(CodeMissingField, p.src.markOf("nodes", true), "nodes", "", "a definition needs at least one node", "")
	case len(items) > MaxNodes:
		p.fail(CodeLimit, p.src.markOf("nodes", true), "nodes", "", fmt.Sprintf("the definition has %d nodes, the limit is %d", len(items), MaxNodes), "split it into several workflows")
		return
	}
	for i, k := range keys {
		id := k.scalar.(string)
		path := join("nodes", id)
		if why := badID(id, true); why != "" {
			p.fail(CodeID, k.mark, path, id, fmt.Sprintf("the node id %q %s", clip(id), why), "ids are letters a-z, digits, _ and -; a readable name goes into name:")
		}
		if n := p.node(id, k, items[i], path, false); n != nil {
			p.def.Nodes = append(p.def.Nodes, n)
		}
	}
}

func (p *parser) edges(t *tree) {
	if t.shape != aList {
		p.wrong(t, "edges", "", "edges", "a list of {from, to, if}")
		return
	}
	if len(t.items) > MaxEdges {
		p.fail(CodeLimit, p.src.markOf("edges", true), "edges", "", fmt.Sprintf("the definition has %d edges, the limit is %d", len(t.items), MaxEdges), "split it into several workflows")
		return
	}
	for i, x := range t.items {
		path := join("edges", i)
		e := EdgeDef{}
		e.Extra = p.object(x, path, "", "an edge", edgeFields, func(name string, k, v *tree) {
			sub := join(path, name)
			if v.isNull() {
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
		if x.shape == aMap {
			p.def.Edges = append(p.def.Edges, e)
		} else {
			p.def.Edges = append(p.def.Edges, EdgeDef{}) // keeps the numbers of paths
		}
	}
}

func (p *parser) condition(t *tree, path, node string) string {
	switch s := t.scalar.(type) {
	case string:
		if strings.HasPrefix(strings.TrimSpace(s), "${") && strings.HasSuffix(strings.TrimSpace(s), "}") {
			p.fail(CodeCondition, t.mark, path, node, "a condition is an expression already", "leave out ${ and }")
		}
		return strings.TrimSpace(s)
	case bool:
		return fmt.Sprint(s)
	}
	p.wrong(t, path, node, "if", `a condition, such as "score >= 0.8"`)
	return ""
}
