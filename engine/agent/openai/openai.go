// Package openai asks models of OpenAI, and of every server that speaks the same
// language (Ollama, vLLM, llama.cpp and others), through the official SDK.
//
// A text is streamed. An answer with a schema is not: it is of no use before it is
// whole, and servers that hold a model to a schema often do so only then. A server that
// cannot do so at all is asked again without, and remembered.
package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/shared"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// Address is where OpenAI itself answers.
	Address = "https://api.openai.com/v1"

	maxCalls     = 64      // of tools in one answer
	maxArguments = 1 << 20 // bytes of the arguments of all of them
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
	service := sdk.NewChatCompletionService(options(address, r)...)
	params := request(address, r)
	if r.Schema == nil {
		return stream(ctx, &service, params, show)
	}
	here := place{address, r.Model}
	if _, loose := p.loose.Load(here); loose {
		return whole(ctx, &service, params)
	}
	held := params
	held.ResponseFormat = format(r.Schema)
	a, err := whole(ctx, &service, held)
	if unknownFormat(err) { // the server refused to begin: nothing was spent
		p.loose.Store(here, true)
		return whole(ctx, &service, params)
	}
	return a, err
}

func options(address string, r *model.Request) []option.RequestOption {
	o := []option.RequestOption{
		option.WithBaseURL(address), option.WithHTTPClient(model.Client), option.WithMaxRetries(0), option.WithMiddleware(refuse),
	}
	if r.APIKey != "" {
		o = append(o, option.WithAPIKey(r.APIKey))
	}
	return o
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

// unknownFormat reports whether a server refuses response_format.
func unknownFormat(err error) bool {
	var e *model.Error
	return errors.As(err, &e) && (strings.HasPrefix(e.Message, "400") || strings.HasPrefix(e.Message, "422")) &&
		(strings.Contains(e.Message, "response_format") || strings.Contains(e.Message, "json_schema"))
}

func request(address string, r *model.Request) sdk.ChatCompletionNewParams {
	p := sdk.ChatCompletionNewParams{Model: r.Model}
	if r.System != "" {
		p.Messages = append(p.Messages, sdk.SystemMessage(r.System))
	}
	for i := range r.Messages {
		p.Messages = append(p.Messages, messages(&r.Messages[i])...)
	}
	if r.MaxTokens > 0 {
		// OpenAI's newer models refuse the old name, other servers do not know the new.
		if u, err := url.Parse(address); err == nil && u.Hostname() == "api.openai.com" {
			p.MaxCompletionTokens = param.NewOpt(int64(r.MaxTokens))
		} else {
			p.MaxTokens = param.NewOpt(int64(r.MaxTokens))
		}
	}
	if r.Temperature != nil {
		p.Temperature = param.NewOpt(*r.Temperature)
	}
	for _, t := range r.Tools {
		p.Tools = append(p.Tools, sdk.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: t.Name, Description: param.NewOpt(t.Description), Parameters: t.Schema,
		}))
	}
	return p
}

func messages(m *model.Message) []sdk.ChatCompletionMessageParamUnion {
	if m.From == model.Assistant {
		a := sdk.AssistantMessage(m.Text)
		if m.Text == "" {
			a.OfAssistant.Content = sdk.ChatCompletionAssistantMessageParamContentUnion{}
		}
		for _, c := range m.Calls {
			a.OfAssistant.ToolCalls = append(a.OfAssistant.ToolCalls, sdk.ChatCompletionMessageToolCallUnionParam{
				OfFunction: &sdk.ChatCompletionMessageFunctionToolCallParam{
					ID: c.ID, Function: sdk.ChatCompletionMessageFunctionToolCallFunctionParam{Name: c.Tool, Arguments: string(c.Arguments)},
				},
			})
		}
		return []sdk.ChatCompletionMessageParamUnion{a}
	}
	var list []sdk.ChatCompletionMessageParamUnion
	for _, r := range m.Results {
		list = append(list, sdk.ToolMessage(r.Text, r.Call))
	}
	if m.Text != "" {
		list = append(list, sdk.UserMessage(m.Text))
	}
	return list
}

func format(schema map[string]any) sdk.ChatCompletionNewParamsResponseFormatUnion {
	return sdk.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
		JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "answer", Schema: schema, Strict: param.NewOpt(model.Strict(schema))},
	}}
}

// whole asks for an answer that comes at once.
func whole(ctx context.Context, s *sdk.ChatCompletionService, p sdk.ChatCompletionNewParams) (model.Answer, error) {
	c, err := s.New(ctx, p)
	if err != nil {
		return model.Answer{}, failed(ctx, err)
	}
	return complete(c)
}

// complete reads an answer that came at once.
func complete(c *sdk.ChatCompletion) (model.Answer, error) {
	a := model.Answer{Usage: usage(&c.Usage, c.Model)}
	if len(c.Choices) == 0 {
		return a, model.Failed(event.ClassInvalidOutput, "the provider's answer has no choices")
	}
	m := &c.Choices[0].Message
	text := model.NewText(nil)
	if err := text.Add(m.Content); err != nil {
		return a, err
	}
	a.Text = text.String()
	if m.Refusal != "" {
		a.Text, a.Stop = m.Refusal, model.Refused
		return a, nil
	}
	for _, t := range m.ToolCalls {
		a.Calls = append(a.Calls, model.Call{ID: t.ID, Tool: t.Function.Name, Arguments: json.RawMessage(t.Function.Arguments)})
	}
	a.Stop = stop(c.Choices[0].FinishReason, len(a.Calls) > 0)
	return a, within(a.Calls)
}

