package capsule

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
)

// Join returns the events of two capsules as one log, to compare runs that are not
// in one, and the ID that the run of b has there: another one, if it is in both and
// went on in two ways. Of a run that is in both, the one counts that has more; or
// that of a, where they differ. Seqs are those of their logs: they order the events
// of each, and not those of both.
func Join(a, b *Capsule) (*Log, eventlog.RunID) {
	definitions := eventlog.Version(0)
	var all []eventlog.Event
	take := func(l *Log, id, as eventlog.RunID) {
		for _, i := range l.runs[id] {
			e := l.all[i]
			if e.Run = as; id == projection.Workflows {
				definitions++
				e.Version = definitions // dense again
			}
			all = append(all, e)
		}
	}
	take(a.log, projection.Workflows, projection.Workflows)
	take(b.log, projection.Workflows, projection.Workflows)
	other := b.Run
	if len(a.log.runs[other]) > 0 && !begins(a.log, b.log, other) && !begins(b.log, a.log, other) {
		for len(a.log.runs[other]) > 0 || len(b.log.runs[other]) > 0 {
			binary.BigEndian.PutUint64(other[8:], binary.BigEndian.Uint64(other[8:])+1)
		}
		take(b.log, b.Run, other)
	}
	for _, id := range a.Runs {
		if !begins(b.log, a.log, id) {
			take(a.log, id, id)
		}
	}
	for _, id := range b.Runs {
		if len(a.log.runs[id]) == 0 || begins(b.log, a.log, id) {
			take(b.log, id, id)
		}
	}
	slices.SortStableFunc(all, func(x, y eventlog.Event) int {
		return cmp.Or(cmp.Compare(x.Seq, y.Seq), cmp.Compare(x.Version, y.Version))
	})
	return newLog(all), other
}

// begins reports whether the events of a run in long begin with those in short.
func begins(long, short *Log, id eventlog.RunID) bool {
	if len(short.runs[id]) > len(long.runs[id]) {
		return false
	}
	for n, i := range short.runs[id] {
		a, b := &long.all[long.runs[id][n]], &short.all[i]
		if a.Kind != b.Kind || a.Time != b.Time || !a.Erased && !b.Erased && string(a.Payload) != string(b.Payload) {
			return false
		}
	}
	return true
}
