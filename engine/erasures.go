package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"sync"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// erasures takes payloads out of the log. What is to go is said by an event first;
// then archives, log, blobs, snapshots and views lose it, and the log's catalog
// notes how far that is done. If we crash in between, the next start reads the
// events that are not settled and does the same again: every step may be repeated.
type erasures struct {
	e   *Engine
	log eventlog.Eraser // nil: the log cannot erase
	mu  sync.Mutex      // one at a time orders and carries out

	compacting sync.Mutex // held by who compacts, before mu; others do not wait for it

	holding sync.RWMutex
	held    map[eventlog.RunID]bool // runs that take no commands: their payloads are about to go
}

func newErasures(e *Engine) *erasures {
	log, _ := e.log.(eventlog.Eraser)
	return &erasures{e: e, log: log, held: map[eventlog.RunID]bool{}}
}

// allows refuses commands for a run whose past is not in the log any more, or is
// about to go. In a log that was restored to an earlier event such a run may be
// live: one with its past in an archive goes on, one without can be put to rest.
func (x *erasures) allows(s *run.State, c machine.Command) error {
	ended := s.Status.Terminal()
	switch c.(type) {
	case machine.Pause, machine.Cancel:
	case machine.Settle: // what is set aside for its calls would stay so for good
		ended = false
	default:
		ended = ended || s.Erased
	}
	switch {
	case s.Erased && ended:
		return fmt.Errorf("%w: what run %s did was erased; nothing can be done with it any more", machine.ErrRefused, s.Run)
	case s.Archived && ended:
		return fmt.Errorf("%w: run %s is archived: fork it to go on from where it stood", machine.ErrRefused, s.Run)
	}
	x.holding.RLock()
	defer x.holding.RUnlock()
	if x.held[s.Run] {
		return fmt.Errorf("%w: run %s is being archived or erased", ErrBusy, s.Run)
	}
	return nil
}

// hold keeps commands from runs, so that what is at its end stays there. A run that
// has moved since its row was read, or is not at its end, makes it return false,
// with none held.
func (x *erasures) hold(ctx context.Context, rows []projection.Row) (bool, error) {
	x.holding.Lock()
	for i := range rows {
		x.held[rows[i].ID] = true
	}
	x.holding.Unlock()
	for i := range rows {
		still := false
		// Commands that came before are through when this look is.
		err := x.e.look(ctx, rows[i].ID, func(s *run.State, _ *workflow.Workflow) {
			still = s.Version == rows[i].Version && s.Status.Terminal()
		})
		if err != nil || !still {
			x.release(rows)
			return false, err
		}
	}
	return true, nil
}

func (x *erasures) release(rows []projection.Row) {
	x.holding.Lock()
	defer x.holding.Unlock()
	for i := range rows {
		delete(x.held, rows[i].ID)
	}
}

// maxTargets bounds the spans of one event.
const maxTargets = 256

// order appends the event, and returns it as carryOut takes it. Called with mu held.
func (x *erasures) order(ctx context.Context, p *event.PayloadErased, actor string) (ordered, error) {
	seq, err := appendFact(ctx, x.e.log, projection.Erasures, p, actor, x.e.now())
	return ordered{seq, p}, x.e.stored(err)
}

// ordered is an erasure that the log speaks of.
type ordered struct {
	seq eventlog.Seq
	p   *event.PayloadErased
}

// carryOut does what was ordered, one after the other, with one pass over the log
// for those in a row that leave as much. Called with mu held.
func (x *erasures) carryOut(ctx context.Context, list []ordered) (total eventlog.Erased, err error) {
	for len(list) > 0 {
		rest := list[0].p.Rest()
		n := 1
		for n < len(list) && list[n].p.Rest() == rest {
			n++
		}
		done, err := x.carry(ctx, list[:n], rest)
		total.Events += done.Events
		total.Segments += done.Segments
		total.Blobs += done.Blobs
		total.Bytes += done.Bytes
		if err != nil {
			return total, err
		}
		list = list[n:]
	}
	return total, nil
}

func (x *erasures) carry(ctx context.Context, list []ordered, rest event.Rest) (done eventlog.Erased, err error) {
	var all []eventlog.Span
	for _, o := range list {
		spans := spansOf(o.p)
		if err := x.archived(ctx, o, spans); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return done, err
			}
			// To erase what is nowhere else would lose it.
			x.e.slog.Error("an archive is missing: its payloads stay in the log", "archive", o.p.Archive, "event", o.seq)
			continue
		}
		all = append(all, spans...)
	}
	if done, err = x.log.Erase(ctx, all, leave(rest)); err != nil {
		return done, err
	}
	x.e.defs.forget()
	if rest < event.RestText {
		err = errors.Join(x.e.snapshots.scrub(), x.e.views.Scrub(ctx), x.e.opt.Leases.Scrub())
	} else {
		for _, s := range all {
			err = errors.Join(err, x.e.snapshots.drop(s.Run))
		}
	}
	if err != nil {
		return done, err
	}
	return done, x.log.Settle(list[len(list)-1].seq)
}

