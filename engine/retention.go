package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Retention says how long the payloads of ended runs stay in the log. Events and
// hashes stay for good, and with them every proof.
type Retention struct {
	Default   Policy            `json:"default"`
	Workflows map[string]Policy `json:"workflows,omitempty"` // instead of Default, by name to the letter
	// Every is how often the compactor looks. Default: an hour.
	Every time.Duration `json:"-"`
	// MinBytes is how much there must be to gain before it does something by
	// itself: a segment is written anew for it. Default: 16 MiB.
	MinBytes int64 `json:"-"`
}

// Policy keeps the payloads of an ended run as long as none of its limits is
// passed; 0 is no limit. A run goes with all runs under it, and stays while it has
// the label "hold".
type Policy struct {
	After time.Duration `json:"after,omitempty"` // since its end
	Runs  int           `json:"runs,omitempty"`  // ended runs of the workflow that keep their payloads, the newest
	Bytes int64         `json:"bytes,omitempty"` // of payloads of ended runs of the workflow, the newest
	// Drop drops payloads instead of moving them to an archive.
	Drop bool `json:"drop,omitempty"`
	// DropAfter drops payloads from the archives, that long after they came there.
	DropAfter time.Duration `json:"drop_after,omitempty"`
}

// ErrUnderWay: whoever asks for it comes second.
var ErrUnderWay = errors.New("it is under way already")

// HoldLabel keeps a run from retention, with any value.
const HoldLabel = "hold"

func (p Policy) limits() bool { return p.After > 0 || p.Runs > 0 || p.Bytes > 0 }

// any reports whether a policy has anything to do.
func (r *Retention) any() bool {
	if r.Default.limits() || r.Default.DropAfter > 0 {
		return true
	}
	for _, p := range r.Workflows {
		if p.limits() || p.DropAfter > 0 {
			return true
		}
	}
	return false
}

func (r *Retention) of(workflow string) Policy {
	if p, ok := r.Workflows[workflow]; ok {
		return p
	}
	return r.Default
}

// Bounds of one pass of retention over the log, so that it takes little memory.
const (
	passRuns      = 10_000
	passEvents    = 1_000_000
	archiveEvents = 200_000 // of one archive
)

// Compaction is what retention did, or would do.
type Compaction struct {
	Policy   bool  `json:"policy"`   // there is one
	Runs     int   `json:"runs"`     // whose payloads go from the log
	Archived int   `json:"archived"` // of these, to an archive
	Dropped  int   `json:"dropped"`  // runs whose payloads are dropped, archived ones included
	Bytes    int64 `json:"bytes"`    // of these payloads
	// Freed is by how many bytes the log's files have become smaller, archives not
	// counted.
	Freed      int64 `json:"freed"`
	ViewsFreed int64 `json:"views_freed"`
	Segments   int   `json:"segments"` // that were written anew
	// Workflows says of each what goes, and by which limit.
	Workflows map[string]*CompactedWorkflow `json:"workflows,omitempty"`
}

// CompactedWorkflow is a workflow's part in a Compaction.
type CompactedWorkflow struct {
	Runs  int            `json:"runs"`
	Bytes int64          `json:"bytes"`
	By    map[string]int `json:"by"` // runs, by the limit they passed: after, runs, bytes, drop_after
}

func (c *Compaction) note(workflow, by string, bytes int64) {
	if c.Workflows == nil {
		c.Workflows = map[string]*CompactedWorkflow{}
	}
	w := c.Workflows[workflow]
	if w == nil {
		w = &CompactedWorkflow{By: map[string]int{}}
		c.Workflows[workflow] = w
	}
	w.Runs++
	w.Bytes += bytes
	w.By[by]++
}

// retain looks now and then until ctx ends.
func (c *compactor) retain(ctx context.Context) {
	r := c.e.opt.Retention
	if c.e.erasures.log == nil || !r.any() {
		return
	}
	for wait := min(r.Every, time.Minute); ; wait = r.Every {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		plan, err := c.e.retainNow(ctx, &r, true)
		if err == nil && plan.Bytes >= r.MinBytes && c.e.erasures.compacting.TryLock() { // else somebody does it just now
			began := time.Now()
			plan, err = c.e.retainNow(ctx, &r, false)
			c.e.erasures.compacting.Unlock()
			if err == nil {
				c.e.slog.Info("retention has moved payloads out of the log", "runs", plan.Runs, "archived", plan.Archived,
					"dropped", plan.Dropped, "freed", plan.Freed, "took", time.Since(began).Round(time.Millisecond))
			}
		}
		if err != nil && ctx.Err() == nil {
			c.e.slog.Error("retention failed; it tries again", "error", err)
		}
	}
}

// Compact lets retention do now what it would do by and by, or with dry only say
// what that is. A policy takes the place of the engine's own. Files that nothing
// refers to go, too, and the views are written anew.
func (e *Engine) Compact(ctx context.Context, policy *Retention, dry bool) (Compaction, error) {
	if policy == nil {
		policy = &e.opt.Retention
	}
	if !dry {
		if !e.erasures.compacting.TryLock() {
			return Compaction{}, fmt.Errorf("a compaction: %w", ErrUnderWay)
		}
		defer e.erasures.compacting.Unlock()
	}
	done, err := e.retainNow(ctx, policy, dry)
	if err != nil || dry {
		return done, err
	}
	if _, err := e.erasures.log.Sweep(); err != nil {
		return done, err
	}
	before, err := e.views.Size()
	if err == nil {
		err = e.views.Scrub(ctx)
	}
	if err != nil {
		return done, err
	}
	after, err := e.views.Size()
	done.ViewsFreed = max(before-after, 0)
	return done, err
}

// retainNow makes one pass of retention.
func (e *Engine) retainNow(ctx context.Context, policy *Retention, dry bool) (Compaction, error) {
	done := Compaction{Policy: policy.any()}
	if e.erasures.log == nil {
		return done, fmt.Errorf("%w: this log cannot erase", ErrUnsupported)
	}
	if !dry {
		if err := e.accepting(false); err != nil {
			return done, err
		}
		if err := e.erasures.resume(ctx); err != nil {
			return done, fmt.Errorf("an earlier erasure: %w", err)
		}
		e.erasures.mu.Lock()
		defer e.erasures.mu.Unlock()
	}
	p := pass{e: e, policy: policy, dry: dry, done: &done}
	defer p.release()
	if err := p.choose(ctx); err != nil {
		return done, err
	}
	return done, p.carryOut(ctx)
}
