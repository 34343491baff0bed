package sim

import (
	"context"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

var (
	seed  = flag.Uint64("seed", 0, "of the simulation; 0: from the clock")
	ticks = flag.Uint64("ticks", 60_000, "how many")
)

// simulate runs so many ticks and wants enough to have happened in them.
func simulate(t *testing.T, o Options) Report {
	t.Helper()
	t.Logf("seed %d: repeat with -seed=%d -ticks=%d, or wfd sim --seed %d --ticks %d", o.Seed, o.Seed, o.Ticks, o.Seed, o.Ticks)
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, few := range []struct {
		what      string
		have, one uint64 // one in so many ticks is enough
	}{
		{"acknowledgements", r.Acks, 200}, {"kills", r.Kills, 10_000}, {"power cuts", r.Cuts, 40_000}, {"unknown outcomes", r.Unknown, 40_000},
		{"full disks", r.Full, 10_000}, {"lost doorbells", r.LostBells, 4000}, {"doubled results", r.Doubled, 4000},
		{"runs that ended", r.Ended, 200}, {"runs decided again", r.Verified, 2000}, {"states folded again", r.Folds, 2000},
		{"calls that were reserved", r.Calls, 100}, {"calls that waited", r.Waited, 4000}, {"budgets that were exceeded", r.Exceeded, 2000},
		{"calls beyond their reservation", r.Beyond, 4000}, {"calls nobody told of", r.Lost, 4000}, {"results reviewed", r.Reviews, 8000},
		{"ledgers compared", r.Ledgers, 1000},
	} {
		if few.have*few.one < r.Ticks {
			t.Errorf("%d %s in %d ticks: too few to mean anything", few.have, few.what, r.Ticks)
		}
	}
	return r
}

// No rule is broken, whatever happens in which order.
func TestSimulate(t *testing.T) {
	o := Options{Seed: *seed, Ticks: *ticks}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	r := simulate(t, o)
	t.Logf("%+v", r)
}

// The same seed gives the same events, and another one others.
func TestSameSeed(t *testing.T) {
	a, b, c := simulate(t, Options{Seed: 7, Ticks: 25_000}), simulate(t, Options{Seed: 7, Ticks: 25_000}), simulate(t, Options{Seed: 8, Ticks: 25_000})
	if a != b {
		t.Errorf("the same seed:\n%+v\n%+v", a, b)
	}
	if a.Digest == c.Digest {
		t.Error("another seed, and the same events")
	}
}

// A disk that lies about its syncs loses what was acknowledged: a simulation that
// does not find that out finds nothing out.
func TestLyingDisk(t *testing.T) {
	_, err := Run(t.Context(), Options{Seed: 1, Ticks: 1_000_000, Lie: true})
	var v *Violation
	if !errors.As(err, &v) || !strings.Contains(err.Error(), "lost") {
		t.Fatalf("a disk that lies is not noticed: %v", err)
	}
	if again, err2 := Run(t.Context(), Options{Seed: 1, Ticks: 1_000_000, Lie: true}); err2 == nil || err2.Error() != err.Error() {
		t.Errorf("the same seed finds another violation: %v, then %v (%+v)", err, err2, again)
	}
}

// A ledger that is kept wrongly spends too much, or keeps for good what nobody uses: a
// simulation that does not find that out finds nothing out about budgets.
func TestLyingLedger(t *testing.T) {
	for plant, found := range map[Plant]string{
		Overspend: "is overspent", KeepFailed: "not the fold of the log", KeepDead: "something is set aside", FreeTwice: "not the fold of the log",
	} {
		t.Run(string(plant), func(t *testing.T) {
			o := Options{Seed: 1, Ticks: 400_000, Plant: plant}
			_, err := Run(t.Context(), o)
			var v *Violation
			if !errors.As(err, &v) || !strings.Contains(err.Error(), found) {
				t.Fatalf("it is not noticed: %v", err)
			}
			if _, again := Run(t.Context(), o); again == nil || again.Error() != err.Error() {
				t.Errorf("the same seed finds another violation: %v, then %v", err, again)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{Seed: 1, Ticks: 1 << 40}); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}
