package workertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/wfd-dev/wfd/client"
)

// checks are what a right worker passes, in the order in which they are made.
var checks = []struct {
	name, what string
	run        func(*trial, context.Context) error
}{
	{"poll", "asks for tasks of WFD_HANDLER from WFD_QUEUE at WFD_ADDR, with WFD_TOKEN", (*trial).polls},
	{"result", "hands in what the handler returns", echoes(func() any { return map[string]any{"a": []any{1.5, nil, true, ""}} })},
	{"unicode", "keeps every character", echoes(func() any {
		return map[string]any{"kéy \u2028": "añ\u00df \u0301 日本 🦀👩‍👧 \"\\\n\t\x7f\u202e</script> $HOME `x` %s"}
	})},
	{"huge", "takes an input of 4 MiB and hands it in", echoes(func() any { return strings.Repeat("0123456789abcde\n", 1<<18) })},
	{"failure", "says with which class and message a task failed", (*trial).fails},
	{"unanswered", "sends the same again when the answer to complete is lost", (*trial).repeats},
	{"unavailable", "sends complete again, after a while, when the daemon cannot take it", (*trial).insists},
	{"refused", "goes on after a result was refused for what it is", (*trial).isRefused},
	{"slow", "renews its lease while the handler is at work", (*trial).isSlow},
	{"lost", "drops a task that somebody else has (409), and goes on", (*trial).loses},
	{"cancelled", "drops a task that is not wanted any more, and goes on", (*trial).isCancelled},
	{"checkpoint", "leaves checkpoints behind, and begins at the one that it is handed", (*trial).resumes},
	{"sigterm", "gives its task back at SIGTERM, takes no other, and ends", (*trial).releases},
	{"idle", "ends at SIGTERM while it waits for tasks", (*trial).endsIdle},
	{"restart", "outlives a restart of the daemon, at work and while it waits", (*trial).outlives},
	{"busy", "asks again, after a while, when the daemon has too much to do", (*trial).isPatient},
}

// input is what the handler is to do.
type input struct {
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"`
	Echo    any     `json:"echo"`
	Fail    any     `json:"fail"`
}

// long is more than any check waits for.
var long = input{Steps: 200, Seconds: 0.3}

// start starts a run whose task is for the worker.
func (t *trial) start(ctx context.Context, in input) (id string, err error) {
	id = ulid.Make().String()
	return id, t.startAs(ctx, id, in)
}

func (t *trial) startAs(ctx context.Context, id string, in input) error {
	t.runs = append(t.runs, id)
	_, err := t.c.Start(ctx, "worker-test", client.Start{ID: id, Input: in})
	return err
}

// of is a condition on calls about a run's task.
func of(run, verb string, more ...func(*call) bool) func(*call) bool {
	return func(c *call) bool {
		if c.verb != verb || !strings.HasPrefix(c.task, run+".") {
			return false
		}
		for _, f := range more {
			if !f(c) {
				return false
			}
		}
		return true
	}
}

func accepted(c *call) bool { return c.status == 200 }

func withCheckpoint(c *call) bool {
	return len(c.body["checkpoint"]) > 0 && string(c.body["checkpoint"]) != "null"
}

// settles waits for a run to end, and returns it.
func (t *trial) settles(ctx context.Context, id string, within time.Duration) (*client.Run, error) {
	waits, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	r, err := t.c.Wait(waits, id)
	switch {
	case err == nil:
		return r, nil
	case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return nil, err
	}
	if r, err = t.c.Run(ctx, id); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("a task is not done after %s: %s", within, r.Why)
}

// completes waits for a run to complete, and returns what the handler handed in.
func (t *trial) completes(ctx context.Context, id string, within time.Duration) (echo any, began int, err error) {
	r, err := t.settles(ctx, id, within)
	if err != nil {
		return nil, 0, err
	}
	if err := r.Err(); err != nil {
		return nil, 0, fmt.Errorf("the task was not completed: %s", r.Why)
	}
	var out *struct {
		Echo  any  `json:"echo"`
		Began *int `json:"began"`
	}
	if err := json.Unmarshal(r.Output, &out); err != nil || out == nil || out.Began == nil {
		return nil, 0, fmt.Errorf(`the result is %s, want {"echo": …, "began": 0}`, clip(r.Output))
	}
	return out.Echo, *out.Began, nil
}

func clip(b []byte) string {
	if len(b) > 200 {
		return string(b[:200]) + "…"
	}
	return string(b)
}

// goesOn has the worker do one more task.
func (t *trial) goesOn(ctx context.Context) error {
	id, err := t.start(ctx, input{})
	if err != nil {
		return err
	}
	if _, _, err := t.completes(ctx, id, t.o.Wait); err != nil {
		return fmt.Errorf("afterwards it does not do the next task: %w", err)
	}
	return nil
}

