package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// ForkBody says where a fork begins and what is different in it.
type ForkBody struct {
	At       string                 `json:"at,omitempty" doc:"412, v12 or node#2; absent: where the run stands"`
	Workflow string                 `json:"workflow,omitempty" maxLength:"256" doc:"go on under this definition; absent: that of the run"`
	Version  int                    `json:"version,omitempty" minimum:"0" doc:"of workflow; 0: the newest"`
	Input    event.Value            `json:"input,omitempty" doc:"instead of the run's input"`
	Set      map[string]event.Value `json:"set,omitempty" doc:"state as the fork begins"`
	Labels   map[string]string      `json:"labels,omitempty" maxProperties:"64"`
	Pause    bool                   `json:"pause,omitempty" doc:"begin paused, to be looked at first"`
	// Breakpoints are places at which the fork is paused.
	Breakpoints []string `json:"breakpoints,omitempty" maxItems:"64" doc:"where the fork is paused, as at the start of a run; those of the run are not taken over"`
}

func (a *API) forks(h huma.API) {
	register(h, operation{method: "POST", path: "/v1/runs/{id}/fork", id: "fork-run", tag: "runs", body: payloadLimit, status: 201,
		summary: "Start a run where this one stood; what it had completed is not done again"},
		func(ctx context.Context, in *commandInput[*ForkBody]) (*answer[engine.Run], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			body := in.Body
			if body == nil {
				body = &ForkBody{}
			}
			at, err := a.position(id, body.At)
			if err == nil && at == 0 {
				at, err = a.newest(ctx, id)
			}
			if err != nil {
				return nil, err
			}
			r, err := a.o.Engine.ForkRun(ctx, id, engine.ForkRequest{
				At: at, Workflow: body.Workflow, Version: body.Version, Input: body.Input, Set: body.Set, Labels: body.Labels, Pause: body.Pause,
				Breakpoints: body.Breakpoints,
			}, by(ctx, in.Keyed))
			if err != nil {
				p := AsProblem(err)
				p.Run = id.String()
				return nil, p
			}
			return &answer[engine.Run]{r}, nil
		})
}

func (a *API) newest(ctx context.Context, id eventlog.RunID) (eventlog.Version, error) {
	r, err := a.o.Engine.Run(ctx, id)
	return r.Version, err
}
