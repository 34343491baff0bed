package expr

import (
	"fmt"
	"sort"
	"strings"
)

// Template is a compiled tree of values whose text may hold ${…}.
type Template struct {
	root  node
	progs []*program
	where map[string]place // of each reference, its first
}

// place is where a reference stands: the string's path in the tree and the byte
// offset in the string.
type place struct {
	path   []any
	offset int
}

type node interface {
	eval(Vars) (any, error)
}

// CompileTemplate compiles a tree of nil, bool, int64, float64, string, []any
// and map[string]any. A string that is exactly one ${…} takes the value's type;
// otherwise values become text. $${ is a literal ${. Its error is Errors.
func CompileTemplate(value any, scope Scope) (*Template, error) {
	t := &Template{where: map[string]place{}}
	var errs Errors
	t.root = t.compile(value, nil, &scope, &errs)
	if len(errs) > 0 {
		return nil, errs
	}
	return t, nil
}

func (t *Template) compile(v any, path []any, scope *Scope, errs *Errors) node {
	switch v := v.(type) {
	case string:
		return t.compileText(v, path, scope, errs)
	case []any:
		l, lit := make(list, len(v)), true
		for i, x := range v {
			l[i] = t.compile(x, append(path[:len(path):len(path)], i), scope, errs)
			if _, ok := l[i].(literal); !ok {
				lit = false
			}
		}
		if lit {
			return literal{literals(l)}
		}
		return l
	case map[string]any:
		o, lit := record{}, true
		for k := range v {
			o.keys = append(o.keys, k)
		}
		sort.Strings(o.keys)
		for _, k := range o.keys {
			n := t.compile(v[k], append(path[:len(path):len(path)], k), scope, errs)
			o.values = append(o.values, n)
			if _, ok := n.(literal); !ok {
				lit = false
			}
		}
		if lit {
			m, _ := o.eval(nil)
			return literal{m}
		}
		return o
	case int:
		return literal{int64(v)}
	}
	return literal{v}
}

func (t *Template) compileText(s string, path []any, scope *Scope, errs *Errors) node {
	parts, err := splitTemplate(s)
	if err != nil {
		err.Path = path
		*errs = append(*errs, err)
		return literal{s}
	}
	var m mixed
	for _, p := range parts {
		if !p.expr {
			m = append(m, literal{p.text})
			continue
		}
		if len(p.text) > MaxTemplate {
			e := tooLong(p.text, MaxTemplate, "an expression")
			e.Path = path
			*errs = append(*errs, e.place(s, p.offset, 1))
			continue
		}
		prog, bad := compileCEL(p.text, scope)
		for _, e := range bad {
			e.Path = path
			*errs = append(*errs, e.place(s, p.offset+e.Offset, e.Length))
		}
		if bad != nil {
			continue
		}
		t.progs = append(t.progs, prog)
		for _, r := range prog.refs {
			if _, ok := t.where[r.name]; !ok {
				t.where[r.name] = place{path, p.offset + r.offset}
			}
		}
		m = append(m, &computed{prog, p.text})
	}
	switch len(m) {
	case 0:
		return literal{""}
	case 1:
		return m[0]
	}
	return m
}

// part is a stretch of literal text or the inside of one ${…}.
type part struct {
	text   string
	expr   bool
	offset int // of text in the whole
}

// splitTemplate finds the ${…} of s, minding braces and text inside them.
func splitTemplate(s string) ([]part, *Error) {
	var parts []part
	var lit strings.Builder
	for i := 0; i < len(s); {
		if strings.HasPrefix(s[i:], "$${") {
			lit.WriteString("${")
			i += 3
			continue
		}
		if !strings.HasPrefix(s[i:], "${") {
			lit.WriteByte(s[i])
			i++
			continue
		}
		end, err := closing(s, i+2)
		if err != nil {
			return nil, err.place(s, i, 2)
		}
		if lit.Len() > 0 {
			parts = append(parts, part{text: lit.String()})
			lit.Reset()
		}
		parts = append(parts, part{text: s[i+2 : end], expr: true, offset: i + 2})
		i = end + 1
	}
	if lit.Len() > 0 {
		parts = append(parts, part{text: lit.String()})
	}
	return parts, nil
}

