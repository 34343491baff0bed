package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// This file alone knows the YAML library. It is used to parse only: what a
// scalar means is decided here, by the core schema of YAML 1.2 (yes, no, on, off
// and dates are text, 0777 is 777), and maps are never decoded by the library,
// which takes quadratic time for wide ones.

// yamlTree parses YAML.
func yamlTree(src *File, text []byte) (*Tree, *Problem) {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, yamlProblem(src, err)
	}
	var doc, more yaml.Node
	if err := loader.Load(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, src.fault(CodeSyntax, Place{Line: 1, Column: 1}, "the file is empty", src.words.Empty)
		}
		return nil, yamlProblem(src, err)
	}
	if err := loader.Load(&more); err == nil {
		return nil, src.fault(CodeSyntax, Place{Line: max(1, more.Line), Column: 1}, "the file holds more than one document", src.words.Documents)
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlProblem(src, err)
	}
	n := &doc
	if doc.Kind == yaml.DocumentNode {
		if len(doc.Content) == 0 {
			return nil, src.fault(CodeSyntax, Place{Line: 1, Column: 1}, "the file is empty", src.words.Empty)
		}
		n = doc.Content[0]
	}
	c := &yamlReader{src: src}
	t := c.convert(n, 0)
	if c.bad != nil {
		return nil, c.bad
	}
	return t, nil
}

var valueNote = regexp.MustCompile(`^control characters are not allowed`)

func yamlProblem(src *File, err error) *Problem {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		return src.syntaxFault("YAML", Place{}, strings.TrimPrefix(err.Error(), "yaml: "), "")
	}
	m := Place{Line: le.Mark.Line, Column: le.Mark.Column}
	msg, hint := le.Message, ""
	switch {
	case valueNote.MatchString(msg):
		for i, l := range src.lines {
			at := strings.IndexFunc(l, func(r rune) bool { return r < ' ' && r != '\t' && r != '\r' || r == 0x7f })
			if at >= 0 {
				m = Place{Line: i + 1, Column: utf8.RuneCountInString(l[:at]) + 1}
				break
			}
		}
		msg = "a control character is not allowed"
	case strings.Contains(msg, "exceeded max depth"):
		return src.fault(CodeLimit, m, fmt.Sprintf("lists and objects are nested deeper than the limit of %d", MaxDepth), "")
	case strings.Contains(msg, "cannot start any token"):
		r := '\t'
		if m.Line <= len(src.lines) && m.Line > 0 {
			if l := []rune(src.lines[m.Line-1]); m.Column <= len(l) && m.Column > 0 {
				r = l[m.Column-1]
			}
		}
		if r == '\t' {
			msg, hint = "a tab cannot indent", "use spaces"
		} else {
			msg, hint = fmt.Sprintf("a value cannot start with %c", r), "put it in quotes"
		}
	case strings.Contains(msg, "mapping values are not allowed"):
		msg, hint = "a second `:` makes no sense here", "put the value in quotes, or check the indentation"
	case strings.Contains(msg, "unexpected end of stream"):
		msg, hint = "this text is never closed", "a quote is missing"
		if le.ContextMark.Line > 0 {
			m = Place{Line: le.ContextMark.Line, Column: le.ContextMark.Column}
		}
	case strings.HasPrefix(msg, "did not find expected ',' or"):
		msg = "not closed: " + strings.TrimPrefix(msg, "did not find ")
		if le.ContextMark.Line > 0 {
			hint = fmt.Sprintf("it was opened at line %d, column %d", le.ContextMark.Line, le.ContextMark.Column)
		}
	case strings.Contains(msg, "did not find expected key"), strings.Contains(msg, "did not find expected '-' indicator"), strings.Contains(msg, "could not find expected ':'"):
		msg, hint = strings.Replace(msg, "did not find", "this is not the", 1), "check the indentation of this line and the one before"
	case strings.HasPrefix(msg, "unknown anchor"):
		hint = "an anchor is defined as &name before *name"
	}
	return src.syntaxFault("YAML", m, msg, hint)
}

type yamlReader struct {
	src     *File
	values  int
	aliases int
	bad     *Problem
}

func (c *yamlReader) fail(code string, n *yaml.Node, msg, hint string) *Tree {
	if c.bad == nil {
		c.bad = c.src.fault(code, Place{Line: n.Line, Column: n.Column, Width: utf8.RuneCountInString(n.Value)}, msg, hint)
	}
	return &Tree{}
}

