package expr

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// This file alone knows CEL's packages. The rest of the package sees program,
// reference and simple.

// program is a compiled expression.
type program struct {
	cel    cel.Program
	refs   []reference // in order of appearance, no two equal
	simple *simple     // nil: only CEL can evaluate it
	result string      // the type known before evaluation, as in TypeOf; "" = any
}

// reference is a value an expression looks at by a fixed path.
type reference struct {
	name   string   // as written: "state.score"
	path   []string // root variable first
	tested bool     // only in has(…)
	offset int
}

// environment is CEL as we use it, built once.
type environment struct {
	*cel.Env
	functions []string // callable names, for hints
}

var theEnv = sync.OnceValue(func() *environment {
	subset := env.NewLibrarySubset()
	for _, name := range []string{ // those defined below instead
		operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.Add, operators.Subtract, operators.Multiply, operators.Divide, "matches",
	} {
		subset.AddExcludedFunctions(env.NewFunction(name))
	}
	opts := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(subset)),
		cel.CustomTypeAdapter(adapter{}),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(MaxNesting),
		cel.ParserErrorRecoveryLimit(4),
		cel.ParserExpressionSizeLimit(MaxTemplate),
	}
	for _, v := range Variables {
		opts = append(opts, cel.Variable(v, cel.DynType))
	}
	e, err := cel.NewCustomEnv(append(append(opts, orderFunctions()...), append(arithmeticFunctions(), textFunctions()...)...)...)
	if err != nil {
		panic("expr: " + err.Error()) // the options above are constant
	}
	var names []string
	for name := range e.Functions() {
		if name[0] >= 'a' && name[0] <= 'z' || name[0] >= 'A' && name[0] <= 'Z' {
			names = append(names, name)
		}
	}
	names = append(names, "has", "all", "exists", "exists_one", "map", "filter")
	sort.Strings(names)
	return &environment{e, names}
})

func orderFunctions() []cel.EnvOption {
	var opts []cel.EnvOption
	for id, f := range map[string]struct {
		op string
		ok func(int) bool
	}{
		"less": {operators.Less, func(c int) bool { return c < 0 }}, "less_equals": {operators.LessEquals, func(c int) bool { return c <= 0 }},
		"greater": {operators.Greater, func(c int) bool { return c > 0 }}, "greater_equals": {operators.GreaterEquals, func(c int) bool { return c >= 0 }},
	} {
		var o []cel.FunctionOpt
		nums := []*cel.Type{cel.IntType, cel.DoubleType, cel.UintType}
		for _, a := range nums {
			for _, b := range nums {
				o = append(o, cel.Overload(id+"_"+a.String()+"_"+b.String(), []*cel.Type{a, b}, cel.BoolType))
			}
		}
		for _, t := range []*cel.Type{cel.TimestampType, cel.DurationType} {
			o = append(o, cel.Overload(id+"_"+strings.ReplaceAll(t.String(), ".", "_"), []*cel.Type{t, t}, cel.BoolType))
		}
		ok := f.ok
		opts = append(opts, cel.Function(f.op, append(o, cel.SingletonBinaryBinding(func(l, r ref.Val) ref.Val {
			c, err := orderValues(l, r)
			if err != nil {
				return types.WrapErr(err)
			}
			return types.Bool(ok(c))
		}))...))
	}
	return opts
}

func orderValues(l, r ref.Val) (int, error) {
	a, b := scalar(l), scalar(r)
	if c, err := order(a, b); err == nil || a != l && b != r {
		return c, err
	}
	if cl, ok := l.(traits.Comparer); ok && l.Type() == r.Type() && (l.Type() == types.TimestampType || l.Type() == types.DurationType || l.Type() == types.UintType) {
		if c, ok := cl.Compare(r).(types.Int); ok {
			return int(c), nil
		}
	}
	pa, _ := toPlain(l)
	pb, _ := toPlain(r)
	_, err := order(pa, pb)
	return 0, err
}

// scalar is v as a plain Go value if it is a simple one, else v itself.
func scalar(v ref.Val) any {
	switch v := v.(type) {
	case types.Int:
		return int64(v)
	case types.Double:
		return float64(v)
	case types.String:
		return string(v)
	case types.Bool:
		return bool(v)
	case types.Null:
		return nil
	}
	return v
}

