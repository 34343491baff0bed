package bustest

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wfd-dev/wfd/engine/bus"
)

// Some rings are lost, some come twice, and the same seed breaks the same.
func TestChaos(t *testing.T) {
	run := func(seed uint64) (heard, twice int) {
		synctest.Test(t, func(t *testing.T) {
			b := Chaos(bus.New(nil), seed)
			var calls atomic.Int64
			if err := b.Listen(context.Background(), "t", func(string) { calls.Add(1) }); err != nil {
				t.Fatal(err)
			}
			for range 300 {
				before := calls.Load()
				b.Ring("t", "m")
				synctest.Wait()
				if n := calls.Load() - before; n > 0 {
					heard++
					if n > 1 {
						twice++
					}
				}
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		})
		return heard, twice
	}
	heard, twice := run(7)
	if heard < 150 || heard > 250 || twice < 50 || twice == heard {
		t.Errorf("of 300 rings %d were heard and %d twice", heard, twice)
	}
	if h, d := run(7); h != heard || d != twice {
		t.Errorf("the same seed: %d, %d; then %d, %d", heard, twice, h, d)
	}
}
