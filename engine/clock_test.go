package engine

import (
	"context"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// TestClockJumps: a clock that is set back by an hour, forward by a year, or both while
// nothing runs, has every timer fire once and none before its time; the events of a run
// have times in their order, and no row ends before it began.
func TestClockJumps(t *testing.T) {
	inBubble(t, func(w *schedulesWorld) {
		register(t, w.e, "name: nap\nnodes:\n  soon: {wait: {for: 30m}}\n  later: {wait: {for: 20h}, needs: [soon]}\n")
		register(t, w.e, "name: ask\nnodes:\n  who: {human: {prompt: '?', timeout: 480h, on_timeout: late}}\n  late: {exec: {command: [x]}}\n")
		var naps, asks []eventlog.RunID
		begin := func() {
			naps = append(naps, start(t, w.e, "nap", nil).ID)
			asks = append(asks, start(t, w.e, "ask", nil).ID)
		}
		begin()
		time.Sleep(10 * time.Minute)
		w.setClock(-time.Hour) // its timer is due in 80 minutes
		begin()
		time.Sleep(time.Minute)
		if n := w.fired(); n != 0 {
			t.Fatalf("%d timers have fired", n)
		}
		w.crash(5 * time.Minute) // what the process had measured is gone
		time.Sleep(40 * time.Minute)
		if n := w.fired(); n != 1 { // of the second nap, which began with the clock as it is
			t.Errorf("%d timers have fired, and one was due", n)
		}
		time.Sleep(40 * time.Minute)
		if n := w.fired(); n != 2 {
			t.Errorf("%d timers have fired, and two were due", n)
		}
		begin()
		w.setClock(365 * 24 * time.Hour) // beyond what is held in memory
		time.Sleep(time.Minute)
		if n := w.fired(); n != 2+2+1+3 { // the long waits, the new short one, the questions
			t.Errorf("%d timers have fired within a minute, and eight were due", n)
		}
		w.setClock(-365 * 24 * time.Hour)
		w.crash(time.Second)
		time.Sleep(time.Minute)
		if _, err := w.e.Do(context.Background(), naps[2], machine.Cancel{}, By{Actor: "test"}); err != nil {
			t.Error(err)
		}
		for _, id := range append(naps[:2:2], asks...) {
			await(t, w.e, id, status(run.Completed))
		}
		if n := w.fired(); n != 8 {
			t.Errorf("%d timers have fired after the clock was set right", n)
		}
		for _, id := range append(naps, asks...) {
			row, err := w.views.Run(context.Background(), id)
			if err != nil || row.Ended < row.Created || row.Updated < row.Created {
				t.Errorf("run %s began at %d, moved at %d and ended at %d (%v)", id, row.Created, row.Updated, row.Ended, err)
			}
		}
		if err := w.views.Verify(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
}

// fired counts the timers that have fired, and holds the times of all events against
// their order and against the times of timers.
func (w *schedulesWorld) fired() (n int) {
	w.t.Helper()
	type timer struct {
		run   eventlog.RunID
		node  string
		visit int
		of    string
	}
	last, set := map[eventlog.RunID]int64{}, map[timer]event.Time{}
	for after := eventlog.Seq(0); ; {
		page, err := w.log.ReadFrom(after, 1000)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(page) == 0 {
			return n
		}
		for _, e := range page {
			if after = e.Seq; e.Time < last[e.Run] {
				w.t.Errorf("event %d is earlier than the one before it", e.Seq)
			}
			last[e.Run] = e.Time
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				w.t.Fatal(err)
			}
			switch p := p.(type) {
			case *event.TimerSet:
				set[timer{e.Run, p.Node, p.Visit, p.For}] = p.At
			case *event.TimerFired:
				k := timer{e.Run, p.Node, p.Visit, p.For}
				if at, ok := set[k]; !ok || event.Time(e.Time) < at {
					w.t.Errorf("event %d: %+v fires at %d; it was set to %d (%v)", e.Seq, k, e.Time, at, ok)
				}
				delete(set, k)
				n++
			}
		}
	}
}