func arithmeticFunctions() []cel.EnvOption {
	type sig struct{ a, b, r *cel.Type }
	i, d, u := cel.IntType, cel.DoubleType, cel.UintType
	ts, du := cel.TimestampType, cel.DurationType
	list := cel.ListType(cel.TypeParamType("A"))
	numbers := []sig{{i, i, i}, {d, d, d}, {u, u, u}, {i, d, d}, {d, i, d}}
	decl := func(op, id string, bind func(l, r ref.Val) ref.Val, sigs ...sig) cel.EnvOption {
		var o []cel.FunctionOpt
		for _, s := range append(sigs, numbers...) {
			name := id + "_" + s.a.String() + "_" + s.b.String()
			switch { // the names CEL's cost model charges by length
			case s.a == cel.StringType:
				name = "add_string"
			case s.a == cel.BytesType:
				name = "add_bytes"
			case s.a == list:
				name = "add_list"
			}
			o = append(o, cel.Overload(strings.ReplaceAll(name, ".", "_"), []*cel.Type{s.a, s.b}, s.r))
		}
		return cel.Function(op, append(o, cel.SingletonBinaryBinding(func(l, r ref.Val) ref.Val {
			switch x := l.(type) {
			case types.Int:
				if _, ok := r.(types.Double); ok {
					l = types.Double(x)
				}
			case types.Double:
				if y, ok := r.(types.Int); ok {
					r = types.Double(y)
				}
			}
			v := bind(l, r)
			if types.IsError(v) && strings.HasPrefix(v.(*types.Err).Error(), "no such overload") {
				a, _ := toPlain(l)
				b, _ := toPlain(r)
				return types.NewErr("cannot compute %s %s %s", shown(a), strings.Trim(op, "_"), shown(b))
			}
			return v
		}))...)
	}
	none := types.NoSuchOverloadErr()
	return []cel.EnvOption{
		decl(operators.Add, "add", func(l, r ref.Val) ref.Val {
			if x, ok := l.(traits.Adder); ok {
				return x.Add(r)
			}
			return none
		}, sig{cel.StringType, cel.StringType, cel.StringType}, sig{cel.BytesType, cel.BytesType, cel.BytesType}, sig{list, list, list}, sig{du, du, du}, sig{du, ts, ts}, sig{ts, du, ts}),
		decl(operators.Subtract, "subtract", func(l, r ref.Val) ref.Val {
			if x, ok := l.(traits.Subtractor); ok {
				return x.Subtract(r)
			}
			return none
		}, sig{du, du, du}, sig{ts, du, ts}, sig{ts, ts, du}),
		decl(operators.Multiply, "multiply", func(l, r ref.Val) ref.Val {
			if x, ok := l.(traits.Multiplier); ok {
				return x.Multiply(r)
			}
			return none
		}),
		decl(operators.Divide, "divide", func(l, r ref.Val) ref.Val {
			if x, ok := l.(traits.Divider); ok {
				return x.Divide(r)
			}
			return none
		}),
	}
}

// textFunctions are those of CEL's strings extension whose result is no longer
// than what goes in.
func textFunctions() []cel.EnvOption {
	s, l := cel.StringType, cel.ListType(cel.DynType)
	unary := func(name string, f func(string) string) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("string_"+name, []*cel.Type{s}, s, cel.UnaryBinding(func(v ref.Val) ref.Val {
			return types.String(f(string(v.(types.String))))
		})))
	}
	return []cel.EnvOption{
		cel.Function("matches", cel.Overload("matches", []*cel.Type{s, s}, cel.BoolType), cel.MemberOverload("matches_string", []*cel.Type{s, s}, cel.BoolType), cel.SingletonBinaryBinding(matches)),
		unary("lowerAscii", strings.ToLower), unary("upperAscii", strings.ToUpper), unary("trim", strings.TrimSpace),
		cel.Function("split", cel.MemberOverload("string_split", []*cel.Type{s, s}, l, cel.BinaryBinding(func(v, sep ref.Val) ref.Val {
			return types.NewStringList(adapter{}, strings.Split(string(v.(types.String)), string(sep.(types.String))))
		}))),
		cel.Function("join", cel.MemberOverload("list_join", []*cel.Type{l, s}, s, cel.BinaryBinding(func(v, sep ref.Val) ref.Val {
			p, err := toPlain(v)
			if err != nil {
				return types.WrapErr(err)
			}
			items, _ := p.([]any)
			parts := make([]string, len(items))
			for i, x := range items {
				parts[i] = Text(x)
			}
			return types.String(strings.Join(parts, string(sep.(types.String))))
		}))),
	}
}

