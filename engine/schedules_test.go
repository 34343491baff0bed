package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// schedulesWorld is an engine in a bubble of synctest, whose clock can be set and which
// can die.
type schedulesWorld struct {
	t     *testing.T
	log   *eventlogtest.Memory
	dir   string
	e     *Engine
	views *projection.Views
	slow  time.Duration // that each run takes

	mu   sync.Mutex
	set  time.Duration                 // by which the clock is off
	fail func(a eventlog.Append) error // of appends; nil: none fails
}

// faulty is a log that can die.
type faulty struct {
	*eventlogtest.Memory
	w *schedulesWorld
}

func (f faulty) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	f.w.mu.Lock()
	fail := f.w.fail
	f.w.mu.Unlock()
	if fail != nil {
		if err := fail(a); err != nil {
			return 0, err
		}
	}
	return f.Memory.Append(ctx, a)
}

func inBubble(t *testing.T, f func(w *schedulesWorld)) {
	synctest.Test(t, func(t *testing.T) {
		w := &schedulesWorld{t: t, log: eventlogtest.NewMemory(), dir: t.TempDir()}
		w.start()
		register(t, w.e, "name: job\ninput: {type: object}\nnodes: {a: {exec: {command: [x]}}}")
		f(w)
		w.stop()
	})
}

func (w *schedulesWorld) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.set)
}

// setClock sets the clock off by d more.
func (w *schedulesWorld) setClock(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set += d
}

func (w *schedulesWorld) failing(fail func(eventlog.Append) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = fail
}

