package api

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection/event"
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
	reasoned(a, h, "resume", "Let a paused run go on", func(why string) machine.Command { return machine.Resume{Reason: why} })
	reasoned(a, h, "cancel", "End a run", func(why string) machine.Command { return machine.Cancel{Reason: why} })
	reasoned(a, h, "retry", "Let a failed run try again what failed", func(why string) machine.Command { return machine.Retry{Reason: why} })
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
		p := AsProblem(err)
		p.Run = id.String()
		if c, ok := c.(machine.Answer); ok {
			p.Node = c.Node
		}
		if errors.Is(err, machine.ErrRefused) {
			p.Hint = "wfd show " + p.Run + " says where the run stands"
		}
		return nil, p
	}
	return &answer[engine.Run]{r}, nil
}
