package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// What workers say about the tasks they hold. All of it goes with a token, which says
// which attempt it is about; whether that attempt counts is decided by the run, in the
// same append that records what was said.

// A StaleError refuses what was said about an attempt that no longer counts, or by
// somebody who never had it.
type StaleError struct {
	Task lease.ID
	Why  string
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("task %s is not yours any more: %s", e.Task, e.Why)
}

// TaskRef names a task that a worker says it holds.
type TaskRef struct {
	Namespace event.Namespace // of whoever says so
	ID        string
	Token     string
}

// claimed is a TaskRef that is good: its token was handed out.
type claimed struct {
	id lease.ID
	lease.Claim
}

// claim returns what a token says. That tells nothing of whether the attempt counts.
func (e *Engine) claim(ref TaskRef) (c claimed, err error) {
	if c.id, err = lease.ParseID(ref.ID); err != nil {
		return c, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if n, err := e.NamespaceOf(c.id.Run); err == nil && n != ref.Namespace {
		return c, &StaleError{c.id, lease.ErrToken.Error()} // as of one that is not there
	}
	if c.Claim, err = e.sched.leases.book.Claim(c.id, ref.Token); err != nil {
		return c, &StaleError{c.id, err.Error()}
	}
	e.sched.workers.seen(who{ref.Namespace, c.Worker})
	return c, nil
}

// actor is who a worker is in events: its name, and how it came in.
func (c *claimed) actor(by By) string {
	_, how, _ := strings.Cut(by.Actor, ":")
	return strings.TrimSuffix("worker:"+c.Worker+"@"+how, "@")
}

// stale returns why an attempt does not count, "" if it does. It may be called with any
// state of the run.
func (e *Engine) stale(s *run.State, w *workflow.Workflow, id lease.ID, number int) string {
	v := s.Live[id.Node]
	switch {
	case s.Status.Terminal():
		return "the run is " + string(s.Status)
	case v == nil || v.Visit != id.Visit:
		return fmt.Sprintf("visit %d of node %s has ended", id.Visit, id.Node)
	case v.Attempt > number:
		return fmt.Sprintf("attempt %d has taken the place of attempt %d", v.Attempt, number)
	case v.Status != run.NodeRunning || v.Attempt != number:
		return fmt.Sprintf("attempt %d has ended", number)
	case !e.remote(w, machine.NodeOf(w, v)):
		return fmt.Sprintf("node %s is not done by workers here", id.Node)
	}
	return ""
}

// jobOf returns the job of an attempt that counts, or a StaleError.
func (e *Engine) jobOf(ctx context.Context, id lease.ID, number int) (j *job, err error) {
	why := ""
	err = e.look(ctx, id.Run, func(s *run.State, w *workflow.Workflow) {
		if why = e.stale(s, w, id, number); why == "" {
			j = e.forWorkers(s, w, s.Live[id.Node])
			j.parked = s.Status == run.Paused
		}
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, &StaleError{id, "there is no such run any more"}
	case err == nil && why != "":
		return nil, &StaleError{id, why}
	}
	return j, err
}

// Beat is what a worker says while it works.
type Beat struct {
	TaskRef
	Lease      time.Duration // 0 = as before
	Checkpoint event.Value   // none: as before
	Progress   *string       // nil: as before
}

// Beaten is the answer to a Beat.
type Beaten struct {
	Status   string     `json:"status" enum:"running,paused,cancelled" doc:"running: go on. paused: the run is; go on, or release the task. cancelled: stop; nobody waits for a result"`
	Until    event.Time `json:"lease_until"`
	Deadline event.Time `json:"deadline,omitzero"`
}

func (b *Beat) check() error {
	if b.Lease != 0 {
		if err := checkLease(b.Lease); err != nil {
			return err
		}
	}
	if b.Progress != nil && len(*b.Progress) > MaxProgress {
		return fmt.Errorf("%w: progress has %d bytes, the limit is %d", machine.ErrInvalid, len(*b.Progress), MaxProgress)
	}
	return checkCheckpoint(b.Checkpoint)
}

func checkCheckpoint(v event.Value) error {
	if len(v) > MaxCheckpoint {
		return fmt.Errorf("%w: checkpoint has %d bytes, the limit is %d: keep it elsewhere, and say where", machine.ErrInvalid, len(v), MaxCheckpoint)
	}
	return nil
}

// Heartbeat renews a worker's lease on a task. Its checkpoint is handed to the next
// attempt, should this one be lost or fail; nothing of it is written to the log.
func (e *Engine) Heartbeat(ctx context.Context, b Beat) (Beaten, error) {
	if err := b.check(); err != nil {
		return Beaten{}, err
	}
	c, err := e.claim(b.TaskRef)
	if err != nil {
		return Beaten{}, err
	}
	if err := e.cleanBeat(&b); err != nil {
		return Beaten{}, err
	}
	for range 2 {
		beaten, known, err := e.sched.renew(&c, &b)
		if known || err != nil {
			return beaten, err
		}
		// Nothing is known of it here, after a restart. It is the worker's if nobody else
		// was given it since.
		j, err := e.jobOf(ctx, c.id, c.Attempt)
		if err != nil {
			return beaten, err
		}
		now := e.now()
		l := lease.Lease{Task: c.id, Claim: c.Claim, Length: DefaultLease, Since: now}
		if j.task.Timeout > 0 {
			l.Deadline = now + event.Time(j.task.Timeout)
		}
		if e.sched.adopt(j, l) {
			e.sched.leases.book.Put(l)
		}
	}
	return Beaten{}, &StaleError{c.id, "it was handed to another worker"}
}

// cleanBeat takes secrets out of what a worker says.
func (e *Engine) cleanBeat(b *Beat) (err error) {
	r := e.opt.Secrets.Redactor()
	if b.Checkpoint, err = e.cleanValue(b.Checkpoint); err == nil && b.Progress != nil {
		text := r.Text(*b.Progress)
		b.Progress = &text
	}
	return err
}

// cleanValue takes secrets out of a checkpoint; null is none.
func (e *Engine) cleanValue(v event.Value) (event.Value, error) {
	if bytes.Equal(v, event.Null) {
		return nil, nil
	}
	r := e.opt.Secrets.Redactor()
	if len(v) == 0 || r == nil {
		return v, nil
	}
	x, err := v.Any()
	if err != nil {
		return nil, err
	}
	return event.ValueOf(r.Value(x))
}

// renew renews a lease. known is false if no worker holds the attempt here, nor has
// another taken its place.
func (s *scheduler) renew(c *claimed, b *Beat) (beaten Beaten, known bool, err error) {
	s.mu.Lock()
	j := s.jobs[attempt{c.id.Run, c.id.Node, c.id.Visit}]
	if j == nil || j.task.Attempt == c.Attempt && j.hold == nil {
		s.mu.Unlock()
		return beaten, false, nil
	}
	h := j.hold
	switch {
	case j.task.Attempt != c.Attempt:
		err = &StaleError{c.id, fmt.Sprintf("attempt %d has taken the place of attempt %d", j.task.Attempt, c.Attempt)}
	case h.Worker != c.Worker || h.resting:
		err = &StaleError{c.id, "it was handed to another worker"}
	case h.ending:
		err = &StaleError{c.id, "its lease, or its time, has passed"}
	}
	if err != nil {
		s.mu.Unlock()
		return beaten, true, err
	}
	if b.Lease != 0 {
		h.Length = b.Lease
	}
	if b.Progress != nil {
		h.progress = *b.Progress
	}
	noted := b.Lease != 0 || len(b.Checkpoint) > 0
	if len(b.Checkpoint) > 0 {
		h.Checkpoint = b.Checkpoint
	}
	h.until = s.e.opt.Now().Add(h.Length)
	s.lookBy(h.until)
	beaten = Beaten{Status: "running", Until: event.At(h.until), Deadline: h.Deadline}
	over, l := h.over, h.Lease
	switch {
	case over:
		beaten.Status = "cancelled"
	case h.paused:
		beaten.Status = "paused"
	}
	s.mu.Unlock()
	switch {
	case over:
		s.abandon(j) // it knows now
	case noted:
		s.leases.book.Renew(l)
	}
	return beaten, true, nil
}

// Outcome is what became of an attempt whose end a worker has reported.
type Outcome struct {
	Status string         `json:"status" enum:"completed,failed,released,held" doc:"what was recorded; held: somebody is asked about the result before it counts"`
	Error  *event.Failure `json:"error,omitempty" doc:"of a failed attempt; a result that is not as the node expects it is one"`
	// Repeated says that it was recorded before.
	Repeated bool `json:"repeated,omitempty" doc:"it was recorded before"`
}

// Complete hands in the result of a task. It returns once that is on disk. The same
// result again, with the same token, is recorded once; another is refused with a
// StaleError, as is any of an attempt that no longer counts.
func (e *Engine) Complete(ctx context.Context, ref TaskRef, a agent.Answer, by By) (Outcome, error) {
	return e.handIn(ctx, ref, a, nil, by)
}

// Fail is Complete for a task that could not be done; a.Failure says why.
func (e *Engine) Fail(ctx context.Context, ref TaskRef, a agent.Answer, checkpoint event.Value, by By) (Outcome, error) {
	if err := checkCheckpoint(checkpoint); err != nil {
		return Outcome{}, err
	}
	if n := len(a.Failure.Message); n > MaxReason {
		return Outcome{}, fmt.Errorf("%w: message has %d bytes, the limit is %d", machine.ErrInvalid, n, MaxReason)
	}
	return e.handIn(ctx, ref, a, checkpoint, by)
}

func (e *Engine) handIn(ctx context.Context, ref TaskRef, a agent.Answer, checkpoint event.Value, by By) (Outcome, error) {
	c, err := e.claim(ref)
	if err != nil {
		return Outcome{}, err
	}
	a.Redact(e.opt.Secrets.Redactor())
	a.Set = agent.Settable(a.Set)
	a.Usage = e.priced(a.Usage, nil)
	r, err := result(&agent.Task{Node: c.id.Node, Visit: c.id.Visit, Attempt: c.Attempt}, &a)
	if err != nil {
		return Outcome{}, fmt.Errorf("%w: %w", machine.ErrInvalid, err)
	}
	if a.Failure != nil && a.Failure.After > 0 {
		r.After = e.now() + event.Time(a.Failure.After)
	}
	if r.Failure != nil {
		if r.Checkpoint, err = e.cleanValue(checkpoint); err != nil {
			return Outcome{}, err
		}
		if len(r.Checkpoint) == 0 {
			r.Checkpoint = e.sched.leftBy(&c)
		}
	}
	r.Fenced = true
	var o Outcome
	err = e.conclude(ctx, &c, r, by, func(s *run.State, _ *workflow.Workflow) { o = outcomeOf(s, &r) })
	switch {
	case errors.Is(err, machine.ErrRefused):
		return e.late(ctx, &c, &r, by)
	case errors.Is(err, ErrNotFound):
		return o, e.staleNow(ctx, &c)
	}
	return o, err
}

// conclude has the run record what ends the attempt of a task, or refuse it.
func (e *Engine) conclude(ctx context.Context, c *claimed, cmd machine.Command, by By, view func(*run.State, *workflow.Workflow)) error {
	j := e.sched.handingIn(c)
	err := e.runs.do(ctx, c.id.Run, &request{meta: machine.Meta{At: e.now(), Actor: c.actor(by)}, cmd: cmd, view: view})
	if j != nil {
		e.sched.handedIn(j, err == nil || refusal(err) || errors.Is(err, ErrNotFound))
	}
	return err
}

// handingIn notes that what ends an attempt is on its way to the run, so that the
// lease does not pass meanwhile. It returns the job; nil if it is not known here.
func (s *scheduler) handingIn(c *claimed) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[attempt{c.id.Run, c.id.Node, c.id.Visit}]
	if j == nil || j.task.Attempt != c.Attempt {
		return nil
	}
	if j.hold != nil {
		j.hold.handingIn++
	}
	return j
}

// handedIn notes that the attempt has ended; or else that it has not, and that the
// worker is there.
func (s *scheduler) handedIn(j *job, ended bool) {
	s.mu.Lock()
	if h := j.hold; h != nil {
		h.handingIn--
		if !ended {
			h.until = s.e.opt.Now().Add(h.Length)
		}
		s.lookBy(h.until)
	} else if ended {
		s.withdraw(j) // it waited: the book had lost the lease
	}
	s.mu.Unlock()
	if ended {
		s.letGo(j)
		s.forget(j)
	}
}

// leftBy returns the newest checkpoint of an attempt.
func (s *scheduler) leftBy(c *claimed) event.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[attempt{c.id.Run, c.id.Node, c.id.Visit}]; j != nil && j.task.Attempt == c.Attempt && j.hold != nil {
		return j.hold.Checkpoint
	}
	return nil
}

