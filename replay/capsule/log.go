package capsule

import (
	"context"
	"fmt"
	"sort"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Log is the events of a capsule as an [eventlog.Log] that is read only. Its seqs
// are those of the log that they were taken out of, and not dense.
type Log struct {
	all  []eventlog.Event // in the order of seqs
	runs map[eventlog.RunID][]int
}

var _ eventlog.Log = (*Log)(nil)

func newLog(all []eventlog.Event) *Log {
	l := &Log{all: all, runs: make(map[eventlog.RunID][]int)}
	for i, e := range all {
		l.runs[e.Run] = append(l.runs[e.Run], i)
	}
	return l
}

// maxForks is how many runs may stand behind one, each forked from the next: whoever
// folds it folds them all, one within the other.
const maxForks = 1000

// forks checks that runs were forked from what was there before them, so that no
// fold goes round in circles.
func (l *Log) forks(runs []eventlog.RunID) error {
	from := make(map[eventlog.RunID]eventlog.RunID)
	for _, id := range runs {
		e := l.all[l.runs[id][0]]
		if e.Kind != event.KindRunForked || e.Erased && len(e.Payload) == 0 {
			continue
		}
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			continue // whoever folds it says so
		}
		f := p.(*event.RunForked)
		at := l.runs[f.From]
		if f.At < 1 || uint64(f.At) > uint64(len(at)) || l.all[at[f.At-1]].Seq >= e.Seq {
			return fmt.Errorf("%w: run %s is forked from version %d of run %s, which is not there", ErrFormat, id, f.At, f.From)
		}
		from[id] = f.From
	}
	for _, id := range runs {
		n := 0
		for next, ok := from[id]; ok; next, ok = from[next] {
			if n++; n > maxForks {
				return fmt.Errorf("%w: run %s has more than %d forks behind it", ErrTooLarge, id, maxForks)
			}
		}
	}
	return nil
}

// Append implements [eventlog.Log]: it refuses.
func (l *Log) Append(context.Context, eventlog.Append) (eventlog.Seq, error) {
	return 0, eventlog.ErrReadOnly
}

// Version implements [eventlog.Log].
func (l *Log) Version(run eventlog.RunID) (eventlog.Version, error) {
	at := l.runs[run]
	if len(at) == 0 {
		return 0, nil
	}
	return l.all[at[len(at)-1]].Version, nil
}

// ReadRun implements [eventlog.Log].
func (l *Log) ReadRun(run eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	at := l.runs[run]
	i := sort.Search(len(at), func(i int) bool { return l.all[at[i]].Version > after })
	at = at[i:min(len(at), i+max(limit, 0))]
	page := make([]eventlog.Event, len(at))
	for i, n := range at {
		page[i] = l.all[n]
	}
	return page, nil
}

// ReadFrom implements [eventlog.Log].
func (l *Log) ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error) {
	i := sort.Search(len(l.all), func(i int) bool { return l.all[i].Seq > after })
	return l.all[i:min(len(l.all), i+max(limit, 0))], nil
}

// Head implements [eventlog.Log].
func (l *Log) Head() eventlog.Seq { return l.all[len(l.all)-1].Seq }

// Close implements [eventlog.Log].
func (l *Log) Close() error { return nil }
