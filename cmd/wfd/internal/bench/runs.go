package bench

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

func (b *bench) chain(ctx context.Context) error { return b.runs(ctx, "chain", chainOf(b.Steps)) }

func (b *bench) fanout(ctx context.Context) error { return b.runs(ctx, "fanout", fanOf(b.Steps)) }

// runs measures runs of a workflow from their start to their end.
func (b *bench) runs(ctx context.Context, name, source string) (err error) {
	l, err := begin(ctx, filepath.Join(b.dir, "data"), b.keys, noop, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := l.register(ctx, source); err != nil {
		return err
	}
	one := func(int) error {
		_, err := l.once(ctx, name, eventlog.RunID{})
		return err
	}
	if _, err := drive(ctx, warm, b.Clients, b.Limit/4, one); err != nil {
		return err
	}
	if err := l.views.Flush(ctx); err != nil { // the rows of before are not of this measurement
		return err
	}
	after := l.log.Head()
	if err := b.measure(ctx, l, one); err != nil {
		return err
	}
	batches, err := l.batches(after)
	if err != nil {
		return err
	}
	perRun := float64(b.Steps) + 1 // commits that a run waits for: its start, and each node
	if name == "fanout" {
		perRun = 3 // its start, the first result, those that came meanwhile
	}
	if err := b.rawOf(batches, float64(b.r.Runs*b.Steps), perRun); err != nil {
		return err
	}
	return b.alone(ctx, l, after)
}

// idle has runs wait for a signal, and looks what they take.
func (b *bench) idle(ctx context.Context) (err error) {
	l, err := begin(ctx, filepath.Join(b.dir, "data"), b.keys, noop, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.end()) }()
	if err := l.register(ctx, "name: idle\nnodes: {w: {wait: {signal: go}}}\n"); err != nil {
		return err
	}
	before := anonymous()
	if err := b.measure(ctx, l, func(int) error {
		r, _, err := l.e.StartRun(ctx, engine.StartRequest{Workflow: "idle"}, by)
		if err == nil && r.Status != run.Waiting {
			_, err = l.e.Await(ctx, r.ID, func(r engine.Run) bool { return r.Status == run.Waiting })
		}
		return err
	}); err != nil {
		return err
	}
	if err := l.views.Flush(ctx); err != nil {
		return err
	}
	at := anonymous()
	time.Sleep(3 * time.Second) // for what ends by itself
	rest := anonymous()
	runtime.GC()
	debug.FreeOSMemory()
	freed := anonymous()
	b.r.Figures = map[string]float64{
		"anonymous_mb_before": before / 1e6, "anonymous_mb_at_once": at / 1e6, "anonymous_mb_after_3s": rest / 1e6,
		"anonymous_mb_collected": freed / 1e6, "bytes_per_run": max(freed-before, 0) / float64(max(b.r.Runs, 1)),
	}
	batches, err := l.batches(0)
	if err != nil {
		return err
	}
	return b.rawOf(batches, float64(b.r.Runs*b.Steps), 1)
}

// anonymous is the memory of this process that no file backs, in bytes; 0 where
// that is not told.
func anonymous() float64 { return number("/proc/self/status", "RssAnon") * 1024 }
