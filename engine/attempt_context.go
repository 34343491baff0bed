package engine

import (
	"context"
	"sync"
	"time"
)

// attemptContext is the context of an attempt. Many an attempt ends before anybody has
// waited for its context: a channel, a timer and a place among the parent's children are
// made for the first who does.
type attemptContext struct {
	parent   context.Context // nil: the attempt has not begun
	deadline time.Time       // zero: there is none

	mu     sync.Mutex
	inner  context.Context // what waits; nil: nobody has waited
	cancel context.CancelFunc
	err    error // once it was told
	over   bool  // cancelled
}

// begin makes it the context of an attempt that may take so long; 0: as long as it likes.
func (c *attemptContext) begin(parent context.Context, timeout time.Duration) {
	c.parent = parent
	if timeout > 0 {
		c.deadline = time.Now().Add(timeout)
	}
}

func (c *attemptContext) begun() bool { return c.parent != nil }

// end cancels it.
func (c *attemptContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}

// waited returns the context that waits.
func (c *attemptContext) waited() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.deadline.IsZero() {
			c.inner, c.cancel = context.WithCancel(c.parent)
		} else {
			c.inner, c.cancel = context.WithDeadline(c.parent, c.deadline)
		}
		if c.over {
			c.cancel()
		}
	}
	return c.inner
}

// Deadline implements context.Context.
func (c *attemptContext) Deadline() (time.Time, bool) {
	at, ok := c.parent.Deadline()
	if c.deadline.IsZero() || ok && at.Before(c.deadline) {
		return at, ok
	}
	return c.deadline, true
}

// Done implements context.Context.
func (c *attemptContext) Done() <-chan struct{} { return c.waited().Done() }

// Value implements context.Context. Package context looks here for what waits, which is
// how contexts under this one need no goroutine.
func (c *attemptContext) Value(key any) any { return c.waited().Value(key) }

// Err implements context.Context.
func (c *attemptContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
	case c.inner != nil:
		c.err = c.inner.Err()
	case c.over:
		c.err = context.Canceled
	case c.parent.Err() != nil:
		c.err = c.parent.Err()
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		c.err = context.DeadlineExceeded
	}
	return c.err
}
