package projection

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// backlog is how many events are folded without waiting for the interval.
	backlog = batchEvents
	// settle is how long nothing happens until the file is synced, so that a
	// crash of a machine at rest costs no rebuild.
	settle = 10 * time.Second
	// retryAfter is how long the service rests after an error: the disk is full,
	// say.
	retryAfter = 5 * time.Second
)

// service is the goroutine that follows the log.
type service struct {
	mu   sync.Mutex
	stop context.CancelFunc // nil: not running
	done chan struct{}
}

// Start begins to follow the log in the background until ctx ends or Stop is
// called. To start twice is to start once.
func (v *Views) Start(ctx context.Context) error {
	v.mu.RLock()
	closed := v.store == nil
	v.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	s := &v.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		select {
		case <-s.done: // its context ended
			s.stop()
		default:
			return nil
		}
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.done = make(chan struct{})
	go v.follow(ctx, s.done)
	return nil
}

// Stop ends the service and waits for it. It does nothing if it is not running.
func (v *Views) Stop() {
	s := &v.service
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		return
	}
	s.stop()
	<-s.done
	s.stop = nil
}

func (v *Views) follow(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	timer := time.NewTimer(settle)
	defer timer.Stop()
	// wait returns false when ctx ends; rung tells whether the bell rang.
	wait := func(d time.Duration) (rung, ok bool) {
		timer.Reset(d)
		select {
		case <-v.bell:
			return true, true
		case <-timer.C:
			return false, true
		case <-ctx.Done():
			return false, false
		}
	}
	for {
		if v.Applied() >= v.log.Head() {
			rung, ok := wait(settle)
			if !ok {
				return
			}
			if !rung {
				v.settle(ctx)
			}
			continue
		}
		for since := time.Now(); v.log.Head()-v.Applied() < backlog; {
			rest := v.opt.Interval - time.Since(since)
			if rest <= 0 {
				break
			}
			if _, ok := wait(rest); !ok {
				return
			}
		}
		if err := v.Flush(ctx); err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrClosed) {
				return
			}
			v.opt.Logger.Error("views do not follow the log", "at", v.Applied(), "head", v.log.Head(), "error", err)
			select {
			case <-time.After(retryAfter):
			case <-ctx.Done():
				return
			}
		}
	}
}

// settle syncs the file and says so in the marker.
func (v *Views) settle(ctx context.Context) {
	err := v.inTurn(ctx, func() error {
		if v.store == nil || v.clean {
			return nil
		}
		if err := v.store.sync(); err != nil {
			return err
		}
		if err := writeMarker(v.dir, v.store.sealed, true); err != nil {
			return err
		}
		v.clean = true
		return nil
	})
	if err != nil && ctx.Err() == nil {
		v.opt.Logger.Error("views were not synced", "error", err)
	}
}