// outcomeOf returns what became of an attempt, from the run as it stands after it.
func outcomeOf(s *run.State, r *machine.Result) Outcome {
	if n := s.Nodes[r.Node]; n != nil && n.Failure != nil && n.Failure.Visit == r.Visit && n.Failure.Attempt == r.Attempt {
		f := *n.Failure
		return Outcome{Status: "failed", Error: &f}
	}
	if r.Failure != nil {
		return Outcome{Status: "failed", Error: r.Failure}
	}
	if v := s.Live[r.Node]; v != nil && v.Visit == r.Visit && v.Attempt == r.Attempt && v.Held != nil {
		return Outcome{Status: "held"}
	}
	return Outcome{Status: "completed"}
}

// late answers a worker whose attempt had ended before: what it says is what was
// recorded, or it comes too late, which is recorded once.
func (e *Engine) late(ctx context.Context, c *claimed, r *machine.Result, by By) (Outcome, error) {
	end, err := e.endOf(ctx, c)
	if err != nil {
		return Outcome{}, err
	}
	switch p := end.(type) {
	case *event.NodeCompleted:
		if r.Failure == nil && bytes.Equal(p.Result, r.Value) && sameSet(p, r.Set) {
			return Outcome{Status: "completed", Repeated: true}, nil
		}
	case *event.SecurityRequested:
		if r.Failure == nil && bytes.Equal(p.Result, r.Value) && sameSet(&event.NodeCompleted{Set: p.Set}, r.Set) {
			return Outcome{Status: "held", Repeated: true}, nil
		}
	case *event.NodeFailed:
		// A result that was not as expected is not in the log, only that it was not.
		if f := r.Failure; f == nil && p.Class == event.ClassInvalidOutput || f != nil && f.Class == p.Class && f.Message == p.Message {
			return Outcome{Status: "failed", Error: &p.Failure, Repeated: true}, nil
		}
	}
	if e.sched.ignoresFirst(c) {
		r.Fenced = false
		err := e.runs.do(ctx, c.id.Run, &request{meta: machine.Meta{At: e.now(), Actor: c.actor(by)}, cmd: *r})
		if err != nil {
			e.slog.Warn("a late result was not recorded", "task", c.id.String(), "error", err)
		}
	}
	return Outcome{}, e.staleNow(ctx, c)
}

