package projection

import (
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// namespaces has those of runs, for the time of a batch.
type namespaces map[eventlog.RunID]event.Namespace

// note reads the namespace of a run that begins: its row is not there yet.
func (m namespaces) note(e *fact) error {
	switch e.Kind {
	case event.KindRunCreated:
		return on(e, func(p *event.RunCreated) { m[e.Run] = p.Namespace })
	case event.KindRunForked:
		return on(e, func(p *event.RunForked) { m[e.Run] = p.Namespace })
	}
	return nil
}

// of returns the namespace of a run.
func (m namespaces) of(r *reader, id eventlog.RunID) (event.Namespace, error) {
	if n, ok := m[id]; ok {
		return n, nil
	}
	row, _, err := r.row(id)
	if err == nil {
		m[id] = row.Namespace
	}
	return row.Namespace, err
}
