package expr

import "strings"

// simple is a condition made of comparisons of references and literals.
type simple struct {
	op    string // opAnd, opOr, opNot, opTruth, or a comparison
	terms []*simple
	a, b  operand
}

const (
	opAnd   = "&&"
	opOr    = "||"
	opNot   = "!"
	opTruth = "" // a reference that is true or false itself
)

// operand is a reference (an index into program.refs) or a literal (ref < 0).
type operand struct {
	ref int
	lit any
}

// truth is CEL's: a comparison may also fail, and || and && absorb a failure of
// one side if the other decides.
type truth uint8

const (
	isFalse truth = iota
	isTrue
	isMissing // failed for want of a key
	isError
)

func truthOf(b bool) truth {
	if b {
		return isTrue
	}
	return isFalse
}

// lookup is what a reference stands for in one evaluation.
type lookup struct {
	value any
	have  int    // steps of the path that exist
	ok    bool   // all of them do
	err   string // why the path cannot be followed, "" if it is only missing
}

func resolve(vars Vars, path []string) lookup {
	v, ok := vars.Var(path[0])
	if !ok {
		return lookup{}
	}
	for i, k := range path[1:] {
		switch m := v.(type) {
		case Object:
			v, ok = m.Get(k)
		case map[string]any:
			v, ok = m[k]
		case []any:
			return lookup{have: i + 1, err: strings.Join(path[:i+1], ".") + " is a list: it has positions, no key " + k}
		default:
			ok = false
		}
		if !ok {
			return lookup{have: i + 1}
		}
	}
	return lookup{value: v, have: len(path), ok: true}
}

func (s *simple) eval(vals []lookup) (truth, string) {
	switch s.op {
	case opAnd, opOr:
		decides := truthOf(s.op == opOr)
		result, why := truthOf(s.op == opAnd), ""
		for _, t := range s.terms {
			v, err := t.eval(vals)
			if v == decides {
				return v, ""
			}
			if v > isTrue && result <= isTrue {
				result, why = v, err
			}
		}
		return result, why
	case opNot:
		switch v, err := s.terms[0].eval(vals); v {
		case isFalse:
			return isTrue, ""
		case isTrue:
			return isFalse, ""
		default:
			return v, err
		}
	}
	a, t, err := s.a.value(vals)
	if t != isTrue {
		return t, err
	}
	if s.op == opTruth {
		b, ok := a.(bool)
		if !ok {
			return isError, notBool(a)
		}
		return truthOf(b), ""
	}
	b, t, err := s.b.value(vals)
	if t != isTrue {
		return t, err
	}
	if s.op == "==" || s.op == "!=" {
		return truthOf(equal(a, b) == (s.op == "==")), ""
	}
	c, e := order(a, b)
	if e != nil {
		return isError, e.Error()
	}
	switch s.op {
	case "<":
		return truthOf(c < 0), ""
	case "<=":
		return truthOf(c <= 0), ""
	case ">":
		return truthOf(c > 0), ""
	}
	return truthOf(c >= 0), ""
}

func (o operand) value(vals []lookup) (any, truth, string) {
	if o.ref < 0 {
		return o.lit, isTrue, ""
	}
	l := &vals[o.ref]
	switch {
	case l.ok:
		return l.value, isTrue, ""
	case l.err != "":
		return nil, isError, l.err
	}
	return nil, isMissing, ""
}

// equal is CEL's equality of plain values.
func equal(a, b any) bool {
	switch x := a.(type) {
	case nil:
		return b == nil
	case bool:
		y, ok := b.(bool)
		return ok && x == y
	case string:
		y, ok := b.(string)
		return ok && x == y
	case int64, float64:
		switch b.(type) {
		case int64, float64:
			c, err := order(a, b)
			return err == nil && c == 0
		}
		return false
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equal(x[i], y[i]) {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case map[string]any, Object:
	default:
		return false
	}
	x, ok := plain(a).(map[string]any)
	y, ok2 := plain(b).(map[string]any)
	if !ok || !ok2 || len(x) != len(y) {
		return false
	}
	for k, v := range x {
		w, ok := y[k]
		if !ok || !equal(v, w) {
			return false
		}
	}
	return true
}

func (s *simple) atoms(refs []reference, into *[]Atom) {
	for _, t := range s.terms {
		t.atoms(refs, into)
	}
	if len(s.terms) > 0 {
		return
	}
	a := Atom{Op: s.op}
	switch {
	case s.a.ref < 0:
		a.Ref, a.Value, a.Op = refs[s.b.ref].name, s.a.lit, mirrored(s.op)
	case s.op != opTruth && s.b.ref >= 0:
		a.Ref, a.Other = refs[s.a.ref].name, refs[s.b.ref].name
	default:
		a.Ref, a.Value = refs[s.a.ref].name, s.b.lit
	}
	*into = append(*into, a)
}

func mirrored(op string) string {
	switch op[0] {
	case '<':
		return ">" + op[1:]
	case '>':
		return "<" + op[1:]
	}
	return op
}

// reads looks up every reference of p.
func (p *program) reads(vars Vars) []Read {
	var reads []Read
	for i := range p.refs {
		reads = appendRead(reads, &p.refs[i], resolve(vars, p.refs[i].path))
	}
	return reads
}

// appendRead adds what a reference found. A missing one is named by the first
// step that is not there.
func appendRead(reads []Read, r *reference, l lookup) []Read {
	if l.ok {
		return append(reads, Read{Name: r.name, Value: plain(l.value)})
	}
	if l.err != "" {
		return append(reads, Read{Name: r.name})
	}
	name := r.name
	if l.have < len(r.path)-1 {
		name = strings.Join(append([]string{strings.SplitN(r.name, ".", 2)[0]}, r.path[1:l.have+1]...), ".")
	}
	for i := range reads {
		if reads[i].Name == name {
			return reads
		}
	}
	return append(reads, Read{Name: name, Missing: true})
}

func (p *program) names() []string {
	names := make([]string, len(p.refs))
	for i := range p.refs {
		names[i] = p.refs[i].name
	}
	return names
}

func (p *program) offset(name string) int {
	for i := range p.refs {
		if p.refs[i].name == name {
			return p.refs[i].offset
		}
	}
	return 0
}
