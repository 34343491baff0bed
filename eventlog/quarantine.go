package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// quarantine is what is known of damage in segments that are not sealed. Such a
// segment is scanned when it is opened, since its index is in memory, and so its
// damage is met before anything is appended. The runs concerned are shut off: what is
// left of them is read up to the damage, and nothing is appended to them, since what
// would follow was decided on events that are gone. Everything else goes on.
//
// Damage in a sealed segment needs none of this: its index says which events it has,
// and who reads the damaged one is told.
//
// It does not change once the log is open.
type quarantine struct {
	before []*segment // of the one that is scanned

	found []*CorruptError         // every place, in order
	runs  map[RunID]*CorruptError // which have lost an event
	// unsure, unless nil, is the last place where nobody knows whose events are gone:
	// a run whose last known event is before it may have been among them.
	unsure *CorruptError
	// salvaged are the segments, by name, of which a damaged file is kept.
	salvaged map[string]bool
}

// Damage returns what is damaged in the segments that were open when the log was
// opened with [Options.Quarantine], in the order of the log.
func (d *DB) Damage() []*CorruptError { return slices.Clone(d.quarantine.found) }

// of returns why nothing may be appended to a run that has n events, the last of them
// at seq, and nothing be said of what comes after them; nil if there is no reason. A
// run without events is new, as far as anybody knows.
func (q *quarantine) of(run RunID, n int, last Seq) error {
	if c := q.runs[run]; c != nil {
		return c
	}
	if q.unsure != nil && n > 0 && last < q.unsure.Seq {
		c := *q.unsure
		c.Run = run
		c.What = "the run may have had events there that are lost: " + c.What
		return &c
	}
	return nil
}

// in reports whether there is damage in a segment, or was in the file that it was made of.
func (q *quarantine) in(s *segment) bool {
	return q.salvaged[s.name] || slices.ContainsFunc(q.found, func(c *CorruptError) bool { return c.File == s.name })
}

// quarantined returns why nothing may be appended to a run.
func (d *DB) quarantined(run RunID) error {
	q := &d.quarantine
	if len(q.found) == 0 {
		return nil
	}
	_, err := d.Version(run)
	return err
}

// at returns the seq of the last of n events of a run in segs[i], as far as a
// quarantine has to know it: if the segment is sealed, and so as a whole before or after
// any damage, that of its first event.
func (e *runEntry) at(segs []*segment, i, n int) Seq {
	switch {
	case n == 0:
		return 0
	case len(e.offs) != n:
		return segs[i].first
	}
	return segs[i].first + Seq(e.offs[n-1])
}

// clone returns what is known so far, for when the rest has to be looked at again.
func (q *quarantine) clone() quarantine {
	c := *q
	c.found, c.runs, c.salvaged = slices.Clone(q.found), maps.Clone(q.runs), maps.Clone(q.salvaged)
	return c
}

func (q *quarantine) add(c *CorruptError) {
	q.found = append(q.found, c)
	if c.Run.IsZero() {
		q.unsure = c
		return
	}
	if q.runs == nil {
		q.runs = make(map[RunID]*CorruptError)
	}
	if q.runs[c.Run] == nil {
		q.runs[c.Run] = c
	}
}

// chunk notes that the events from seq to last are gone with their chunk.
func (q *quarantine) chunk(s *segment, seq, last Seq, err error) {
	what := fmt.Sprintf("the events %d to %d are lost", seq, last)
	q.add(&CorruptError{File: s.name, Seq: last, What: what, Err: err})
}

// record notes that the event at seq is not as it was written.
func (q *quarantine) record(s *segment, seq Seq, b []byte, err error) {
	run := ownerOf(b, func(rec *record) bool { return q.fits(s, rec) })
	q.add(&CorruptError{File: s.name, Seq: seq, Run: run, What: "event", Err: err})
}

