package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/projection/event"
)

// Span is a duration in a request: 30s, or a number of seconds.
type Span time.Duration

// UnmarshalJSON reads a duration as time.ParseDuration does, or a number of seconds.
func (s *Span) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration: write it as 30s", text)
		}
		*s = Span(d)
		return nil
	}
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return fmt.Errorf("want a duration, as \"30s\", or a number of seconds")
	}
	// Beyond what a duration holds it is the longest, which every limit refuses.
	*s = Span(max(-math.MaxInt64/2, min(math.MaxInt64/2, seconds*float64(time.Second))))
	return nil
}

// Schema implements huma.SchemaProvider.
func (Span) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber, Nullable: true}}, Examples: []any{"30s"}}
}

// PollBody asks for tasks.
type PollBody struct {
	Worker   string   `json:"worker" doc:"the name of the worker, 1 to 128 bytes: who did it, in events and lists"`
	Handlers []string `json:"handlers" doc:"what it can do, as worker: names it in definitions; up to 100"`
	Queues   []string `json:"queues,omitempty" doc:"absent: worker, the queue of nodes that name none; up to 100"`
	Max      int      `json:"max,omitempty" doc:"the most tasks at once, 1 to 100; absent: 1"`
	Wait     Span     `json:"wait,omitempty" doc:"answer without a task after this time; at most 60s"`
	Lease    Span     `json:"lease,omitempty" doc:"how long a task is held without a word, 1s to 1h; absent: 30s"`
}

// PollAnswer holds tasks that were handed out.
type PollAnswer struct {
	Tasks []engine.Task `json:"tasks"`
}

// HeartbeatBody renews a lease.
type HeartbeatBody struct {
	Token      string      `json:"token"`
	Lease      Span        `json:"lease,omitempty" doc:"absent: as before"`
	Checkpoint event.Value `json:"checkpoint,omitempty" doc:"handed to the next attempt, should this one be lost or fail; at most 64 KiB"`
	Progress   *string     `json:"progress,omitempty" doc:"for those who watch; at most 1 KiB, kept nowhere"`
}

// CompleteBody hands in a result.
type CompleteBody struct {
	Token  string                 `json:"token"`
	Result event.Value            `json:"result,omitempty" doc:"absent: null"`
	Set    map[string]event.Value `json:"set,omitempty" doc:"keys of the run's state; those that the definition does not declare are dropped"`
	Usage  *UsageBody             `json:"usage,omitempty"`
}

// FailBody says why there is no result.
type FailBody struct {
	Token      string      `json:"token"`
	Class      string      `json:"class,omitempty" enum:"timeout,network,rate_limit,unavailable,tool_failed,invalid_output,auth,not_found,cancelled,internal" default:"tool_failed"`
	Message    string      `json:"message,omitempty" doc:"at most 4 KiB"`
	Retry      *bool       `json:"retry,omitempty" doc:"whether a further attempt makes sense; absent: the class decides, see docs/workers.md"`
	After      Span        `json:"after,omitempty" doc:"not before: what the other side asked to wait"`
	Checkpoint event.Value `json:"checkpoint,omitempty" doc:"absent: that of the last heartbeat that had one"`
	Usage      *UsageBody  `json:"usage,omitempty"`
}

// UsageBody is what an attempt consumed.
type UsageBody struct {
	InputTokens  int64 `json:"input_tokens,omitempty" minimum:"0" maximum:"1000000000000"`
	OutputTokens int64 `json:"output_tokens,omitempty" minimum:"0" maximum:"1000000000000"`
	// Model is what the tokens are priced by.
	Model string `json:"model,omitempty" maxLength:"128" doc:"that was asked: its price is charged; absent: the tokens are counted only"`
}

func (u *UsageBody) usage() *event.Usage {
	if u == nil {
		return nil
	}
	return &event.Usage{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Model: u.Model}
}

// ReleaseBody gives a task back.
type ReleaseBody struct {
	Token      string      `json:"token"`
	Reason     string      `json:"reason,omitempty" doc:"at most 4 KiB"`
	Checkpoint event.Value `json:"checkpoint,omitempty" doc:"absent: that of the last heartbeat that had one"`
}

type taskInput[B any] struct {
	ID   string `path:"id" maxLength:"512" doc:"of the task"`
	Body B
}

const (
	pollLimit = 64 << 10
	beatLimit = 256 << 10 // a checkpoint, however it is written
)