// archived makes the archive the place of what the log is about to lose, or takes
// it out of the archives as well.
func (x *erasures) archived(ctx context.Context, o ordered, spans []eventlog.Span) error {
	if o.p.Archive == "" {
		return x.log.EraseArchived(ctx, spans)
	}
	var id eventlog.ArchiveID
	if n, err := hex.Decode(id[:], []byte(o.p.Archive)); err != nil || n != len(id) {
		return fmt.Errorf("event %d: %q names no archive", o.seq, o.p.Archive)
	}
	return x.log.AdoptArchive(id)
}

func spansOf(p *event.PayloadErased) []eventlog.Span {
	spans := make([]eventlog.Span, len(p.Targets))
	for i, t := range p.Targets {
		spans[i] = eventlog.Span{Run: t.Run, From: t.From, To: t.To}
	}
	return spans
}

// leave returns what is left of an event's payload.
func leave(rest event.Rest) func(eventlog.Event) ([]byte, error) {
	return func(e eventlog.Event) ([]byte, error) {
		if e.Erased && len(e.Payload) == 0 {
			return nil, nil
		}
		return event.Redact(e.Kind, e.Payload, rest)
	}
}

// resume carries out what a crash left undone.
func (x *erasures) resume(ctx context.Context) error {
	if x.log == nil {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	settled, err := x.log.Settled()
	if err != nil {
		return err
	}
	var open []ordered
	for after := eventlog.Version(0); ; {
		page, err := x.e.log.ReadRun(projection.Erasures, after, loadPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Version
			if e.Seq <= settled {
				continue
			}
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				return fmt.Errorf("event %d: %w", e.Seq, err)
			}
			if p, ok := p.(*event.PayloadErased); ok {
				open = append(open, ordered{e.Seq, p})
			}
		}
	}
	if len(open) == 0 {
		return x.sweepArchives()
	}
	x.e.slog.Info("erasures that were not complete are carried out", "events", len(open))
	if _, err := x.carryOut(ctx, open); err != nil {
		return err
	}
	// Blobs that the first attempt took out of the log, the second did not find there.
	if _, err := x.log.Sweep(); err != nil {
		return err
	}
	return x.sweepArchives()
}

// sweepArchives removes archives that no event speaks of.
func (x *erasures) sweepArchives() error {
	removed, err := x.log.SweepArchives()
	for _, name := range removed {
		x.e.slog.Info("an archive that was not completed is removed", "file", name)
	}
	return err
}

// A loss is what an erasure takes from one run.
type loss struct {
	targets []event.ErasedSpan
	events  int
	bytes   int64 // of their payloads
}

// lose describes what an erasure takes of a run: the events that pick picks.
func (x *erasures) lose(ctx context.Context, id eventlog.RunID, rest event.Rest, pick func(eventlog.Version) bool) (l loss, err error) {
	var left int64 // of all payloads of the run
	digest := NewRestDigest()
	for after := eventlog.Version(0); ; {
		if err := ctx.Err(); err != nil {
			return l, err
		}
		page, err := x.e.log.ReadRun(id, after, loadPage)
		if err != nil {
			return l, err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Version
			kept := e.Payload // in the log
			if e.Archived {
				if kept, err = event.Redact(e.Kind, e.Payload, event.RestText); err != nil {
					return l, err
				}
			}
			if pick(e.Version) {
				if kept, err = leave(rest)(e); err != nil {
					return l, fmt.Errorf("event %d: %w", e.Seq, err)
				}
				l.events++
				l.bytes += int64(len(e.Payload))
				if n := len(l.targets); n == 0 || l.targets[n-1].To+1 != e.Version {
					l.close(digest)
					digest = NewRestDigest()
					l.targets = append(l.targets, event.ErasedSpan{Run: id, From: e.Version})
				}
				l.targets[len(l.targets)-1].To = e.Version
				digest.Add(e.Version, kept)
			}
			left += int64(len(kept))
		}
	}
	l.close(digest)
	for i := range l.targets {
		l.targets[i].Bytes = left
	}
	return l, nil
}

// close ends the last target.
func (l *loss) close(d RestDigest) {
	if n := len(l.targets); n > 0 {
		l.targets[n-1].Digest = d.Sum()
	}
}

// A RestDigest computes the digest of what is left of events: see
// event.ErasedSpan.
type RestDigest struct{ h hash.Hash }

// NewRestDigest returns the digest of nothing.
func NewRestDigest() RestDigest { return RestDigest{sha256.New()} }

// Add adds what is left of the next event.
func (d RestDigest) Add(v eventlog.Version, left []byte) {
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], uint64(v))
	binary.BigEndian.PutUint32(b[8:], uint32(len(left)))
	d.h.Write(b[:])
	d.h.Write(left)
}

// Sum returns the digest in hex.
func (d RestDigest) Sum() string { return hex.EncodeToString(d.h.Sum(nil)) }
