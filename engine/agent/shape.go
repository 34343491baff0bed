package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// shape is what an answer is to look like.
type shape struct {
	schema map[string]any // of an object; nil: any text
	// wrapped is set where the schema is of another value, which is then the object's
	// field value.
	wrapped bool
	check   *workflow.Schema // that nobody else holds the answer to; nil: none
	// lenient takes an answer that does not fit once there is no further attempt.
	lenient bool
}

const wrapKey = "value"

// shapeOf returns the shape of a task's answer: what the node expects, or the agent, or
// what the definition asks for.
func shapeOf(t *Task) shape {
	var s shape
	switch {
	case t.Turn != nil:
		s = s.of(t.Turn.schema())
		s.check, _ = workflow.CompileSchema(s.schema)
		s.lenient = true
	case t.Kind == workflow.Plan:
		return s.of(planSchema) // to which the machine holds it
	case t.Def.Def.Expect != nil:
		return s.of(t.Def.Def.Expect) // to which the machine holds it
	case t.Agent.Expect != nil:
		s = s.of(t.Agent.Expect)
		s.check, _ = workflow.CompileSchema(t.Agent.Expect) // it was compiled when the file was read
	default:
		if asked := t.asks().Schema(); asked != nil {
			s = s.of(asked)
			s.check, _ = workflow.CompileSchema(asked)
			s.lenient = true
		}
	}
	return s
}

func (s shape) of(schema any) shape {
	m, ok := schema.(map[string]any)
	if !ok {
		return s // true or false: any answer, or none
	}
	if m["type"] == "object" || m["type"] == nil && m["properties"] != nil {
		s.schema = m
		return s
	}
	s.wrapped = true
	s.schema = map[string]any{
		"type": "object", "properties": map[string]any{wrapKey: m}, "required": []any{wrapKey}, "additionalProperties": false,
	}
	return s
}

// instruction tells a model what its answer is to look like.
func instruction(schema map[string]any) string {
	b, err := json.Marshal(schema)
	if err != nil {
		return "Answer with one JSON object."
	}
	return "Answer with one JSON object and nothing else. It has to fit this JSON Schema:\n" + string(b)
}

// answer makes of what a model said the answer of the task.
func (s shape) answer(t *Task, a *model.Answer) Answer {
	if a.Stop == model.Refused {
		return final(event.ClassInvalidOutput, "the model refuses: %s", t.Redact.Head(a.Text, maxExcerpt))
	}
	if s.schema == nil {
		return plain(a)
	}
	v, err := objectIn(a.Text)
	if err != nil && a.Stop == model.Length {
		err = fmt.Errorf("it was cut at the longest answer that was asked for: raise max_tokens")
	}
	if o, ok := v.(map[string]any); ok && s.wrapped {
		v = o[wrapKey]
	}
	if err == nil && s.check != nil {
		err = s.check.Validate(v)
	}
	if err != nil {
		if s.lenient && (t.Turn != nil || t.Attempt >= t.Def.Retry.Max) { // of a turn the machine makes something
			return plain(a)
		}
		return Fail(event.ClassInvalidOutput, "the answer is not as asked for: %v", err)
	}
	out := Answer{Result: v}
	if o, ok := v.(map[string]any); ok {
		out.Set = Settable(o)
	}
	return out
}

// plain is the answer that a text is.
func plain(a *model.Answer) Answer {
	out := FromText(a.Text)
	if r, ok := out.Result.(map[string]any); ok && a.Stop == model.Length {
		r["truncated"] = true
	}
	return out
}

// objectIn finds the JSON value in a text: the text itself, what stands in its last
// fence, or from its first brace to its last.
func objectIn(text string) (any, error) {
	text = strings.TrimSpace(strings.ToValidUTF8(text, string(utf8.RuneError)))
	v, err := event.DecodeJSON([]byte(text))
	if err == nil {
		return v, nil
	}
	if block := lastBlock(text); block != "" {
		if v, err := event.DecodeJSON([]byte(block)); err == nil {
			return v, nil
		}
	}
	if i, j := strings.IndexByte(text, '{'), strings.LastIndexByte(text, '}'); i >= 0 && j > i {
		if v, err := event.DecodeJSON([]byte(text[i : j+1])); err == nil {
			return v, nil
		}
	}
	return nil, fmt.Errorf("it is no JSON: %w", err)
}
