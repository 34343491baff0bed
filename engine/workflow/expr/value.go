package expr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// plain returns v without any Object in it. Values without one are shared, not
// copied.
func plain(v any) any {
	switch v := v.(type) {
	case Object:
		keys := v.Keys()
		m := make(map[string]any, len(keys))
		for _, k := range keys {
			if x, ok := v.Get(k); ok {
				m[k] = plain(x)
			}
		}
		return m
	case map[string]any:
		for _, x := range v {
			if holdsObject(x) {
				m := make(map[string]any, len(v))
				for k, x := range v {
					m[k] = plain(x)
				}
				return m
			}
		}
	case []any:
		for _, x := range v {
			if holdsObject(x) {
				l := make([]any, len(v))
				for i, x := range v {
					l[i] = plain(x)
				}
				return l
			}
		}
	case int:
		return int64(v)
	}
	return v
}

func holdsObject(v any) bool {
	switch v := v.(type) {
	case Object:
		return true
	case map[string]any:
		for _, x := range v {
			if holdsObject(x) {
				return true
			}
		}
	case []any:
		for _, x := range v {
			if holdsObject(x) {
				return true
			}
		}
	}
	return false
}

// Text is how a value reads inside other text: numbers without a needless .0,
// lists and objects as compact JSON, null as nothing.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return numberText(v)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(textual(v)); err != nil {
		return fmt.Sprint(v)
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func numberText(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// textual replaces the numbers JSON has no form for.
func textual(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return numberText(v)
		}
		return json.RawMessage(numberText(v))
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = textual(x)
		}
		return l
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = textual(x)
		}
		return m
	}
	return v
}

// TypeOf names the type of a value the way definitions do.
func TypeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case int64, float64:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	case map[string]any, Object:
		return "an object"
	default:
		return fmt.Sprintf("%T", v)
	}
}

var errNaN = errors.New("a number that is none (NaN) has no order")

// order compares two numbers as CEL does. For anything else it says why there
// is no order.
func order(a, b any) (int, error) {
	switch x := a.(type) {
	case int64:
		switch y := b.(type) {
		case int64:
			return cmp(x, y), nil
		case float64:
			c, err := orderDoubleInt(y, x)
			return -c, err
		}
	case float64:
		switch y := b.(type) {
		case int64:
			return orderDoubleInt(x, y)
		case float64:
			if math.IsNaN(x) || math.IsNaN(y) {
				return 0, errNaN
			}
			return cmp(x, y), nil
		}
	}
	return 0, fmt.Errorf("cannot order %s and %s: only numbers and times have an order", shown(a), shown(b))
}

func orderDoubleInt(d float64, i int64) (int, error) {
	switch {
	case math.IsNaN(d):
		return 0, errNaN
	case d < math.MinInt64:
		return -1, nil
	case d > math.MaxInt64:
		return 1, nil
	}
	return cmp(d, float64(i)), nil
}

func cmp[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// shown is a value in an error message.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		return "the text " + strconv.Quote(clip(v))
	case bool, int64, float64:
		return Text(v)
	}
	return TypeOf(v)
}
