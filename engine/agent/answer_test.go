package agent

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

func TestResult(t *testing.T) {
	given := map[string]any{"score": 1.0}
	for _, c := range []struct {
		text         string
		result, want any
	}{
		{"hi", nil, map[string]any{"text": "hi"}},
		{"", nil, map[string]any{"text": ""}},
		{"hi", given, map[string]any{"score": 1.0, "text": "hi"}},
		{"", given, map[string]any{"score": 1.0}},
		{"hi", map[string]any{"text": "own"}, map[string]any{"text": "own"}},
		{"hi", []any{"x"}, []any{"x"}},
		{"hi", false, false},
	} {
		if got := Result(c.text, c.result); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Result(%q, %v) = %v, want %v", c.text, c.result, got, c.want)
		}
	}
	if len(given) != 1 {
		t.Errorf("the given object was changed: %v", given)
	}
}

// What a text ends in decides: one fenced JSON object is fields and state,
// everything else is text.
func TestFromText(t *testing.T) {
	fields := func(text string, kv ...any) map[string]any {
		m := map[string]any{"text": text}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		text   string
		result map[string]any
		set    map[string]any
	}{
		"object":           {"Good.\n```json\n{\"score\": 0.9, \"n\": 3}\n```\n", fields("Good.\n```json\n{\"score\": 0.9, \"n\": 3}\n```\n", "score", 0.9, "n", int64(3)), map[string]any{"score": 0.9, "n": int64(3)}},
		"object alone":     {"```json\n{\"a\": 1}\n```", fields("```json\n{\"a\": 1}\n```", "a", int64(1)), map[string]any{"a": int64(1)}},
		"no language":      {"x\n```\n{\"a\": 1}\n```", fields("x\n```\n{\"a\": 1}\n```", "a", int64(1)), map[string]any{"a": int64(1)}},
		"own text":         {"x\n```json\n{\"text\": \"t\"}\n```", map[string]any{"text": "t"}, map[string]any{"text": "t"}},
		"second block":     {"```go\nx := 1\n```\nso\n```JSON\n{\"a\": 1}\n```", fields("```go\nx := 1\n```\nso\n```JSON\n{\"a\": 1}\n```", "a", int64(1)), map[string]any{"a": int64(1)}},
		"engine's keys":    {"```json\n{\"run.cost\": 0, \"run\": {}, \"a\": 1}\n```", fields("```json\n{\"run.cost\": 0, \"run\": {}, \"a\": 1}\n```", "run.cost", int64(0), "run", map[string]any{}, "a", int64(1)), map[string]any{"a": int64(1)}},
		"plain":            {"hello", fields("hello"), nil},
		"empty":            {"", fields(""), nil},
		"not at the end":   {"```json\n{\"a\": 1}\n```\nas said", fields("```json\n{\"a\": 1}\n```\nas said"), nil},
		"other language":   {"```yaml\n{\"a\": 1}\n```", fields("```yaml\n{\"a\": 1}\n```"), nil},
		"no object":        {"```json\n[1]\n```", fields("```json\n[1]\n```"), nil},
		"two values":       {"```json\n{} {}\n```", fields("```json\n{} {}\n```"), nil},
		"key twice":        {"```json\n{\"a\":1,\"a\":2}\n```", fields("```json\n{\"a\":1,\"a\":2}\n```"), nil},
		"never opened":     {"{\"a\": 1}\n```", fields("{\"a\": 1}\n```"), nil},
		"never closed":     {"```json\n{\"a\": 1}", fields("```json\n{\"a\": 1}"), nil},
		"inline":           {"say ```json {\"a\": 1} ```", fields("say ```json {\"a\": 1} ```"), nil},
		"fence in a value": {"```json\n{\"a\": \"```\"}\n```", fields("```json\n{\"a\": \"```\"}\n```", "a", "```"), map[string]any{"a": "```"}},
		"bad UTF-8":        {"a\xffb", fields("a\ufffdb"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := FromText(c.text)
			if a.Failure != nil || !reflect.DeepEqual(a.Result, any(c.result)) || !reflect.DeepEqual(a.Set, c.set) {
				t.Errorf("got %v, set %v, %v; want %v, set %v", a.Result, a.Set, a.Failure, c.result, c.set)
			}
		})
	}
	deep := "```json\n{\"a\":" + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}\n```"
	if a := FromText(deep); a.Set != nil {
		t.Error("an object that is too deep was taken")
	}
	if a := FromText(strings.Repeat("x", MaxText+1)); a.Failure == nil || a.Failure.Class != event.ClassInvalidOutput {
		t.Errorf("a text that is too long: %v", a.Failure)
	}
}

func TestUnavailable(t *testing.T) {
	f := Unavailable(workflow.Worker).Run(context.Background(), &Task{}).Failure
	if f == nil || f.Class != event.ClassNotFound || !strings.Contains(f.Message, "worker nodes") || !strings.Contains(f.Message, "--replies") {
		t.Errorf("got %v", f)
	}
}
