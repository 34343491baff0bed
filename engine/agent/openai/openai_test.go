package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/agent/model/modeltest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { model.Client.CloseIdleConnections() }))
}

// body is a request in OpenAI's language.
type body struct {
	Model    string
	Messages []struct {
		Role, Content string
		ToolCallID    string `json:"tool_call_id"`
		ToolCalls     []struct {
			ID       string
			Type     string
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
	}
	Tools []struct {
		Type     string
		Function struct {
			Name, Description string
			Parameters        map[string]any
		}
	}
	MaxTokens      int `json:"max_tokens"`
	Temperature    *float64
	Stream         bool
	StreamOptions  struct{ IncludeUsage bool } `json:"stream_options"`
	ResponseFormat *struct {
		Type       string
		JSONSchema struct {
			Name   string
			Schema map[string]any
		} `json:"json_schema"`
	} `json:"response_format"`
}

func read(r *http.Request, raw []byte) (s modeltest.Seen, err error) {
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return s, err
	}
	if r.URL.Path != "/chat/completions" || r.Method != http.MethodPost {
		return s, fmt.Errorf("%s %s", r.Method, r.URL.Path)
	}
	s = modeltest.Seen{
		Key: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), Model: b.Model, MaxTokens: b.MaxTokens,
		Temperature: b.Temperature, Stream: b.Stream, Schema: b.ResponseFormat != nil,
	}
	if b.ResponseFormat != nil && (b.ResponseFormat.Type != "json_schema" || b.ResponseFormat.JSONSchema.Name == "" || b.ResponseFormat.JSONSchema.Schema["type"] != "object") {
		return s, fmt.Errorf("%+v", b.ResponseFormat)
	}
	for _, m := range b.Messages {
		switch m.Role {
		case "system":
			s.System = m.Content
		case "tool":
			s.Messages = append(s.Messages, "result: "+m.ToolCallID+" "+m.Content)
		default:
			s.Messages = append(s.Messages, m.Role+": "+m.Content)
			for _, c := range m.ToolCalls {
				s.Messages = append(s.Messages, fmt.Sprintf("call: %s %s %s", c.ID, c.Function.Name, c.Function.Arguments))
			}
		}
	}
	for _, t := range b.Tools {
		if t.Type != "function" || t.Function.Parameters["type"] != "object" {
			return s, fmt.Errorf("%+v", t)
		}
		s.Tools = append(s.Tools, t.Function.Name+": "+t.Function.Description)
	}
	return s, nil
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func chunk(delta string, finish string) string {
	if finish != "null" {
		finish = text(finish)
	}
	return fmt.Sprintf(`data: {"id":"1","object":"chat.completion.chunk","model":"model-1","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`, delta, finish)
}

var finishes = map[string]string{model.End: "stop", model.Length: "length", model.Calls: "tool_calls", model.Refused: "content_filter"}

func counts(a *modeltest.Answer) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`, a.In, a.Out, a.In+a.Out, a.Cached)
}

var wire = modeltest.Wire{
	Read:  read,
	Begin: func(*modeltest.Answer) []string { return []string{chunk(`{"role":"assistant","content":""}`, "null")} },
	Piece: func(s string) string { return chunk(`{"content":`+text(s)+`}`, "null") },
	End: func(a *modeltest.Answer) []string {
		var lines []string
		for i, c := range a.Calls {
			lines = append(lines, chunk(fmt.Sprintf(`{"tool_calls":[{"index":%d,"id":%q,"type":"function","function":{"name":%q,"arguments":""}}]}`, i, c.ID, c.Tool), "null"))
			for _, half := range []string{string(c.Arguments[:1]), string(c.Arguments[1:])} {
				lines = append(lines, chunk(fmt.Sprintf(`{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}`, i, text(half)), "null"))
			}
		}
		return append(lines, chunk(`{}`, finishes[a.Stop]),
			fmt.Sprintf(`data: {"id":"1","object":"chat.completion.chunk","model":"model-1","choices":[],"usage":%s}`, counts(a)), "data: [DONE]")
	},
	Whole: func(a *modeltest.Answer) string {
		return fmt.Sprintf(`{"id":"1","object":"chat.completion","model":"model-1","choices":[{"index":0,"finish_reason":%q,"message":{"role":"assistant","content":%s}}],"usage":%s}`,
			finishes[a.Stop], text(strings.Join(a.Pieces, "")), counts(a))
	},
	Error: func(kind, message string) string {
		return text(map[string]any{"error": map[string]any{"message": message, "type": kind, "code": kind}})
	},
	Unknown: "response_format is not supported by this model",
	Told:    `data: {"error":{"message":"went wrong","type":"server_error"}}`,
	Broken:  `data: {"choices": [`,
}

func TestProvider(t *testing.T) {
	modeltest.Run(t, func() model.Provider { return &Provider{} }, &wire)
}

// OpenAI's own servers are told the longest answer under another name than others.
func TestMaxTokens(t *testing.T) {
	r := &model.Request{Model: "m", MaxTokens: 5}
	for address, want := range map[string]string{Address: `"max_completion_tokens":5`, "http://127.0.0.1:1/v1": `"max_tokens":5`} {
		b, err := json.Marshal(request(address, r))
		if err != nil || !strings.Contains(string(b), want) || strings.Count(string(b), "tokens") != 1 {
			t.Errorf("%s: %s, %v", address, b, err)
		}
	}
}
