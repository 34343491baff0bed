package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// The benchmarks of this file are the targets of a run's life: creating it, a node
// beyond its commit, looking at it, loading it, starting on many. Beside each is
// the commit of the same log with nothing around it, from the same run.

// spread collects durations and reports their quantiles.
type spread struct{ d []time.Duration }

func (s *spread) add(d time.Duration) { s.d = append(s.d, d) }

func (s *spread) at(q float64) time.Duration {
	slices.Sort(s.d)
	return s.d[min(int(q*float64(len(s.d))), len(s.d)-1)]
}

func (s *spread) report(b *testing.B, name string) {
	b.ReportMetric(float64(s.at(0.5).Microseconds()), name+"-p50-µs")
	b.ReportMetric(float64(s.at(0.99).Microseconds()), name+"-p99-µs")
}

// commit appends records like those of one transition of a chain, alone.
func commit(b *testing.B, log eventlog.Log, n int) *spread {
	var s spread
	record := func(p event.Payload) eventlog.Record {
		return eventlog.Record{Time: time.Now().UnixNano(), Kind: p.Kind(), Actor: "runner:worker", Payload: event.Encode(p)}
	}
	for range n {
		a := eventlog.Append{ID: appendID(), Run: eventlog.RunID{0xff, byte(n)}}
		v, err := log.Version(a.Run)
		if err != nil {
			b.Fatal(err)
		}
		a.Expect = v
		a.Records = []eventlog.Record{
			record(&event.NodeCompleted{Node: "n1", Visit: 1, Attempt: 1, Result: event.StringValue("x")}),
			record(&event.EdgeTaken{From: "n1", Visit: 1, To: "n2", Outcome: event.OutcomeAlways, Of: 1}),
			record(&event.NodeScheduled{Node: "n2", Visit: 1}),
			record(&event.NodeStarted{Node: "n2", Visit: 1, Attempt: 1}),
		}
		began := time.Now()
		if _, err := log.Append(context.Background(), a); err != nil {
			b.Fatal(err)
		}
		s.add(time.Since(began))
	}
	return &s
}

func BenchmarkCreateAndNode(b *testing.B) {
	e, stop := openBench(b)
	defer stop()
	const nodes = 20
	register(b, e, chainSource(nodes))
	ctx := context.Background()
	var create, node, raw spread
	for b.Loop() {
		began := time.Now()
		r, _, err := e.StartRun(ctx, StartRequest{Workflow: "chain"}, By{Actor: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		create.add(time.Since(began))
		if r, err = e.Await(ctx, r.ID, Settled); err != nil {
			b.Fatal(err)
		}
		node.add(time.Duration(r.Ended-r.Created) / nodes)
		raw.d = append(raw.d, commit(b, e.log, 5).d...)
	}
	create.report(b, "create")
	node.report(b, "node")
	raw.report(b, "commit")
	b.ReportMetric(float64((node.at(0.5) - raw.at(0.5)).Microseconds()), "node-beyond-commit-p50-µs")
}

func BenchmarkLookup(b *testing.B) {
	e, stop := openBench(b)
	defer stop()
	register(b, e, "name: ask\nstate:\n  score: {type: number, default: 1}\nnodes:\n  a: {worker: {worker: noop}}\n  h: {human: {prompt: '?'}, needs: [a]}\n")
	ctx := context.Background()
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "ask"}, By{Actor: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := e.Await(ctx, r.ID, func(r Run) bool { return r.OnlyPeople }); err != nil {
		b.Fatal(err)
	}
	var s spread
	for b.Loop() {
		began := time.Now()
		if _, err := e.State(ctx, r.ID); err != nil {
			b.Fatal(err)
		}
		s.add(time.Since(began))
	}
	s.report(b, "lookup")
}

func BenchmarkLoad1000Events(b *testing.B) {
	e, stop := openBench(b)
	defer stop()
	register(b, e, chainSource(250))
	ctx := context.Background()
	r, _, err := e.StartRun(ctx, StartRequest{Workflow: "chain"}, By{Actor: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	if r, err = e.Await(ctx, r.ID, Settled); err != nil {
		b.Fatal(err)
	}
	var s spread
	for b.Loop() {
		began := time.Now()
		if _, err := run.Fold(e.log, r.ID, run.Newest); err != nil {
			b.Fatal(err)
		}
		s.add(time.Since(began))
	}
	b.ReportMetric(float64(r.Version), "events")
	s.report(b, "load")
}

// BenchmarkStart100000 starts the engine on a directory with 100,000 runs that
// have ended, 1,000 that wait, and views that are intact.
func BenchmarkStart100000(b *testing.B) {
	dir := b.TempDir()
	log, views, err := Store(dir, nil, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	e := New(log, views, Options{})
	src := "name: ask\nnodes:\n  a: {worker: {worker: noop}}\n  h: {human: {prompt: '?'}, needs: [a]}\n"
	register(b, e, src)
	wf, _ := workflow.Load("ask.yaml", []byte(src))
	fillRuns(b, log, wf, 101_000, 100_000)
	if err := views.CatchUp(context.Background(), nil); err != nil {
		b.Fatal(err)
	}
	e.Stop()
	if err := views.Close(); err != nil {
		b.Fatal(err)
	}
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	var s spread
	for b.Loop() {
		began := time.Now()
		log, views, err := Store(dir, nil, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		e := New(log, views, Options{Runners: map[workflow.Kind]agent.Runner{}})
		if err := e.Start(context.Background()); err != nil {
			b.Fatal(err)
		}
		s.add(time.Since(began))
		e.Stop()
		closeAll(b, views, log)
	}
	s.report(b, "start")
}

func closeAll(b *testing.B, views *projection.Views, log *eventlog.DB) {
	if err := views.Close(); err != nil {
		b.Fatal(err)
	}
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
}

// fillRuns appends n runs that the machine decides, of which the first are ended.
func fillRuns(b *testing.B, log eventlog.Log, wf *workflow.Workflow, n, ended int) {
	var wg sync.WaitGroup
	ids := make(chan int)
	for range 256 {
		wg.Go(func() {
			for i := range ids {
				id := keyed("ask", fmt.Sprint(i))
				s := run.New(id)
				commands := []machine.Command{machine.Start{}, machine.Result{Node: "a", Visit: 1, Attempt: 1, Value: event.StringValue("ok")}}
				if i < ended {
					commands = append(commands, machine.Answer{Value: event.StringValue("yes")})
				}
				var records []eventlog.Record
				for _, c := range commands {
					events, err := machine.Decide(wf, s, machine.Meta{At: event.At(time.Now()), Actor: "bench"}, c)
					if err != nil {
						b.Error(err)
						return
					}
					for _, e := range events {
						records = append(records, e.Record)
					}
				}
				if _, err := log.Append(context.Background(), eventlog.Append{ID: appendID(), Run: id, Records: records}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for i := range n {
		ids <- i
	}
	close(ids)
	wg.Wait()
}
