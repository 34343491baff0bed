package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/replay"
)

type whyInput struct {
	OfRun
	Node string `query:"node" doc:"review, or review#2 for its second visit; absent: where the run failed, or the last"`
	At   string `query:"at" doc:"as the run stood there: a seq, a version (v12) or a visit (node#2); absent: now"`
}

func (a *API) replay(h huma.API) {
	const tag = "replay"
	defs := replay.Registered(a.o.Log)
	register(h, operation{method: "GET", path: "/v1/runs/{id}/verify", id: "verify-run", tag: tag,
		summary: "Decide a run again and name the first event that does not follow from its facts"},
		func(_ context.Context, in *OfRun) (*answer[replay.Verdict], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			v, err := replay.Verify(a.o.Log, defs, id)
			return answered(v, err)
		})
	register(h, operation{method: "GET", path: "/v1/runs/{id}/why", id: "why", tag: tag,
		summary: "Explain how a run came to a node, or why it did not"},
		func(_ context.Context, in *whyInput) (*answer[replay.Explanation], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			at, err := positionAt(in.At)
			if err != nil {
				return nil, err
			}
			node, visit := in.Node, 0
			if pos, err := replay.Parse(in.Node); err == nil && pos.Node != "" {
				node, visit = pos.Node, pos.Visit
			}
			x, err := replay.Why(a.o.Log, defs, id, node, visit, at)
			return answered(x, err)
		})
}

// positionAt reads a position; "" is the newest end.
func positionAt(at string) (replay.Position, error) {
	if at == "" {
		return replay.Position{}, nil
	}
	return replay.Parse(at)
}

// answered is the answer of a look at the past.
func answered[T any](v T, err error) (*answer[T], error) {
	if errors.Is(err, replay.ErrErased) {
		return nil, problem("not-found", err.Error(), "wfd verify says from which version on; an earlier position may do")
	}
	if err != nil {
		return nil, err
	}
	return &answer[T]{v}, nil
}

// afterSeq reads a cursor that is a seq.
func afterSeq(cursor string) (eventlog.Seq, error) {
	if cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil {
		return 0, problem("invalid", fmt.Sprintf("%q is not a seq", cursor), "use the next_cursor of the page before")
	}
	return eventlog.Seq(n), nil
}
