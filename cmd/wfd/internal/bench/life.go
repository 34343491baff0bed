package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection"
)

// life is an engine at work in this process.
type life struct {
	log   *eventlog.DB
	views *projection.Views
	e     *engine.Engine
	noted commitLog
}

// by is who gives all commands.
var by = engine.By{Actor: "bench"}

// result is what every node returns: 64 bytes with its key.
var result = map[string]any{"text": strings.Repeat("x", 58)}

// noop does nothing.
func noop(context.Context, *agent.Task) agent.Answer { return agent.Answer{Result: result} }

// begin opens a directory and starts an engine there whose worker nodes run does, as
// many at once as a daemon does, or queue. With keys it is encrypted.
func begin(ctx context.Context, dir string, keys crypt.Keys, run agent.RunnerFunc, queue int) (*life, error) {
	return beginAs(ctx, dir, keys, run, engine.Options{Queues: map[string]int{string(workflow.Worker): queue}})
}

// beginAs is begin with other options of the engine.
func beginAs(ctx context.Context, dir string, keys crypt.Keys, run agent.RunnerFunc, opt engine.Options) (_ *life, err error) {
	l := &life{}
	if l.log, l.views, err = engine.Store(dir, keys, nil, l.noted.note); err != nil {
		return nil, err
	}
	opt.Runners = map[workflow.Kind]agent.Runner{workflow.Worker: run}
	l.e = engine.New(l.log, l.views, opt)
	if err := l.e.Start(ctx); err != nil {
		return nil, errors.Join(err, l.end())
	}
	return l, nil
}

func (l *life) end() error {
	l.e.Stop()
	return errors.Join(l.views.Close(), l.log.Close())
}

func (l *life) commits() []eventlog.Seq {
	l.noted.mu.Lock()
	defer l.noted.mu.Unlock()
	return l.noted.heads
}

func (l *life) register(ctx context.Context, source string) error {
	wf, problems := workflow.Load("bench.yaml", []byte(source))
	if wf == nil {
		return problems
	}
	_, err := l.e.Register(ctx, wf, source, by.Actor)
	return err
}

// once starts a run, waits for its end and returns it.
func (l *life) once(ctx context.Context, workflow string, id eventlog.RunID) (engine.Run, error) {
	r, _, err := l.e.StartRun(ctx, engine.StartRequest{Workflow: workflow, ID: id}, by)
	if err != nil {
		return r, err
	}
	return l.ended(ctx, r.ID)
}

// ended waits for a run to complete.
func (l *life) ended(ctx context.Context, id eventlog.RunID) (engine.Run, error) {
	r, err := l.e.Await(ctx, id, engine.Settled)
	if err == nil && r.Status != "completed" {
		err = fmt.Errorf("run %s is %s: %s", r.ID, r.Status, r.Why)
	}
	return r, err
}

// chainOf is a workflow of nodes one after the other.
func chainOf(steps int) string {
	var b strings.Builder
	b.WriteString("name: chain\nnodes:\n")
	for i := range steps {
		needs := ""
		if i > 0 {
			needs = fmt.Sprintf(", needs: [n%d]", i-1)
		}
		fmt.Fprintf(&b, "  n%d: {worker: {worker: noop}%s}\n", i, needs)
	}
	return b.String()
}

// fanOf is a workflow of nodes that start at once, and a join.
func fanOf(steps int) string {
	var b strings.Builder
	b.WriteString("name: fanout\nnodes:\n  fan: {parallel: {}}\n")
	var all []string
	for i := range steps {
		all = append(all, fmt.Sprintf("n%d", i))
		fmt.Fprintf(&b, "  n%d: {worker: {worker: noop}, needs: [fan]}\n", i)
	}
	fmt.Fprintf(&b, "  join: {converge: {}, needs: [%s]}\n", strings.Join(all, ", "))
	return b.String()
}

// drive calls f with 0 to n-1 from clients at once, until all are done, one fails, or
// the limit has passed. It returns how long each took.
func drive(ctx context.Context, n, clients int, limit time.Duration, f func(int) error) (spread, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := time.Now().Add(limit)
	var next atomic.Int64
	var mu sync.Mutex
	var all spread
	var failed error
	var wg sync.WaitGroup
	for range min(clients, n) {
		wg.Go(func() {
			var took spread
			var err error
			for ctx.Err() == nil && time.Now().Before(end) {
				i := int(next.Add(1) - 1)
				if i >= n {
					break
				}
				began := time.Now()
				if err = f(i); err != nil {
					cancel()
					break
				}
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed == nil && len(all) == 0 && n > 0 {
		failed = ctx.Err()
	}
	return all, failed
}

// warm is how many runs are done before the clock starts.
const warm = 20

// measure drives runs and sets what they took.
func (b *bench) measure(ctx context.Context, l *life, f func(int) error) error {
	before, began := spentBy(l), time.Now()
	took, err := drive(ctx, b.Runs, b.Clients, b.Limit, f)
	if err != nil {
		return err
	}
	b.took(took, time.Since(began))
	b.r.Cost = spentBy(l).since(before, float64(len(took)*b.Steps))
	return nil
}

// took sets the figures of runs that are done.
func (b *bench) took(took spread, all time.Duration) {
	b.r.Runs, b.r.Seconds = len(took), all.Seconds()
	b.r.StepsPerS = float64(len(took)*b.Steps) / all.Seconds()
	b.r.P50, b.r.P99 = took.at(0.5), took.at(0.99)
}
