package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/trigger"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Bounds of hooks that send, and what they have where nothing is said.
const (
	DefaultGiveUp = 72 * time.Hour

	maxOutgoing = 64 // each has a goroutine and reads the log
	minGiveUp   = time.Minute
	maxGiveUp   = 30 * 24 * time.Hour
	maxKinds    = 32
	maxURL      = 2048

	deliverTime  = 15 * time.Second // for an answer
	firstBackoff = time.Second
	lastBackoff  = time.Hour
	// lookAtLog is how often a hook looks for events that nobody has rung for.
	lookAtLog = 5 * time.Second
	// noteEvery is how many events are sent, and noteScanned how many looked at, until it
	// is noted how far the hook has come: so many are sent again after a crash, or read.
	noteEvery   = 100
	noteScanned = 50_000
)

// outgoing is a hook that sends, and what sends.
type outgoing struct {
	nudge chan struct{} // has an element when there may be something to do
}

// SetOutgoing makes a hook that events are sent to, or with replace changes it. It
// begins with what comes after.
func (e *Engine) SetOutgoing(ctx context.Context, id event.TriggerID, h event.Outgoing, replace bool, reason, actor string) (made bool, v Trigger, err error) {
	if h.GiveUp == 0 {
		h.GiveUp = int64(DefaultGiveUp)
	}
	if h.Secret, err = secretNames(h.Secret); err != nil {
		return false, v, err
	}
	if len(h.Kinds) == 0 {
		h.Kinds = []string{"run.completed", "run.failed", "run.cancelled"}
	}
	if err := checkOutgoing(&h); err != nil {
		return false, v, err
	}
	for i, name := range h.Workflows {
		reg, _, err := e.defs.find(ctx, id.Namespace(), name, 0)
		if err != nil {
			return false, v, err
		}
		h.Workflows[i] = reg.Name
	}
	return e.setTrigger(ctx, &event.TriggerSet{Name: string(id), Type: event.TriggerOutgoing, Reason: reason, Outgoing: &h}, replace, actor)
}

func checkOutgoing(h *event.Outgoing) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", machine.ErrInvalid, fmt.Sprintf(format, args...))
	}
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(h.URL) > maxURL:
		return wrong("want a URL with https, of up to %d bytes", maxURL)
	case u.User != nil || u.Fragment != "":
		return wrong("a URL with a password or a fragment is not taken: it would be in the log")
	case u.Scheme == "http" && !h.AllowPrivate:
		return wrong("want a URL with https; http is for private addresses, with allow_private")
	case h.GiveUp < int64(minGiveUp) || h.GiveUp > int64(maxGiveUp):
		return wrong("a hook gives up after %s to %s, not %s", minGiveUp, maxGiveUp, time.Duration(h.GiveUp))
	case len(h.Kinds) > maxKinds || len(h.Workflows) > maxKinds:
		return wrong("a hook names at most %d kinds of events, and as many workflows", maxKinds)
	}
	for _, kind := range h.Kinds {
		if _, ok := event.KindOf(kind); !ok && !event.IsKindPrefix(kind) {
			return wrong("%q is no kind of events, nor the beginning of some up to a dot, as run.", clip(kind))
		}
	}
	return nil
}

// tend has a goroutine see to a hook that sends, and nudges it. Called with mu held.
func (t *triggers) tend(s *triggerState) {
	if !t.acts() || s.Outgoing == nil {
		return
	}
	if s.out == nil {
		s.out = &outgoing{nudge: make(chan struct{}, 1)}
	}
	if !t.sending[s] {
		t.sends(s, true)
		t.e.spawn(func() { t.send(t.ctx, s) })
	}
	ring(s.out.nudge)
}

// committed is told of every append of a run.
func (t *triggers) committed() {
	if t.senders.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.sending {
		ring(s.out.nudge)
	}
}

// sends notes whether a goroutine sees to a hook. Called with mu held.
func (t *triggers) sends(s *triggerState, works bool) {
	if works {
		t.sending[s] = true
	} else {
		delete(t.sending, s)
	}
	t.senders.Store(int32(len(t.sending)))
}

// sender is what a hook's goroutine knows.
type sender struct {
	t         *triggers
	s         *triggerState
	hook      event.Outgoing
	created   event.Time
	at        eventlog.Seq // events up to there are done with
	noted     eventlog.Seq // as the log has it
	sent      int          // since it was noted
	attempts  int          // that the next event has failed
	since     event.Time
	workflows map[eventlog.RunID]string
}

