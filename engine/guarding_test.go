package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/guard"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const guardedRules = `
rules:
  - {name: soft, message: hm, on: [input, signal, answer, exec], then: warn, words: [please]}
  - {name: hard, message: never, on: [input, signal, answer, exec], then: block, words: [secret plan]}
  - {name: careful, message: look, on: [exec], then: ask, words: [delete]}
`

const guardedSource = `
name: guarded
state: {told: {type: string}}
nodes:
  work: {exec: {command: [x]}}
  ask: {human: {prompt: "?"}, needs: [work]}
  more: {wait: {signal: go}, needs: [ask]}
`

// guarded opens an engine with a guard whose programs say what said returns.
func guarded(t *testing.T, dir string, said func(*agent.Task) agent.Answer) (*Engine, eventlog.Log, func()) {
	t.Helper()
	return guardedOn(t, dir, func(log eventlog.Log) eventlog.Log { return log }, said)
}

// guardedOn is guarded on what wrap makes of the log.
func guardedOn(t *testing.T, dir string, wrap func(eventlog.Log) eventlog.Log, said func(*agent.Task) agent.Answer) (*Engine, eventlog.Log, func()) {
	t.Helper()
	rules, err := guard.Parse("rules.yaml", []byte(guardedRules))
	if err != nil {
		t.Fatal(err)
	}
	log, views, err := Store(dir, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	runner := agent.RunnerFunc(func(_ context.Context, t *agent.Task) agent.Answer { return said(t) })
	e := New(wrap(log), views, Options{Guard: rules, Runners: map[workflow.Kind]agent.Runner{workflow.Exec: runner}})
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return e, log, func() {
		e.Stop()
		if err := errors.Join(views.Close(), log.Close()); err != nil {
			t.Error(err)
		}
	}
}

func says(text string) func(*agent.Task) agent.Answer {
	return func(*agent.Task) agent.Answer { return agent.Answer{Result: map[string]any{"text": text}} }
}

// findings returns what the guard's stream has, one line each.
func findings(t *testing.T, log eventlog.Log) string {
	t.Helper()
	events, err := log.ReadRun(event.Security, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, ev := range events {
		p, err := event.Decode(ev.Kind, ev.Payload)
		if err != nil {
			t.Fatal(err)
		}
		var f event.Finding
		switch p := p.(type) {
		case *event.SecurityWarned:
			f = p.Finding
		case *event.SecurityBlocked:
			f = p.Finding
		}
		lines = append(lines, strings.TrimSpace(event.KindName(ev.Kind)+" "+f.Rule+" "+f.What+" "+ev.Actor+" "+f.Node))
	}
	return strings.Join(lines, "\n")
}

// nowhere fails the test if a text is in any event.
func nowhere(t *testing.T, log eventlog.Log, text string) {
	t.Helper()
	events, err := log.ReadFrom(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		if strings.Contains(string(ev.Payload), text) {
			t.Errorf("event %d, %s, has %q", ev.Seq, event.KindName(ev.Kind), text)
		}
	}
}

// What people give a run passes, passes with a warning, or is refused before anything of
// it is in the log; each finding is an event. A command that is repeated is not looked at
// again.
func TestGuardOfWhatIsGiven(t *testing.T) {
	ctx := context.Background()
	e, log, stop := guarded(t, t.TempDir(), says("done"))
	defer stop()
	register(t, e, guardedSource)
	ann := By{Actor: "ann"}
	var blocked *BlockedError
	_, _, err := e.StartRun(ctx, StartRequest{Workflow: "guarded", Input: event.MustValue(map[string]any{"a": []any{"the Secret plan"}})}, ann)
	if !errors.As(err, &blocked) || blocked.Rule != "hard" || !errors.Is(err, machine.ErrInvalid) {
		t.Fatal(err)
	}
	first := StartRequest{Workflow: "guarded", Input: event.MustValue(map[string]any{"a": "please"})}
	r, created, err := e.StartRun(ctx, first, By{Actor: "ann", Key: "k"})
	if err != nil || !created {
		t.Fatal(err)
	}
	if again, created, err := e.StartRun(ctx, first, By{Actor: "ann", Key: "k"}); err != nil || created || again.ID != r.ID {
		t.Fatal(again.ID, created, err)
	}
	await(t, e, r.ID, status(run.Waiting))
	for _, c := range []machine.Command{
		machine.Answer{Value: event.MustValue("a secret plan")},
		machine.Signal{Name: "go", Value: event.MustValue("the secret plan")},
		machine.Signal{Name: "secret plan"},
		machine.Fork{From: r.ID, At: 1},
	} {
		if _, err := e.Do(ctx, r.ID, c, ann); !errors.Is(err, machine.ErrInvalid) && !errors.Is(err, machine.ErrRefused) {
			t.Errorf("%T: %v", c, err)
		}
	}
	if _, err := e.ForkRun(ctx, r.ID, ForkRequest{At: 1, Set: map[string]event.Value{"told": event.MustValue("secret plan")}}, ann); !errors.As(err, &blocked) {
		t.Error(err)
	}
	if _, err := e.Do(ctx, r.ID, machine.Answer{Value: event.MustValue("yes, please")}, ann); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Do(ctx, r.ID, machine.Signal{Name: "go"}, ann); err != nil {
		t.Fatal(err)
	}
	await(t, e, r.ID, status(run.Completed))
	want := `security.blocked hard input ann
