package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/trigger"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Bounds of schedules, and what they have where nothing is said.
const (
	DefaultStarts  = 10 // that wait, with event.OverlapQueue
	DefaultCatchUp = 1
	DefaultWindow  = 24 * time.Hour

	maxWaitingStarts = 1000 // in a schedule's queue
	maxCatchUp       = 1000
	maxWindow        = 31 * 24 * time.Hour
	maxJitter        = time.Hour
	maxBackfill      = 1000

	// late is when a start is one that was missed.
	late = event.Time(time.Minute)
	// maxCounted is up to how many missed times are counted; it stands for more, too.
	maxCounted = 1000
)

// SetSchedule makes a schedule, or with replace changes it; made reports whether it is
// new.
func (e *Engine) SetSchedule(ctx context.Context, id event.TriggerID, s event.Schedule, replace bool, reason, actor string) (made bool, v Trigger, err error) {
	if s.Zone == "" {
		s.Zone = "UTC"
	}
	if s.Overlap == "" {
		s.Overlap = event.OverlapSkip
	}
	if s.Overlap == event.OverlapQueue && s.Queue == 0 {
		s.Queue = DefaultStarts
	}
	if s.Window == 0 {
		s.Window = int64(DefaultWindow)
	}
	if _, _, err := compileSchedule(&s, e.now()); err != nil {
		return false, v, err
	}
	reg, _, err := e.defs.find(ctx, id.Namespace(), s.Workflow, s.Version)
	if err != nil {
		return false, v, err
	}
	s.Workflow = reg.Name
	return e.setTrigger(ctx, &event.TriggerSet{Name: string(id), Type: event.TriggerSchedule, Reason: reason, Schedule: &s}, replace, actor)
}