func (t *trial) polls(ctx context.Context) error {
	right := func(c *call) bool {
		var handlers, queues []string
		json.Unmarshal(c.body["handlers"], &handlers)
		json.Unmarshal(c.body["queues"], &queues)
		return c.verb == "poll" && c.status != 401 && slices.Contains(handlers, t.o.Handler) && slices.Contains(queues, queue)
	}
	if t.until(ctx, t.o.Wait, right) != nil {
		// A poll that waits has no status yet: one without the token is answered at once.
		time.Sleep(100 * time.Millisecond)
		for _, c := range t.said("poll") {
			if right(c) && c.status != 0 && c.status != 200 {
				return fmt.Errorf("its poll is answered with %d: %s", c.status, clip(c.answer))
			}
			if right(c) {
				return nil
			}
		}
	}
	polls := t.said("poll")
	switch {
	case len(polls) == 0 && t.proc.gone():
		return errors.New("it ended before it asked for tasks")
	case len(polls) == 0:
		return fmt.Errorf("it has not asked for tasks within %s: POST $WFD_ADDR/v1/tasks/poll", t.o.Wait)
	case polls[0].status == 401:
		return errors.New("it asks without the token, or with a wrong one: send Authorization: Bearer $WFD_TOKEN")
	}
	return fmt.Errorf("it asks for handlers %s of queues %s, want %s of %s", polls[0].body["handlers"], polls[0].body["queues"], t.o.Handler, queue)
}

// echoes is a check that a value comes back as it is.
func echoes(of func() any) func(*trial, context.Context) error {
	return func(t *trial, ctx context.Context) error {
		v := of()
		id, err := t.start(ctx, input{Echo: v})
		if err != nil {
			return err
		}
		echo, began, err := t.completes(ctx, id, t.o.Wait)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(echo, v) {
			have, _ := json.Marshal(echo)
			sent, _ := json.Marshal(v)
			return fmt.Errorf("it was given %s and handed in %s", clip(sent), clip(have))
		}
		if began != 0 {
			return fmt.Errorf("it was handed no checkpoint, and says that it began at step %d", began)
		}
		return nil
	}
}

func (t *trial) fails(ctx context.Context) error {
	const class, message = "auth", "no key für “x”\nin line 2"
	id, err := t.start(ctx, input{Fail: map[string]string{"class": class, "message": message}})
	if err != nil {
		return err
	}
	r, err := t.settles(ctx, id, t.o.Wait)
	if err != nil {
		return err
	}
	if r.Error == nil || r.Error.Class != class || r.Error.Message != message {
		return fmt.Errorf("the run is %s with %+v, want it failed with %s: %q", r.Status, r.Error, class, message)
	}
	return nil
}

// nth is a rule for the first n times that a verb is said about a run's task.
func nth(run, verb string, n int, v verdict) rule {
	return func(c *call) verdict {
		if n > 0 && of(run, verb)(c) {
			n--
			return v
		}
		return verdict{}
	}
}

// hindered starts a short task, of which the first n completes are hindered.
func (t *trial) hindered(ctx context.Context, n int, v verdict) (string, error) {
	id := ulid.Make().String()
	t.setRule(nth(id, "complete", n, v))
	return id, t.startAs(ctx, id, input{Echo: "once"})
}

func answered(c *call) bool { return c.status != 0 }

func (t *trial) repeats(ctx context.Context) error {
	id, err := t.hindered(ctx, 1, verdict{drop: true})
	if err != nil {
		return err
	}
	switch c := t.untilN(ctx, t.o.Wait, 2, of(id, "complete", answered)); {
	case len(c) == 0:
		return errors.New("it did not complete its task")
	case len(c) == 1:
		return fmt.Errorf("it did not send complete again within %s", t.o.Wait)
	case c[1].status != 200:
		return fmt.Errorf("what it sent again is not the same: it is answered with %d: %s", c[1].status, clip(c[1].answer))
	}
	return t.goesOn(ctx)
}

func (t *trial) insists(ctx context.Context) error {
	id, err := t.hindered(ctx, 2, verdict{refuse: 503, slug: "stopped"})
	if err != nil {
		return err
	}
	_, _, err = t.completes(ctx, id, t.o.Wait)
	if lost, e := t.losses(ctx, id); e != nil || lost > 0 {
		return errors.Join(e, errors.New("it did not send complete again, and its lease passed"))
	}
	if err != nil {
		return err
	}
	c := t.untilN(ctx, t.o.Wait, 3, of(id, "complete")) // there may be one of the check before
	if len(c) < 3 {
		return fmt.Errorf("it sent complete %d times, want 3", len(c))
	}
	if gap := c[1].at.Sub(c[0].at); gap < 400*time.Millisecond {
		return fmt.Errorf("it sent complete again after %s, though it was asked to wait a second", gap.Round(time.Millisecond))
	}
	return t.goesOn(ctx)
}

