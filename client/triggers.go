package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"time"
)

// A Trigger is a kind of what starts runs by itself, or tells others of them. All of
// them are in the namespace that the client's requests are about.
type Trigger string

// The kinds of triggers. A name is one of any kind: no hook is called as a schedule is.
const (
	Schedules Trigger = "/v1/schedules"
	HooksIn   Trigger = "/v1/hooks/in"
	HooksOut  Trigger = "/v1/hooks/out"
)

// ScheduleSpec says when runs of a workflow are started; docs/triggers.md has what each
// part means. The zero value of all but Cron and Workflow is what is usual.
type ScheduleSpec struct {
	Cron     string            `json:"cron"`
	Zone     string            `json:"zone,omitempty"`
	Workflow string            `json:"workflow"`
	Version  int               `json:"version,omitempty"`
	Input    any               `json:"input,omitempty"` // may hold ${schedule.due} and its kin
	Labels   map[string]string `json:"labels,omitempty"`
	Overlap  string            `json:"overlap,omitempty"` // skip, queue or allow
	Queue    int               `json:"queue,omitempty"`
	CatchUp  *int              `json:"catch_up,omitempty"`
	Window   Duration          `json:"window,omitempty"`
	Jitter   Duration          `json:"jitter,omitempty"`
}

// HookInSpec says what becomes of a webhook that comes in. Secret names a secret of the
// daemon, and is not one.
type HookInSpec struct {
	Secret   string            `json:"secret"`
	Form     string            `json:"form,omitempty"` // standard, token or sha256
	Header   string            `json:"header,omitempty"`
	Workflow string            `json:"workflow,omitempty"`
	Version  int               `json:"version,omitempty"`
	Input    any               `json:"input,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Signal   string            `json:"signal,omitempty"`
	Run      string            `json:"run,omitempty"`
	If       string            `json:"if,omitempty"`
	ID       string            `json:"id,omitempty"`
}

// HookOutSpec says which events are sent where. Secret names a secret of the daemon, and
// is not one.
type HookOutSpec struct {
	URL          string   `json:"url"`
	Secret       string   `json:"secret"`
	Kinds        []string `json:"kinds,omitempty"`
	Workflows    []string `json:"workflows,omitempty"`
	AllowPrivate bool     `json:"allow_private,omitempty"`
	Data         bool     `json:"data,omitempty"`
	GiveUp       Duration `json:"give_up,omitempty"`
}

// Duration is a time.Duration that is written as 90s.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// TriggerState is what all triggers have, as they stand.
type TriggerState struct {
	Name        string    `json:"name"`
	Namespace   string    `json:"namespace"`
	Created     time.Time `json:"created"`
	Changed     time.Time `json:"changed"`
	By          string    `json:"by"` // who changed it last
	Paused      bool      `json:"paused"`
	PauseReason string    `json:"pause_reason"`
	PausedBy    string    `json:"paused_by"`
	Broken      string    `json:"broken"` // why it does nothing
	// Spec is what it was made of, as the daemon has it.
	Spec json.RawMessage `json:"spec"`
}

// Fire is what became of a trigger when it fired: started, signalled, queued, skipped or
// failed.
type Fire struct {
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome"`
	Due     time.Time `json:"due"`
	Count   int       `json:"count"`
	Run     string    `json:"run"`
	ID      string    `json:"id"`
	Reason  string    `json:"reason"`
}

// Schedule is a schedule as it stands.
type Schedule struct {
	TriggerState
	Next    time.Time   `json:"next"`  // zero while it is paused
	Dues    []time.Time `json:"dues"`  // the next times, where one schedule was asked for
	Queue   []time.Time `json:"queue"` // times whose starts wait
	Started int64       `json:"started"`
	Skipped int64       `json:"skipped"`
	Failed  int64       `json:"failed"`
	LastRun string      `json:"last_run"`
	Recent  []Fire      `json:"recent"` // the newest first
}

// HookIn is a hook for webhooks that come in, as it stands.
type HookIn struct {
	TriggerState
	Path    string `json:"path"` // where webhooks are posted to
	Started int64  `json:"started"`
	Skipped int64  `json:"skipped"`
	Failed  int64  `json:"failed"`
	Denied  uint64 `json:"denied"` // that were not let in, since the daemon was started
	Recent  []Fire `json:"recent"`
}

