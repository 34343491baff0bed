package replay

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// known are definitions by hash.
type known map[string]*workflow.Workflow

func (k known) ByHash(hash string) (*workflow.Workflow, error) {
	if wf := k[hash]; wf != nil {
		return wf, nil
	}
	return nil, fmt.Errorf("%w: %s", ErrNoDefinition, hash)
}

func load(t testing.TB, source string) *workflow.Workflow {
	t.Helper()
	wf, problems := workflow.Load("test.yaml", []byte(source))
	if wf == nil {
		t.Fatalf("%v\n%s", problems, source)
	}
	return wf
}

// epoch is when simulated runs begin.
const epoch event.Time = 1_780_000_000_000_000_000

// A sim drives runs through the machine as the engine would, with everything from
// outside made up from a seed: results, failures, losses, answers, signals, pauses,
// restores, several commands in one append.
type sim struct {
	t     testing.TB
	rng   *rand.Rand
	log   *eventlogtest.Memory
	defs  known
	names map[string]*workflow.Workflow
	runs  []*simRun
	now   event.Time
	next  int  // of IDs
	calm  bool // nothing goes wrong
	// answer, if set, gives the value of a result; counted, if set, that of the
	// n-th visit of a node that counts, which is the same in a fork.
	answer  func(v *run.Visit) any
	counted func(node string, n int) any
}

type simRun struct {
	wf    *workflow.Workflow
	s     *run.State
	lived map[eventlog.Version][]byte // snapshots of s as it was after each append
}

func newSim(t testing.TB, seed uint64, sources ...string) *sim {
	m := &sim{
		t: t, rng: rand.New(rand.NewPCG(seed, 7)), log: eventlogtest.NewMemory(), defs: known{},
		names: map[string]*workflow.Workflow{}, now: epoch,
	}
	for _, src := range sources {
		m.define(load(t, src))
	}
	return m
}

func (m *sim) define(wf *workflow.Workflow) *workflow.Workflow {
	m.defs[wf.Hash.String()] = wf
	m.names[wf.Name] = wf
	return wf
}

func (m *sim) id() eventlog.RunID {
	m.next++
	return eventlog.RunID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, byte(m.next >> 16), byte(m.next >> 8), byte(m.next), 1}
}

func (m *sim) start(name string, input any) *simRun {
	c := machine.Start{Version: 1, Input: event.MustValue(input)}
	if !m.calm {
		c.Metered = true
		c.Breakpoints = m.breakpoints(m.names[name])
	}
	return m.startAs(m.id(), name, c)
}

// breakpoints returns some that a definition has, for most runs none.
func (m *sim) breakpoints(w *workflow.Workflow) []string {
	var all []string
	for m.rng.IntN(3) == 0 {
		n, e := w.Nodes[m.rng.IntN(len(w.Nodes))], w.Edges[m.rng.IntN(len(w.Edges))]
		all = append(all, []string{
			"node=" + n.ID, "node=" + n.ID + "#2", "edge=" + w.Nodes[e.From].ID + "->" + w.Nodes[e.To].ID, "if=state.score > 0.4",
		}[m.rng.IntN(4)])
	}
	return all
}

// fork begins a run where another stood, now and then with other state or input.
// It returns nil where the other cannot be forked.
func (m *sim) fork(of *simRun) *simRun {
	m.t.Helper()
	c := machine.Fork{From: of.s.Run, At: eventlog.Version(1 + m.rng.IntN(int(of.s.Version))), Pause: m.rng.IntN(4) == 0, Metered: !m.calm}
	if m.rng.IntN(3) == 0 {
		c.Input = event.MustValue(map[string]any{"who": "Bob"})
	}
	if len(of.wf.Keys) > 0 && m.rng.IntN(3) == 0 {
		c.Set = m.edit(of.wf)
	}
	f := &simRun{wf: of.wf, s: newState(m.log, m.id())}
	m.do(f, "ann", c)
	if f.s.Status == run.Pending {
		return nil // it had ended there
	}
	m.runs = append(m.runs, f)
	return f
}