// stream asks for an answer that comes piece by piece.
func stream(ctx context.Context, s *sdk.ChatCompletionService, p sdk.ChatCompletionNewParams, show func(string)) (model.Answer, error) {
	p.StreamOptions.IncludeUsage = param.NewOpt(true)
	var resp *http.Response
	events := s.NewStreaming(ctx, p, option.WithResponseInto(&resp))
	defer events.Close()
	if events.Err() == nil && resp != nil && !model.IsStream(resp.Header) {
		return unstreamed(ctx, resp, show) // a server that does not stream
	}
	g := gathered{text: model.NewText(show)}
	for events.Next() {
		if err := g.add(events.Current()); err != nil {
			return g.answer(), err
		}
	}
	a := g.answer()
	switch err := events.Err(); {
	case err != nil:
		return a, failed(ctx, err)
	case ctx.Err() != nil:
		return a, ctx.Err()
	case g.finish == "":
		return a, model.Failed(event.ClassNetwork, "the answer broke off after %d bytes of text", len(a.Text))
	}
	return a, within(a.Calls)
}

func unstreamed(ctx context.Context, resp *http.Response, show func(string)) (model.Answer, error) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return model.Answer{}, failed(ctx, err)
	}
	var c sdk.ChatCompletion
	if err := json.Unmarshal(body, &c); err != nil {
		return model.Answer{}, failed(ctx, err)
	}
	if bytes.Contains(body, []byte(`"error"`)) && len(c.Choices) == 0 {
		return model.Answer{}, model.Told(body)
	}
	a, err := complete(&c)
	if err == nil && show != nil && a.Text != "" {
		show(a.Text)
	}
	return a, err
}

// gathered is an answer of which pieces have come.
type gathered struct {
	text    *model.Text
	refusal *model.Text
	calls   []model.Call
	args    int // bytes of the calls' arguments
	finish  string
	usage   *event.Usage
}

func (g *gathered) add(c sdk.ChatCompletionChunk) error {
	if c.JSON.Usage.Valid() {
		g.usage = usage(&c.Usage, c.Model)
	}
	for i := range c.Choices {
		choice := &c.Choices[i]
		if choice.Index != 0 {
			continue
		}
		if err := g.text.Add(choice.Delta.Content); err != nil {
			return err
		}
		if choice.Delta.Refusal != "" {
			if g.refusal == nil {
				g.refusal = model.NewText(nil)
			}
			if err := g.refusal.Add(choice.Delta.Refusal); err != nil {
				return err
			}
		}
		for _, t := range choice.Delta.ToolCalls {
			if err := g.call(&t); err != nil {
				return err
			}
		}
		if choice.FinishReason != "" {
			g.finish = choice.FinishReason
		}
	}
	return nil
}

// call adds a piece of a call.
func (g *gathered) call(t *sdk.ChatCompletionChunkChoiceDeltaToolCall) error {
	if t.Index < 0 || t.Index > int64(len(g.calls)) || t.Index >= maxCalls {
		return model.Failed(event.ClassInvalidOutput, "the provider's answer calls a tool under number %d, after %d", t.Index, len(g.calls))
	}
	if t.Index == int64(len(g.calls)) {
		g.calls = append(g.calls, model.Call{})
	}
	c := &g.calls[t.Index]
	if t.ID != "" {
		c.ID = t.ID
	}
	c.Tool += t.Function.Name
	if g.args += len(t.Function.Arguments); g.args > maxArguments {
		return tooMuch()
	}
	c.Arguments = append(c.Arguments, t.Function.Arguments...)
	return nil
}

func (g *gathered) answer() model.Answer {
	a := model.Answer{Text: g.text.String(), Calls: g.calls, Usage: g.usage, Stop: stop(g.finish, len(g.calls) > 0)}
	if g.refusal != nil {
		a.Text, a.Stop = g.refusal.String(), model.Refused
	}
	return a
}

func tooMuch() error {
	return model.Final(event.ClassInvalidOutput, "the answer calls tools with more than %d bytes of arguments, or more than %d of them", maxArguments, maxCalls)
}

// within refuses calls beyond the limits.
func within(calls []model.Call) error {
	size := 0
	for _, c := range calls {
		size += len(c.Arguments)
	}
	if len(calls) > maxCalls || size > maxArguments {
		return tooMuch()
	}
	return nil
}

func stop(finish string, calls bool) string {
	switch {
	case calls:
		return model.Calls
	case finish == "length":
		return model.Length
	case finish == "content_filter":
		return model.Refused
	}
	return model.End
}

func usage(u *sdk.CompletionUsage, name string) *event.Usage {
	if u.PromptTokens == 0 && u.CompletionTokens == 0 {
		return nil
	}
	return &event.Usage{InputTokens: u.PromptTokens, OutputTokens: u.CompletionTokens, CachedTokens: u.PromptTokensDetails.CachedTokens, Model: name}
}

// failed returns what became of a request without a whole answer.
func failed(ctx context.Context, err error) error {
	var told *ssestream.StreamError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &told):
		return model.Told(told.Event.Data)
	case errors.As(err, &syntax), errors.As(err, &kind):
		return model.Failed(event.ClassInvalidOutput, "the provider's answer is no JSON: %v", err)
	}
	return model.TransportError(ctx, err)
}
