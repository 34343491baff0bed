package replay

import (
	"maps"
	"slices"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// mirrored is a diff with its sides exchanged.
func mirrored(d Diff) Diff {
	field := func(fs []FieldDiff) (out []FieldDiff) {
		for _, f := range fs {
			out = append(out, FieldDiff{f.Name, f.B, f.A})
		}
		return out
	}
	visit := func(v VisitDiff) VisitDiff {
		v.In = map[string]string{"both": "both", "a": "b", "b": "a"}[v.In]
		v.Fields, v.A, v.B = field(v.Fields), v.B, v.A
		return v
	}
	m := Diff{A: d.B, B: d.A, Same: d.Same, Run: field(d.Run), State: field(d.State)}
	for _, v := range d.Visits {
		m.Visits = append(m.Visits, visit(v))
	}
	for _, l := range d.Latency {
		m.Latency = append(m.Latency, Latency{l.VisitKey, l.B, l.A})
	}
	if d.First != nil {
		v := visit(*d.First)
		m.First = &v
	}
	if d.Decision != nil {
		v := visit(*d.Decision)
		m.Decision = &v
	}
	return m
}

// A run does not differ from itself, and which run comes first makes no difference.
func TestDiffLaws(t *testing.T) {
	t.Parallel()
	differing, decisions := 0, 0
	for _, name := range []string{"loop", "fan", "race", "people", "tree"} {
		m := newSim(t, 5, zoo["loop"], zoo["fan"], zoo["race"], zoo["people"], zoo["tree"])
		for range 6 {
			m.start(name, map[string]any{"who": "Ann"})
			m.drive()
		}
		for _, a := range m.runs {
			self, err := Compare(m.log, a.s.Run, Position{}, a.s.Run, Position{})
			if err != nil {
				t.Fatal(err)
			}
			if !self.Same || len(self.Latency) > 0 || self.First != nil {
				t.Fatalf("%s differs from itself: %s", a.wf.Name, jsonOf(self))
			}
			for _, b := range m.runs[:min(6, len(m.runs))] {
				ab, err := Compare(m.log, a.s.Run, Position{}, b.s.Run, Position{})
				if err != nil {
					t.Fatal(err)
				}
				ba, err := Compare(m.log, b.s.Run, Position{}, a.s.Run, Position{})
				if err != nil {
					t.Fatal(err)
				}
				if x, y := jsonOf(mirrored(ab)), jsonOf(ba); x != y {
					t.Fatalf("%s and %s:\n%s\n%s", a.wf.Name, b.wf.Name, x, y)
				}
				if !ab.Same {
					differing++
				}
				if ab.Decision != nil {
					decisions++
				}
			}
		}
	}
	if differing < 20 || decisions < 5 {
		t.Errorf("only %d pairs differ, %d in a decision", differing, decisions)
	}
}

// The first divergence names the decision and the values it read.
func TestDiffNamesTheDecision(t *testing.T) {
	m := newSim(t, 1, zoo["loop"])
	m.calm = true
	score := 0.8
	m.answer = func(v *run.Visit) any {
		if v.Visit > 1 || v.Node == "draft" {
			return map[string]any{"v": int64(1), "score": 0.9}
		}
		return map[string]any{"v": int64(1), "score": score}
	}
	a := m.start("loop", map[string]any{})
	m.drive()
	score = 0.5
	b := m.start("loop", map[string]any{})
	m.drive()
	d, err := Compare(m.log, a.s.Run, Position{}, b.s.Run, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if d.First == nil || d.First.VisitKey != (VisitKey{"review", 1}) || d.First.Fields[0].Name != "result" {
		t.Errorf("first: %s", jsonOf(d.First))
	}
	if d.Decision == nil || d.Decision.A[0].To != "publish" || d.Decision.B[0].To != "draft" {
		t.Fatalf("decision: %s", jsonOf(d.Decision))
	}
	if got := jsonOf(d.Decision.A[0].Tested[0].Reads[0].Value); got != "0.8" {
		t.Errorf("it read %s", got)
	}
	// One run at two positions: what came in between.
	d, err = Compare(m.log, b.s.Run, Position{Node: "draft", Visit: 1}, b.s.Run, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Same || len(d.State) != 2 || d.A.Version >= d.B.Version {
		t.Errorf("%s", jsonOf(d))
	}
}

// checkReel reads frames part by part, and gets the same.
func checkReel(t *testing.T, m *sim, r *simRun, frames []Frame) {
	t.Helper()
	reel := NewReel(m.log, r.s.Run)
	var got []Frame
	for first := true; ; first = false {
		part, next, err := reel.Frames(1 + m.rng.IntN(9))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
		if next == 0 {
			break
		}
		if want := frames[len(got)].Event.Seq; next != want || first && len(part) == 0 {
			t.Fatalf("the next part begins at %d, want %d", next, want)
		}
	}
	if jsonOf(got) != jsonOf(frames) {
		t.Fatal("the parts are not the whole")
	}
}

// counting is a log that counts what is read from it.
type counting struct {
	eventlog.Log
	read int
}

func (l *counting) ReadRun(id eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	events, err := l.Log.ReadRun(id, after, limit)
	l.read += len(events)
	return events, err
}

// A reel of a run that goes on, read to its end, goes on with it: nothing is left
// out, no event is read twice, and what is past the log's end when a part is asked
// for waits for the next.
func TestReelOfARunThatGoesOn(t *testing.T) {
	m := newSim(t, 5, slices.Collect(maps.Values(zoo))...)
	root := m.start("tree", map[string]any{"who": "Ann"})
	log := &counting{Log: m.log}
	reel := NewReel(log, root.s.Run)
	var got []Frame
	read := func() {
		for {
			part, next, err := reel.Frames(7)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part...)
			if next == 0 {
				return
			}
		}
	}
	for range 400 {
		if m.rng.IntN(3) == 0 {
			read()
		}
		open := slices.DeleteFunc(slices.Clone(m.runs), func(r *simRun) bool { return r.s.Status.Terminal() })
		if len(open) == 0 {
			break
		}
		m.step(open[m.rng.IntN(len(open))])
	}
	read()
	want, err := Frames(m.log, root.s.Run, 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if jsonOf(got) != jsonOf(want) || len(got) < 40 {
		t.Fatalf("%d frames while it went on, %d afterwards", len(got), len(want))
	}
	if log.read > len(want) {
		t.Errorf("%d events were read for %d frames", log.read, len(want))
	}
}

// Frames say what each event changed; applied one after the other they give the
// state at every event, of a run and those under it, and taken back the one before.
func TestFramesGiveTheState(t *testing.T) {
	for seed := range uint64(20) {
		m := zooRun(t, 3000+seed)
		root := m.runs[0]
		frames, err := Frames(m.log, root.s.Run, 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, r := range m.runs {
			if m.root(r) == root {
				total += int(r.s.Version)
			}
		}
		if len(frames) != total {
			t.Fatalf("seed %d: %d frames of %d events", seed, len(frames), total)
		}
		vars := map[string]map[string]event.Value{}
		nodes := map[string]map[string]run.NodeStatus{}
		for i, f := range frames {
			id := f.Event.Run
			if vars[id] == nil {
				vars[id], nodes[id] = map[string]event.Value{}, map[string]run.NodeStatus{}
			}
			for k, c := range f.Changes.State {
				if jsonOf(vars[id][k]) != jsonOf(c.From) {
					t.Fatalf("seed %d, frame %d: %s was %s, not %s", seed, i, k, jsonOf(vars[id][k]), jsonOf(c.From))
				}
				vars[id][k] = c.To
			}
			for k, c := range f.Changes.Nodes {
				if nodes[id][k] != c.From {
					t.Fatalf("seed %d, frame %d: node %s was %s, not %s", seed, i, k, nodes[id][k], c.From)
				}
				nodes[id][k] = c.To
			}
			if i%13 != 0 && i != len(frames)-1 {
				continue
			}
			states, err := Tree(m.log, root.s.Run, f.Event.Seq)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range states {
				for k, v := range s.Vars {
					if jsonOf(vars[s.Run.String()][k]) != jsonOf(v) {
						t.Fatalf("seed %d, seq %d: %s is %s, frames say %s", seed, f.Event.Seq, k, jsonOf(v), jsonOf(vars[s.Run.String()][k]))
					}
				}
				for k, n := range s.Nodes {
					if nodes[s.Run.String()][k] != n.Status {
						t.Fatalf("seed %d, seq %d: node %s is %s, frames say %s", seed, f.Event.Seq, k, n.Status, nodes[s.Run.String()][k])
					}
				}
			}
		}
		checkReel(t, m, root, frames)
		half := frames[len(frames)/2].Event.Seq
		rest, err := Frames(m.log, root.s.Run, half, 7)
		if err != nil || len(rest) == 0 || jsonOf(rest[0]) != jsonOf(frames[len(frames)/2+1]) {
			t.Fatalf("seed %d: a page after %d: %v %s", seed, half, err, jsonOf(rest))
		}
	}
}
