package stepper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

const root = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

// film is a run of two nodes, the second of which fails.
func film() *Film {
	frame := func(seq uint64, kind, data string, c replay.Changes) Frame {
		return Frame{
			Event: client.Event{Seq: seq, Run: root, Version: seq - 1, Kind: kind, Actor: "ann", Time: time.Unix(int64(seq), 0), Data: json.RawMessage(data)},
			What:  strings.Trim(data, `{}"`), Changes: c,
		}
	}
	node := func(id string, from, to run.NodeStatus) replay.Changes {
		return replay.Changes{Nodes: map[string]replay.NodeChange{id: {From: from, To: to, Visit: 1}}}
	}
	frames := []Frame{
		frame(2, "run.created", `{}`, replay.Changes{
			Status: &replay.StatusChange{From: run.Pending, To: run.Running},
			Tokens: map[string]replay.TokenChange{"draft": {To: 1}},
			State:  map[string]replay.ValueChange{"score": {To: event.MustValue(0)}},
		}),
		frame(3, "node.scheduled", `{"node":"draft"}`, node("draft", "", run.NodeScheduled)),
		frame(4, "node.started", `{"node":"draft"}`, node("draft", run.NodeScheduled, run.NodeRunning)),
		frame(5, "node.completed", `{"node":"draft"}`, node("draft", run.NodeRunning, run.NodeCompleted)),
		frame(6, "state.set", `{"key":"score"}`, replay.Changes{State: map[string]replay.ValueChange{"score": {From: event.MustValue(0), To: event.MustValue(0.4)}}}),
		frame(7, "node.scheduled", `{"node":"review"}`, node("review", "", run.NodeScheduled)),
		frame(8, "node.failed", `{"node":"review","message":"\u001b[2Jbroke"}`, node("review", run.NodeScheduled, run.NodeFailed)),
		frame(9, "run.failed", `{}`, replay.Changes{Status: &replay.StatusChange{From: run.Running, To: run.Failed}}),
	}
	return NewFilm(frames, map[string]replay.Graph{root: {Workflow: "w", Nodes: []replay.GraphNode{
		{ID: "draft", Entry: true, To: []replay.GraphEdge{{To: "review"}}},
		{ID: "review", To: []replay.GraphEdge{{To: "draft", If: "state.score < 0.8", Back: true}, {To: "mend", On: "error"}}},
		{ID: "mend"},
	}}})
}

// However one comes to a frame, the state is the same.
func TestSeekEitherWay(t *testing.T) {
	f := film()
	var want []string
	for i := range len(f.Frames) + 1 {
		g := film()
		g.Seek(i)
		want = append(want, fmt.Sprint(*g.Shot(root)))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		n := rng.IntN(len(f.Frames) + 1)
		f.Seek(n)
		if got := fmt.Sprint(*f.Shot(root)); got != want[n] {
			t.Fatalf("at %d: %s, want %s", n, got, want[n])
		}
	}
	f.Seek(99)
	if f.At() != len(f.Frames) || f.Current().Event.Kind != "run.failed" {
		t.Errorf("past the end: %d", f.At())
	}
	f.SeekSeq(5)
	if f.Current().Event.Seq != 5 {
		t.Errorf("seq 5: %d", f.Current().Event.Seq)
	}
}

func TestFind(t *testing.T) {
	f := film()
	f.Seek(1)
	if !f.Find("FAILED", 1) || f.Current().Event.Seq != 8 {
		t.Errorf("forwards: %d", f.Current().Event.Seq)
	}
	if !f.FindNode("draft", -1) || f.Current().Event.Seq != 5 {
		t.Errorf("the node before: %d", f.Current().Event.Seq)
	}
	if at := f.At(); f.Find("nothing such", 1) || f.At() != at {
		t.Error("what is not there moves nothing")
	}
}

// Keys do what the footer says; what agents write cannot command the terminal.
func TestKeysAndScreen(t *testing.T) {
	f := film()
	f.Seek(1)
	clean := func(s string) string { return strings.ReplaceAll(s, "\x1b", "") }
	m := &model{film: f, width: 120, height: 20, clean: clean, styles: stylesFor(false)}
	keys := func(ks ...string) {
		for _, k := range ks {
			if m.press(k) {
				t.Fatalf("%s ended it", k)
			}
		}
	}
	keys("right", "l", "space", "down")
	if f.At() != 5 {
		t.Fatalf("at %d", f.At())
	}
	screen := m.screen()
	for _, want := range []string{"● draft ", "· review → ↺draft if state.score < 0.8, mend on error", "score = 0.4 (was 0)", root + " v5: running", "5/8"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
	keys("left", "G", "g", "pgdown", "home", "/")
	for _, r := range "failed" {
		m.ask(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	m.ask(tea.KeyPressMsg{Code: tea.KeyEnter})
	if f.Current().Event.Seq != 8 {
		t.Errorf("searching: at seq %d", f.Current().Event.Seq)
	}
	if strings.Contains(m.screen(), "\x1b[2J") {
		t.Error("an event cleared the screen")
	}
	keys("n", "n")
	if !strings.Contains(m.footer(), `no "failed" further on`) {
		t.Error(m.footer())
	}
	if !m.press("q") {
		t.Error("q does not end it")
	}
}

// The program runs and ends.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	f := film()
	f.Seek(1)
	var out bytes.Buffer
	if err := Run(ctx, f, strings.NewReader("lllq"), &out, true, func(s string) string { return s }); err != nil {
		t.Fatal(err)
	}
	if f.At() != 4 {
		t.Errorf("at %d after three steps", f.At())
	}
}
