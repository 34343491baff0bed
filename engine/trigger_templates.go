package engine

import (
	"fmt"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
)

// named are variables of templates.
type named map[string]any

// Var implements expr.Vars.
func (n named) Var(name string) (any, bool) {
	v, ok := n[name]
	return v, ok
}

// compileTemplate compiles a value of a trigger, in which the given variables are.
func compileTemplate(what string, v event.Value, vars ...string) (*expr.Template, error) {
	if len(v) == 0 {
		v = event.Null
	}
	tree, err := v.Any()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", machine.ErrInvalid, what, err)
	}
	return compileTree(what, tree, vars...)
}

func compileTree(what string, tree any, vars ...string) (*expr.Template, error) {
	t, err := expr.CompileTemplate(tree, triggerScope(vars...))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", machine.ErrInvalid, what, err)
	}
	return t, nil
}

// triggerScope is the scope of expressions in which the given variables are.
func triggerScope(vars ...string) expr.Scope {
	scope := expr.Scope{Vars: vars, Refused: map[string]string{}}
	for _, name := range expr.Variables {
		scope.Refused[name] = fmt.Sprintf("a trigger has only %v", vars)
	}
	return scope
}
