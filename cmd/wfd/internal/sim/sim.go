package sim

import (
	"context"
	"crypto/sha256"
	"fmt"
)

// Options of a simulation.
type Options struct {
	Seed  uint64
	Ticks uint64
	// Lie has every other sync of the disk do nothing: a simulation that does not
	// notice notices nothing.
	Lie bool
	// Plant has budgets kept wrongly in one way: it must be noticed, too.
	Plant Plant
	// Progress is called after every world.
	Progress func(Counts)
}

// Plant is a bug of the ledger that a simulation can be made with.
type Plant string

// Bugs.
const (
	Overspend  Plant = "overspend"   // what others have set aside is not counted
	KeepDead   Plant = "keep-dead"   // what dead attempts had set aside is not freed
	KeepFailed Plant = "keep-failed" // nor what was granted for appends that failed
	FreeTwice  Plant = "free-twice"  // what is settled is freed a second time
)

// Plants are all of them.
var Plants = []Plant{Overspend, KeepDead, KeepFailed, FreeTwice}

// Counts are what happened.
type Counts struct {
	Ticks     uint64 `json:"ticks"`
	Worlds    uint64 `json:"worlds"`
	Runs      uint64 `json:"runs"`
	Ended     uint64 `json:"ended"`
	Commits   uint64 `json:"commits"`
	Events    uint64 `json:"events"`
	Acks      uint64 `json:"acknowledgements"`
	Kills     uint64 `json:"kills"`
	Cuts      uint64 `json:"power_cuts"`
	Unknown   uint64 `json:"unknown_outcomes"`
	Full      uint64 `json:"full_disks"`
	Jumps     uint64 `json:"clock_jumps"`
	LostBells uint64 `json:"lost_doorbells"`
	Doubled   uint64 `json:"doubled_results"`
	Late      uint64 `json:"late_results"`
	Calls     uint64 `json:"calls_reserved"`
	Waited    uint64 `json:"calls_that_waited"` // for what others had set aside
	Exceeded  uint64 `json:"budgets_exceeded"`
	Beyond    uint64 `json:"calls_beyond_their_reservation"`
	Lost      uint64 `json:"calls_nobody_told_of"`
	Reviews   uint64 `json:"results_reviewed"`
	Ledgers   uint64 `json:"ledgers_compared"`
	Folds     uint64 `json:"folds_compared"`
	Verified  uint64 `json:"runs_decided_again"`
}

// Report is what a simulation comes to. The same options give the same report.
type Report struct {
	Seed uint64 `json:"seed"`
	Counts
	Digest string `json:"digest"` // SHA-256 of all commits, in order
}

// worldTicks is how many ticks a world has before its faults end: few enough that all
// of it fits in memory, and is small to look at when a rule does not hold.
const worldTicks = 20_000

// A Violation is a rule that did not hold.
type Violation struct {
	Seed  uint64
	World uint64
	Tick  uint64
	Err   error
}

func (v *Violation) Error() string {
	return fmt.Sprintf("seed %d, world %d, tick %d: %v", v.Seed, v.World, v.Tick, v.Err)
}

func (v *Violation) Unwrap() error { return v.Err }

// Run simulates worlds until there were so many ticks. The error is a *Violation, or
// that of ctx.
func Run(ctx context.Context, o Options) (Report, error) {
	r := Report{Seed: o.Seed}
	defs, err := compile()
	if err != nil {
		return r, err
	}
	digest := sha256.New()
	for r.Ticks < o.Ticks {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		w := newWorld(o.Seed, r.Worlds, defs, digest, &r.Counts, o)
		if err := w.play(min(worldTicks, o.Ticks-r.Ticks)); err != nil {
			return r, &Violation{Seed: o.Seed, World: r.Worlds, Tick: r.Ticks, Err: err}
		}
		r.Worlds++
		if o.Progress != nil {
			o.Progress(r.Counts)
		}
	}
	r.Digest = fmt.Sprintf("%x", digest.Sum(nil))
	return r, nil
}