func (w *schedulesWorld) start() {
	w.t.Helper()
	var err error
	if w.views, err = projection.Open(w.dir, w.log, projection.Options{}); err != nil {
		w.t.Fatal(err)
	}
	r, err := agent.ParseReplies("replies.yaml", fmt.Appendf(nil, "default: {text: ok, delay: %s}", max(w.slow, time.Millisecond)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.e = New(faulty{w.log, w}, w.views, Options{Replies: r.Runner(), Now: w.now})
	if err := w.e.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *schedulesWorld) stop() {
	w.e.Stop()
	if err := w.views.Close(); err != nil {
		w.t.Error(err)
	}
}

// crash ends the engine so that nothing more comes on disk, and starts it again after a
// while.
func (w *schedulesWorld) crash(down time.Duration) {
	w.failing(func(eventlog.Append) error { return eventlog.ErrStopped })
	w.stop()
	w.failing(nil)
	time.Sleep(down)
	w.start()
}

func (w *schedulesWorld) schedule(name string, s event.Schedule) {
	w.t.Helper()
	s.Workflow = "job"
	if _, _, err := w.e.SetSchedule(context.Background(), event.TriggerID(name), s, true, "", "test"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *schedulesWorld) get(name string) Trigger {
	w.t.Helper()
	tr, err := w.e.Trigger(context.Background(), event.TriggerSchedule, event.TriggerID(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return tr
}

// starts returns when the runs of a schedule were due, in the order they were started,
// in minutes since the bubble began; and checks that each is there once, and told of
// once.
func (w *schedulesWorld) starts(name string) []string {
	w.t.Helper()
	var told, keys []string
	base := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	runs := map[eventlog.RunID]bool{}
	for after := eventlog.Seq(0); ; {
		page, err := w.log.ReadFrom(after, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Seq
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				w.t.Fatal(err)
			}
			switch p := p.(type) {
			case *event.RunCreated:
				if strings.HasPrefix(p.Key, "schedule "+name+" ") {
					keys = append(keys, p.Key)
					runs[e.Run] = true
				}
			case *event.TriggerFired:
				if p.Name == name && p.Outcome == event.FiredStarted {
					told = append(told, fmt.Sprint(p.Due.Std().Sub(base).Minutes()))
					if !runs[p.Run] {
						w.t.Errorf("the start at %s names run %s, which is not there", told[len(told)-1], p.Run)
					}
					delete(runs, p.Run)
				}
			}
		}
	}
	if len(runs) > 0 {
		w.t.Errorf("%d runs were started and not told of", len(runs))
	}
	if slices.Sort(keys); len(slices.Compact(slices.Clone(keys))) != len(keys) || len(keys) != len(told) {
		w.t.Errorf("runs were started twice, or told of twice: %v, told %v", keys, told)
	}
	return told
}

func (w *schedulesWorld) want(name string, want ...string) {
	w.t.Helper()
	synctest.Wait()
	if got := w.starts(name); !slices.Equal(got, want) {
		w.t.Errorf("%s was started at %v, want %v", name, got, want)
	}
}

// TestScheduleFires: a schedule starts one run for each time, is paused and resumed, and
// ends with its deletion.
func TestScheduleFires(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		ctx := context.Background()
		w.schedule("a", event.Schedule{Cron: "*/2 * * * *", Input: event.MustValue(map[string]any{"at": "${schedule.due}", "on": "${schedule.local}"}), Zone: "Asia/Tokyo"})
		time.Sleep(5 * time.Minute)
		w.want("a", "2", "4")
		tr := w.get("a")
		if tr.Started != 2 || tr.Next.Std().Minute() != 6 || len(tr.Recent) != 2 || tr.Recent[0].Run != tr.LastRun {
			t.Errorf("it is shown as %+v", tr)
		}
		r, err := w.e.Run(ctx, tr.LastRun)
		if err != nil || r.Status != run.Completed {
			t.Fatal(r.Status, err)
		}
		if in, _ := r.Input.MarshalJSON(); string(in) != `{"at":"2000-01-01T00:04:00Z","on":"2000-01-01T09:04:00+09:00"}` {
			t.Errorf("its input is %s", in)
		}
		if _, err := w.e.PauseTrigger(ctx, event.TriggerSchedule, "a", "holidays", "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		if tr := w.get("a"); !tr.Paused || tr.PauseReason != "holidays" || tr.PausedBy != "ann" || tr.Next != 0 {
			t.Errorf("paused, it is %+v", tr)
		}
		w.crash(2 * time.Minute) // 11
		if _, err := w.e.ResumeTrigger(ctx, event.TriggerSchedule, "a", "", false, "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w.want("a", "2", "4", "12")
		if err := w.e.DeleteTrigger(ctx, event.TriggerSchedule, "a", "", "ann"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		w.want("a", "2", "4", "12")
		if _, err := w.e.Trigger(ctx, event.TriggerSchedule, "a"); !errors.Is(err, ErrNotFound) {
			t.Errorf("after its deletion: %v", err)
		}
	})
}

// TestScheduleThroughCrashes: whatever is lost between the time that a start is due and
// the moment it is told of, there is one run for it.
func TestScheduleThroughCrashes(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		w.schedule("a", event.Schedule{Cron: "* * * * *", Overlap: event.OverlapAllow})
		var want []string
		for i := range 8 {
			lost := 0
			w.failing(func(a eventlog.Append) error {
				switch lost++; {
				case i%4 == 0 && a.Run != event.Triggers: // before the run is there
				case i%4 == 1 && a.Run == event.Triggers: // after that, and before it is told of
				case i%4 == 2 && lost == 2: // in the middle
				default:
					return nil
				}
				return eventlog.ErrFull
			})
			time.Sleep(time.Minute + time.Duration(i)*time.Second)
			w.crash(2 * time.Second)
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		end := int(time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Minutes())
		for m := 1; m <= end; m++ {
			want = append(want, fmt.Sprint(m))
		}
		w.want("a", want...)
	})
}

// TestScheduleOverlap: what is due while the run before goes on is done without, waits,
// or starts beside it, as the schedule says.
func TestScheduleOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &schedulesWorld{t: t, log: eventlogtest.NewMemory(), dir: t.TempDir(), slow: 150 * time.Second}
		w.start()
		register(t, w.e, "name: job\nnodes: {a: {exec: {command: [x]}, timeout: 1h}}")
		w.schedule("skip", event.Schedule{Cron: "* * * * *"})
		w.schedule("queue", event.Schedule{Cron: "* * * * *", Overlap: event.OverlapQueue, Queue: 2})
		w.schedule("allow", event.Schedule{Cron: "* * * * *", Overlap: event.OverlapAllow})
		time.Sleep(5*time.Minute + time.Second)
		w.want("skip", "1", "4")  // until 3:30, until 6:30
		w.want("queue", "1", "2") // until 3:30, until 6:00; 3 and 4 wait, and there is no place for 5
		w.want("allow", "1", "2", "3", "4", "5")
		if tr := w.get("queue"); len(tr.Queue) != 2 || tr.Skipped != 1 || tr.Waiting != tr.LastRun {
			t.Errorf("with a queue: %+v", tr)
		}
		if tr := w.get("skip"); tr.Skipped != 3 || !strings.Contains(tr.Recent[0].Reason, "has not ended") {
			t.Errorf("with skip: %+v", tr)
		}
		if _, err := w.e.PauseTrigger(context.Background(), event.TriggerSchedule, "allow", "", "ann"); err != nil {
			t.Fatal(err)
		}
		w.crash(10 * time.Second) // what waits is in the log; runs under way begin again
		time.Sleep(9 * time.Minute)
		w.stop()
		starts := w.starts("queue")
		if want := []string{"1", "2", "3", "4"}; !slices.Equal(starts[:4], want) {
			t.Errorf("with a queue, after a crash, there were %v", starts)
		}
	})
}