// HookOut is a hook that events are sent to, as it stands.
type HookOut struct {
	TriggerState
	Upto     uint64    `json:"upto"` // events up to there are done with
	Sent     int64     `json:"sent"`
	Behind   uint64    `json:"behind"`
	Attempts int       `json:"attempts"` // that the next event has failed
	Since    time.Time `json:"since"`
	Dead     bool      `json:"dead"`
	Reason   string    `json:"reason"` // of the last failure
}

// A TriggerSpec is what a trigger is made of: a ScheduleSpec, HookInSpec or HookOutSpec.
type TriggerSpec interface{ kind() Trigger }

func (ScheduleSpec) kind() Trigger { return Schedules }
func (HookInSpec) kind() Trigger   { return HooksIn }
func (HookOutSpec) kind() Trigger  { return HooksOut }

// SetTrigger makes the schedule or hook of a name. One that is there as it is asked for is
// left so; another one is an error, unless replace is set. why stays in the audit trail.
func (c *Client) SetTrigger(ctx context.Context, name string, spec TriggerSpec, replace bool, why string) error {
	raw, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	body := map[string]any{"name": name, "replace": replace, "reason": why}
	var parts map[string]json.RawMessage // numbers of an input stay as they are
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	for k, v := range parts {
		body[k] = v
	}
	return c.call(ctx, Request{Path: string(spec.kind()), In: body}, new(TriggerState))
}

// GetSchedule returns a schedule with its next times.
func (c *Client) GetSchedule(ctx context.Context, name string) (*Schedule, error) {
	s := &Schedule{}
	return s, c.call(ctx, Request{Path: triggerPath(Schedules, name, "")}, s)
}

// GetHookIn returns a hook for webhooks that come in.
func (c *Client) GetHookIn(ctx context.Context, name string) (*HookIn, error) {
	h := &HookIn{}
	return h, c.call(ctx, Request{Path: triggerPath(HooksIn, name, "")}, h)
}

// GetHookOut returns a hook that events are sent to.
func (c *Client) GetHookOut(ctx context.Context, name string) (*HookOut, error) {
	h := &HookOut{}
	return h, c.call(ctx, Request{Path: triggerPath(HooksOut, name, "")}, h)
}

// ListSchedules lists the schedules by name. The list ends at the first error.
func (c *Client) ListSchedules(ctx context.Context) iter.Seq2[Schedule, error] {
	return listed[Schedule](ctx, c, string(Schedules), url.Values{})
}

// ListHooksIn lists the hooks for webhooks that come in by name.
func (c *Client) ListHooksIn(ctx context.Context) iter.Seq2[HookIn, error] {
	return listed[HookIn](ctx, c, string(HooksIn), url.Values{})
}

// ListHooksOut lists the hooks that events are sent to by name.
func (c *Client) ListHooksOut(ctx context.Context) iter.Seq2[HookOut, error] {
	return listed[HookOut](ctx, c, string(HooksOut), url.Values{})
}

// PauseTrigger lets a trigger do nothing until it is resumed.
func (c *Client) PauseTrigger(ctx context.Context, kind Trigger, name, why string) error {
	return c.trigger(ctx, kind, name, "pause", map[string]any{"reason": why})
}

// ResumeTrigger lets a trigger work again, from now on; a hook that sends goes on where it
// was.
func (c *Client) ResumeTrigger(ctx context.Context, kind Trigger, name, why string) error {
	return c.trigger(ctx, kind, name, "resume", map[string]any{"reason": why})
}

// DeleteTrigger deletes a trigger. What it has started goes on. If the answer was lost it
// may be ErrNotFound that says that it is done.
func (c *Client) DeleteTrigger(ctx context.Context, kind Trigger, name, why string) error {
	return c.trigger(ctx, kind, name, "delete", map[string]any{"reason": why})
}

// Backfill starts the runs of a schedule for the past times from one to another, both of
// them too, that it has not started. It returns the times whose runs are started now,
// and how many there were already.
func (c *Client) Backfill(ctx context.Context, name string, from, to time.Time) (queued []time.Time, there int, err error) {
	var done struct {
		Queued []time.Time `json:"queued"`
		There  int         `json:"there"`
	}
	err = c.call(ctx, Request{Path: triggerPath(Schedules, name, "/backfill"), In: map[string]time.Time{"from": from, "to": to}}, &done)
	return done.Queued, done.There, err
}

func (c *Client) trigger(ctx context.Context, kind Trigger, name, verb string, body any) error {
	return c.call(ctx, Request{Path: triggerPath(kind, name, "/"+verb), In: body}, new(struct{}))
}

func triggerPath(kind Trigger, name, more string) string {
	return string(kind) + "/" + url.PathEscape(name) + more
}
