package engine

import (
	"context"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Record appends what has become of the log itself, to the system stream of that.
func (e *Engine) Record(ctx context.Context, p event.Payload, actor string) (eventlog.Seq, error) {
	if err := e.accepting(false); err != nil {
		return 0, err
	}
	e.custody.Lock()
	defer e.custody.Unlock()
	seq, err := appendFact(ctx, e.log, event.Custody, p, actor, e.now())
	return seq, e.stored(err)
}
