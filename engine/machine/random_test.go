package machine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// history is a run driven by a test: its state, and its events as the log would
// hold them.
type history struct {
	t      testing.TB
	wf     *workflow.Workflow
	s      *run.State
	events []eventlog.Event
	at     event.Time
	before []byte // snapshot before the last command
	cmd    Command
	choose func(*workflow.Node, *run.Visit) *event.AgentChosen
	asked  int // of choose
	meter  Meter
}

func newHistory(t testing.TB, source string) *history {
	t.Helper()
	wf, problems := workflow.Load("test.yaml", []byte(source))
	if wf == nil {
		t.Fatalf("%v\n%s", problems, source)
	}
	h := &history{t: t, wf: wf, s: run.New(eventlog.RunID{1, 2, 3}), at: 1, choose: func(*workflow.Node, *run.Visit) *event.AgentChosen { return nil }}
	h.s.Past = h.past
	return h
}

// past folds the events kept so far.
func (h *history) past(v eventlog.Version) (*run.State, error) { return fold(h.events[:v]) }

func fold(events []eventlog.Event) (*run.State, error) {
	s := run.New(eventlog.RunID{1, 2, 3})
	s.Past = func(v eventlog.Version) (*run.State, error) { return fold(events[:v]) }
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// do decides a command and keeps what follows.
func (h *history) do(c Command) []Event {
	h.t.Helper()
	h.at += 1e6
	h.before, h.cmd = snapshot(h.t, h.s), c
	decided, err := Decide(h.wf, h.s, Meta{At: h.at, Actor: "test", Choose: h.choose, Meter: h.meter}, c)
	if err != nil {
		h.t.Fatalf("%T %+v: %v", c, c, err)
	}
	h.keep(decided)
	return decided
}

func (h *history) keep(decided []Event) {
	for _, d := range decided {
		n := len(h.events) + 1
		h.events = append(h.events, eventlog.Event{
			Seq: eventlog.Seq(n), Run: h.s.Run, Version: eventlog.Version(n),
			Time: d.Record.Time, Kind: d.Record.Kind, Actor: d.Record.Actor, Payload: d.Record.Payload,
		})
	}
	h.s.Seq = eventlog.Seq(len(h.events))
}

// checkFold compares the live state with the fold of the events, and with a
// snapshot of itself.
func (h *history) checkFold() {
	h.t.Helper()
	folded, err := fold(h.events)
	if err != nil {
		h.t.Fatalf("replay: %v", err)
	}
	want, got := snapshot(h.t, h.s), snapshot(h.t, folded)
	if !bytes.Equal(want, got) {
		h.t.Fatalf("live and replayed state differ at version %d:\n%s\n%s", h.s.Version, dump(h.s), dump(folded))
	}
	again, err := run.Restore(got)
	if err != nil {
		h.t.Fatal(err)
	}
	if !bytes.Equal(got, snapshot(h.t, again)) {
		h.t.Fatalf("a snapshot does not give the state it was made of, at version %d", h.s.Version)
	}
}

// checkPrefixes decides Continue at every cut of the last append and wants
// exactly the events that were cut off.
func (h *history) checkPrefixes(last []Event) {
	h.t.Helper()
	from := len(h.events) - len(last)
	was, err := run.Restore(h.before)
	if err != nil || len(was.Live) > MaxParallel {
		return // what is queued may start sooner
	}
	for _, v := range was.Live {
		if was.Limits != nil && v.Status == run.NodeScheduled {
			return // and so may what waits for a budget
		}
	}
	first := 1
	switch h.cmd.(type) {
	case Wake, Recover, Resume, Cancel, Restore, Retry:
		// Several things may have been due, or were lost: each is a fact of its own,
		// and what a person decided is known once it is said.
		for i, e := range last {
			if p, ok := e.Payload.(*event.StateSet); ok && p.Node == "" && !p.Merge {
				first = i + 1 // what a person sets
			}
			switch e.Record.Kind {
			case event.KindNodeLost, event.KindTimerFired, event.KindRunCancelled, event.KindRunRestored, event.KindRunPaused, event.KindBudgetRaised:
				first = i + 1
			}
		}
	}
	for cut := first; cut < len(last); cut += 1 + len(last)/40 {
		s, err := run.Restore(h.before)
		if err != nil {
			h.t.Fatal(err)
		}
		s.Past = h.past
		for _, e := range h.events[from : from+cut] {
			if err := s.Apply(e); err != nil {
				h.t.Fatal(err)
			}
		}
		want := last[cut:]
		got, err := Decide(h.wf, s, Meta{At: h.at, Actor: "test", Choose: h.chosen(want), Meter: told(want)}, Continue{})
		if err != nil {
			h.t.Fatalf("continuing at version %d: %v", from+cut, err)
		}
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i].Record.Kind != want[i].Record.Kind || !bytes.Equal(got[i].Record.Payload, want[i].Record.Payload) {
				h.t.Fatalf("continuing after event %d of %T gives\n%s\nafter\n%s", cut, h.cmd, list(got), list(last))
			}
		}
	}
}

// someone chooses for about two of three attempts, another one each time it is asked.
func (h *history) someone(_ *workflow.Node, v *run.Visit) *event.AgentChosen {
	if (len(v.Node)+int(v.Node[len(v.Node)-1])+v.Visit+v.Attempt)%3 == 0 {
		return nil
	}
	h.asked++
	return &event.AgentChosen{Agent: fmt.Sprint("agent-", h.asked), Provider: "test"}
}