// edit sets some key of a definition's state.
func (m *sim) edit(w *workflow.Workflow) map[string]event.Value {
	k := w.Keys[m.rng.IntN(len(w.Keys))]
	return map[string]event.Value{k.Name: event.MustValue(map[string]any{"number": 0.7, "array": []any{"edited"}, "string": "edited"}[k.Type])}
}

func (m *sim) startAs(id eventlog.RunID, name string, c machine.Start) *simRun {
	m.t.Helper()
	r := &simRun{wf: m.names[name], s: newState(m.log, id)}
	m.runs = append(m.runs, r)
	m.do(r, "test", c)
	return r
}

// do decides commands and appends what follows as one append. What is refused
// decides nothing.
func (m *sim) do(r *simRun, actor string, cs ...machine.Command) {
	m.t.Helper()
	from := r.s.Version
	var records []eventlog.Record
	var decided []machine.Event
	for _, c := range cs {
		m.now += event.Time(1 + m.rng.IntN(1_000_000_000))
		es, err := machine.Decide(r.wf, r.s, machine.Meta{At: m.now, Actor: actor, Choose: m.choose, Meter: m}, c)
		if err != nil {
			if isRefusal(err) {
				continue
			}
			m.t.Fatalf("%T %+v: %v", c, c, err)
		}
		for _, e := range es {
			records = append(records, e.Record)
		}
		decided = append(decided, es...)
	}
	if len(records) == 0 {
		return
	}
	m.next++
	seq, err := m.log.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(m.next), Run: r.s.Run, Expect: from, Records: records})
	if err != nil {
		m.t.Fatal(err)
	}
	r.s.Seq = seq + eventlog.Seq(len(records)) - 1
	if r.lived == nil {
		r.lived = map[eventlog.Version][]byte{}
	}
	r.lived[r.s.Version] = snapshotOf(m.t, r.s)
	if machine.Cut(decided) {
		m.do(r, "system", machine.Continue{})
	}
	for _, e := range decided {
		switch p := e.Payload.(type) {
		case *event.ChildStarted:
			m.startAs(p.Child, p.Workflow, machine.Start{Version: 1, Input: p.Input, Metered: !m.calm, Depth: r.s.Depth + 1, Parent: &event.Parent{Run: r.s.Run, Node: p.Node, Visit: p.Visit}})
		case *event.NodeSkipped:
			if child := m.byID(e.Child); child != nil {
				m.do(child, "system", machine.Cancel{Reason: "given up"})
			}
		case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
			if r.s.Parent == nil {
				continue
			}
			m.do(m.byID(r.s.Parent.Run), "system", machine.ChildEnded{
				Node: r.s.Parent.Node, Visit: r.s.Parent.Visit, Child: r.s.Run, Status: r.s.Status, Output: r.s.Output, Failure: r.s.Failure,
			})
		}
	}
}

// choose chooses for two of three attempts, somebody new each time.
func (m *sim) choose(_ *workflow.Node, v *run.Visit) *event.AgentChosen {
	m.next++
	if m.next%3 == 0 {
		return nil
	}
	return &event.AgentChosen{Agent: fmt.Sprint("agent-", m.next), Provider: "sim", Hash: v.Node}
}

// Need implements machine.Meter.
func (m *sim) Need(_ *workflow.Node, v *run.Visit, _ event.CallID) *event.Need {
	return &event.Need{Model: "m", Input: 40, Output: 10, Micros: 60, Price: &event.Price{Input: 1e6, Output: 2e6}}
}

// Grant implements machine.Meter: now and then somebody else has spent it all.
func (m *sim) Grant(n *event.Need) machine.Grant {
	day := event.BudgetID{Scope: event.ScopeOfDay, Name: "2026-01-31"}
	switch m.rng.IntN(12) {
	case 0:
		return machine.Grant{Wait: &run.Short{Budget: day}}
	case 1:
		return machine.Grant{Over: &event.BudgetExceeded{Budget: day, Limits: event.Limits{Tokens: 1000}, Spent: event.Spend{Tokens: 990}}}
	}
	return machine.Grant{}
}

