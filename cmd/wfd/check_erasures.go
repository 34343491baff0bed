package main

import (
	"context"
	"fmt"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// erasures checks that what is missing in the log was erased, and nothing else:
// for every payload that is gone an event says so, and what is left of it is what
// that event says.
func (c *checked) erasures(ctx context.Context, log *eventlog.DB) error {
	spans, err := erasedSpans(log)
	if err != nil {
		return err
	}
	cutOff, err := saidElsewhere(log)
	if err != nil {
		return err
	}
	for after := eventlog.Seq(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := log.ReadFrom(after, 4096)
		if err != nil || len(page) == 0 {
			if err == nil {
				c.settled(spans)
			}
			return err
		}
		for _, e := range page {
			after = e.Seq
			span := spanOf(spans[e.Run], e.Version)
			switch {
			case span == nil && e.Erased && e.Seq > cutOff:
				c.erased(e.Run, e.Seq, "its payload is gone, and no event says that it was erased")
			case span != nil && !e.Erased && span.settled:
				c.erased(e.Run, e.Seq, fmt.Sprintf("event %d says that its payload was erased, and it is there", span.by))
			case span != nil && e.Erased:
				span.digest.Add(e.Version, e.Payload)
				span.seen++
			}
		}
	}
}

// saidElsewhere returns the seq up to which payloads may be gone without a word: a
// log that was restored to an earlier event ends before the word that was said.
func saidElsewhere(log *eventlog.DB) (upTo eventlog.Seq, err error) {
	for after := eventlog.Version(0); ; {
		page, err := log.ReadRun(event.Custody, after, 1024)
		if err != nil || len(page) == 0 {
			return upTo, err
		}
		for _, e := range page {
			after = e.Version
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				return 0, fmt.Errorf("event %d: %w", e.Seq, err)
			}
			if r, ok := p.(*event.LogRestored); ok && r.Head > r.At {
				upTo = max(upTo, r.At)
			}
		}
	}
}

func (c *checked) erased(id eventlog.RunID, seq eventlog.Seq, what string) {
	c.Problems = append(c.Problems, defect{Run: id.String(), Seq: seq, What: what})
}

// An erasedSpan is a target of an erasure, with what was found of it.
type erasedSpan struct {
	event.ErasedSpan
	by      eventlog.Seq // the event that says so
	settled bool         // it was carried out
	digest  engine.RestDigest
	seen    eventlog.Version
	older   bool // a later erasure has taken more of it
}

func spanOf(spans []*erasedSpan, v eventlog.Version) *erasedSpan {
	for i := len(spans) - 1; i >= 0; i-- { // the latest word counts
		if s := spans[i]; s.From <= v && v <= s.To {
			return s
		}
	}
	return nil
}

// erasedSpans returns what the log says was erased, by run, the latest last.
func erasedSpans(log *eventlog.DB) (map[eventlog.RunID][]*erasedSpan, error) {
	settled, err := log.Settled()
	if err != nil {
		return nil, err
	}
	spans := map[eventlog.RunID][]*erasedSpan{}
	for after := eventlog.Version(0); ; {
		page, err := log.ReadRun(projection.Erasures, after, 1024)
		if err != nil || len(page) == 0 {
			return spans, err
		}
		for _, e := range page {
			after = e.Version
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", e.Seq, err)
			}
			erased, ok := p.(*event.PayloadErased)
			if !ok {
				continue
			}
			for _, t := range erased.Targets {
				for _, old := range spans[t.Run] {
					old.older = old.older || old.From <= t.To && t.From <= old.To
				}
				spans[t.Run] = append(spans[t.Run], &erasedSpan{ErasedSpan: t, by: e.Seq, settled: e.Seq <= settled, digest: engine.NewRestDigest()})
			}
		}
	}
}

// settled compares what is left with what the events say is left.
func (c *checked) settled(spans map[eventlog.RunID][]*erasedSpan) {
	for id, list := range spans {
		for _, s := range list {
			if s.settled && !s.older && s.seen == s.To-s.From+1 && s.digest.Sum() != s.Digest {
				c.erased(id, s.by, fmt.Sprintf("what is left of the versions %d to %d is not what the event says is left", s.From, s.To))
			}
		}
	}
}
