package projection

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// world writes histories of many runs to a log. Each is one that package run
// accepts, and its fold there is what the views are compared with.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	log     *eventlogtest.Memory
	clock   int64
	ids     uint64
	runs    []*life
	byID    map[eventlog.RunID]*life
	defs    []event.DefinitionRegistered
	foreign int // definitions of other logs
	kinds   map[eventlog.Kind]int
}

// life is one run: its events and the fold of them.
type life struct {
	id     eventlog.RunID
	events []eventlog.Event
	state  *run.State
	erased []*event.PayloadErased
}

func newWorld(t testing.TB, seed uint64) *world {
	return &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), log: eventlogtest.NewMemory(), clock: 1_700_000_000_000_000_000,
		byID: map[eventlog.RunID]*life{}, kinds: map[eventlog.Kind]int{},
	}
}

func (w *world) foldOf(id eventlog.RunID, events []eventlog.Event) *run.State {
	t := w.t
	s := run.New(id)
	s.Past = func(v eventlog.Version) (*run.State, error) { return w.foldOf(id, events[:v]), nil }
	s.Other = w.other
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			t.Fatalf("fold of %s: %v", id, err)
		}
	}
	return s
}

// other folds a run that another was forked off.
func (w *world) other(id eventlog.RunID, v eventlog.Version) (*run.State, error) {
	return w.foldOf(id, w.byID[id].events[:v]), nil
}

// fork begins a run where another stood, if it had not ended there.
func (w *world) fork(from *life) {
	at := eventlog.Version(1 + w.rng.IntN(len(from.events)))
	if w.foldOf(from.id, from.events[:at]).Status.Terminal() {
		return
	}
	p := &event.RunForked{From: from.id, At: at, Workflow: w.pick(workflowNames...), Version: 1, Hash: "hash1", Pause: w.chance(3), Namespace: from.state.Namespace}
	if w.chance(3) {
		p.Deadline = w.soon()
	}
	w.append(w.newLife(), p)
}

func (w *world) pick(s ...string) string { return s[w.rng.IntN(len(s))] }
func (w *world) chance(n int) bool       { return w.rng.IntN(n) == 0 }

// steps makes n things happen.
func (w *world) steps(n int) {
	for range n {
		switch {
		case len(w.runs) == 0 || w.chance(12):
			w.create(nil)
		case w.chance(60):
			w.register()
		case w.chance(60):
			w.fork(w.runs[w.rng.IntN(len(w.runs))])
		case w.chance(30):
			w.keep()
		default:
			w.act(w.runs[w.rng.IntN(len(w.runs))])
		}
	}
}

var (
	workflowNames  = []string{"review-loop", "Review_Loop", "nightly", "weiß", ""}
	namespaceNames = []event.Namespace{"", "team-a", "team-b"}
)

func (w *world) namespace() event.Namespace { return namespaceNames[max(0, w.rng.IntN(6)-3)] }

func (w *world) create(parent *event.Parent) *life {
	p := &event.RunCreated{
		Workflow: w.pick(workflowNames...), Version: 1 + w.rng.IntN(3), Hash: fmt.Sprintf("hash%d", w.rng.IntN(9)), Input: event.MustValue("in"),
		Entry: []string{"a", "human", "wait"}[:1+w.rng.IntN(3)], Parent: parent,
	}
	if w.chance(2) {
		p.Labels = map[string]string{"team": w.pick("red", "blue"), "env": w.pick("prod", "test")}
	}
	if w.chance(3) {
		p.Deadline = event.Time(w.clock + int64(w.rng.IntN(1e9)))
	}
	if p.Namespace = w.namespace(); parent != nil {
		p.Depth, p.Namespace = 1, w.byID[parent.Run].state.Namespace
	}
	if !w.chance(3) {
		p.Limits = &event.Limits{Tokens: 1000}
	}
	l := w.newLife()
	w.append(l, p)
	return l
}

func (w *world) newLife() *life {
	w.ids++
	l := &life{}
	binary.BigEndian.PutUint64(l.id[:], 0x0190_0000_0000_0000+uint64(w.rng.Uint32())) // no order but Seq
	binary.BigEndian.PutUint64(l.id[8:], w.ids)
	l.state = run.New(l.id)
	l.state.Other = w.other
	w.runs = append(w.runs, l)
	w.byID[l.id] = l
	return l
}

