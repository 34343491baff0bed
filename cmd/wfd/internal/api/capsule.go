package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
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
			src := capsule.Source{Log: a.o.Log, Definition: a.definitionEvent(namespace(ctx))}
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
	register(h, operation{method: "POST", path: "/v1/import", id: "import-capsule", tag: "runs", body: importLimit,
		summary: "Put the runs of a capsule into this log: with their IDs, marked as imported, and paused if they had not ended"}, a.importCapsule)
}

// importLimit bounds a capsule that is imported.
const importLimit = 256 << 20

type importInput struct {
	Key     string `query:"key" doc:"the public key of the log that it must be of, or several, one a line; absent: it is taken for what it says"`
	Reason  string `query:"reason" maxLength:"4096" doc:"why; it is kept in the log"`
	RawBody []byte `contentType:"application/zstd"`
}

// importCapsule puts the runs of a capsule into the log.
func (a *API) importCapsule(ctx context.Context, in *importInput) (*answer[ImportBody], error) {
	var keys *audit.Keys
	if in.Key != "" {
		var err error
		if keys, err = audit.ParseKeys([]byte(in.Key)); err != nil {
			return nil, problem("invalid", "key: "+err.Error(), "")
		}
	}
	c, err := capsule.Read(bytes.NewReader(in.RawBody), keys)
	if err != nil {
		return nil, problem("invalid", "the capsule: "+err.Error(), "it was cut off or changed, or is another log's: have it exported again")
	}
	sum := sha256.Sum256(in.RawBody)
	mark := event.RunImported{Origin: c.Origin, Key: c.Key, Pinned: c.Pinned, File: hex.EncodeToString(sum[:]), Made: event.At(c.Made), Reason: in.Reason}
	if c.Proven() {
		mark.Signed, mark.Root = eventlog.Seq(c.Checkpoint.Size), hex.EncodeToString(c.Checkpoint.Root[:])
	}
	done, err := a.o.Engine.Import(ctx, engine.Import{Log: c.Log(), Run: c.Run, Runs: c.Runs, Mark: mark}, by(ctx, Keyed{}))
	if errors.Is(err, engine.ErrExists) {
		return nil, problem("exists", err.Error(), "nothing was imported: wfd show and wfd diff take the file, too")
	}
	if err != nil {
		return nil, err
	}
	return &answer[ImportBody]{ImportBody{done, c.Origin, c.Pinned}}, nil
}

// ImportBody is what was imported.
type ImportBody struct {
	engine.Imported
	Origin string `json:"origin,omitempty" doc:"the log that it is of, as its proof says; absent: it has none"`
	Pinned bool   `json:"pinned" doc:"the proof was verified with the key that was given"`
}

func unprovenHint(err error) error {
	if p := (&Problem{}); errors.As(err, &p) && p.OfType("refused") {
		p.Hint = "wfd export --unproven leaves out the proof"
	}
	return err
}

// definitionEvent finds the event that registered a definition in a namespace. Another
// one may have it too, from somebody else.
func (a *API) definitionEvent(n event.Namespace) func(context.Context, string) (eventlog.Event, error) {
	return func(ctx context.Context, hash string) (eventlog.Event, error) { return a.definitionIn(ctx, n, hash) }
}

func (a *API) definitionIn(ctx context.Context, n event.Namespace, hash string) (eventlog.Event, error) {
	def, err := a.o.Views.DefinitionIn(ctx, n, hash)
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
