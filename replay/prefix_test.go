package replay

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// states are snapshots of the runs of a simulation at every event, as replay gives
// them.
type states map[eventlog.RunID][][]byte

// at returns a run's state after version v, from its snapshot, which in turn finds
// its past in snapshots.
func (x states) at(t testing.TB, id eventlog.RunID, v eventlog.Version) *run.State {
	t.Helper()
	s, err := x.restore(id, v)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (x states) restore(id eventlog.RunID, v eventlog.Version) (*run.State, error) {
	if v == 0 {
		return x.equip(run.New(id)), nil
	}
	if int(v) > len(x[id]) {
		return nil, fmt.Errorf("run %s has no version %d", id, v)
	}
	s, err := run.Restore(x[id][v-1])
	if err != nil {
		return nil, err
	}
	return x.equip(s), nil
}

func (x states) equip(s *run.State) *run.State {
	id := s.Run
	s.Past = func(v eventlog.Version) (*run.State, error) { return x.restore(id, v) }
	s.Other = x.restore
	return s
}

func snapshotOf(t testing.TB, s *run.State) []byte {
	t.Helper()
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replayed folds every run of a simulation from its bytes in the log, and holds the
// states that it had while it lived against those at the same versions.
func (m *sim) replayed() states {
	m.t.Helper()
	x := states{}
	for _, r := range m.runs {
		s := newState(m.log, r.s.Run)
		for _, e := range m.events(r.s.Run) {
			if err := s.Apply(e); err != nil {
				m.t.Fatal(err)
			}
			b := snapshotOf(m.t, s)
			if wrong := s.Lawful(); len(wrong) > 0 {
				m.t.Fatalf("%s at version %d: %q", r.wf.Name, s.Version, wrong)
			}
			if live, ok := r.lived[s.Version]; ok && !bytes.Equal(live, b) {
				m.t.Fatalf("%s at version %d: live and replayed state differ\n%s", r.wf.Name, s.Version, unlikeStates(live, b))
			}
			x[s.Run] = append(x[s.Run], b)
		}
		if int(r.s.Version) != len(x[r.s.Run]) || len(r.lived) == 0 {
			m.t.Fatalf("%s is at version %d, its history at %d", r.wf.Name, r.s.Version, len(x[r.s.Run]))
		}
	}
	return x
}

// unlikeStates shows what differs between two snapshots.
func unlikeStates(a, b []byte) string {
	var out string
	show := func(b []byte) map[string]string {
		s, err := run.Restore(b)
		if err != nil {
			return map[string]string{"": err.Error()}
		}
		return parts(s)
	}
	x, y := show(a), show(b)
	for _, k := range sortedKeys(x, y) {
		if x[k] != y[k] {
			out += fmt.Sprintf("  %s: %s\n", k, difference(x[k], y[k]))
		}
	}
	return out
}

// difference shows where two texts begin to differ.
func difference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-60)
	return fmt.Sprintf("…%.200s\n     …%.200s", a[from:], b[from:])
}

// parts are a state's fields as text.
func parts(s *run.State) map[string]string {
	return map[string]string{
		"status": fmt.Sprint(s.Status, s.Reason, s.Failure, s.Errors, s.Ended, s.Expired, s.Deadline), "vars": jsonOf(s.Vars),
		"nodes": jsonOf(s.Nodes), "live": jsonOf(s.Live), "tokens": jsonOf(s.Tokens), "halted": jsonOf(s.Halted),
		"timers": jsonOf(s.Timers), "signals": jsonOf(s.Signals), "marks": jsonOf(s.Marks), "keys": jsonOf(s.Keys),
		"breaks": jsonOf([]any{s.Breaks, s.Break, s.Passed}), "usage": jsonOf(s.Usage), "output": jsonOf([]any{s.Output, s.Last}),
		"journal": jsonOf([]any{s.Journal, s.Forked, s.Base, s.Epoch, s.Done}), "position": fmt.Sprint(s.Run, s.Seq, s.Version, s.Time),
		"created": jsonOf([]any{s.Workflow, s.WFVer, s.Hash, s.Input, s.Env, s.Labels, s.Parent, s.Origin, s.Depth, s.Key, s.Created}),
	}
}

