package engine

import (
	"context"
	"errors"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// fact is an event for a system stream.
type fact struct {
	payload event.Payload
	actor   string
}

// stored returns what became of an append. If nobody knows that, or the log has stopped,
// the engine fails: only the next start can tell what is on disk.
func (e *Engine) stored(err error) error {
	if errors.Is(err, eventlog.ErrUnknown) || errors.Is(err, eventlog.ErrStopped) {
		e.fail(err)
	}
	return err
}

// appendFact appends an event to a system stream, and returns its seq. The caller
// is the only one who appends to that stream at the time.
func appendFact(ctx context.Context, log eventlog.Log, stream eventlog.RunID, p event.Payload, actor string, at event.Time) (eventlog.Seq, error) {
	seq, _, err := appendFacts(ctx, log, stream, at, []fact{{p, actor}})
	return seq, err
}

// appendFacts is appendFact for several as one append. It returns the seq of the first
// and the time that they have.
func appendFacts(ctx context.Context, log eventlog.Log, stream eventlog.RunID, at event.Time, facts []fact) (eventlog.Seq, event.Time, error) {
	version, err := log.Version(stream)
	if err != nil {
		return 0, at, err
	}
	if version > 0 {
		last, err := log.ReadRun(stream, version-1, 1)
		if err != nil {
			return 0, at, err
		}
		if len(last) > 0 {
			at = max(at, event.Time(last[0].Time)) // the clock may have been set back
		}
	}
	a := eventlog.Append{ID: appendID(), Run: stream, Expect: version}
	for _, f := range facts {
		a.Records = append(a.Records, eventlog.Record{Time: int64(at), Kind: f.payload.Kind(), Actor: f.actor, Payload: event.Encode(f.payload)})
	}
	seq, err := log.Append(context.WithoutCancel(ctx), a)
	return seq, at, err
}
