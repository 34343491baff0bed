package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/otlp"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/trace"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// MaxWait is the longest that a request may wait for a run.
const MaxWait = time.Minute

// maxLabels bounds the labels of a run.
const maxLabels = 64

// StartBody asks for a run.
type StartBody struct {
	Input   event.Value       `json:"input,omitempty" doc:"checked against the workflow's input schema"`
	ID      string            `json:"id,omitempty" doc:"a ULID; made if absent"`
	Version int               `json:"version,omitempty" minimum:"0" doc:"of the workflow; 0: the newest"`
	Labels  map[string]string `json:"labels,omitempty" maxProperties:"64"`
	Budget  event.Value       `json:"budget,omitempty"`
	// Breakpoints are places at which the run is paused.
	Breakpoints []string `json:"breakpoints,omitempty" maxItems:"64" doc:"where the run is paused before it goes on: node=review, node=review#2, edge=review->draft, if=state.score < 0.5"`
}

type startInput struct {
	Keyed
	Traceparent string `header:"Traceparent" maxLength:"256" doc:"of W3C Trace Context: the run goes on in this trace, which is kept as its label traceparent"`
	Name        string `path:"name" maxLength:"256"`
	Body        *StartBody
}

type startOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     engine.Run
}

type listRunsInput struct {
	Paged
	Status   string   `query:"status" enum:"pending,running,waiting,paused,completed,failed,cancelled"`
	Workflow string   `query:"workflow" doc:"letter case, - and _ alike"`
	Label    []string `query:"label,explode" doc:"key=value; may be repeated"`
}

type getRunInput struct {
	OfRun
	Wait  string `query:"wait" doc:"as 30s: answer once the run is settled, or after this time; at most 60s" example:"30s"`
	Until string `query:"until" enum:"settled,idle" default:"settled" doc:"what to wait for. settled: ended or paused. idle: also when only a person can move it"`
}

type stateInput struct {
	OfRun
	At string `query:"at" doc:"412: a seq; v12: a version of the run; node#2: the end of a visit; absent: now"`
}

func (a *API) runs(h huma.API) {
	const tag = "runs"
	register(h, operation{method: "POST", path: "/v1/workflows/{name}/runs", id: "start-run", tag: tag, body: payloadLimit, status: 201,
		summary: "Start a run"}, a.start)
	register(h, operation{method: "GET", path: "/v1/runs", id: "list-runs", tag: tag,
		summary: "List runs, newest first"}, a.listRuns)
	register(h, operation{method: "GET", path: "/v1/runs/{id}", id: "get-run", tag: tag,
		summary: "A run as it stands, or as it stands once it is settled"}, a.getRun)
	register(h, operation{method: "GET", path: "/v1/runs/{id}/state", id: "get-state", tag: tag,
		summary: "A run's state, now or at any position of its history"}, a.state)
	register(h, operation{method: "GET", path: "/v1/runs/{id}/trace", id: "get-trace", tag: tag,
		summary: "A run and those under it as a trace of OpenTelemetry, in the JSON of OTLP"}, a.trace)
	register(h, operation{method: "GET", path: "/v1/runs/{id}/children", id: "list-children", tag: tag,
		summary: "List the runs that a run has started, oldest first"},
		func(ctx context.Context, in *struct {
			OfRun
			Paged
		}) (*answer[List[Row]], error) {
			id, err := in.id()
			if err != nil {
				return nil, err
			}
			rows, next, err := a.o.Views.Children(ctx, id, in.Cursor, in.Limit)
			return a.rows(ctx, rows, next, err)
		})
}

