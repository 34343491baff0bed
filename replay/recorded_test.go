package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

var update = flag.Bool("update", false, "record the histories of testdata that are not there yet")

const histories = "../testdata/histories"

// recordedLine is a line of a recorded history: a definition, or an event. Event
// is there to be read by people; the bytes are in Payload.
type recordedLine struct {
	Definition json.RawMessage   `json:"definition,omitempty"`
	Event      json.RawMessage   `json:"event,omitempty"`
	Append     eventlog.AppendID `json:"append,omitempty"`
	Payload    []byte            `json:"payload,omitempty"`
}

// scenes make the histories that are recorded.
var scenes = map[string]func(t *testing.T) *sim{
	"retries": func(t *testing.T) *sim { // failures, a loss, a result that does not fit, a loop
		m := newSim(t, 1, zoo["loop"])
		m.calm = true
		m.answer = func(v *run.Visit) any {
			return map[string]any{"v": int64(1), "score": map[int]float64{1: 0.99, 2: 0.4, 3: 0.3}[v.Attempt] + 0.2*float64(v.Visit-1)}
		}
		r := m.start("loop", map[string]any{"topic": "logs"})
		m.do(r, "runner", machine.Result{Node: "draft", Visit: 1, Attempt: 1, Failure: &event.Failure{Class: event.ClassTimeout, Message: "took 2m"}})
		m.step(r)
		m.do(r, "system", machine.Recover{Reason: "restarted"})
		m.drive()
		return m
	},
	"branches": func(t *testing.T) *sim { // parallel branches, one of which fails into a converge
		m := newSim(t, 4, zoo["fan"])
		m.calm = true
		r := m.start("fan", map[string]any{})
		m.do(r, "runner",
			machine.Result{Node: "c", Visit: 1, Attempt: 1, Value: event.MustValue("c")},
			machine.Result{Node: "b", Visit: 1, Attempt: 1, Failure: &event.Failure{Class: event.ClassAuth, Message: "no"}})
		m.drive()
		return m
	},
	"quorum": func(t *testing.T) *sim { // a join that fires early, an early signal, a late result
		m := newSim(t, 5, zoo["race"])
		m.calm = true
		r := m.start("race", map[string]any{})
		m.do(r, "bob", machine.Signal{Name: "go", Value: event.MustValue("early")})
		m.do(r, "runner", machine.Result{Node: "b", Visit: 1, Attempt: 1, Value: event.MustValue(1)})
		m.do(r, "runner", machine.Result{Node: "a", Visit: 1, Attempt: 1, Value: event.MustValue(2)})
		m.drive()
		return m
	},
	"deadline": func(t *testing.T) *sim { // a question that nobody answers in time
		m := newSim(t, 6, zoo["people"])
		m.calm = true
		r := m.start("people", map[string]any{"who": "Ann"})
		m.now += 3 * 3600e9
		m.do(r, "system", machine.Wake{})
		m.drive()
		return m
	},
	"restored": func(t *testing.T) *sim { // a checkpoint, a pause, a way back, another answer
		m := newSim(t, 7, zoo["people"])
		m.calm = true
		m.answer = func(v *run.Visit) any { return map[string]any{"ok": true} }
		r := m.start("people", map[string]any{"who": "Ann"})
		m.do(r, "ann", machine.Checkpoint{Name: "asked"})
		m.do(r, "bob", machine.Answer{Node: "ask", Value: event.MustValue(map[string]any{"ok": false})})
		m.do(r, "ann", machine.Pause{Reason: "wrong"}, machine.Restore{To: 4, Name: "asked"})
		m.drive()
		return m
	},
	"children": func(t *testing.T) *sim { // child runs, items, items that are child runs
		m := newSim(t, 8, zoo["tree"], zoo["loop"])
		m.calm = true
		m.answer = func(v *run.Visit) any {
			return map[string]any{"v": int64(1), "score": 0.8, "list": []any{int64(1), int64(2)}}
		}
		m.start("tree", map[string]any{})
		m.drive()
		return m
	},
	"breakpoints": func(t *testing.T) *sim { // stops, other state, other breakpoints, a way back to one
		m := newSim(t, 9, zoo["loop"])
		m.calm = true
		m.answer = func(v *run.Visit) any { return map[string]any{"v": int64(v.Visit), "score": 0.3 * float64(v.Visit)} }
		r := m.startAs(m.id(), "loop", machine.Start{Version: 1, Input: event.MustValue(nil), Breakpoints: []string{"node=review", "edge=review->draft", "if=state.score > 0.8"}})
		m.step(r) // draft
		m.do(r, "ann", machine.Resume{})
		m.step(r) // review
		m.do(r, "ann", machine.Checkpoint{Name: "low"}, machine.Resume{Reason: "good enough", Set: map[string]event.Value{"score": event.MustValue(0.9)}})
		m.do(r, "ann", machine.Restore{To: r.s.Marks[0].At, Name: "low"})
		m.do(r, "ann", machine.Resume{Rebreak: true, Breakpoints: []string{"node=publish"}})
		m.drive()
		return m
	},
	"retried": func(t *testing.T) *sim { // what failed, from an earlier visit, after the run's timeout
		m := newSim(t, 10, zoo["race"])
		m.calm = true
		r := m.start("race", map[string]any{})
		fail := func(node string) {
			v := r.s.Live[node]
			m.do(r, "runner", machine.Result{Node: node, Visit: v.Visit, Attempt: v.Attempt, Failure: &event.Failure{Class: event.ClassAuth, Message: "no key"}})
		}
		m.do(r, "runner", machine.Result{Node: "a", Visit: 1, Attempt: 1, Value: event.MustValue(1)})
		fail("b")
		m.do(r, "bob", machine.Signal{Name: "go", Value: event.Null})
		fail("end")
		m.do(r, "ann", machine.Retry{Reason: "the key is there"})
		m.now += 30 * 3600e9
		m.do(r, "system", machine.Wake{})
		visits, err := projection.Visits(m.log, r.s.Run)
		if err != nil {
			t.Fatal(err)
		}
		m.do(r, "ann", machine.Retry{Node: visits[2].Node, Visit: visits[2].Visit, To: visits[2].Begins - 1, Reason: "from there"})
		m.drive()
		return m
	},
	"forked": func(t *testing.T) *sim { // in the middle of a foreach, with another input; breakpoints of its own
		m := newSim(t, 12, `
name: items
state: {done: {type: integer, default: 0}}
nodes:
  each: {foreach: {items: "${input.urls}", do: {exec: {command: [x]}}, max_parallel: 1}, set: {done: "${size(result)}"}}
  sub: {workflow: loop, needs: [each]}
`, zoo["loop"])
		m.calm = true
		m.answer = func(v *run.Visit) any { return map[string]any{"v": int64(1), "score": 0.7} }
		r := m.start("items", map[string]any{"urls": []any{"a", "b"}})
		m.step(r) // each[0]
		at := r.s.Version
		m.drive()
		for _, c := range []machine.Fork{
			{From: r.s.Run, At: at, Breakpoints: []string{"node=sub"}},
			{From: r.s.Run, At: at, Input: event.MustValue(map[string]any{"urls": []any{"c", "d", "e"}}), Set: map[string]event.Value{"done": event.MustValue(9)}},
		} {
			f := &simRun{wf: r.wf, s: newState(m.log, m.id())}
			m.runs = append(m.runs, f)
			m.do(f, "ann", c)
			m.drive()
		}
		return m
	},
	"chats": func(t *testing.T) *sim { // turns that fail, are lost and missed; one in parallel that is given up; a fork amid one
		m := newSim(t, 13, zoo["talk"])
		m.calm = true
		r := m.start("talk", map[string]any{"who": "Ann"})
		turn := func(node, failure string) {
			v := r.s.Live[node]
			c := machine.Result{Node: node, Visit: v.Visit, Attempt: v.Attempt, Value: event.MustValue(says(r.wf.Node(node), v)), Usage: &event.Usage{InputTokens: 9, OutputTokens: 3}}
			if failure != "" {
				c.Value, c.Failure = nil, &event.Failure{Class: failure, Message: "it broke"}
			}
			m.do(r, "runner", c)
		}
		turn("debate", "")
		turn("debate", event.ClassTimeout)
		m.now += 10e9
		m.do(r, "system", machine.Wake{})
		turn("debate", event.ClassTimeout) // missed
		m.do(r, "system", machine.Recover{Reason: "restarted"})
		turn("debate", "")
		turn("debate", "")
		at := r.s.Version
		m.drive()
		f := &simRun{wf: r.wf, s: newState(m.log, m.id())}
		m.runs = append(m.runs, f)
		m.do(f, "ann", machine.Fork{From: r.s.Run, At: at})
		m.drive()
		return m
	},
	"plans": func(t *testing.T) *sim { // one that is refused and repaired, a task that fails and blocks, a retry, a fork amid one
		m := newSim(t, 14, zoo["work"])
		m.calm = true
		r := m.start("work", map[string]any{"who": "Ann"})
		result := func(node string, c machine.Result) {
			v := r.s.Live[node]
			c.Node, c.Visit, c.Attempt = node, v.Visit, v.Attempt
			m.do(r, "runner", c)
		}
		no := func(class string) machine.Result {
			return machine.Result{Failure: &event.Failure{Class: class, Message: "it broke"}}
		}
		result("dig", machine.Result{Value: event.MustValue("a hole")})
		m.now += 10e9
		m.do(r, "system", machine.Wake{})
		result("dig", machine.Result{Value: plans, Usage: &event.Usage{InputTokens: 9, OutputTokens: 3}})
		result("dig[2]", machine.Result{Value: event.MustValue("water")})
		at := r.s.Version
		result("other", no(event.ClassAuth))
		result("dig[0]", no(event.ClassAuth))
		m.drive()
		m.do(r, "ann", machine.Retry{Reason: "the key is there"})
		m.drive()
		f := &simRun{wf: r.wf, s: newState(m.log, m.id())}
		m.runs = append(m.runs, f)
		m.do(f, "ann", machine.Fork{From: r.s.Run, At: at})
		m.drive()
		return m
	},
	"trouble": func(t *testing.T) *sim { return zooRun(t, 1012) },
}