// chosen answers from events, and wants nothing asked that stands before them.
func (h *history) chosen(events []Event) func(*workflow.Node, *run.Visit) *event.AgentChosen {
	return func(n *workflow.Node, v *run.Visit) *event.AgentChosen {
		for _, e := range events {
			if p, ok := e.Payload.(*event.AgentChosen); ok && p.Node == v.Node && p.Visit == v.Visit && p.Attempt == v.Attempt+1 {
				again := *p
				return &again
			}
		}
		if h.choose(n, v) != nil {
			h.t.Errorf("%s, visit %d, attempt %d: somebody is chosen a second time", v.Node, v.Visit, v.Attempt+1)
		}
		return nil
	}
}

func snapshot(t testing.TB, s *run.State) []byte {
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dump(s *run.State) string { return fmt.Sprintf("%+v", *s) }

func list(events []Event) string {
	var b bytes.Buffer
	for _, e := range events {
		fmt.Fprintf(&b, "  %s %+v\n", event.KindName(e.Record.Kind), e.Payload)
	}
	return b.String()
}

// running returns the visits that wait for a runner, in order.
func (h *history) running() []*run.Visit {
	var vs []*run.Visit
	for _, id := range h.s.LiveIDs() {
		if v := h.s.Live[id]; v.Status == run.NodeRunning && v.Each == nil {
			vs = append(vs, v)
		}
	}
	return vs
}

// someTasks are what a plan is answered with.
var someTasks = []any{
	map[string]any{"description": "a"}, map[string]any{"description": "b", "role": "critic", "prerequisites": []any{0}},
	map[string]any{"description": "c"}, map[string]any{"description": "d", "prerequisites": []any{1, 2}},
}

// drive runs a program to its end, with completions in random order, failures,
// losses, pauses and restores of nothing: none of it may change what is done.
func drive(t testing.TB, seed uint64, p *program, source string, trouble bool) *history {
	h := newHistory(t, source)
	h.choose = h.someone
	rng := rand.New(rand.NewPCG(seed, 2))
	last := h.do(Start{})
	for steps := 0; !h.s.Status.Terminal(); steps++ {
		if steps > 20000 {
			t.Fatalf("seed %d: no end\n%s", seed, source)
		}
		h.checkPrefixes(last)
		if steps%7 == 0 {
			h.checkFold()
		}
		if trouble {
			switch rng.IntN(12) {
			case 0:
				last = h.do(Recover{Reason: "test"})
				continue
			case 1:
				if h.s.Status == run.Running || h.s.Status == run.Waiting {
					last = h.do(Pause{})
					continue
				}
			case 2:
				s, err := fold(h.events) // a restart
				if err != nil {
					t.Fatal(err)
				}
				h.s = s
			}
		}
		vs := h.running()
		if len(vs) == 0 {
			if h.s.Status == run.Paused {
				last = h.do(Resume{})
				continue
			}
			at, ok := Due(h.s)
			if !ok {
				t.Fatalf("seed %d: the run stands still, %s\n%s\n%s", seed, h.s.Status, dump(h.s), source)
			}
			h.at = at
			last = h.do(Wake{})
			continue
		}
		v := vs[rng.IntN(len(vs))]
		if rng.IntN(5) == 0 {
			last = h.do(Note{event.ToolCalled{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Call: v.Calls + 1, Tool: "search", Arguments: event.Null}})
			continue
		}
		r := Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt}
		if trouble && v.Tried < 3 && rng.IntN(6) == 0 {
			r.Failure = &event.Failure{Class: event.ClassTimeout, Message: "test"}
		} else {
			r.Value = event.MustValue(map[string]any{"v": p.value(v.Node, v.Visit), "text": "for a chat", "tasks": someTasks})
		}
		last = h.do(r)
		if h.s.Status == run.Paused && rng.IntN(2) == 0 {
			h.do(Resume{})
			last = nil
		}
	}
	h.checkPrefixes(last)
	h.checkFold()
	return h
}

// Random structured graphs with known firing counts complete, fire each node as
// often as the slow twin says and leave the same state, whatever the order of
// completions and whatever fails, is lost or paused in between.
func TestRandomGraphs(t *testing.T) {
	n := uint64(24)
	if s := os.Getenv("WFD_GRAPHS"); s != "" {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	if testing.Short() {
		n = 12
	}
	fired := 0
	for seed := range n {
		p, source, visits := newProgram(seed, 1+int(seed%4))
		var first map[string]event.Value
		for order := range uint64(3) {
			h := drive(t, seed*31+order, p, source, order > 0)
			if h.s.Status != run.Completed {
				t.Fatalf("seed %d: %s: %+v\n%s", seed, h.s.Status, h.s.Failure, source)
			}
			for id, want := range visits {
				got := 0
				if k := h.s.Nodes[id]; k != nil {
					got = k.Completed
				}
				if got != want {
					t.Fatalf("seed %d, order %d: node %s completed %d times, want %d\n%s", seed, order, id, got, want, source)
				}
				fired += got
			}
			if first == nil {
				first = h.s.Vars
			}
			for k, v := range first {
				if !bytes.Equal(v, h.s.Vars[k]) {
					a, _ := v.Any()
					b, _ := h.s.Vars[k].Any()
					t.Fatalf("seed %d, order %d: state %s depends on the order of completions:\n%v\n%v\n%s", seed, order, k, a, b, source)
				}
			}
		}
	}
	if fired < int(n)*10 {
		t.Fatalf("only %d visits in %d graphs: the generator is too tame", fired, n)
	}
}
