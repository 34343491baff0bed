package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

var update = flag.Bool("update", false, "write testdata anew")

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
	"trouble": func(t *testing.T) *sim { return zooRun(t, 1012) },
}

// Histories that were once recorded still follow from their facts. They are
// written anew with -update only when the format, or what is decided, changes on
// purpose.
func TestRecordedHistories(t *testing.T) {
	for name, scene := range scenes {
		file := filepath.Join(histories, name+".jsonl")
		if *update {
			record(t, scene(t), file)
		}
		t.Run(name, func(t *testing.T) {
			runs, defs := readHistory(t, file)
			for id, events := range runs {
				v, err := Verify(events, defs, id)
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

func readHistory(t *testing.T, file string) (map[eventlog.RunID]list, known) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	runs, defs := map[eventlog.RunID]list{}, known{}
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
