package engine

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// horizon is how far ahead alarms are held in memory. Later ones are in the
// views, from where they are fetched in time.
const horizon = time.Hour

// alarms wakes runs when something of theirs is due. It holds one moment per run.
type alarms struct {
	now  func() time.Time
	wake func(id eventlog.RunID, awake func()) // calls awake once the run has looked

	mu    sync.Mutex
	at    map[eventlog.RunID]event.Time
	heap  alarmHeap     // may hold moments that at no longer names: passed over
	nudge chan struct{} // has an element when the soonest may have changed
}

func newAlarms(now func() time.Time, wake func(eventlog.RunID, func())) *alarms {
	return &alarms{now: now, wake: wake, at: map[eventlog.RunID]event.Time{}, nudge: make(chan struct{}, 1)}
}

// arm sets the run's moment, replacing an earlier one; without ok it has none.
func (a *alarms) arm(id eventlog.RunID, at event.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(id, at, ok)
}

// set is arm with mu held.
func (a *alarms) set(id eventlog.RunID, at event.Time, ok bool) {
	if !ok || at > event.At(a.now().Add(horizon)) {
		delete(a.at, id)
		a.compact()
		return
	}
	if a.at[id] == at {
		return
	}
	a.at[id] = at
	heap.Push(&a.heap, alarm{at, id})
	if a.heap[0].run == id {
		select {
		case a.nudge <- struct{}{}:
		default:
		}
	}
}

// armFirst sets the run's moment unless it has an earlier one.
func (a *alarms) armFirst(id eventlog.RunID, at event.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, armed := a.at[id]; !armed || at < old {
		a.set(id, at, true)
	}
}

// compact drops the moments that no longer count, once they are the most. Called
// with mu held.
func (a *alarms) compact() {
	if len(a.heap) < 2*len(a.at)+1024 {
		return
	}
	a.heap = slices.DeleteFunc(a.heap, func(m alarm) bool { return a.at[m.run] != m.at })
	heap.Init(&a.heap)
}

// due takes the runs that are due, and returns how long until the next one.
func (a *alarms) due() (ids []eventlog.RunID, next time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := event.At(a.now())
	for len(a.heap) > 0 {
		first := a.heap[0]
		if a.at[first.run] != first.at {
			heap.Pop(&a.heap)
			continue
		}
		if first.at > now {
			return ids, time.Duration(first.at - now)
		}
		heap.Pop(&a.heap)
		delete(a.at, first.run)
		ids = append(ids, first.run)
	}
	return ids, horizon
}

// run wakes runs until ctx ends, at most maxWaking at a time.
func (a *alarms) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	places := make(chan struct{}, maxWaking)
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-a.nudge:
		}
		ids, next := a.due()
		for _, id := range ids {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			a.wake(id, func() { <-places })
		}
		timer.Reset(next)
	}
}

// maxWaking bounds the runs that are read from disk at once because many timers
// are due together.
const maxWaking = 64

type alarm struct {
	at  event.Time
	run eventlog.RunID
}

type alarmHeap []alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarmHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarmHeap) Push(x any)        { *h = append(*h, x.(alarm)) }
func (h *alarmHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
