package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// page collects events up to a limit and the byte budget of a page. Payloads
// in blobs are fetched once no transaction is open.
type page struct {
	events []Event
	blobs  map[int]blobRef // by index in events
	limit  int
	bytes  int
	actors []string // of the events, up to maxActors: most have one of a few
}

// maxPageEvents bounds what is set aside for the events of a page before they are read.
const maxPageEvents = 16384

// full reports whether an event of n payload bytes must wait for the next page.
func (p *page) full(n uint64) bool {
	return len(p.events) >= p.limit || len(p.events) > 0 && uint64(p.bytes)+n > PageBytes
}

// add appends the record at seq, whose payload it keeps. It returns false if
// the page is full.
func (p *page) add(seq Seq, r *record) bool {
	n := uint64(len(r.payload))
	if r.form == payloadBlob {
		n = r.blob.size
	}
	if p.full(n) {
		return false
	}
	e := Event{
		Seq: seq, Run: r.run, Version: r.version, Time: r.time, Kind: r.kind,
		Payload: r.payload, Append: r.append, Salt: r.salt,
	}
	e.Actor = p.actor(r.actor)
	switch r.form {
	case payloadBlob:
		if p.blobs == nil {
			p.blobs = make(map[int]blobRef)
		}
		p.blobs[len(p.events)] = r.blob
	case payloadErased:
		e.Erased, e.Hash = true, r.hash
	}
	p.events = append(p.events, e)
	p.bytes += int(n)
	return true
}

const maxActors = 8

// actor returns a copy of an actor's name, one for all events that have it.
func (p *page) actor(name string) string {
	for _, a := range p.actors {
		if a == name {
			return a
		}
	}
	name = strings.Clone(name)
	if len(p.actors) < maxActors {
		p.actors = append(p.actors, name)
	}
	return name
}

// finish fetches the blobs and returns the page. What was read before damage
// was met is returned without the error: the next page begins at the damage.
func (p *page) finish(b *blobs, err error) ([]Event, error) {
	for _, i := range slices.Sorted(maps.Keys(p.blobs)) {
		e, ref := &p.events[i], p.blobs[i]
		payload, berr := b.load(&ref)
		if berr != nil {
			var c *CorruptError
			if errors.As(berr, &c) {
				c.Seq, c.Run = e.Seq, e.Run
			}
			p.events, err = p.events[:i], berr
			break
		}
		e.Payload = payload
	}
	if err != nil && len(p.events) > 0 {
		return p.events, nil
	}
	return p.events, err
}

// readable returns the segments, unless the DB is closed.
func (d *DB) readable() ([]*segment, error) {
	d.mu.Lock()
	closing := d.closing
	d.mu.Unlock()
	if closing {
		return nil, ErrClosed
	}
	return *d.segs.Load(), nil
}

// Version implements [Log].
func (d *DB) Version(run RunID) (Version, error) {
	segs, err := d.readable()
	if err != nil {
		return 0, err
	}
	i, e, n, err := find(segs, run)
	if err == nil {
		err = d.quarantine.of(run, n, e.at(segs, i, n))
	}
	if err != nil || n == 0 {
		return 0, err
	}
	return e.first + Version(n) - 1, nil
}

// ReadFrom implements [Log].
func (d *DB) ReadFrom(after Seq, limit int) ([]Event, error) {
	// The head is loaded before the segments: those loaded after hold it.
	head := d.Head()
	segs, err := d.readable()
	if err != nil || limit <= 0 {
		return nil, err
	}
	p := page{limit: limit}
	if after < head {
		p.events = make([]Event, 0, min(limit, int(head-after), maxPageEvents))
	}
	for next := after; next < head && err == nil; {
		i := segmentOf(segs, next+1)
		if i < 0 {
			return nil, &CorruptError{File: catalogName, Seq: next + 1, What: "no segment holds the event"}
		}
		last := head
		if i+1 < len(segs) {
			last = min(head, segs[i+1].first-1)
		}
		var more bool
		if more, err = segs[i].readFrom(next+1, last, &p); !more {
			break
		}
		next = last
	}
	return p.finish(&d.blobs, err)
}