func (a *API) tasks(h huma.API) {
	const tag = "workers"
	register(h, operation{method: "POST", path: "/v1/tasks/poll", id: "poll-tasks", tag: tag, body: pollLimit,
		summary: "Be handed tasks: as soon as there are some, or none once the wait is over"}, a.poll)
	register(h, operation{method: "POST", path: "/v1/tasks/{id}/heartbeat", id: "heartbeat-task", tag: tag, body: beatLimit,
		summary: "Hold a task for longer, and learn whether it is still wanted"},
		func(ctx context.Context, in *taskInput[HeartbeatBody]) (*answer[engine.Beaten], error) {
			b := in.Body
			beaten, err := a.o.Engine.Heartbeat(ctx, engine.Beat{
				TaskRef: ref(ctx, in.ID, b.Token), Lease: time.Duration(b.Lease), Checkpoint: b.Checkpoint, Progress: b.Progress,
			})
			return &answer[engine.Beaten]{beaten}, err
		})
	register(h, operation{method: "POST", path: "/v1/tasks/{id}/complete", id: "complete-task", tag: tag, body: payloadLimit,
		summary: "Hand in the result of a task; the same again is recorded once"}, a.complete)
	register(h, operation{method: "POST", path: "/v1/tasks/{id}/fail", id: "fail-task", tag: tag, body: beatLimit,
		summary: "Say that a task could not be done; the same again is recorded once"}, a.fail)
	register(h, operation{method: "POST", path: "/v1/tasks/{id}/release", id: "release-task", tag: tag, body: beatLimit,
		summary: "Give a task back, for others to do at once"},
		func(ctx context.Context, in *taskInput[ReleaseBody]) (*answer[engine.Outcome], error) {
			b := in.Body
			o, err := a.o.Engine.Release(ctx, ref(ctx, in.ID, b.Token), b.Reason, b.Checkpoint, by(ctx, Keyed{}))
			return &answer[engine.Outcome]{o}, err
		})
	register(h, operation{method: "GET", path: "/v1/workers", id: "list-workers", tag: tag,
		summary: "List the workers that have polled lately, and what they do"},
		func(ctx context.Context, in *Paged) (*answer[List[engine.Worker]], error) {
			list, more := a.o.Engine.Workers(namespace(ctx), in.Cursor, in.Limit)
			next := ""
			if more {
				next = list[len(list)-1].Name
			}
			return listOf(list, next, nil)
		})
	register(h, operation{method: "GET", path: "/v1/queues", id: "list-queues", tag: tag,
		summary: "List the queues that have had an attempt since the daemon was started: what is under way in each, and what waits"},
		func(_ context.Context, in *Paged) (*answer[List[engine.Queue]], error) {
			return pageOf(a.o.Engine.Queues(), in, func(q engine.Queue) string { return q.Name }, nil)
		})
}

func ref(ctx context.Context, id, token string) engine.TaskRef {
	return engine.TaskRef{Namespace: namespace(ctx), ID: id, Token: token}
}

func (a *API) poll(ctx context.Context, in *struct{ Body PollBody }) (*answer[PollAnswer], error) {
	ctx, cancel := a.until(ctx)
	defer cancel()
	b := in.Body
	tasks, err := a.o.Engine.Poll(ctx, engine.PollRequest{
		Namespace: namespace(ctx),
		Worker:    b.Worker, Queues: b.Queues, Handlers: b.Handlers, Max: b.Max, Wait: time.Duration(b.Wait), Lease: time.Duration(b.Lease),
	})
	return &answer[PollAnswer]{PollAnswer{tasks}}, err
}

func (a *API) complete(ctx context.Context, in *taskInput[CompleteBody]) (*answer[engine.Outcome], error) {
	b := in.Body
	result, err := b.Result.Any()
	if err != nil {
		return nil, err
	}
	r := agent.Answer{Result: result, Usage: b.Usage.usage()}
	if len(b.Set) > 0 {
		r.Set = make(map[string]any, len(b.Set))
		for k, v := range b.Set {
			if r.Set[k], err = v.Any(); err != nil {
				return nil, err
			}
		}
	}
	o, err := a.o.Engine.Complete(ctx, ref(ctx, in.ID, b.Token), r, by(ctx, Keyed{}))
	return &answer[engine.Outcome]{o}, err
}

// maxAfter bounds what a worker may ask to wait: longer waits belong in definitions.
const maxAfter = 24 * time.Hour

func (a *API) fail(ctx context.Context, in *taskInput[FailBody]) (*answer[engine.Outcome], error) {
	b := in.Body
	after := time.Duration(b.After)
	if after < 0 || after > maxAfter {
		return nil, problem("invalid", fmt.Sprintf("after: %s is not between 0s and %s", after, maxAfter), "")
	}
	r := agent.Answer{Usage: b.Usage.usage(), Failure: &agent.Failure{Class: b.Class, Message: b.Message, Again: b.Retry, After: after}}
	o, err := a.o.Engine.Fail(ctx, ref(ctx, in.ID, b.Token), r, b.Checkpoint, by(ctx, Keyed{}))
	return &answer[engine.Outcome]{o}, err
}
