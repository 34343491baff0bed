package capsule_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/zseal"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
	"github.com/wfd-dev/wfd/replay/capsule"
)

// world is a log with runs of recorded histories, and its auditor.
type world struct {
	t     testing.TB
	db    *eventlog.DB
	a     *audit.Auditor
	names map[string]*workflow.Workflow // by hash
	runs  []eventlog.RunID              // in the order of their beginnings
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, names: map[string]*workflow.Workflow{}}
	dir := t.TempDir()
	var err error
	if w.db, err = eventlog.Open(dir, eventlog.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.db.Close() })
	if w.a, err = audit.Open(dir, w.db, audit.Options{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// history appends what was recorded in a file of testdata/histories.
func (w *world) history(name string) {
	w.t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "testdata", "histories", name+".jsonl"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	var group eventlog.Append
	flush := func() {
		if len(group.Records) > 0 {
			w.append(group)
		}
		group = eventlog.Append{}
	}
	for lines.Scan() {
		var l struct {
			Definition json.RawMessage
			Event      struct {
				Run         eventlog.RunID
				Version     eventlog.Version
				Time        time.Time
				Kind, Actor string
			}
			Append  eventlog.AppendID
			Payload []byte
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			w.t.Fatal(err)
		}
		if l.Definition != nil {
			w.define(string(l.Definition))
			continue
		}
		if l.Append != group.ID || l.Event.Run != group.Run {
			flush()
			group = eventlog.Append{ID: l.Append, Run: l.Event.Run, Expect: l.Event.Version - 1}
			if l.Event.Version == 1 {
				w.runs = append(w.runs, l.Event.Run)
			}
		}
		kind, _ := event.KindOf(l.Event.Kind)
		group.Records = append(group.Records, eventlog.Record{Time: l.Event.Time.UnixNano(), Kind: kind, Actor: l.Event.Actor, Payload: l.Payload})
	}
	flush()
}

func (w *world) define(text string) *workflow.Workflow {
	w.t.Helper()
	wf, problems := workflow.Load("x.json", []byte(text))
	if wf == nil {
		w.t.Fatal(problems)
	}
	if w.names[wf.Hash.String()] != nil {
		return wf
	}
	w.names[wf.Hash.String()] = wf
	b, err := wf.Def.MarshalJSON()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &event.DefinitionRegistered{Name: wf.Name, Version: 1, Hash: wf.Hash.String(), Definition: string(b)}
	at, err := w.db.Version(projection.Workflows)
	if err != nil {
		w.t.Fatal(err)
	}
	w.append(eventlog.Append{ID: 1, Run: projection.Workflows, Expect: at, Records: []eventlog.Record{{Time: 5, Kind: p.Kind(), Actor: "test", Payload: event.Encode(p)}}})
	return wf
}

func (w *world) append(a eventlog.Append) {
	w.t.Helper()
	if _, err := w.db.Append(context.Background(), a); err != nil {
		w.t.Fatal(err)
	}
}

// fork forks a run after a version.
func (w *world) fork(from eventlog.RunID, at eventlog.Version, id eventlog.RunID) {
	w.t.Helper()
	past, err := run.Fold(w.db, from, at)
	if err != nil {
		w.t.Fatal(err)
	}
	s := run.New(id)
	s.Other = func(id eventlog.RunID, v eventlog.Version) (*run.State, error) { return run.Fold(w.db, id, v) }
	es, err := machine.Decide(w.names[past.Hash], s, machine.Meta{At: past.Time + 1, Actor: "test"}, machine.Fork{From: from, At: at, Version: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	a := eventlog.Append{ID: 77, Run: id}
	for _, e := range es {
		a.Records = append(a.Records, e.Record)
	}
	w.append(a)
}

func (w *world) source() capsule.Source {
	return capsule.Source{Log: w.db, Definition: capsule.FindDefinition(w.db), Prove: w.a.ProveSet, Origin: w.a.Origin()}
}

// export returns the capsule of a run.
func (w *world) export(id eventlog.RunID) []byte {
	w.t.Helper()
	x, err := capsule.Prepare(context.Background(), w.source(), id, time.Unix(1e9, 0))
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.Write(context.Background(), &b); err != nil {
		w.t.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) keys() *audit.Keys {
	w.t.Helper()
	k, err := audit.ParseKeys([]byte(w.a.PublicKey()))
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

func read(t testing.TB, b []byte, keys *audit.Keys) *capsule.Capsule {
	t.Helper()
	c, err := capsule.Read(bytes.NewReader(b), keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lines returns the lines of a capsule.
func lines(t testing.TB, b []byte) []string {
	t.Helper()
	r, err := zseal.NewReader(bytes.NewReader(b), math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
}

// seal makes a file of lines, as somebody would who has changed them.
func seal(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zseal.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.TrimSuffix(strings.Join(lines, ""), "\n")+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// view is a state as people see it.
func view(t testing.TB, log eventlog.Log, id eventlog.RunID, at replay.Position) string {
	t.Helper()
	s, err := replay.State(log, id, at)
	if errors.Is(err, run.ErrNotFound) {
		return "none"
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s.View())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
