package engine

import "sync/atomic"

// crew runs functions on goroutines that it keeps for the next ones. A goroutine
// begins with a small stack, which grows, and is copied, on the way to a decision:
// with one per step that is a good part of the work.
type crew struct {
	next chan func() // unbuffered: taken by one that is idle, or by none
	idle atomic.Int32
	quit chan struct{}
}

// maxCrew bounds the goroutines that are kept while there is nothing to do.
const maxCrew = 512

func newCrew() *crew { return &crew{next: make(chan func()), quit: make(chan struct{})} }

// do runs f, at once and without waiting for it.
func (c *crew) do(f func()) {
	select {
	case c.next <- f:
	default:
		go c.work(f)
	}
}

func (c *crew) work(f func()) {
	for {
		f()
		if c.idle.Add(1) > maxCrew {
			c.idle.Add(-1)
			return
		}
		select {
		case f = <-c.next:
			c.idle.Add(-1)
		case <-c.quit:
			return
		}
	}
}

// dismiss ends those that are idle, and the others when they are done.
func (c *crew) dismiss() { close(c.quit) }
