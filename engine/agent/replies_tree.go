package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow"
	"go.yaml.in/yaml/v4"
)

// This file alone knows the YAML library. It is used to parse only: the limits
// and what a scalar means are those of definitions, and the library's decoding
// of maps takes quadratic time.

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

func readYAML(src []byte) (*tree, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil, faultAt(&tree{line: 1, col: 1}, workflow.CodeSyntax, "write `default: some text`, or `nodes:` with an entry for each node", "the file is empty")
	} else if err != nil {
		return nil, yamlFault(err)
	}
	if err := loader.Load(&more); err == nil {
		return nil, faultAt(&tree{line: more.Line, col: 1}, workflow.CodeSyntax, "put the replies into one", "the file holds more than one document")
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlFault(err)
	}
	n := &doc
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	return new(limits).yaml(n, 0)
}

func yamlFault(err error) error {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return faultAt(&tree{line: 1, col: 1}, workflow.CodeSyntax, "", "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return faultAt(&tree{line: le.Mark.Line, col: le.Mark.Column}, workflow.CodeSyntax, "check quotes and indentation here and above", "YAML: %s", le.Message)
}

func (l *limits) yaml(n *yaml.Node, depth int) (*tree, error) {
	t := &tree{line: n.Line, col: n.Column}
	if err := l.value(t, depth); err != nil {
		return nil, err
	}
	if n.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(n.Tag, "!!") || n.Tag == "!!binary" || n.Tag == "!!merge" {
		return nil, faultAt(t, workflow.CodeSyntax, "leave it out", "%s is not supported", n.Tag)
	}
	switch n.Kind {
	case yaml.AliasNode:
		if l.aliases++; l.aliases > workflow.MaxAliases {
			return nil, faultAt(t, workflow.CodeLimit, "", "the file uses anchors more than %d times", workflow.MaxAliases)
		}
		return l.yaml(n.Alias, depth+1)
	case yaml.SequenceNode:
		t.shape = aList
		for _, x := range n.Content {
			item, err := l.yaml(x, depth+1)
			if err != nil {
				return nil, err
			}
			t.items = append(t.items, item)
		}
	case yaml.MappingNode:
		t.shape = aMap
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			key := &tree{scalar: k.Value, line: k.Line, col: k.Column}
			if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
				return nil, faultAt(key, workflow.CodeSyntax, "", "a key must be plain text")
			}
			v, err := l.yaml(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			if err := t.put(seen, key, v); err != nil {
				return nil, err
			}
		}
	default:
		var err error
		if t.scalar, err = yamlScalar(n); err != nil {
			return nil, faultAt(t, workflow.CodeSyntax, "put it in quotes if it is text", "%s", err)
		}
	}
	return t, nil
}

var (
	yamlInt   = regexp.MustCompile(`^[-+]?[0-9]+$`)
	yamlFloat = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$`)
)

// yamlScalar reads a scalar by the core schema of YAML 1.2: yes, no and dates
// are text.
func yamlScalar(n *yaml.Node) (any, error) {
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	s := n.Value
	if n.Style&quoted != 0 || n.Style&yaml.TaggedStyle != 0 && n.Tag == "!!str" {
		return s, nil
	}
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil, nil
	case "true", "True", "TRUE":
		return true, nil
	case "false", "False", "FALSE":
		return false, nil
	}
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case ".inf", ".nan":
		return nil, errors.New("infinity and NaN are no values")
	}
	if yamlInt.MatchString(s) || yamlFloat.MatchString(s) {
		return number(s)
	}
	return s, nil
}

func number(s string) (any, error) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, fmt.Errorf("the number %s is too large", s)
	}
	return f, nil
}

// yamlKey writes a node's id as a key of a YAML map.
func yamlKey(id string) string {
	if strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
		return id
	}
	return strconv.Quote(id)
}

func readJSON(src []byte) (*tree, error) {
	r := &jsonReader{src: src, dec: json.NewDecoder(bytes.NewReader(src)), line: 1, col: 1}
	r.dec.UseNumber()
	t, err := r.value(0)
	if err == nil {
		if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
			return nil, faultAt(r.place(), workflow.CodeSyntax, "remove it", "something follows the end of the replies")
		}
		return t, nil
	}
	var f *fault
	if errors.As(err, &f) {
		return nil, err
	}
	at := len(src)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = max(int(syntax.Offset)-1, 0)
	}
	return nil, faultAt(r.placeAt(at), workflow.CodeSyntax, "check quotes, commas and brackets here and above", "JSON: %s", err)
}

type jsonReader struct {
	limits
	src       []byte
	dec       *json.Decoder
	at        int // an offset,
	line, col int // and its place
}

// place is where the next token begins.
func (r *jsonReader) place() *tree {
	at := int(r.dec.InputOffset())
	for at < len(r.src) && strings.IndexByte(" \t\r\n,:", r.src[at]) >= 0 {
		at++
	}
	return r.placeAt(at)
}

// placeAt is the place of an offset, which must not go back.
func (r *jsonReader) placeAt(at int) *tree {
	for ; r.at < min(at, len(r.src)); r.at++ {
		switch c := r.src[r.at]; {
		case c == '\n':
			r.line, r.col = r.line+1, 1
		case utf8.RuneStart(c):
			r.col++
		}
	}
	return &tree{line: r.line, col: r.col}
}

func (r *jsonReader) value(depth int) (*tree, error) {
	t := r.place()
	if err := r.limits.value(t, depth); err != nil {
		return nil, err
	}
	token, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch x := token.(type) {
	case json.Number:
		if t.scalar, err = number(string(x)); err != nil {
			return nil, faultAt(t, workflow.CodeSyntax, "put it in quotes if it is text", "%s", err)
		}
	case json.Delim:
		t.shape = aList
		if x == '{' {
			t.shape = aMap
		}
		seen := map[string]int{}
		for r.dec.More() {
			var key *tree
			if t.shape == aMap {
				key = r.place()
				if token, err = r.dec.Token(); err != nil {
					return nil, err
				}
				key.scalar = token
			}
			v, err := r.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if key == nil {
				t.items = append(t.items, v)
			} else if err := t.put(seen, key, v); err != nil {
				return nil, err
			}
		}
		_, err = r.dec.Token()
	default:
		t.scalar = x
	}
	return t, err
}
