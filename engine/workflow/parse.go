package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Load parses and compiles a definition. The workflow is nil if there are
// errors.
func Load(file string, src []byte) (*Workflow, Problems) {
	d, problems := Parse(file, src)
	if problems.HasErrors() {
		// What could be read is checked as well: a misspelt field should not hide
		// a dangling edge. Only what the first look missed is added.
		if d != nil && len(d.Nodes) > 0 {
			_, more := Compile(d)
			problems = append(problems, beyond(problems, more)...).Sorted()
		}
		return nil, problems
	}
	w, more := Compile(d)
	return w, append(problems, more...).Sorted()
}

// Parse reads a definition written in YAML or JSON, told apart by the text, not
// by the file's name. All problems are reported at once; the definition is nil
// if the text could not be read at all, and must not be run if there are errors.
func Parse(file string, text []byte) (*Definition, Problems) {
	src, t, problem := source.Read(file, text, words)
	if problem != nil {
		return nil, Problems{*problem}
	}
	p := &parser{src: src, def: &Definition{src: src}}
	p.definition(t)
	return p.def, p.problems.Sorted()
}

// parser turns a tree into a Definition.
type parser struct {
	src      *source.File
	def      *Definition
	problems Problems
}

func (p *parser) add(s Severity, code string, m source.Place, path, node, msg, hint string) {
	x := Problem{Severity: s, Code: code, Message: msg, Hint: hint, Path: path, Node: node}
	p.src.Locate(&x, m)
	p.problems = append(p.problems, x)
}

func (p *parser) fail(code string, m source.Place, path, node, msg, hint string) {
	p.add(Error, code, m, path, node, msg, hint)
}

func (p *parser) wrong(t *source.Tree, path, node, what, want string) {
	p.fail(CodeType, t.Place, path, node, fmt.Sprintf("%s is %s, but should be %s", what, t.What(), want), "")
}

// object checks that t is a map of known fields and hands each to use. Fields
// called x-… go to the returned map.
func (p *parser) object(t *source.Tree, path, node, what string, table []field, use func(name string, key, value *source.Tree)) (extra map[string]any) {
	if t.Kind != source.Map {
		p.wrong(t, path, node, what, "an object with "+list(fieldNames(table), "and"))
		return nil
	}
	for i, k := range t.Keys {
		name := k.Value.(string)
		switch {
		case find(table, name) != nil:
			use(name, k, t.Items[i])
		case strings.HasPrefix(name, "x-"):
			if extra == nil {
				extra = map[string]any{}
			}
			extra[name] = t.Items[i].Plain()
		default:
			p.unknown(k, source.Join(path, name), node, what, fieldNames(table))
		}
	}
	for _, f := range table {
		if x := t.Get(f.name); f.required && (x == nil || x.IsNull()) {
			p.fail(CodeMissingField, p.src.PlaceOf(path, true), path, node, what+" lacks "+f.name, f.doc)
		}
	}
	return extra
}

func (p *parser) unknown(k *source.Tree, path, node, what string, known []string) {
	name := k.Value.(string)
	hint := ""
	switch near := suggest(name, known); {
	case near != "":
		hint = "did you mean " + near + "?"
	case len(known) <= 12:
		hint = "known are " + list(known, "and")
	}
	p.fail(CodeUnknownField, k.Place, path, node, fmt.Sprintf("%s has no field %q", what, source.Clip(name)), hint)
}

// meant are words people bring from other systems, and ours.
var meant = map[string]string{
	"condition": "if", "when": "if", "expression": "if", "source": "from", "target": "to", "is_default": "default", "fallback": "default",
	"agent_role": "role", "action_prompt": "prompt", "depends_on": "needs", "dependencies": "needs", "dependson": "needs", "after": "needs",
	"retries": "retry", "max_retries": "retry", "cmd": "command", "args": "command", "run": "command", "uri": "url", "endpoint": "url",
	"entry_node": "entry", "start": "entry", "startat": "entry", "inputs": "input", "arguments": "input", "schema": "expect", "outputs": "output",
	"variables": "state", "vars": "state", "steps": "nodes", "tasks": "nodes", "transitions": "edges", "next_nodes": "edges", "next": "edges",
	"max_iterations": "max_visits", "loop": "foreach", "subgraph": "workflow", "human_input": "human", "approval": "human", "action": "agent",
	"delay": "wait", "sleep": "wait", "reducer": "reduce", "value": "default", "message": "prompt", "question": "prompt", "initial": "default",
	"duration": "for", "time": "until", "event": "signal", "stop": "end", "shell": "exec", "script": "exec", "llm": "agent", "subworkflow": "workflow",
}

