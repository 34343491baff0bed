package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A chat that is interrupted in its second round goes on there: nobody who was heard is
// asked again. Who speaks for a role speaks for it to the end, and is told what the
// others said.
func TestChatAcrossRestarts(t *testing.T) {
	agents, dir := judges(t, 3, ""), t.TempDir()
	var mu sync.Mutex
	asked, speaks := map[string]int{}, map[string]string{}
	stuck := make(chan struct{})
	interrupt := true
	runner := agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		turn := task.Turn
		who := turn.Who.Name
		mu.Lock()
		asked[task.Key()]++
		if before := speaks[who]; before != "" && before != task.Agent.ID {
			t.Errorf("for %s spoke %s, and now %s", who, before, task.Agent.ID)
		}
		speaks[who] = task.Agent.ID
		hang := interrupt && who == "Anyone" && turn.Round == 2
		interrupt = interrupt && !hang
		mu.Unlock()
		if len(turn.Said) != turn.Number-1 {
			t.Errorf("in turn %d is known of %d others", turn.Number, len(turn.Said))
		}
		if hang {
			close(stuck)
			<-ctx.Done()
			return agent.Fail(event.ClassCancelled, "gone")
		}
		return agent.Answer{Result: map[string]any{"message": fmt.Sprintf("%s, round %d", who, turn.Round), "vote": turn.Round > 1}}
	})
	e, _, stop := openWith(t, dir, Options{Agents: agents}, runner)
	register(t, e, `
name: council
nodes:
  talk: {chat: {participants: [judge-1, {role: judge, name: Anyone}], mode: debate, rounds: 3, threshold: 1, prompt: "Why?"}}
`)
	r := start(t, e, "council", map[string]any{})
	<-stuck
	stop()
	e, log, stop := openWith(t, dir, Options{Agents: agents}, runner)
	defer stop()
	await(t, e, r.ID, status(run.Completed))
	if got := resultOf(t, e, r, "talk"); got["outcome"] != event.ChatConsensus || got["turns"] != int64(4) || got["ratio"] != 1.0 {
		t.Errorf("the chat came to %v", got)
	}
	if len(asked) != 4 {
		t.Errorf("%d turns were asked for: %v", len(asked), asked)
	}
	for key, n := range asked {
		if want := 1; n != want && key != fmt.Sprintf("%s/talk/1/4", r.ID) {
			t.Errorf("turn %s was asked for %d times", key, n)
		}
	}
	chosenIn(t, log, r.ID)
}

// Who never answers misses every turn, and the others go on without; while somebody was
// never heard there is no agreement. When nobody answers the chat ends.
func TestChatMissedTurns(t *testing.T) {
	e, _, stop := openWith(t, t.TempDir(), Options{Agents: judges(t, 3, "")}, agent.RunnerFunc(func(ctx context.Context, task *agent.Task) agent.Answer {
		if task.Turn.Who.Name == "judge-2" || task.Workflow == "empty" {
			<-ctx.Done()
			return agent.Fail(event.ClassCancelled, "gone")
		}
		return agent.Answer{Result: map[string]any{"message": "I agree.", "vote": true}}
	}))
	defer stop()
	for name, want := range map[string]map[string]any{
		"deaf":  {"outcome": event.ChatMaxRounds, "turns": int64(6), "ratio": 0.67, "consensus": false},
		"empty": {"outcome": event.ChatTimeout, "turns": int64(3), "ratio": 0.0, "consensus": false, "text": ""},
	} {
		register(t, e, "name: "+name+`
nodes:
  talk: {chat: {participants: [judge-0, judge-1, judge-2], mode: consensus, rounds: 2, threshold: 0.67, turn_timeout: 20ms}, retry: 1}
`)
		r := start(t, e, name, map[string]any{})
		await(t, e, r.ID, status(run.Completed))
		got := resultOf(t, e, r, "talk")
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %v, want %v: %v", name, k, got[k], v, got)
			}
		}
	}
}

// resultOf returns a node's result, which is an object.
func resultOf(t *testing.T, e *Engine, r Run, node string) map[string]any {
	t.Helper()
	s, err := e.State(context.Background(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Nodes[node].Result.Any()
	if err != nil {
		t.Fatal(err)
	}
	m, ok := x.(map[string]any)
	if !ok {
		t.Fatalf("the result of %s is %v", node, x)
	}
	return m
}
