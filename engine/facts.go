package engine

import (
	"context"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// appendFact appends an event to a system stream, and returns its seq. The caller
// is the only one who appends to that stream at the time.
func appendFact(ctx context.Context, log eventlog.Log, stream eventlog.RunID, p event.Payload, actor string, at event.Time) (eventlog.Seq, error) {
	version, err := log.Version(stream)
	if err != nil {
		return 0, err
	}
	if version > 0 {
		last, err := log.ReadRun(stream, version-1, 1)
		if err != nil {
			return 0, err
		}
		if len(last) > 0 {
			at = max(at, event.Time(last[0].Time)) // the clock may have been set back
		}
	}
	return log.Append(context.WithoutCancel(ctx), eventlog.Append{
		ID: appendID(), Run: stream, Expect: version,
		Records: []eventlog.Record{{Time: int64(at), Kind: p.Kind(), Actor: actor, Payload: event.Encode(p)}},
	})
}