func (w *world) register() {
	name, in := w.pick(workflowNames[:3]...), w.namespace()
	version := 1
	for _, d := range w.defs {
		if d.Name == name && d.Namespace == in {
			version++
		}
	}
	if w.chance(4) { // that came with a run of another log
		w.write(Workflows, eventlog.Version(len(w.defs)+w.foreign), &event.DefinitionRegistered{
			Name: name, Version: 99, Hash: fmt.Sprintf("foreign%d", w.foreign), Definition: "{}", Origin: w.pick("wfd.dev/a", "wfd.dev/b"), Namespace: in,
		})
		w.foreign++
		return
	}
	d := event.DefinitionRegistered{
		Name: name, Version: version, Hash: fmt.Sprintf("hash%d", w.rng.IntN(9)), Definition: fmt.Sprintf(`{"n":%d}`, len(w.defs)), Source: "n: 1", Namespace: in,
	}
	w.write(Workflows, eventlog.Version(len(w.defs)+w.foreign), &d)
	w.defs = append(w.defs, d)
}

// keep has something become of the log itself, or of who may come in, which is in no
// view.
func (w *world) keep() {
	facts := []struct {
		stream eventlog.RunID
		p      event.Payload
	}{
		{event.Custody, &event.KeyRotated{Number: 1}},
		{event.Custody, &event.DataKeysChanged{What: event.DataKeysRotated, Rewrite: true}},
		{event.Custody, &event.LogRestored{At: w.log.Head()}},
		{event.Access, &event.TokenCreated{ID: "a", Name: "ci", Scopes: []string{"read"}}},
		{event.Access, &event.TokenRevoked{ID: "a", Name: "ci"}},
		{event.Security, &event.SecurityWarned{Finding: event.Finding{Rule: "careful", What: "input"}}},
		{event.Security, &event.SecurityBlocked{Finding: event.Finding{Rule: "careful", What: "input"}}},
	}
	for range 10 { // far more often than the others, and each of any of a few triggers
		facts = append(facts, struct {
			stream eventlog.RunID
			p      event.Payload
		}{event.Triggers, w.trigger()})
	}
	f := facts[w.rng.IntN(len(facts))]
	at, err := w.log.Version(f.stream)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(f.stream, at, f.p)
}

// trigger returns something that becomes of a trigger.
func (w *world) trigger() event.Payload {
	name := w.pick("daily", "deploys", "Ünruhe")
	due := event.Time(w.clock + int64(w.rng.IntN(3)))
	switch w.rng.IntN(8) {
	case 0:
		return &event.TriggerSet{Name: name, Type: event.TriggerSchedule, Schedule: &event.Schedule{
			Cron: w.pick("@daily", "@hourly"), Zone: "UTC", Workflow: "nightly", Input: event.MustValue(map[string]any{"n": w.rng.IntN(9)}),
		}}
	case 1:
		return &event.TriggerSet{Name: name, Type: event.TriggerOutgoing, Outgoing: &event.Outgoing{URL: "https://example.org", Secret: "S", Kinds: []string{"run."}}}
	case 2:
		return &event.TriggerPaused{Name: name, Reason: "later"}
	case 3:
		return &event.TriggerResumed{Name: name, Skip: w.chance(2)}
	case 4:
		if w.chance(3) {
			return &event.TriggerDeleted{Name: name}
		}
		return &event.TriggerDelivered{Name: name, Outcome: w.pick(event.DeliveredSent, event.DeliveredDead), Upto: w.log.Head(), Count: 1, Attempts: 2, Since: due, Reason: "500"}
	}
	p := &event.TriggerFired{Name: name, Due: due, Outcome: w.pick(event.FiredStarted, event.FiredQueued, event.FiredSkipped, event.FiredFailed, event.FiredSignalled)}
	switch p.Outcome {
	case event.FiredStarted, event.FiredSignalled:
		p.Run = eventlog.RunID{1, byte(w.rng.IntN(3))}
	case event.FiredSkipped:
		p.Until, p.Count = due+5, 3
	}
	return p
}

// append stores events that the fold of the run accepts, and none otherwise.
func (w *world) append(l *life, payloads ...event.Payload) {
	w.clock += int64(w.rng.IntN(1e6))
	for i := 0; i < len(payloads); i++ {
		p := payloads[i]
		e := eventlog.Event{
			Seq: w.log.Head() + 1 + eventlog.Seq(i), Run: l.id, Version: l.state.Version + 1, Time: w.clock, Kind: p.Kind(), Payload: event.Encode(p),
		}
		if err := l.state.Apply(e); err != nil {
			l.state = w.foldOf(l.id, l.events)
			return
		}
		l.state.Past = func(v eventlog.Version) (*run.State, error) { return w.foldOf(l.id, l.events[:v]), nil }
		if owed := l.state.Owed(); owed != nil {
			payloads = slices.Insert(payloads, i+1, event.Payload(owed))
		}
	}
	events := w.write(l.id, eventlog.Version(len(l.events)), payloads...)
	l.events = append(l.events, events...)
}

