package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow"
)

type shape uint8

const (
	aScalar shape = iota
	aList
	aMap
)

// tree is a value of a file with its place.
type tree struct {
	shape     shape
	scalar    any     // nil, bool, int64, float64, string
	keys      []*tree // of a map, as text
	items     []*tree
	line, col int // from 1, in characters
}

// kind names what t is, for messages.
func (t *tree) kind() string {
	switch t.shape {
	case aList:
		return "a list"
	case aMap:
		return "an object"
	}
	switch t.scalar.(type) {
	case nil:
		return "nothing"
	case bool:
		return "true or false"
	case string:
		return "text"
	}
	return "a number"
}

// plain is t as nil, bool, int64, float64, string, []any, map[string]any.
func (t *tree) plain() any {
	switch t.shape {
	case aList:
		l := make([]any, len(t.items))
		for i, x := range t.items {
			l[i] = x.plain()
		}
		return l
	case aMap:
		m := make(map[string]any, len(t.items))
		for i, x := range t.items {
			m[t.keys[i].scalar.(string)] = x.plain()
		}
		return m
	}
	return t.scalar
}

// fault ends reading: the text itself is wrong at this place.
type fault struct {
	tree // its place
	code string
	msg  string
	hint string
}

func (f *fault) Error() string { return f.msg }

func faultAt(t *tree, code, hint, format string, args ...any) error {
	return &fault{tree: tree{line: t.line, col: t.col}, code: code, msg: fmt.Sprintf(format, args...), hint: hint}
}

// read parses src, nil if that is not possible. What is JSON is read as JSON,
// since YAML lacks some of its escapes.
func (p *replyParser) read(src []byte) *tree {
	var t *tree
	var err error
	if !utf8.Valid(src) {
		err = faultAt(&tree{line: 1, col: 1}, workflow.CodeSyntax, "save it as UTF-8", "the file is not UTF-8")
	} else if strings.EqualFold(filepath.Ext(p.file), ".json") || json.Valid(src) {
		t, err = readJSON(src)
	} else {
		t, err = readYAML(src)
	}
	var f *fault
	switch {
	case errors.As(err, &f):
		p.add(f.code, &f.tree, f.msg, f.hint)
		return nil
	case err != nil:
		p.add(workflow.CodeSyntax, nil, err.Error(), "")
		return nil
	}
	return t
}

// limits counts what a file holds.
type limits struct{ values, aliases int }

func (l *limits) value(t *tree, depth int) error {
	l.values++
	switch {
	case l.values > workflow.MaxValues:
		return faultAt(t, workflow.CodeLimit, "", "the file holds more than %d values", workflow.MaxValues)
	case depth > workflow.MaxDepth:
		return faultAt(t, workflow.CodeLimit, "", "lists and objects are nested deeper than the limit of %d", workflow.MaxDepth)
	}
	return nil
}

// put adds an entry to a map.
func (t *tree) put(seen map[string]int, key *tree, v *tree) error {
	name := key.scalar.(string)
	if line, ok := seen[name]; ok {
		return faultAt(key, workflow.CodeDuplicateKey, fmt.Sprintf("the first is at line %d", line), "the key %s is there twice", strconv.Quote(name))
	}
	if seen[name] = key.line; len(seen) > workflow.MaxKeys {
		return faultAt(key, workflow.CodeLimit, "", "an object has more than %d keys", workflow.MaxKeys)
	}
	t.keys, t.items = append(t.keys, key), append(t.items, v)
	return nil
}