func suggest(name string, known []string) string {
	if near := expr.Closest(name, known); near != "" {
		return near
	}
	m := meant[strings.ToLower(name)]
	for _, k := range known {
		if k == m {
			return m
		}
	}
	return ""
}

func list(words []string, last string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

func (p *parser) definition(t *source.Tree) {
	if t.Kind != source.Map {
		p.fail(CodeType, t.Place, "", "", "a definition is an object, but this is "+t.What(), "it starts with name: and nodes:")
		return
	}
	p.src.Values[""] = source.Place{Line: t.Place.Line, Column: t.Place.Column, Width: 1}
	if t.Get("entry_node") != nil && t.Get("entry") == nil {
		at := slices.IndexFunc(t.Keys, func(k *source.Tree) bool { return k.Value == "entry_node" })
		p.fail(CodeTemplate, t.Keys[at].Place, "entry_node", "", "this is a template of the original engine, not a definition", "wfd workflow import takes it")
		return
	}
	d := p.def
	d.Extra = p.object(t, "", "", "a definition", topFields, func(name string, k, v *source.Tree) {
		p.src.Keys[name] = k.Place
		p.src.Bind(name, v)
		if v.IsNull() && name != "output" {
			return
		}
		switch name {
		case "name":
			d.Name = p.name(v, name, "")
		case "description":
			d.Description = p.longText(v, name, "", name)
		case "input":
			d.Input = p.schema(v, name, "")
		case "state":
			p.state(v)
		case "budget":
			p.budget(v)
		case "timeout":
			d.Timeout = p.duration(v, name, "", name)
		case "entry":
			d.Entry = p.id(v, name, "", "entry")
		case "nodes":
			p.nodes(v)
		case "edges":
			p.edges(v)
		case "output":
			d.Output, d.HasOutput = v.Plain(), true
		case "metadata":
			if v.Kind != source.Map {
				p.wrong(v, name, "", name, "an object")
				return
			}
			d.Metadata = v.Plain().(map[string]any)
		}
	})
}

// name reads a display name.
func (p *parser) name(t *source.Tree, path, node string) string {
	s, ok := t.Value.(string)
	if !ok || t.Kind != source.Scalar {
		p.wrong(t, path, node, "name", "text")
		return ""
	}
	if why := badName(s); why != "" {
		p.fail(CodeName, t.Place, path, node, why, "")
	}
	return s
}

func badName(s string) string {
	switch n := utf8.RuneCountInString(s); {
	case strings.TrimSpace(s) == "":
		return "a name cannot be empty"
	case n > MaxName:
		return fmt.Sprintf("the name has %d characters, the limit is %d", n, MaxName)
	case s != strings.TrimSpace(s):
		return "a name cannot start or end with a blank"
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("the character %U is not allowed in a name", r)
		}
	}
	return ""
}

func (p *parser) text(t *source.Tree, path, node, what string) string {
	s, ok := t.Value.(string)
	if !ok || t.Kind != source.Scalar {
		p.wrong(t, path, node, what, "text")
		return ""
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f }); i >= 0 {
		p.fail(CodeSyntax, p.src.Inside(path, s, i, 1), path, node, fmt.Sprintf("%s holds the control character %U", what, s[i]), "")
	}
	return s
}

// longText reads text that may be long, but not endless.
func (p *parser) longText(t *source.Tree, path, node, what string) string {
	s := p.text(t, path, node, what)
	if len(s) > MaxText {
		p.fail(CodeLimit, t.Place, path, node, fmt.Sprintf("%s has %d bytes, the limit is %d", what, len(s), MaxText), "")
	}
	return s
}

// word reads text without ${…}: what must be known before a run.
func (p *parser) word(t *source.Tree, path, node, what string) string {
	s := p.text(t, path, node, what)
	switch {
	case strings.Contains(s, "${"):
		p.fail(CodeType, t.Place, path, node, what+" cannot hold ${…}: it must be known before the run", "")
	case t.Kind == source.Scalar && s == "" && t.Value == "":
		p.fail(CodeType, t.Place, path, node, what+" is empty", "")
	case utf8.RuneCountInString(s) > MaxName:
		p.fail(CodeLimit, t.Place, path, node, fmt.Sprintf("%s has more than %d characters", what, MaxName), "")
	}
	return s
}

// id reads a reference to a node. Whether the node exists is seen later.
func (p *parser) id(t *source.Tree, path, node, what string) string {
	s, ok := t.Value.(string)
	if !ok || t.Kind != source.Scalar {
		p.wrong(t, path, node, what, "the id of a node")
	}
	return s
}