// matching a pattern of maxPattern bytes takes time proportional to its length
// and that of the text: both are bounded together.
const (
	maxPattern  = 500
	maxMatching = 4 << 20
)

func matches(v, pattern ref.Val) ref.Val {
	s, ok := v.(types.String)
	p, ok2 := pattern.(types.String)
	switch {
	case !ok || !ok2:
		return types.NoSuchOverloadErr()
	case len(p) > maxPattern || len(p)*len(s) > maxMatching:
		return types.NewErr("matching %d bytes with a pattern of %d is more than the limit", len(s), len(p))
	}
	re, err := regexp.Compile(string(p))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(re.MatchString(string(s)))
}

// lengths makes functions pay for the text and lists they copy. CEL's own meter
// knows the length of an operand only if its type is known before evaluation.
type lengths struct{}

func (lengths) CallCost(function, overload string, args []ref.Val, result ref.Val) *uint64 {
	switch function {
	case operators.Add, "lowerAscii", "upperAscii", "trim", "split", "join", "matches", "contains", "startsWith", "endsWith", "string":
		n := uint64(1)
		for _, v := range append(args, result) {
			switch v := v.(type) {
			case types.String:
				n += uint64(len(v)) / 10
			case traits.Lister:
				if i, ok := v.Size().(types.Int); ok {
					n += uint64(i) / 10
				}
			}
		}
		return &n
	}
	return nil
}

// unknownSizes leaves the size of every variable open when cost is estimated.
type unknownSizes struct{}

