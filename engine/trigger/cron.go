package trigger

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones are there on machines that have none

	"github.com/robfig/cron/v3"
)

// Cron says at which times something is due.
type Cron struct {
	spec  *cron.SpecSchedule // nil: every
	zone  *time.Location
	hours bool          // spec is for every hour
	every time.Duration // from anchor
	since time.Time
}

const (
	maxCron  = 256 // bytes
	minEvery = time.Second
	maxEvery = 366 * 24 * time.Hour
	allHours = 1<<24 - 1
)

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Parse reads an expression. since is when the schedule was made, from which @every
// counts.
func Parse(expr, zone string, since time.Time) (*Cron, error) {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("cron %q: %s", clip(expr), fmt.Sprintf(format, args...))
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return nil, fmt.Errorf("time zone %q is not known; want a name as Europe/Berlin, or UTC", clip(zone))
	}
	expr = strings.TrimSpace(expr)
	switch {
	case expr == "":
		return nil, wrong("it is empty; want five fields as in \"0 9 * * 1-5\", six with seconds before them, @daily, or \"@every 15m\"")
	case len(expr) > maxCron:
		return nil, wrong("it has more than %d bytes", maxCron)
	case strings.HasPrefix(expr, "TZ=") || strings.HasPrefix(expr, "CRON_TZ="):
		return nil, wrong("the time zone is a setting of its own")
	}
	if length, ok := strings.CutPrefix(expr, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(length))
		if err != nil || d < minEvery || d > maxEvery || d%time.Second != 0 {
			return nil, wrong("want whole seconds from %s to %s after @every, as 90s or 6h", minEvery, maxEvery)
		}
		return &Cron{every: d, since: since.Truncate(time.Second), zone: loc}, nil
	}
	s, err := parser.Parse(expr)
	if err != nil {
		return nil, wrong("%v", err)
	}
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, wrong("it is of no form that is known")
	}
	spec.Location = time.UTC // of wall times, see Next
	c := &Cron{spec: spec, zone: loc, hours: spec.Hour&allHours == allHours}
	if c.Next(since).IsZero() {
		return nil, wrong("no such time comes within five years")
	}
	return c, nil
}

// Next returns the first time after t at which it is due, the zero time if none
// comes.
func (c *Cron) Next(t time.Time) time.Time {
	switch {
	case c.spec == nil:
		n := max(0, t.Sub(c.since)/c.every)
		next := c.since.Add((n + 1) * c.every)
		if t.Before(c.since) {
			next = c.since.Add(c.every)
		}
		return next.UTC()
	case c.hours:
		return c.passing(t)
	}
	for wall := c.wall(t); ; {
		if wall = c.spec.Next(wall); wall.IsZero() {
			return wall
		}
		if at := c.shown(wall); at.After(t) {
			return at
		}
	}
}

// wall returns what the clock on the wall shows at t, as if it were UTC.
func (c *Cron) wall(t time.Time) time.Time {
	_, offset := t.In(c.zone).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// passing is Next for an expression of every hour: between two changes of the zone's
// offset wall times are moments.
func (c *Cron) passing(t time.Time) time.Time {
	t = t.UTC()
	for {
		_, offset := t.In(c.zone).Zone()
		shift := time.Duration(offset) * time.Second
		next := c.spec.Next(t.Add(shift))
		if next.IsZero() {
			return next
		}
		next = next.Add(-shift)
		_, end := t.In(c.zone).ZoneBounds()
		if end.IsZero() || next.Before(end) {
			return next
		}
		// What is due at the change itself is due with the new offset.
		_, offset = end.In(c.zone).Zone()
		shift = time.Duration(offset) * time.Second
		if first := c.spec.Next(end.UTC().Add(shift - time.Nanosecond)).Add(-shift); first.Equal(end) {
			return end.UTC()
		}
		t = end.UTC()
	}
}

// shown returns when the clock on the wall first shows a time; for one that it leaves
// out, when it leaves it out.
func (c *Cron) shown(wall time.Time) time.Time {
	near := wall.In(c.zone) // off by the offset, and so within a day
	first := time.Time{}
	for _, around := range []time.Time{near.Add(-24 * time.Hour), near, near.Add(24 * time.Hour)} {
		_, offset := around.Zone()
		at := wall.Add(-time.Duration(offset) * time.Second)
		if c.wall(at).Equal(wall) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if !first.IsZero() {
		return first
	}
	_, end := near.Add(-24 * time.Hour).ZoneBounds() // the first change since then leaves it out
	return end.UTC()
}

// Latest returns the last times in (after, until] at which it is due, at most n, in
// order; more reports whether there are others before them.
func (c *Cron) Latest(after, until time.Time, n int) (last []time.Time, more bool) {
	for span := 16 * time.Second; ; span *= 4 {
		from := until.Add(-span)
		whole := !from.After(after)
		if whole {
			from = after
		}
		last = last[:0]
		for at := c.Next(from); !at.IsZero() && !at.After(until); at = c.Next(at) {
			if last = append(last, at); len(last) > n {
				last, more = last[1:], true
			}
		}
		if whole || more {
			return last, more
		}
	}
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return s
}

// Local returns t as the clock on the wall of the schedule's zone shows it.
func (c *Cron) Local(t time.Time) time.Time { return t.In(c.zone) }
