package sim

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

func ask(t *testing.T, r *model.Request) (model.Answer, string) {
	t.Helper()
	var shown strings.Builder
	a, err := Provider{}.Ask(t.Context(), r, func(s string) { shown.WriteString(s) })
	if err != nil {
		t.Fatal(err)
	}
	return a, shown.String()
}

// It says what it is, and the same to the same request.
func TestText(t *testing.T) {
	r := &model.Request{Messages: []model.Message{{From: model.User, Text: "Write\nabout  tides. " + strings.Repeat("And more. ", 50)}}}
	a, shown := ask(t, r)
	b, _ := ask(t, r)
	if a.Text != b.Text || shown != a.Text || !strings.HasPrefix(a.Text, "A simulated answer: no model is configured. Asked was: Write about tides.") || len(a.Text) > 300 {
		t.Errorf("%q, shown %q", a.Text, shown)
	}
	if a.Usage.InputTokens < 100 || a.Usage.OutputTokens < 10 || a.Usage.Model != "sim" || a.Stop != model.End {
		t.Errorf("%+v", a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Provider{}).Ask(ctx, r, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Objects fit their schema; an example counts as far as it fits.
func TestObjects(t *testing.T) {
	for src, example := range map[string]map[string]any{
		`{"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 9}, "b": {"type": "boolean"}, "c": {"type": "string", "maxLength": 5}}, "required": ["a", "b", "c"]}`: {"a": int64(7)},
		`{"type": "object", "properties": {"n": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5}}, "required": ["n"]}`:                                                           {"n": 8.5},
		`{"type": "object", "properties": {"s": {"enum": ["low", "high", "other"]}}, "required": ["s"], "additionalProperties": false}`:                                                            {"s": "anything else", "t": 1},
		`{"type": "object", "properties": {"l": {"type": "array", "minItems": 3, "items": {"type": "object", "properties": {"d": {"type": "string", "format": "date"}}, "required": ["d"]}}}}`:     nil,
		`{"type": "object", "properties": {"x": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"oneOf": [{"type": "null"}, {"const": 3}]}}}`:                                                              nil,
		`{"type": "object", "properties": {"s": {"type": "string", "minLength": 400}, "e": {"type": "string", "format": "email"}, "t": {"type": ["integer", "null"], "minimum": 5}}}`:              nil,
		`{"properties": {"a": {"default": [1]}, "b": {"examples": ["z"]}, "c": {"anyOf": [{"type": "number"}]}}}`:                                                                                  nil,
		`{"type": "object", "properties": {"self": {"$ref": "#"}}}`:                                                                                                                                nil,
		`{"type": "object", "properties": {"self": {"$ref": "#"}, "too": {"$ref": "#"}, "l": {"type": "array", "minItems": 99, "items": {"$ref": "#"}}}}`:                                          nil,
	} {
		v, err := event.DecodeJSON([]byte(src))
		if err != nil {
			t.Fatal(err)
		}
		schema, err := workflow.CompileSchema(v)
		if err != nil {
			t.Fatal(err)
		}
		r := &model.Request{Schema: v.(map[string]any), Example: func() map[string]any { return example }}
		a, shown := ask(t, r)
		got, err := event.DecodeJSON([]byte(a.Text))
		if err != nil || shown != "" {
			t.Errorf("%s: %q, %v, shown %q", src, a.Text, err, shown)
			continue
		}
		if err := schema.Validate(got); err != nil && !strings.Contains(src, `"$ref": "#"`) {
			t.Errorf("%s: %s: %v", src, a.Text, err)
		}
		if o := got.(map[string]any); example["a"] != nil && o["a"] != int64(7) || example["s"] != nil && o["s"] != "other" {
			t.Errorf("%s: %s", src, a.Text)
		}
	}
}
