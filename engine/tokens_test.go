package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/projection/run"
)

// Pieces of an answer reach those who watch, in order; one who does not look keeps
// nobody waiting and is told how many were lost; nothing of them is in the log.
func TestTokens(t *testing.T) {
	const pieces = 10_000
	begin := make(chan struct{})
	e, log, stop := openWith(t, t.TempDir(), Options{Agents: judges(t, 1, "")}, agent.RunnerFunc(func(_ context.Context, task *agent.Task) agent.Answer {
		<-begin
		for i := range pieces {
			task.Show(fmt.Sprint(i, " "))
		}
		return agent.Answer{Result: "done"}
	}))
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	register(t, e, "name: one\nnodes: {a: {role: judge, prompt: Judge.}}")
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "one"}, By{Actor: "t"})
	if err != nil {
		t.Fatal(err)
	}
	idle, endIdle := e.Tokens(r.ID)
	quick, endQuick := e.Tokens(r.ID)
	heard, got := make(chan struct{}), []Token{}
	go func() {
		defer close(heard)
		for {
			select {
			case k := <-quick:
				if got = append(got, k); strings.HasPrefix(k.Text, fmt.Sprint(pieces-1)) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	close(begin)
	if r, err = e.Await(ctx, r.ID, Settled); err != nil || r.Status != run.Completed {
		t.Fatalf("%+v, %v", r, err)
	}
	// The quick one may lose pieces as well, on a machine that is busy; then the last
	// may be among them.
	endQuick()
	endQuick()
	next := 0
	select {
	case <-heard:
	case <-time.After(100 * time.Millisecond):
		cancel()
		<-heard
	}
	for _, k := range got {
		if next += k.Lost; k.Text != fmt.Sprint(next, " ") || k.Node != "a" || k.Visit != 1 || k.Attempt != 1 {
			t.Fatalf("piece %d is %+v", next, k)
		}
		next++
	}
	if len(got) == 0 {
		t.Error("nothing was heard")
	}
	if len(idle) != maxTokens {
		t.Errorf("%d pieces wait for one who does not look", len(idle))
	}
	endIdle()
	if e.tokens.any.Load() != 0 || len(e.tokens.by) != 0 {
		t.Errorf("%d watchers are left", e.tokens.any.Load())
	}
	events, err := log.ReadRun(r.ID, 0, 100)
	if err != nil || len(events) > 10 {
		t.Errorf("the run has %d events: %v", len(events), err)
	}
}
