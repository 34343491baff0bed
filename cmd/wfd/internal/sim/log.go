package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/eventlog"
)

// log is a model of eventlog.DB on a virtual disk: appends collect in a batch,
// checked against what is durable and what is enqueued, and a batch is one commit.
type log struct {
	disk    *disk
	frames  []frame
	events  []eventlog.Event // of the frames; those from head on are not known to be there
	head    int
	runs    map[eventlog.RunID][]eventlog.Seq // up to head
	batch   []*pending
	heads   map[eventlog.RunID]eventlog.Version // of runs with enqueued appends
	stopped bool                                // after an unknown outcome
}

// frame is one commit: its place on the disk, and how many events there are with it.
type frame struct{ start, end, events int }

// pending is an append that waits for its commit.
type pending struct {
	eventlog.Append
	grants []*ledger.Hold // that were made for it
	done   func(eventlog.Seq, error)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const frameHeader = 8 // length and CRC-32C of what follows

// openLog reads what a disk has of what the process before has written. What a crash
// left of a commit that nobody was told of is dropped; damage anywhere else is an error.
func openLog(d *disk, before *log) (*log, error) {
	l := &log{disk: d, runs: map[eventlog.RunID][]eventlog.Seq{}, heads: map[eventlog.RunID]eventlog.Version{}}
	if before == nil {
		return l, nil
	}
	n := 0
	for n < len(before.frames) && d.whole(before.frames[n]) {
		n++
	}
	for _, f := range before.frames[n:] {
		if d.whole(f) {
			return nil, fmt.Errorf("a commit is there, at byte %d, and one before it is not", f.start)
		}
	}
	l.frames = before.frames[:n]
	if n < len(before.frames) {
		d.drop(before.frames[n].start)
	}
	if n > 0 {
		l.events = before.events[:l.frames[n-1].events]
	}
	l.publish()
	return l, nil
}

// whole reports whether a commit is as it was written.
func (d *disk) whole(f frame) bool {
	if f.end > len(d.data) {
		return false
	}
	b := d.data[f.start:f.end]
	return int(binary.LittleEndian.Uint32(b)) == len(b)-frameHeader &&
		binary.LittleEndian.Uint32(b[4:]) == crc32.Checksum(b[frameHeader:], castagnoli)
}

// enqueue adds an append to the open batch if its run is where it expects it.
func (l *log) enqueue(p *pending) error {
	if l.stopped {
		return eventlog.ErrStopped
	}
	at, enqueued := l.heads[p.Run]
	if !enqueued {
		at = eventlog.Version(len(l.runs[p.Run]))
	}
	if at != p.Expect {
		return fmt.Errorf("run %s is at version %d, not %d: %w", p.Run, at, p.Expect, eventlog.ErrConflict)
	}
	if err := p.Validate(); err != nil {
		return err
	}
	l.batch = append(l.batch, p)
	l.heads[p.Run] = p.Expect + eventlog.Version(len(p.Records))
	return nil
}

// take takes the open batch.
func (l *log) take() []*pending {
	b := l.batch
	l.batch = nil
	clear(l.heads)
	return b
}

// bytes are a batch as a frame.
func (l *log) bytes(batch []*pending) []byte {
	b := make([]byte, frameHeader, 1024)
	for _, p := range batch {
		b = append(b, p.Run[:]...)
		b = binary.AppendUvarint(b, uint64(p.Expect))
		for _, r := range p.Records {
			b = binary.AppendUvarint(b, uint64(r.Kind))
			b = binary.AppendVarint(b, r.Time)
			b = binary.AppendUvarint(b, uint64(len(r.Actor)))
			b = append(b, r.Actor...)
			b = binary.AppendUvarint(b, uint64(len(r.Payload)))
			b = append(b, r.Payload...)
		}
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-frameHeader))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[frameHeader:], castagnoli))
	return b
}

// begin notes that a batch is about to be written, and returns its bytes.
func (l *log) begin(batch []*pending) []byte {
	b := l.bytes(batch)
	for _, p := range batch {
		for i, r := range p.Records {
			l.events = append(l.events, eventlog.Event{
				Seq: eventlog.Seq(len(l.events) + 1), Run: p.Run, Version: p.Expect + eventlog.Version(i+1),
				Time: r.Time, Kind: r.Kind, Actor: r.Actor, Payload: r.Payload, Append: p.ID,
			})
		}
	}
	start := len(l.disk.data)
	l.frames = append(l.frames, frame{start, start + len(b), len(l.events)})
	return b
}

// undo takes back a batch of which nothing was written.
func (l *log) undo() {
	l.frames = l.frames[:len(l.frames)-1]
	l.events = l.events[:l.head]
}

// publish makes all events visible to readers.
func (l *log) publish() {
	for _, e := range l.events[l.head:] {
		l.runs[e.Run] = append(l.runs[e.Run], e.Seq)
	}
	l.head = len(l.events)
}

// Append, ReadRun and the others make a log an eventlog.Log, for those who read.
func (l *log) Append(context.Context, eventlog.Append) (eventlog.Seq, error) {
	return 0, eventlog.ErrReadOnly
}

// Version implements eventlog.Log.
func (l *log) Version(id eventlog.RunID) (eventlog.Version, error) {
	return eventlog.Version(len(l.runs[id])), nil
}

// ReadRun implements eventlog.Log.
func (l *log) ReadRun(id eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	seqs := l.runs[id]
	if int(after) >= len(seqs) {
		return nil, nil
	}
	seqs = seqs[after:]
	page := make([]eventlog.Event, 0, min(limit, len(seqs)))
	for _, s := range seqs[:cap(page)] {
		page = append(page, l.events[s-1])
	}
	return page, nil
}

// ReadFrom implements eventlog.Log.
func (l *log) ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error) {
	if int(after) >= l.head {
		return nil, nil
	}
	return l.events[after:min(l.head, int(after)+limit)], nil
}

// Head implements eventlog.Log.
func (l *log) Head() eventlog.Seq { return eventlog.Seq(l.head) }

// Close implements eventlog.Log.
func (l *log) Close() error { return nil }
