package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// judges returns a roster with n agents of the role judge.
func judges(t *testing.T, n int, more string) *roster.Roster {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		write(t, fmt.Sprintf("%s/judge-%d.md", dir, i), "---\nrole: judge\n"+more+"\n---\nYou judge.\n")
	}
	r, _, err := roster.New(roster.Options{Dir: dir, NoSpawn: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// openWith is open with options; the runner answers every agent node and turn of a chat.
func openWith(t *testing.T, dir string, o Options, runner agent.Runner) (*Engine, eventlog.Log, func()) {
	t.Helper()
	log, views, err := Store(dir, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.Runners = map[workflow.Kind]agent.Runner{workflow.Agent: runner, workflow.Chat: runner}
	e := New(log, views, o)
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return e, log, func() {
		e.Stop()
		if err := views.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}

const panelSource = `
name: panel
nodes:
  a: {role: judge, prompt: "Judge."}
  b: {role: judge, prompt: "Judge."}
  c: {role: Judge, prompt: "Judge."}
  d: {agent: judge-1, prompt: "Judge.", needs: [a, b, c]}
`

// Nodes that name a role share its agents evenly, within a run and across runs; who
// does what is an event, and seen while it is done.
func TestAgentsShareTheWork(t *testing.T) {
	agents := judges(t, 3, "")
	gate := make(chan struct{})
	e, log, stop := openWith(t, t.TempDir(), Options{Agents: agents}, agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		select {
		case <-gate:
			return agent.Answer{Result: task.Agent.ID}
		case <-ctx.Done():
			return agent.Fail(event.ClassCancelled, "cancelled")
		}
	}))
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	register(t, e, panelSource)
	var runs []eventlog.RunID
	for range 5 {
		r, _, err := e.StartRun(ctx, StartRequest{Workflow: "panel"}, By{Actor: "t"})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, r.ID)
	}
	working := func() (n int) {
		list, _ := agents.List("", "judge", 10)
		for _, s := range list {
			n += s.Working
		}
		return n
	}
	for working() < 15 {
		if ctx.Err() != nil {
			t.Fatalf("%d tasks are at work", working())
		}
		time.Sleep(5 * time.Millisecond)
	}
	list, _ := agents.List("", "judge", 10)
	for _, s := range list {
		if s.Working != 5 || s.State != "working" || len(s.Tasks) != 5 || s.Tasks[0].State != roster.Thinking || s.Tasks[0].Attempt != 1 {
			t.Errorf("%s has %d of 15 tasks: %+v", s.ID, s.Working, s.Tasks)
		}
	}
	close(gate)
	done := map[string]int{}
	for _, id := range runs {
		r, err := e.Await(ctx, id, Settled)
		if err != nil || r.Status != run.Completed {
			t.Fatalf("%+v, %v", r, err)
		}
		for _, p := range chosenIn(t, log, id) {
			done[p.Agent]++
			state, err := e.State(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if n := state.Nodes[p.Node]; n.Agent != p.Agent || string(n.Result) != string(event.MustValue(p.Agent)) {
				t.Errorf("%s was done by %s, chosen was %s", p.Node, n.Agent, p.Agent)
			}
			if p.Provider != roster.Sim || p.Hash == "" || (p.Node == "d") != (p.Role == "") || p.Role != "" && p.Candidates != 3 {
				t.Errorf("%+v", p)
			}
		}
	}
	if done["judge-0"] != 5 || done["judge-1"] != 10 || done["judge-2"] != 5 {
		t.Errorf("tasks by agent: %v", done)
	}
	for s, err := agents.Status("judge-1"); s.State != "idle" || s.Done != 10; s, err = agents.Status("judge-1") {
		if ctx.Err() != nil {
			t.Fatalf("%+v, %v", s, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// chosenIn returns the choices in a run's history, each of which stands right before
// the start of its attempt, but for what is reserved for it.
func chosenIn(t *testing.T, log eventlog.Log, id eventlog.RunID) []*event.AgentChosen {
	t.Helper()
	events, err := log.ReadRun(id, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var list []*event.AgentChosen
	for i, e := range events {
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := p.(*event.AgentChosen); ok {
			at := i + 1
			if events[at].Kind == event.KindCostReserved {
				at++
			}
			next, err := event.Decode(events[at].Kind, events[at].Payload)
			s, ok := next.(*event.NodeStarted)
			if err != nil || !ok || s.Node != c.Node || s.Visit != c.Visit || s.Attempt != c.Attempt {
				t.Errorf("%+v is followed by %+v", c, next)
			}
			list = append(list, c)
		}
	}
	return list
}

// An agent that does two things at once leaves the third in its queue, and says so.
func TestAgentLimit(t *testing.T) {
	agents := judges(t, 1, "max_parallel: 2")
	gate := make(chan struct{})
	e, _, stop := openWith(t, t.TempDir(), Options{Agents: agents}, agent.RunnerFunc(func(ctx context.Context, _ *agent.Task) agent.Answer {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return agent.Answer{Result: "done"}
	}))
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	register(t, e, panelSource[:strings.Index(panelSource, "  d:")])
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "panel"}, By{Actor: "t"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := agents.Status("judge-0")
		if err != nil {
			t.Fatal(err)
		}
		if s.Working == 2 && s.Queued == 1 {
			break
		}
		if ctx.Err() != nil || s.Working > 2 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(5 * time.Millisecond)
	}
	// What is given up leaves the queue and the agent.
	if _, err := e.Do(ctx, r.ID, machine.Cancel{}, By{Actor: "t"}); err != nil {
		t.Fatal(err)
	}
	close(gate)
	for s, _ := agents.Status("judge-0"); s.State != "idle" || s.Queued != 0; s, _ = agents.Status("judge-0") {
		if ctx.Err() != nil {
			t.Fatalf("%+v", s)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// After a crash the attempts that were lost are given to agents anew, and every
// attempt has its choice.
func TestAgentsAfterACrash(t *testing.T) {
	agents := judges(t, 3, "")
	log, views, err := Store(t.TempDir(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	defer views.Close()
	never := agent.RunnerFunc(func(ctx context.Context, _ *agent.Task) agent.Answer {
		<-ctx.Done()
		return agent.Fail(event.ClassCancelled, "cancelled")
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	first := New(log, views, Options{Agents: agents, Runners: map[workflow.Kind]agent.Runner{workflow.Agent: never}})
	if err := first.Start(ctx); err != nil {
		t.Fatal(err)
	}
	register(t, first, panelSource)
	r, _, err := first.StartRun(ctx, StartRequest{Workflow: "panel"}, By{Actor: "t"})
	if err != nil {
		t.Fatal(err)
	}
	first.Stop() // to the log, a crash: nothing is recorded of the attempts

	ok := agent.RunnerFunc(func(_ context.Context, task *agent.Task) agent.Answer { return agent.Answer{Result: task.Agent.ID} })
	second := New(log, views, Options{Agents: judges(t, 3, ""), Runners: map[workflow.Kind]agent.Runner{workflow.Agent: ok}})
	if err := second.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer second.Stop()
	if r, err = second.Await(ctx, r.ID, Settled); err != nil || r.Status != run.Completed {
		t.Fatalf("%+v, %v", r, err)
	}
	attempts := map[string][]int{}
	for _, p := range chosenIn(t, log, r.ID) {
		attempts[p.Node] = append(attempts[p.Node], p.Attempt)
	}
	want := map[string][]int{"a": {1, 2}, "b": {1, 2}, "c": {1, 2}, "d": {1}}
	if !maps.EqualFunc(attempts, want, slices.Equal) {
		t.Errorf("chosen for attempts %v, want %v", attempts, want)
	}
}

// The files of agents are looked at while the engine runs.
func TestAgentsAreRefreshed(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/judge.md", "---\nrole: judge\n---\nfirst\n")
	agents, _, err := roster.New(roster.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	e, _, stop := openWith(t, t.TempDir(), Options{Agents: agents}, agent.Unavailable(workflow.Agent))
	defer stop()
	heard := make(chan string, 10)
	if err := e.bus.Listen(t.Context(), topicAgents, func(m string) { heard <- m }); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/second.md", "---\nrole: judge\n---\nsecond\n")
	select {
	case m := <-heard:
		if m != "spawned second" {
			t.Errorf("heard %q", m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody tells of the new agent")
	}
	if a, err := agents.Lookup("second"); err != nil || a.System != "second" {
		t.Errorf("%+v, %v", a, err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