security.warned soft input ann
security.blocked hard answer ann
security.blocked hard signal ann
security.blocked hard signal ann
security.blocked hard input ann
security.warned soft answer ann`
	if got := findings(t, log); got != want {
		t.Errorf("found:\n%s\nwant:\n%s", got, want)
	}
	nowhere(t, log, "ecret plan")
}

// A result that is blocked fails its node at once, and neither it nor a message with it
// comes into the log.
func TestGuardOfResults(t *testing.T) {
	answer := says("the secret plan, please")
	e, log, stop := guarded(t, t.TempDir(), func(t *agent.Task) agent.Answer { return answer(t) })
	defer stop()
	register(t, e, guardedSource)
	r := await(t, e, start(t, e, "guarded", nil).ID, Settled)
	if r.Status != run.Failed || r.Error.Class != event.ClassInvalidOutput || r.Error.Attempt != 1 || !strings.Contains(r.Error.Message, "blocked by rule hard of the guard: never") {
		t.Fatal(r.Status, r.Error)
	}
	answer = func(*agent.Task) agent.Answer { return agent.Fail(event.ClassAuth, "no way to the secret plan") }
	r = await(t, e, start(t, e, "guarded", nil).ID, Settled)
	if r.Error.Class != event.ClassAuth || r.Error.Message != "[blocked by rule hard]" {
		t.Fatal(r.Error)
	}
	answer = says("done, please")
	await(t, e, start(t, e, "guarded", nil).ID, status(run.Waiting))
	want := "security.blocked hard exec runner:exec work\nsecurity.blocked hard exec runner:exec work\nsecurity.warned soft exec runner:exec work"
	if got := findings(t, log); got != want {
		t.Errorf("found:\n%s\nwant:\n%s", got, want)
	}
	nowhere(t, log, "secret plan")
}

// A result that is held is asked about in the inbox, across restarts, also by an engine
// that has no guard; the program is not run again. Who grants or denies it is in the log.
func TestReviewsAcrossRestarts(t *testing.T) {
	for _, approved := range []bool{true, false} {
		ctx, dir, runs := context.Background(), t.TempDir(), 0
		said := func(*agent.Task) agent.Answer {
			runs++
			return agent.Answer{Result: "delete it all", Set: map[string]any{"told": "x"}}
		}
		e, _, stop := guarded(t, dir, said)
		register(t, e, guardedSource)
		id := start(t, e, "guarded", nil).ID
		r := await(t, e, id, status(run.Waiting))
		if !strings.Contains(r.Why, "waits for a review of its result") || len(r.Waits) != 1 || r.Waits[0].For != "input" {
			t.Fatal(r.Why, r.Waits)
		}
		stop()
		e, log, stop := guarded(t, dir, said)
		if e.opt.Guard = nil; !approved {
			stop()
			e, log, stop = guarded(t, dir, said)
		}
		in, _, err := e.views.Inbox(ctx, projection.InputFilter{}, "", 10)
		if err != nil || len(in) != 1 || in[0].Node != "work" || !strings.Contains(in[0].Prompt, "held by rule careful: look") || len(in[0].Form) == 0 {
			t.Fatal(in, err)
		}
		if _, err := e.Do(ctx, id, machine.Answer{Value: event.MustValue("well")}, By{Actor: "ann"}); !errors.Is(err, machine.ErrInvalid) {
			t.Fatal(err)
		}
		if _, err := e.Do(ctx, id, machine.Answer{Value: event.MustValue(map[string]any{"approved": approved, "reason": "so it is"})}, By{Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		var last eventlog.Event
		events, err := log.ReadRun(id, 0, 100)
		for _, ev := range events {
			if ev.Kind == event.KindSecurityGranted || ev.Kind == event.KindSecurityDenied {
				last = ev
			}
		}
		if err != nil || last.Actor != "ann" || (last.Kind == event.KindSecurityGranted) != approved {
			t.Fatal(last, err)
		}
		if approved {
			if r = await(t, e, id, status(run.Waiting)); !strings.Contains(r.Why, "ask waits for the answer") {
				t.Fatal(r.Why)
			}
		} else if r = await(t, e, id, Settled); r.Status != run.Failed || !strings.Contains(r.Error.Message, "denied in a review, see rule careful: so it is") {
			t.Fatal(r.Status, r.Error)
		}
		if in, _, err = e.views.Inbox(ctx, projection.InputFilter{}, "", 10); err != nil || approved != (len(in) == 1 && in[0].Node == "ask") {
			t.Fatal(in, err)
		}
		if runs != 1 {
			t.Errorf("the program was run %d times", runs)
		}
		stop()
	}
}

// If what was found cannot be recorded, nothing follows from it: a command is refused,
// and a result is kept until it can be.
func TestFindingsThatCannotBeStored(t *testing.T) {
	full := &noRoom{}
	e, log, stop := guardedOn(t, t.TempDir(), full.on, says("a secret plan"))
	defer stop()
	register(t, e, guardedSource)
	full.times = 3
	_, _, err := e.StartRun(context.Background(), StartRequest{Workflow: "guarded", Input: event.MustValue("please")}, By{Actor: "ann"})
	if !errors.Is(err, eventlog.ErrFull) {
		t.Fatal(err)
	}
	r := await(t, e, start(t, e, "guarded", nil).ID, Settled)
	if r.Status != run.Failed || !strings.Contains(r.Error.Message, "rule hard") {
		t.Fatal(r.Status, r.Error)
	}
	if got := findings(t, log); got != "security.blocked hard exec runner:exec work" {
		t.Error(got)
	}
}

// A command that cannot be screened is refused alone: those who look at the run at the
// same time see it.
func TestUnscreenedAlone(t *testing.T) {
	full := &noRoom{}
	e, _, stop := guardedOn(t, t.TempDir(), full.on, nil)
	defer stop()
	register(t, e, "name: asked\nnodes:\n  ask: {human: {prompt: \"?\"}}\n")
	r := start(t, e, "asked", nil)
	full.times = 1
	l := &loaded{r: e.runs, id: r.ID, owned: true}
	e.runs.mu.Lock()
	e.runs.byID[r.ID] = l
	e.runs.mu.Unlock()
	var answers []error
	var seen run.Status
	answered := func(err error) { answers = append(answers, err) }
	for _, q := range []*request{
		{answered: answered, view: func(s *run.State, _ *workflow.Workflow) { seen = s.Status }},
		{answered: answered, cmd: machine.Answer{Node: "ask", Value: event.MustValue("a secret plan")}},
		{answered: answered, cmd: machine.Pause{}},
	} {
		if _, err := e.runs.enqueue(r.ID, q); err != nil {
			t.Fatal(err)
		}
	}
	e.runs.owners.Add(1)
	e.runs.own(l)
	if len(answers) != 3 || answers[0] != nil || !errors.Is(answers[1], eventlog.ErrFull) || answers[2] != nil || seen != run.Paused {
		t.Error(answers, seen)
	}
}

// noRoom has no room for what guards find, a few times.
type noRoom struct {
	eventlog.Log
	times int
}

func (l *noRoom) on(log eventlog.Log) eventlog.Log {
	l.Log = log
	return l
}

func (l *noRoom) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	if a.Run == event.Security && l.times > 0 {
		l.times--
		return 0, eventlog.ErrFull
	}
	return l.Log.Append(ctx, a)
}
