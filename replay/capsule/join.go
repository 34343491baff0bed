package capsule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
)

// ErrDiffer: two capsules have the same run, and it is not the same.
var ErrDiffer = errors.New("the run is another one in each")

// Join returns the events of two capsules as one log, to compare runs that are not
// in one. A run that is in both has the events of the one that has more of it. Seqs
// are those of their logs: they order the events of each, and not those of both.
func Join(a, b *Capsule) (*Log, error) {
	definitions := eventlog.Version(0)
	var all []eventlog.Event
	take := func(l *Log, id eventlog.RunID) {
		for _, i := range l.runs[id] {
			e := l.all[i]
			if id == projection.Workflows {
				definitions++
				e.Version = definitions // dense again
			}
			all = append(all, e)
		}
	}
	take(a.log, projection.Workflows)
	take(b.log, projection.Workflows)
	for _, id := range a.Runs {
		if len(a.log.runs[id]) < len(b.log.runs[id]) {
			continue
		}
		if !begins(a.log, b.log, id) {
			return nil, fmt.Errorf("run %s: %w", id, ErrDiffer)
		}
		take(a.log, id)
	}
	for _, id := range b.Runs {
		if len(b.log.runs[id]) <= len(a.log.runs[id]) {
			continue
		}
		if !begins(b.log, a.log, id) {
			return nil, fmt.Errorf("run %s: %w", id, ErrDiffer)
		}
		take(b.log, id)
	}
	slices.SortStableFunc(all, func(x, y eventlog.Event) int { return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Version, y.Version)) })
	return newLog(all), nil
}

// begins reports whether the events of a run in long begin with those in short.
func begins(long, short *Log, id eventlog.RunID) bool {
	for n, i := range short.runs[id] {
		a, b := &long.all[long.runs[id][n]], &short.all[i]
		if a.Kind != b.Kind || a.Time != b.Time || !a.Erased && !b.Erased && string(a.Payload) != string(b.Payload) {
			return false
		}
	}
	return true
}
