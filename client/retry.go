package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"math"
	"time"
)

// A request is sent again after a while that grows from firstPause to lastPause, unless
// the daemon says after how long.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
)

// Retryable reports whether it makes sense to send the request again that err was the
// answer to, and after how long the daemon asks for it; 0: it does not say.
func Retryable(err error) (ok bool, after time.Duration) {
	if p := (*Problem)(nil); errors.As(err, &p) {
		return errors.Is(p, ErrUnavailable), p.RetryAfter
	}
	return errors.Is(err, ErrUnreachable), 0
}

// Backoff spaces out attempts at the same thing.
type Backoff struct{ n int }

// Pause waits before the next attempt: for as long as the daemon asks, else for longer
// each time. It returns ctx's error if ctx ends before.
func (b *Backoff) Pause(ctx context.Context, after time.Duration) error {
	d := max(after, time.Duration(min(float64(lastPause), float64(firstPause)*math.Pow(2, float64(b.n)))))
	b.n++
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Reset begins anew: an attempt was answered.
func (b *Backoff) Reset() { b.n = 0 }

// insist calls f again while it makes sense to, as long as the client is patient.
func (c *Client) insist(ctx context.Context, f func() error) error {
	var b Backoff
	var since time.Time // of the first failure: what came before may have been a long poll
	for {
		err := f()
		again, after := Retryable(err)
		if since.IsZero() {
			since = time.Now()
		}
		if !again || time.Since(since) >= c.patience {
			return err
		}
		if b.Pause(ctx, min(after, c.patience)) != nil {
			return err // which says more than that the context has ended
		}
	}
}

// call makes a request that may be sent again, and decodes the answer into out.
func (c *Client) call(ctx context.Context, r Request, out any) error {
	b, err := c.raw(ctx, r)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	return err
}

func (c *Client) raw(ctx context.Context, r Request) (b json.RawMessage, err error) {
	err = c.insist(ctx, func() error {
		b, _, err = c.Do(ctx, r)
		return err
	})
	return b, err
}

// change is call for a request that changes something: it is done once.
func (c *Client) change(ctx context.Context, r Request, out any, options []CallOption) error {
	for _, o := range options {
		o(&r)
	}
	if r.Key == "" {
		r.Key = rand.Text()
	}
	return c.call(ctx, r, out)
}

// CallOption changes one request.
type CallOption func(*Request)

// Key is the Idempotency-Key of a request: repeated with it, even by another process,
// the request is done once. Without it each call has a key of its own.
func Key(key string) CallOption { return func(r *Request) { r.Key = key } }