// compileSchedule checks a schedule that was made at a time.
func compileSchedule(s *event.Schedule, made event.Time) (*trigger.Cron, *expr.Template, error) {
	cron, err := trigger.Parse(s.Cron, s.Zone, made.Std())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", machine.ErrInvalid, err)
	}
	wrong := func(format string, args ...any) (*trigger.Cron, *expr.Template, error) {
		return nil, nil, fmt.Errorf("%w: %s", machine.ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch s.Overlap {
	case event.OverlapSkip, event.OverlapAllow:
		if s.Queue != 0 {
			return wrong("a queue is for the overlap policy %s", event.OverlapQueue)
		}
	case event.OverlapQueue:
		if s.Queue < 1 || s.Queue > maxWaitingStarts {
			return wrong("a queue has 1 to %d places, not %d", maxWaitingStarts, s.Queue)
		}
	default:
		return wrong("overlap is %s, %s or %s, not %q", event.OverlapSkip, event.OverlapQueue, event.OverlapAllow, clip(s.Overlap))
	}
	switch {
	case s.CatchUp < 0 || s.CatchUp > maxCatchUp:
		return wrong("0 to %d missed starts are made up for, not %d", maxCatchUp, s.CatchUp)
	case s.Window < int64(time.Second) || s.Window > int64(maxWindow):
		return wrong("missed starts are made up for from 1s to %s back, not %s", maxWindow, time.Duration(s.Window))
	case s.Jitter < 0 || s.Jitter > int64(maxJitter):
		return wrong("starts are spread over up to %s, not %s", maxJitter, time.Duration(s.Jitter))
	}
	input, err := compileTemplate("input", s.Input, "schedule")
	return cron, input, err
}

// from returns up to when the times of the schedule are dealt with. Where the clock was
// set back, times come again; their runs are found by their keys.
func (s *triggerState) from(now event.Time) event.Time {
	if s.after > now+setBack {
		return now
	}
	return s.after
}

// next returns the first time after another at which the schedule is due, and when it
// starts its run then; 0 if there is none.
func (s *triggerState) next(after event.Time) (due, at event.Time) {
	when := s.cron.Next(after.Std())
	if when.IsZero() {
		return 0, 0
	}
	due = event.At(when)
	return due, due + s.jitter(due)
}

// jitter is by how much a start comes later than it is due: always the same for one
// time of one schedule.
func (s *triggerState) jitter(due event.Time) event.Time {
	if s.Schedule.Jitter == 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write(binary.BigEndian.AppendUint64([]byte(s.Name), uint64(due)))
	return event.Time(h.Sum64() % uint64(s.Schedule.Jitter))
}

// key is what the start of the run for a time is made once under.
func (s *triggerState) key(due event.Time) string {
	return fmt.Sprintf("schedule %s of %d at %s", s.Name, s.Created, due.Std().Format(time.RFC3339Nano))
}

// rearm sets the alarm of a schedule. Called with mu held.
func (t *triggers) rearm(s *triggerState) {
	if !t.acts() || s.busy || s.Schedule == nil {
		return
	}
	if s.Paused || s.broken != nil {
		t.clock.arm(s.Name, 0, false)
		return
	}
	now := t.e.now()
	s.after = s.from(now)
	due, at := s.next(s.after)
	if len(s.Queue) > 0 && s.awaiting.IsZero() {
		due, at = now, now
	}
	t.clock.arm(s.Name, at, due != 0)
}

// wake acts on a schedule that is due.
func (t *triggers) wake(name string, awake func()) {
	t.e.spawn(func() {
		defer awake()
		t.mu.Lock()
		s := t.byName[name]
		mine := s != nil && s.Schedule != nil && !s.busy
		if mine {
			s.busy = true
			if s.dueSince == 0 {
				s.dueSince = t.e.now()
			}
		}
		t.mu.Unlock()
		if !mine {
			return
		}
		err := t.serve(s)
		t.mu.Lock()
		defer t.mu.Unlock()
		s.busy = false
		if err == nil {
			s.dueSince = 0
		}
		if t.byName[name] != s {
			return
		}
		if t.rearm(s); err != nil {
			t.clock.arm(name, t.e.now()+event.Time(wakeAgain), true)
		}
	})
}

// serve acts on a schedule until nothing more is due.
func (t *triggers) serve(s *triggerState) error {
	for {
		more, err := t.step(s)
		if err != nil && !errors.Is(err, ErrStopped) {
			t.e.slog.Error("a schedule cannot start its run yet; this is tried again", "schedule", s.Name, "error", err)
		}
		if err != nil || !more {
			return err
		}
	}
}

// step deals with one time at which a schedule is due, or with several that were
// missed; more reports whether there may be another.
func (t *triggers) step(s *triggerState) (more bool, err error) {
	t.mu.Lock()
	now := t.e.now()
	if t.byName[s.Name] != s || s.Paused || s.broken != nil {
		t.mu.Unlock()
		return false, nil
	}
	s.after = s.from(now)
	c := *s // to act on
	t.mu.Unlock()
	if err := t.e.accepting(false); err != nil {
		return false, err
	}
	alone := c.Schedule.Overlap != event.OverlapAllow
	if len(c.Queue) > 0 {
		goesOn := false
		if alone {
			if goesOn, err = t.waitFor(s, c.LastRun); err != nil {
				return false, err
			}
		}
		if !goesOn {
			return true, t.startRun(&c, c.Queue[0])
		}
	}
	due, at := c.next(c.after)
	if due == 0 || at > now {
		return false, nil
	}
	there, err := t.startedFor(&c, due)
	if err != nil {
		return false, err
	}
	upto := due
	switch {
	case there && due <= c.Upto: // the clock was set back, and this was done before
	case there: // and we crashed before it was told
		err = t.startRun(&c, due)
	default:
		upto, err = t.decide(&c, due, at, now)
	}
	if err == nil {
		t.mu.Lock()
		s.after = max(s.after, upto)
		t.mu.Unlock()
	}
	return err == nil, err
}

// decide says what becomes of a time at which a schedule is due, and returns up to when
// its times are dealt with then.
func (t *triggers) decide(s *triggerState, due, at, now event.Time) (upto event.Time, err error) {
	if limit := now - late - event.Time(s.Schedule.Jitter); due <= limit {
		since := max(s.after, now-event.Time(s.Schedule.Window))
		keep, _ := s.cron.Latest(since.Std(), limit.Std(), s.Schedule.CatchUp)
		until := limit
		if len(keep) > 0 {
			until = event.At(keep[0]) - 1
		}
		if due <= until {
			return until, t.append(&event.TriggerFired{
				Name: s.Name, Outcome: event.FiredSkipped, Due: due, Until: until, Count: s.count(due, until),
				Reason: fmt.Sprintf("missed: nothing was done here when it was due; of such times within %s the last %d are made up for", time.Duration(s.Schedule.Window), s.Schedule.CatchUp),
			}, s.actor())
		}
	}
	waiting := len(s.Queue) > 0
	goesOn := waiting
	if !goesOn && s.Schedule.Overlap != event.OverlapAllow {
		if goesOn, err = t.goesOn(s.LastRun); err != nil {
			return due, err
		}
	}
	p := &event.TriggerFired{Name: s.Name, Due: due, Outcome: event.FiredSkipped}
	switch {
	case !goesOn || s.Schedule.Overlap == event.OverlapAllow:
		return due, t.startRun(s, due)
	case s.Schedule.Overlap == event.OverlapSkip:
		p.Reason = fmt.Sprintf("run %s, which was started before, has not ended", s.LastRun)
	case len(s.Queue) >= s.Schedule.Queue:
		p.Reason = fmt.Sprintf("%d starts wait for the end of run %s, as many as may", len(s.Queue), s.LastRun)
	default:
		p.Outcome = event.FiredQueued
	}
	return due, t.append(p, s.actor())
}

func (s *triggerState) actor() string { return "schedule:" + s.Name }

// count counts the times from due to until, both of them too, up to maxCounted.
func (s *triggerState) count(due, until event.Time) int {
	n := 1
	for at := s.cron.Next(due.Std()); n < maxCounted && !at.IsZero() && event.At(at) <= until; at = s.cron.Next(at) {
		n++
	}
	return n
}

// startedFor reports whether the run for a time is there.
func (t *triggers) startedFor(s *triggerState, due event.Time) (bool, error) {
	reg, _, err := t.e.defs.find(context.Background(), s.ID().Namespace(), s.Schedule.Workflow, s.Schedule.Version)
	if err != nil {
		if permanent(err) {
			err = nil // the start will say so
		}
		return false, err
	}
	v, err := t.e.log.Version(keyed(reg.key(), s.key(due)))
	return v > 0, err
}

// startRun starts the run for a time, unless it is there, and tells of it.
func (t *triggers) startRun(s *triggerState, due event.Time) error {
	p := &event.TriggerFired{Name: s.Name, Due: due, Outcome: event.FiredStarted}
	input, err := s.input.Eval(named{"schedule": map[string]any{
		"name": s.ID().Name(), "due": due.Std().Format(time.RFC3339), "local": s.cron.Local(due.Std()).Format(time.RFC3339),
	}})
	if err == nil {
		r := StartRequest{Namespace: s.ID().Namespace(), Workflow: s.Schedule.Workflow, Version: s.Schedule.Version, Labels: s.Schedule.Labels}
		if len(s.Schedule.Input) > 0 {
			r.Input, err = event.ValueOf(input)
		}
		if err == nil {
			var run Run
			run, _, err = t.e.StartRun(context.Background(), r, By{Actor: s.actor(), Key: s.key(due)})
			p.Run = run.ID
		}
		if err != nil && !permanent(err) {
			return err
		}
	}
	if err != nil {
		p.Outcome, p.Run, p.Reason = event.FiredFailed, eventlog.RunID{}, clipReason(err)
		t.e.slog.Warn("a schedule could not start its run", "schedule", s.Name, "due", due.Std(), "error", err)
	}
	return t.append(p, s.actor())
}

func clipReason(err error) string {
	s := err.Error()
	if len(s) > maxReason {
		s = s[:maxReason-3] + "..."
	}
	return s
}

// goesOn reports whether a run has not ended. One that is not there, or damaged, holds
// nothing up.
func (t *triggers) goesOn(id eventlog.RunID) (bool, error) {
	if id.IsZero() {
		return false, nil
	}
	r, err := t.e.Run(context.Background(), id)
	if errors.Is(err, ErrNotFound) || shutOff(err) {
		return false, nil
	}
	return !r.Status.Terminal(), err
}

// waitFor is goesOn; if it does, the schedule is woken when the run has ended.
func (t *triggers) waitFor(s *triggerState, id eventlog.RunID) (bool, error) {
	t.mu.Lock()
	t.await(s, id) // before the look: an end after it is not missed
	t.mu.Unlock()
	goesOn, err := t.goesOn(id)
	if !goesOn {
		t.mu.Lock()
		t.await(s, eventlog.RunID{})
		t.mu.Unlock()
	}
	return goesOn, err
}

// await sets the run whose end the schedule waits for. Called with mu held.
func (t *triggers) await(s *triggerState, id eventlog.RunID) {
	if !s.awaiting.IsZero() {
		delete(t.awaited, s.awaiting)
	}
	if s.awaiting = id; !id.IsZero() {
		t.awaited[id] = s
	}
	t.waits.Store(int32(len(t.awaited)))
}

// ended is told of every run that has ended.
func (t *triggers) ended(id eventlog.RunID) {
	if t.waits.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.awaited[id]; s != nil {
		t.await(s, eventlog.RunID{})
		t.rearm(s)
	}
}

// Backfilled is what a backfill does.
type Backfilled struct {
	Queued []event.Time `json:"queued" doc:"times whose runs are started now, one after the other unless they may overlap"`
	There  int          `json:"there" doc:"times whose runs were there"`
}

// Backfill starts the runs of a schedule for past times from a moment to another, both
// of them too, that it has not started.
func (e *Engine) Backfill(ctx context.Context, id event.TriggerID, from, to time.Time, actor string) (done Backfilled, err error) {
	t := e.triggers
	done.Queued = []event.Time{}
	if err := t.load(ctx); err != nil {
		return done, err
	}
	if err := e.accepting(false); err != nil {
		return done, err
	}
	t.change.Lock()
	defer t.change.Unlock()
	t.mu.Lock()
	s, err := t.find(event.TriggerSchedule, id)
	var c triggerState
	if err == nil {
		c, err = *s, s.broken
	}
	t.mu.Unlock()
	if err != nil {
		return done, err
	}
	if !from.Before(to) || from.Year() < 1970 {
		return done, fmt.Errorf("%w: a backfill goes from a time to a later one", machine.ErrInvalid)
	}
	var times []event.Time
	for at := c.cron.Next(from.Add(-1)); !at.IsZero() && !at.After(to) && event.At(at) <= c.from(e.now()); at = c.cron.Next(at) {
		there, err := t.startedFor(&c, event.At(at))
		if err != nil {
			return done, err
		}
		if there {
			done.There++
		} else {
			times = append(times, event.At(at))
		}
		if len(times)+done.There > maxBackfill {
			return done, fmt.Errorf("%w: a backfill has at most %d times; take a shorter part", machine.ErrInvalid, maxBackfill)
		}
	}
	if n := len(c.Queue) + len(times); n > maxWaitingStarts {
		return done, fmt.Errorf("%w: %d starts would wait, and at most %d do", machine.ErrRefused, n, maxWaitingStarts)
	}
	for _, due := range times {
		if err := t.append(&event.TriggerFired{Name: string(id), Outcome: event.FiredQueued, Due: due, Reason: "backfill"}, actor); err != nil {
			return done, err
		}
		done.Queued = append(done.Queued, due)
	}
	return done, nil
}

// Dues returns the next times at which a schedule is due.
func (e *Engine) Dues(ctx context.Context, id event.TriggerID, n int) ([]event.Time, error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s, err := t.find(event.TriggerSchedule, id)
	if err != nil || s.broken != nil {
		return nil, err
	}
	var dues []event.Time
	for at := s.cron.Next(s.from(e.now()).Std()); len(dues) < n && !at.IsZero(); at = s.cron.Next(at) {
		dues = append(dues, event.At(at))
	}
	return dues, nil
}
