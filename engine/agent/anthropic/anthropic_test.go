package anthropic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/agent/model/modeltest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { model.Client.CloseIdleConnections() }))
}

// body is a request in Anthropic's language.
type body struct {
	Model     string
	MaxTokens int `json:"max_tokens"`
	System    []struct{ Type, Text string }
	Messages  []struct {
		Role    string
		Content []struct {
			Type, Text, ID, Name string
			Input                json.RawMessage
			ToolUseID            string `json:"tool_use_id"`
			Content              []struct{ Text string }
			IsError              bool `json:"is_error"`
		}
	}
	Tools []struct {
		Name, Description string
		InputSchema       map[string]any `json:"input_schema"`
	}
	Temperature  *float64
	Stream       bool
	OutputConfig *struct {
		Format struct {
			Type   string
			Schema map[string]any
		}
	} `json:"output_config"`
}

func read(r *http.Request, raw []byte) (s modeltest.Seen, err error) {
	var b body
	if err := json.Unmarshal(raw, &b); err != nil {
		return s, err
	}
	if r.URL.Path != "/v1/messages" || r.Method != http.MethodPost || r.Header.Get("Anthropic-Version") == "" {
		return s, fmt.Errorf("%s %s %s", r.Method, r.URL.Path, r.Header)
	}
	s = modeltest.Seen{Key: r.Header.Get("X-Api-Key"), Model: b.Model, MaxTokens: b.MaxTokens, Temperature: b.Temperature, Stream: b.Stream, Schema: b.OutputConfig != nil}
	if b.OutputConfig != nil && (b.OutputConfig.Format.Type != "json_schema" || b.OutputConfig.Format.Schema["type"] != "object") {
		return s, fmt.Errorf("%+v", b.OutputConfig)
	}
	for _, x := range b.System {
		s.System += x.Text
	}
	for _, m := range b.Messages {
		for _, c := range m.Content {
			switch c.Type {
			case "text":
				s.Messages = append(s.Messages, m.Role+": "+c.Text)
			case "tool_use":
				s.Messages = append(s.Messages, fmt.Sprintf("call: %s %s %s", c.ID, c.Name, c.Input))
			case "tool_result":
				s.Messages = append(s.Messages, fmt.Sprintf("result: %s %s", c.ToolUseID, c.Content[0].Text))
				if c.IsError != (c.Content[0].Text == "broken") {
					return s, fmt.Errorf("%+v", c)
				}
			}
		}
	}
	for _, t := range b.Tools {
		if t.InputSchema["type"] != "object" {
			return s, fmt.Errorf("%+v", t)
		}
		s.Tools = append(s.Tools, t.Name+": "+t.Description)
	}
	return s, nil
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func line(kind, rest string) string {
	return fmt.Sprintf("event: %s\ndata: {\"type\":%q%s}", kind, kind, rest)
}

var reasons = map[string]string{model.End: "end_turn", model.Length: "max_tokens", model.Calls: "tool_use", model.Refused: "refusal"}

var wire = modeltest.Wire{
	Read: read,
	Begin: func(a *modeltest.Answer) []string {
		return []string{
			line("message_start", fmt.Sprintf(`,"message":{"id":"1","type":"message","role":"assistant","model":"model-1","content":[],"stop_reason":null,"usage":{"input_tokens":%d,"cache_read_input_tokens":%d,"output_tokens":1}}`, a.In-a.Cached, a.Cached)),
			line("ping", ""),
			line("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`),
		}
	},
	Piece: func(s string) string {
		return line("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":`+text(s)+`}`)
	},
	End: func(a *modeltest.Answer) []string {
		lines := []string{line("content_block_stop", `,"index":0`)}
		for i, c := range a.Calls {
			lines = append(lines, line("content_block_start", fmt.Sprintf(`,"index":%d,"content_block":{"type":"tool_use","id":%q,"name":%q,"input":{}}`, i+1, c.ID, c.Tool)))
			for _, half := range []string{string(c.Arguments[:1]), string(c.Arguments[1:])} {
				lines = append(lines, line("content_block_delta", fmt.Sprintf(`,"index":%d,"delta":{"type":"input_json_delta","partial_json":%s}`, i+1, text(half))))
			}
			lines = append(lines, line("content_block_stop", fmt.Sprintf(`,"index":%d`, i+1)))
		}
		return append(lines, line("message_delta", fmt.Sprintf(`,"delta":{"stop_reason":%q},"usage":{"output_tokens":%d}`, reasons[a.Stop], a.Out)), line("message_stop", ""))
	},
	Whole: func(*modeltest.Answer) string { return "" },
	Error: func(kind, message string) string {
		return text(map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": message}})
	},
	Unknown: "output_config.format is not supported by this model",
	Told:    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}",
	Broken:  "event: content_block_delta\ndata: {\"type\":\"content_block_delta\", ",
}

func TestProvider(t *testing.T) {
	modeltest.Run(t, func() model.Provider { return &Provider{} }, &wire)
}