// badID says what is wrong with a node id or a state key.
func badID(s string, dash bool) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > MaxID:
		return fmt.Sprintf("has %d bytes, the limit is %d", len(s), MaxID)
	}
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		switch {
		case letter, i > 0 && r >= '0' && r <= '9', i > 0 && r == '-' && dash:
		case i == 0:
			return "must start with a letter a-z or _"
		default:
			return fmt.Sprintf("cannot contain %q", r)
		}
	}
	return ""
}

func (p *parser) duration(t *source.Tree, path, node, what string) (d time.Duration) {
	switch s := t.Value.(type) {
	case string:
		d, err := ParseDuration(strings.TrimSpace(s))
		switch {
		case err != nil:
			p.fail(CodeDuration, t.Place, path, node, what+": "+err.Error(), "write 90s, 5m, 1h30m or 2d")
		case d == 0:
			p.fail(CodeDuration, t.Place, path, node, what+" must be longer than 0", "leave it out for no bound")
		}
		return d
	case int64:
		p.fail(CodeDuration, t.Place, path, node, what+" has no unit", fmt.Sprintf("write %ds for seconds", s))
	default:
		p.wrong(t, path, node, what, "a duration such as 90s, 5m or 2d")
	}
	return 0
}

func (p *parser) count(t *source.Tree, f *field, path, node string) int64 {
	i, ok := t.Value.(int64)
	switch {
	case !ok || t.Kind != source.Scalar:
		p.wrong(t, path, node, f.name, "a whole number")
	case float64(i) < f.min:
		p.fail(CodeRange, t.Place, path, node, fmt.Sprintf("%s is %d, but must be at least %v", f.name, i, f.min), "")
	case f.max != 0 && float64(i) > f.max:
		p.fail(CodeRange, t.Place, path, node, fmt.Sprintf("%s is %d, but may be %v at most", f.name, i, int64(f.max)), "")
	}
	return i
}

func (p *parser) numberIn(t *source.Tree, f *field, path, node string) float64 {
	var v float64
	switch x := t.Value.(type) {
	case int64:
		v = float64(x)
	case float64:
		v = x
	default:
		p.wrong(t, path, node, f.name, "a number")
		return 0
	}
	if v < f.min || v > f.max {
		p.fail(CodeRange, t.Place, path, node, fmt.Sprintf("%s is %v, but must be from %v to %v", f.name, v, f.min, f.max), "")
	}
	return v
}

func (p *parser) flag(t *source.Tree, path, node, what string) bool {
	b, ok := t.Value.(bool)
	if !ok || t.Kind != source.Scalar {
		p.wrong(t, path, node, what, "true or false")
	}
	return b
}

func (p *parser) choice(t *source.Tree, f *field, path, node string) string {
	s, ok := t.Value.(string)
	if !ok || t.Kind != source.Scalar {
		p.wrong(t, path, node, f.name, list(f.choices, "or"))
		return ""
	}
	folded := strings.ReplaceAll(strings.ToLower(s), "-", "_")
	for _, c := range f.choices {
		if c == folded {
			return c
		}
	}
	hint := "write " + list(f.choices, "or")
	if near := suggest(s, f.choices); near != "" {
		hint = "did you mean " + near + "?"
	}
	p.fail(CodeChoice, t.Place, path, node, fmt.Sprintf("%s cannot be %q", f.name, source.Clip(s)), hint)
	return ""
}

func (p *parser) schema(t *source.Tree, path, node string) any {
	v := t.Plain()
	if t.Kind != source.Map {
		if _, ok := v.(bool); !ok {
			p.wrong(t, path, node, "the schema", "a JSON Schema, such as {type: object}")
			return nil
		}
	}
	if _, err := CompileSchema(v); err != nil {
		at := path
		var faults *SchemaError
		if errors.As(err, &faults) && len(faults.Faults) > 0 { // point at the part that is wrong
			f := faults.Faults[0]
			for _, step := range strings.Split(f.Path, "/")[1:] {
				if sub := source.Join(at, step); p.src.Values[sub].Line > 0 {
					at = sub
				}
			}
			err = errors.New("not a JSON Schema: " + list(pathless(faults), "and"))
		}
		p.fail(CodeSchema, p.src.PlaceOf(at, at == path), at, node, err.Error(), "")
		return nil
	}
	return v
}

// pathless are the messages of faults without their places.
func pathless(e *SchemaError) []string {
	var msgs []string
	for _, f := range e.Faults {
		msgs = append(msgs, "this "+f.Message)
	}
	return msgs
}

func (p *parser) words(t *source.Tree, path, node, what string) []string {
	if t.Kind == source.Scalar && t.Value != nil {
		return []string{p.word(t, path, node, what)}
	}
	if t.Kind != source.List {
		p.wrong(t, path, node, what, "a list of names")
		return nil
	}
	var words []string
	for i, x := range t.Items {
		words = append(words, p.word(x, source.Join(path, i), node, what))
	}
	return words
}
