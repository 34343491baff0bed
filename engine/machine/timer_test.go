package machine

import (
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A timer fires when it is due and not a moment before, and once: whoever looks, and
// however the clock was set meanwhile.
func TestTimersFireWhenTheyAreDue(t *testing.T) {
	w, problems := workflow.Load("nap.yaml", []byte("name: nap\nnodes: {w: {wait: {for: 1h}}, after: {wait: {signal: go}, needs: [w]}}\n"))
	if w == nil {
		t.Fatal(problems)
	}
	s := run.New(eventlog.RunID{1})
	began := event.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if _, err := Decide(w, s, Meta{At: began}, Start{Version: 1}); err != nil {
		t.Fatal(err)
	}
	due, ok := Due(s)
	if !ok || due != began+event.Time(time.Hour) {
		t.Fatalf("due %v, %v", due.Std(), ok)
	}
	for _, at := range []event.Time{began, due - event.Time(time.Second), began - event.Time(24*time.Hour), due - 1} {
		if events, err := Decide(w, s, Meta{At: at}, Wake{}); err != nil || len(events) > 0 {
			t.Fatalf("%v before it is due: %d events, %v", time.Duration(due-at), len(events), err)
		}
	}
	fired := 0
	for _, at := range []event.Time{due, due + 1, due - 1, due + event.Time(365*24*time.Hour)} {
		events, err := Decide(w, s, Meta{At: at}, Wake{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Payload.Kind() == event.KindTimerFired {
				fired++
			}
			if e.Record.Time < int64(began) {
				t.Errorf("an event of %v is before the run began", e.Payload.Kind())
			}
		}
	}
	if fired != 1 {
		t.Errorf("the timer fired %d times", fired)
	}
}
