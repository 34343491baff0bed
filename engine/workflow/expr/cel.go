package expr

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// CEL's packages are known to the files called cel*.go alone: here an expression
// is compiled, and beside it stand the environment (cel_environment.go) with its
// functions (cel_functions.go), what an expression reads (cel_references.go), the
// form that needs no CEL (cel_simple.go), costs (cel_cost.go), values
// (cel_values.go) and evaluation (cel_eval.go). The rest of the package sees
// program, reference and simple.

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
	if p.result == "" && arithmetic(native.Expr()) {
		p.result = "the result of a calculation"
	}
	p.simple = w.simplify(native.Expr())
	return p, nil
}

// arithmetic reports whether e calculates: whatever its operands turn out to be,
// its value is neither true nor false.
func arithmetic(e ast.Expr) bool {
	if e.Kind() != ast.CallKind {
		return false
	}
	switch e.AsCall().FunctionName() {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate:
		return true
	}
	return false
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
