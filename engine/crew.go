package engine

import "sync/atomic"

// A duty is something that a goroutine of the crew does. What do returns is done next,
// by the same goroutine; nil if nothing follows.
//
// A run on its way is handed back and forth between its owner and its attempts. As
// long as one follows from the other it stays on one goroutine: to wake another for
// each is a good part of a step's work.
type duty interface{ do() duty }

// crew does duties on goroutines that it keeps for the next ones. A goroutine begins
// with a small stack, which grows, and is copied, on the way to a decision: with one per
// step that is a good part of the work.
type crew struct {
	next chan duty // unbuffered: taken by one that is idle, or by none
	idle atomic.Int32
	quit chan struct{}
}

// maxCrew bounds the goroutines that are kept while there is nothing to do.
const maxCrew = 512

func newCrew() *crew { return &crew{next: make(chan duty), quit: make(chan struct{})} }

// do has d done, at once and without waiting for it.
func (c *crew) do(d duty) {
	select {
	case c.next <- d:
	default:
		go c.work(d)
	}
}

func (c *crew) work(d duty) {
	for {
		for d != nil {
			d = d.do()
		}
		if c.idle.Add(1) > maxCrew {
			c.idle.Add(-1)
			return
		}
		select {
		case d = <-c.next:
			c.idle.Add(-1)
		case <-c.quit:
			return
		}
	}
}

// dismiss ends those that are idle, and the others when they are done.
func (c *crew) dismiss() { close(c.quit) }
