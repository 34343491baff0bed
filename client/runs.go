package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Start is what a run is started with. All of it may be left out.
type Start struct {
	Input       any               `json:"input,omitempty"`
	ID          string            `json:"id,omitempty"`      // a ULID; made by the daemon if absent
	Version     int               `json:"version,omitempty"` // of the workflow; 0: the newest
	Labels      map[string]string `json:"labels,omitempty"`
	Budget      any               `json:"budget,omitempty"`
	Breakpoints []string          `json:"breakpoints,omitempty"` // where it is paused, as "node=review"
}

func runPath(id, rest string) string { return "/v1/runs/" + url.PathEscape(id) + rest }

// Start starts a run of a workflow, and returns it as it stands.
func (c *Client) Start(ctx context.Context, workflow string, s Start, options ...CallOption) (*Run, error) {
	return c.changeRun(ctx, Request{Path: "/v1/workflows/" + url.PathEscape(workflow) + "/runs", In: s}, options)
}

// Run returns a run as it stands.
func (c *Client) Run(ctx context.Context, id string) (*Run, error) {
	return c.run(ctx, Request{Path: runPath(id, "")})
}

func (c *Client) run(ctx context.Context, r Request) (*Run, error) {
	raw, err := c.raw(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &Run{}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, err
	}
	out.Raw = raw
	return out, nil
}

func (c *Client) changeRun(ctx context.Context, r Request, options []CallOption) (*Run, error) {
	out := &Run{}
	if err := c.change(ctx, r, &out.Raw, options); err != nil {
		return nil, err
	}
	return out, json.Unmarshal(out.Raw, out)
}

// pollTime is how long one request waits for a run.
const pollTime = 30 * time.Second

// Wait waits until a run has ended or is paused, and returns it. A daemon that is
// restarted meanwhile takes its runs up, and is waited for as [Patience] says.
func (c *Client) Wait(ctx context.Context, id string) (*Run, error) {
	return c.wait(ctx, id, url.Values{"wait": {pollTime.String()}}, (*Run).Settled)
}

// WaitIdle is Wait, and returns too when only somebody outside can move the run: a
// person or, for an engine that no worker can reach, a worker.
func (c *Client) WaitIdle(ctx context.Context, id string) (*Run, error) {
	q := url.Values{"wait": {pollTime.String()}, "until": {"idle"}}
	return c.wait(ctx, id, q, func(r *Run) bool { return r.Settled() || r.Idle })
}

func (c *Client) wait(ctx context.Context, id string, q url.Values, done func(*Run) bool) (*Run, error) {
	for {
		r, err := c.run(ctx, Request{Path: runPath(id, ""), Query: q})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil || done(r) {
			return r, err
		}
	}
}

// RunFilter is which runs are listed. The zero value is all.
type RunFilter struct {
	Status   string
	Workflow string            // letter case, - and _ alike
	Labels   map[string]string // all of which a run has
}

// Runs lists runs, newest first. The list ends at the first error.
func (c *Client) Runs(ctx context.Context, f RunFilter) iter.Seq2[Row, error] {
	q := url.Values{}
	if f.Status != "" {
		q.Set("status", f.Status)
	}
	if f.Workflow != "" {
		q.Set("workflow", f.Workflow)
	}
	for k, v := range f.Labels {
		q.Add("label", k+"="+v)
	}
	return listed[Row](ctx, c, "/v1/runs", q)
}

// Inbox lists the questions that wait for an answer, newest first; of one run if run is
// not empty.
func (c *Client) Inbox(ctx context.Context, run string) iter.Seq2[Input, error] {
	q := url.Values{}
	if run != "" {
		q.Set("run", run)
	}
	return listed[Input](ctx, c, "/v1/inbox", q)
}

// Workers lists the workers that have polled lately.
func (c *Client) Workers(ctx context.Context) iter.Seq2[Worker, error] {
	return listed[Worker](ctx, c, "/v1/workers", url.Values{})
}

// listed reads a list page by page.
func listed[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			var page List[T]
			if err := c.call(ctx, Request{Path: path, Query: q}, &page); err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for i := range page.Items {
				if !yield(page.Items[i], nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Set("cursor", page.Next)
		}
	}
}

// State returns a run's state at a position: "412" a seq, "v12" a version of the run,
// "node#2" the end of a visit, "" now.
func (c *Client) State(ctx context.Context, id, at string) (*State, error) {
	q := url.Values{}
	if at != "" {
		q.Set("at", at)
	}
	s := &State{}
	return s, c.call(ctx, Request{Path: runPath(id, "/state"), Query: q}, s)
}

