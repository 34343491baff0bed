package expr

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

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
