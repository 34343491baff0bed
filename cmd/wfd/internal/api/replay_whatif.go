package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/replay"
)

// maxWhatIf is how many runs one request plays: what takes longer is asked for in
// parts.
const maxWhatIf = 10_000

// WhatIfBody asks which runs would go elsewhere under another definition.
type WhatIfBody struct {
	Definition string    `json:"definition" minLength:"1" doc:"the text of the definition, YAML or JSON"`
	File       string    `json:"file,omitempty" maxLength:"4096" doc:"name of the file, for problems"`
	Workflow   string    `json:"workflow,omitempty" doc:"play the runs of this workflow; absent: that of the definition's name"`
	Since      time.Time `json:"since,omitzero" doc:"only runs that were created then or later"`
	Limit      int       `json:"limit,omitempty" minimum:"1" maximum:"10000" doc:"at most so many, the newest; absent: 10000"`
	Runs       []string  `json:"runs,omitempty" maxItems:"10000" doc:"these runs and no others"`
}

func (a *API) whatIf(h huma.API, defs replay.Definitions) {
	register(h, operation{method: "POST", path: "/v1/whatif", id: "what-if", tag: "replay", body: payloadLimit,
		summary: "Play recorded results through a definition and group the runs that would go elsewhere; nothing is executed"},
		func(ctx context.Context, in *struct{ Body WhatIfBody }) (*answer[replay.Report], error) {
			w, _, err := Compile(in.Body.File, []byte(in.Body.Definition), false)
			if err != nil {
				return nil, err
			}
			ids, err := a.played(ctx, &in.Body, w.Name)
			if err != nil {
				return nil, err
			}
			return answered(replay.WhatIf(ctx, a.o.Log, defs, w, ids, nil))
		})
}

// played returns the runs that a request is about.
func (a *API) played(ctx context.Context, b *WhatIfBody, name string) ([]eventlog.RunID, error) {
	var ids []eventlog.RunID
	for _, s := range b.Runs {
		id, err := a.existing(ctx, s)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(b.Runs) > 0 {
		return ids, nil
	}
	if b.Workflow != "" {
		name = b.Workflow
	}
	limit := maxWhatIf
	if b.Limit > 0 {
		limit = b.Limit
	}
	for cursor := ""; ; {
		rows, next, err := a.o.Views.Runs(ctx, projection.Filter{Namespace: namespace(ctx), Workflow: name}, cursor, 500)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if len(ids) == limit || r.Created.Std().Before(b.Since) {
				return ids, nil // newest first
			}
			ids = append(ids, r.ID)
		}
		if cursor = next; cursor == "" {
			return ids, nil
		}
	}
}
