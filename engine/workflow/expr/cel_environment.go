package expr

import (
	"slices"
	"sort"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
)

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
	for _, v := range slices.Concat(Variables, TriggerVariables, ToolVariables) {
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
