package api

import (
	"context"
	"encoding/json"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection"
)

type inboxInput struct {
	Paged
	Run      string `query:"run"`
	Workflow string `query:"workflow" doc:"letter case, - and _ alike"`
	Assignee string `query:"assignee"`
}

func (a *API) lists(h huma.API) {
	register(h, operation{method: "GET", path: "/v1/inbox", id: "list-questions", tag: "people",
		summary: "List the questions that wait for an answer, newest first"},
		func(ctx context.Context, in *inboxInput) (*answer[List[projection.Input]], error) {
			f := projection.InputFilter{Namespace: namespace(ctx), Workflow: in.Workflow, Assignee: in.Assignee}
			if in.Run != "" {
				id, err := OfRun{in.Run}.id()
				if err != nil {
					return nil, err
				}
				f.Run = id
			}
			return listOf(a.o.Views.Inbox(ctx, f, in.Cursor, in.Limit))
		})
	register(h, operation{method: "GET", path: "/v1/timers", id: "list-timers", tag: "runs",
		summary: "List what is due, soonest first"},
		func(ctx context.Context, in *struct {
			Paged
			Run string `query:"run"`
		}) (*answer[List[projection.Timer]], error) {
			if in.Run == "" {
				return listOf(a.o.Views.NextTimers(ctx, namespace(ctx), in.Cursor, in.Limit))
			}
			id, err := OfRun{in.Run}.id()
			if err == nil {
				err = a.reaches(ctx, id)
			}
			if err != nil {
				return nil, err
			}
			timers, err := a.o.Views.Timers(ctx, id)
			if timers == nil {
				timers = []projection.Timer{}
			}
			return listOf(timers, "", err)
		})
	register(h, operation{method: "GET", path: "/v1/totals", id: "get-totals", tag: "runs",
		summary: "The number of runs by status"},
		func(ctx context.Context, _ *struct{}) (*answer[map[string]int], error) {
			totals, err := a.o.Views.Totals(ctx, namespace(ctx))
			if err != nil {
				return nil, err
			}
			m := map[string]int{}
			for s, n := range totals {
				m[string(s)] = n
			}
			return &answer[map[string]int]{m}, nil
		})
	register(h, operation{method: "GET", path: "/v1/schema", id: "get-schema", tag: "workflows",
		summary: "The JSON Schema of definitions"},
		func(context.Context, *struct{}) (*answer[json.RawMessage], error) {
			return &answer[json.RawMessage]{workflow.SchemaJSON()}, nil
		})
}
