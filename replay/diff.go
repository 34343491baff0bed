package replay

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Diff is how two runs, or one at two positions, differ. Visits are aligned by
// node and number; neither times nor the order in which parallel branches ended
// make a difference, but are told.
type Diff struct {
	A    Side `json:"a"`
	B    Side `json:"b"`
	Same bool `json:"same"` // but for times
	// First is the first visit that differs in any way, Decision the first from
	// which the runs went different ways.
	First    *VisitDiff  `json:"first,omitempty"`
	Decision *VisitDiff  `json:"decision,omitempty"`
	Run      []FieldDiff `json:"run,omitempty"` // of the runs as such: input, definition, status, output
	State    []FieldDiff `json:"state,omitempty"`
	Visits   []VisitDiff `json:"visits,omitempty"`
	Latency  []Latency   `json:"latency,omitempty"` // of visits that both have, the largest difference first
}

// Side is one of the two.
type Side struct {
	Run      eventlog.RunID   `json:"run"`
	Version  eventlog.Version `json:"version"`
	Seq      eventlog.Seq     `json:"seq"`
	Workflow string           `json:"workflow"`
	Hash     string           `json:"hash"`
	Status   run.Status       `json:"status"`
	Took     float64          `json:"took_ms"`
	Path     []VisitKey       `json:"path"` // in the order that the visits began
}

// FieldDiff is something that has another value on either side; none: it is not there.
type FieldDiff struct {
	Name string      `json:"name"`
	A    event.Value `json:"a,omitempty"`
	B    event.Value `json:"b,omitempty"`
}

// VisitDiff is a visit that differs.
type VisitDiff struct {
	VisitKey
	In     string      `json:"in"` // both, or the only side that has it: a, b
	Fields []FieldDiff `json:"fields,omitempty"`
	// The edges that left the visit, where they differ.
	A []Turn `json:"a,omitempty"`
	B []Turn `json:"b,omitempty"`
}

// Turn is an edge that was taken, and why.
type Turn struct {
	To      string   `json:"to"`
	Outcome string   `json:"outcome"`
	Tested  []Tested `json:"evaluated,omitempty"`
}

// Latency is how long a visit took on either side.
type Latency struct {
	VisitKey
	A float64 `json:"a_ms"`
	B float64 `json:"b_ms"`
}

// Compare tells how two runs differ.
func Compare(log eventlog.Log, a eventlog.RunID, atA Position, b eventlog.RunID, atB Position) (Diff, error) {
	x, err := sideOf(log, a, atA)
	if err != nil {
		return Diff{}, err
	}
	y, err := sideOf(log, b, atB)
	if err != nil {
		return Diff{}, err
	}
	d := Diff{A: x.side, B: y.side, Run: runDiff(x.s, y.s)}
	vars := func(s *run.State) map[string]event.Value { return s.Vars }
	for _, k := range sortedKeys(vars(x.s), vars(y.s)) {
		d.State = differ(d.State, k, x.s.Vars[k], y.s.Vars[k])
	}
	for _, k := range aligned(x, y) {
		p, q := x.steps[k], y.steps[k]
		if v, differs := visitDiff(k, p, q, x.turns(k), y.turns(k)); differs {
			d.Visits = append(d.Visits, v)
		}
		if p != nil && q != nil && !p.Ended.IsZero() && !q.Ended.IsZero() {
			l := Latency{k, millis(p.Ended.Sub(p.Began)), millis(q.Ended.Sub(q.Began))}
			if l.A != l.B {
				d.Latency = append(d.Latency, l)
			}
		}
	}
	slices.SortStableFunc(d.Latency, func(a, b Latency) int { return cmp.Compare(gap(b), gap(a)) })
	for i := range d.Visits {
		v := &d.Visits[i]
		if d.First == nil {
			d.First = v
		}
		if d.Decision == nil && v.In == "both" && len(v.A) > 0 && len(v.B) > 0 {
			d.Decision = v
		}
	}
	d.Same = len(d.Run)+len(d.State)+len(d.Visits) == 0
	return d, nil
}

func gap(l Latency) float64 { return max(l.A-l.B, l.B-l.A) }

func millis(d time.Duration) float64 { return float64(d) / 1e6 }

// sided is one side with its visits.
type sided struct {
	explainer
	side  Side
	steps map[VisitKey]*Step
}

func sideOf(log eventlog.Log, id eventlog.RunID, at Position) (*sided, error) {
	moments, s, err := lineage(log, id, at)
	if err != nil {
		return nil, err
	}
	x := &sided{explainer: explainer{past: pastOf(moments), s: s}, steps: map[VisitKey]*Step{}}
	x.side = Side{
		Run: id, Version: s.Version, Seq: s.Seq, Workflow: s.Workflow, Hash: s.Hash, Status: s.Status,
		Took: millis(s.Time.Std().Sub(s.Created.Std())), Path: []VisitKey{},
	}
	traces := make([]*trace, 0, len(x.visits))
	for _, t := range x.visits {
		traces = append(traces, t)
	}
	slices.SortFunc(traces, func(a, b *trace) int { return a.begin - b.begin })
	for _, t := range traces {
		st := x.step(t)
		x.steps[t.key] = &st
		x.side.Path = append(x.side.Path, t.key)
	}
	return x, nil
}

