package main

import "testing"

func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 1600, 1 << 20: 1600, headroom / 4: 400, headroom: 100, 8 * headroom: 50} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d MiB alive: GOGC %d, want %d", live>>20, got, want)
		}
	}
}

// Memory is given back once, when nothing much is done.
func TestRest(t *testing.T) {
	var r rest
	total, live := uint64(0), uint64(1<<20)
	run := func(perSecond uint64, seconds int) (given int) {
		for range seconds {
			total += perSecond
			if r.tick(total, live) {
				given++
			}
		}
		return given
	}
	for _, step := range []struct {
		name      string
		perSecond uint64
		seconds   int
		given     int
	}{
		{"at work", 100 << 20, 10, 0},
		{"at rest", 1 << 10, 60, 1},
		{"at work for a moment", worthwhile, 1, 0},
		{"at rest again", 1 << 10, 60, 1},
		{"a little to do, always", resting, 60, 60 / (worthwhile / resting)},
	} {
		if got := run(step.perSecond, step.seconds); got != step.given {
			t.Errorf("%s: memory was given back %d times, want %d", step.name, got, step.given)
		}
	}
	if live = 16 * worthwhile; run(resting, 60) != 60/(8*worthwhile/resting) {
		t.Error("to look through much for little is not worth it")
	}
}