// closing returns the offset of the } that ends the expression starting at from.
func closing(s string, from int) (int, *Error) {
	depth := 0
	for i := from; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth == 0 {
				return i, nil
			}
			depth--
		case '"', '\'':
			raw := i > from && (s[i-1] == 'r' || s[i-1] == 'R') && (i-1 == from || !isASCIILetter(s[i-2]))
			end, err := lexText(s, i, i, raw)
			if err != nil {
				return 0, err
			}
			i = end - 1
		}
	}
	return 0, syntax(s, from, 1, "this ${ is never closed", "write $${ for a literal ${")
}

// Refs are the values the template looks at, dotted, in order of first
// appearance ("state.score", "nodes.a.result", "secrets.X", "env.Y").
func (t *Template) Refs() []string {
	if t == nil {
		return nil
	}
	var names []string
	seen := map[string]bool{}
	for _, p := range t.progs {
		for _, r := range p.refs {
			if !seen[r.name] {
				seen[r.name] = true
				names = append(names, r.name)
			}
		}
	}
	return names
}

// RefPlace is where the reference called name appears first: the path of the
// string that holds it and the byte offset in that string.
func (t *Template) RefPlace(name string) (path []any, offset int) {
	w := t.where[name]
	return w.path, w.offset
}

// Literal returns the template's value if it has no ${…}.
func (t *Template) Literal() (any, bool) {
	l, ok := t.root.(literal)
	return l.v, ok
}

// Eval evaluates the template to plain values: nil, bool, int64, float64,
// string, []any, map[string]any. The result may share lists and maps with vars
// and with the template: it is to be read only.
func (t *Template) Eval(vars Vars) (any, error) { return t.root.eval(vars) }

type literal struct{ v any }

func (l literal) eval(Vars) (any, error) { return l.v, nil }

func literals(l list) []any {
	v := make([]any, len(l))
	for i, n := range l {
		v[i] = n.(literal).v
	}
	return v
}

type list []node

func (l list) eval(vars Vars) (any, error) {
	v := make([]any, len(l))
	for i, n := range l {
		x, err := n.eval(vars)
		if err != nil {
			return nil, err
		}
		v[i] = x
	}
	return v, nil
}

type record struct {
	keys   []string
	values []node
}

func (o record) eval(vars Vars) (any, error) {
	m := make(map[string]any, len(o.keys))
	for i, k := range o.keys {
		x, err := o.values[i].eval(vars)
		if err != nil {
			return nil, err
		}
		m[k] = x
	}
	return m, nil
}

// mixed is text with values in it.
type mixed []node

func (m mixed) eval(vars Vars) (any, error) {
	var b strings.Builder
	for _, n := range m {
		x, err := n.eval(vars)
		if err != nil {
			return nil, err
		}
		b.WriteString(Text(x))
	}
	return b.String(), nil
}

// MissingError says that something a template needs has no value.
type MissingError struct {
	Name string // as "nodes.a.result"
	text string // of the expression
}

func (e *MissingError) Error() string { return fmt.Sprintf("${%s}: %s has no value", e.text, e.Name) }

// computed is the inside of one ${…}.
type computed struct {
	prog *program
	text string
}

func (c *computed) eval(vars Vars) (any, error) {
	if s := c.prog.simple; s != nil && s.op == opTruth {
		// A plain reference: no need of CEL to look it up.
		if l := resolve(vars, c.prog.refs[s.a.ref].path); l.ok {
			return plain(l.value), nil
		}
	}
	v, missing, err := c.prog.evalPlain(vars)
	switch {
	case missing:
		for _, r := range c.prog.reads(vars) {
			if r.Missing {
				return nil, &MissingError{Name: r.Name, text: clip(c.text)}
			}
		}
		return nil, fmt.Errorf("${%s}: %w", clip(c.text), err)
	case err != nil:
		return nil, fmt.Errorf("${%s}: %w", clip(c.text), err)
	}
	return v, nil
}
