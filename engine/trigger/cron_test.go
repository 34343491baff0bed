package trigger

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// TestWhereClocksAreSet: what names hours runs once on every day, also where the wall
// clock leaves an hour out or shows it twice; what is for every hour runs as hours
// pass.
func TestWhereClocksAreSet(t *testing.T) {
	for _, c := range []struct {
		name, cron, zone, after string
		want                    []string
	}{
		{"left out", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"left out, all at once", "0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"}},
		{"left out, with what comes at its end", "30,0 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"}},
		{"shown twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"from within the second showing", "15,45 2 * * *", "Europe/Berlin", "2026-10-25T01:20:00Z",
			[]string{"2026-10-26T01:15:00Z", "2026-10-26T01:45:00Z"}},
		{"every hour, one left out", "0 * * * *", "America/New_York", "2026-03-08T05:30:00Z",
			[]string{"2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"}},
		{"every hour, one twice", "30 * * * *", "America/New_York", "2026-11-01T04:00:00Z",
			[]string{"2026-11-01T04:30:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z"}},
		{"clocks set by half an hour", "15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z",
			[]string{"2026-04-04T14:15:00Z", "2026-04-04T15:45:00Z", "2026-04-04T16:45:00Z"}},
		{"a day that is left out", "0 12 * * *", "Pacific/Apia", "2011-12-29T23:00:00Z",
			[]string{"2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z", "2011-12-31T22:00:00Z"}},
		{"midnight is left out", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z",
			[]string{"2026-09-06T04:00:00Z", "2026-09-07T03:00:00Z"}},
		{"seconds", "*/20 59 23 * * *", "UTC", "2026-12-31T23:59:10Z",
			[]string{"2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z", "2027-01-01T23:59:00Z"}},
		{"leap days", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		{"by name", "@weekly", "Asia/Tokyo", "2026-01-01T00:00:00Z", []string{"2026-01-03T15:00:00Z", "2026-01-10T15:00:00Z"}},
		{"every", "@every 90s", "UTC", "2026-01-01T00:01:31Z", []string{"2026-01-01T00:03:00Z", "2026-01-01T00:04:30Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			since := at(t, "2026-01-01T00:00:00Z")
			if strings.HasPrefix(c.after, "2011") {
				since = at(t, "2011-01-01T00:00:00Z")
			}
			cron, err := Parse(c.cron, c.zone, since)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			when := at(t, c.after)
			for range c.want {
				when = cron.Next(when)
				got = append(got, when.Format(time.RFC3339))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("due at\n%v, want\n%v", got, c.want)
			}
		})
	}
}

// TestOnceADay: in any zone, what names one time of the day is due once on every day
// of the wall's calendar, and Next never stands still nor depends on where it is asked
// from.
func TestOnceADay(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu", "America/St_Johns", "UTC"}
	rapid.Check(t, func(r *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(r, "zone")
		hour, minute := rapid.IntRange(0, 23).Draw(r, "hour"), rapid.IntRange(0, 59).Draw(r, "minute")
		start := time.Date(rapid.IntRange(2015, 2035).Draw(r, "year"), 1, 1, 0, 0, 0, 0, time.UTC)
		c, err := Parse(strings.Join([]string{strconv.Itoa(minute), strconv.Itoa(hour), "* * *"}, " "), zone, start)
		if err != nil {
			r.Fatal(err)
		}
		days := map[string]int{}
		n := 0
		for when := c.Next(start); when.Before(start.AddDate(1, 0, 0)); n++ {
			days[c.wall(when).Format(time.DateOnly)]++
			next := c.Next(when)
			if !next.After(when) {
				r.Fatalf("after %v comes %v", when, next)
			}
			between := when.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(when)-1)).Draw(r, "between")))
			if again := c.Next(between); !again.Equal(next) {
				r.Fatalf("after %v comes %v, after %v comes %v", when, next, between, again)
			}
			when = next
		}
		if len(days) != n || n < 364 || n > 367 {
			r.Fatalf("%d times on %d days", n, len(days))
		}
	})
}

// TestLatest: the last times are those that a walk from the beginning finds.
func TestLatest(t *testing.T) {
	since := at(t, "2026-03-20T00:00:00Z")
	for _, expr := range []string{"* * * * * *", "*/7 * * * *", "30 2 * * *", "@every 11m", "0 0 1 1 *"} {
		c, err := Parse(expr, "Europe/Berlin", since)
		if err != nil {
			t.Fatal(err)
		}
		for _, until := range []time.Time{since, since.Add(time.Second), since.Add(time.Hour + 3*time.Second), since.Add(40 * time.Hour), since.Add(240 * time.Hour)} {
			var all []time.Time
			for when := c.Next(since); !when.After(until); when = c.Next(when) {
				all = append(all, when)
			}
			for _, n := range []int{0, 1, 2, 100} {
				last, more := c.Latest(since, until, n)
				want := all[max(0, len(all)-n):]
				if !slices.EqualFunc(last, want, time.Time.Equal) || more != (len(all) > n) {
					t.Errorf("%s until %v: the last %d are %v, %v; want %v", expr, until, n, last, more, want)
				}
			}
		}
	}
}

// TestWrongCrons: what is no expression is refused with the reason.
func TestWrongCrons(t *testing.T) {
	for expr, want := range map[string]string{
		"": "empty", "* * * *": "fields", "60 * * * *": "60", "* * * * * * *": "fields", "0 0 30 2 *": "no such time",
		"TZ=UTC * * * * *": "setting of its own", "@every 0s": "whole seconds", "@every 1500ms": "whole seconds", "@fortnightly": "@fortnightly",
		"@reboot": "@reboot", strings.Repeat("1,", 200) + "1 * * * *": "bytes", "*/0 * * * *": "0", "a b c d e": "a",
	} {
		if _, err := Parse(expr, "UTC", time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", expr, err, want)
		}
	}
	for _, zone := range []string{"", "Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := Parse("@daily", zone, time.Unix(0, 0)); err == nil || !strings.Contains(err.Error(), "time zone") {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}
