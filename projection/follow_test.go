package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// create appends a run of its own to the log, from any goroutine.
func create(t testing.TB, log eventlog.Log, n int, workflow string) eventlog.RunID {
	id := eventlog.RunID{1, 0, 0, byte(n >> 16), byte(n >> 8), byte(n), 7}
	_, err := log.Append(context.Background(), eventlog.Append{ID: 1, Run: id, Records: []eventlog.Record{{
		Time: int64(n + 1), Kind: event.KindRunCreated,
		Payload: event.Encode(&event.RunCreated{Workflow: workflow, Hash: "h", Labels: map[string]string{"team": "red"}}),
	}}})
	if err != nil {
		t.Error(err)
	}
	return id
}

func appendTo(t testing.TB, log eventlog.Log, id eventlog.RunID, payloads ...event.Payload) {
	t.Helper()
	version, err := log.Version(id)
	if err != nil {
		t.Fatal(err)
	}
	a := eventlog.Append{ID: 1, Run: id, Expect: version}
	for _, p := range payloads {
		a.Records = append(a.Records, eventlog.Record{Time: 1 << 40, Kind: p.Kind(), Payload: event.Encode(p)})
	}
	if _, err := log.Append(context.Background(), a); err != nil {
		t.Fatal(err)
	}
}

// TestCursorsUnderInserts: while runs are added and change, the pages of a list
// that was begun hold each run that was there, once, in order.
func TestCursorsUnderInserts(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, 5)
	v := open(t, t.TempDir(), w.log)
	var before []eventlog.RunID
	for i := range 300 {
		before = append(before, create(t, w.log, i, "a"))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 500 {
			create(t, w.log, 1000+i, "a")
		}
	})
	for _, f := range []Filter{{}, {Status: run.Running}, {Workflow: "A"}, {Workflow: "a", Status: run.Running}, {Labels: map[string]string{"team": "red"}}} {
		seen := map[eventlog.RunID]bool{}
		last := eventlog.Seq(1 << 62)
		for cursor := ""; ; {
			rows, next, err := v.Runs(ctx, f, cursor, 7)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				if seen[r.ID] || r.CreatedSeq >= last {
					t.Fatalf("%+v: run %s comes twice or out of order", f, r.ID)
				}
				seen[r.ID], last = true, r.CreatedSeq
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		for _, id := range before {
			if !seen[id] {
				t.Fatalf("%+v: run %s is skipped", f, id)
			}
		}
	}
	wg.Wait()
}

// TestCursorsOfOtherLists are refused, as is anything that is none.
func TestCursorsOfOtherLists(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, 5)
	v := open(t, t.TempDir(), w.log)
	for i := range 10 {
		create(t, w.log, i, "a")
	}
	_, next, err := v.Runs(ctx, Filter{}, "", 3)
	if err != nil || next == "" {
		t.Fatal(next, err)
	}
	if _, _, err := v.Runs(ctx, Filter{Status: run.Running}, next, 3); !errors.Is(err, ErrCursor) {
		t.Error(err)
	}
	if _, _, err := v.NextTimers(ctx, "", next, 3); !errors.Is(err, ErrCursor) {
		t.Error(err)
	}
	for _, c := range []string{"x", "!!", "AAAAAAAA"} {
		if _, _, err := v.Runs(ctx, Filter{}, c, 3); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

// TestReadsSeeTheirWrites from many goroutines at once, with the service on.
func TestReadsSeeTheirWrites(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, 5)
	v := open(t, t.TempDir(), w.log)
	if err := v.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				id := create(t, w.log, g*1000+i, fmt.Sprint("w", g))
				v.Notify(w.log.Head())
				if _, err := v.Run(ctx, id); err != nil {
					t.Error(err)
				}
				if rows, _, err := v.Runs(ctx, Filter{Workflow: fmt.Sprint("w", g)}, "", 1); err != nil || len(rows) != 1 || rows[0].ID != id {
					t.Errorf("newest run of %d: %v, %v", g, rows, err)
				}
			}
		})
	}
	wg.Wait()
	if err := v.Verify(ctx, nil); err != nil {
		t.Fatal(err)
	}
}

