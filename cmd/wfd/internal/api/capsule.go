package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/replay"
	"github.com/wfd-dev/wfd/replay/capsule"
)

type capsuleInput struct {
	OfRun
	Unproven bool `query:"unproven" doc:"leave out the proof: for a log that cannot be signed"`
}

// capsules registers what takes runs out of the log, and into it.
func (a *API) capsules(h huma.API) {
	register(h, operation{method: "GET", path: "/v1/runs/{id}/capsule", id: "get-capsule", tag: "replay",
		summary: "A run with all that it stands on, in one file that proves itself"},
		func(ctx context.Context, in *capsuleInput) (*huma.StreamResponse, error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			src := capsule.Source{Log: a.o.Log, Definition: a.definitionEvent}
			if !in.Unproven {
				x, err := a.auditor()
				if err != nil {
					return nil, unprovenHint(err)
				}
				src.Prove, src.Origin = x.ProveSet, x.Origin()
			}
			x, err := capsule.Prepare(ctx, src, id, time.Now())
			switch {
			case errors.Is(err, capsule.ErrTooLarge):
				return nil, problem("too-large", err.Error(), "look at it where it is: wfd replay, wfd audit export")
			case err != nil:
				return nil, unprovenHint(auditProblem(err))
			}
			return a.sendCapsule(x), nil
		})
}

func unprovenHint(err error) error {
	if p := (&Problem{}); errors.As(err, &p) && p.OfType("refused") {
		p.Hint = "wfd export --unproven leaves out the proof"
	}
	return err
}

// definitionEvent finds the event that registered a definition.
func (a *API) definitionEvent(ctx context.Context, hash string) (eventlog.Event, error) {
	def, err := a.o.Views.DefinitionByHash(ctx, hash)
	if errors.Is(err, projection.ErrNotFound) {
		return eventlog.Event{}, fmt.Errorf("%w: %s", replay.ErrNoDefinition, hash)
	}
	if err != nil {
		return eventlog.Event{}, err
	}
	events, err := a.o.Log.ReadFrom(def.Seq-1, 1)
	if err == nil && (len(events) != 1 || events[0].Seq != def.Seq) {
		err = fmt.Errorf("the log has no event %d", def.Seq)
	}
	if err != nil {
		return eventlog.Event{}, err
	}
	return events[0], nil
}

func (a *API) sendCapsule(x *capsule.Export) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		ctx, cancel := a.until(r.Context())
		defer cancel()
		out := &timedWriter{w: w, rc: http.NewResponseController(w), media: "application/zstd", limit: backupWrite}
		// A capsule that breaks off has no seal: whoever reads it sees that.
		if err := x.Write(ctx, out); err != nil && r.Context().Err() == nil {
			a.o.Logger.Error("a capsule broke off", "error", err)
		}
	}}
}
