// Package model is what providers of language models have in common: a request, an
// answer, the errors between them, and an HTTP client with limits. A provider is a
// package of its own beside it, and passes the suite of package modeltest.
package model

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

// Provider asks models. Ask is called from many goroutines at once. It makes one
// request, tries nothing again, and returns soon after ctx is done. Its errors are
// *Error, or ctx's; the answer that comes with one has the usage that is known.
//
// show, if it is not nil, is given the text as it comes, piece by piece, by the
// goroutine that called Ask.
type Provider interface {
	Ask(ctx context.Context, r *Request, show func(piece string)) (Answer, error)
}

// Request is one request to a model.
type Request struct {
	BaseURL string // "" = the provider's own
	APIKey  string // "" = none
	Model   string

	System      string
	Messages    []Message
	Tools       []Tool
	MaxTokens   int // of the answer
	Temperature *float64
	// Schema is the JSON Schema of an object that the text of the answer is to be; nil:
	// any text. A provider whose model cannot be held to it does without.
	Schema map[string]any
	// Example is asked for an object that fits Schema, by a provider that has no model.
	Example func() map[string]any
}

// Message is one message of the conversation so far.
type Message struct {
	From    string // User or Assistant
	Text    string
	Calls   []Call   // Assistant: the tools it wants called
	Results []Result // User: what became of them
}

// Who messages are from.
const (
	User      = "user"
	Assistant = "assistant"
)

// Tool is a tool that the model may want called.
type Tool struct {
	Name        string // as the provider takes it: letters, digits, _ and -, at most 64
	Description string
	Schema      map[string]any // of its arguments
}

// Call is a call that the model wants made.
type Call struct {
	ID        string
	Tool      string
	Arguments json.RawMessage
}

// Result is what became of a call.
type Result struct {
	Call   string // its ID
	Text   string
	Failed bool
}

// Answer is what a model answered.
type Answer struct {
	Text  string
	Calls []Call
	Stop  string
	Usage *event.Usage // nil: the provider does not say
}

// Why an answer ends.
const (
	End     = "end"
	Length  = "length" // it was cut at MaxTokens
	Calls   = "calls"  // the calls are to be made first
	Refused = "refused"
)

// Error says why there is no answer.
type Error struct {
	Class   string // an event.Class constant
	Message string
	Again   *bool         // whether a further attempt makes sense; nil: the class says
	After   time.Duration // what the provider asked to wait; 0 = nothing
}

func (e *Error) Error() string { return e.Class + ": " + e.Message }

// Failed returns an Error.
func Failed(class, format string, args ...any) *Error {
	return &Error{Class: class, Message: fmt.Sprintf(format, args...)}
}

// Final returns an Error after which no further attempt makes sense.
func Final(class, format string, args ...any) *Error {
	e := Failed(class, format, args...)
	again := false
	e.Again = &again
	return e
}
