package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// The context of an attempt is as one of package context, whoever waits for it and when.
func TestAttemptContext(t *testing.T) {
	type key struct{}
	for _, waits := range []bool{false, true} { // whether somebody has waited before it ends
		look := func(c context.Context) {
			if waits {
				c.Done()
			}
		}
		for name, one := range map[string]struct {
			timeout time.Duration
			end     func(*attemptContext, context.CancelFunc)
			want    error
		}{
			"ended":        {0, func(c *attemptContext, _ context.CancelFunc) { c.end() }, context.Canceled},
			"parent ended": {0, func(_ *attemptContext, cancel context.CancelFunc) { cancel() }, context.Canceled},
			"too late": {time.Minute, func(c *attemptContext, _ context.CancelFunc) {
				time.Sleep(time.Minute)
				synctest.Wait()
				if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("after its time: %v", err)
				}
				c.end() // changes nothing
			}, context.DeadlineExceeded},
		} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
					defer cancel()
					var c attemptContext
					if c.begun() {
						t.Error("it has begun by itself")
					}
					c.begin(parent, one.timeout)
					look(&c)
					if c.Err() != nil || !c.begun() {
						t.Fatalf("at its beginning: %v, begun %v", c.Err(), c.begun())
					}
					if at, ok := c.Deadline(); ok != (one.timeout > 0) || ok && time.Until(at) != one.timeout {
						t.Errorf("deadline %v, %v", at, ok)
					}
					one.end(&c, cancel)
					synctest.Wait()
					if err := c.Err(); !errors.Is(err, one.want) {
						t.Errorf("it ended with %v, want %v", err, one.want)
					}
					<-c.Done()
					if c.Value(key{}) != "value" {
						t.Error("it has not what its parent has")
					}
					under, stop := context.WithCancel(&c)
					defer stop()
					if <-under.Done(); !errors.Is(under.Err(), one.want) {
						t.Errorf("one under it ended with %v, want %v", under.Err(), one.want)
					}
				})
			})
		}
	}
}