func (w *world) write(id eventlog.RunID, expect eventlog.Version, payloads ...event.Payload) []eventlog.Event {
	a := eventlog.Append{ID: eventlog.AppendID(w.rng.Uint64() | 1), Run: id, Expect: expect}
	for _, p := range payloads {
		w.kinds[p.Kind()]++
		a.Records = append(a.Records, eventlog.Record{Time: w.clock, Kind: p.Kind(), Payload: event.Encode(p)})
	}
	if _, err := w.log.Append(context.Background(), a); err != nil {
		w.t.Fatal(err)
	}
	events, err := w.log.ReadRun(id, expect, len(payloads))
	if err != nil {
		w.t.Fatal(err)
	}
	return events
}

// act does one thing with a run. Some of it the fold refuses: then nothing
// happened.
func (w *world) act(l *life) {
	s := l.state
	if len(l.erased) > 0 { // commands are refused
		if w.chance(9) {
			w.erase(l)
		}
		return
	}
	if s.Status.Terminal() {
		w.afterlife(l)
		return
	}
	var list []func()
	do := func(p ...event.Payload) { list = append(list, func() { w.append(l, p...) }) }
	for _, t := range s.Tokens {
		visit := 1
		if n := s.Nodes[t.To]; n != nil {
			visit = n.Visits + 1
		}
		do(&event.NodeScheduled{Node: t.To, Visit: visit})
		do(&event.NodeScheduled{Node: t.To, Visit: visit})
	}
	for _, id := range s.LiveIDs() {
		v := *s.Live[id]
		switch {
		case v.Status == run.NodeCompleted:
			do(&event.EdgeTaken{From: v.Node, Visit: v.Visit, To: w.pick("a", "b", "human", "wait", "sub"), Outcome: "always", Of: 1})
			continue
		case v.Asked && len(v.Result) == 0:
			do(&event.InputReceived{Node: v.Node, Visit: v.Visit, Value: event.Null})
			if s.Timer(v.Node, v.Visit, "input") != nil {
				do(&event.TimerFired{Node: v.Node, Visit: v.Visit, For: "input"})
			}
		case v.Node == "human" && !v.Asked:
			form := event.MustValue(map[string]any{"type": "object", "pad": fmt.Sprintf("%*d", w.rng.IntN(6000), 1)})
			list = append(list, func() {
				ask := &event.InputRequested{Node: v.Node, Visit: v.Visit, Prompt: "Publish?", Form: form, Assignee: w.pick("", "ann", "bob")}
				if w.chance(2) {
					w.append(l, ask, &event.TimerSet{Node: v.Node, Visit: v.Visit, For: "input", At: w.soon()}, w.waiting(v.Node, "input"))
				} else {
					w.append(l, ask)
				}
			})
		case v.Node == "wait" && s.Timer(v.Node, v.Visit, "wait") == nil:
			do(&event.TimerSet{Node: v.Node, Visit: v.Visit, For: "wait", At: w.soon()}, w.waiting(v.Node, "timer"))
		case v.Node == "wait":
			do(&event.TimerFired{Node: v.Node, Visit: v.Visit, For: "wait"}, &event.NodeCompleted{Node: v.Node, Visit: v.Visit, Result: event.Null, Last: true})
		case v.Node == "sub" && !v.Ordered && len(v.Result) == 0:
			list = append(list, func() {
				child := w.create(&event.Parent{Run: l.id, Node: v.Node, Visit: v.Visit})
				w.append(l, &event.ChildStarted{Node: v.Node, Visit: v.Visit, Child: child.id, Workflow: "sub"})
			})
		case v.Node == "sub" && v.Ordered:
			do(&event.ChildEnded{Node: v.Node, Visit: v.Visit, Child: v.Child, Status: "completed"})
		case v.Status == run.NodeScheduled:
			need := event.Need{CallID: event.CallID{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1}, Input: 10, Output: 5, Micros: 7}
			do(&event.CostReserved{Need: need}, &event.NodeStarted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1})
			if w.chance(3) {
				do(&event.BudgetExceeded{Need: need, Budget: w.budget(s), Then: event.OnExceedPause}, &event.RunPaused{Reason: "no money"})
			}
			do(&event.NodeStarted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1})
			do(&event.AgentChosen{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1, Agent: "someone"}, &event.NodeStarted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1})
		case v.Held != nil && v.Held.Verdict == run.Unreviewed:
			r := event.Review{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Rule: v.Held.Rule}
			do(&event.SecurityGranted{Review: r})
			do(&event.SecurityGranted{Review: r}, &event.NodeCompleted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Result: v.Held.Result})
			f := event.Failure{Class: event.ClassInvalidOutput, Message: "denied", Node: v.Node, Visit: v.Visit, Attempt: v.Attempt}
			do(&event.SecurityDenied{Review: r}, &event.NodeFailed{Failure: f, Then: event.ThenOnError, To: "b"})
		case v.Held != nil:
			do(&event.NodeCompleted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Result: v.Held.Result})
		case v.Status == run.NodeRunning:
			hold := &event.SecurityRequested{Review: event.Review{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Rule: "careful"}, Result: event.MustValue("rm"), Usage: &event.Usage{InputTokens: 3}}
			do(hold)
			do(hold, w.waiting(v.Node, "input"))
			do(&event.ToolCalled{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Call: v.Calls + 1, Tool: "search", Arguments: event.Null})
			fail := event.Failure{Class: event.ClassTimeout, Message: "late", Node: v.Node, Visit: v.Visit, Attempt: v.Attempt}
			do(&event.NodeFailed{Failure: fail, Then: event.ThenRetry}, &event.NodeRetried{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1, At: w.soon()}, w.waiting(v.Node, "retry"))
			do(&event.NodeFailed{Failure: fail, Then: event.ThenPause}, &event.RunPaused{Reason: "no model"})
			do(&event.NodeLost{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt})
			turn := &event.ChatTurn{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Turn: 1, Round: 1, Speaker: "ann", Message: event.MustValue("yes"), Vote: event.VoteApprove}
			do(turn, &event.ChatEnded{Node: v.Node, Visit: v.Visit, Outcome: event.ChatConsensus, Turns: 1, Approve: 1, Of: 1, Percent: 100})
			do(turn)
			if w.chance(4) {
				do(&event.PlanMade{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Goal: event.MustValue("ship"), Tasks: []event.PlanTask{{Description: event.MustValue("do it"), Role: "coder"}}})
			}
			do(&event.NodeFailed{Failure: fail, Then: event.ThenOnError, To: "b"}, &event.EdgeTaken{From: v.Node, Visit: v.Visit, To: "b", Outcome: "error", Of: 1, Failure: &fail})
			if w.chance(4) {
				end := []event.Payload{&event.NodeFailed{Failure: fail, Then: event.ThenRun}}
				for _, other := range s.LiveIDs() {
					if other != v.Node {
						end = append(end, &event.NodeSkipped{Node: other, Visit: s.Live[other].Visit, Reason: event.SkipRunEnded})
					}
				}
				do(append(end, &event.RunFailed{Failure: fail})...)
			}
		}
		var usage *event.Usage
		if v.Attempt > 0 && w.chance(2) {
			usage = &event.Usage{InputTokens: int64(w.rng.IntN(10)), OutputTokens: 3, Model: w.pick("", "m", "n"), Price: &event.Price{Input: 1_000_000, Output: 2_000_000}}
		}
		do(&event.NodeCompleted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Result: event.MustValue("done"), Usage: usage},
			&event.EdgeTaken{From: v.Node, Visit: v.Visit, To: w.pick("a", "b", "human", "wait", "sub"), Outcome: "always", Of: 1})
		do(&event.NodeCompleted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Result: event.MustValue("done"), Sets: 1, Last: true},
			&event.StateSet{Node: v.Node, Visit: v.Visit, Key: "k", Value: event.MustValue(1)})
		if w.chance(8) {
			do(&event.NodeSkipped{Node: v.Node, Visit: v.Visit, Reason: event.SkipJoined})
		}
	}
	if len(list) == 0 || w.chance(10) {
		list = append(list[:0], w.command(l))
	}
	list[w.rng.IntN(len(list))]()
}

