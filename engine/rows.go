package engine

import (
	"context"
	"errors"
	"iter"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/run"
)

// inStatus yields the runs in a status. An error comes last, without a run.
func (e *Engine) inStatus(ctx context.Context, s run.Status) iter.Seq2[projection.Row, error] {
	return everyRow(func(cursor string) ([]projection.Row, string, error) {
		return e.views.ByStatus(ctx, s, cursor, recoverPage)
	})
}

// Lost says of a row that the log has shut its run off, since events of it may be lost.
// What is left of them does not say so where nobody knows whose events are gone.
func (e *Engine) Lost(r *projection.Row) {
	if !e.damaged || r.Damaged > 0 {
		return
	}
	var c *eventlog.CorruptError
	if _, err := e.log.Version(r.ID); errors.As(err, &c) {
		r.Damaged = c.Seq
	}
}

// childrenOf yields the child runs of a run. An error comes last, without a run.
func (e *Engine) childrenOf(ctx context.Context, id eventlog.RunID) iter.Seq2[projection.Row, error] {
	return everyRow(func(cursor string) ([]projection.Row, string, error) {
		return e.views.Children(ctx, id, cursor, recoverPage)
	})
}

// everyRow yields the rows of a list page by page: whoever takes them may change them
// meanwhile.
func everyRow(page func(cursor string) ([]projection.Row, string, error)) iter.Seq2[projection.Row, error] {
	return func(yield func(projection.Row, error) bool) {
		for cursor := ""; ; {
			rows, next, err := page(cursor)
			if err != nil {
				yield(projection.Row{}, err)
				return
			}
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
			if cursor = next; cursor == "" {
				return
			}
		}
	}
}
