package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// foldAll folds every run and checks what must hold of each.
func foldAll(ctx context.Context, log eventlog.Log, views *projection.Views, c *checked, p *progress) error {
	for cursor := ""; ; {
		rows, next, err := views.AllRuns(ctx, cursor, 1000)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, what := range lawful(ctx, log, views, &rows[i]) {
				c.Problems = append(c.Problems, defect{Run: rows[i].ID.String(), What: what})
			}
			c.Folded++
			p.show("runs", uint64(c.Folded), uint64(c.Streams))
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// lawful returns what is wrong with a run.
func lawful(ctx context.Context, log eventlog.Log, views *projection.Views, row *projection.Row) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	s, err := run.Fold(log, row.ID, run.Newest)
	if err != nil {
		return []string{"it does not fold: " + err.Error()}
	}
	if s.Status != row.Status || s.Version != row.Version || s.Seq != row.Seq {
		bad("it folds to %s at version %d, seq %d; the list has %s at version %d, seq %d", s.Status, s.Version, s.Seq, row.Status, row.Version, row.Seq)
	}
	wrong = append(wrong, s.Lawful()...)
	if _, err := views.DefinitionByHash(ctx, s.Hash); err != nil && !errors.Is(err, projection.ErrErased) {
		bad("its definition: %v", err)
	}
	type visit struct {
		node  string
		visit int
	}
	done := map[visit]eventlog.Seq{}
	for after := eventlog.Version(0); ; {
		events, err := log.ReadRun(row.ID, after, 1024)
		if err != nil {
			bad("it cannot be read: %v", err)
			return wrong
		}
		if len(events) == 0 {
			return wrong
		}
		for _, e := range events {
			after = e.Version
			if e.Kind != event.KindNodeCompleted || e.Erased && len(e.Payload) == 0 {
				continue
			}
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				bad("event %d: %v", e.Seq, err)
				continue
			}
			n := p.(*event.NodeCompleted)
			v := visit{n.Node, n.Visit}
			if first, twice := done[v]; twice {
				bad("visit %d of node %s completes twice, in events %d and %d", n.Visit, n.Node, first, e.Seq)
			}
			done[v] = e.Seq
		}
	}
}