func (w *world) waiting(node, what string) event.Payload {
	return &event.RunWaiting{On: []event.Wait{{Node: node, For: what, Until: w.soon()}}}
}

func (w *world) soon() event.Time { return event.Time(w.clock + int64(w.rng.IntN(1e9))) }

// command is what a person does with a run.
func (w *world) command(l *life) func() {
	s := l.state
	var p event.Payload
	switch w.rng.IntN(11) {
	case 10:
		p = &event.BudgetRaised{Budget: w.budget(s), Limits: event.Limits{Tokens: 2000}}
	case 0:
		p = &event.RunPaused{Reason: "lunch"}
	case 1:
		p = &event.RunResumed{}
	case 2:
		p = &event.SignalReceived{Name: "go", Value: event.Null}
	case 3:
		p = w.checkpoint(s)
	case 4:
		return func() { w.restore(l) }
	case 5:
		if s.Timer("", 0, "run") == nil {
			return func() {}
		}
		p = &event.TimerFired{For: "run"}
	case 6:
		if !w.chance(3) {
			return func() {}
		}
		p = &event.RunCancelled{Reason: "no longer wanted"}
	case 7:
		if len(s.Live)+len(s.Tokens) > 0 {
			p = &event.ResultIgnored{Node: "a", Visit: 1, Attempt: 1, Reason: "late"}
			break
		}
		p = &event.RunCompleted{Output: event.MustValue(fmt.Sprintf("%*d", w.rng.IntN(500), 1))}
	case 8:
		p = &event.CheckpointPruned{Below: s.Version / 2}
	case 9:
		p = &event.RunImported{Origin: "wfd.dev/a", Pause: "imported"}
	}
	return func() { w.append(l, p) }
}