// TestService follows the log by itself: at the interval, at once for a backlog,
// and it syncs when nothing happens.
func TestService(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 5)
		v, err := Open(dir, w.log, Options{Logger: quiet.Logger, Interval: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // starts once
			if err := v.Start(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		create(t, w.log, 1, "a")
		v.Notify(1)
		synctest.Wait()
		if v.Applied() != 0 {
			t.Error("one event was not made to wait for others")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if v.Applied() != 1 {
			t.Error("an event was not folded within the interval")
		}
		if clean, _, _ := readMarker(dir, false); clean {
			t.Error("marked clean and not synced")
		}
		time.Sleep(2 * settle)
		synctest.Wait()
		if clean, _, _ := readMarker(dir, false); !clean {
			t.Error("not synced at rest")
		}
		for i := range backlog + 1 {
			create(t, w.log, 10+i, "a")
		}
		v.Notify(w.log.Head())
		synctest.Wait()
		if v.Applied() < backlog {
			t.Error("a backlog waits for the interval")
		}
		if clean, _, _ := readMarker(dir, false); clean {
			t.Error("still marked clean after a commit")
		}
		v.Stop()
		v.Stop()
		ctx, cancel := context.WithCancel(context.Background())
		err = v.Start(ctx)
		cancel()
		synctest.Wait()
		if err := errors.Join(err, v.Start(context.Background())); err != nil { // after its context has ended
			t.Fatal(err)
		}
		create(t, w.log, 9, "b")
		v.Notify(w.log.Head())
		time.Sleep(time.Second)
		synctest.Wait()
		if v.Applied() != w.log.Head() {
			t.Error("does not follow after it was started again")
		}
		closed(t, v)
		closed(t, v)
		if err := v.Start(context.Background()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := v.Run(context.Background(), eventlog.RunID{1}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// TestStartStop under stress leaves no goroutine behind (see TestMain).
func TestStartStop(t *testing.T) {
	w := newWorld(t, 5)
	v := open(t, t.TempDir(), w.log)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				if err := v.Start(context.Background()); err != nil {
					t.Error(err)
				}
				create(t, w.log, g*100+i, "a")
				v.Notify(w.log.Head())
				v.Stop()
			}
		})
	}
	wg.Wait()
}

// TestWaitFor waits for events that do not exist yet, and gives up with ctx.
func TestWaitFor(t *testing.T) {
	w := newWorld(t, 5)
	v := open(t, t.TempDir(), w.log)
	done := make(chan error)
	go func() { done <- v.WaitFor(context.Background(), 2) }()
	create(t, w.log, 1, "a")
	v.Notify(1)
	create(t, w.log, 2, "a")
	v.Notify(2)
	if err := <-done; err != nil || v.Applied() < 2 {
		t.Fatal(v.Applied(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := v.WaitFor(ctx, 3); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestProgress is told to the head, in steps.
func TestProgress(t *testing.T) {
	w := newWorld(t, 5)
	for i := range 2*batchEvents + 1 {
		create(t, w.log, i, "a")
	}
	v := open(t, t.TempDir(), w.log)
	var steps []eventlog.Seq
	if err := v.CatchUp(context.Background(), func(done, head eventlog.Seq) {
		if head != w.log.Head() {
			t.Errorf("head %d", head)
		}
		steps = append(steps, done)
	}); err != nil {
		t.Fatal(err)
	}
	if len(steps) != 3 || steps[2] != w.log.Head() {
		t.Errorf("steps %v", steps)
	}
}

// TestCheckpoints of a run with every kind of them.
func TestCheckpoints(t *testing.T) {
	w := newWorld(t, 5)
	id := create(t, w.log, 1, "a")
	for i := range 13 { // versions 2 to 14
		appendTo(t, w.log, id, &event.NodeCompleted{Node: "n", Visit: i + 1})
	}
	appendTo(t, w.log, id,
		&event.CheckpointCreated{At: 2, Name: "first"},
		&event.CheckpointCreated{At: 1, Pinned: true},
		&event.CheckpointCreated{At: 14, Name: "last"},
		&event.CheckpointCreated{At: 3, Pinned: true},
		&event.CheckpointCreated{At: 3}, // no longer pinned
	)
	show := func(keep int) (s string) {
		list, err := Checkpoints(w.log, id, keep)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			s += fmt.Sprintf("%d", c.At)
			if c.Node != "" {
				s += fmt.Sprintf(" %s#%d", c.Node, c.Visit)
			}
			if c.Name != "" {
				s += " " + c.Name
			}
			if c.Pinned {
				s += " pinned"
			}
			if c.Current {
				s += " current"
			}
			s += ", "
		}
		return s
	}
	want := func(keep int, s string) {
		t.Helper()
		if got := show(keep); got != s {
			t.Errorf("keep %d:\n got %s\nwant %s", keep, got, s)
		}
	}
	want(3, "14 n#13 last current, 13 n#12, 12 n#11, 2 n#1 first, 1 pinned, ")
	want(0, "14 n#13 last current, 2 n#1 first, 1 pinned, ")
	appendTo(t, w.log, id, &event.RunRestored{To: 12})
	want(3, "14 n#13 last, 13 n#12, 12 n#11 current, 2 n#1 first, 1 pinned, ")
	appendTo(t, w.log, id, &event.NodeCompleted{Node: "m", Visit: 1}, &event.CheckpointPruned{Below: 14})
	want(3, "21 m#1 current, 14 n#13 last, 2 n#1 first, 1 pinned, ")
	if list, err := Checkpoints(w.log, eventlog.RunID{9}, 10); err != nil || len(list) != 0 {
		t.Errorf("of a run that is not there: %v, %v", list, err)
	}
}
