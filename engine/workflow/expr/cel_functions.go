package expr

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

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