// root returns the run that r is under in the end.
func (m *sim) root(r *simRun) *simRun {
	for r.s.Parent != nil {
		r = m.byID(r.s.Parent.Run)
	}
	return r
}

func (m *sim) byID(id eventlog.RunID) *simRun {
	for _, r := range m.runs {
		if r.s.Run == id {
			return r
		}
	}
	return nil
}

// drive runs everything to its end, or to a standstill.
func (m *sim) drive() {
	for steps := 0; steps < 3000; steps++ {
		open := slices.DeleteFunc(slices.Clone(m.runs), func(r *simRun) bool { return r.s.Status.Terminal() })
		if len(open) == 0 {
			if m.calm || !m.revive() {
				return
			}
			continue
		}
		r := open[m.rng.IntN(len(open))]
		if !m.calm && m.trouble(r) {
			continue
		}
		if !m.step(r) && len(open) == 1 {
			m.t.Fatalf("%s stands still at version %d: %s, %s", r.wf.Name, r.s.Version, r.s.Status, jsonOf(r.s.Live))
		}
	}
}

// step does one thing that the run waits for, or two in one append.
func (m *sim) step(r *simRun) bool {
	var ready []machine.Command
	for _, id := range r.s.LiveIDs() {
		v := r.s.Live[id]
		n := machine.NodeOf(r.wf, v)
		switch {
		case v.Status == run.NodeRunning && n.Runs && v.Each == nil:
			ready = append(ready, m.result(r, v))
		case v.Status == run.NodeWaiting && v.Asked && len(v.Result) == 0:
			ready = append(ready, machine.Answer{Node: id, Value: event.MustValue(m.value(r, v))})
		case v.Status == run.NodeWaiting && v.Signal != "":
			ready = append(ready, machine.Signal{Name: v.Signal, Value: event.MustValue(m.value(r, v))})
		}
	}
	for _, h := range r.s.Holds { // a call that was given up
		if v := r.s.Live[h.Node]; v == nil || v.Visit != h.Visit || v.Attempt != h.Attempt || v.Status != run.NodeRunning {
			ready = append(ready, machine.Settle{Call: h.CallID, Usage: &event.Usage{InputTokens: 3}})
		}
	}
	for _, v := range r.s.Live {
		if v.Short != nil && len(ready) == 0 {
			ready = append(ready, machine.Wake{})
		}
	}
	m.rng.Shuffle(len(ready), func(i, j int) { ready[i], ready[j] = ready[j], ready[i] })
	at, timed := machine.Due(r.s)
	switch {
	case r.s.Status == run.Paused:
		m.do(r, "ann", m.resume(r))
	case timed && (len(ready) == 0 || !m.calm && m.rng.IntN(8) == 0):
		m.now = max(m.now, at)
		m.do(r, "system", machine.Wake{})
	case len(ready) == 0:
		return false
	default:
		m.do(r, "runner", ready[:min(len(ready), 1+m.rng.IntN(2))]...)
	}
	return true
}

// resume lets a paused run go on, now and then with other state or breakpoints.
func (m *sim) resume(r *simRun) machine.Command {
	c := machine.Resume{}
	if m.calm {
		return c
	}
	if o := r.s.Over; o != nil && m.rng.IntN(4) > 0 {
		more := r.s.Taken().Tokens + int64(m.rng.IntN(200))
		micros := r.s.Taken().Micros + event.Micros(m.rng.IntN(200))
		return machine.Raise{Budget: o.Budget, Tokens: &more, Micros: &micros}
	}
	if len(r.wf.Keys) > 0 && m.rng.IntN(3) == 0 {
		c.Set = m.edit(r.wf)
	}
	if m.rng.IntN(4) == 0 {
		c.Rebreak, c.Breakpoints = true, m.breakpoints(r.wf)
	}
	return c
}

