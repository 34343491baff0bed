package workflow

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// condition compiles the condition of an edge.
func (c *compiler) condition(text, path string, from int, node string) *expr.Condition {
	cond, err := expr.CompileCondition(text, conditionScope)
	if err != nil {
		c.expression(err, path, node, text, "condition")
		return nil
	}
	if from >= 0 {
		for _, name := range cond.Refs() {
			c.reads = append(c.reads, read{name: name, node: from, own: true, cond: true, path: path, mark: c.src.Inside(path, text, cond.RefOffset(name), len(refText(name, text[cond.RefOffset(name):])))})
		}
	}
	return cond
}

// refText is how a reference is written at the start of text.
func refText(name, text string) string {
	if s := strings.TrimPrefix(name, "state."); s != name && strings.HasPrefix(text, s) {
		return s
	}
	if strings.HasPrefix(text, name) {
		return name
	}
	return text[:min(1, len(text))]
}

// expression reports the mistakes of a condition or template.
func (c *compiler) expression(err error, path, node, text, what string) {
	errs, ok := err.(expr.Errors)
	if !ok {
		c.fail(CodeCondition, path, node, err.Error(), "")
		return
	}
	for _, e := range errs {
		at := path
		for _, step := range e.Path {
			at = source.Join(at, step)
		}
		code := CodeCondition
		switch {
		case e.Code == "expression-limit":
			code = CodeLimit
		case e.Code == "expression-variable" && strings.HasPrefix(e.Message, "`secrets`"):
			code = CodeSecret
		}
		c.add(Error, code, c.src.Inside(at, e.Text, e.Offset, e.Length), at, node, what+": "+e.Message, e.Hint)
	}
}

// template compiles a value with ${…} and notes what it reads.
func (c *compiler) template(v any, path string, n *Node, scope expr.Scope, own bool) *expr.Template {
	index, id := -1, ""
	if n != nil {
		index, id = n.Index, n.ID
	}
	t, err := expr.CompileTemplate(v, scope)
	if err != nil {
		c.expression(err, path, id, "", "expression")
		return nil
	}
	for _, name := range t.Refs() {
		steps, offset := t.RefPlace(name)
		at, text := path, v
		for _, s := range steps {
			at = source.Join(at, s)
			switch s := s.(type) {
			case int:
				text = text.([]any)[s]
			case string:
				text = text.(map[string]any)[s]
			}
		}
		whole, _ := text.(string)
		c.reads = append(c.reads, read{name: name, node: index, own: own, path: at, mark: c.src.Inside(at, whole, offset, len(refText(name, whole[min(offset, len(whole)):])))})
	}
	return t
}

var (
	variables = []string{"input", "state", "result", "nodes", "run", "env"}
	noItem    = "`item` is the item of a foreach, inside its do: or input:"
	noSecret  = "secrets may stand in the settings of agent, http, exec and tool nodes only, so that no event ever holds one"

	conditionScope = expr.Scope{Vars: variables, Refused: map[string]string{"item": noItem, "secrets": noSecret}}
)

// settingsScope is what the settings of a node may use. each is the foreach
// whose item they see, nil if none.
func settingsScope(k Kind, each *Node) expr.Scope {
	s := expr.Scope{Vars: slices.Clone(variables), Refused: map[string]string{}}
	switch k {
	case Agent, HTTP, Exec, Tool:
		s.Vars = append(s.Vars, "secrets")
	default:
		s.Refused["secrets"] = noSecret
	}
	if each != nil {
		s.Vars = append(s.Vars, "item")
		s.Item = each.Def.Text("as")
	} else {
		s.Refused["item"] = noItem
	}
	return s
}

// settings compiles what nodes are given.
func (c *compiler) settings() {
	if c.def.Input != nil {
		c.w.Input = c.schema(c.def.Input, "input", "")
	}
	if c.def.HasOutput {
		c.w.Output = c.template(c.def.Output, "output", nil, conditionScope, true)
	}
	for _, n := range c.w.Nodes {
		path := source.Join("nodes", n.ID)
		c.nodeSettings(n, path, nil)
		for _, s := range n.Def.Set {
			if t := c.template(s.Value, source.Join(source.Join(path, "set"), s.Key), n, conditionScope, true); t != nil {
				n.Set = append(n.Set, SetExpr{Key: s.Key, Value: t})
			}
		}
		if n.Def.Do != nil {
			n.Do = &Node{Index: -1, ID: n.ID, Kind: n.Def.Do.Kind, Def: n.Def.Do, Timeout: n.Def.Do.Timeout, MaxVisits: n.MaxVisits, Join: Join{Mode: JoinAll}, OnFailure: FailWait}
			c.attempts(n.Do)
			c.nodeSettings(n.Do, source.Join(path, "do"), n)
		}
	}
}

