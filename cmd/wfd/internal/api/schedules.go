package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// ScheduleSpec says when runs of a workflow are started.
type ScheduleSpec struct {
	Cron     string            `json:"cron" minLength:"1" maxLength:"256" doc:"five fields, or six with seconds before them, or @daily and its kin, or @every 15m"`
	Zone     string            `json:"zone,omitempty" maxLength:"64" doc:"time zone, as Europe/Berlin; absent: UTC"`
	Workflow string            `json:"workflow" minLength:"1" maxLength:"256"`
	Version  int               `json:"version,omitempty" minimum:"0" doc:"0: the newest when it is due"`
	Input    event.Value       `json:"input,omitempty" doc:"of the runs; may hold ${schedule.name}, ${schedule.due} and ${schedule.local}"`
	Labels   map[string]string `json:"labels,omitempty"`
	Overlap  string            `json:"overlap,omitempty" doc:"what is done while the run before goes on: skip (by default), queue or allow"`
	Queue    int               `json:"queue,omitempty" minimum:"0" maximum:"1000" doc:"with queue: starts that wait at most; absent: 10"`
	CatchUp  *int              `json:"catch_up,omitempty" minimum:"0" maximum:"1000" doc:"how many of the starts that were missed are made up for, the last ones; absent: 1"`
	Window   Span              `json:"window,omitempty" doc:"what was missed longer ago is not made up for; absent: 24h"`
	Jitter   Span              `json:"jitter,omitempty" doc:"starts are spread over so much"`
}

func (s *ScheduleSpec) schedule() event.Schedule {
	out := event.Schedule{
		Cron: s.Cron, Zone: s.Zone, Workflow: s.Workflow, Version: s.Version, Input: s.Input, Labels: s.Labels, Overlap: s.Overlap, Queue: s.Queue,
		CatchUp: engine.DefaultCatchUp, Window: int64(s.Window), Jitter: int64(s.Jitter),
	}
	if s.CatchUp != nil {
		out.CatchUp = *s.CatchUp
	}
	return out
}

// Schedule is a schedule as it stands.
type Schedule struct {
	Name string `json:"name"`
	// Namespace is where it is, and where its runs are.
	Namespace string `json:"namespace"`

	Spec    event.Schedule `json:"spec"`
	Created event.Time     `json:"created"`
	Changed event.Time     `json:"changed"`
	By      string         `json:"by" doc:"who changed it last"`
	Pausing
	Next    event.Time        `json:"next,omitzero" doc:"when it is due next; absent while it is paused"`
	Dues    []event.Time      `json:"dues,omitempty" doc:"when it is due next, the next times; of one schedule only"`
	Upto    event.Time        `json:"upto" doc:"up to when its times are dealt with, but for those in queue"`
	Queue   []event.Time      `json:"queue,omitempty" doc:"times whose starts wait"`
	Waiting eventlog.RunID    `json:"waiting_for,omitzero" doc:"the run whose end they wait for"`
	Started int64             `json:"started"`
	Skipped int64             `json:"skipped"`
	Failed  int64             `json:"failed"`
	LastRun eventlog.RunID    `json:"last_run,omitzero"`
	Recent  []projection.Fire `json:"recent" doc:"what became of its last times, the newest first"`
	Broken  string            `json:"broken,omitempty" doc:"why it does nothing"`
}

// Pausing says whether a trigger is paused, and why.
type Pausing struct {
	Paused bool       `json:"paused"`
	Reason string     `json:"pause_reason,omitempty"`
	Pauser string     `json:"paused_by,omitempty"`
	Since  event.Time `json:"paused_at,omitzero"`
}

func pausing(t *engine.Trigger) Pausing {
	return Pausing{t.Paused, t.PauseReason, t.PausedBy, t.PausedAt}
}

func scheduleOf(t engine.Trigger) Schedule {
	s := Schedule{
		Name: t.ID().Name(), Namespace: t.ID().Namespace().String(), Created: t.Created, Changed: t.Changed, By: t.By, Pausing: pausing(&t), Next: t.Next, Upto: t.Upto, Queue: t.Trigger.Queue,
		Waiting: t.Waiting, Started: t.Started, Skipped: t.Skipped, Failed: t.Failed, LastRun: t.LastRun, Recent: fires(t.Recent), Broken: t.Broken,
	}
	if t.Schedule != nil {
		s.Spec = *t.Schedule
	}
	return s
}

func fires(list []projection.Fire) []projection.Fire {
	if list == nil {
		return []projection.Fire{}
	}
	return list
}

// Replacing says whether what is there under a name may be replaced, and why.
type Replacing struct {
	Replace bool   `json:"replace,omitempty" doc:"what is there under the name becomes this"`
	Why     string `json:"reason,omitempty" maxLength:"1024" doc:"why; it stays in the audit trail"`
}

type createScheduleInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"64" doc:"letters, digits, dots, hyphens and underscores"`
		ScheduleSpec
		Replacing
	}
}

// triggerIn names a trigger of the request's namespace.
func triggerIn(ctx context.Context, name string) event.TriggerID {
	return event.TriggerIn(namespace(ctx), name)
}

// OfTrigger names a trigger.
type OfTrigger struct {
	Name string `path:"name" maxLength:"64" doc:"name of a trigger"`
}

type triggerCommandInput struct {
	OfTrigger
	Body *ReasonBody
}

func (in *triggerCommandInput) reason() string {
	if in.Body == nil {
		return ""
	}
	return in.Body.Reason
}

type backfillInput struct {
	OfTrigger
	Body struct {
		From time.Time `json:"from" doc:"the first time"`
		To   time.Time `json:"to" doc:"the last time"`
	}
}

// made answers with what was made, or was there.
type made[T any] struct {
	Status int
	Body   T
}

func madeOf[T any](isNew bool, v T) *made[T] {
	if isNew {
		return &made[T]{201, v}
	}
	return &made[T]{200, v}
}

// Deleted says what is no more.
type Deleted struct {
	Name    string `json:"name"`
	Deleted bool   `json:"deleted"`
}

// shownDues is how many of the next times of one schedule are shown.
const shownDues = 5

func (a *API) schedules(h huma.API) {
	const tag = "triggers"
	one := func(ctx context.Context, t engine.Trigger, err error) (*answer[Schedule], error) {
		if err != nil {
			return nil, err
		}
		s := scheduleOf(t)
		if !s.Paused {
			if s.Dues, err = a.o.Engine.Dues(ctx, t.ID(), shownDues); err != nil {
				return nil, err
			}
		}
		return &answer[Schedule]{s}, nil
	}
	register(h, operation{method: "POST", path: "/v1/schedules", id: "create-schedule", tag: tag, status: 201,
		summary: "Start runs of a workflow at times"},
		func(ctx context.Context, in *createScheduleInput) (*made[Schedule], error) {
			b := &in.Body
			isNew, t, err := a.o.Engine.SetSchedule(ctx, triggerIn(ctx, b.Name), b.schedule(), b.Replace, b.Why, by(ctx, Keyed{}).Actor)
			if err != nil {
				return nil, err
			}
			return madeOf(isNew, scheduleOf(t)), nil
		})
	register(h, operation{method: "GET", path: "/v1/schedules", id: "list-schedules", tag: tag,
		summary: "List the schedules, by name"},
		func(ctx context.Context, in *Paged) (*answer[List[Schedule]], error) {
			list, next, err := a.o.Engine.Triggers(ctx, namespace(ctx), event.TriggerSchedule, in.Cursor, in.Limit)
			return listOf(mapped(list, scheduleOf), next, err)
		})
	register(h, operation{method: "GET", path: "/v1/schedules/{name}", id: "get-schedule", tag: tag,
		summary: "A schedule as it stands"},
		func(ctx context.Context, in *OfTrigger) (*answer[Schedule], error) {
			t, err := a.o.Engine.Trigger(ctx, event.TriggerSchedule, triggerIn(ctx, in.Name))
			return one(ctx, t, err)
		})
	register(h, operation{method: "POST", path: "/v1/schedules/{name}/pause", id: "pause-schedule", tag: tag,
		summary: "Let a schedule start nothing until it is resumed"},
		func(ctx context.Context, in *triggerCommandInput) (*answer[Schedule], error) {
			t, err := a.o.Engine.PauseTrigger(ctx, event.TriggerSchedule, triggerIn(ctx, in.Name), in.reason(), by(ctx, Keyed{}).Actor)
			return one(ctx, t, err)
		})
	register(h, operation{method: "POST", path: "/v1/schedules/{name}/resume", id: "resume-schedule", tag: tag,
		summary: "Let a schedule start runs again, from now on"},
		func(ctx context.Context, in *triggerCommandInput) (*answer[Schedule], error) {
			t, err := a.o.Engine.ResumeTrigger(ctx, event.TriggerSchedule, triggerIn(ctx, in.Name), in.reason(), false, by(ctx, Keyed{}).Actor)
			return one(ctx, t, err)
		})
	register(h, operation{method: "POST", path: "/v1/schedules/{name}/backfill", id: "backfill-schedule", tag: tag,
		summary: "Start the runs for past times that were not started"},
		func(ctx context.Context, in *backfillInput) (*answer[engine.Backfilled], error) {
			done, err := a.o.Engine.Backfill(ctx, triggerIn(ctx, in.Name), in.Body.From, in.Body.To, by(ctx, Keyed{}).Actor)
			return answered(done, err)
		})
	register(h, operation{method: "POST", path: "/v1/schedules/{name}/delete", id: "delete-schedule", tag: tag,
		summary: "Delete a schedule; its runs go on"},
		func(ctx context.Context, in *triggerCommandInput) (*answer[Deleted], error) {
			err := a.o.Engine.DeleteTrigger(ctx, event.TriggerSchedule, triggerIn(ctx, in.Name), in.reason(), by(ctx, Keyed{}).Actor)
			return answered(Deleted{in.Name, true}, err)
		})
}

func mapped[A, B any](list []A, f func(A) B) []B {
	out := make([]B, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}
