package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Handler does tasks. What it returns is the node's result, as JSON; a [Result] says
// more. An error fails the task: a *[Failure] says how, any other is a tool_failed.
// [Release] gives the task back. ctx ends when the task is not the worker's any more.
type Handler func(ctx context.Context, t *Task) (any, error)

// Typed makes a handler of a function that takes the input as an In.
func Typed[In, Out any](f func(ctx context.Context, t *Task, in In) (Out, error)) Handler {
	return func(ctx context.Context, t *Task) (any, error) {
		var in In
		if err := t.Decode(&in); err != nil {
			return nil, err
		}
		return f(ctx, t, in)
	}
}

// Result is the result of a task with what goes with it.
type Result struct {
	Value any
	// Set are keys of the run's state; those that the definition does not declare are
	// dropped.
	Set   map[string]any
	Usage *Usage
}

// Usage is what an attempt consumed of a model.
type Usage struct {
	InputTokens  int64 `json:"input_tokens,omitempty"`
	OutputTokens int64 `json:"output_tokens,omitempty"`
	// Model is what they are priced by; "": they are counted only.
	Model string `json:"model,omitempty"`
}

// Failure says how a task failed.
type Failure struct {
	// Class is timeout, network, rate_limit, unavailable, tool_failed, invalid_output,
	// auth, not_found, cancelled or internal; "" is tool_failed. It decides whether the
	// node is tried again, unless Retry does.
	Class string
	Err   error
	Retry *bool
	After time.Duration // not before
	Usage *Usage
}

// Fail returns a failure of a class. Its arguments are those of fmt.Errorf.
func Fail(class, format string, args ...any) *Failure {
	return &Failure{Class: class, Err: fmt.Errorf(format, args...)}
}

// Final has no further attempt made.
func (f *Failure) Final() *Failure {
	no := false
	f.Retry = &no
	return f
}

// Again has a further attempt made, if the node allows one, not before the time is over.
func (f *Failure) Again(after time.Duration) *Failure {
	yes := true
	f.Retry, f.After = &yes, after
	return f
}

func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Class
	}
	return f.Err.Error()
}

// Unwrap returns what the failure was made of.
func (f *Failure) Unwrap() error { return f.Err }

type release struct{ reason string }

func (r *release) Error() string { return "released: " + r.reason }

// Release returns an error with which a handler gives its task back, for others to do
// at once. It does not count as an attempt.
func Release(reason string) error { return &release{reason} }

// message is what is said about a task in the end.
type message struct {
	verb string // complete, fail or release
	body map[string]any
}

// outcome is the message for what a handler returned. checkpoint has not been sent.
func outcome(v any, err error, checkpoint json.RawMessage) message {
	var gaveBack *release
	switch {
	case errors.As(err, &gaveBack):
		m := message{"release", map[string]any{"reason": clip(gaveBack.reason, maxMessage)}}
		return m.with(checkpoint)
	case err != nil:
		return failed(err).with(checkpoint)
	}
	r, ok := v.(Result)
	if p, is := v.(*Result); is && p != nil {
		r, ok = *p, true
	}
	if !ok {
		r = Result{Value: v}
	}
	m := message{"complete", map[string]any{"result": r.Value}}
	if len(r.Set) > 0 {
		m.body["set"] = r.Set
	}
	if r.Usage != nil {
		m.body["usage"] = r.Usage
	}
	if _, err := json.Marshal(m.body); err != nil {
		return failed(Fail("internal", "the result cannot be written as JSON: %w", err)).with(checkpoint)
	}
	return m
}

func failed(err error) message {
	f := Failure{Err: err}
	if own := (*Failure)(nil); errors.As(err, &own) {
		f = *own
	}
	m := message{"fail", map[string]any{"message": clip(err.Error(), maxMessage)}}
	if f.Class == "" && errors.Is(err, context.DeadlineExceeded) {
		f.Class = "timeout"
	}
	if f.Class != "" {
		m.body["class"] = f.Class
	}
	if f.Retry != nil {
		m.body["retry"] = *f.Retry
	}
	if f.After > 0 {
		m.body["after"] = f.After.String()
	}
	if f.Usage != nil {
		m.body["usage"] = f.Usage
	}
	return m
}

func (m message) with(checkpoint json.RawMessage) message {
	if checkpoint != nil {
		m.body["checkpoint"] = checkpoint
	}
	return m
}

// clip cuts a text to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
