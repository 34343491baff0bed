// Package anthropic asks models of Anthropic through the official SDK. Every answer is
// streamed; one with a schema is shown to nobody before it is whole. A model that cannot
// be held to a schema is asked again without, and remembered.
package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	sdk "github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
	"github.com/anthropics/anthropic-sdk-go/packages/param"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// Address is where Anthropic itself answers.
	Address = "https://api.anthropic.com"

	maxCalls     = 64      // of tools in one answer
	maxArguments = 1 << 20 // bytes of the arguments of all of them
	maxWarmth    = 1.0     // the provider's highest temperature
)

// Provider implements model.Provider. The zero value is ready for use.
type Provider struct {
	loose sync.Map // of place: what cannot be held to a schema
}

// place is a model of a server.
type place struct{ address, model string }

// Ask implements model.Provider.
func (p *Provider) Ask(ctx context.Context, r *model.Request, show func(string)) (model.Answer, error) {
	address := r.BaseURL
	if address == "" {
		address = Address
	}
	service := sdk.NewMessageService(
		option.WithBaseURL(address), option.WithHTTPClient(model.Client), option.WithMaxRetries(0), option.WithMiddleware(refuse),
		option.WithAPIKey(r.APIKey), option.WithoutOpenTelemetry(),
	)
	params := request(r)
	if r.Schema == nil {
		return stream(ctx, &service, params, show)
	}
	here := place{address, r.Model}
	if _, loose := p.loose.Load(here); loose {
		return stream(ctx, &service, params, nil)
	}
	held := params
	held.OutputConfig.Format = sdk.JSONOutputFormatParam{Schema: r.Schema}
	a, err := stream(ctx, &service, held, nil)
	if unknownFormat(err) { // the model refused to begin: nothing was spent
		p.loose.Store(here, true)
		return stream(ctx, &service, params, nil)
	}
	return a, err
}

// refuse makes errors of responses that are none, before the SDK tells of them less
// than they say.
func refuse(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	resp, err := next(r)
	if err == nil && resp.StatusCode >= 400 {
		return nil, model.Refusal(resp)
	}
	return resp, err
}

// unknownFormat reports whether a model cannot be held to the schema.
func unknownFormat(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && strings.HasPrefix(e.Message, "400") &&
		(strings.Contains(e.Message, "output_config") || strings.Contains(e.Message, "output_format") || strings.Contains(e.Message, "schema"))
}

func request(r *model.Request) sdk.MessageNewParams {
	p := sdk.MessageNewParams{Model: r.Model, MaxTokens: int64(r.MaxTokens)}
	if r.System != "" {
		p.System = []sdk.TextBlockParam{{Text: r.System}}
	}
	for i := range r.Messages {
		p.Messages = append(p.Messages, message(&r.Messages[i]))
	}
	if r.Temperature != nil {
		p.Temperature = param.NewOpt(min(*r.Temperature, maxWarmth))
	}
	for _, t := range r.Tools {
		tool := sdk.ToolParam{Name: t.Name, InputSchema: inputSchema(t.Schema)}
		if t.Description != "" {
			tool.Description = param.NewOpt(t.Description)
		}
		p.Tools = append(p.Tools, sdk.ToolUnionParam{OfTool: &tool})
	}
	return p
}

func inputSchema(schema map[string]any) sdk.ToolInputSchemaParam {
	s := sdk.ToolInputSchemaParam{ExtraFields: map[string]any{}}
	for k, v := range schema {
		if k != "type" { // an object in any case
			s.ExtraFields[k] = v
		}
	}
	return s
}

func message(m *model.Message) sdk.MessageParam {
	var blocks []sdk.ContentBlockParamUnion
	for _, r := range m.Results {
		blocks = append(blocks, sdk.NewToolResultBlock(r.Call, r.Text, r.Failed))
	}
	if m.Text != "" {
		blocks = append(blocks, sdk.NewTextBlock(m.Text))
	}
	for _, c := range m.Calls {
		input := c.Arguments
		if len(input) == 0 {
			input = json.RawMessage("{}")
		}
		blocks = append(blocks, sdk.NewToolUseBlock(c.ID, input, c.Tool))
	}
	if m.From == model.Assistant {
		return sdk.NewAssistantMessage(blocks...)
	}
	return sdk.NewUserMessage(blocks...)
}