func (a *API) start(ctx context.Context, in *startInput) (*startOutput, error) {
	body := in.Body
	if body == nil {
		body = &StartBody{}
	}
	req := engine.StartRequest{Namespace: namespace(ctx), Workflow: in.Name, Version: body.Version, Input: body.Input, Labels: body.Labels, Budget: body.Budget, Breakpoints: body.Breakpoints}
	if c, err := trace.Parse(in.Traceparent); err == nil && body.Labels[trace.Label] == "" && len(body.Labels) < maxLabels {
		// One that is none is no reason to refuse a run.
		req.Labels = maps.Clone(body.Labels)
		if req.Labels == nil {
			req.Labels = map[string]string{}
		}
		req.Labels[trace.Label] = c.String()
	}
	if body.ID != "" {
		id, err := eventlog.ParseRunID(body.ID)
		if err != nil || id.IsSystem() {
			return nil, problem("invalid", fmt.Sprintf("%q is not a run ID: want the 26 characters of a ULID", body.ID), "leave the ID out, or make a ULID")
		}
		req.ID = id
	}
	r, created, err := a.o.Engine.StartRun(ctx, req, by(ctx, in.Keyed))
	if err != nil {
		return nil, err
	}
	out := &startOutput{Status: http.StatusOK, Location: "/v1/runs/" + r.ID.String(), Body: r}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

// Row is a run as lists show it.
type Row struct {
	projection.Row
	Why string `json:"why,omitempty" doc:"why it stands where it does, in one sentence; absent if it was too busy to say"`
}

const (
	// askTime is how long a list waits for runs to say what they do, and askWide how many
	// are asked at once.
	askTime = 200 * time.Millisecond
	askWide = 16
)

// rows puts into words why runs stand where they do.
func (a *API) rows(ctx context.Context, rows []projection.Row, next string, err error) (*answer[List[Row]], error) {
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	list := make([]Row, len(rows))
	var busy sync.WaitGroup
	places := make(chan struct{}, askWide)
	for i := range rows {
		a.o.Engine.Lost(&rows[i])
		list[i].Row = rows[i]
		if s := rows[i].Status; s != run.Running && s != run.Waiting {
			list[i].Why = a.o.Engine.WhyOf(ctx, &rows[i])
			continue
		}
		places <- struct{}{}
		busy.Go(func() {
			defer func() { <-places }()
			list[i].Why = a.o.Engine.WhyOf(ctx, &rows[i])
		})
	}
	busy.Wait()
	return listOf(list, next, nil)
}

func (a *API) listRuns(ctx context.Context, in *listRunsInput) (*answer[List[Row]], error) {
	f := projection.Filter{Namespace: namespace(ctx), Status: run.Status(in.Status), Workflow: in.Workflow}
	for _, l := range in.Label {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, problem("invalid", fmt.Sprintf("label %q: want key=value", l), "")
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[k] = v
	}
	rows, next, err := a.o.Views.Runs(ctx, f, in.Cursor, in.Limit)
	return a.rows(ctx, rows, next, err)
}

func (a *API) getRun(ctx context.Context, in *getRunInput) (*answer[engine.Run], error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	var wait time.Duration
	if in.Wait != "" {
		if wait, err = time.ParseDuration(in.Wait); err != nil || wait < 0 {
			return nil, problem("invalid", fmt.Sprintf("wait: %q is not a duration", in.Wait), "write it as 30s")
		}
	}
	if wait == 0 {
		r, err := a.o.Engine.Run(ctx, id)
		return &answer[engine.Run]{r}, err
	}
	done := engine.Settled
	if in.Until == "idle" {
		done = func(r engine.Run) bool { return engine.Settled(r) || r.OnlyPeople }
	}
	ctx, cancel := a.until(ctx)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, min(wait, MaxWait))
	defer stop()
	r, err := a.o.Engine.Await(ctx, id, done)
	// The time is up, or we are: the run as it stands is the answer.
	if errors.Is(err, ctx.Err()) || errors.Is(err, engine.ErrStopped) && !r.ID.IsZero() {
		err = nil
	}
	return &answer[engine.Run]{r}, err
}

type traceInput struct {
	OfRun
	Content bool `query:"content" doc:"also what agents and people said"`
}

func (a *API) trace(_ context.Context, in *traceInput) (*answer[json.RawMessage], error) {
	id, err := in.existing(a.o.Log)
	if err != nil {
		return nil, err
	}
	spans, err := otlp.Build(a.o.Log, id, in.Content)
	if err != nil {
		return nil, err
	}
	raw, err := otlp.JSON(spans, a.o.Version)
	return &answer[json.RawMessage]{raw}, err
}

func (a *API) state(ctx context.Context, in *stateInput) (*answer[run.View], error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	if in.At == "" {
		v, err := a.o.Engine.State(ctx, id)
		return &answer[run.View]{v}, err
	}
	pos, err := replay.Parse(in.At)
	if err != nil {
		return nil, err
	}
	s, err := replay.State(a.o.Log, id, pos)
	if err != nil {
		return nil, err
	}
	return &answer[run.View]{s.View()}, nil
}
