package api

import (
	"sync"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/replay"
)

// reels keeps what the next pages of replays go on from, so that a page folds its
// own events and not all before them. A reel that is not there is made anew.
type reels struct {
	mu   sync.Mutex
	held []heldReel // the one used longest ago first
	now  func() time.Time
}

const (
	// maxReels bounds the replays that are paged through at once without folding
	// anew, maxReelRuns the runs, and with them the states, that they hold together.
	maxReels    = 16
	maxReelRuns = 4096
	// reelTime is how long a reel waits for the next page.
	reelTime = time.Minute
)

type heldReel struct {
	run  eventlog.RunID
	next eventlog.Seq // of the page to come
	at   time.Time
	reel *replay.Reel
}

// take returns the reel that goes on at a seq, nil if there is none. It is the
// caller's alone.
func (r *reels) take(run eventlog.RunID, next eventlog.Seq) *replay.Reel {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	for i, h := range r.held {
		if h.run == run && h.next == next {
			r.held = append(r.held[:i:i], r.held[i+1:]...)
			return h.reel
		}
	}
	return nil
}

// keep holds a reel for the page that begins at a seq.
func (r *reels) keep(run eventlog.RunID, next eventlog.Seq, reel *replay.Reel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	runs := reel.Runs()
	if runs > maxReelRuns {
		return
	}
	for _, h := range r.held {
		runs += h.reel.Runs()
	}
	for len(r.held) == maxReels || runs > maxReelRuns {
		runs -= r.held[0].reel.Runs()
		r.held = r.held[1:]
	}
	r.held = append(r.held[:len(r.held):len(r.held)], heldReel{run, next, r.now(), reel})
}

func (r *reels) expire() {
	for len(r.held) > 0 && r.now().Sub(r.held[0].at) > reelTime {
		r.held = r.held[1:]
	}
}
