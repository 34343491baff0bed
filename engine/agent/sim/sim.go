// Package sim stands in for a model where there is none. It says so, and answers the
// same to the same request: with a note, or with an object that fits the schema of the
// request, taken from [model.Request.Example] as far as that goes.
package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// Provider implements model.Provider. The zero value is ready for use.
type Provider struct{}

const (
	maxQuoted = 120 // characters of what was asked
	maxDepth  = 32  // of schemas within schemas
	maxValues = 10_000
)

// Ask implements model.Provider.
func (Provider) Ask(ctx context.Context, r *model.Request, show func(string)) (model.Answer, error) {
	if err := ctx.Err(); err != nil {
		return model.Answer{}, err
	}
	text := note(r)
	if r.Schema != nil {
		b, err := json.Marshal(object(r, text))
		if err != nil {
			return model.Answer{}, model.Final(event.ClassInternal, "the simulated answer: %v", err)
		}
		text = string(b)
	} else if show != nil {
		for _, w := range strings.SplitAfter(text, " ") {
			show(w)
		}
	}
	in := len(r.System)
	for _, m := range r.Messages {
		in += len(m.Text)
	}
	return model.Answer{Text: text, Stop: model.End, Usage: &event.Usage{InputTokens: tokens(in), OutputTokens: tokens(len(text)), Model: Model}}, nil
}

// Model is the name of the model that there is not.
const Model = "sim"

// tokens is about how many tokens a text of n bytes has.
func tokens(n int) int64 { return int64(n)/3 + 1 }

func note(r *model.Request) string {
	asked := ""
	if n := len(r.Messages); n > 0 {
		asked = r.Messages[n-1].Text
	}
	if q := []rune(strings.Join(strings.Fields(asked), " ")); len(q) > maxQuoted {
		asked = string(q[:maxQuoted]) + "…"
	} else {
		asked = string(q)
	}
	return fmt.Sprintf("A simulated answer: no model is configured. Asked was: %s", asked)
}

// object returns an object for the schema: the example where it fits, the rest made up.
func object(r *model.Request, text string) any {
	m := maker{root: r.Schema, text: text, left: maxValues}
	made := m.value(r.Schema, 0)
	o, ok := made.(map[string]any)
	if !ok || r.Example == nil {
		return made
	}
	props, _ := r.Schema["properties"].(map[string]any)
	merged := maps.Clone(o)
	for k, v := range r.Example() {
		if p, ok := props[k].(map[string]any); ok {
			merged[k] = v
			if enum, ok := p["enum"].([]any); ok && !slices.Contains(enum, v) {
				merged[k] = enum[len(enum)-1] // what stands for all others comes last
			}
		}
	}
	if s, err := workflow.CompileSchema(r.Schema); err != nil || s.Validate(merged) != nil {
		return made
	}
	return merged
}

// maker makes up values that fit schemas.
type maker struct {
	root any    // what references are in
	text string // for texts
	left int    // values that may yet be made: schemas can refer to themselves
}

// value returns a value for a schema, as far as its plain words go.
func (m *maker) value(schema any, depth int) any {
	s, ok := schema.(map[string]any)
	if m.left--; m.left < 0 || depth > maxDepth {
		return nil
	}
	if !ok {
		return m.text
	}
	if v, ok := s["const"]; ok {
		return v
	}
	if enum, _ := s["enum"].([]any); len(enum) > 0 {
		return enum[0]
	}
	if v, ok := s["default"]; ok {
		return v
	}
	if examples, _ := s["examples"].([]any); len(examples) > 0 {
		return examples[0]
	}
	if ref, _ := s["$ref"].(string); ref != "" {
		return m.value(follow(m.root, ref), depth+1)
	}
	for _, word := range []string{"oneOf", "anyOf", "allOf"} {
		if list, _ := s[word].([]any); len(list) > 0 && s["type"] == nil && s["properties"] == nil {
			return m.value(list[0], depth+1)
		}
	}
	switch kind(s) {
	case "object":
		props, _ := s["properties"].(map[string]any)
		o := make(map[string]any, len(props))
		for _, k := range slices.Sorted(maps.Keys(props)) {
			o[k] = m.value(props[k], depth+1)
		}
		return o
	case "array":
		n := int(number(s, "minItems", 1))
		list := make([]any, 0, min(n, 100))
		for range min(n, 100) {
			list = append(list, m.value(s["items"], depth+1))
		}
		return list
	case "boolean":
		return true
	case "null":
		return nil
	case "integer":
		return int64(math.Ceil(between(s, 1)))
	case "number":
		return between(s, 1)
	}
	return words(s, m.text)
}

// follow returns the part of root that a reference names.
func follow(root any, ref string) any {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	at := root
	for _, step := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if step == "" {
			continue
		}
		m, _ := at.(map[string]any)
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(step)]
	}
	return at
}

func kind(s map[string]any) string {
	switch t := s["type"].(type) {
	case string:
		return t
	case []any:
		if len(t) > 0 {
			name, _ := t[0].(string)
			return name
		}
	}
	if s["properties"] != nil {
		return "object"
	}
	return "string"
}

func number(s map[string]any, word string, other float64) float64 {
	switch n := s[word].(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return other
}

// between returns a number that a schema allows, x if it allows that.
func between(s map[string]any, x float64) float64 {
	low := max(number(s, "minimum", math.Inf(-1)), math.Nextafter(number(s, "exclusiveMinimum", math.Inf(-1)), math.Inf(1)))
	high := min(number(s, "maximum", math.Inf(1)), math.Nextafter(number(s, "exclusiveMaximum", math.Inf(1)), math.Inf(-1)))
	return max(min(x, high), low)
}

// words returns a text of the length that a schema asks for.
func words(s map[string]any, text string) string {
	switch s["format"] {
	case "date":
		return "2000-01-01"
	case "date-time":
		return "2000-01-01T00:00:00Z"
	case "email":
		return "somebody@example.com"
	case "uri", "url":
		return "https://example.com/"
	case "uuid":
		return "00000000-0000-4000-8000-000000000000"
	}
	r := []rune(text)
	if limit := int(number(s, "maxLength", float64(len(r)))); limit < len(r) {
		r = r[:max(limit, 0)]
	}
	for least := int(min(number(s, "minLength", 0), 10_000)); len(r) < least; {
		r = append(r, '.')
	}
	return string(r)
}
