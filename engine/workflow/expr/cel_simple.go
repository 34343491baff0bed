package expr

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types/ref"
)

// simplify returns e as a combination of comparisons of references and
// literals, nil if it is anything else. Names are resolved already.
func (w *walker) simplify(e ast.Expr) *simple {
	if e.Kind() != ast.CallKind {
		o, ok := w.operand(e)
		if !ok || o.ref < 0 {
			return nil
		}
		return &simple{op: opTruth, a: o}
	}
	c := e.AsCall()
	switch c.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr:
		s := &simple{op: opAnd}
		if c.FunctionName() == operators.LogicalOr {
			s.op = opOr
		}
		for _, x := range c.Args() {
			t := w.simplify(x)
			if t == nil {
				return nil
			}
			s.terms = append(s.terms, t)
		}
		return s
	case operators.LogicalNot:
		if t := w.simplify(c.Args()[0]); t != nil {
			return &simple{op: opNot, terms: []*simple{t}}
		}
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		a, ok := w.operand(c.Args()[0])
		b, ok2 := w.operand(c.Args()[1])
		if ok && ok2 && (a.ref >= 0 || b.ref >= 0) {
			return &simple{op: strings.Trim(c.FunctionName(), "_"), a: a, b: b}
		}
	}
	return nil
}

func (w *walker) operand(e ast.Expr) (operand, bool) {
	if e.Kind() == ast.LiteralKind {
		v := scalar(e.AsLiteral())
		_, other := v.(ref.Val)
		return operand{ref: -1, lit: v}, !other
	}
	path, ok := constantPath(e)
	if !ok {
		return operand{}, false
	}
	for i, r := range w.refs {
		if slices.Equal(r.path, path) {
			return operand{ref: i}, true
		}
	}
	return operand{}, false
}

func constantPath(e ast.Expr) ([]string, bool) {
	switch e.Kind() {
	case ast.IdentKind:
		return []string{e.AsIdent()}, true
	case ast.SelectKind:
		s := e.AsSelect()
		if s.IsTestOnly() {
			return nil, false
		}
		p, ok := constantPath(s.Operand())
		return append(p, s.FieldName()), ok
	}
	return nil, false
}
