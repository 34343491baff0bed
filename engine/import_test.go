package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// elsewhere is a log with a run that waits, one that has completed, and a fork of
// the first.
func elsewhere(t *testing.T) (log *foreignLog, waiting, completed, fork eventlog.RunID) {
	e, stop := open(t, t.TempDir(), loopReplies)
	defer stop()
	ctx := context.Background()
	register(t, e, loopSource)
	people := func(r Run) bool { return r.OnlyPeople }
	one := await(t, e, start(t, e, "loop", map[string]any{"topic": "a"}).ID, people)
	two := await(t, e, start(t, e, "loop", nil).ID, people)
	if _, err := e.Do(ctx, two.ID, machine.Answer{Value: event.MustValue("yes")}, By{Actor: "cli:root@local"}); err != nil {
		t.Fatal(err)
	}
	f, err := e.ForkRun(ctx, one.ID, ForkRequest{At: one.Version}, By{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	await(t, e, f.ID, people)
	return copyLog(t, e.log), one.ID, two.ID, f.ID
}

// foreignLog is the events of another log, as they come in a capsule.
type foreignLog struct {
	eventlog.Log
	runs map[eventlog.RunID][]eventlog.Event
}

func copyLog(t *testing.T, log eventlog.Log) *foreignLog {
	f := &foreignLog{runs: map[eventlog.RunID][]eventlog.Event{}}
	for after := eventlog.Seq(0); ; {
		page, err := log.ReadFrom(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return f
		}
		for _, e := range page {
			after = e.Seq
			f.runs[e.Run] = append(f.runs[e.Run], e)
		}
	}
}

func (f *foreignLog) ReadRun(id eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	all := f.runs[id]
	i := min(int(after), len(all))
	return slices.Clone(all[i:min(len(all), i+limit)]), nil
}

func importOf(f *foreignLog, runs ...eventlog.RunID) Import {
	return Import{Log: f, Run: runs[0], Runs: runs, Mark: event.RunImported{Origin: "wfd.dev/elsewhere", Signed: 100}}
}

// Imported runs are what they were; they are paused if they had not ended, and go on
// when they are resumed. Nothing else moves, no name is taken, nobody here has done
// what was done there, and to import twice is to import once.
func TestImport(t *testing.T) {
	log, waiting, completed, fork := elsewhere(t)
	ctx := context.Background()
	dir := t.TempDir()
	e, stop := open(t, dir, loopReplies)
	defer func() { stop() }()
	own := register(t, e, "name: loop\nnodes:\n  x: {end: completed}\n")
	by := By{Actor: "cli:ann@local"}
	done, err := e.Import(ctx, importOf(log, fork, waiting), by)
	if err != nil || len(done.Runs) != 2 || done.Runs[0].ID != waiting || done.Runs[1].ID != fork || len(done.Definitions) != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err = e.Import(ctx, importOf(log, completed), by); err != nil || done.Runs[0].Status != run.Completed || len(done.Definitions) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	head := e.log.Head()
	for id, want := range map[eventlog.RunID]run.Status{waiting: run.Paused, fork: run.Paused, completed: run.Completed} {
		r, err := e.Run(ctx, id)
		if err != nil || r.Status != want {
			t.Errorf("run %s: %s, %v", id, r.Status, err)
		}
		if want == run.Paused && !strings.Contains(r.Why, "imported from wfd.dev/elsewhere") {
			t.Errorf("%s", r.Why)
		}
		there := log.runs[id]
		err = e.eachEvent(id, 0, func(ev eventlog.Event) (bool, error) {
			if int(ev.Version) > len(there) {
				if ev.Kind != event.KindRunImported || ev.Actor != "cli:ann@local" {
					t.Errorf("version %d is a %s by %s", ev.Version, event.KindName(ev.Kind), ev.Actor)
				}
				return true, nil
			}
			was := there[ev.Version-1]
			if ev.Kind != was.Kind || ev.Time != was.Time || !bytes.Equal(ev.Payload, was.Payload) || ev.Actor != "imported:"+was.Actor {
				t.Errorf("version %d is another one: %+v", ev.Version, ev)
			}
			return true, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	again, err := e.Import(ctx, importOf(log, fork, waiting), by)
	if err != nil || !again.Runs[0].There || !again.Runs[1].There || e.log.Head() != head {
		t.Errorf("again: %+v, %v", again, err)
	}
	defs, _, err := e.views.Definitions(ctx, "", "", 10)
	if err != nil || len(defs) != 1 || defs[0].Hash != own.Hash || defs[0].Version != 1 {
		t.Errorf("%+v, %v", defs, err)
	}
	stop() // a start takes up what was under way: these are not
	e, stop = open(t, dir, loopReplies)
	time.Sleep(50 * time.Millisecond)
	if e.log.Head() != head {
		t.Errorf("something moved: %d events, not %d", e.log.Head(), head)
	}
	if err := e.views.Verify(ctx, nil); err != nil {
		t.Error(err)
	}
	for _, id := range []eventlog.RunID{waiting, fork} {
		if _, err := e.Do(ctx, id, machine.Resume{}, By{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		r, err := e.Do(ctx, id, machine.Answer{Value: event.MustValue("yes")}, By{Actor: "test"})
		if err != nil || r.Status != run.Completed {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if again, err = e.Import(ctx, importOf(log, fork, waiting), by); err != nil || !again.Runs[0].There || again.Runs[0].Status != run.Completed {
		t.Errorf("after it went on: %+v, %v", again, err)
	}
	// Its definition is registered here later: under its name, as the next version.
	if reg := register(t, e, loopSource); reg.Version != 2 {
		t.Errorf("%+v", reg)
	}
}

// What would not do in this log is refused, before anything is stored.
func TestImportRefuses(t *testing.T) {
	log, waiting, completed, fork := elsewhere(t)
	e, stop := open(t, t.TempDir(), loopReplies)
	defer stop()
	ctx := context.Background()
	refused := func(what string, want error, harm func(f *foreignLog)) {
		t.Helper()
		bad := &foreignLog{runs: map[eventlog.RunID][]eventlog.Event{}}
		for id, events := range log.runs {
			bad.runs[id] = slices.Clone(events)
		}
		harm(bad)
		head := e.log.Head()
		done, err := e.Import(ctx, importOf(bad, fork, waiting, completed), By{Actor: "test"})
		if !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v", what, done, err)
		}
		if e.log.Head() != head {
			t.Errorf("%s: something was stored", what)
		}
	}
	edit := func(id eventlog.RunID, n int, f func(*eventlog.Event)) func(*foreignLog) {
		return func(l *foreignLog) { f(&l.runs[id][n]) }
	}
	refused("no events", machine.ErrInvalid, func(l *foreignLog) { delete(l.runs, completed) })
	refused("a gap", machine.ErrInvalid, func(l *foreignLog) { l.runs[completed] = slices.Delete(l.runs[completed], 3, 4) })
	refused("a payload that does not decode", machine.ErrInvalid, edit(completed, 5, func(e *eventlog.Event) { e.Payload = []byte("x") }))
	refused("an unknown kind", machine.ErrInvalid, edit(completed, 5, func(e *eventlog.Event) { e.Kind = 999 }))
	refused("an erased payload", machine.ErrInvalid, edit(completed, 5, func(e *eventlog.Event) { e.Erased, e.Payload = true, nil }))
	refused("an event of a system stream", machine.ErrInvalid, edit(completed, 5, func(e *eventlog.Event) {
		p := &event.LogRestored{At: 1}
		e.Kind, e.Payload = p.Kind(), event.Encode(p)
	}))
	refused("an event that does not fit", machine.ErrInvalid, edit(completed, 5, func(e *eventlog.Event) {
		p := &event.NodeCompleted{Node: "nowhere", Visit: 7}
		e.Kind, e.Payload = p.Kind(), event.Encode(p)
	}))
	refused("a value that cannot be read", machine.ErrInvalid, edit(completed, 0, func(e *eventlog.Event) {
		p := &event.RunCreated{Workflow: "loop", Hash: "x", Input: event.Value("\xdd\xff\xff\xff\xff"), Entry: []string{"a"}}
		e.Payload = event.Encode(p)
	}))
	refused("a time that goes back", machine.ErrInvalid, edit(completed, 5, func(e *eventlog.Event) { e.Time = 1 }))
	refused("no definition", machine.ErrInvalid, func(l *foreignLog) { delete(l.runs, projection.Workflows) })
	refused("another definition", machine.ErrInvalid, edit(projection.Workflows, 0, func(e *eventlog.Event) {
		p, _ := event.Decode(e.Kind, e.Payload)
		d := p.(*event.DefinitionRegistered)
		d.Definition = strings.Replace(d.Definition, "10ms", "11ms", 1)
		e.Payload = event.Encode(d)
	}))
	refused("too many events", eventlog.ErrTooLarge, func(l *foreignLog) {
		for len(l.runs[completed]) <= MaxImport {
			last := l.runs[completed][len(l.runs[completed])-1]
			last.Version++
			p := &event.CheckpointCreated{At: 1, Name: fmt.Sprint(last.Version)}
			last.Kind, last.Payload = p.Kind(), event.Encode(p)
			l.runs[completed] = append(l.runs[completed], last)
		}
	})
	if _, err := e.Import(ctx, importOf(log, fork, waiting, completed), By{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	refused("another run with this ID", ErrExists, edit(completed, len(log.runs[completed])-1, func(e *eventlog.Event) { e.Time++ }))
	refused("a run with another actor", ErrExists, edit(completed, 3, func(e *eventlog.Event) { e.Actor = "mallory" }))
	refused("a run that went on there", ErrExists, func(l *foreignLog) {
		last := l.runs[completed][len(l.runs[completed])-1]
		last.Version++
		p := &event.CheckpointCreated{At: 1, Name: "more"}
		last.Kind, last.Payload = p.Kind(), event.Encode(p)
		l.runs[completed] = append(l.runs[completed], last)
	})
}

// countdown is a log whose disk is full after some appends.
type countdown struct {
	eventlog.Log
	left atomic.Int64
}

func (l *countdown) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	if l.left.Add(-1) < 0 {
		return 0, eventlog.ErrFull
	}
	return l.Log.Append(ctx, a)
}

// An import that was cut off, wherever that was, has left nothing that moves, and is
// completed by importing again.
func TestImportCutOff(t *testing.T) {
	log, waiting, completed, fork := elsewhere(t)
	ctx := context.Background()
	for left := 0; ; left++ {
		dir := t.TempDir()
		e, stop := openOn(t, dir, loopReplies, func(log eventlog.Log) eventlog.Log {
			c := &countdown{Log: log}
			c.left.Store(int64(left))
			return c
		})
		done, err := e.Import(ctx, importOf(log, fork, waiting, completed), By{Actor: "test"})
		if err == nil {
			stop()
			if left != 4 || len(done.Runs) != 3 { // a definition, and three runs
				t.Errorf("%d appends for %+v", left, done)
			}
			return
		}
		if !errors.Is(err, eventlog.ErrFull) {
			t.Fatal(err)
		}
		head := e.log.Head()
		stop()
		e, stop = open(t, dir, loopReplies)
		time.Sleep(20 * time.Millisecond)
		if e.log.Head() != head {
			t.Errorf("cut off after %d appends, something moves", left)
		}
		if done, err = e.Import(ctx, importOf(log, fork, waiting, completed), By{Actor: "test"}); err != nil || len(done.Runs) != 3 {
			t.Errorf("again: %+v, %v", done, err)
		}
		if err := e.views.Verify(ctx, nil); err != nil {
			t.Error(err)
		}
		stop()
	}
}
