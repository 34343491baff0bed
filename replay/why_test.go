package replay

import (
	"bytes"
	"errors"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// checkWhy holds an explanation of a visit that was reached against what the fold
// and the events say.
func checkWhy(t *testing.T, m *sim, r *simRun, x Explanation, k VisitKey) {
	t.Helper()
	if n := len(x.Steps); n == 0 || x.Steps[n-1].VisitKey != k {
		t.Fatalf("%s of %s: the last step is another: %s", jsonOf(k), r.wf.Name, jsonOf(x))
	}
	told := map[VisitKey]bool{}
	events, err := m.log.ReadFrom(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i, st := range x.Steps {
		_, _, item := run.ItemOf(st.Node)
		if len(st.Came) == 0 && !item && !r.wf.Nodes[r.wf.Entry[0]].Conditional() && len(r.wf.Node(st.Node).In) > 0 && st.Node != r.wf.Nodes[r.wf.Entry[0]].ID {
			t.Fatalf("%s: step %d came from nowhere: %s", r.wf.Name, i, jsonOf(st))
		}
		for _, c := range st.Came {
			if !told[c.VisitKey] {
				t.Fatalf("%s: step %s came from %s, which is not told before it", r.wf.Name, jsonOf(st.VisitKey), jsonOf(c.VisitKey))
			}
			for _, ev := range c.Tested {
				for _, read := range ev.Reads {
					key, ok := stateKey(read.Name)
					if !ok || read.Set == 0 || read.Name != "state."+key {
						continue
					}
					p, err := payload(events[read.Seq-1])
					if err != nil {
						t.Fatal(err)
					}
					set := p.(*event.StateSet)
					if set.Key != key || !bytes.Equal(set.Value, read.Value) && set.Reduce == "" {
						t.Fatalf("%s read %s = %s, said to be set by %s", jsonOf(c), read.Name, jsonOf(read.Value), jsonOf(set))
					}
				}
			}
		}
		told[st.VisitKey] = true
	}
}

// Every visit of random runs is explained by a chain without gaps, and every node
// that a run did not come to has a reason.
func TestWhyCoversEveryNode(t *testing.T) {
	t.Parallel()
	n := seeds(90)
	reached, missing := 0, 0
	for seed := range n {
		m := zooRun(t, 2000+seed)
		for _, r := range m.runs {
			moments, _, err := lineage(m.log, r.s.Run, Position{})
			if err != nil {
				t.Fatal(err)
			}
			past := pastOf(moments)
			for k := range past.visits {
				x, err := Why(m.log, m.defs, r.s.Run, k.Node, k.Visit, Position{})
				if err != nil {
					t.Fatalf("seed %d, %s, %v: %v", seed, r.wf.Name, k, err)
				}
				checkWhy(t, m, r, x, k)
				reached++
			}
			for _, n := range r.wf.Nodes {
				if past.names[n.ID] > 0 {
					continue
				}
				x, err := Why(m.log, m.defs, r.s.Run, n.ID, 0, Position{})
				if err != nil {
					t.Fatal(err)
				}
				if len(x.Missing) == 0 || x.Visit != 0 {
					t.Fatalf("seed %d, %s: no reason for %s not to be reached: %s", seed, r.wf.Name, n.ID, jsonOf(x))
				}
				for _, why := range x.Missing {
					if why.Why == "" {
						t.Fatal(jsonOf(x))
					}
				}
				missing++
			}
		}
	}
	t.Logf("%d visits, %d nodes that were not reached", reached, missing)
	if reached < int(n)*5 || missing < int(n)/3 {
		t.Error("too few")
	}
}

// What led to a visit: the edges taken, the values read and who wrote them.
func TestWhyOfADecision(t *testing.T) {
	m := newSim(t, 1, zoo["loop"])
	m.calm = true
	m.answer = func(v *run.Visit) any {
		return map[string]any{"v": int64(1), "score": 0.3 * float64(v.Visit)}
	}
	r := m.start("loop", map[string]any{})
	m.drive()
	x, err := Why(m.log, m.defs, r.s.Run, "publish", 0, Position{})
	if err != nil {
		t.Fatal(err)
	}
	var path []string
	for _, st := range x.Steps {
		path = append(path, st.Node)
	}
	if got := jsonOf(path); got != `["draft","review","draft","review","publish"]` {
		t.Fatalf("the path is %s", got)
	}
	came := x.Steps[4].Came[0]
	if came.Outcome != event.OutcomeDefault || len(came.Tested) != 1 || came.Tested[0].Met {
		t.Fatalf("publish came over %s", jsonOf(came))
	}
	read := came.Tested[0].Reads[0]
	if jsonOf(read.Value) != "0.6" || read.From == nil || *read.From != (VisitKey{"review", 2}) {
		t.Fatalf("the condition read %s", jsonOf(read))
	}
}

// A restore is part of the explanation; what it went back behind is not.
func TestWhyAfterARestore(t *testing.T) {
	m := newSim(t, 1, zoo["loop"])
	m.calm = true
	bad := true
	m.answer = func(v *run.Visit) any {
		if v.Node == "review" && bad {
			return map[string]any{"v": int64(1), "score": 0.1}
		}
		return map[string]any{"v": int64(1), "score": 0.8}
	}
	r := m.start("loop", map[string]any{})
	m.step(r) // draft
	to := r.s.Version
	m.step(r) // review, back to draft
	bad = false
	m.do(r, "ann", machine.Restore{To: to})
	m.drive()
	x, err := Why(m.log, m.defs, r.s.Run, "publish", 0, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Steps) != 3 || x.Steps[1].Attempts[len(x.Steps[1].Attempts)-1].Outcome != "completed" {
		t.Errorf("want draft, review, publish: %s", jsonOf(x))
	}
	if len(x.Notes) != 1 || x.Notes[0].To != to {
		t.Errorf("want the restore: %s", jsonOf(x.Notes))
	}
	if _, err := Why(m.log, m.defs, r.s.Run, "nobody", 0, Position{}); !errors.Is(err, run.ErrNotFound) {
		t.Error(err)
	}
}
