package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// SignalBody is a message for a run.
type SignalBody struct {
	Name  string      `json:"name" minLength:"1" maxLength:"128"`
	Value event.Value `json:"value,omitempty"`
}

// AnswerBody answers a question.
type AnswerBody struct {
	Node  string      `json:"node,omitempty" doc:"may be left out if one question is open"`
	Visit int         `json:"visit,omitempty" minimum:"0" doc:"0: the present one"`
	Value event.Value `json:"value" doc:"checked against the question's form"`
}

// ReasonBody says why.
type ReasonBody struct {
	Reason string `json:"reason,omitempty" maxLength:"4096"`
}

// ResumeBody says how a paused run goes on.
type ResumeBody struct {
	Reason      string                 `json:"reason,omitempty" maxLength:"4096"`
	Set         map[string]event.Value `json:"set,omitempty" doc:"state as the run goes on"`
	Breakpoints *[]string              `json:"breakpoints,omitempty" maxItems:"64" doc:"take the place of those that the run has; []: none"`
}

type commandInput[B any] struct {
	OfRun
	Keyed
	Body B
}

func (a *API) commands(h huma.API) {
	command(a, h, "signal", "Send a run a signal; one that comes early is kept", payloadLimit, func(b SignalBody) machine.Command {
		return machine.Signal{Name: b.Name, Value: b.Value}
	})
	command(a, h, "answer", "Answer a question of a run", payloadLimit, func(b AnswerBody) machine.Command {
		return machine.Answer{Node: b.Node, Visit: b.Visit, Value: b.Value}
	})
	reasoned(a, h, "pause", "Let a run start nothing more until it is resumed", func(why string) machine.Command { return machine.Pause{Reason: why} })
	command(a, h, "resume", "Let a paused run go on: past the breakpoint that it came to, once", payloadLimit, func(b *ResumeBody) machine.Command {
		if b == nil {
			b = &ResumeBody{}
		}
		c := machine.Resume{Reason: b.Reason, Set: b.Set}
		if b.Breakpoints != nil {
			c.Rebreak, c.Breakpoints = true, *b.Breakpoints
		}
		return c
	})
	reasoned(a, h, "cancel", "End a run", func(why string) machine.Command { return machine.Cancel{Reason: why} })
	register(h, operation{method: "POST", path: "/v1/runs/{id}/retry", id: "retry-run", tag: "runs",
		summary: "Let a failed run try again what failed, or go on in place from just before a visit"}, a.retry)
}

// RetryBody says from where a failed run goes on.
type RetryBody struct {
	Reason string `json:"reason,omitempty" maxLength:"4096"`
	From   string `json:"from,omitempty" maxLength:"256" doc:"review, or review#2 for its second visit: go on from just before it; absent: what failed is tried again"`
}

func (a *API) retry(ctx context.Context, in *commandInput[*RetryBody]) (*answer[engine.Run], error) {
	body := in.Body
	if body == nil {
		body = &RetryBody{}
	}
	if body.From == "" {
		return a.do(ctx, in.OfRun, in.Keyed, machine.Retry{Reason: body.Reason})
	}
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	node, visit, err := visitNamed(body.From)
	if err != nil {
		return nil, err
	}
	r, err := a.o.Engine.RetryFrom(ctx, id, node, visit, body.Reason, by(ctx, in.Keyed))
	if err != nil {
		return nil, a.problemOf(ctx, id, err, machine.Retry{Node: node})
	}
	return &answer[engine.Run]{r}, nil
}

// command adds an operation that gives a run a command and answers with the run.
func command[B any](a *API, h huma.API, name, summary string, limit int64, make func(B) machine.Command) {
	op := operation{method: "POST", path: "/v1/runs/{id}/" + name, id: name + "-run", tag: "runs", summary: summary, body: limit}
	register(h, op, func(ctx context.Context, in *commandInput[B]) (*answer[engine.Run], error) {
		return a.do(ctx, in.OfRun, in.Keyed, make(in.Body))
	})
}

// reasoned is command for one whose body may be left out.
func reasoned(a *API, h huma.API, name, summary string, make func(why string) machine.Command) {
	command(a, h, name, summary, bodyLimit, func(b *ReasonBody) machine.Command {
		if b == nil {
			return make("")
		}
		return make(b.Reason)
	})
}

func (a *API) do(ctx context.Context, of OfRun, k Keyed, c machine.Command) (*answer[engine.Run], error) {
	id, err := of.id()
	if err != nil {
		return nil, err
	}
	r, err := a.o.Engine.Do(ctx, id, c, by(ctx, k))
	if err != nil {
		return nil, a.problemOf(ctx, id, err, c)
	}
	return &answer[engine.Run]{r}, nil
}

// problemOf returns why a run did not take a command, and what else would do.
func (a *API) problemOf(ctx context.Context, id eventlog.RunID, err error, c machine.Command) *Problem {
	p := AsProblem(err)
	p.Run = id.String()
	switch c := c.(type) {
	case machine.Answer:
		p.Node = c.Node
	case machine.Retry:
		p.Node = c.Node
	}
	if !errors.Is(err, machine.ErrRefused) {
		return p
	}
	p.Hint = "wfd show " + p.Run + " says where the run stands"
	if c, ok := c.(machine.Retry); ok {
		if hint := a.retryHint(ctx, id, c); hint != "" {
			p.Hint = hint
		}
	}
	return p
}

// retryHint says what to do instead of a retry that was refused.
func (a *API) retryHint(ctx context.Context, id eventlog.RunID, c machine.Retry) string {
	if place, child, err := a.o.Engine.Root(ctx, id); err == nil && child {
		return fmt.Sprintf("it is a child run: wfd retry %s --from %s does node %s again, with another child run", place.Run, place.Node, place.Node)
	}
	r, err := a.o.Engine.Run(ctx, id)
	switch {
	case err != nil || r.Status == run.Failed:
		return ""
	case r.Status == run.Paused && c.Node == "":
		return "wfd resume " + r.ID.String() + " lets it go on"
	}
	return fmt.Sprintf("only a failed run is retried; wfd checkpoint restore %s goes back in this one, wfd fork %s --at POSITION begins another", r.ID, r.ID)
}