// revive takes up a run that has ended, by what its status allows, now and then.
func (m *sim) revive() bool {
	r := m.runs[m.rng.IntN(len(m.runs))]
	if m.rng.IntN(3) > 0 {
		return false
	}
	from := r.s.Version
	switch {
	case len(m.runs) < 12 && m.rng.IntN(3) == 0:
		return m.fork(r) != nil
	case r.s.Status == run.Failed && m.rng.IntN(2) == 0:
		m.do(r, "ann", machine.Retry{Reason: "again"})
	case r.s.Status == run.Failed:
		visits, err := projection.Visits(m.log, r.s.Run)
		if err != nil {
			m.t.Fatal(err)
		}
		if len(visits) > 0 {
			v := visits[m.rng.IntN(len(visits))]
			m.do(r, "ann", machine.Retry{Node: v.Node, Visit: v.Visit, To: v.Begins - 1})
		}
	default:
		m.do(r, "ann", machine.Restore{To: eventlog.Version(1 + m.rng.IntN(int(r.s.Version)))})
	}
	return r.s.Version > from
}

func (m *sim) value(r *simRun, v *run.Visit) any {
	if m.counted != nil {
		of := v.Node
		if v.Item > 0 {
			of = v.Of
		}
		return m.counted(v.Node, r.s.Nodes[of].Counted)
	}
	if m.answer != nil {
		if x := m.answer(v); x != nil {
			return x
		}
	}
	return map[string]any{
		"v": int64(m.rng.IntN(3)), "score": float64(m.rng.IntN(11)) / 10, "ok": m.rng.IntN(2) == 0,
		"list": []any{int64(1), int64(2), int64(3)}[:m.rng.IntN(4)],
	}
}

func (m *sim) result(of *simRun, v *run.Visit) machine.Command {
	if v.Calls < 2 && m.rng.IntN(6) == 0 {
		return machine.Note{Call: event.ToolCalled{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Call: v.Calls + 1, Tool: "search", Arguments: event.MustValue(m.rng.IntN(9)), Took: 5}}
	}
	if len(held(of.s, v)) == 1 && m.rng.IntN(8) == 0 {
		id := event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Turn: 1}
		return machine.Reserve{Need: event.Need{CallID: id, Input: 20, Output: 10, Micros: 30}, Used: &event.Usage{InputTokens: 30, OutputTokens: 2}}
	}
	r := machine.Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Usage: &event.Usage{InputTokens: int64(m.rng.IntN(99)), OutputTokens: 5}}
	if !m.calm && m.rng.IntN(6) == 0 {
		classes := []string{event.ClassTimeout, event.ClassNetwork, event.ClassToolFailed, event.ClassRateLimit, event.ClassAuth}
		r.Failure = &event.Failure{Class: classes[m.rng.IntN(len(classes))], Message: "it broke"}
		if m.rng.IntN(4) == 0 {
			again := m.rng.IntN(2) == 0
			r.Again = &again
		}
		if m.rng.IntN(4) == 0 {
			r.After = m.now + 60e9
		}
		if v.Attempt%2 == 0 {
			r.Checkpoint = event.MustValue(v.Attempt)
		}
		return r
	}
	r.Value = event.MustValue(m.value(of, v))
	switch n := machine.NodeOf(of.wf, v); n.Kind {
	case workflow.Chat:
		r.Value = event.MustValue(says(n, v))
	case workflow.Plan:
		r.Value = plans
		if !m.calm && m.rng.IntN(4) == 0 {
			r.Value = event.MustValue(map[string]any{"tasks": []any{map[string]any{"prerequisites": []any{9}}}})
		}
	}
	if !m.calm && m.rng.IntN(5) == 0 {
		r.Set = map[string]event.Value{"score": event.MustValue(0.9), "undeclared": event.MustValue("x")}
	}
	return r
}

