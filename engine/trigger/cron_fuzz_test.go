package trigger

import (
	"testing"
	"time"
)

// FuzzCron: whatever text stands for times in whatever zone, it is refused or has times
// that come one after the other, each found again from just before it.
func FuzzCron(f *testing.F) {
	for _, seed := range []struct{ expr, zone string }{
		{"30 2 * * *", "Europe/Berlin"}, {"*/20 59 23 * * *", "UTC"}, {"0 0 29 2 *", ""}, {"0,30 2-3 1-7/2 JAN-DEC MON", "America/New_York"}, {"@every 90s", "UTC"},
		{"@weekly", "Pacific/Apia"}, {"0 0 31 2 *", "UTC"}, {"* * * * * * *", "UTC"}, {"TZ=UTC 0 * * * *", "UTC"}, {"@every -1s", "UTC"}, {"60 * * * *", "UTC"}, {"*/0 * * * *", "UTC"},
		{"? ? ? ? ?", "Australia/Lord_Howe"}, {"@every 9223372036854775807ns", "UTC"}, {"5-1 * * * *", "UTC"}, {"\x00", "../etc"}, {"1/4294967297 * * * *", "UTC"}, {"0 3 L * *", "Local"},
	} {
		f.Add(seed.expr, seed.zone, int64(1_772_323_200))
	}
	f.Fuzz(func(t *testing.T, expr, zone string, from int64) {
		const year = 365 * 24 * 3600
		if from < 0 || from > 200*year || len(expr) > 300 {
			t.Skip()
		}
		since := time.Unix(from, 0).UTC()
		c, err := Parse(expr, zone, since)
		if err != nil {
			return
		}
		for at, n := since, 0; n < 8; n++ {
			next := c.Next(at)
			if next.IsZero() {
				return
			}
			if !next.After(at) {
				t.Fatalf("%q in %q: after %s comes %s", expr, zone, at, next)
			}
			if again := c.Next(next.Add(-time.Nanosecond)); !again.Equal(next) {
				t.Fatalf("%q in %q: %s is due, and from just before it %s", expr, zone, next, again)
			}
			at = next
		}
	})
}
