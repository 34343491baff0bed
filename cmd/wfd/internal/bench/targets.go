package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// targets measures the five figures that the design asks for, one after the other for
// one run, while clients keep the engine busy with chains of their own.
func (b *bench) targets(ctx context.Context) (err error) {
	l, err := begin(ctx, filepath.Join(b.dir, "data"), b.keys, noop, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := l.register(ctx, chainOf(b.Steps)); err != nil {
		return err
	}
	const source = "name: ask\nstate: {score: {type: number, default: 1}}\nnodes:\n  a: {worker: {worker: noop}}\n  h: {wait: {signal: go}, needs: [a]}\n"
	if err := l.register(ctx, source); err != nil {
		return err
	}
	busy, stop := context.WithCancel(ctx)
	defer stop()
	var load sync.WaitGroup
	var loadErr error
	var once sync.Once
	for range b.Clients {
		load.Go(func() {
			for busy.Err() == nil {
				if _, err := l.once(busy, "chain", eventlog.RunID{}); err != nil && busy.Err() == nil {
					once.Do(func() { loadErr = err })
					return
				}
			}
		})
	}
	after, before, began := l.log.Head(), spentBy(l), time.Now()
	var t timings
	_, err = drive(ctx, b.Runs, 1, b.Limit, func(int) error { return t.one(ctx, l) })
	all := time.Since(began)
	cost := spentBy(l)
	stop()
	load.Wait()
	if err = errors.Join(err, loadErr); err != nil {
		return err
	}
	b.took(t.node, all)
	events := float64(l.log.Head() - after)
	b.r.Cost = cost.since(before, events)
	b.r.StepsOfRun, b.r.StepsPerS = 1, events/all.Seconds()
	b.r.Notes = append(b.r.Notes, "a step is an event of all the runs here, p50 and p99 are those of a node")
	b.r.Targets = []Target{t.create.target("create", 10), t.node.target("node", 100), t.mark.target("checkpoint", 50), t.restore.target("restore", 100), t.lookup.target("lookup", 1)}
	batches, err := l.batches(after)
	if err != nil {
		return err
	}
	return b.rawOf(batches, events, 1)
}

func (s spread) target(name string, want float64) Target {
	return Target{Name: name, P50: s.at(0.5), P99: s.at(0.99), Want: want, N: len(s)}
}

// timings are of runs that are looked after one by one.
type timings struct{ create, node, mark, restore, lookup spread }

// one has a run created, do a node, and wait; marks it, looks it up and restores it.
func (t *timings) one(ctx context.Context, l *life) error {
	var id eventlog.RunID
	steps := []struct {
		s  *spread
		do func() error
	}{
		{&t.create, func() error {
			r, _, err := l.e.StartRun(ctx, engine.StartRequest{Workflow: "ask"}, by)
			id = r.ID
			return err
		}},
		{&t.node, func() error {
			_, err := l.e.Await(ctx, id, func(r engine.Run) bool { return r.Status == run.Waiting })
			return err
		}},
		{&t.mark, func() error {
			_, err := l.e.Do(ctx, id, machine.Checkpoint{Name: "here"}, by)
			return err
		}},
		{&t.lookup, func() error {
			_, err := l.e.State(ctx, id)
			return err
		}},
		{&t.restore, func() error {
			_, err := l.e.RestoreTo(ctx, id, 0, "here", false, by)
			return err
		}},
	}
	for _, step := range steps {
		began := time.Now()
		if err := step.do(); err != nil {
			return fmt.Errorf("run %s: %w", id, err)
		}
		*step.s = append(*step.s, time.Since(began))
	}
	_, err := l.e.Do(ctx, id, machine.Cancel{Reason: "measured"}, by)
	return err
}
