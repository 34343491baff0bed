package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/replay"
)

// CheckpointBody names or pins a position.
type CheckpointBody struct {
	Name   string `json:"name,omitempty" maxLength:"256"`
	At     string `json:"at,omitempty" doc:"412, v12 or node#2; absent: where the run stands"`
	Pinned bool   `json:"pinned,omitempty" doc:"keep it whatever is pruned"`
}

// RestoreBody says where a run is to go on from.
type RestoreBody struct {
	To    string `json:"to,omitempty" doc:"the name of a checkpoint, or 412, v12 or node#2; absent: the newest checkpoint"`
	Pause bool   `json:"pause,omitempty" doc:"stop there"`
}

func (a *API) checkpoints(h huma.API) {
	const tag = "checkpoints"
	register(h, operation{method: "GET", path: "/v1/runs/{id}/checkpoints", id: "list-checkpoints", tag: tag,
		summary: "List the checkpoints of a run, newest first"},
		func(_ context.Context, in *struct {
			OfRun
			Keep int `query:"keep" minimum:"0" maximum:"100000" default:"10" doc:"automatic checkpoints to list"`
		}) (*answer[List[projection.Checkpoint]], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			list, err := projection.Checkpoints(a.o.Log, id, in.Keep)
			if list == nil {
				list = []projection.Checkpoint{}
			}
			return listOf(list, "", err)
		})
	register(h, operation{method: "POST", path: "/v1/runs/{id}/checkpoint", id: "create-checkpoint", tag: tag, status: 201,
		summary: "Name or pin a position of a run"},
		func(ctx context.Context, in *commandInput[CheckpointBody]) (*answer[engine.Run], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			at, err := a.position(id, in.Body.At)
			if err != nil {
				return nil, err
			}
			return a.do(ctx, in.OfRun, in.Keyed, machine.Checkpoint{Name: in.Body.Name, To: at, Pinned: in.Body.Pinned})
		})
	register(h, operation{method: "POST", path: "/v1/runs/{id}/restore", id: "restore-run", tag: tag,
		summary: "Go back to a checkpoint and continue from there; the history stays"}, a.restore)
}

func (a *API) restore(ctx context.Context, in *commandInput[*RestoreBody]) (*answer[engine.Run], error) {
	id, err := in.existing(a.o.Log)
	if err != nil {
		return nil, err
	}
	body := in.Body
	if body == nil {
		body = &RestoreBody{}
	}
	to, name := eventlog.Version(0), body.To
	if name != "" {
		list, err := projection.Checkpoints(a.o.Log, id, 0)
		if err != nil {
			return nil, err
		}
		named := false
		for _, c := range list {
			named = named || c.Name == name
		}
		if _, err := replay.Parse(name); !named && err == nil {
			if to, err = a.position(id, name); err != nil {
				return nil, err
			}
			name = ""
		}
	}
	r, err := a.o.Engine.RestoreTo(ctx, id, to, name, body.Pause, by(ctx, in.Keyed))
	if err != nil {
		p := AsProblem(err)
		p.Run = id.String()
		return nil, p
	}
	return &answer[engine.Run]{r}, nil
}

// position returns the version of a run at a position; "" is 0.
func (a *API) position(id eventlog.RunID, at string) (eventlog.Version, error) {
	if at == "" {
		return 0, nil
	}
	pos, err := replay.Parse(at)
	if err != nil {
		return 0, err
	}
	s, err := replay.State(a.o.Log, id, pos)
	if err != nil {
		return 0, err
	}
	return s.Version, nil
}

// existing returns the ID of a run that is there.
func (r OfRun) existing(log eventlog.Log) (eventlog.RunID, error) {
	id, err := r.id()
	if err != nil {
		return id, err
	}
	v, err := log.Version(id)
	if err == nil && v == 0 {
		err = noRun(r.ID)
	}
	return id, err
}