// TestScheduleCatchUp: after a time in which nothing was done, as many starts are made up
// for as the schedule says, the last ones, and none from before its window.
func TestScheduleCatchUp(t *testing.T) {
	for _, clock := range []bool{false, true} { // the daemon was down; the clock was set forward
		t.Run(fmt.Sprint(clock), func(t *testing.T) {
			inBubble(t, func(w *schedulesWorld) {
				all := event.OverlapAllow
				w.schedule("none", event.Schedule{Cron: "*/10 * * * *", Overlap: all})
				w.schedule("one", event.Schedule{Cron: "*/10 * * * *", Overlap: all, CatchUp: 1})
				w.schedule("three", event.Schedule{Cron: "*/10 * * * *", Overlap: all, CatchUp: 3})
				w.schedule("window", event.Schedule{Cron: "*/10 * * * *", Overlap: all, CatchUp: 100, Window: int64(25 * time.Minute)})
				w.schedule("alone", event.Schedule{Cron: "*/10 * * * *", CatchUp: 2})
				time.Sleep(15 * time.Minute)
				if clock {
					w.setClock(90 * time.Minute)
				} else {
					w.crash(90 * time.Minute)
				}
				time.Sleep(11 * time.Minute) // 116
				w.want("none", "10", "110")
				w.want("one", "10", "100", "110")
				w.want("three", "10", "80", "90", "100", "110")
				w.want("window", "10", "90", "100", "110")
				w.want("alone", "10", "90", "110") // 100 came while the run of 90 went on
				if tr := w.get("one"); tr.Skipped != 8 || tr.Recent[2].Count != 8 || !strings.Contains(tr.Recent[2].Reason, "missed") {
					t.Errorf("what was missed is shown as %+v", tr.Recent)
				}
			})
		})
	}
}

// TestClockSetBack: a clock that is set back has nothing done twice, and one that was
// wrong by years does not keep schedules from going on.
func TestClockSetBack(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		w.schedule("a", event.Schedule{Cron: "*/10 * * * *", CatchUp: 1})
		time.Sleep(45 * time.Minute)
		w.setClock(-30 * time.Second)
		time.Sleep(10 * time.Minute) // 54:30
		w.want("a", "10", "20", "30", "40", "50")
		w.setClock(-25 * time.Minute) // 29:30
		time.Sleep(35 * time.Minute)  // 64:30
		w.want("a", "10", "20", "30", "40", "50", "60")
		w.setClock(365 * 24 * time.Hour)
		time.Sleep(time.Minute)
		w.setClock(-365 * 24 * time.Hour) // 65:30
		time.Sleep(5 * time.Minute)
		w.crash(time.Second)
		time.Sleep(10 * time.Minute) // 80:31
		w.want("a", "10", "20", "30", "40", "50", "60", "525660", "70", "80")
	})
}

