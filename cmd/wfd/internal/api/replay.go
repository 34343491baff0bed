package api

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

type whyInput struct {
	OfRun
	Node string `query:"node" doc:"review, or review#2 for its second visit; absent: where the run failed, or the last"`
	At   string `query:"at" doc:"as the run stood there: a seq, a version (v12) or a visit (node#2); absent: now"`
}

func (a *API) replay(h huma.API, defs replay.Definitions) {
	a.lookBack(h, defs)
	a.explain(h, defs)
	a.whatIf(h, defs)
}

func (a *API) explain(h huma.API, defs replay.Definitions) {
	const tag = "replay"
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
			node, visit, err := visitNamed(in.Node)
			if err != nil {
				return nil, err
			}
			x, err := replay.Why(a.o.Log, defs, id, node, visit, at)
			return answered(x, err)
		})
	register(h, operation{method: "GET", path: "/v1/runs/{id}/asked", id: "asked", tag: tag,
		summary: "What an attempt was given: its prompt and settings with the values the run had; of secrets the names"},
		func(_ context.Context, in *askedInput) (*answer[replay.Asked], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			node, visit, err := visitNamed(in.Node)
			if err != nil {
				return nil, err
			}
			x, err := replay.AskedOf(a.o.Log, defs, id, node, visit, in.Attempt)
			return answered(x, err)
		})
}

type askedInput struct {
	OfRun
	Node    string `query:"node" required:"true" maxLength:"256" doc:"review, or review#2 for its second visit"`
	Attempt int    `query:"attempt" minimum:"0" doc:"0: the latest"`
}

type replayInput struct {
	OfRun
	From  eventlog.Seq `query:"from" doc:"begin with the first event at or after this seq: 0, or next_cursor of the page before"`
	Limit int          `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"events per page"`
}

// Replay is a page of what the events of a run, and of the runs under it, changed.
type Replay struct {
	List[replay.Frame]
	// Graphs are the graphs of the definitions of the runs on this page, by run.
	Graphs map[string]replay.Graph `json:"graphs"`
}

type diffInput struct {
	OfRun
	At   string `query:"at" doc:"compare the run as it stood there: a seq, a version (v12) or a visit (node#2); absent: now"`
	With string `query:"with" required:"true" doc:"another run, or the same at another position: RUN or RUN@POSITION"`
}

func (a *API) lookBack(h huma.API, defs replay.Definitions) {
	const tag = "replay"
	register(h, operation{method: "GET", path: "/v1/runs/{id}/replay", id: "replay-run", tag: tag,
		summary: "The events of a run and of the runs under it, each with what it changed"},
		func(_ context.Context, in *replayInput) (*answer[Replay], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			reel := a.reels.take(id, in.From)
			if reel == nil {
				reel = replay.NewReel(a.o.Log, id)
				if err := reel.Skip(max(in.From, 1) - 1); err != nil {
					return nil, err
				}
			}
			frames, next, err := reel.Frames(in.Limit)
			if err != nil {
				return nil, err
			}
			// Whoever follows the run comes back for what is after its last event.
			if on := reelGoesOn(in.From, frames, next); on != 0 {
				a.reels.keep(id, on, reel)
			}
			return a.replayPage(defs, frames, next)
		})
	register(h, operation{method: "GET", path: "/v1/runs/{id}/tree", id: "get-tree", tag: tag,
		summary: "The state of a run and of the runs under it, now or at any position of the run's history"},
		func(_ context.Context, in *stateInput) (*answer[List[run.View]], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			at, err := positionAt(in.At)
			if err != nil {
				return nil, err
			}
			seq := at.Seq
			if at.Version != 0 || at.Node != "" {
				s, err := replay.State(a.o.Log, id, at)
				if err != nil {
					return nil, err
				}
				seq = s.Seq
			}
			states, err := replay.Tree(a.o.Log, id, seq)
			views := make([]run.View, len(states))
			for i, s := range states {
				views[i] = s.View()
			}
			return listOf(views, "", err)
		})
	register(h, operation{method: "GET", path: "/v1/runs/{id}/diff", id: "diff-runs", tag: tag,
		summary: "How two runs differ, or one at two positions: the first divergence, then all"},
		func(ctx context.Context, in *diffInput) (*answer[replay.Diff], error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			at, err := positionAt(in.At)
			if err != nil {
				return nil, err
			}
			name, position, _ := strings.Cut(in.With, "@")
			with, err := a.existing(ctx, name)
			if err != nil {
				return nil, err
			}
			there, err := positionAt(position)
			if err != nil {
				return nil, err
			}
			return answered(replay.Compare(a.o.Log, id, at, with, there))
		})
}

// reelGoesOn returns the seq that the page after these frames, which were asked for
// with from, is asked for with.
func reelGoesOn(from eventlog.Seq, frames []replay.Frame, next eventlog.Seq) eventlog.Seq {
	switch {
	case next != 0:
		return next
	case len(frames) > 0:
		return frames[len(frames)-1].Event.Seq + 1
	}
	return from
}

// replayPage is a page of frames; next is the seq of the one after them.
func (a *API) replayPage(defs replay.Definitions, frames []replay.Frame, next eventlog.Seq) (*answer[Replay], error) {
	out := Replay{List: List[replay.Frame]{Items: frames}, Graphs: map[string]replay.Graph{}}
	if next != 0 {
		out.Next = strconv.FormatUint(uint64(next), 10)
	}
	if out.Items == nil {
		out.Items = []replay.Frame{}
	}
	for _, f := range out.Items {
		if _, ok := out.Graphs[f.Event.Run]; ok {
			continue
		}
		id, err := eventlog.ParseRunID(f.Event.Run)
		if err != nil {
			return nil, err
		}
		hash, err := replay.DefinitionOf(a.o.Log, id)
		if err != nil {
			return nil, err
		}
		w, err := defs.ByHash(hash)
		if err != nil {
			continue // what happened can be told without the graph
		}
		out.Graphs[f.Event.Run] = replay.GraphOf(w)
	}
	return &answer[Replay]{out}, nil
}

// visitNamed reads review, which is visit 0, or review#2.
func visitNamed(s string) (node string, visit int, err error) {
	if !strings.Contains(s, "#") {
		return s, 0, nil
	}
	pos, err := replay.Parse(s)
	return pos.Node, pos.Visit, err
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