// turns returns the edges that were taken from a visit.
func (x *sided) turns(k VisitKey) []Turn {
	var turns []Turn
	for _, i := range x.edges[k] {
		p := x.moments[i].p.(*event.EdgeTaken)
		t := Turn{To: p.To, Outcome: p.Outcome}
		for _, e := range p.Evals {
			t.Tested = append(t.Tested, x.tested(i, e))
		}
		turns = append(turns, t)
	}
	return turns
}

// aligned returns the visits of both sides, each after those that led to it. The
// order is the same whichever side comes first.
func aligned(x, y *sided) []VisitKey {
	at := map[VisitKey][2]int{}
	note := func(path []VisitKey, side int) {
		for i, k := range path {
			p, ok := at[k]
			if !ok {
				p = [2]int{i, i}
			}
			p[side] = i
			at[k] = p
		}
	}
	note(x.side.Path, 0)
	note(y.side.Path, 1)
	keys := make([]VisitKey, 0, len(at))
	for k := range at {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b VisitKey) int {
		p, q := at[a], at[b]
		return cmp.Or(
			cmp.Compare(min(p[0], p[1]), min(q[0], q[1])), cmp.Compare(p[0]+p[1], q[0]+q[1]),
			strings.Compare(a.Node, b.Node), cmp.Compare(a.Visit, b.Visit),
		)
	})
	return keys
}

func runDiff(a, b *run.State) []FieldDiff {
	var d []FieldDiff
	text := func(name, x, y string) { d = differ(d, name, event.StringValue(x), event.StringValue(y)) }
	text("workflow", a.Workflow, b.Workflow)
	text("definition", a.Hash, b.Hash)
	d = differ(d, "input", a.Input, b.Input)
	text("status", string(a.Status), string(b.Status))
	d = differ(d, "output", a.Output, b.Output)
	return differ(d, "error", failureOn(a.Failure), failureOn(b.Failure))
}

func differ(d []FieldDiff, name string, a, b event.Value) []FieldDiff {
	if bytes.Equal(a, b) {
		return d
	}
	return append(d, FieldDiff{name, a, b})
}

func failureOn(f *event.Failure) event.Value {
	if f == nil {
		return nil
	}
	return event.StringValue(f.Error())
}

// visitDiff compares a visit; a side that does not have it is nil.
func visitDiff(k VisitKey, a, b *Step, turnsA, turnsB []Turn) (VisitDiff, bool) {
	v := VisitDiff{VisitKey: k, In: "both"}
	switch {
	case a == nil:
		v.In = "b"
		return v, true
	case b == nil:
		v.In = "a"
		return v, true
	}
	given := func(g *Given) event.Value {
		if g == nil {
			return nil
		}
		return g.Value
	}
	text := func(name, x, y string) { v.Fields = differ(v.Fields, name, event.StringValue(x), event.StringValue(y)) }
	text("status", string(a.Status), string(b.Status))
	v.Fields = differ(v.Fields, "result", a.Result, b.Result)
	v.Fields = differ(v.Fields, "error", failureOn(a.Failure), failureOn(b.Failure))
	v.Fields = differ(v.Fields, "answer", given(a.Answer), given(b.Answer))
	v.Fields = differ(v.Fields, "signal", given(a.Signal), given(b.Signal))
	text("attempts", attemptsOf(a), attemptsOf(b))
	text("skipped", a.Skipped, b.Skipped)
	text("fired", a.Fired, b.Fired)
	for _, key := range sortedKeys(setsOf(a), setsOf(b)) {
		v.Fields = differ(v.Fields, "state."+key, setsOf(a)[key], setsOf(b)[key])
	}
	if waysOf(turnsA) != waysOf(turnsB) {
		v.A, v.B = turnsA, turnsB
	}
	return v, len(v.Fields) > 0 || len(v.A)+len(v.B) > 0
}

func attemptsOf(s *Step) string {
	var parts []string
	for _, a := range s.Attempts {
		parts = append(parts, a.Outcome+prefixed(": ", string(failureText(a.Failure))))
	}
	return strings.Join(parts, ", ")
}

func failureText(f *event.Failure) string {
	if f == nil {
		return ""
	}
	return f.Error()
}

func setsOf(s *Step) map[string]event.Value {
	m := make(map[string]event.Value, len(s.Sets))
	for _, set := range s.Sets {
		m[set.Key] = set.Value
	}
	return m
}

// waysOf is where turns lead, for comparison.
func waysOf(turns []Turn) string {
	var parts []string
	for _, t := range turns {
		parts = append(parts, fmt.Sprintf("%s %s", t.To, t.Outcome))
	}
	return strings.Join(parts, ", ")
}
