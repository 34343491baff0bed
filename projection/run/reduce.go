package run

import (
	"bytes"
	"fmt"
	"maps"

	"github.com/wfd-dev/wfd/projection/event"
)

// Reduce joins a key's old value (none: unset) with what is written. Two values
// that were each written to an unset key can always be joined.
func Reduce(how string, old, operand event.Value) (event.Value, error) {
	if len(old) == 0 || bytes.Equal(old, event.Null) {
		if how == "append" || how == "union" {
			old = event.MustValue([]any{})
		} else {
			b, err := operand.Any()
			if err == nil {
				err = fits(how, b)
			}
			return operand, err
		}
	}
	a, err := old.Any()
	if err != nil {
		return nil, err
	}
	b, err := operand.Any()
	if err != nil {
		return nil, err
	}
	r, err := reduce(how, a, b)
	if err != nil {
		return nil, err
	}
	return event.ValueOf(r)
}

// fits returns an error if b is nothing that how can join.
func fits(how string, b any) error {
	ok, want := true, ""
	switch how {
	case "merge":
		_, ok = b.(map[string]any)
		want = "an object"
	case "and", "or":
		_, ok = b.(bool)
		want = "a boolean"
	case "sum", "min", "max":
		_, ok = number(b)
		want = "a number"
	}
	if !ok {
		return fmt.Errorf("%s needs %s, not %s", how, want, kindOf(b))
	}
	return nil
}

func reduce(how string, a, b any) (any, error) {
	switch how {
	case "append":
		return append(list(a), list(b)...), nil
	case "union":
		return union(list(a), list(b))
	case "merge":
		x, ok := a.(map[string]any)
		y, ok2 := b.(map[string]any)
		if !ok || !ok2 {
			return nil, fmt.Errorf("merge needs two objects, not %s and %s", kindOf(a), kindOf(b))
		}
		m := maps.Clone(x)
		maps.Copy(m, y)
		return m, nil
	case "and", "or":
		x, ok := a.(bool)
		y, ok2 := b.(bool)
		if !ok || !ok2 {
			return nil, fmt.Errorf("%s needs two booleans, not %s and %s", how, kindOf(a), kindOf(b))
		}
		if how == "and" {
			return x && y, nil
		}
		return x || y, nil
	case "sum", "min", "max":
		return arith(how, a, b)
	}
	return nil, fmt.Errorf("unknown reducer %q", how)
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l[:len(l):len(l)]
	}
	return []any{v}
}

func union(a, b []any) (any, error) {
	seen := map[string]bool{}
	out := []any{}
	for _, v := range append(a, b...) {
		k, err := event.ValueOf(v)
		if err != nil {
			return nil, err
		}
		if !seen[string(k)] {
			seen[string(k)] = true
			out = append(out, v)
		}
	}
	return out, nil
}

func arith(how string, a, b any) (any, error) {
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			switch {
			case how == "sum":
				r := x + y
				if (r > x) != (y > 0) && y != 0 {
					return float64(x) + float64(y), nil // out of range of the integers
				}
				return r, nil
			case (how == "min") == (y < x):
				return y, nil
			}
			return x, nil
		}
	}
	x, ok := number(a)
	y, ok2 := number(b)
	if !ok || !ok2 {
		return nil, fmt.Errorf("%s needs two numbers, not %s and %s", how, kindOf(a), kindOf(b))
	}
	switch how {
	case "sum":
		return x + y, nil
	case "min":
		return min(x, y), nil
	}
	return max(x, y), nil
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	}
	return "an object"
}
