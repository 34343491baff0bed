package capsule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/oneform"
	"github.com/wfd-dev/wfd/eventlog/zseal"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// Source is what a run is taken out of.
type Source struct {
	Log eventlog.Log
	// Definition returns the event that registered the definition with a hash; an
	// error that Is [replay.ErrNoDefinition] if there is none.
	Definition func(ctx context.Context, hash string) (eventlog.Event, error)
	// Prove proves that events are in the log; nil: the capsule goes without.
	Prove func([]audit.Leaf) (*audit.SetProof, error)
	// Origin is the name of the log that Prove speaks for.
	Origin string
}

// part is the beginning of a stream of events, or all of it.
type part struct {
	run  eventlog.RunID
	upTo eventlog.Version
}

// Export is a run that is ready to be written: all that can fail has not, but for
// reading it once more.
type Export struct {
	src    Source
	header header
	defs   []eventlog.Event // that registered definitions, in order
	parts  []part           // the run itself first
	leaves []audit.Leaf
	proof  *audit.SetProof
}

// readPage is how many events are read at once.
const readPage = 512

// Prepare finds all that belongs to a run as it is now, and proves it.
func Prepare(ctx context.Context, src Source, id eventlog.RunID, now time.Time) (*Export, error) {
	g := &gatherer{ctx: ctx, src: src, wanted: map[eventlog.RunID]eventlog.Version{}, have: map[eventlog.RunID]eventlog.Version{}, hashes: map[string]bool{}}
	g.want(id, run.Newest)
	for len(g.todo) > 0 {
		next := g.todo[0]
		g.todo = g.todo[1:]
		if err := g.gather(next); err != nil {
			return nil, err
		}
	}
	x := &Export{src: src, defs: g.defs, leaves: g.leaves}
	for _, id := range g.order {
		if g.have[id] > 0 { // else it was ordered, and has not started yet
			x.parts = append(x.parts, part{id, g.have[id]})
		}
	}
	if g.have[id] == 0 {
		return nil, fmt.Errorf("run %s: %w", id, run.ErrNotFound)
	}
	x.header = header{Format: format, Run: id, Made: now.UTC().Truncate(time.Second), Runs: len(x.parts), Events: len(g.leaves)}
	slices.SortFunc(x.defs, func(a, b eventlog.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	slices.SortFunc(x.leaves, func(a, b audit.Leaf) int { return cmp.Compare(a.Seq, b.Seq) })
	if src.Prove != nil {
		var err error
		if x.proof, err = src.Prove(x.leaves); err != nil {
			return nil, err
		}
		x.header.Origin = src.Origin
	}
	return x, nil
}

// gatherer follows a run to all that belongs to it.
type gatherer struct {
	ctx    context.Context
	src    Source
	order  []eventlog.RunID // in which they were found
	todo   []eventlog.RunID // of which more is wanted than is there
	wanted map[eventlog.RunID]eventlog.Version
	have   map[eventlog.RunID]eventlog.Version
	hashes map[string]bool
	defs   []eventlog.Event
	leaves []audit.Leaf
	bytes  int
}

// want asks for the events of a run up to a version.
func (g *gatherer) want(id eventlog.RunID, upTo eventlog.Version) {
	if _, known := g.wanted[id]; !known {
		g.order = append(g.order, id)
	}
	if upTo > g.wanted[id] {
		g.wanted[id] = upTo
		g.todo = append(g.todo, id)
	}
}

// gather reads the events of a run as far as they are wanted.
func (g *gatherer) gather(id eventlog.RunID) error {
	if len(g.order) > MaxRuns {
		return fmt.Errorf("%w: more than %d runs", ErrTooLarge, MaxRuns)
	}
	for after := g.have[id]; after < g.wanted[id]; {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		page, err := g.src.Log.ReadRun(id, after, int(min(g.wanted[id]-after, readPage)))
		if err != nil || len(page) == 0 {
			return err
		}
		for _, e := range page {
			after = e.Version
			g.have[id] = after
			if err := g.event(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// event takes in an event, and looks which others it needs.
func (g *gatherer) event(e eventlog.Event) error {
	if err := g.add(e); err != nil {
		return err
	}
	switch e.Kind {
	case event.KindRunCreated, event.KindRunForked, event.KindChildStarted:
	default:
		return nil
	}
	if e.Erased && len(e.Payload) == 0 {
		return nil
	}
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return fmt.Errorf("event %d: %w", e.Seq, err)
	}
	switch p := p.(type) {
	case *event.RunCreated:
		return g.definition(p.Hash)
	case *event.RunForked:
		g.want(p.From, p.At)
		return g.definition(p.Hash)
	case *event.ChildStarted:
		g.want(p.Child, run.Newest)
	}
	return nil
}

func (g *gatherer) add(e eventlog.Event) error {
	g.leaves = append(g.leaves, audit.Leaf{Seq: e.Seq, Hash: eventlog.Leaf(e)})
	g.bytes += len(e.Payload)*4/3 + len(e.Actor) + 512
	switch {
	case len(g.leaves) > MaxEvents:
		return fmt.Errorf("%w: more than %d events", ErrTooLarge, MaxEvents)
	case g.bytes > MaxBytes:
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxBytes)
	}
	return nil
}

// definition takes in what registered a definition. One that is gone is left out:
// the run can be looked at without.
func (g *gatherer) definition(hash string) error {
	if hash == "" || g.hashes[hash] {
		return nil
	}
	g.hashes[hash] = true
	e, err := g.src.Definition(g.ctx, hash)
	if errors.Is(err, replay.ErrNoDefinition) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, have := range g.defs {
		if have.Seq == e.Seq {
			return nil
		}
	}
	g.defs = append(g.defs, e)
	return g.add(e)
}

// Write writes the capsule.
func (x *Export) Write(ctx context.Context, w io.Writer) error {
	zw, err := zseal.NewWriter(w)
	if err != nil {
		return err
	}
	if err := x.lines(ctx, zw); err != nil {
		zw.Abort() // what was written has no seal
		return err
	}
	return zw.Close()
}

func (x *Export) lines(ctx context.Context, w io.Writer) error {
	if err := oneform.Write(w, x.header); err != nil {
		return err
	}
	for _, e := range x.defs {
		if err := oneform.Write(w, lineOf(e)); err != nil {
			return err
		}
	}
	for _, p := range x.parts {
		if err := x.part(ctx, w, p); err != nil {
			return err
		}
	}
	return oneform.Write(w, closing{x.header.Events, x.proof})
}

func (x *Export) part(ctx context.Context, w io.Writer, p part) error {
	for after := eventlog.Version(0); after < p.upTo; {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := x.src.Log.ReadRun(p.run, after, int(min(p.upTo-after, readPage)))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("run %s has no version %d any more", p.run, after+1)
		}
		for _, e := range page {
			if err := oneform.Write(w, lineOf(e)); err != nil {
				return err
			}
			after = e.Version
		}
	}
	return nil
}

// FindDefinition returns a [Source.Definition] that reads the stream of definitions
// until it finds one: for a log without views.
func FindDefinition(log eventlog.Log) func(context.Context, string) (eventlog.Event, error) {
	return func(ctx context.Context, hash string) (eventlog.Event, error) {
		for after := eventlog.Version(0); ctx.Err() == nil; {
			page, err := log.ReadRun(projection.Workflows, after, readPage)
			if err != nil {
				return eventlog.Event{}, err
			}
			if len(page) == 0 {
				return eventlog.Event{}, fmt.Errorf("%w: %s", replay.ErrNoDefinition, hash)
			}
			for _, e := range page {
				after = e.Version
				if e.Erased || e.Kind != event.KindDefinitionRegistered {
					continue
				}
				p, err := event.Decode(e.Kind, e.Payload)
				if err != nil {
					return e, fmt.Errorf("event %d: %w", e.Seq, err)
				}
				if p.(*event.DefinitionRegistered).Hash == hash {
					return e, nil
				}
			}
		}
		return eventlog.Event{}, ctx.Err()
	}
}