// TestScheduleFails: a run that cannot be started is told of with the reason, and the
// next one is tried.
func TestScheduleFails(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		ctx := context.Background()
		for want, s := range map[string]event.Schedule{
			"overlap is":        {Workflow: "job", Cron: "@daily", Overlap: "both"},
			"cron":              {Workflow: "job", Cron: "often"},
			"time zone":         {Workflow: "job", Cron: "@daily", Zone: "Nowhere/X"},
			"workflow \"none\"": {Workflow: "none", Cron: "@daily"},
			"missed starts":     {Workflow: "job", Cron: "@daily", CatchUp: 5000},
			"spread over":       {Workflow: "job", Cron: "@daily", Jitter: int64(2 * time.Hour)},
			"a queue is for":    {Workflow: "job", Cron: "@daily", Queue: 3},
			"only [schedule]":   {Workflow: "job", Cron: "@daily", Input: event.MustValue("${state.x}")},
		} {
			if _, _, err := w.e.SetSchedule(ctx, "x", s, false, "", "test"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %q", s, err, want)
			}
		}
		register(t, w.e, "name: strict\ninput: {type: object, required: [n]}\nnodes: {a: {exec: {command: [x]}}}")
		if _, _, err := w.e.SetSchedule(ctx, "a", event.Schedule{Workflow: "strict", Cron: "* * * * *", Input: event.MustValue(map[string]any{"m": 1})}, false, "", "test"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.e.SetSchedule(ctx, "a", event.Schedule{Workflow: "job", Cron: "* * * * *"}, false, "", "test"); !errors.Is(err, ErrExists) {
			t.Errorf("another one of the name: %v", err)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if tr := w.get("a"); tr.Failed != 3 || !strings.Contains(tr.Recent[0].Reason, "n") || tr.Started != 0 {
			t.Errorf("it is shown as %+v", tr)
		}
		if _, err := w.e.Do(ctx, eventlog.RunID{9}, machine.Cancel{}, By{}); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestBackfill: past times are started once, one after the other.
func TestBackfill(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		ctx := context.Background()
		w.schedule("a", event.Schedule{Cron: "*/10 * * * *"})
		time.Sleep(35 * time.Minute)
		done, err := w.e.Backfill(ctx, "a", w.now().Add(-65*time.Minute), w.now().Add(time.Hour), "ann")
		if err != nil || len(done.Queued) != 4 || done.There != 3 { // 23:30 to 0:00; and 10, 20, 30
			t.Fatal(done, err)
		}
		time.Sleep(time.Minute)
		w.want("a", "10", "20", "30", "-30", "-20", "-10", "0")
		if done, err := w.e.Backfill(ctx, "a", w.now().Add(-65*time.Minute), w.now(), "ann"); err != nil || len(done.Queued) != 0 || done.There != 6 {
			t.Errorf("again: %+v, %v", done, err)
		}
		if _, err := w.e.Backfill(ctx, "a", w.now().Add(-365*24*time.Hour), w.now(), "ann"); !errors.Is(err, machine.ErrInvalid) {
			t.Errorf("too long: %v", err)
		}
	})
}

// TestManySchedules: ten thousand schedules that are due together are ten thousand runs,
// and cost no goroutine each while they are not due.
func TestManySchedules(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("long")
	}
	inBubble(t, func(w *schedulesWorld) {
		const n = 10_000
		for i := range n {
			w.schedule(fmt.Sprintf("s%d", i), event.Schedule{Cron: "@hourly", Jitter: int64(10 * time.Second)})
		}
		w.crash(time.Second)
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		_, fires := w.e.TriggerTotals()
		if got := fires[TriggerCount{event.TriggerSchedule, event.FiredStarted}]; got != n {
			t.Errorf("%d runs of %d were started", got, n)
		}
	})
}

// TestTriggerDelays: a schedule that is due and cannot start its run is overdue, and is
// not once it could; what waits for the end of a run is counted.
func TestTriggerDelays(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		w.schedule("a", event.Schedule{Cron: "0 * * * *"})
		time.Sleep(90 * time.Minute)
		if d := w.e.TriggerDelays(); d != (TriggerDelays{}) {
			t.Errorf("nothing is late, and %+v is", d)
		}
		w.failing(func(eventlog.Append) error { return eventlog.ErrFull })
		time.Sleep(45 * time.Minute) // it was due a quarter of an hour ago
		if d := w.e.TriggerDelays(); d.Overdue < 14*time.Minute || d.Overdue > 16*time.Minute {
			t.Errorf("it is overdue by %s", d.Overdue)
		}
		w.failing(nil)
		time.Sleep(time.Minute)
		if d := w.e.TriggerDelays(); d.Overdue != 0 {
			t.Errorf("it is overdue by %s, and was started", d.Overdue)
		}
	})
}