// send sends events to a hook until ctx ends or the hook is deleted.
func (t *triggers) send(ctx context.Context, s *triggerState) {
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.sends(s, false)
	}()
	x := &sender{t: t, s: s, workflows: map[eventlog.RunID]string{}}
	for ctx.Err() == nil {
		there, idle := x.look()
		if !there {
			return
		}
		rest := lookAtLog
		if !idle {
			var err error
			if rest, err = x.page(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
				t.e.slog.Error("a hook cannot go on yet; this is tried again", "hook", s.Name, "error", err)
				rest = lookAtLog
			}
		}
		if rest == 0 {
			continue
		}
		if x.attempts > 0 && !idle { // only a change of the hook may cut this short
			x.pause(ctx, rest)
			continue
		}
		select {
		case <-s.out.nudge:
		case <-time.After(rest):
		case <-ctx.Done():
		}
	}
	if err := x.note(event.DeliveredSent, nil); err != nil {
		t.e.slog.Warn("how far a hook has come is not noted: some events are sent again", "hook", s.Name, "error", err)
	}
}

// pause waits until an event that has failed is due again, or the hook was changed.
func (x *sender) pause(ctx context.Context, d time.Duration) {
	x.t.mu.Lock()
	changed := x.s.Changed
	delivery := *x.s.Delivery
	x.t.mu.Unlock()
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		select {
		case <-x.s.out.nudge:
		case <-time.After(time.Until(end)):
		case <-ctx.Done():
		}
		x.t.mu.Lock()
		moved := x.s.Changed != changed || x.s.Paused || *x.s.Delivery != delivery || x.t.byName[x.s.Name] != x.s
		x.t.mu.Unlock()
		if moved {
			return
		}
	}
}

// look reads the hook as it stands; there is false once it is deleted.
func (x *sender) look() (there, idle bool) {
	t := x.t
	t.mu.Lock()
	defer t.mu.Unlock()
	s := x.s
	if t.byName[s.Name] != s || s.Outgoing == nil {
		return false, true
	}
	x.hook, x.created = *s.Outgoing, s.Created
	d := s.Delivery
	x.at = max(x.at, d.Upto)
	x.noted = max(x.noted, d.Upto)
	x.attempts, x.since = d.Attempts, d.Since
	return true, s.Paused || s.broken != nil || d.Dead
}

// page sends what a page of the log has for the hook, and returns how long to rest.
func (x *sender) page(ctx context.Context) (rest time.Duration, err error) {
	events, err := x.t.e.log.ReadFrom(x.at, loadPage)
	if err != nil {
		return lookAtLog, err
	}
	if len(events) == 0 {
		return lookAtLog, x.note(event.DeliveredSent, nil)
	}
	for i := range events {
		if ctx.Err() != nil {
			return 0, nil
		}
		wanted, err := x.wants(ctx, &events[i])
		if err != nil {
			return lookAtLog, err
		}
		if wanted {
			if rest, err := x.deliver(ctx, &events[i]); rest > 0 || err != nil {
				return rest, err
			}
			if x.sent++; x.attempts > 0 || x.sent >= noteEvery {
				x.at, x.attempts, x.since = events[i].Seq, 0, 0
				if err := x.note(event.DeliveredSent, nil); err != nil {
					return lookAtLog, err
				}
			}
			if there, idle := x.look(); !there || idle {
				x.at = events[i].Seq
				return 0, nil
			}
		}
		x.at = events[i].Seq
	}
	if x.at-x.noted > noteScanned {
		return 0, x.note(event.DeliveredSent, nil)
	}
	return 0, nil
}

// note tells how far the hook has come, if there is something to tell.
func (x *sender) note(outcome string, failure error) error {
	if failure == nil && x.sent == 0 && x.at-x.noted <= noteScanned {
		return nil
	}
	if x.t.deleted(x.s) {
		return nil
	}
	p := &event.TriggerDelivered{Name: x.s.Name, Outcome: outcome, Upto: x.at, Count: x.sent, Attempts: x.attempts, Since: x.since}
	if failure != nil {
		p.Reason = clipReason(failure)
	}
	err := x.t.append(p, "hook:"+x.s.Name)
	if err == nil {
		x.sent, x.noted = 0, x.at
	}
	return err
}

// deleted reports whether a trigger was deleted.
func (t *triggers) deleted(s *triggerState) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byName[s.Name] != s
}

// wants reports whether an event is one that the hook is for. Facts that belong to no
// run are sent to nobody.
func (x *sender) wants(ctx context.Context, e *eventlog.Event) (bool, error) {
	if e.Run.IsSystem() || event.IsImported(e.Actor) {
		return false, nil
	}
	kind := event.KindName(e.Kind)
	if !slices.ContainsFunc(x.hook.Kinds, func(k string) bool { return k == kind || strings.HasSuffix(k, ".") && strings.HasPrefix(kind, k) }) {
		return false, nil
	}
	n, err := x.t.e.NamespaceOf(e.Run)
	if mine := n == x.s.ID().Namespace(); err != nil || !mine || len(x.hook.Workflows) == 0 {
		return err == nil && mine, err
	}
	name, err := x.workflow(ctx, e.Run)
	return slices.Contains(x.hook.Workflows, name), err
}

