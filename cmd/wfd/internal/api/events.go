package api

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// EventsInput asks for events.
type EventsInput struct {
	Cursor string   `query:"cursor" doc:"next_cursor of the page before: the seq after which the page begins"`
	Limit  int      `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"events per page"`
	Kind   []string `query:"kind,explode" doc:"only these kinds, repeated or with commas between them; node. stands for all that begin with it"`
	Follow string   `query:"follow" enum:"false,true,always" doc:"of a stream: false ends at the present end, true with the run, always never. Server-sent events follow unless told not to"`
	Accept string   `header:"Accept" doc:"text/event-stream or application/x-ndjson for a stream; otherwise a page"`
	Last   string   `header:"Last-Event-ID" doc:"resume a stream after this seq"`
}

func (a *API) events(h huma.API) {
	const tag = "events"
	register(h, operation{method: "GET", path: "/v1/runs/{id}/events", id: "run-events", tag: tag,
		summary: "The events of a run: a page of JSON, server-sent events or NDJSON"},
		func(_ context.Context, in *struct {
			OfRun
			EventsInput
			Tokens bool `query:"tokens" doc:"of a stream: also the text of answers as it comes, as events called token, which have no id and are not kept"`
		}) (*huma.StreamResponse, error) {
			id, err := in.existing(a.o.Log)
			if err != nil {
				return nil, err
			}
			return a.serveEvents(h, &in.EventsInput, func(after eventlog.Seq) (feed, error) { return newRunFeed(a.o, id, after, in.Tokens) })
		})
	register(h, operation{method: "GET", path: "/v1/events", id: "all-events", tag: tag,
		summary: "The events of the whole log, in its order"},
		func(ctx context.Context, in *EventsInput) (*huma.StreamResponse, error) {
			return a.serveEvents(h, in, func(after eventlog.Seq) (feed, error) {
				all := &logFeed{o: a.o, after: after}
				if seen := a.sight(ctx); seen != nil {
					return &sieve{all, seen}, nil
				}
				return all, nil
			})
		})
}

// serveEvents answers with the form that the request accepts.
func (a *API) serveEvents(h huma.API, in *EventsInput, open func(after eventlog.Seq) (feed, error)) (*huma.StreamResponse, error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	wanted, err := kindFilter(in.Kind)
	if err != nil {
		return nil, err
	}
	f, err := open(after)
	if err != nil {
		return nil, err
	}
	accept := strings.ToLower(in.Accept)
	switch {
	case strings.Contains(accept, "text/event-stream"):
		return a.stream(f, wanted, sse{}, in.Follow, in.Last != "")
	case strings.Contains(accept, "application/x-ndjson"), strings.Contains(accept, "application/jsonl"):
		return a.stream(f, wanted, ndjson{}, in.Follow, false)
	}
	defer f.close()
	list, err := eventPage(f, wanted, in.Limit)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", "application/json")
		if err := h.Marshal(w, "application/json", list); err != nil {
			a.o.Logger.Debug("a page of events was not written", "error", err)
		}
	}}, nil
}

func (in *EventsInput) after() (eventlog.Seq, error) {
	s := in.Cursor
	if in.Last != "" {
		s = in.Last
	}
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, problem("invalid", fmt.Sprintf("%q is not a seq", s), "a cursor, and a Last-Event-ID, is the seq of the last event seen")
	}
	return eventlog.Seq(n), nil
}

// kindFilter returns which kinds are wanted, as they are given: one by one, or with
// commas between them.
func kindFilter(given []string) (func(eventlog.Kind) bool, error) {
	if len(given) == 0 {
		return func(k eventlog.Kind) bool { return k != unwanted }, nil
	}
	kinds := strings.Split(strings.Join(given, ","), ",")
	for _, k := range kinds {
		if _, ok := event.KindOf(k); !ok && !strings.HasSuffix(k, ".") {
			return nil, problem("invalid", fmt.Sprintf("%q is not a kind of event", k), "as node.completed, or node. for all kinds that begin with it")
		}
	}
	return func(kind eventlog.Kind) bool {
		name := event.KindName(kind)
		for _, k := range kinds {
			if name == k || strings.HasSuffix(k, ".") && strings.HasPrefix(name, k) {
				return true
			}
		}
		return false
	}, nil
}

// eventPage reads one page. It looks at a bounded number of events, so that a
// page of a rare kind may be short, or empty, and have a next one.
func eventPage(f feed, wanted func(eventlog.Kind) bool, limit int) (List[event.View], error) {
	const look = 10_000
	list := List[event.View]{Items: []event.View{}}
	for seen := 0; seen < look; {
		events, err := f.next(min(limit, look-seen))
		if err != nil {
			return list, err
		}
		if len(events) == 0 {
			return list, nil
		}
		for i, e := range events {
			seen++
			if !wanted(e.Kind) {
				continue
			}
			v, err := event.ViewOf(e)
			if err != nil {
				return list, fmt.Errorf("event %d: %w", e.Seq, err)
			}
			if list.Items = append(list.Items, v); len(list.Items) == limit {
				if i+1 < len(events) || f.more() {
					list.Next = strconv.FormatUint(uint64(e.Seq), 10)
				}
				return list, nil
			}
		}
	}
	list.Next = strconv.FormatUint(uint64(f.at()), 10)
	return list, nil
}
