package expr

import (
	"fmt"
	"regexp"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// walker resolves names, collects references and refuses what is not there.
type walker struct {
	text   string
	scope  *Scope
	env    *environment
	info   *ast.SourceInfo
	fac    ast.ExprFactory
	next   int64
	locals []string
	macros int
	refs   []reference
	seen   map[string]int
	errs   Errors
}

func (w *walker) offset(e ast.Expr) int {
	r, ok := w.info.GetOffsetRange(e.ID())
	if !ok {
		return 0
	}
	return byteOffset(w.text, int(r.Start))
}

func (w *walker) fail(code string, offset, length int, msg, hint string) {
	w.errs = append(w.errs, (&Error{Code: code, Message: msg, Hint: hint}).place(w.text, offset, length))
}

func (w *walker) local(name string) bool {
	for _, l := range w.locals {
		if l == name {
			return true
		}
	}
	return false
}

func (w *walker) walk(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind, ast.SelectKind:
		w.path(e)
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() == operators.Index {
			w.path(e)
			return
		}
		w.call(e, c)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.walk(x)
		}
	case ast.MapKind:
		for _, x := range e.AsMap().Entries() {
			w.walk(x.AsMapEntry().Key())
			w.walk(x.AsMapEntry().Value())
		}
	case ast.StructKind:
		w.fail("expression-function", w.offset(e), 1, fmt.Sprintf("there are no types to build: %q", e.AsStruct().TypeName()), `write an object as {"key": value}`)
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		w.walk(c.IterRange())
		w.walk(c.AccuInit())
		depth := len(w.locals)
		w.locals = append(w.locals, c.IterVar(), c.AccuVar())
		if c.HasIterVar2() {
			w.locals = append(w.locals, c.IterVar2())
		}
		w.macros++
		if w.macros > MaxMacros {
			w.fail("expression-limit", w.offset(e), 1, fmt.Sprintf("loops over lists may stand at most %d inside one another", MaxMacros), "compute it in a node")
		} else {
			w.walk(c.LoopCondition())
			w.walk(c.LoopStep())
			w.walk(c.Result())
		}
		w.macros--
		w.locals = w.locals[:depth]
	}
}

func (w *walker) call(e ast.Expr, c ast.CallExpr) {
	name := c.FunctionName()
	if !w.env.HasFunction(name) {
		at, hint := w.offset(e), ""
		if i := strings.LastIndex(w.text[:min(at+1, len(w.text))], name); i >= 0 && !strings.HasPrefix(w.text[at:], name) {
			at = i
		}
		if i := strings.Index(w.text[at:], name); i >= 0 {
			at += i
		}
		switch near := Closest(name, w.env.functions); {
		case macroNames[name]:
			hint = "it is written list." + name + "(x, condition on x)"
		case near != "":
			hint = "did you mean " + near + "?"
		default:
			hint = "expressions only compute, with size, contains, startsWith, endsWith, matches, has, all, exists, map, filter, join, split, trim, int, double, string, timestamp and duration"
		}
		msg := "there is no function `" + name + "`"
		if macroNames[name] {
			msg = "`" + name + "` needs a list, a name and a condition"
		}
		w.fail("expression-function", at, len(name), msg, hint)
	}
	if name == "matches" {
		p := c.Args()[len(c.Args())-1]
		if s, ok := p.AsLiteral().(types.String); ok && p.Kind() == ast.LiteralKind {
			if _, err := regexp.Compile(string(s)); err != nil {
				w.fail("expression-type", w.offset(p), 1, strings.TrimPrefix(err.Error(), "error parsing regexp: "), "patterns are RE2")
			}
		}
	}
	if c.IsMemberFunction() {
		w.walk(c.Target())
	}
	for _, x := range c.Args() {
		w.walk(x)
	}
}

var macroNames = map[string]bool{"all": true, "exists": true, "exists_one": true, "map": true, "filter": true}

// path resolves a name or a chain of selections and constant indexes.
func (w *walker) path(e ast.Expr) {
	segs, root, tested := segments(e)
	if root == nil {
		switch e.Kind() {
		case ast.SelectKind:
			w.walk(e.AsSelect().Operand())
		case ast.CallKind:
			for _, x := range e.AsCall().Args() {
				w.walk(x)
			}
		}
		return
	}
	w.indexes(e)
	name := strings.TrimPrefix(root.AsIdent(), ".")
	at := w.offset(root)
	if w.local(name) {
		return
	}
	shown := append([]string{name}, segs...)
	switch {
	case w.scope.has(name):
		if w.scope.Item == name && name != "item" {
			root.SetKindCase(w.fac.NewIdent(root.ID(), "item"))
			w.add(reference{name: strings.Join(shown, "."), path: append([]string{"item"}, segs...), tested: tested, offset: at})
			return
		}
	case w.scope.Refused[name] != "":
		w.fail("expression-variable", at, len(name), "`"+name+"` cannot be used here", w.scope.Refused[name])
		return
	default:
		operand := w.fac.NewIdent(w.next, "state")
		w.next++
		if r, ok := w.info.GetOffsetRange(root.ID()); ok {
			w.info.SetOffsetRange(operand.ID(), r)
		}
		root.SetKindCase(w.fac.NewSelect(root.ID(), operand, name))
		shown = append([]string{"state"}, shown...)
	}
	w.add(reference{name: strings.Join(shown, "."), path: shown, tested: tested, offset: at})
}

func (w *walker) add(r reference) {
	if i, ok := w.seen[r.name]; ok {
		w.refs[i].tested = w.refs[i].tested && r.tested
		return
	}
	w.seen[r.name] = len(w.refs)
	w.refs = append(w.refs, r)
}

// indexes walks what computes the indexes of a chain.
func (w *walker) indexes(e ast.Expr) {
	for {
		switch e.Kind() {
		case ast.SelectKind:
			e = e.AsSelect().Operand()
		case ast.CallKind:
			w.walk(e.AsCall().Args()[1])
			e = e.AsCall().Args()[0]
		default:
			return
		}
	}
}

// segments returns the steps of a chain from its root name, as far as they are
// constant text. root is nil if the chain does not start at a name.
func segments(e ast.Expr) (segs []string, root ast.Expr, tested bool) {
	segs, root, tested, _ = chain(e)
	return segs, root, tested
}

// chain is segments; fixed reports that no step was left out.
func chain(e ast.Expr) (segs []string, root ast.Expr, tested, fixed bool) {
	step, from := "", ast.Expr(nil)
	switch e.Kind() {
	case ast.IdentKind:
		return nil, e, false, true
	case ast.SelectKind:
		step, from = e.AsSelect().FieldName(), e.AsSelect().Operand()
	case ast.CallKind:
		c := e.AsCall()
		if c.FunctionName() != operators.Index {
			return nil, nil, false, false
		}
		from = c.Args()[0]
		if k := c.Args()[1]; k.Kind() == ast.LiteralKind {
			if s, ok := k.AsLiteral().(types.String); ok {
				step = string(s)
				break
			}
		}
		segs, root, _, _ = chain(from)
		return segs, root, false, false
	default:
		return nil, nil, false, false
	}
	segs, root, _, fixed = chain(from)
	if fixed {
		segs = append(segs, step)
		tested = e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly()
	}
	return segs, root, tested, fixed
}
