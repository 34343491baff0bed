package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// topicCompact is the doorbell of the compactor: runs have grown.
const topicCompact = "compact"

// snapshotEvery is by how many events a run grows at least between two snapshots, and
// how many it has before the first.
const snapshotEvery = 256

// compactor keeps what the log costs within bounds: it writes snapshots of long
// runs, takes old automatic checkpoints off their lists, and lets retention do its
// work. What it has not done when we crash, it does later.
type compactor struct {
	e *Engine

	mu    sync.Mutex
	grown map[eventlog.RunID]bool             // runs that are due for a look
	kept  map[eventlog.RunID]eventlog.Version // what the last snapshot of a run is of; forgotten ones cost one more
}

// maxGrown bounds what waits for the compactor; a run that is left out comes again
// with its next 256 events.
const maxGrown = 10_000

func newCompactor(e *Engine) *compactor {
	return &compactor{e: e, grown: map[eventlog.RunID]bool{}, kept: map[eventlog.RunID]eventlog.Version{}}
}

// committed is told of every append of a run.
func (c *compactor) committed(id eventlog.RunID, from, to eventlog.Version) {
	if from/snapshotEvery == to/snapshotEvery {
		return
	}
	c.mu.Lock()
	if len(c.grown) < maxGrown {
		c.grown[id] = true
	}
	c.mu.Unlock()
	c.e.bus.Ring(topicCompact, id.String())
}

func (c *compactor) start(ctx context.Context) error {
	err := c.e.bus.Listen(ctx, topicCompact, func(string) { c.sweep(ctx) })
	if err != nil {
		return err
	}
	c.e.spawn(func() {
		if err := c.e.erasures.resume(ctx); err != nil && ctx.Err() == nil {
			c.e.slog.Error("an erasure is not complete; the next one, or the next start, goes on with it", "error", err)
		}
		c.retain(ctx)
	})
	return nil
}

// sweep writes the snapshots that are due.
func (c *compactor) sweep(ctx context.Context) {
	c.mu.Lock()
	grown := slices.Collect(maps.Keys(c.grown))
	clear(c.grown)
	c.mu.Unlock()
	for _, id := range grown {
		if ctx.Err() != nil {
			return
		}
		if err := c.snapshot(ctx, id); err != nil && ctx.Err() == nil && !errors.Is(err, ErrStopped) {
			c.e.slog.Warn("no snapshot of a run; it is loaded from its events", "run", id.String(), "error", err)
		}
	}
}

// snapshot keeps the state of a run as it is, and prunes its checkpoints.
func (c *compactor) snapshot(ctx context.Context, id eventlog.RunID) error {
	var b []byte
	var at eventlog.Version
	var ended bool
	var failed error
	err := c.e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) {
		at, ended = s.Version, s.Status.Terminal()
		if !ended && c.due(id, at) {
			b, failed = s.Snapshot()
		}
	})
	if err = errors.Join(err, failed); err != nil || ended {
		return err
	}
	if b == nil {
		return c.prune(ctx, id, at)
	}
	last, err := c.e.log.ReadRun(id, at-1, 1)
	if err != nil {
		return err
	}
	if len(last) == 0 {
		return fmt.Errorf("the log has no version %d of run %s", at, id)
	}
	if err := c.e.snapshots.put(id, last[0], b); err != nil {
		return err
	}
	c.mu.Lock()
	if len(c.kept) >= maxGrown {
		clear(c.kept)
	}
	c.kept[id] = at
	c.mu.Unlock()
	return c.prune(ctx, id, at)
}

// due reports whether a run has grown enough for another snapshot. What a snapshot costs
// grows with the run: one in so many events as the run has eighths is paid for by what it
// saves whoever loads the run, and all of them together stay in proportion to it.
func (c *compactor) due(id eventlog.RunID, at eventlog.Version) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := c.kept[id]
	return at < last || at-last >= max(snapshotEvery, last/8)
}

// prune takes all but the newest automatic checkpoints off a run's list. It looks
// at what came since the last time, and no further: older ones were pruned then.
func (c *compactor) prune(ctx context.Context, id eventlog.RunID, at eventlog.Version) error {
	keep := c.e.opt.KeepCheckpoints
	events, err := c.e.log.ReadRun(id, at-min(at, 2*snapshotEvery), 2*snapshotEvery)
	if err != nil {
		return err
	}
	for i := len(events) - 1; i >= 0; i-- {
		switch e := events[i]; e.Kind {
		case event.KindNodeCompleted:
			if keep > 0 {
				keep--
				continue
			}
			return c.e.runs.do(ctx, id, &request{
				meta: machine.Meta{At: c.e.now(), Actor: system}, internal: true, cmd: machine.Prune{Below: e.Version + 1},
			})
		case event.KindCheckpointPruned:
			if keep <= 0 {
				return nil
			}
		}
	}
	return nil
}

// snapshots are the engine's way to the snapshots, which it may not have.
type snapshots struct{ store *projection.Snapshots }

func (s snapshots) put(id eventlog.RunID, last eventlog.Event, b []byte) error {
	if s.store == nil {
		return nil
	}
	return s.store.Put(id, last, b)
}

func (s snapshots) drop(id eventlog.RunID) error {
	if s.store == nil {
		return nil
	}
	return s.store.Drop(id)
}

func (s snapshots) scrub() error {
	if s.store == nil {
		return nil
	}
	return s.store.Scrub()
}

// load returns a run's state from its snapshot and the events since, or from all
// its events.
func (s snapshots) load(log eventlog.Log, id eventlog.RunID) (*run.State, error) {
	if s.store != nil {
		if state := s.store.Load(log, id); state != nil {
			return state, nil
		}
	}
	return run.Fold(log, id, run.Newest)
}