// plans is what is planned.
var plans = event.MustValue(map[string]any{"tasks": []any{
	map[string]any{"description": "dig", "role": "coder"},
	map[string]any{"description": "fill", "prerequisites": []any{0, 2}, "validation": "it is full"},
	map[string]any{"description": "fetch"},
	map[string]any{"description": "rest", "prerequisites": []any{1}},
}})

// says is what a participant of a chat answers, the same in a fork.
func says(n *workflow.Node, v *run.Visit) any {
	who, round, _ := machine.NextTurn(n, v)
	switch text := fmt.Sprintf("%s in round %d", who.Name, round); {
	case who.Name == "shy":
		return text
	case round == 1:
		return map[string]any{"message": text, "vote": "reject"}
	case who.Name == "bold" && round == 2:
		return map[string]any{"message": text, "proposal": "another way"}
	default:
		return map[string]any{"message": text + ". I agree."}
	}
}

// held returns what is set aside for the present attempt of a visit.
func held(s *run.State, v *run.Visit) (hs []run.Hold) {
	for _, h := range s.Holds {
		if h.Node == v.Node && h.Visit == v.Visit && h.Attempt == v.Attempt {
			hs = append(hs, h)
		}
	}
	return hs
}

// trouble does something to a run that it did not ask for, now and then.
func (m *sim) trouble(r *simRun) bool {
	v := eventlog.Version(1 + m.rng.IntN(int(r.s.Version)))
	switch m.rng.IntN(40) {
	case 0, 1, 2:
		left := map[string]event.Value{}
		for i, id := range r.s.LiveIDs() {
			if i%2 == 0 {
				left[id] = event.MustValue(int(r.s.Version))
			}
		}
		m.do(r, "system", machine.Recover{Reason: "restarted", Checkpoints: left, Keep: func(*run.Visit) bool { return m.rng.IntN(2) == 0 }})
	case 3:
		m.do(r, "ann", machine.Pause{Reason: "look"})
	case 4:
		m.do(r, "ann", machine.Checkpoint{Name: "here", To: v})
	case 5:
		m.do(r, "ann", machine.Restore{To: v, Pause: m.rng.IntN(2) == 0})
	case 6:
		m.do(r, "bob", machine.Signal{Name: "go", Value: event.MustValue("early")}, machine.Pause{})
	case 7:
		m.do(r, "runner", machine.Result{Node: "nobody", Visit: 1, Attempt: 1, Value: event.Null})
	case 8:
		if m.rng.IntN(4) == 0 {
			m.do(r, "ann", machine.Cancel{Reason: "enough"})
		}
	case 9:
		m.do(r, "ann", machine.Imported{Mark: &event.RunImported{Origin: "wfd.dev/elsewhere", Pause: "imported"}})
	default:
		return false
	}
	return true
}

func isRefusal(err error) bool {
	for _, s := range []string{machine.ErrRefused.Error(), machine.ErrInvalid.Error(), machine.ErrNotFound.Error()} {
		if strings.HasPrefix(err.Error(), s) {
			return true
		}
	}
	return false
}