// readFrom adds the events from seq to last to p. It returns false if p is full.
func (s *segment) readFrom(seq, last Seq, p *page) (more bool, err error) {
	var rec record
	err = s.view(func(tx storeTx) error {
		c, ok := tx.cursor(bucketChunks)
		if !ok {
			return errors.New("no bucket of chunks")
		}
		k, v := c.Seek(seqKey(seq))
		for ; seq <= last; k, v = c.Next() {
			ck, err := chunkAt(s.ring, k, v, seq)
			if err != nil {
				return err
			}
			// One copy per chunk: its events share it, and what is checked is
			// what is returned.
			ck.body = bytes.Clone(ck.body)
			for i := int(seq - ck.first); i < ck.count && seq <= last; i++ {
				if err := ck.parse(i, &rec); err != nil {
					return err
				}
				if !p.add(seq, &rec) {
					return nil
				}
				seq++
			}
		}
		more = true
		return nil
	})
	if err != nil {
		return false, s.corrupt(seq, RunID{}, "events", err)
	}
	return more, nil
}

// chunkAt parses the chunk under k, which must hold seq.
func chunkAt(ring *crypt.Ring, k, v []byte, seq Seq) (chunk, error) {
	if k == nil {
		return chunk{}, errors.New("the event is missing")
	}
	ck, err := parseChunk(v, ring)
	switch {
	case err != nil:
		return ck, err
	case len(k) != 8 || Seq(binary.BigEndian.Uint64(k)) != ck.last():
		return ck, fmt.Errorf("chunk of the seqs %d to %d under key %x", ck.first, ck.last(), k)
	case seq < ck.first || seq > ck.last():
		return ck, fmt.Errorf("the event is missing: the next chunk begins at %d", ck.first)
	}
	return ck, nil
}

// ReadRun implements [Log].
func (d *DB) ReadRun(run RunID, after Version, limit int) ([]Event, error) {
	segs, err := d.readable()
	if err != nil || limit <= 0 {
		return nil, err
	}
	i, e, n, err := find(segs, run)
	if err != nil {
		return nil, err
	}
	if n == 0 || after >= e.first+Version(n)-1 {
		return nil, d.quarantine.of(run, n, e.at(segs, i, n))
	}
	// Back to the segment where the page begins, then forward from there.
	path := []int{i}
	for e.first > after+1 {
		if e.prev != 0 {
			if j := segmentOf(segs[:i], e.prev); j >= 0 && segs[j].first == e.prev {
				i = j
				e, n, err = segs[i].entry(run, false)
			} else {
				n = 0
			}
		} else {
			i, e, n, err = find(segs[:i], run)
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, &CorruptError{File: segs[path[len(path)-1]].name, Run: run, What: "the run's earlier events are in no segment"}
		}
		path = append(path, i)
	}
	p := page{limit: limit}
	for j := len(path) - 1; j >= 0; j-- {
		var more bool
		if more, err = segs[path[j]].readRun(run, &after, &p); !more || err != nil {
			break
		}
	}
	events, err := p.finish(&d.blobs, err)
	if err == nil {
		err = d.unarchive(events)
	}
	if err != nil {
		return nil, err
	}
	return events, nil
}

// readRun adds the events of run after version *after to p, and moves *after
// to the last of them. It returns false if p is full.
func (s *segment) readRun(run RunID, after *Version, p *page) (more bool, err error) {
	e, n, err := s.entry(run, true)
	if err != nil {
		return false, err
	}
	if n == 0 || e.first > *after+1 {
		return false, s.corrupt(0, run, fmt.Sprintf("the index has no event after version %d", *after), nil)
	}
	var seq Seq
	err = s.view(func(tx storeTx) error {
		c, ok := tx.cursor(bucketChunks)
		if !ok {
			return errors.New("no bucket of chunks")
		}
		var ck chunk
		var rec record
		for *after < e.last() {
			seq = s.first + Seq(e.offs[*after+1-e.first])
			if ck.count == 0 || seq > ck.last() {
				k, v := c.Seek(seqKey(seq))
				if ck, err = chunkAt(s.ring, k, v, seq); err != nil {
					return err
				}
			}
			if err := ck.parse(int(seq-ck.first), &rec); err != nil {
				return err
			}
			if rec.run != run || rec.version != *after+1 {
				return fmt.Errorf("version %d of run %v where the index has version %d", rec.version, rec.run, *after+1)
			}
			rec.payload = bytes.Clone(rec.payload)
			if !p.add(seq, &rec) {
				return nil
			}
			*after++
		}
		more = true
		return nil
	})
	if err != nil {
		return false, s.corrupt(seq, run, "events", err)
	}
	return more, nil
}
