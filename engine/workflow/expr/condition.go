package expr

import "fmt"

// Condition is a compiled condition.
type Condition struct {
	text string
	prog *program
}

// CompileCondition compiles the condition of an edge. Its error is Errors.
func CompileCondition(text string, scope Scope) (*Condition, error) {
	if len(text) > MaxCondition {
		return nil, Errors{tooLong(text, MaxCondition, "a condition")}
	}
	p, errs := compileCEL(text, &scope)
	if len(errs) > 0 {
		return nil, errs
	}
	if p.result != "" && p.result != "true or false" {
		return nil, Errors{(&Error{Code: "expression-type", Message: "a condition is true or false, but this is " + p.result}).place(text, 0, len(text))}
	}
	return &Condition{text, p}, nil
}

func tooLong(text string, limit int, what string) *Error {
	return (&Error{Code: "expression-limit", Message: fmt.Sprintf("%s may have %d bytes, this has %d", what, limit, len(text)), Hint: "compute it in a node and test its result"}).place(text, limit, 1)
}

// Text is the condition as written.
func (c *Condition) Text() string { return c.text }

// Refs are the values the condition looks at, dotted ("state.score"), in order
// of first appearance.
func (c *Condition) Refs() []string { return c.prog.names() }

// RefOffset is the byte offset in Text at which the reference called name
// appears first.
func (c *Condition) RefOffset(name string) int { return c.prog.offset(name) }

// Eval evaluates the condition. Reads holds every reference of the text, also
// those that || or && did not need.
func (c *Condition) Eval(vars Vars) Outcome {
	out := Outcome{}
	if s := c.prog.simple; s != nil {
		vals := make([]lookup, len(c.prog.refs))
		for i := range c.prog.refs {
			vals[i] = resolve(vars, c.prog.refs[i].path)
		}
		out.Reads = c.reads(vals)
		switch t, err := s.eval(vals); {
		case t == isError:
			out.Err = err
		default:
			out.Met = t == isTrue
		}
		return out
	}
	v, missing, err := c.prog.evalPlain(vars)
	out.Reads = c.prog.reads(vars)
	switch b, ok := v.(bool); {
	case missing:
	case err != nil:
		out.Err = err.Error()
	case !ok:
		out.Err = notBool(v)
	default:
		out.Met = b
	}
	return out
}

func notBool(v any) string { return "a condition is true or false, but this is " + shown(v) }

func (c *Condition) reads(vals []lookup) []Read {
	if len(vals) == 0 {
		return nil
	}
	reads := make([]Read, 0, len(vals))
	for i := range vals {
		reads = appendRead(reads, &c.prog.refs[i], vals[i])
	}
	return reads
}

// Atom is one comparison inside a condition.
type Atom struct {
	Ref   string // "state.score"
	Op    string // "==", "<", …; "" for a bare reference
	Value any    // the literal; Other is set instead if two references are compared
	Other string
}

// Atoms returns the comparisons the condition is made of, joined by &&, || and !
// only. ok is false if it is made of anything else.
func (c *Condition) Atoms() (atoms []Atom, ok bool) {
	if c.prog.simple == nil {
		return nil, false
	}
	c.prog.simple.atoms(c.prog.refs, &atoms)
	return atoms, true
}