// Histories that were once recorded still follow from their facts. They stay as they
// were recorded: -update adds those of new scenes.
func TestRecordedHistories(t *testing.T) {
	for name, scene := range scenes {
		file := filepath.Join(histories, name+".jsonl")
		if _, err := os.Stat(file); *update && errors.Is(err, os.ErrNotExist) {
			record(t, scene(t), file)
		}
		t.Run(name, func(t *testing.T) {
			runs, defs := readHistory(t, file)
			for id, events := range runs {
				v, err := Verify(runs, defs, id)
				if err != nil {
					t.Fatal(err)
				}
				if !v.OK || v.NotFrom != 0 || int(v.Verified) != len(events) {
					t.Errorf("%s: %s", id, jsonOf(v))
				}
			}
		})
	}
}

func record(t *testing.T, m *sim, file string) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	written := map[string]bool{}
	line := func(l recordedLine) {
		if err := enc.Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range m.runs {
		if hash := r.wf.Hash.String(); !written[hash] {
			written[hash] = true
			text, err := r.wf.Def.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			line(recordedLine{Definition: text})
		}
	}
	events, err := m.log.ReadFrom(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		line(recordedLine{Event: viewOf(e), Append: e.Append, Payload: e.Payload})
	}
	if err := os.MkdirAll(histories, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// recorded is a log of recorded runs.
type recorded map[eventlog.RunID]list

func (r recorded) ReadRun(id eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	return r[id].ReadRun(id, after, limit)
}
func (r recorded) ReadFrom(eventlog.Seq, int) ([]eventlog.Event, error)          { panic("run by run") }
func (r recorded) Version(id eventlog.RunID) (eventlog.Version, error)           { return r[id].Version(id) }
func (r recorded) Head() eventlog.Seq                                            { panic("run by run") }
func (r recorded) Close() error                                                  { return nil }
func (r recorded) Append(context.Context, eventlog.Append) (eventlog.Seq, error) { panic("read only") }

func readHistory(t *testing.T, file string) (recorded, known) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runs, defs := recorded{}, known{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l recordedLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		if l.Event == nil {
			wf := load(t, string(l.Definition))
			defs[wf.Hash.String()] = wf
			continue
		}
		var e struct {
			Seq         eventlog.Seq
			Run         eventlog.RunID
			Version     eventlog.Version
			Time        time.Time
			Kind, Actor string
		}
		if err := json.Unmarshal(l.Event, &e); err != nil {
			t.Fatal(err)
		}
		kind, ok := event.KindOf(e.Kind)
		if !ok {
			t.Fatalf("%s: kind %q", file, e.Kind)
		}
		runs[e.Run] = append(runs[e.Run], eventlog.Event{
			Seq: e.Seq, Run: e.Run, Version: e.Version, Time: e.Time.UnixNano(), Kind: kind,
			Actor: e.Actor, Payload: l.Payload, Append: l.Append,
		})
	}
	if err := lines.Err(); err != nil || len(runs) == 0 {
		t.Fatalf("%s: %v, %d runs", file, err, len(runs))
	}
	return runs, defs
}