// budget returns one that a run spends from.
func (w *world) budget(s *run.State) event.BudgetID {
	if w.chance(2) {
		return event.BudgetID{Scope: event.ScopeOfDay, Name: "2026-01-31"}
	}
	return s.OwnBudget()
}

func (w *world) checkpoint(s *run.State) event.Payload {
	return &event.CheckpointCreated{At: 1 + eventlog.Version(w.rng.IntN(int(s.Version))), Name: w.pick("", "before", "good"), Pinned: w.chance(2)}
}

func (w *world) restore(l *life) {
	if v := int(l.state.Version); v > 1 {
		w.append(l, &event.RunRestored{To: eventlog.Version(1 + w.rng.IntN(v-1)), Pause: w.chance(3)})
	}
}

// afterlife is what may happen to a run that has ended.
func (w *world) afterlife(l *life) {
	switch w.rng.IntN(13) {
	case 0:
		w.restore(l)
	case 12:
		w.append(l, &event.RunImported{Origin: "wfd.dev/a"})
	case 1:
		w.append(l, w.checkpoint(l.state))
	case 6:
		w.erase(l)
	case 2:
		w.append(l, &event.ResultIgnored{Node: "a", Visit: 1, Attempt: 1, Reason: "late"})
	case 3, 4:
		if l.state.Status == run.Failed {
			w.append(l, &event.RunResumed{Retry: true})
		}
	case 5:
		if v := int(l.state.Version); l.state.Status == run.Failed && v > 1 {
			w.append(l, &event.RunRestored{To: eventlog.Version(1 + w.rng.IntN(v-1)), Node: "a", Visit: 1})
		}
	}
}

// erase takes the payloads of a run out of the log, once the log says so.
func (w *world) erase(l *life) {
	p := &event.PayloadErased{Scope: w.pick(event.ScopeRun, event.ScopeRetention, event.ScopePayload), Reason: "asked for"}
	if p.Scope == event.ScopeRetention && w.chance(2) {
		p.Archive = "aa"
	}
	last := eventlog.Version(len(l.events))
	t := event.ErasedSpan{Run: l.id, From: 1, To: last}
	if p.Scope == event.ScopePayload {
		t.From = 1 + eventlog.Version(w.rng.IntN(int(last)))
		t.To = t.From
	}
	left := func(e eventlog.Event) ([]byte, error) { return event.Redact(e.Kind, e.Payload, p.Rest()) }
	for _, e := range l.events {
		b := e.Payload
		if e.Version >= t.From && e.Version <= t.To {
			var err error
			if b, err = left(e); err != nil {
				w.t.Fatal(err)
			}
		}
		t.Bytes += int64(len(b))
	}
	p.Targets = []event.ErasedSpan{t}
	v, err := w.log.Version(Erasures)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(Erasures, v, p)
	l.erased = append(l.erased, p)
	if w.chance(2) {
		w.steps(5) // the views may have seen the event before its payloads go, or not
	}
	if err := w.log.Erase([]eventlog.Span{{Run: t.Run, From: t.From, To: t.To}}, left); err != nil {
		w.t.Fatal(err)
	}
	if l.events, err = w.log.ReadRun(l.id, 0, int(last)); err != nil {
		w.t.Fatal(err)
	}
	l.state = w.foldOf(l.id, l.events)
}
