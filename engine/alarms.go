package engine

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/projection/event"
)

// horizon is how far ahead alarms are held in memory. Later ones are in the
// views, from where they are fetched in time.
const horizon = time.Hour

// alarms wakes runs, or triggers, when something of theirs is due. It holds one moment
// for each.
type alarms[K comparable] struct {
	now  func() time.Time
	wake func(id K, awake func()) // calls awake once it has looked
	// reach is how far ahead moments are held; 0: all are.
	reach time.Duration
	// look is how long it waits at most until it looks at the clock, which may have
	// been set.
	look time.Duration

	mu    sync.Mutex
	at    map[K]event.Time
	heap  alarmHeap[K]  // may hold moments that at no longer names: passed over
	nudge chan struct{} // has an element when the soonest may have changed
}

func newAlarms[K comparable](now func() time.Time, wake func(K, func())) *alarms[K] {
	return &alarms[K]{now: now, wake: wake, look: horizon, at: map[K]event.Time{}, nudge: make(chan struct{}, 1)}
}

// arm sets the moment of one, replacing an earlier one; without ok it has none.
func (a *alarms[K]) arm(id K, at event.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(id, at, ok)
}

// set is arm with mu held.
func (a *alarms[K]) set(id K, at event.Time, ok bool) {
	if !ok || a.reach > 0 && at > event.At(a.now().Add(a.reach)) {
		delete(a.at, id)
		a.compact()
		return
	}
	if a.at[id] == at {
		return
	}
	a.at[id] = at
	heap.Push(&a.heap, alarm[K]{at, id})
	if a.heap[0].id == id {
		ring(a.nudge)
	}
}

// ring nudges whoever waits at a bell, which has room for one nudge.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// armFirst sets the moment of one unless it has an earlier one.
func (a *alarms[K]) armFirst(id K, at event.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old, armed := a.at[id]; !armed || at < old {
		a.set(id, at, true)
	}
}

// compact drops the moments that no longer count, once they are the most. Called
// with mu held.
func (a *alarms[K]) compact() {
	if len(a.heap) < 2*len(a.at)+1024 {
		return
	}
	a.heap = slices.DeleteFunc(a.heap, func(m alarm[K]) bool { return a.at[m.id] != m.at })
	heap.Init(&a.heap)
}

// due takes those that are due, and returns how long until the next one.
func (a *alarms[K]) due() (ids []K, next time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := event.At(a.now())
	for len(a.heap) > 0 {
		first := a.heap[0]
		if a.at[first.id] != first.at {
			heap.Pop(&a.heap)
			continue
		}
		if first.at > now {
			return ids, min(time.Duration(first.at-now), a.look)
		}
		heap.Pop(&a.heap)
		delete(a.at, first.id)
		ids = append(ids, first.id)
	}
	return ids, a.look
}

// late returns for how long the first has been due; 0: none is.
func (a *alarms[K]) late() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.heap) > 0 && a.at[a.heap[0].id] != a.heap[0].at {
		heap.Pop(&a.heap)
	}
	if len(a.heap) == 0 {
		return 0
	}
	return max(0, time.Duration(event.At(a.now())-a.heap[0].at))
}

// run wakes them until ctx ends, at most maxWaking at a time.
func (a *alarms[K]) run(ctx context.Context) {
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

type alarm[K comparable] struct {
	at event.Time
	id K
}

type alarmHeap[K comparable] []alarm[K]

func (h alarmHeap[K]) Len() int           { return len(h) }
func (h alarmHeap[K]) Less(i, j int) bool { return h[i].at < h[j].at }
func (h alarmHeap[K]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *alarmHeap[K]) Push(x any)        { *h = append(*h, x.(alarm[K])) }
func (h *alarmHeap[K]) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
