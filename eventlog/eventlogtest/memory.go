package eventlogtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/wfd-dev/wfd/eventlog"
)

// Memory is a Log in a slice and a map: the slow twin that stores are compared
// with, and a log for tests that need no disk.
type Memory struct {
	mu     sync.Mutex
	events []eventlog.Event                  // index = seq-1
	runs   map[eventlog.RunID][]eventlog.Seq // index = version-1
	closed bool
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{runs: make(map[eventlog.RunID][]eventlog.Seq)}
}

var (
	_ eventlog.Log  = (*Memory)(nil)
	_ eventlog.Tree = (*Memory)(nil)
)

// Append implements [eventlog.Log]. It never blocks.
func (m *Memory) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	if err := a.Validate(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, eventlog.ErrClosed
	}
	seqs := m.runs[a.Run]
	if at := eventlog.Version(len(seqs)); at != a.Expect {
		return 0, fmt.Errorf("run %v is at version %d, not %d: %w", a.Run, at, a.Expect, eventlog.ErrConflict)
	}
	if n := len(seqs); n > 0 && a.Records[0].Time < m.events[seqs[n-1]-1].Time {
		return 0, fmt.Errorf("%w: time goes back in run %v", eventlog.ErrInvalid, a.Run)
	}
	first := eventlog.Seq(len(m.events) + 1)
	for i, r := range a.Records {
		e := eventlog.Event{
			Seq: first + eventlog.Seq(i), Run: a.Run, Version: a.Expect + eventlog.Version(i+1),
			Time: r.Time, Kind: r.Kind, Actor: r.Actor, Append: a.ID,
			Payload: append(make([]byte, 0, len(r.Payload)), r.Payload...),
		}
		if _, err := rand.Read(e.Salt[:]); err != nil {
			return 0, err
		}
		m.events = append(m.events, e)
		m.runs[a.Run] = append(m.runs[a.Run], e.Seq)
	}
	return first, nil
}

// Erase takes the payloads of the events in spans out, and leaves what left returns.
func (m *Memory) Erase(spans []eventlog.Span, left func(eventlog.Event) ([]byte, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, span := range spans {
		for _, seq := range m.runs[span.Run][span.From-1 : span.To] {
			e := &m.events[seq-1]
			rest, err := left(*e)
			if err != nil {
				return err
			}
			e.Hash, e.Erased, e.Salt, e.Payload = e.PayloadHash(), true, [16]byte{}, rest
		}
	}
	return nil
}

// Version implements [eventlog.Log].
func (m *Memory) Version(run eventlog.RunID) (eventlog.Version, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, eventlog.ErrClosed
	}
	return eventlog.Version(len(m.runs[run])), nil
}

// ReadRun implements [eventlog.Log].
func (m *Memory) ReadRun(run eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, eventlog.ErrClosed
	}
	seqs := m.runs[run]
	if after >= eventlog.Version(len(seqs)) {
		return nil, nil
	}
	var p page
	for _, s := range seqs[after:] {
		if !p.add(m.events[s-1], limit) {
			break
		}
	}
	return p.events, nil
}

// ReadFrom implements [eventlog.Log].
func (m *Memory) ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, eventlog.ErrClosed
	}
	if after >= eventlog.Seq(len(m.events)) {
		return nil, nil
	}
	var p page
	for _, e := range m.events[after:] {
		if !p.add(e, limit) {
			break
		}
	}
	return p.events, nil
}

// page collects events up to a limit and the byte budget of a page.
type page struct {
	events []eventlog.Event
	bytes  int
}

func (p *page) add(e eventlog.Event, limit int) bool {
	if len(p.events) >= limit || len(p.events) > 0 && p.bytes+len(e.Payload) > eventlog.PageBytes {
		return false
	}
	p.bytes += len(e.Payload)
	e.Payload = append(make([]byte, 0, len(e.Payload)), e.Payload...)
	p.events = append(p.events, e)
	return true
}

// Head implements [eventlog.Log].
func (m *Memory) Head() eventlog.Seq {
	m.mu.Lock()
	defer m.mu.Unlock()
	return eventlog.Seq(len(m.events))
}

// Close implements [eventlog.Log].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return eventlog.ErrClosed
	}
	m.closed = true
	return nil
}
