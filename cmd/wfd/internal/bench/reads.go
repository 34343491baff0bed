package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// fill appends ended chains, as an engine would have, for what reads them.
func (b *bench) fill(ctx context.Context, l *life) error {
	source := chainOf(b.Steps)
	if err := l.register(ctx, source); err != nil {
		return err
	}
	wf, problems := workflow.Load("bench.yaml", []byte(source))
	if wf == nil {
		return problems
	}
	value, err := event.ValueOf(result)
	if err != nil {
		return err
	}
	const writers = 64
	_, err = drive(ctx, b.Runs, writers, MaxLimit, func(i int) error {
		s := run.New(runNo(i))
		var c machine.Command = machine.Start{Version: 1}
		a := eventlog.Append{ID: eventlog.AppendID(i + 1), Run: s.Run}
		for n := 0; ; n++ {
			events, err := machine.Decide(wf, s, machine.Meta{At: event.At(time.Now()), Actor: by.Actor}, c)
			if err != nil {
				return err
			}
			for i := range events {
				a.Records = append(a.Records, events[i].Record)
			}
			if s.Status.Terminal() || len(a.Records) > eventlog.MaxRecords/2 {
				if _, err := l.log.Append(ctx, a); err != nil || s.Status.Terminal() {
					return err
				}
				a.Expect, a.Records = s.Version, nil
			}
			c = machine.Result{Node: wf.Nodes[n].ID, Visit: 1, Attempt: 1, Value: value}
		}
	})
	return err
}

// replay reads runs from the log and folds them.
func (b *bench) replay(ctx context.Context) (err error) {
	l, err := begin(ctx, filepath.Join(b.dir, "data"), b.keys, noop, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := b.fill(ctx, l); err != nil {
		return err
	}
	bytes, events := 0, 0
	if err := l.each(0, func(e eventlog.Event) bool {
		bytes += envelope + len(e.Actor) + len(e.Payload)
		events++
		return true
	}); err != nil {
		return err
	}
	if err := b.measure(ctx, l, func(i int) error {
		_, err := run.Fold(l.log, runNo(i), run.Newest)
		return err
	}); err != nil {
		return err
	}
	defs := replay.Registered(l.log)
	began := time.Now()
	verified, err := drive(ctx, b.Runs, b.Clients, b.Limit, func(i int) error {
		v, err := replay.Verify(l.log, defs, runNo(i))
		if err == nil && !v.OK {
			err = errors.New("a run is not what follows from its facts: " + v.Difference.Why)
		}
		return err
	})
	if err != nil {
		return err
	}
	b.r.Figures = map[string]float64{
		"events_per_s":         b.r.StepsPerS * float64(events) / float64(b.Runs*b.Steps),
		"verified_steps_per_s": float64(len(verified)*b.Steps) / time.Since(began).Seconds(),
		"verify_p50_ms":        verified.at(0.5),
		"verify_p99_ms":        verified.at(0.99),
	}
	return b.rawRead(bytes / max(b.Runs, 1))
}

// list asks for pages of all runs.
func (b *bench) list(ctx context.Context) (err error) {
	l, err := begin(ctx, filepath.Join(b.dir, "data"), b.keys, noop, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := b.fill(ctx, l); err != nil {
		return err
	}
	if err := l.views.Flush(ctx); err != nil {
		return err
	}
	const page, pages, lookups = 50, 2000, 10_000
	stored, filters := b.Runs, []projection.Filter{{}, {Status: run.Completed}, {Workflow: "chain"}, {Workflow: "chain", Status: run.Completed}}
	cursors := make([]string, len(filters))
	b.Runs, b.Clients = pages, 1
	b.r.Clients = 1
	rows := 0
	before, began := spentBy(l), time.Now()
	took, err := drive(ctx, pages, 1, b.Limit, func(i int) error {
		f := i % len(filters)
		got, next, err := l.views.Runs(ctx, filters[f], cursors[f], page)
		cursors[f], rows = next, rows+len(got)
		return err
	})
	if err != nil {
		return err
	}
	all := time.Since(began)
	b.took(took, all)
	b.r.StepsOfRun, b.r.StepsPerS = page, float64(rows)/all.Seconds()
	b.r.Cost = spentBy(l).since(before, float64(max(rows, 1)))
	looked, err := drive(ctx, lookups, 1, b.Limit, func(int) error {
		_, err := l.views.Run(ctx, runNo(rand.IntN(stored)))
		return err
	})
	if err != nil {
		return err
	}
	b.r.Figures = map[string]float64{"stored_runs": float64(stored), "lookup_p50_ms": looked.at(0.5), "lookup_p99_ms": looked.at(0.99)}
	b.Steps = page
	return b.rawRead(page * pageSize) // a tree has a page for each row at the worst
}

const pageSize = 4096

// rawRead sets the raw figure of reads: as many bytes, from a file that is in memory.
func (b *bench) rawRead(bytes int) error {
	const times = 200
	f, err := os.Create(filepath.Join(b.dir, "raw"))
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, max(bytes, 1))
	if _, err := f.Write(buf); err != nil {
		return err
	}
	var took spread
	for range times {
		began := time.Now()
		for at := 0; at < len(buf); at += pageSize {
			if _, err := f.ReadAt(buf[at:min(at+pageSize, len(buf))], int64(at)); err != nil {
				return err
			}
		}
		took = append(took, time.Since(began))
	}
	b.raw(float64(times*b.Steps)/took.sum().Seconds(), took.at(0.5), took.at(0.99))
	return nil
}