// events returns the events of a run.
func (m *sim) events(id eventlog.RunID) []eventlog.Event {
	var all []eventlog.Event
	for e, err := range history(m.log, id) {
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// zoo are definitions that together have every kind of node that the machine
// decides.
var zoo = map[string]string{
	"loop": `
name: loop
entry: draft
state: {score: {type: number, default: 0}, notes: {type: array, reduce: append}}
nodes:
  draft: {exec: {command: [x]}, set: {notes: "${[result.v]}"}, retry: {max: 2, backoff: 1s}}
  review: {exec: {command: [x]}, set: {score: "${result.score}"}, max_visits: 6, expect: {type: object, required: [score], properties: {score: {type: number, maximum: 0.95}}}}
  publish: {exec: {command: [x]}}
edges:
  - {from: draft, to: review}
  - {from: review, to: draft, if: "state.score < 0.6"}
  - {from: review, to: publish, default: true}
`,
	"money": `
name: money
budget: {usd: 0.000300, tokens: 400}
state: {score: {type: number, default: 0}}
nodes:
  go: {parallel: {}}
  a: {agent: x, retry: {max: 3, backoff: 1s}}
  b: {agent: x, on_error: mend}
  c: {agent: x, retry: {max: 2, then: pause}}
  d: {exec: {command: [x]}}
  mend: {agent: y}
  first: {converge: {agent: z, prompt: sum}, join: {quorum: 2}}
  each: {foreach: {items: [1, 2, 3], do: {agent: x}, max_parallel: 2}, on_failure: continue}
  test: {agent: x, set: {score: "${result.score}"}, max_visits: 3}
  end: {exec: {command: [x]}}
edges:
  - {from: go, to: a}
  - {from: go, to: b}
  - {from: go, to: c}
  - {from: go, to: d}
  - {from: a, to: first}
  - {from: b, to: first}
  - {from: mend, to: first}
  - {from: c, to: first}
  - {from: d, to: first}
  - {from: first, to: each}
  - {from: each, to: test}
  - {from: test, to: test, if: "state.score < 0.3"}
  - {from: test, to: end, default: true}
`,
	"fan": `
name: fan
state: {score: {type: number, reduce: max}, seen: {type: array, reduce: append}, last: {type: string}}
nodes:
  go: {parallel: {}}
  a: {exec: {command: [x]}, set: {seen: "a", last: a}}
  b: {exec: {command: [x]}, set: {seen: "b", last: b}, on_error: mend}
  c: {exec: {command: [x]}, set: {seen: "c", last: c}}
  mend: {exec: {command: [x]}}
  meet: {converge: {}, on_failure: continue}
  pick: {decision: {}}
  high: {exec: {command: [x]}}
  low: {end: failed, message: "too low ${state.last}"}
edges:
  - {from: go, to: a}
  - {from: go, to: b}
  - {from: go, to: c}
  - {from: a, to: meet}
  - {from: b, to: meet}
  - {from: mend, to: meet}
  - {from: c, to: meet}
  - {from: meet, to: pick}
  - {from: pick, to: high, if: "size(state.seen) > 2"}
  - {from: pick, to: low, default: true}
`,
	"race": `
name: race
state: {score: {type: number}}
timeout: 24h
nodes:
  go: {parallel: {}}
  a: {exec: {command: [x]}}
  b: {exec: {command: [x]}}
  c: {wait: {signal: go}, timeout: 1h}
  first: {converge: {}, join: {quorum: 2}}
  end: {exec: {command: [x]}}
edges:
  - {from: go, to: a}
  - {from: go, to: b}
  - {from: go, to: c}
  - {from: a, to: first}
  - {from: b, to: first}
  - {from: c, to: first}
  - {from: first, to: end}
`,
	"people": `
name: people
state: {score: {type: number}}
nodes:
  ask: {human: {prompt: "Go on, ${input.who}?", form: {type: object}, timeout: 2h, on_timeout: late}}
  nap: {wait: {for: 10m}}
  yes: {exec: {command: [x]}, on_error: late}
  late: {exec: {command: [x]}}
edges:
  - {from: ask, to: nap, if: "result.ok"}
  - {from: ask, to: late, default: true}
  - {from: nap, to: yes}
`,
	"tree": `
name: tree
state: {score: {type: number}}
nodes:
  plan: {exec: {command: [x]}}
  sub: {workflow: {workflow: loop, input: {topic: "${result.v}"}}, on_error: mend}
  mend: {exec: {command: [x]}}
  each: {foreach: {items: "${nodes.plan.result.list}", as: x, do: {exec: {command: [x]}}, max_parallel: 2}, on_failure: continue}
  kids: {foreach: {items: "${nodes.plan.result.list}", as: x, workflow: loop, max_parallel: 2}, on_error: done}
  done: {exec: {command: [x]}}
edges:
  - {from: plan, to: sub}
  - {from: sub, to: each}
  - {from: mend, to: each}
  - {from: each, to: kids}
  - {from: kids, to: done}
`,
	"talk": `
name: talk
entry: split
state: {score: {type: number}, agreed: {type: boolean}}
nodes:
  split: {parallel: {}}
  debate: {chat: {participants: [bold, shy, {role: critic, priority: 3}], mode: debate, rounds: 3, threshold: 0.67, prompt: "${input.who}"}, needs: [split], timeout: 20m, retry: {max: 2, backoff: 1s}}
  other: {exec: {command: [x]}, needs: [split]}
  race: {converge: {}, join: any, needs: [debate, side]}
  side: {chat: {participants: [shy, bold], mode: priority, rounds: 2}, needs: [other], timeout: 5m, on_timeout: sorry}
  sorry: {exec: {command: [x]}}
  end: {chat: {participants: [shy, bold], rounds: 3, threshold: 1}, set: {agreed: "${result.consensus}"}, max_visits: 4}
  done: {exec: {command: [x]}}
edges:
  - {from: race, to: end}
  - {from: sorry, to: end}
  - {from: end, to: end, if: "result.outcome == 'timeout'"}
  - {from: end, to: done, default: true}
`,
	"work": `
name: work
state: {score: {type: number}, done: {type: integer, reduce: sum}}
nodes:
  go: {parallel: {}}
  dig: {plan: {goal: "A hole for ${input.who}", max_parallel: 2, roles: [coder, executor]}, set: {done: "${result.completed}"}, retry: {max: 2, backoff: 1s}, needs: [go]}
  other: {plan: {goal: "Another"}, on_failure: continue, needs: [go], on_error: mend}
  mend: {exec: {command: [x]}}
  end: {exec: {command: [x]}, needs: [dig, other, mend]}
`,
	"kinds": `
name: kinds
entry: ask
state: {score: {type: number, default: 1}, last: {type: string}}
nodes:
  ask: {agent: writer, prompt: "Ask ${input.who}", retry: {max: 2, backoff: 1s}}
  split: {parallel: {}, needs: [ask]}
  page: {http: {url: "https://example/${nodes.ask.visits}"}, set: {last: page}, needs: [split], on_error: sorry}
  work: {worker: {worker: w, input: "${state.score}"}, set: {score: "${result.score}"}, needs: [split], retry: {max: 1, then: pause}}
  tool: {tool: {tool: t}, needs: [split]}
  sorry: {exec: {command: [x]}}
  all: {converge: {agent: editor, prompt: "Join"}, needs: [page, work, tool, sorry], on_failure: fail_fast, set: {last: all}}
  hush: {wait: {until: "2026-06-01T00:00:00Z"}}
  over: {human: {prompt: "${state.last}?"}, timeout: 30m, on_timeout: done}
  stop: {end: completed}
  done: {exec: {command: [x]}}
  none: {foreach: {items: "${[]}", do: {exec: {command: [x]}}}, needs: [hush]}
edges:
  - {from: all, to: hush, if: "state.score > 0.5"}
  - {from: all, to: over, default: true}
  - {from: over, to: stop, if: "result.ok"}
  - {from: over, to: ask, if: "nodes.ask.visits < 3"}
  - {from: over, to: done, default: true}
`,
}

// seeds is how many simulations a test runs that would run n at leisure.
func seeds(n uint64) uint64 {
	if raceEnabled || testing.Short() {
		return n / 5
	}
	return n
}

// zooRun returns a simulation with a run of one of the zoo's definitions, driven
// to its end.
func zooRun(t testing.TB, seed uint64) *sim {
	names := slices.Sorted(maps.Keys(zoo))
	m := newSim(t, seed, slices.Collect(maps.Values(zoo))...)
	m.start(names[int(seed)%len(names)], map[string]any{"who": "Ann"})
	m.drive()
	return m
}