// staleNow returns the StaleError of an attempt that does not count.
func (e *Engine) staleNow(ctx context.Context, c *claimed) error {
	_, err := e.jobOf(ctx, c.id, c.Attempt)
	if err == nil { // it counted for others, and counts again: nothing does that
		err = &StaleError{c.id, "it was refused"}
	}
	return err
}

func sameSet(p *event.NodeCompleted, set map[string]event.Value) bool {
	if len(p.Set)+len(p.Dropped) != len(set) {
		return false
	}
	for _, kv := range p.Set {
		if !bytes.Equal(kv.Value, set[kv.Key]) {
			return false
		}
	}
	for _, k := range p.Dropped {
		if _, ok := set[k]; !ok {
			return false
		}
	}
	return true
}

// maxIgnored bounds the attempts of which is known that a late result was recorded.
const maxIgnored = 4096

// ignoresFirst reports whether no late result of an attempt was recorded yet, as far as
// is remembered, and notes that one is.
func (s *scheduler) ignoresFirst(c *claimed) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ignored[*c] {
		return false
	}
	if len(s.ignored) >= maxIgnored {
		clear(s.ignored)
	}
	s.ignored[*c] = true
	return true
}

// endOf finds the event that ended an attempt, nil if there is none. It reads the run's
// events from the newest back; one at a time does, since it is for workers that repeat
// themselves.
func (e *Engine) endOf(ctx context.Context, c *claimed) (event.Payload, error) {
	e.looksBack.Lock()
	defer e.looksBack.Unlock()
	const page = 256
	top, err := e.log.Version(c.id.Run)
	for ; err == nil && top > 0 && ctx.Err() == nil; top -= min(top, page) {
		from := top - min(top, page)
		var events []eventlog.Event
		if events, err = e.log.ReadRun(c.id.Run, from, int(top-from)); err != nil {
			break
		}
		for i := len(events) - 1; i >= 0; i-- {
			if p, err := endsAttempt(events[i], c); p != nil || err != nil {
				return p, err
			}
		}
	}
	return nil, errors.Join(err, ctx.Err())
}