func (c *compiler) nodeSettings(n *Node, path string, each *Node) {
	def := n.Def
	if def.Expect != nil {
		n.Expect = c.schema(def.Expect, source.Join(path, "expect"), n.ID)
	}
	if f, ok := def.Fields["form"]; ok {
		n.Form = c.schema(f, source.Join(path, "form"), n.ID)
	}
	scope := settingsScope(n.Kind, each)
	reader := n
	if each != nil {
		reader = each
	}
	n.Settings = map[string]*expr.Template{}
	for _, name := range sortedKeys(def.Fields) {
		v := def.Fields[name]
		s := scope
		if n.Kind == Foreach && name == "input" {
			s = settingsScope(n.Kind, n)
		}
		t := c.template(v, source.Join(path, name), reader, s, false)
		if t == nil {
			continue
		}
		switch {
		case name == "prompt":
			n.Prompt = t
		case name == "message":
			n.Message = t
		case name == "items":
			n.Items = t
		case name == "for":
			n.WaitFor = t
		case name == "until":
			n.WaitTill = t
			c.until(t, source.Join(path, name), n.ID)
		case name == "input" && (n.Kind == Sub || n.Kind == Foreach):
			n.Child = t
		case name == "form", name == "outputs", name == "participants", name == "sandbox":
		default:
			n.Settings[name] = t
		}
	}
	n.Fixed = fixed(n)
	c.literals(n, path)
}

// fixed returns what a node gives to every task alike, nil if that depends on the run.
func fixed(n *Node) *Fixed {
	f := &Fixed{}
	if n.Prompt != nil {
		p, ok := n.Prompt.Literal()
		if !ok {
			return nil
		}
		f.Prompt = expr.Text(p)
	}
	if len(n.Settings) > 0 {
		f.Settings = make(map[string]any, len(n.Settings))
	}
	for name, t := range n.Settings {
		v, ok := t.Literal()
		if !ok {
			return nil
		}
		f.Settings[name] = v
	}
	return f
}

// until checks a time that is known already.
func (c *compiler) until(t *expr.Template, path, id string) {
	v, ok := t.Literal()
	if !ok {
		return
	}
	s, _ := v.(string)
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		c.fail(CodeDuration, path, id, fmt.Sprintf("%q is no time", source.Clip(s)), "write it as 2026-01-31T09:00:00Z")
	}
}

// literals checks settings that are wrong whatever the run is.
func (c *compiler) literals(n *Node, path string) {
	if n.Kind == HTTP {
		if u, ok := n.Settings["url"]; ok {
			if v, ok := u.Literal(); ok {
				if s := strings.ToLower(v.(string)); !strings.HasPrefix(s, "http://") && !strings.HasPrefix(s, "https://") {
					c.fail(CodeType, source.Join(path, "url"), n.ID, fmt.Sprintf("%q is no URL", source.Clip(v.(string))), "it starts with https:// or http://")
				}
			}
		}
		if m := n.Def.Text("method"); m != "" && strings.Trim(strings.ToUpper(m), "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			c.fail(CodeChoice, source.Join(path, "method"), n.ID, fmt.Sprintf("%q is no HTTP method", source.Clip(m)), "")
		}
	}
	if n.Kind == Foreach && n.Items != nil {
		if v, ok := n.Items.Literal(); ok {
			if _, ok := v.([]any); !ok {
				c.fail(CodeType, source.Join(path, "items"), n.ID, "items is no list", "write ${…} to take a list from the run")
			}
		}
	}
	if n.Kind == Converge && (n.Def.Text("agent") != "" || n.Def.Text("role") != "") && n.Prompt == nil {
		c.fail(CodeMissingField, path, n.ID, fmt.Sprintf("the converge %s has an agent but no prompt", n.ID), "say how to combine, or leave the agent out")
	}
}

func (c *compiler) schema(v any, path, id string) *Schema {
	s, err := CompileSchema(v)
	if err != nil {
		c.fail(CodeSchema, path, id, err.Error(), "")
	}
	return s
}
