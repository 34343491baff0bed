package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"go.yaml.in/yaml/v4"
)

// This file alone knows the YAML library. It is used to parse only: the limits
// and what a scalar means are those of definitions, and the library's decoding
// of maps takes quadratic time.

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