// At every event of random runs, of all kinds of nodes and through whatever happens
// to a run, these are the same: the state as it lived, the fold of the log's bytes,
// and any earlier snapshot with the events since. And every such state is one to go
// on from: what is owed can be decided, and once; the run can be forked and, when it
// has ended, taken back there, which are the same position.
func TestEveryEventOfRandomRuns(t *testing.T) {
	t.Parallel()
	events, forks := 0, 0
	kinds := map[eventlog.Kind]int{}
	for seed := range seeds(30) {
		m := zooRun(t, 6000+seed)
		x := m.replayed()
		for _, r := range m.runs {
			log := m.events(r.s.Run)
			for k := range eventlog.Version(len(log) + 1) {
				if k > 0 {
					kinds[log[k-1].Kind]++
					events++
				}
				checkTail(t, m, x, log, k)
				if k == 0 {
					continue
				}
				checkContinue(t, r, x, k)
				if checkFork(t, r, x, k) {
					forks++
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d, %s", seed, r.wf.Name)
			}
		}
	}
	t.Logf("%d events, %d forks", events, forks)
	ofRuns := []string{"run", "node", "edge", "state", "timer", "signal", "input", "child", "result", "agent"}
	for k := range eventlog.Kind(200) {
		name := event.KindName(k)
		noun, _, _ := strings.Cut(name, ".")
		if slices.Contains(ofRuns, noun) && kinds[k] == 0 && !raceEnabled && !testing.Short() {
			t.Errorf("no run had a %s", name)
		}
	}
}

// checkTail folds the events after version k onto the snapshot there.
func checkTail(t *testing.T, m *sim, x states, log []eventlog.Event, k eventlog.Version) {
	t.Helper()
	id := log[0].Run
	s := x.at(t, id, k)
	again := 1 + int(k) + m.rng.IntN(len(log)-int(k)+1)
	for _, e := range log[k:] {
		if err := s.Apply(e); err != nil {
			t.Fatalf("snapshot at %d and event %d: %v", k, e.Version, err)
		}
		if last := int(e.Version) == len(log); !last && int(e.Version) != again {
			continue
		}
		if b := snapshotOf(t, s); !bytes.Equal(b, x[id][e.Version-1]) {
			t.Errorf("snapshot at %d with the events up to %d is another state\n%s", k, e.Version, unlikeStates(b, x[id][e.Version-1]))
			return
		}
	}
}

// checkContinue decides what is owed after version k: it can be decided, the fold
// takes it, and nothing more is owed then.
func checkContinue(t *testing.T, r *simRun, x states, k eventlog.Version) {
	t.Helper()
	id := r.s.Run
	s, folded := x.at(t, id, k), x.at(t, id, k)
	meta := machine.Meta{At: s.Time, Actor: "system"}
	decided, err := machine.Decide(r.wf, s, meta, machine.Continue{})
	if err != nil {
		t.Errorf("what is owed after version %d: %v", k, err)
		return
	}
	for i, d := range decided {
		e := asEvent(d, id, k+eventlog.Version(i+1))
		e.Seq = folded.Seq
		if err := folded.Apply(e); err != nil {
			t.Errorf("what is owed after version %d, event %d: %v", k, i, err)
			return
		}
	}
	if a, b := snapshotOf(t, s), snapshotOf(t, folded); !bytes.Equal(a, b) {
		t.Errorf("what is owed after version %d folds to another state\n%s", k, unlikeStates(a, b))
	}
	if more, err := machine.Decide(r.wf, s, meta, machine.Continue{}); err != nil || len(more) > 0 && !machine.Cut(decided) {
		t.Errorf("after all that is owed at version %d, %d events more: %v", k, len(more), err)
	}
}

// checkFork forks the run after version k, if it had not ended there, and compares
// the position with that of a restore of the run itself.
func checkFork(t *testing.T, r *simRun, x states, k eventlog.Version) bool {
	t.Helper()
	id := r.s.Run
	past := x.at(t, id, k)
	if past.Status.Terminal() {
		return false
	}
	f := x.equip(run.New(eventlog.RunID{9, 9}))
	decided, err := machine.Decide(r.wf, f, machine.Meta{At: r.s.Time, Actor: "ann"}, machine.Fork{From: id, At: k})
	if err != nil {
		t.Errorf("a fork at version %d: %v", k, err)
		return true
	}
	first := x.equip(run.New(f.Run))
	if err := first.Apply(asEvent(decided[0], f.Run, 1)); err != nil {
		t.Error(err)
		return true
	}
	for key, v := range past.Vars {
		if !bytes.Equal(v, first.Vars[key]) {
			t.Errorf("a fork at version %d has another %s", k, key)
		}
	}
	for node, n := range past.Nodes {
		if m := first.Nodes[node]; m == nil || m.Completed != n.Completed || m.Visits != n.Visits || !bytes.Equal(m.Result, n.Result) {
			t.Errorf("a fork at version %d has another past of %s: %s, was %s", k, node, jsonOf(m), jsonOf(n))
		}
	}
	if len(first.Vars) != len(past.Vars) || jsonOf(first.Signals) != jsonOf(past.Signals) {
		t.Errorf("a fork at version %d has another past", k)
	}
	end := x.at(t, id, eventlog.Version(len(x[id])))
	if !end.Status.Terminal() || int(k) >= len(x[id]) {
		return true
	}
	before := x.at(t, id, end.Version)
	back := eventlog.Event{Run: id, Version: end.Version + 1, Seq: end.Seq, Time: int64(end.Time)}
	if err := end.ApplyPayload(back, &event.RunRestored{To: k}); err != nil {
		t.Error(err)
		return true
	}
	if wrong := append(end.Lawful(), first.Lawful()...); len(wrong) > 0 {
		t.Errorf("back at version %d: %q", k, wrong)
	}
	for _, name := range []string{"signals", "keys", "marks", "usage"} { // these never go back
		if v, w := parts(before)[name], parts(end)[name]; v != w {
			t.Errorf("a restore to version %d changes %s: %s", k, name, difference(v, w))
		}
	}
	for node, n := range before.Nodes {
		if m := end.Nodes[node]; m == nil || m.Visits != n.Visits || m.Completed != n.Completed {
			t.Errorf("a restore to version %d takes back visits of %s", k, node)
		}
	}
	for name, v := range position(end) {
		if w := position(first)[name]; v != w {
			t.Errorf("at version %d a restore gives other %s than a fork: %s", k, name, difference(v, w))
		}
	}
	return true
}

// position is where a run stands, without what never goes back, as text.
func position(s *run.State) map[string]string {
	nodes := map[string]run.Node{}
	for id, n := range s.Nodes {
		if n.Status != "" {
			nodes[id] = run.Node{Status: n.Status, Counted: n.Counted, Result: n.Result, Seen: n.Seen, Failure: n.Failure, Kept: n.Kept}
		}
	}
	p := parts(s)
	// In a fork the numbers of visits go on from there, in a restored run they were
	// used since.
	p["tokens"] = strings.ReplaceAll(p["tokens"], `"Stale":true`, `"Stale":false`)
	return map[string]string{
		"nodes": jsonOf(nodes), "live": p["live"], "tokens": p["tokens"], "vars": p["vars"], "journal": p["journal"], "halted": p["halted"],
	}
}

// A fork of a run at any of its events comes to the same end, given the same
// answers: with loops, branches and child runs, and whatever the order in which
// they end. It follows from its facts, too.
func TestForksComeToTheSameEnd(t *testing.T) {
	t.Parallel()
	step := 1
	if raceEnabled || testing.Short() {
		step = 5
	}
	for _, name := range slices.Sorted(maps.Keys(zoo)) {
		t.Run(name, func(t *testing.T) {
			m := newSim(t, 11, slices.Collect(maps.Values(zoo))...)
			m.calm = true
			m.counted = func(node string, n int) any {
				return map[string]any{"v": int64(n), "score": min(0.9, 0.25*float64(n)), "ok": n%2 == 1, "list": []any{int64(7), int64(8)}}
			}
			r := m.start(name, map[string]any{"who": "Ann"})
			m.drive()
			if !r.s.Status.Terminal() {
				t.Fatalf("it is %s", r.s.Status)
			}
			base, done := len(m.runs), 0
			for k := eventlog.Version(1); k < r.s.Version; k += eventlog.Version(step) {
				if past, err := State(m.log, r.s.Run, Position{Version: k}); err != nil || past.Status.Terminal() {
					continue
				}
				f := &simRun{wf: r.wf, s: newState(m.log, m.id())}
				m.runs = append(m.runs, f)
				m.do(f, "ann", machine.Fork{From: r.s.Run, At: k})
				m.drive()
				if a, b := ending(r.s), ending(f.s); a != b {
					t.Fatalf("the fork at version %d ends with\n%s\nand not\n%s", k, b, a)
				}
				v, err := Verify(m.log, m.defs, f.s.Run)
				if err != nil || !v.OK || v.Verified != f.s.Version {
					t.Fatalf("the fork at version %d: %v %s", k, err, jsonOf(v))
				}
				m.runs = m.runs[:base]
				done++
			}
			t.Logf("%d forks", done)
		})
	}
}

// ending is how a run ended, whatever its numbers.
func ending(s *run.State) string {
	failure := ""
	if s.Failure != nil {
		failure = s.Failure.Class + s.Failure.Message
	}
	return fmt.Sprint(s.Status, " ", jsonOf(s.Output), " ", jsonOf(s.Vars), " ", failure)
}
