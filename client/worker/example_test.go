package worker_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"testing"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/client/internal/daemon"
	"github.com/wfd-dev/wfd/client/worker"
)

func TestMain(m *testing.M) { os.Exit(daemon.Main(m.Run)) }

// A worker with one handler, whose input is decoded for it. What it has done is left
// behind for the next attempt, should this one be lost.
func Example() {
	ctx, stop := context.WithCancel(context.Background()) // in a program: signal.NotifyContext
	c, err := client.FromEnv()
	if err != nil {
		log.Fatal(err)
	}
	type order struct{ Pages []string }
	w := worker.New(c, worker.Options{Name: "press-1", Queues: []string{"press"}, Tasks: 4})
	w.Handle("print", worker.Typed(func(ctx context.Context, t *worker.Task, in order) (int, error) {
		done := 0
		if _, err := t.Resume(&done); err != nil {
			return 0, err
		}
		for ; done < len(in.Pages); done++ {
			if ctx.Err() != nil { // the task is not ours any more, or we are to stop
				return 0, context.Cause(ctx)
			}
			if in.Pages[done] == "" {
				return 0, worker.Fail("tool_failed", "page %d is empty", done+1).Final()
			}
			t.Progress("%d of %d pages", done+1, len(in.Pages))
			if err := t.Checkpoint(done + 1); err != nil {
				return 0, err
			}
		}
		return done, nil
	}))
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()

	definition := `
name: book
nodes: {print: {worker: {worker: print, input: {pages: "${input}"}}, queue: press}}
`
	if _, err := c.Register(ctx, "book.yaml", []byte(definition)); err != nil {
		log.Fatal(err)
	}
	for _, pages := range [][]string{{"one", "two"}, {"one", ""}} {
		run, err := c.Start(ctx, "book", client.Start{Input: pages})
		if err == nil {
			run, err = c.Wait(ctx, run.ID)
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(run.Status, string(run.Output), run.Error)
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// completed 2 <nil>
	// failed null &{tool_failed page 2 is empty print 1 1}
	// <nil>
}