// endsAttempt returns an event's payload if it ends an attempt.
func endsAttempt(e eventlog.Event, c *claimed) (event.Payload, error) {
	switch e.Kind {
	case event.KindNodeCompleted, event.KindNodeFailed, event.KindNodeLost, event.KindSecurityRequested:
	default:
		return nil, nil
	}
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	is := func(node string, visit, attempt int) bool {
		return node == c.id.Node && visit == c.id.Visit && attempt == c.Attempt
	}
	switch q := p.(type) {
	case *event.NodeCompleted:
		if is(q.Node, q.Visit, q.Attempt) {
			return p, nil
		}
	case *event.NodeFailed:
		if is(q.Node, q.Visit, q.Attempt) {
			return p, nil
		}
	case *event.NodeLost:
		if is(q.Node, q.Visit, q.Attempt) {
			return p, nil
		}
	case *event.SecurityRequested:
		if is(q.Node, q.Visit, q.Attempt) {
			return p, nil
		}
	}
	return nil, nil
}

// Release gives a task back: it is offered to others at once, and does not count as an
// attempt. It returns once that is on disk.
func (e *Engine) Release(ctx context.Context, ref TaskRef, reason string, checkpoint event.Value, by By) (Outcome, error) {
	if n := len(reason); n > MaxReason {
		return Outcome{}, fmt.Errorf("%w: reason has %d bytes, the limit is %d", machine.ErrInvalid, n, MaxReason)
	}
	if err := checkCheckpoint(checkpoint); err != nil {
		return Outcome{}, err
	}
	c, err := e.claim(ref)
	if err != nil {
		return Outcome{}, err
	}
	released := Outcome{Status: "released"}
	if _, err := e.jobOf(ctx, c.id, c.Attempt); err != nil {
		if p, _ := e.endOf(ctx, &c); p != nil && p.Kind() == event.KindNodeLost {
			released.Repeated = true
			return released, nil
		}
		return Outcome{}, err
	}
	if checkpoint, err = e.cleanValue(checkpoint); err != nil {
		return Outcome{}, err
	}
	if len(checkpoint) == 0 {
		checkpoint = e.sched.leftBy(&c)
	}
	why := "worker " + c.Worker + " released it"
	if reason != "" {
		why += ": " + e.opt.Secrets.Redactor().Text(reason)
	}
	return released, e.conclude(ctx, &c, attemptLost(c.id, c.Attempt, why, checkpoint), by, nil)
}