func (unknownSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
func (unknownSizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }

// compileCEL compiles text, which is at most MaxTemplate long.
func compileCEL(text string, scope *Scope) (*program, Errors) {
	toks, e := lex(text)
	if e == nil {
		e = precheck(text, toks)
	}
	if e != nil {
		return nil, Errors{e}
	}
	en := theEnv()
	parsed, iss := en.Parse(text)
	if iss.Err() != nil {
		return nil, Errors{parseError(text, iss.Errors()[0].Message, iss.Errors()[0].Location.Line(), iss.Errors()[0].Location.Column())}
	}
	native := parsed.NativeRep()
	w := &walker{text: text, scope: scope, env: en, info: native.SourceInfo(), fac: ast.NewExprFactory(), next: 1 << 20, seen: map[string]int{}}
	w.walk(native.Expr())
	if len(w.errs) > 0 {
		return nil, w.errs
	}
	checked, iss := en.Check(parsed)
	if iss.Err() != nil {
		var errs Errors
		for _, i := range iss.Errors() {
			errs = append(errs, typeError(text, i.Message, i.Location.Line(), i.Location.Column()))
		}
		return nil, errs
	}
	var opts []cel.ProgramOption
	est, err := en.EstimateCost(checked, unknownSizes{})
	if err != nil || est.Min > CostLimit {
		return nil, Errors{(&Error{Code: "expression-limit", Message: fmt.Sprintf("this expression always costs more than the limit of %d", CostLimit), Hint: "compute it in a node"}).place(text, 0, len(text))}
	}
	if est.Max > CostLimit {
		opts = append(opts, cel.CostLimit(CostLimit), cel.CostTracking(lengths{}))
	}
	prg, err := en.Program(checked, opts...)
	if err != nil {
		return nil, Errors{syntax(text, 0, len(text), "cannot be compiled: "+err.Error(), "")}
	}
	slices.SortStableFunc(w.refs, func(a, b reference) int { return a.offset - b.offset })
	p := &program{cel: prg, refs: w.refs, result: typeName(checked.OutputType())}
	p.simple = w.simplify(native.Expr())
	return p, nil
}

func typeName(t *cel.Type) string {
	switch t.Kind() {
	case types.BoolKind:
		return "true or false"
	case types.IntKind, types.DoubleKind, types.UintKind:
		return "a number"
	case types.StringKind:
		return "text"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "an object"
	case types.NullTypeKind:
		return "null"
	}
	return ""
}

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

// eval evaluates the program. missing is set if it failed for want of a key.
func (p *program) eval(vars Vars) (v ref.Val, missing bool, err error) {
	a := activations.Get().(*activation)
	a.vars = vars
	v, _, err = p.cel.Eval(a)
	a.vars = nil
	activations.Put(a)
	if err == nil {
		return v, false, nil
	}
	msg := err.Error()
	switch {
	case strings.HasPrefix(msg, "no such key"), strings.HasPrefix(msg, "no such attribute"):
		return nil, true, err
	case strings.Contains(msg, "cost limit exceeded"):
		return nil, false, fmt.Errorf("it costs more than the limit of %d", CostLimit)
	case strings.HasPrefix(msg, "no such overload: "):
		return nil, false, fmt.Errorf("a value has a type this cannot be done with: %s", strings.TrimPrefix(msg, "no such overload: "))
	case strings.HasPrefix(msg, "no such overload"):
		return nil, false, fmt.Errorf("a value has a type this cannot be done with")
	}
	return nil, false, err
}

// evalPlain evaluates to a plain Go value.
func (p *program) evalPlain(vars Vars) (any, bool, error) {
	v, missing, err := p.eval(vars)
	if err != nil {
		return nil, missing, err
	}
	x, err := toPlain(v)
	return x, false, err
}

// activation hands CEL the variables.
type activation struct{ vars Vars }

var activations = sync.Pool{New: func() any { return new(activation) }}

func (a *activation) ResolveName(name string) (any, bool) { return a.vars.Var(name) }
func (a *activation) Parent() interpreter.Activation      { return nil }

// adapter turns our values into CEL's, lists and maps without copying.
type adapter struct{}

func (adapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case nil:
		return types.NullValue
	case ref.Val:
		return v
	case bool:
		return types.Bool(v)
	case int64:
		return types.Int(v)
	case int:
		return types.Int(v)
	case float64:
		return types.Double(v)
	case string:
		return types.String(v)
	case []any:
		return types.NewDynamicList(adapter{}, v)
	case map[string]any:
		return types.NewStringInterfaceMap(adapter{}, v)
	case Object:
		return &object{o: v}
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

// object is an Object as CEL's map. Looking at one key reads that key alone; what
// needs all of it (equality, iteration) reads all.
type object struct{ o Object }

func (o *object) full() traits.Mapper {
	return types.NewStringInterfaceMap(adapter{}, plain(o.o).(map[string]any))
}

func (o *object) Find(key ref.Val) (ref.Val, bool) {
	k, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	v, ok := o.o.Get(string(k))
	if !ok {
		return nil, false
	}
	return adapter{}.NativeToValue(v), true
}

func (o *object) Get(key ref.Val) ref.Val {
	if v, ok := o.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

func (o *object) Contains(key ref.Val) ref.Val {
	_, ok := o.Find(key)
	return types.Bool(ok)
}

func (o *object) ConvertToNative(t reflect.Type) (any, error) { return o.full().ConvertToNative(t) }
func (o *object) ConvertToType(t ref.Type) ref.Val            { return o.full().ConvertToType(t) }
func (o *object) Equal(other ref.Val) ref.Val                 { return o.full().Equal(other) }
func (o *object) Type() ref.Type                              { return types.MapType }
func (o *object) Value() any                                  { return plain(o.o) }
func (o *object) Iterator() traits.Iterator                   { return o.full().Iterator() }
func (o *object) Size() ref.Val                               { return types.Int(len(o.o.Keys())) }

// toPlain turns CEL's values into ours.
func toPlain(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if v > 1<<63-1 {
			return float64(v), nil
		}
		return int64(v), nil
	case types.Double:
		return float64(v), nil
	case types.String:
		return string(v), nil
	case types.Bytes:
		return string(v), nil
	case types.Timestamp:
		return v.Format(time.RFC3339Nano), nil
	case types.Duration:
		return v.Duration.String(), nil
	case *object:
		return plain(v.o), nil
	case traits.Mapper:
		if m, ok := v.Value().(map[string]any); ok {
			return plain(m), nil
		}
		m := map[string]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			k := it.Next()
			x, err := toPlain(v.Get(k))
			if err != nil {
				return nil, err
			}
			kp, err := toPlain(k)
			if err != nil {
				return nil, err
			}
			m[Text(kp)] = x
		}
		return m, nil
	case traits.Lister:
		if l, ok := v.Value().([]any); ok {
			return plain(l), nil
		}
		l := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			x, err := toPlain(it.Next())
			if err != nil {
				return nil, err
			}
			l = append(l, x)
		}
		return l, nil
	case *types.Err:
		return nil, v
	}
	return nil, fmt.Errorf("a value of type %s cannot leave an expression", v.Type().TypeName())
}