// stream asks for an answer, which comes piece by piece.
func stream(ctx context.Context, s *sdk.MessageService, p sdk.MessageNewParams, show func(string)) (model.Answer, error) {
	var resp *http.Response
	events := s.NewStreaming(ctx, p, option.WithResponseInto(&resp))
	defer events.Close()
	if events.Err() == nil && resp != nil && !model.IsStream(resp.Header) {
		return model.Answer{}, model.Final(event.ClassInvalidOutput, "the server answers with %q, not with a stream of events", resp.Header.Get("Content-Type"))
	}
	g := gathered{text: model.NewText(show), blocks: map[int64]int{}}
	for events.Next() {
		e := events.Current()
		if err := g.add(&e); err != nil {
			return g.answer(), err
		}
	}
	a := g.answer()
	switch err := events.Err(); {
	case err != nil:
		return a, failed(ctx, err)
	case ctx.Err() != nil:
		return a, ctx.Err()
	case !g.stopped:
		return a, model.Failed(event.ClassNetwork, "the answer broke off after %d bytes of text", len(a.Text))
	}
	return a, nil
}

// gathered is an answer of which pieces have come.
type gathered struct {
	text    *model.Text
	calls   []model.Call
	blocks  map[int64]int // of calls, by the number of their content block
	args    int           // bytes of the calls' arguments
	model   string
	usage   event.Usage
	counted bool
	reason  sdk.StopReason
	stopped bool
}

func (g *gathered) add(e *sdk.MessageStreamEventUnion) error {
	switch e.Type {
	case "message_start":
		u := &e.Message.Usage
		g.model, g.counted = e.Message.Model, true
		g.usage.CachedTokens = u.CacheReadInputTokens
		g.usage.InputTokens = u.InputTokens + u.CacheCreationInputTokens + u.CacheReadInputTokens
		g.usage.OutputTokens = u.OutputTokens
	case "content_block_start":
		switch e.ContentBlock.Type {
		case "text":
			return g.text.Add(e.ContentBlock.Text)
		case "tool_use":
			if len(g.calls) == maxCalls {
				return tooMuch()
			}
			g.blocks[e.Index] = len(g.calls)
			g.calls = append(g.calls, model.Call{ID: e.ContentBlock.ID, Tool: e.ContentBlock.Name})
		}
	case "content_block_delta":
		switch e.Delta.Type {
		case "text_delta":
			return g.text.Add(e.Delta.Text)
		case "input_json_delta":
			i, ok := g.blocks[e.Index]
			if g.args += len(e.Delta.PartialJSON); !ok || g.args > maxArguments {
				return tooMuch()
			}
			g.calls[i].Arguments = append(g.calls[i].Arguments, e.Delta.PartialJSON...)
		}
	case "message_delta":
		g.reason = e.Delta.StopReason
		g.usage.OutputTokens = e.Usage.OutputTokens
		if n := e.Usage.InputTokens + e.Usage.CacheCreationInputTokens + e.Usage.CacheReadInputTokens; n > 0 {
			g.usage.InputTokens, g.usage.CachedTokens = n, e.Usage.CacheReadInputTokens
		}
	case "message_stop":
		g.stopped = true
	}
	return nil
}

func tooMuch() error {
	return model.Final(event.ClassInvalidOutput, "the answer calls tools with more than %d bytes of arguments, or more than %d of them", maxArguments, maxCalls)
}

func (g *gathered) answer() model.Answer {
	a := model.Answer{Text: g.text.String(), Calls: g.calls, Stop: model.End}
	switch {
	case len(g.calls) > 0:
		a.Stop = model.Calls
	case g.reason == sdk.StopReasonMaxTokens, g.reason == sdk.StopReasonModelContextWindowExceeded:
		a.Stop = model.Length
	case g.reason == sdk.StopReasonRefusal:
		a.Stop = model.Refused
	}
	if g.counted {
		u := g.usage
		u.Model = g.model
		a.Usage = &u
	}
	return a
}

// failed returns what became of a request without a whole answer.
func failed(ctx context.Context, err error) error {
	var told *sdk.Error
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &told):
		return model.Told([]byte(told.RawJSON()))
	case errors.As(err, &syntax), errors.As(err, &kind):
		return model.Failed(event.ClassInvalidOutput, "the provider's answer is no JSON: %v", err)
	}
	return model.TransportError(ctx, err)
}
