package workflow

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		name   string
		params Params
		nodes  string
	}{
		{"review-refine", nil, "generate review check refine done"},
		{"Review_Refine", Params{"generator": "ada", "validator": "vera", "iterations": "5", "score": 0.9}, "generate review check refine validate done"},
		{"parallel-analysis", Params{"analysts": "a, b,c"}, "start agent_1 agent_2 agent_3 synthesis"},
		{"sequential-plan", Params{"planners": []any{"p", "q"}}, "plan_1 plan_2"},
		{"consensus-building", Params{"participants": "a,b,c", "threshold": 0.67}, "discuss check act undecided"},
	} {
		d, err := Pattern(c.name, c.params)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(ids(d), " "); got != c.nodes {
			t.Errorf("%s: nodes %s, want %s", c.name, got, c.nodes)
		}
		if w, problems := Compile(d); w == nil || problems.Count(Warning) > 0 {
			t.Errorf("%s: %v", c.name, problems)
		}
	}
	for name, params := range map[string]Params{
		"revew-refine": nil, "parallel-analysis": nil, "sequential-planning": {"planners": ""}, "consensus": {"participants": "a", "threshold": 2},
		"review-refine": {"iterations": 0},
	} {
		if d, err := Pattern(name, params); err == nil {
			t.Errorf("%s %v was built: %v", name, params, ids(d))
		}
	}
	if _, err := Pattern("review-refine", Params{"critics": "x"}); err == nil || !strings.Contains(err.Error(), "generator") {
		t.Errorf("unknown parameter: %v", err)
	}
}

func ids(d *Definition) []string {
	var s []string
	for _, n := range d.Nodes {
		s = append(s, n.ID)
	}
	return s
}

func TestComposeJoinsEveryExitToEveryEntry(t *testing.T) {
	a := must(t, `
name: first
state: {ok: boolean}
nodes:
  work: {agent: x, prompt: do, outputs: [ok]}
  good: {agent: y, prompt: good}
  bad: {end: failed}
  over: {end: completed}
edges:
  - {from: work, to: good, if: ok}
  - {from: work, to: bad, if: "!ok"}
  - {from: work, to: over, default: true}
`)
	b := must(t, `
name: second
nodes:
  work: {agent: z, prompt: "again"}
  side: {agent: z, prompt: "side"}
  sum: {converge: {}, needs: [work, side], set: {}, description: "end"}
output: "${nodes.work.result}"
`)
	before := [2]Hash{a.Hash(), b.Hash()}
	for _, cond := range []string{"", "state.ok"} {
		d, err := Compose(a, b, cond)
		if err != nil {
			t.Fatal(err)
		}
		w, problems := Compile(d)
		if w == nil {
			t.Fatal(problems)
		}
		if d.Output != "${nodes.work_2.result}" {
			t.Errorf("output is %v", d.Output)
		}
		if w.Nodes[w.Entry[0]].ID != "work" || len(w.Entry) != 1 {
			t.Errorf("entry %v", w.Entry)
		}
		hand := w.Node("handover")
		if got := len(hand.Out); got != 2 {
			t.Errorf("handover starts %d nodes", got)
		}
		to := hand
		if cond != "" {
			to = w.Node("join_check")
		}
		if len(to.In) != 2 || w.Node("bad") == nil || len(w.Node("bad").Out) != 0 {
			t.Errorf("exits: %d lead on", len(to.In))
		}
	}
	if before != [2]Hash{a.Hash(), b.Hash()} {
		t.Error("compose changed what it joined")
	}
	c := must(t, "name: third\nstate: {ok: string}\nnodes: {n: {wait: 1s}}\n")
	if _, err := Compose(a, c, ""); err == nil || !strings.Contains(err.Error(), "ok") {
		t.Errorf("conflicting keys: %v", err)
	}
	if _, err := Compose(a, b, "ok =="); err == nil {
		t.Error("a broken join condition was taken")
	}
	loop := must(t, "name: l\nnodes: {a: {wait: 1s, max_visits: 2}, f: {end: failed}}\nedges: [{from: a, to: a, if: input.again}, {from: a, to: f, default: true}]\nentry: a\n")
	if _, err := Compose(loop, b, ""); err == nil {
		t.Error("nothing can follow a definition that only fails")
	}
}

// must parses a definition that has no errors.
func must(t testing.TB, text string) *Definition {
	t.Helper()
	w, problems := Load("test.yaml", []byte(text))
	if w == nil {
		t.Fatal(problems)
	}
	return w.Def
}