func (c *Client) command(ctx context.Context, id, name string, body any, options []CallOption) (*Run, error) {
	return c.changeRun(ctx, Request{Path: runPath(id, "/"+name), In: body}, options)
}

// Signal sends a run a signal. One that comes early is kept until the run waits for it.
func (c *Client) Signal(ctx context.Context, id, name string, value any, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "signal", map[string]any{"name": name, "value": value}, options)
}

// Answer answers the question that a node of a run asks; "" is the only one that is
// open. The value has to fit the question's form.
func (c *Client) Answer(ctx context.Context, id, node string, value any, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "answer", map[string]any{"node": node, "value": value}, options)
}

type reason struct {
	Reason string `json:"reason,omitempty"`
}

// Pause lets a run start nothing more until it is resumed.
func (c *Client) Pause(ctx context.Context, id, why string, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "pause", reason{why}, options)
}

// Resume lets a paused run go on.
func (c *Client) Resume(ctx context.Context, id, why string, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "resume", reason{why}, options)
}

// Cancel ends a run.
func (c *Client) Cancel(ctx context.Context, id, why string, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "cancel", reason{why}, options)
}

// Retry lets a failed run try again what failed, or go on from just before a visit,
// as "review" or "review#2".
func (c *Client) Retry(ctx context.Context, id, from string, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "retry", map[string]any{"from": from}, options)
}

// Checkpoints lists the positions that a run can be restored to, newest first: the last
// automatic ones, up to keep, and those that have a name.
func (c *Client) Checkpoints(ctx context.Context, id string, keep int) ([]Checkpoint, error) {
	var list List[Checkpoint]
	err := c.call(ctx, Request{Path: runPath(id, "/checkpoints"), Query: url.Values{"keep": {strconv.Itoa(keep)}}}, &list)
	return list.Items, err
}

// Checkpoint gives the present position of a run a name.
func (c *Client) Checkpoint(ctx context.Context, id, name string, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "checkpoint", map[string]any{"name": name}, options)
}

// Restore has a run go on from a checkpoint: its name, or a position as State takes it.
func (c *Client) Restore(ctx context.Context, id, to string, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "restore", map[string]any{"to": to}, options)
}

// Fork is where a fork begins, and what is different in it.
type Fork struct {
	At       string            `json:"at,omitempty"`       // a position, as State takes it; "": where the run stands
	Workflow string            `json:"workflow,omitempty"` // go on under this definition
	Version  int               `json:"version,omitempty"`
	Input    any               `json:"input,omitempty"`
	Set      map[string]any    `json:"set,omitempty"` // state as the fork begins
	Labels   map[string]string `json:"labels,omitempty"`
	Pause    bool              `json:"pause,omitempty"`
}

// Fork starts a run where this one stood. What it had completed is not done again.
func (c *Client) Fork(ctx context.Context, id string, f Fork, options ...CallOption) (*Run, error) {
	return c.command(ctx, id, "fork", f, options)
}

// Registered is a definition that was registered.
type Registered struct {
	Name     string   `json:"name"`
	Version  int      `json:"version"`
	Hash     string   `json:"hash"`
	Warnings []Defect `json:"warnings"`
}

// Register registers a definition, YAML or JSON, as the next version of its name; one
// that is the newest already stays that. file is what defects call it.
func (c *Client) Register(ctx context.Context, file string, text []byte) (*Registered, error) {
	r := &Registered{}
	return r, c.call(ctx, Request{Path: "/v1/workflows", Query: url.Values{"file": {file}}, In: text, Type: "application/yaml"}, r)
}

// Definition returns a version of a workflow with its text; 0 is the newest.
func (c *Client) Definition(ctx context.Context, name string, version int) (*Definition, error) {
	d := &Definition{}
	return d, c.call(ctx, Request{Path: "/v1/workflows/" + url.PathEscape(name), Query: url.Values{"version": {strconv.Itoa(version)}}}, d)
}

// RunError is a run that did not complete.
type RunError struct{ Run *Run }

func (e *RunError) Error() string {
	return fmt.Sprintf("run %s is %s: %s", e.Run.ID, e.Run.Status, e.Run.Why)
}

// Err returns nil for a run that completed, else a *RunError.
func (r *Run) Err() error {
	if r.Status == "completed" {
		return nil
	}
	return &RunError{r}
}