func (c *yamlReader) convert(n *yaml.Node, depth int) *Tree {
	if c.bad != nil {
		return &Tree{}
	}
	c.values++
	switch {
	case c.values > MaxValues:
		return c.fail(CodeLimit, n, fmt.Sprintf("the file holds more than %d values", MaxValues), "")
	case depth > MaxDepth:
		return c.fail(CodeLimit, n, fmt.Sprintf("lists and objects are nested deeper than the limit of %d", MaxDepth), "")
	}
	t := &Tree{Place: Place{Line: n.Line, Column: n.Column, Width: 1}}
	switch n.Kind {
	case yaml.AliasNode:
		if c.aliases++; c.aliases > MaxAliases {
			return c.fail(CodeLimit, n, fmt.Sprintf("the file uses anchors more than %d times", MaxAliases), "")
		}
		x := c.convert(n.Alias, depth+1)
		x.Place = t.Place
		return x
	case yaml.SequenceNode:
		c.tag(n, "!!seq")
		t.Kind = List
		for _, x := range n.Content {
			t.Items = append(t.Items, c.convert(x, depth+1))
		}
	case yaml.MappingNode:
		c.tag(n, "!!map")
		t.Kind = Map
		if len(n.Content)/2 > MaxKeys {
			return c.fail(CodeLimit, n, fmt.Sprintf("an object has more than %d keys", MaxKeys), "")
		}
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode {
				return c.fail(CodeSyntax, k, "a key must be plain text", "")
			}
			if k.Value == "<<" && k.Style == 0 {
				return c.fail(CodeSyntax, k, "merge keys (<<) are not supported: a key must be plain text", "repeat the fields, or use an alias for a whole value")
			}
			if first, ok := seen[k.Value]; ok {
				return c.fail(CodeDuplicateKey, k, fmt.Sprintf("the key %q is there twice", Clip(k.Value)), fmt.Sprintf("the first is at line %d", first))
			}
			seen[k.Value] = k.Line
			c.values++
			key := &Tree{Value: k.Value, Place: c.scalarMark(k)}
			t.Keys = append(t.Keys, key)
			t.Items = append(t.Items, c.convert(n.Content[i+1], depth+1))
		}
	case yaml.ScalarNode:
		t.Place = c.scalarMark(n)
		t.Value = c.scalar(n)
	}
	return t
}

func (c *yamlReader) scalarMark(n *yaml.Node) Place {
	m := Place{Line: n.Line, Column: n.Column, Width: utf8.RuneCountInString(n.Value)}
	switch {
	case n.Style&yaml.LiteralStyle != 0:
		m.style, m.Width = '|', 1
	case n.Style&yaml.FoldedStyle != 0:
		m.style, m.Width = '>', 1
	case n.Style&yaml.DoubleQuotedStyle != 0:
		m.style, m.Width = '"', m.Width+2
	case n.Style&yaml.SingleQuotedStyle != 0:
		m.style, m.Width = '\'', m.Width+2
	}
	return m
}

// tag refuses tags of other types than n can have.
func (c *yamlReader) tag(n *yaml.Node, allowed ...string) {
	if n.Style&yaml.TaggedStyle == 0 {
		return
	}
	for _, a := range allowed {
		if n.Tag == a {
			return
		}
	}
	c.fail(CodeSyntax, n, "the tag "+n.Tag+" is not supported", "leave it out")
}

var (
	yamlInt   = regexp.MustCompile(`^[-+]?[0-9]+$`)
	yamlBased = regexp.MustCompile(`^0(?:x[0-9a-fA-F]+|o[0-7]+)$`)
	yamlFloat = regexp.MustCompile(`^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$`)
)

func (c *yamlReader) scalar(n *yaml.Node) any {
	c.tag(n, "!!str", "!!int", "!!float", "!!bool", "!!null")
	s := n.Value
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 || n.Style&yaml.TaggedStyle != 0 && n.Tag == "!!str" {
		return s
	}
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	}
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case ".inf", ".nan":
		c.fail(CodeSyntax, n, "infinity and NaN are no values", "")
		return nil
	}
	switch {
	case yamlBased.MatchString(s):
		i, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			c.fail(CodeSyntax, n, "the number "+Clip(s)+" does not fit 64 bits", "put it in quotes if it is text")
		}
		return i
	case yamlInt.MatchString(s), yamlFloat.MatchString(s):
		s = strings.TrimPrefix(s, "+")
		v, err := Number(s)
		if err != nil {
			c.fail(CodeSyntax, n, err.Error(), "put it in quotes if it is text")
		}
		return v
	}
	return s
}

// YAML writes canonical JSON as YAML, keeping the order of its keys.
func YAML(canonical []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(canonical, &doc); err != nil {
		return nil, err
	}
	var restyle func(n *yaml.Node)
	restyle = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && strings.Contains(n.Value, "\n") && !strings.Contains(n.Value, " \n") {
			n.Style = yaml.LiteralStyle
		} else if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || !needsQuotes(n.Value) {
			n.Style = 0
		}
		for _, x := range n.Content {
			restyle(x)
		}
	}
	restyle(&doc)
	return yaml.Marshal(&doc)
}

// needsQuotes reports whether text would read as something else without them.
func needsQuotes(s string) bool {
	c := &yamlReader{src: NewFile("", "")}
	_, text := c.scalar(&yaml.Node{Kind: yaml.ScalarNode, Value: s}).(string)
	return !text || c.bad != nil
}