func (t *trial) isRefused(ctx context.Context) error {
	id, err := t.hindered(ctx, 1000, verdict{refuse: 422, slug: "invalid"})
	if err != nil {
		return err
	}
	if t.until(ctx, t.o.Wait, of(id, "complete", answered)) == nil {
		return errors.New("it did not complete its task")
	}
	if err := t.goesOn(ctx); err != nil {
		return err
	}
	if n := len(t.untilN(ctx, 0, 0, of(id, "complete"))); n > 3 {
		return fmt.Errorf("it sent %d times what is refused with 422", n)
	}
	return nil
}

func (t *trial) isSlow(ctx context.Context) error {
	id, err := t.start(ctx, input{Steps: 1, Seconds: 2.5 * lease.Seconds()})
	if err != nil {
		return err
	}
	r, err := t.settles(ctx, id, 3*lease+t.o.Wait)
	beats := len(t.said("heartbeat"))
	if lost, e := t.losses(ctx, id); e != nil || lost > 0 {
		return errors.Join(e, fmt.Errorf("it let its lease of %s pass during a task of %gs: %d heartbeats came; send one every third of the task's lease", lease, 2.5*lease.Seconds(), beats))
	}
	if err != nil {
		return err
	}
	return r.Err()
}

// losses counts how often a run's attempts were lost.
func (t *trial) losses(ctx context.Context, id string) (n int, err error) {
	for _, err := range t.c.Events(ctx, id, client.Follow{Kinds: []string{"node.lost"}, Stop: true}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// atWork starts a long task and waits until the worker has left a checkpoint of it.
func (t *trial) atWork(ctx context.Context, in input) (id string, beat *call, err error) {
	if id, err = t.start(ctx, in); err != nil {
		return "", nil, err
	}
	if beat = t.until(ctx, t.o.Wait, of(id, "heartbeat", accepted, withCheckpoint)); beat == nil {
		return "", nil, fmt.Errorf("it left no checkpoint within %s: send what the handler has done with the next heartbeat", t.o.Wait)
	}
	return id, beat, nil
}

func (t *trial) loses(ctx context.Context) error {
	id, err := t.start(ctx, long)
	if err != nil {
		return err
	}
	had := t.until(ctx, t.o.Wait, func(c *call) bool { return c.verb == "poll" && given(c, id) })
	if had == nil {
		return errors.New("it does not take the task")
	}
	// Nothing it says reaches the daemon until somebody else has the task.
	t.setRule(func(c *call) verdict { return verdict{refuse: 503, slug: "starting"} })
	var other struct{ Tasks []struct{ ID, Token string } }
	poll := map[string]any{"worker": "another", "handlers": []string{t.o.Handler}, "queues": []string{queue}, "wait": min(lease+t.o.Wait, time.Minute).String()}
	if err := t.c.Get(ctx, client.Request{Path: "/v1/tasks/poll", In: poll}, &other); err != nil {
		return err
	}
	if len(other.Tasks) != 1 {
		return fmt.Errorf("its lease did not pass within %s", lease+t.o.Wait)
	}
	t.setRule(nil)
	told := t.until(ctx, t.o.Wait, func(c *call) bool { return c.status == 409 })
	if told == nil {
		return errors.New("it said nothing more about its task: send heartbeats until the task is done")
	}
	if err := t.goesOn(ctx); err != nil {
		return err
	}
	for _, c := range t.said() {
		if c.task == told.task && c.token() == told.token() && c.at.After(told.at.Add(time.Second)) {
			return fmt.Errorf("it sent %s about the task %s after it was told that it has lost it", c.verb, c.at.Sub(told.at).Round(time.Millisecond))
		}
	}
	task := other.Tasks[0]
	err = t.c.Get(ctx, client.Request{Path: "/v1/tasks/" + task.ID + "/complete", In: map[string]any{"token": task.Token, "result": "of another"}}, &struct{}{})
	if err == nil {
		var r *client.Run
		if r, err = t.settles(ctx, id, t.o.Wait); err == nil && string(r.Output) != `"of another"` {
			err = fmt.Errorf("the result is %s", clip(r.Output))
		}
	}
	return err
}

// given reports whether a poll was answered with a run's task.
func given(c *call, run string) bool {
	for _, raw := range c.given {
		var task struct{ Run string }
		if json.Unmarshal(raw, &task) == nil && task.Run == run {
			return true
		}
	}
	return false
}

func (t *trial) isCancelled(ctx context.Context) error {
	id, _, err := t.atWork(ctx, long)
	if err != nil {
		return err
	}
	if _, err := t.c.Cancel(ctx, id, "worker-test"); err != nil {
		return err
	}
	return t.goesOn(ctx)
}

func (t *trial) resumes(ctx context.Context) error {
	id, _, err := t.atWork(ctx, input{Steps: 12, Seconds: 0.25})
	if err != nil {
		return err
	}
	t.proc.kill()
	var left json.RawMessage
	for _, c := range t.said("heartbeat") {
		if of(id, "heartbeat", accepted, withCheckpoint)(c) {
			left = c.body["checkpoint"]
		}
	}
	if err := t.begin(); err != nil {
		return err
	}
	_, began, err := t.completes(ctx, id, 12*250*time.Millisecond+lease+t.o.Wait)
	if err != nil {
		return err
	}
	if began == 0 {
		return fmt.Errorf("it was killed after it had left the checkpoint %s, and then began at step 0: begin at the task's checkpoint", clip(left))
	}
	return nil
}

func (t *trial) releases(ctx context.Context) error {
	id, _, err := t.atWork(ctx, long)
	if err != nil {
		return err
	}
	told := time.Now()
	t.proc.signal(syscall.SIGTERM)
	if !t.proc.ends(ctx, t.o.Wait) {
		return fmt.Errorf("it has not ended %s after SIGTERM", t.o.Wait)
	}
	for _, c := range t.said("poll") {
		if c.at.After(told.Add(100 * time.Millisecond)) {
			return errors.New("it asked for another task after SIGTERM")
		}
	}
	if t.until(ctx, 0, func(c *call) bool { return of(id, "release", accepted)(c) || of(id, "complete", accepted)(c) }) == nil {
		return fmt.Errorf("it ended without a word about its task: release it, else it is lost for as long as its lease of %s lasts", lease)
	}
	return t.again()
}

// waits reports whether a call is a poll that waits.
func waits(c *call) bool { return c.verb == "poll" && c.status == 0 }

func (t *trial) endsIdle(ctx context.Context) error {
	if t.until(ctx, t.o.Wait, waits) == nil {
		return errors.New("it does not wait for tasks: poll with a wait")
	}
	t.proc.signal(syscall.SIGTERM)
	if !t.proc.ends(ctx, t.o.Wait) {
		return fmt.Errorf("it has not ended %s after SIGTERM", t.o.Wait)
	}
	return t.again()
}

// again starts a worker that has ended as it should.
func (t *trial) again() error {
	t.proc = nil
	return t.begin()
}

// away is how long the daemon is gone.
const away = 1500 * time.Millisecond

func (t *trial) outlives(ctx context.Context) error {
	restart := func() error {
		if err := t.down(); err != nil {
			return err
		}
		time.Sleep(away)
		return t.up(ctx)
	}
	id, err := t.start(ctx, input{Steps: 1, Seconds: 1})
	if err != nil {
		return err
	}
	if t.until(ctx, t.o.Wait, func(c *call) bool { return c.verb == "poll" && given(c, id) }) == nil {
		return errors.New("it does not take the task")
	}
	if err := restart(); err != nil {
		return err
	}
	if _, _, err := t.completes(ctx, id, lease+t.o.Wait); err != nil {
		return fmt.Errorf("its task ended while the daemon was away: %w", err)
	}
	if lost, err := t.losses(ctx, id); err != nil || lost > 0 {
		return errors.Join(err, errors.New("its task ended while the daemon was away, and was lost: send complete until it is answered"))
	}
	if err := restart(); err != nil {
		return err
	}
	return t.goesOn(ctx)
}

func (t *trial) isPatient(ctx context.Context) error {
	const busy = 3 * time.Second
	if t.until(ctx, t.o.Wait, waits) == nil {
		return errors.New("it does not wait for tasks: poll with a wait")
	}
	t.setRule(func(c *call) verdict {
		if c.verb == "poll" {
			return verdict{refuse: 429, slug: "busy"}
		}
		return verdict{}
	})
	// The poll that waits already is answered by a task.
	if err := t.goesOn(ctx); err != nil {
		return err
	}
	began := time.Now()
	time.Sleep(busy)
	n := len(t.untilN(ctx, 0, 0, func(c *call) bool { return c.verb == "poll" && c.at.After(began) }))
	t.setRule(nil)
	if n > 8 {
		return fmt.Errorf("it asked %d times in %s, though it was told to wait a second", n, busy)
	}
	return t.goesOn(ctx)
}
