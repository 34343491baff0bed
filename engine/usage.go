package engine

import (
	"context"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
)

// DiskUsage is what the data directory takes, and what of it can go.
type DiskUsage struct {
	eventlog.Usage
	Views int64 `json:"views"`
	// Workflows says how many bytes of payload the runs of each have.
	Workflows map[string]*WorkflowUsage `json:"workflows"`
}

// WorkflowUsage is the part of a workflow.
type WorkflowUsage struct {
	Runs     int   `json:"runs"`
	Live     int   `json:"live"`     // of these, not at their end
	Archived int   `json:"archived"` // of these, with payloads in an archive
	Erased   int   `json:"erased"`   // of these, without payloads
	Events   int64 `json:"events"`
	Bytes    int64 `json:"bytes"` // of payloads in the log
}

// Usage says what takes how much room. It looks at every run.
func (e *Engine) Usage(ctx context.Context) (u DiskUsage, err error) {
	if log := e.erasures.log; log != nil {
		if u.Usage, err = log.Usage(); err != nil {
			return u, err
		}
	}
	if u.Views, err = e.views.Size(); err != nil {
		return u, err
	}
	u.Workflows = map[string]*WorkflowUsage{}
	for cursor := ""; ; {
		rows, next, err := e.views.AllRuns(ctx, cursor, 1000)
		if err != nil {
			return u, err
		}
		for _, row := range rows {
			name := labelOf(row.Namespace, row.Workflow)
			w := u.Workflows[name]
			if w == nil {
				w = &WorkflowUsage{}
				u.Workflows[name] = w
			}
			w.add(&row)
		}
		if cursor = next; cursor == "" {
			return u, nil
		}
	}
}

func (w *WorkflowUsage) add(row *projection.Row) {
	w.Runs++
	w.Events += int64(row.Version)
	w.Bytes += row.Bytes
	if !row.Status.Terminal() {
		w.Live++
	}
	switch row.Erased {
	case projection.ErasedArchived:
		w.Archived++
	case projection.ErasedByPerson, projection.ErasedDropped:
		w.Erased++
	}
}