// workflow returns the workflow of a run.
func (x *sender) workflow(ctx context.Context, id eventlog.RunID) (string, error) {
	if name, ok := x.workflows[id]; ok {
		return name, nil
	}
	row, err := x.t.e.views.Run(ctx, id)
	if err != nil {
		return "", err
	}
	if len(x.workflows) >= maxBatch {
		clear(x.workflows)
	}
	x.workflows[id] = row.Workflow
	return row.Workflow, nil
}

// deliver sends an event once. It returns how long to rest if it was not taken.
func (x *sender) deliver(ctx context.Context, e *eventlog.Event) (rest time.Duration, err error) {
	body, err := x.body(ctx, e)
	if err != nil {
		return lookAtLog, err
	}
	now := x.t.e.now()
	secrets, failure := x.t.e.secrets(x.hook.Secret)
	var posted agent.Posted
	if failure == nil {
		id := fmt.Sprintf("%s-%d-%x", x.s.Name, e.Seq, uint64(e.Append))
		seconds := now.Std().Unix()
		var signed []string
		for _, secret := range secrets {
			signed = append(signed, trigger.Sign(secret, id, seconds, body))
		}
		h := http.Header{}
		h.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		h.Set("User-Agent", "wfd")
		h.Set(trigger.HeaderID, id)
		h.Set(trigger.HeaderTimestamp, strconv.FormatInt(seconds, 10))
		h.Set(trigger.HeaderSignature, strings.Join(signed, " "))
		within, cancel := context.WithTimeout(ctx, deliverTime)
		posted, failure = agent.Post(within, x.hook.URL, h, body, x.hook.AllowPrivate)
		cancel()
	}
	if ctx.Err() != nil {
		return lookAtLog, nil
	}
	switch {
	case failure != nil:
	case posted.Status >= 200 && posted.Status < 300:
		return 0, nil
	case posted.Status >= 300 && posted.Status < 400:
		failure = fmt.Errorf("it was answered with %d; redirects are not followed", posted.Status)
	default:
		failure = fmt.Errorf("it was answered with %d", posted.Status)
	}
	x.attempts++
	if x.since == 0 {
		x.since = now
	}
	outcome := event.DeliveredFailing
	if posted.Status == http.StatusGone || time.Duration(now-x.since) >= time.Duration(x.hook.GiveUp) {
		outcome = event.DeliveredDead
		x.t.e.slog.Error("a hook is dead: nothing is sent until somebody resumes it", "hook", x.s.Name, "attempts", x.attempts, "error", failure)
	} else {
		x.t.e.slog.Warn("an event could not be sent to a hook", "hook", x.s.Name, "seq", e.Seq, "attempt", x.attempts, "error", failure)
	}
	x.t.count(event.TriggerOutgoing, outcome)
	if err := x.note(outcome, failure); err != nil {
		return lookAtLog, err
	}
	return max(backoff(x.attempts), min(posted.RetryAfter, lastBackoff)), nil
}

// backoff is how long to rest after so many failures: up to twice as long each time,
// and not for all hooks of a host at once.
func backoff(attempts int) time.Duration {
	d := lastBackoff
	if attempts < 13 {
		d = min(lastBackoff, firstBackoff<<(attempts-1))
	}
	return d/2 + rand.N(d/2)
}

func (t *triggers) count(kind, outcome string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fires[TriggerCount{kind, outcome}]++
}

// cloudEvent is an event in the JSON format of CloudEvents 1.0, as an export has it.
type cloudEvent struct {
	SpecVersion string     `json:"specversion"`
	ID          string     `json:"id"`
	Source      string     `json:"source"`
	Type        string     `json:"type"`
	Subject     string     `json:"subject"`
	Time        event.Time `json:"time"`
	Seq         string     `json:"wfdseq"`
	Version     string     `json:"wfdversion"`
	Actor       string     `json:"wfdactor,omitempty"`
	ContentType string     `json:"datacontenttype"`
	Data        any        `json:"data"`
}

// body is what is sent of an event.
func (x *sender) body(ctx context.Context, e *eventlog.Event) ([]byte, error) {
	workflow, err := x.workflow(ctx, e.Run)
	if err != nil {
		return nil, err
	}
	data := map[string]any{"run": e.Run.String(), "workflow": workflow, "kind": event.KindName(e.Kind), "seq": e.Seq}
	if x.hook.Data {
		v, err := event.ViewOf(*e)
		if err != nil {
			return nil, err
		}
		data["event"] = v.Data
	}
	return json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: fmt.Sprintf("%d-%x", e.Seq, uint64(e.Append)), Source: "/hooks/" + x.s.Name, Type: "dev.wfd." + event.KindName(e.Kind) + ".v1",
		Subject: e.Run.String(), Time: event.Time(e.Time), Seq: strconv.FormatUint(uint64(e.Seq), 10), Version: strconv.FormatUint(uint64(e.Version), 10),
		Actor: e.Actor, ContentType: "application/json", Data: data,
	})
}
