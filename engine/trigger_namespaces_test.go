package engine

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// TestTriggersOfNamespaces: triggers of two namespaces have the same names and nothing to
// do with each other: each starts, signals to and tells of runs of its own, also over a
// restart.
func TestTriggersOfNamespaces(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	e, stop := openHooks(t, dir)
	defer func() { stop() }()
	wf, problems := workflow.Load("test.yaml", []byte("name: job\nnodes: {a: {wait: {signal: go}}}"))
	if wf == nil {
		t.Fatal(problems)
	}
	receivers := map[event.Namespace]*receiver{}
	spaces := []event.Namespace{"", "team-a", "team-b"}
	for _, n := range spaces {
		if _, err := e.RegisterIn(ctx, n, wf, "", "test"); err != nil {
			t.Fatal(err)
		}
		to := newReceiver(t)
		receivers[n] = to
		_, _, err := e.SetOutgoing(ctx, event.TriggerIn(n, "out"), event.Outgoing{URL: to.URL, Secret: "HOOK", Kinds: []string{"run.created"}, AllowPrivate: true}, false, "", "test")
		_, _, err2 := e.SetIncoming(ctx, event.TriggerIn(n, "push"), event.Incoming{Secret: "HOOK", Workflow: "job"}, false, "", "test")
		_, _, err3 := e.SetIncoming(ctx, event.TriggerIn(n, "go"), event.Incoming{Secret: "HOOK", Signal: "go", Run: "${webhook.body.run}"}, false, "", "test")
		_, _, err4 := e.SetSchedule(ctx, event.TriggerIn(n, "yearly"), event.Schedule{Cron: "@yearly", Workflow: "job", Input: event.MustValue(map[string]any{"by": "${schedule.name}"})}, false, "", "test")
		if err := errors.Join(err, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	e, stop = openHooks(t, dir)
	post := func(n event.Namespace, hook, id, body string) (Received, error) {
		return e.Receive(ctx, event.TriggerIn(n, hook), signedHeader(id, body), []byte(body))
	}
	runs := map[event.Namespace]string{}
	for _, n := range spaces { // the same delivery to each is one of its own
		r, err := post(n, "push", "m1", "{}")
		if err != nil || r.Outcome != event.FiredStarted || r.Again {
			t.Fatalf("%s: %+v, %v", n, r, err)
		}
		if at, err := e.NamespaceOf(r.Run); err != nil || at != n {
			t.Errorf("the run of %s is in %s, %v", n, at, err)
		}
		runs[n] = r.Run.String()
	}
	for _, n := range spaces {
		for of, run := range runs {
			r, err := post(n, "go", "s "+run, `{"run": "`+run+`"}`)
			if want := map[bool]string{true: event.FiredSignalled, false: event.FiredFailed}[n == of]; err != nil || r.Outcome != want {
				t.Errorf("a signal of %s to a run of %s: %+v, %v", n, of, r, err)
			}
		}
		year := time.Now().UTC().Year()
		done, err := e.Backfill(ctx, event.TriggerIn(n, "yearly"), time.Date(year-1, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 2, 1, 0, 0, 0, 0, time.UTC), "ann")
		if err != nil || len(done.Queued) != 1 {
			t.Fatalf("a backfill in %s: %+v, %v", n, done, err)
		}
		eventually(t, "the run of a backfill", func() bool {
			tr, err := e.Trigger(ctx, event.TriggerSchedule, event.TriggerIn(n, "yearly"))
			return err == nil && tr.Started == 1
		})
		tr, _ := e.Trigger(ctx, event.TriggerSchedule, event.TriggerIn(n, "yearly"))
		r, err := e.Run(ctx, tr.LastRun)
		if in, _ := r.Input.MarshalJSON(); err != nil || r.Namespace != n || string(in) != `{"by":"yearly"}` {
			t.Errorf("the schedule of %s started a run in %s with %s, %v", n, r.Namespace, in, err)
		}
		list, next, err := e.Triggers(ctx, n, event.TriggerIncoming, "", 1)
		rest, end, err2 := e.Triggers(ctx, n, event.TriggerIncoming, next, 5)
		if err = errors.Join(err, err2); err != nil || next != "go" || end != "" || len(rest) != 1 || list[0].ID() != event.TriggerIn(n, "go") || rest[0].ID() != event.TriggerIn(n, "push") {
			t.Errorf("hooks of %s: %v, then %v from %q to %q, %v", n, list, rest, next, end, err)
		}
		to := receivers[n]
		eventually(t, "what is told of", func() bool { return len(to.taken()) >= 2 })
		to.mu.Lock()
		for _, ev := range to.events {
			if s := ev["subject"]; s != runs[n] && s != tr.LastRun.String() {
				t.Errorf("%s is told of %s", n, s)
			}
		}
		to.mu.Unlock()
	}
	for _, hook := range []event.TriggerID{event.TriggerIn("", "team-a/push"), event.TriggerIn("team-a", "x/push"), event.TriggerIn("", "/push"), event.TriggerIn("team-c", "push")} {
		if _, err := e.Receive(ctx, hook, http.Header{}, nil); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", hook, err)
		}
	}
	noSecret(t, e)
}
