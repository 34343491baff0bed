package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/workflow"
)

func chainSource(n int) string {
	var b strings.Builder
	b.WriteString("name: chain\nnodes:\n")
	for i := range n {
		needs := ""
		if i > 0 {
			needs = fmt.Sprintf(", needs: [n%d]", i-1)
		}
		fmt.Fprintf(&b, "  n%d: {worker: {worker: noop}%s}\n", i, needs)
	}
	return b.String()
}

// openBench opens an engine whose workers do nothing but return 64 bytes.
func openBench(b *testing.B) (*Engine, func()) {
	log, views, err := Store(b.TempDir(), nil, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	out := map[string]any{"text": strings.Repeat("x", 56)}
	noop := agent.RunnerFunc(func(context.Context, *agent.Task) agent.Answer { return agent.Answer{Result: out} })
	e := New(log, views, Options{Runners: map[workflow.Kind]agent.Runner{workflow.Worker: noop}})
	if err := e.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	return e, func() {
		e.Stop()
		if err := views.Close(); err != nil {
			b.Error(err)
		}
		if err := log.Close(); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			e, stop := openBench(b)
			defer stop()
			register(b, e, chainSource(10))
			ctx := context.Background()
			var wg sync.WaitGroup
			work := make(chan int)
			b.ResetTimer()
			began, worked := time.Now(), cpu(b)
			for range clients {
				wg.Go(func() {
					for range work {
						r, _, err := e.StartRun(ctx, StartRequest{Workflow: "chain"}, By{Actor: "bench"})
						if err == nil {
							r, err = e.Await(ctx, r.ID, Settled)
						}
						if err != nil || r.Status != "completed" {
							b.Error(err, r.Status)
						}
					}
				})
			}
			for i := range b.N {
				work <- i
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N*10)/time.Since(began).Seconds(), "steps/s")
			b.ReportMetric(float64((cpu(b)-worked).Microseconds())/float64(b.N*10), "cpu-us/step")
		})
	}
}

// cpu is the time that the process has spent on processors, which says more than
// the clock on a machine that is shared.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
