package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/limits"
)

// headroom is how much garbage the daemon lets gather before it collects. What is
// alive is a few megabytes in most daemons, and a collector that waits for as much
// again runs a hundred times a second under load. Much more does not pay: memory that was
// not touched lately is in no cache. Measured on two cores, 24 to 128 MB cost a step of a
// chain the same, 16 MB a tenth more, 8 MB a third.
const headroom = 24 << 20

const (
	// resting is how much is allocated in a second at most while nothing much is done: what
	// has gathered is given back then.
	resting = 1 << 20
	// worthwhile is how much has to have gathered for it, and half of what is alive.
	worthwhile = 4 << 20
)

// spareProcs are beside one for every core. The writer of the log is in a system call most
// of its time, and so is whoever reads files or forks programs; if there is no processor
// for it when it comes back, it waits behind every run that has something to do, and all
// of those wait for its commit. Measured on two cores under a load of 256 clients: a fifth
// more steps.
const spareProcs = 2

// tendRuntime sets the runtime up for a daemon, and tends the collector until ctx ends:
// headroom is kept however much is alive, and given back when there is nothing to do.
// Whoever sets GOMAXPROCS, GOGC or GOMEMLIMIT knows better.
func tendRuntime(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcs)
	}
	if n, limited := limits.Memory(); limited && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(n / 4 * 3)) // the rest is for what the runtime does not count
	}
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	collected := collections(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var r rest
	heap := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	for percent := 0; ; {
		metrics.Read(heap)
		live, allocs := heap[0].Value.Uint64(), heap[1].Value.Uint64()
		if p := gcPercent(live); p < percent*9/10 || p > percent*11/10 { // the world stops for it
			percent = p
			debug.SetGCPercent(p)
		}
		select {
		case <-collected:
		case <-tick.C:
			if r.tick(allocs, live) {
				debug.FreeOSMemory()
			}
		case <-ctx.Done():
			return
		}
	}
}

// collections returns a channel that has an element after a collection. What is alive may
// be ten times as much a second later: a pace that was set for the former, with a
// percentage, would let ten times the headroom gather.
func collections(ctx context.Context) <-chan struct{} {
	collected := make(chan struct{}, 1)
	type mark struct{ _ *byte } // garbage at once: its finalizer runs after each collection
	var set func()
	set = func() {
		runtime.SetFinalizer(&mark{}, func(*mark) {
			select {
			case collected <- struct{}{}:
			default:
			}
			if ctx.Err() == nil {
				set()
			}
		})
	}
	set()
	return collected
}

// gcPercent is the GOGC that leaves headroom beside what is alive, within bounds.
func gcPercent(live uint64) int {
	return int(min(max(headroom*100/max(live, 1), 50), 1600))
}

// rest notices that a process has come to rest.
type rest struct {
	allocs uint64 // in all, a second ago
	given  uint64 // in all, when memory was given back last
}

// tick is told once a second what was allocated in all and what is alive, and says whether
// what has gathered is to be given back.
func (r *rest) tick(allocs, live uint64) bool {
	quiet := allocs-r.allocs <= resting
	r.allocs = allocs
	if !quiet || allocs-r.given < max(worthwhile, live/2) {
		return false
	}
	r.given = allocs
	return true
}
