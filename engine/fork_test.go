package engine

import (
	"context"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A run can be forked at every one of its events: the fork completes, what was
// completed there is not done again, and the original is untouched.
func TestForkAtEveryEvent(t *testing.T) {
	dir := t.TempDir()
	e, stop := open(t, dir, loopReplies)
	defer func() { stop() }()
	ctx := context.Background()
	register(t, e, loopSource)
	r := start(t, e, "loop", map[string]any{"topic": "a"})
	await(t, e, r.ID, func(r Run) bool { return r.OnlyPeople })
	r, err := e.Do(ctx, r.ID, machine.Answer{Value: event.MustValue("yes")}, By{Actor: "test"})
	if err != nil || r.Status != run.Completed {
		t.Fatal(err, r.Why)
	}
	var forks []Run
	for at := eventlog.Version(1); at < r.Version; at++ {
		past, err := run.Fold(e.log, r.ID, at)
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.ForkRun(ctx, r.ID, ForkRequest{At: at}, By{Actor: "test"})
		if err != nil {
			t.Fatalf("at version %d: %v", at, err)
		}
		if f.Status != run.Completed {
			f = await(t, e, f.ID, func(r Run) bool { return r.OnlyPeople || r.Status.Terminal() })
		}
		if f.OnlyPeople {
			if f, err = e.Do(ctx, f.ID, machine.Answer{Value: event.MustValue("yes")}, By{Actor: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		if f.Status != run.Completed || f.Forked.Run != r.ID || f.Forked.Version != at {
			t.Fatalf("the fork at version %d: %+v", at, f)
		}
		err = e.eachEvent(f.ID, 0, func(ev eventlog.Event) (bool, error) {
			p, err := event.Decode(ev.Kind, ev.Payload)
			if c, ok := p.(*event.NodeCompleted); ok {
				if n := past.Nodes[c.Node]; n != nil && n.Completed >= c.Visit {
					t.Errorf("the fork at version %d completes visit %d of %s, which was completed", at, c.Visit, c.Node)
				}
			}
			return true, err
		})
		if err != nil {
			t.Fatal(err)
		}
		forks = append(forks, f)
	}
	stop()
	e, stop = open(t, dir, loopReplies)
	for _, f := range forks[:5] { // a fork is found again after a restart
		if again, err := e.Run(ctx, f.ID); err != nil || again.Status != run.Completed {
			t.Fatal(err, again.Why)
		}
	}
	same, err := e.Run(ctx, r.ID)
	if err != nil || same.Version != r.Version {
		t.Fatalf("the original moved from version %d to %d: %v", r.Version, same.Version, err)
	}
	if err := e.views.Verify(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// A fork may begin with other input, state and definition.
func TestForkWithEdits(t *testing.T) {
	e, stop := open(t, t.TempDir(), loopReplies)
	defer stop()
	ctx := context.Background()
	register(t, e, loopSource)
	r := start(t, e, "loop", nil)
	r = await(t, e, r.ID, func(r Run) bool { return r.OnlyPeople })
	f, err := e.ForkRun(ctx, r.ID, ForkRequest{
		At: 5, Input: event.MustValue(map[string]any{"topic": "b"}), Pause: true,
		Set: map[string]event.Value{"notes": event.MustValue([]any{"edited"})},
	}, By{Actor: "test", Key: "fork-1"})
	if err != nil || f.Status != run.Paused {
		t.Fatal(err, f.Why)
	}
	again, err := e.ForkRun(ctx, r.ID, ForkRequest{At: 5}, By{Actor: "test", Key: "fork-1"})
	if err != nil || again.ID != f.ID {
		t.Fatalf("repeated with its key: %v, run %s, was %s", err, again.ID, f.ID)
	}
	if _, err := e.Do(ctx, f.ID, machine.Resume{}, By{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	await(t, e, f.ID, func(r Run) bool { return r.OnlyPeople })
	v, err := e.State(ctx, f.ID)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := v.State["notes"].MarshalJSON(); string(b) != `["edited","B","C"]` {
		t.Fatalf("notes are %s", b)
	}
	if _, err := e.ForkRun(ctx, r.ID, ForkRequest{At: 5, Set: map[string]event.Value{"zzz": event.Null}}, By{}); err == nil {
		t.Fatal("an undeclared key was set")
	}
	if _, err := e.ForkRun(ctx, r.ID, ForkRequest{At: 9999}, By{}); err == nil {
		t.Fatal("forked after the end")
	}
}