// ownerOf returns the run of a record whose checksum does not match, zero if that is
// not known. What is in it is believed where it fits: a changed bit elsewhere leaves
// run and version as they were, and they are those that come next.
func ownerOf(b []byte, fits func(*record) bool) RunID {
	if len(b) < crcLen {
		return RunID{}
	}
	again := slices.Clone(b)
	binary.BigEndian.PutUint32(again, checksum(again[crcLen:]))
	var rec record
	if parseRecord(again, &rec) != nil || !fits(&rec) {
		return RunID{}
	}
	return rec.run
}

func (q *quarantine) fits(s *segment, rec *record) bool {
	if e := s.runs[rec.run]; e != nil {
		return rec.version == e.last()+1 || q.runs[rec.run] != nil
	}
	h, err := headIn(q.before, rec.run)
	return err == nil && rec.version == h.version+1
}

// lostLeaf stands in the tree for an event that cannot be read, whose leaf nobody
// knows: the tree goes on, with roots that are other than they would have been.
func lostLeaf(seq Seq) [32]byte {
	b := append([]byte{leafPrefix}, "an event that was lost"...)
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(seq)))
}

// scanner reads the chunks of a segment that is not sealed.
type scanner struct {
	s    *segment
	tx   storeTx
	edge *edge
	q    *quarantine // nil: damage is an error
	at   Seq         // expected next
	run  RunID       // whose event is looked at
	last chunk       // the last one that was read
	all  *proof      // nil: nodes of the tree that are stored are taken as they are
}

// chunk takes one chunk in, and what of it can be read if there is a quarantine.
func (x *scanner) chunk(k, v []byte) error {
	ck, err := parseChunk(v, x.s.ring)
	if err == nil && (len(k) != 8 || Seq(binary.BigEndian.Uint64(k)) != ck.last()) {
		err = fmt.Errorf("chunk of the seqs %d to %d under key %x", ck.first, ck.last(), k)
	}
	switch {
	case errors.Is(err, crypt.ErrNoDataKey):
		return err // nothing is lost with it: it is to be found
	case err == nil && ck.first == x.at:
	case x.q == nil && err == nil:
		return fmt.Errorf("the next chunk begins at %d", ck.first)
	case x.q == nil || len(k) != 8:
		return err
	case err != nil:
		return x.lost(Seq(binary.BigEndian.Uint64(k)), err)
	case ck.first < x.at:
		return fmt.Errorf("a chunk of the seqs %d to %d again", ck.first, ck.last())
	default:
		if err := x.lost(ck.first-1, errors.New("they are missing")); err != nil {
			return err
		}
	}
	var rec record
	for i := range ck.count {
		if err := ck.parse(i, &rec); err != nil {
			if x.q == nil {
				return err
			}
			x.q.record(x.s, x.at, ck.hint(i), err)
			x.pass(nil)
			continue
		}
		x.run = rec.run
		if x.q != nil && len(x.q.found) > 0 && x.s.runs[rec.run] == nil && !x.q.fits(x.s, &rec) {
			x.q.add(&CorruptError{File: x.s.name, Seq: x.at, Run: rec.run, What: "an event before this one is lost"})
		}
		if err := x.s.note(rec.run, rec.version, rec.time, x.at); err != nil {
			if x.q == nil {
				return err
			}
			x.q.add(&CorruptError{File: x.s.name, Seq: x.at, Run: rec.run, What: "an event before this one is lost", Err: err})
		}
		x.pass(&rec)
	}
	x.s.chunks++
	x.last = ck
	return nil
}

// pass goes on after the event at x.at; rec is nil if that is lost.
func (x *scanner) pass(rec *record) {
	if x.all != nil {
		x.edge.add(0, rec.leaf(), func(level int, index uint64, h [32]byte) { x.all.node(x.tx, level, index, h) })
	} else {
		x.s.hash(x.tx, x.edge, x.at, rec)
	}
	x.s.last = x.at
	x.at, x.run = x.at+1, RunID{}
}

// lost passes over the events up to last.
func (x *scanner) lost(last Seq, err error) error {
	if last < x.at || uint64(last-x.at) > maxBatchEvents {
		return err // no key that was ever written
	}
	x.q.chunk(x.s, x.at, last, err)
	for x.at <= last {
		x.pass(nil)
	}
	return nil
}
