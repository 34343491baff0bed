package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func closed(t *testing.T, b Bus) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func listen(t *testing.T, b Bus, ctx context.Context, topic string, f func(string)) {
	t.Helper()
	if err := b.Listen(ctx, topic, f); err != nil {
		t.Fatal(err)
	}
}

// Every listener of a topic hears a ring, those of others do not.
func TestRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		defer closed(t, b)
		var mu sync.Mutex
		var got []string
		for i := range 2 {
			listen(t, b, t.Context(), "tasks", func(m string) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprintf("%d %s", i, m))
			})
		}
		listen(t, b, t.Context(), "compact", func(m string) { t.Errorf("heard %s", m) })
		b.Ring("tasks", "default")
		b.Ring("nobody", "x")
		synctest.Wait()
		if s := strings.Join(got, ", "); s != "0 default, 1 default" && s != "1 default, 0 default" {
			t.Errorf("heard %s", s)
		}
	})
}

// Rings that come while a listener is busy are one further call with the newest
// message, and another listener is not kept waiting.
func TestCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		defer closed(t, b)
		var busy, quick []string
		release := make(chan struct{})
		listen(t, b, t.Context(), "t", func(m string) { busy = append(busy, m); <-release })
		listen(t, b, t.Context(), "t", func(m string) { quick = append(quick, m) })
		for i := range 5 {
			b.Ring("t", fmt.Sprint(i))
			synctest.Wait()
		}
		close(release)
		synctest.Wait()
		if got := strings.Join(busy, " "); got != "0 4" {
			t.Errorf("the busy listener heard %s", got)
		}
		if got := strings.Join(quick, " "); got != "0 1 2 3 4" {
			t.Errorf("the quick listener heard %s", got)
		}
	})
}

// The last ring is always heard: a listener that looks at a counter after each
// call ends up with its last value, however many goroutines ring.
func TestLastRingIsHeard(t *testing.T) {
	b := New(nil)
	defer closed(t, b)
	var value, seen atomic.Int64
	done := make(chan struct{})
	const want = 4 * 2_000
	listen(t, b, t.Context(), "t", func(string) {
		if seen.Store(value.Load()); seen.Load() == want {
			close(done)
		}
	})
	var ringers sync.WaitGroup
	for range 4 {
		ringers.Go(func() {
			for range want / 4 {
				value.Add(1)
				b.Ring("t", "")
			}
		})
	}
	ringers.Wait()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Errorf("the listener saw %d of %d", seen.Load(), value.Load())
	}
}

// A listener that does not come back costs its ringers nothing: neither time nor
// goroutines nor memory.
func TestSaturation(t *testing.T) {
	b := New(nil)
	stuck, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	listen(t, b, t.Context(), "t", func(string) { once.Do(func() { close(stuck) }); <-release })
	b.Ring("t", "first")
	<-stuck
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start, slowest := time.Now(), time.Duration(0)
	for i := range 1_000_000 {
		at := time.Now()
		b.Ring("t", "again")
		b.Ring("nobody", "hears this")
		slowest = max(slowest, time.Since(at))
		if i%100_000 == 0 {
			if n := runtime.NumGoroutine(); n > goroutines+4 {
				t.Fatalf("%d goroutines after %d rings, %d before", n, i, goroutines)
			}
		}
	}
	t.Logf("a million rings of each topic in %s, the slowest in %s", time.Since(start), slowest)
	if slowest > time.Second {
		t.Errorf("a ring took %s", slowest)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes are held", grown)
	}
	close(release)
	closed(t, b)
}

// Topics and listeners that are gone leave nothing behind.
func TestNothingIsLeftOfTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		defer closed(t, b)
		for i := range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			topic := fmt.Sprint("topic", i)
			listen(t, b, ctx, topic, func(string) {})
			b.Ring(topic, "x")
			if i%2 == 0 {
				synctest.Wait()
			}
			cancel()
		}
		synctest.Wait()
		if c := b.(*channel); len(c.heard) > 0 || len(c.pending) > 0 {
			t.Errorf("%d topics and %d messages are left", len(c.heard), len(c.pending))
		}
	})
}

func TestPanickingListener(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		b := New(slog.New(slog.NewTextHandler(&log, nil)))
		calls := 0
		listen(t, b, t.Context(), "t", func(string) { calls++; panic("oh no") })
		for range 3 {
			b.Ring("t", "x")
			synctest.Wait()
		}
		closed(t, b)
		if calls != 3 {
			t.Errorf("%d calls", calls)
		}
	})
	if n := strings.Count(log.String(), "a listener panicked"); n != 3 || strings.Count(log.String(), "\n") != 3 {
		t.Errorf("logged:\n%s", log.String())
	}
}

// A listener is not called once its context is done; the others are.
func TestListenerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		defer closed(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		var left, stays int
		listen(t, b, ctx, "t", func(string) { left++; cancel() })
		listen(t, b, t.Context(), "t", func(string) { stays++ })
		for range 3 {
			b.Ring("t", "x")
			synctest.Wait()
		}
		if left != 1 || stays != 3 {
			t.Errorf("%d calls after leaving at the first, %d of 3", left, stays)
		}
	})
}

// Close waits for a listener that is at work, and nothing is called afterwards.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		calls, ended := 0, false
		listen(t, b, t.Context(), "t", func(string) {
			calls++
			time.Sleep(time.Minute)
			ended = true
		})
		b.Ring("t", "x")
		synctest.Wait()
		b.Ring("t", "y")
		closed(t, b)
		if !ended || calls != 1 {
			t.Errorf("closed while a listener was at work (%d calls)", calls)
		}
		b.Ring("t", "z")
		if err := b.Listen(t.Context(), "t", func(string) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("listening to a closed bus: %v", err)
		}
		closed(t, b)
	})
}

// Everything at once, for the race detector.
func TestConcurrently(t *testing.T) {
	b := New(nil)
	var all sync.WaitGroup
	for i := range 4 {
		topic := fmt.Sprint("t", i%2)
		all.Go(func() {
			for range 200 {
				ctx, cancel := context.WithCancel(context.Background())
				if err := b.Listen(ctx, topic, func(string) { b.Ring(topic, "from inside") }); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				cancel()
			}
		})
		all.Go(func() {
			for range 2_000 {
				b.Ring(topic, "x")
			}
		})
	}
	time.Sleep(5 * time.Millisecond)
	all.Go(func() { closed(t, b) })
	all.Go(func() { closed(t, b) })
	all.Wait()
}
