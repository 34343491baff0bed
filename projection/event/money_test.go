package event

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestMicros(t *testing.T) {
	for m, want := range map[Micros]string{
		0: "0", 1: "0.000001", 12_500: "0.0125", 2_500_000: "2.5", 10_000_000: "10", -1_500_000: "-1.5",
		math.MaxInt64: "9223372036854.775807", math.MinInt64: "-9223372036854.775808",
	} {
		if got := m.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(m), got, want)
		}
	}
}

func TestParseUSD(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Micros(rapid.Int64Range(0, int64(MaxBudget)).Draw(t, "m"))
		if got, err := ParseUSD(m.String()); err != nil || got != m {
			t.Fatalf("%s reads as %d: %v", m, int64(got), err)
		}
	})
	for s, want := range map[string]Micros{"0": 0, "1": 1_000_000, "0.5000000000": 500_000, "007": 7_000_000, "0.000001": 1} {
		if got, err := ParseUSD(s); err != nil || got != want {
			t.Errorf("%q reads as %d: %v", s, int64(got), err)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "-1", "+1", "1e3", "NaN", "Inf", "0x1", "1,5", " 1", "0.0000001", "1000000001", "99999999999999999999", "1.2.3", "１"} {
		if got, err := ParseUSD(s); !errors.Is(err, ErrAmount) {
			t.Errorf("%q reads as %d: %v", s, int64(got), err)
		}
	}
}

// What a call costs is the exact sum, rounded up once; beyond 64 bits it is the
// largest amount.
func TestCost(t *testing.T) {
	p := Price{Input: 2_500_000, Cached: 1_250_000, Output: 10_000_000}
	for _, c := range []struct {
		u    Usage
		want Micros
	}{
		{Usage{}, 0},
		{Usage{InputTokens: 1}, 3}, // 2.5
		{Usage{InputTokens: 1000, OutputTokens: 500}, 7500},
		{Usage{InputTokens: 1000, OutputTokens: 500, CachedTokens: 400}, 7000},
		{Usage{InputTokens: 10, CachedTokens: 20}, 13}, // no more can be cached than came in
		{Usage{InputTokens: -5, OutputTokens: -5}, 0},
	} {
		if got := p.Cost(c.u); got != c.want {
			t.Errorf("%+v costs %d, want %d", c.u, got, c.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Custom(func(t *rapid.T) int64 {
			return rapid.Int64Range(0, math.MaxInt64>>rapid.IntRange(0, 62).Draw(t, "shift")).Draw(t, "n")
		})
		p := Price{Micros(amount.Draw(t, "input")), Micros(amount.Draw(t, "cached")), Micros(amount.Draw(t, "output"))}
		u := Usage{InputTokens: amount.Draw(t, "in"), OutputTokens: amount.Draw(t, "out")}
		u.CachedTokens = rapid.Int64Range(0, u.InputTokens).Draw(t, "from cache")
		sum := new(big.Int)
		for _, part := range [][2]int64{{u.InputTokens - u.CachedTokens, int64(p.Input)}, {u.CachedTokens, int64(p.Cached)}, {u.OutputTokens, int64(p.Output)}} {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(part[0]), big.NewInt(part[1])))
		}
		sum.Add(sum, big.NewInt(999_999)).Quo(sum, big.NewInt(1_000_000))
		want := int64(math.MaxInt64)
		if sum.IsInt64() {
			want = sum.Int64()
		}
		if got := p.Cost(u); int64(got) != want {
			t.Fatalf("%+v at %+v costs %d, want %d", u, p, got, want)
		}
		within := u.Check() == nil && max(p.Input, p.Cached, p.Output) <= MaxPrice
		if within && !sum.IsInt64() {
			t.Fatalf("%+v at %+v is within bounds and overflows", u, p)
		}
	})
}

func TestUsageCheck(t *testing.T) {
	for _, u := range []Usage{{}, {InputTokens: MaxTokens, OutputTokens: MaxTokens, CachedTokens: MaxTokens}} {
		if err := u.Check(); err != nil {
			t.Errorf("%+v: %v", u, err)
		}
	}
	for _, u := range []Usage{{InputTokens: -1}, {OutputTokens: -1}, {InputTokens: 1, CachedTokens: 2}, {CachedTokens: -1}, {OutputTokens: MaxTokens + 1}, {InputTokens: math.MaxInt64}} {
		if err := u.Check(); !errors.Is(err, ErrUsage) {
			t.Errorf("%+v: %v", u, err)
		}
	}
}
