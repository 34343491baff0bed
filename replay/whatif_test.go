package replay

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

func whatIfAll(t testing.TB, m *sim, source string, name string) Report {
	t.Helper()
	w := load(t, source)
	var ids []eventlog.RunID
	for _, r := range m.runs {
		if r.wf.Name == name {
			ids = append(ids, r.s.Run)
		}
	}
	rep, err := WhatIf(context.Background(), m.log, m.defs, w, ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// Through their own definition all runs go the same way, whatever happened to them.
func TestWhatIfOfTheSameDefinition(t *testing.T) {
	t.Parallel()
	runs := 0
	for seed := range seeds(150) {
		m := zooRun(t, 4000+seed)
		for name, source := range zoo {
			rep := whatIfAll(t, m, source, name)
			if rep.Same != rep.Runs || len(rep.Groups) > 0 || len(rep.Changed) > 0 {
				t.Fatalf("seed %d, %s: %s", seed, name, jsonOf(rep))
			}
			runs += rep.Runs
		}
	}
	t.Logf("%d runs", runs)
}

// A fork is played from where it begins, with its edits; what it took over stays as
// it was, whatever the definition now says about it.
func TestWhatIfOfForks(t *testing.T) {
	m := calmLoops(t, 1) // reviews score 0.2, 0.4, 0.6
	origin := m.runs[0]
	var second eventlog.Version // the second review has decided
	for _, e := range m.events(origin.s.Run) {
		if p, err := payload(e); err == nil {
			if p, ok := p.(*event.EdgeTaken); ok && p.From == "review" && p.Visit == 2 {
				second = e.Version
			}
		}
	}
	fork := func(name string, c machine.Fork) *simRun {
		c.From = origin.s.Run
		f := &simRun{wf: m.names[name], s: newState(m.log, m.id())}
		m.runs = append(m.runs, f)
		m.do(f, "ann", c)
		m.drive()
		return f
	}
	m.answer = func(v *run.Visit) any { return map[string]any{"v": int64(1), "score": 0.62} }
	low := fork("loop", machine.Fork{At: second})
	edited := fork("loop", machine.Fork{At: second - 1, Set: map[string]event.Value{"score": event.MustValue(0.95)}})
	for _, c := range []struct {
		old, new string
		of       *simRun
		what     string
		says     string
	}{
		{"state.score < 0.6", "state.score < 0.61", low, "", ""},
		{"state.score < 0.6", "state.score < 0.65", low, WhatDecision, "review#3 goes to draft instead of publish"},
		{"state.score < 0.6", "state.score < 0.3", low, "", ""}, // what is before the fork is not looked at
		{"state.score < 0.6", "state.score < 0.9", edited, "", ""},
		{"state.score < 0.6", "state.score < 0.99", edited, WhatDecision, "review#2 goes to draft instead of publish"},
		{"review", "check", low, WhatFork, "the run stands at node draft"},
	} {
		source := strings.ReplaceAll(zoo["loop"], c.old, c.new)
		if c.what == WhatFork {
			source = strings.ReplaceAll(zoo["loop"], "draft", "first")
		}
		rep, err := WhatIf(context.Background(), m.log, m.defs, load(t, source), []eventlog.RunID{c.of.s.Run}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (c.what == "") != (rep.Same == 1) {
			t.Errorf("%s: %s", c.new, jsonOf(rep))
			continue
		}
		if c.what != "" && (rep.Groups[0].What != c.what || !strings.Contains(rep.Groups[0].Example.Why, c.says)) {
			t.Errorf("%s: %s", c.new, jsonOf(rep.Groups))
		}
	}
	// What nobody can say under the other definition is said to be unknown.
	stopped := &simRun{wf: origin.wf, s: newState(m.log, m.id())}
	m.runs = append(m.runs, stopped)
	m.do(stopped, "ann", machine.Fork{From: origin.s.Run, At: second, Breakpoints: []string{"node=review", "if=state.score > 7"}})
	m.step(stopped) // draft
	m.do(stopped, "ann", machine.Resume{Set: map[string]event.Value{"score": event.MustValue(0.9)}})
	m.drive()
	for old, says := range map[string]string{
		"score: {type: number, default: 0}": "resumed with state that is refused here: invalid: set score: 0.9 is not of type integer",
		"review":                            "", // the breakpoint goes with its node
	} {
		source := strings.ReplaceAll(zoo["loop"], old, "score: {type: integer, default: 0}")
		if says == "" {
			source = strings.ReplaceAll(zoo["loop"], "review", "check")
		}
		rep, err := WhatIf(context.Background(), m.log, m.defs, load(t, source), []eventlog.RunID{stopped.s.Run}, nil)
		if err != nil || len(rep.Groups) != 1 || (rep.Unknown == 1) != (says != "") || !strings.Contains(rep.Groups[0].Example.Why, says) {
			t.Errorf("%s: %v %s", says, err, jsonOf(rep))
		}
	}
	// Of one that cannot be played it is said why.
	events := list(m.events(low.s.Run))
	events[2].Payload, events[2].Erased = nil, true
	rep, err := WhatIf(context.Background(), events, m.defs, load(t, zoo["loop"]), []eventlog.RunID{low.s.Run}, nil)
	if err != nil || rep.Unknown != 1 || !strings.Contains(rep.Groups[0].Example.Why, "erased") {
		t.Errorf("%v %s", err, jsonOf(rep))
	}
}

// calmLoops are runs of the loop whose reviews score 0.3, 0.5, …, until 0.6.
func calmLoops(t testing.TB, n int) *sim {
	m := newSim(t, 9, zoo["loop"])
	m.calm = true
	for i := range n {
		m.answer = func(v *run.Visit) any {
			if v.Node != "review" {
				return map[string]any{"v": int64(v.Visit)}
			}
			return map[string]any{"score": min(0.9, 0.2*float64(v.Visit)+0.1*float64(i%4))}
		}
		m.start("loop", map[string]any{"i": int64(i)})
		m.drive()
	}
	return m
}

// Each way in which a new definition sends runs elsewhere is named, with the
// values.
func TestWhatIfNamesTheReason(t *testing.T) {
	m := calmLoops(t, 8)
	for name, c := range map[string]struct {
		change [2]string // in the definition's text
		what   string
		reason string
		why    string
		all    bool
	}{
		"threshold": {[2]string{"state.score < 0.6", "state.score < 0.65"}, WhatDecision, "review goes to draft instead of publish", "state.score < 0.65 is met (state.score = 0.6", false},
		"inserted":  {[2]string{"  - {from: draft, to: review}", "  - {from: draft, to: lint}\n  - {from: lint, to: review}"}, WhatResult, "lint has no recorded result", "visit 1 of lint", true},
		"expect":    {[2]string{"maximum: 0.95", "maximum: 0.45"}, WhatExpect, "the result of review no longer fits", "0.45", true},
		"end":       {[2]string{"  publish: {exec: {command: [x]}}", "  publish: {end: failed}"}, WhatEnd, "is failed instead of completed", "publish", true},
		"input":     {[2]string{"name: loop\n", "name: loop\ninput: {type: object, required: [topic]}\n"}, WhatInput, "does not begin: its input no longer fits", "topic", true},
		"visits":    {[2]string{"max_visits: 6", "max_visits: 1"}, WhatFailure, "review fails", "loop limit", true},
		"state":     {[2]string{`notes: "${[result.v]}"`, `notes: "${[result.v * 2]}"`}, WhatState, "has another state.notes", "[2", true},
	} {
		t.Run(name, func(t *testing.T) {
			source := strings.Replace(zoo["loop"], c.change[0], c.change[1], 1)
			if name == "inserted" {
				source = strings.Replace(source, "  publish:", "  lint: {exec: {command: [x]}}\n  publish:", 1)
			}
			if source == zoo["loop"] {
				t.Fatal("nothing was changed")
			}
			rep := whatIfAll(t, m, source, "loop")
			if len(rep.Groups) == 0 {
				t.Fatalf("no run would go elsewhere: %s", jsonOf(rep))
			}
			var g *Group
			for i := range rep.Groups {
				if rep.Groups[i].What == c.what && (c.reason == "" || rep.Groups[i].Reason == c.reason) {
					g = &rep.Groups[i]
				}
			}
			if g == nil || !strings.Contains(g.Example.Why, c.why) {
				t.Fatalf("%s", jsonOf(rep.Groups))
			}
			if rep.Same+rep.Elsewhere != rep.Runs || c.all != (rep.Same == 0) {
				t.Errorf("%d of %d the same: %s", rep.Same, rep.Runs, jsonOf(rep.Groups))
			}
			again := whatIfAll(t, m, source, "loop")
			if jsonOf(rep) != jsonOf(again) {
				t.Error("the report is another the second time")
			}
		})
	}
}

// What is asked of a node differently is said: its recorded results are taken as
// they are.
func TestWhatIfNamesChangedWork(t *testing.T) {
	m := calmLoops(t, 2)
	source := strings.Replace(zoo["loop"], "publish: {exec: {command: [x]}}", "publish: {exec: {command: [y]}}", 1)
	rep := whatIfAll(t, m, source, "loop")
	if rep.Same != 2 || jsonOf(rep.Changed) != `["publish"]` {
		t.Error(jsonOf(rep))
	}
}

// Reports of parts merge to the report of the whole.
func TestReportsMerge(t *testing.T) {
	m := calmLoops(t, 12)
	source := strings.Replace(zoo["loop"], "state.score < 0.6", "state.score < 0.75", 1)
	whole := whatIfAll(t, m, source, "loop")
	all := m.runs
	var merged Report
	for i := 0; i < len(all); i += 5 {
		m.runs = all[i:min(len(all), i+5)]
		merged.Merge(whatIfAll(t, m, source, "loop"))
	}
	if jsonOf(whole) != jsonOf(merged) {
		t.Errorf("\n%s\n%s", jsonOf(whole), jsonOf(merged))
	}
}

// tenNodes is a chain of ten nodes with a decision in the middle.
func tenNodes() string {
	var b strings.Builder
	b.WriteString("name: ten\nstate: {score: {type: number}}\nnodes:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "  n%d: {exec: {command: [x]}, set: {score: \"${result.score}\"}}\n", i)
	}
	b.WriteString("  low: {exec: {command: [x]}}\nedges:\n")
	for i := range 9 {
		if i == 4 {
			b.WriteString("  - {from: n4, to: low, if: \"state.score < 0.2\"}\n  - {from: n4, to: n5, default: true}\n")
			continue
		}
		fmt.Fprintf(&b, "  - {from: n%d, to: n%d}\n", i, i+1)
	}
	return b.String()
}

// BenchmarkWhatIf plays 10,000 runs of ten nodes through another definition.
func BenchmarkWhatIf(b *testing.B) {
	m := newSim(b, 3, tenNodes())
	m.calm = true
	m.answer = func(v *run.Visit) any { return map[string]any{"score": float64(len(m.runs)%10) / 10} }
	var ids []eventlog.RunID
	for range 10_000 {
		r := m.start("ten", map[string]any{})
		for !r.s.Status.Terminal() {
			m.step(r)
		}
		ids = append(ids, r.s.Run)
	}
	w := load(b, strings.Replace(tenNodes(), "< 0.2", "< 0.4", 1))
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		rep, err := WhatIf(context.Background(), m.log, m.defs, w, ids, nil)
		if err != nil || rep.Elsewhere != 2000 {
			b.Fatalf("%v %d", err, rep.Elsewhere)
		}
	}
	rate(b, len(ids)*b.N, "runs", cpu)
}

// Any run can be played through any definition: it ends, and each run is either
// the same or in one group.
func TestWhatIfOfAnyDefinition(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	for seed := range seeds(60) {
		m := zooRun(t, 5000+seed)
		var ids []eventlog.RunID
		for _, r := range m.runs {
			ids = append(ids, r.s.Run)
		}
		for name, source := range zoo {
			source = strings.NewReplacer("max: 2", "max: 3", "quorum: 2", "quorum: 3", "timeout: 2h", "timeout: 1m", "> 2", "> 1").Replace(source)
			rep, err := WhatIf(context.Background(), m.log, m.defs, load(t, source), ids, nil)
			if err != nil {
				t.Fatalf("seed %d, %s: %v", seed, name, err)
			}
			total := rep.Same
			for _, g := range rep.Groups {
				total += g.Runs
				found[g.What]++
				if g.Reason == "" || g.Example.Why == "" || len(g.IDs) != g.Runs {
					t.Fatalf("seed %d, %s: %s", seed, name, jsonOf(g))
				}
			}
			if total != len(ids) || rep.Same+rep.Elsewhere+rep.Unknown != len(ids) {
				t.Fatalf("seed %d, %s: %s", seed, name, jsonOf(rep))
			}
		}
	}
	t.Log(found)
	if found[WhatResult] == 0 || found[WhatGraph] == 0 {
		t.Errorf("only %v", found)
	}
}
