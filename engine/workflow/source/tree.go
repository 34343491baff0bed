package source

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind of a Tree.
type Kind uint8

// Kinds.
const (
	Scalar Kind = iota
	List
	Map
)

// Tree is a value of a file with its place: what YAML and JSON become before
// anything looks at their meaning.
type Tree struct {
	Kind  Kind
	Value any     // nil, bool, int64, float64, string
	Keys  []*Tree // of a map, as text
	Items []*Tree
	Place Place
}

// Place is a place in a file; a Line of 0 is none.
type Place struct {
	Line, Column int // from 1, in characters
	Width        int
	style        byte // of text: 0 plain, ' or " quoted, | or > block
}

// Get returns the value of a key, nil if t has none.
func (t *Tree) Get(key string) *Tree {
	if t == nil {
		return nil
	}
	for i, k := range t.Keys {
		if k.Value == key {
			return t.Items[i]
		}
	}
	return nil
}

// IsNull reports whether t is null, or nothing at all.
func (t *Tree) IsNull() bool { return t.Kind == Scalar && t.Value == nil }

// What names what t is, for messages.
func (t *Tree) What() string {
	switch t.Kind {
	case List:
		return "a list"
	case Map:
		return "an object"
	}
	switch t.Value.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case string:
		return "text"
	}
	return "a number"
}

// Plain is t as nil, bool, int64, float64, string, []any, map[string]any.
func (t *Tree) Plain() any {
	switch t.Kind {
	case List:
		l := make([]any, len(t.Items))
		for i, x := range t.Items {
			l[i] = x.Plain()
		}
		return l
	case Map:
		m := make(map[string]any, len(t.Items))
		for i, x := range t.Items {
			m[t.Keys[i].Value.(string)] = x.Plain()
		}
		return m
	}
	return t.Value
}

// Number reads a number exactly: whole ones as int64, also if written 3.0 or
// 1e3, so that one value has one form.
func Number(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	whole := !strings.ContainsAny(s, ".eE")
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case whole:
		return nil, fmt.Errorf("the number %s does not fit 64 bits", Clip(s))
	case err != nil || math.IsInf(f, 0) || math.IsNaN(f):
		return nil, fmt.Errorf("the number %s is too large", Clip(s))
	case f == math.Trunc(f) && math.Abs(f) <= 1<<53:
		return int64(f), nil
	}
	return f, nil
}

// Clip shortens what is quoted in a message.
func Clip(s string) string {
	if utf8.RuneCountInString(s) > 40 {
		return string([]rune(s)[:39]) + "…"
	}
	return s
}
