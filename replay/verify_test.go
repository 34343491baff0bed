package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Every history that the machine decides verifies, whatever happened to the run.
func TestVerifyRandomRuns(t *testing.T) {
	t.Parallel()
	n := seeds(300)
	events := 0
	for seed := range n {
		m := zooRun(t, seed)
		for _, r := range m.runs {
			v, err := Verify(m.log, m.defs, r.s.Run)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if !v.OK || v.NotFrom != 0 || v.Verified != r.s.Version {
				t.Fatalf("seed %d, %s: %s", seed, r.wf.Name, jsonOf(v))
			}
			events += int(v.Version)
		}
	}
	t.Logf("%d events", events)
	if events < int(n)*15 {
		t.Fatalf("only %d events in %d simulations", events, n)
	}
}

// A decision that is larger than one may be goes on in the next append, and follows
// too; what is missing of it is named.
func TestVerifyOfACutDecision(t *testing.T) {
	var keys, sets strings.Builder
	for i := range 280 { // 60 kB each: more than 16 MiB
		fmt.Fprintf(&keys, "  k%d: {type: string}\n", i)
		fmt.Fprintf(&sets, "      k%d: \"${input.text}\"\n", i)
	}
	source := "name: wide\nstate:\n" + keys.String() + "nodes:\n  a:\n    exec: [x]\n    set:\n" + sets.String() + "  b: {exec: [x], needs: [a]}\n"
	m := newSim(t, 1, source)
	m.calm = true
	r := m.start("wide", map[string]any{"text": strings.Repeat("x", 60_000)})
	m.step(r)
	if r.s.Live["b"] == nil {
		t.Fatal("b has not begun")
	}
	events := list(m.events(r.s.Run))
	at := slices.IndexFunc(events, func(e eventlog.Event) bool { return e.Kind == event.KindEdgeTaken }) + 1
	if events[at].Append == events[at-1].Append {
		t.Fatal("the decision was not cut")
	}
	v, err := Verify(m.log, m.defs, r.s.Run)
	if err != nil || !v.OK || v.Verified != r.s.Version {
		t.Fatalf("%v %s", err, jsonOf(v))
	}
	if rep := whatIfAll(t, m, source, "wide"); rep.Same != 1 {
		t.Errorf("%s", jsonOf(rep.Groups))
	}
	for _, i := range []int{at - 1, at, len(events) - 1} {
		v, err = Verify(slices.Delete(slices.Clone(events), i, i+1).renumber(), m.defs, r.s.Run)
		if err != nil || v.OK {
			t.Errorf("%s is missing, and nobody sees it: %v", event.KindName(events[i].Kind), err)
		}
	}
}

// What cannot be verified is said, from which version on, and passes.
func TestVerifySaysWhatItCannot(t *testing.T) {
	m := calmLoops(t, 1)
	id := m.runs[0].s.Run
	v, err := Verify(m.log, known{}, id)
	if err != nil || !v.OK || v.NotFrom != 1 || !strings.Contains(v.Why, "definition is gone") {
		t.Errorf("without its definition: %v %s", err, jsonOf(v))
	}
	events := list(m.events(id))
	at := len(events) - 3
	events[at].Payload, events[at].Erased = nil, true
	begin := at
	for events[begin-1].Append == events[at].Append {
		begin--
	}
	v, err = Verify(events, m.defs, id)
	if err != nil || !v.OK || int(v.NotFrom) != begin+1 || int(v.Verified) != begin || !strings.Contains(v.Why, "erased") {
		t.Errorf("erased at version %d: %v %s", at+1, err, jsonOf(v))
	}
	if _, err := Why(events, m.defs, id, "publish", 0, Position{Version: eventlog.Version(at)}); err != nil {
		t.Errorf("why before what was erased: %v", err)
	}
	if _, err := Frames(events, id, 0, 1000); err != nil {
		t.Errorf("frames of a run with an erased event: %v", err)
	}
	if _, err := Verify(m.log, m.defs, eventlog.RunID{9}); !errors.Is(err, run.ErrNotFound) {
		t.Errorf("no such run: %v", err)
	}
}

// A fork verifies, is explained by what it was forked from too, and differs from
// it from there on only.
func TestForks(t *testing.T) {
	m := calmLoops(t, 1)
	origin := m.runs[0]
	at := eventlog.Version(0)
	for _, e := range m.events(origin.s.Run) {
		if e.Kind == event.KindEdgeTaken {
			at = e.Version // the last of them: to publish
		}
	}
	fork := &simRun{wf: origin.wf, s: newState(m.log, m.id())}
	m.runs = append(m.runs, fork)
	m.do(fork, "ann", machine.Fork{From: origin.s.Run, At: at - 1, Set: map[string]event.Value{"score": event.MustValue(0.1)}})
	m.answer = func(v *run.Visit) any { return map[string]any{"v": int64(7), "score": 0.9} }
	m.drive()
	if fork.s.Status != run.Completed {
		t.Fatalf("the fork is %s", fork.s.Status)
	}
	v, err := Verify(m.log, m.defs, fork.s.Run)
	if err != nil || !v.OK || v.Verified != fork.s.Version {
		t.Errorf("%v %s", err, jsonOf(v))
	}
	x, err := Why(m.log, m.defs, fork.s.Run, "publish", 0, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Steps[0].VisitKey != (VisitKey{"draft", 1}) || x.Steps[len(x.Steps)-1].Node != "publish" {
		t.Errorf("%s", jsonOf(x.Steps))
	}
	d, err := Compare(m.log, origin.s.Run, Position{}, fork.s.Run, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Decision == nil || d.Decision.A[0].To != "publish" || d.Decision.B[0].To != "draft" {
		t.Errorf("%s", jsonOf(d))
	}
}

// A history that is in the log as one append, as an import leaves it, follows from
// its facts as well.
func TestVerifyImportedRuns(t *testing.T) {
	t.Parallel()
	for seed := range seeds(40) {
		m := zooRun(t, 9000+seed)
		for _, r := range m.runs {
			events := m.events(r.s.Run)
			if len(events) == 0 || events[0].Kind == event.KindRunForked {
				continue
			}
			for i := range events {
				events[i].Append, events[i].Actor = 1, event.ImportedActor(events[i].Actor)
			}
			p := &event.RunImported{Origin: "wfd.dev/elsewhere", Pause: "imported"}
			last := events[len(events)-1]
			events = append(events, eventlog.Event{
				Seq: last.Seq + 1, Run: last.Run, Version: last.Version + 1, Time: last.Time, Kind: p.Kind(), Payload: event.Encode(p), Append: 1, Actor: "ann",
			})
			v, err := Verify(list(events), m.defs, r.s.Run)
			if err != nil || !v.OK || v.NotFrom != 0 {
				t.Fatalf("seed %d, %s: %s, %v", seed, r.wf.Name, jsonOf(v), err)
			}
		}
	}
}
