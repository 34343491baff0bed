package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Value is a value that users supply, as the msgpack of null, a boolean, an
// integer, a double, a string, an array or a map with sorted string keys. The
// empty Value is "none"; Null is a value.
type Value []byte

// Null is the value null.
var Null = Value{0xc0}

// MaxDepth is how deeply arrays and maps of a Value may nest.
const MaxDepth = 64

var errDepth = fmt.Errorf("nested deeper than %d", MaxDepth)

// ValueOf returns the Value of v: nil, bool, any integer or float, string,
// []any or map[string]any of these, or a json.Number.
func ValueOf(v any) (Value, error) {
	c := coders.Get().(*coder)
	*c = coder{mode: encoding, buf: c.buf[:0]}
	c.putAny(v, 0)
	if c.err != nil {
		return nil, c.err
	}
	return c.done(), nil
}

// MustValue is ValueOf for values known to be of the right form.
func MustValue(v any) Value {
	b, err := ValueOf(v)
	if err != nil {
		panic(err)
	}
	return b
}

// StringValue returns the Value of a string.
func StringValue(s string) Value {
	c := coder{mode: encoding, buf: make([]byte, 0, len(s)+5)}
	c.putString(s)
	return c.buf
}

// ParseJSON returns the Value of one JSON text. Integers of 64 bits stay exact,
// larger ones become doubles; a number beyond the doubles is an error, as are a
// key that occurs twice in one object and nesting deeper than MaxDepth.
func ParseJSON(b []byte) (Value, error) {
	v, err := DecodeJSON(b)
	if err != nil {
		return nil, err
	}
	return ValueOf(v)
}

// DecodeJSON decodes one JSON text into plain Go values, with the rules of
// ParseJSON.
func DecodeJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := decodeJSON(dec, 0)
	if err != nil {
		return nil, jsonError(b, dec, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, jsonError(b, dec, errors.New("something follows the JSON value"))
	}
	return v, nil
}

func jsonError(b []byte, dec *json.Decoder, err error) error {
	at := int(min(dec.InputOffset(), int64(len(b))))
	var syn *json.SyntaxError
	if errors.As(err, &syn) {
		at = int(min(syn.Offset, int64(len(b))))
	}
	line := 1 + bytes.Count(b[:at], []byte("\n"))
	col := at - bytes.LastIndexByte(b[:at], '\n')
	return fmt.Errorf("JSON line %d, column %d: %w", line, col, err)
}

func decodeJSON(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return number(t)
	case json.Delim:
		if depth == MaxDepth {
			return nil, errDepth
		}
		if t == '[' {
			list := []any{}
			for dec.More() {
				v, err := decodeJSON(dec, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		m := map[string]any{}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if _, twice := m[key]; twice {
				return nil, fmt.Errorf("key %q occurs twice", key)
			}
			if m[key], err = decodeJSON(dec, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := dec.Token()
		return m, err
	}
	return t, nil
}

func number(n json.Number) (any, error) {
	if !strings.ContainsAny(string(n), ".eE") {
		if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
			return i, nil
		}
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return nil, fmt.Errorf("number %s is out of range", n)
	}
	return f, nil
}

// MarshalJSON writes v as JSON; none is null.
func (v Value) MarshalJSON() ([]byte, error) {
	x, err := v.Any()
	if err != nil {
		return nil, err
	}
	return json.Marshal(x)
}

// UnmarshalJSON is ParseJSON.
func (v *Value) UnmarshalJSON(b []byte) error {
	p, err := ParseJSON(b)
	if err != nil {
		return err
	}
	*v = p
	return nil
}
