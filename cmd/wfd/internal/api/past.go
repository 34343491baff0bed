package api

import (
	"context"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// NewPast returns what of the API looks back, on a log that nobody works on: a
// capsule. Nothing in it can be changed, or listed.
func NewPast(log eventlog.Log, o Options) *API {
	o.Log, o.Engine, o.Views = log, nil, nil
	a, h := newAPI(o)
	defs := replay.Registered(log)
	a.lookBack(h, defs)
	a.explain(h, defs)
	a.events(h)
	const tag = "runs"
	register(h, operation{method: "GET", path: "/v1/runs/{id}", id: "get-run", tag: tag, summary: "A run as it stands"},
		func(_ context.Context, in *OfRun) (*answer[engine.Run], error) {
			id, err := in.existing(log)
			if err != nil {
				return nil, err
			}
			r, err := engine.RunIn(log, id, defs.ByHash)
			return answered(r, err)
		})
	register(h, operation{method: "GET", path: "/v1/runs/{id}/state", id: "get-state", tag: tag, summary: "A run's state, now or at any position of its history"},
		func(_ context.Context, in *stateInput) (*answer[run.View], error) {
			id, err := in.existing(log)
			if err != nil {
				return nil, err
			}
			at, err := positionAt(in.At)
			if err != nil {
				return nil, err
			}
			s, err := replay.State(log, id, at)
			if err != nil {
				return answered(run.View{}, err)
			}
			return &answer[run.View]{s.View()}, nil
		})
	return a.serving(h)
}
