package eventlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// Buckets of a segment, next to m of catalog.go:
//
//	b  seq of the chunk's last event u64be → chunk
//	h  level u8, index u64be → node of the Merkle tree, levels 8 and 16
//	x  run → entry of the run, once the segment is sealed
//
// In m, "commit" is the number of the last commit of events, u64be.
const (
	bucketChunks = "b"
	bucketNodes  = "h"
	bucketIndex  = "x"
)

// segment is one file of the log: the events from first up to the next
// segment's first. The last segment is open, and grows; those before it are
// full, and sealed once their index is on disk.
type segment struct {
	first Seq
	start edge // of the tree before first
	path  string
	name  string // path within the data directory
	ring  *crypt.Ring

	fileMu sync.RWMutex // held shared while file is in use
	file   *store       // nil until it is needed, and after close
	closed bool
	copied bool // path is that of a copy, which nobody else knows
	signed bool // the last commit says which one it is; the writer's alone

	filter  atomic.Pointer[bloom]    // of the runs; nil unless sealed
	pool    atomic.Pointer[filePool] // closes the file when others are read; nil unless sealed
	touched atomic.Uint64            // when it was last read, by the pool's clock

	mu       sync.RWMutex
	runs     map[RunID]*runEntry // durable events by run; nil once sealed
	latest   *runEntry           // of the run whose event was noted last, latestOf; an append's events are neighbours
	latestOf RunID
	last     Seq   // durable; first-1 while the segment is empty
	minTime  int64 // of its events, as maxTime
	maxTime  int64
	used     int64 // bytes of the file in use, roughly
	chunks   int
	isSealed bool
	digested bool // the catalog has the digest of the file, and no other but during a rewrite
}

const logDir = "log"

// segmentName returns the path of a segment within the data directory.
func segmentName(first Seq) string { return filepath.Join(logDir, fmt.Sprintf("%020d.db", first)) }

// parseSegmentName reads what segmentName writes, without the directory.
func parseSegmentName(base string) (Seq, bool) {
	digits, ok := strings.CutSuffix(base, ".db")
	n, err := strconv.ParseUint(digits, 10, 64)
	return Seq(n), ok && err == nil && n > 0 && len(digits) == 20
}

func newSegment(dir string, ring *crypt.Ring, first Seq, start edge) *segment {
	name := segmentName(first)
	return &segment{ring: ring, first: first, start: start, name: name, path: filepath.Join(dir, name), last: first - 1}
}

// view runs fn in a read transaction of the segment's file, which it opens for
// reading if it is not open.
func (s *segment) view(fn func(storeTx) error) error {
	pool := s.pool.Load()
	pool.touch(s)
	s.fileMu.RLock()
	for s.file == nil {
		s.fileMu.RUnlock()
		if err := s.open(true, 0); err != nil {
			return err
		}
		pool.add(s)
		s.fileMu.RLock()
	}
	defer s.fileMu.RUnlock()
	return s.file.view(fn)
}

// open opens the file unless it is open.
func (s *segment) open(readOnly bool, mapSize int) (err error) {
	s.fileMu.Lock()
	defer s.fileMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.file == nil {
		s.file, err = openStore(s.path, s.name, readOnly, mapSize)
	}
	return err
}

func (s *segment) close() (err error) {
	s.fileMu.Lock()
	defer s.fileMu.Unlock()
	s.closed = true
	if s.file != nil {
		err = s.file.close()
		s.file = nil
	}
	if s.copied {
		s.copied = false
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// without reports whether the segment certainly has no event of the run with probes p.
func (s *segment) without(p probes) bool {
	f := s.filter.Load()
	return f != nil && !f.has(p)
}

// entry returns what the segment knows of run, and the number of its events.
// The offsets are left out of a sealed segment's entry unless they are asked for.
func (s *segment) entry(run RunID, offsets bool) (e runEntry, n int, err error) {
	s.mu.RLock()
	if !s.isSealed {
		if p := s.runs[run]; p != nil {
			e, n = *p, len(p.offs) // what lies below len(offs) never changes
		}
		s.mu.RUnlock()
		return e, n, nil
	}
	s.mu.RUnlock()
	pool := s.pool.Load()
	if e, ok := pool.longOf(s, run); ok {
		return e, len(e.offs), nil
	}
	err = s.view(func(tx storeTx) error {
		v := tx.get(bucketIndex, run[:])
		if v == nil {
			return nil
		}
		e, n, err = parseRunEntry(v, run, offsets)
		return err
	})
	if err != nil {
		err = s.corrupt(0, run, "index", err)
	} else if offsets {
		pool.keepLong(s, run, e)
	}
	return e, n, err
}

// corrupt returns err as a CorruptError with all that is known of the place.
func (s *segment) corrupt(seq Seq, run RunID, what string, err error) error {
	switch e := err.(type) {
	case *CorruptError:
		if e.Seq == 0 {
			e.Seq = seq
		}
		if e.Run.IsZero() {
			e.Run = run
		}
		return e
	default:
		if err == ErrClosed || beyondMeans(err) {
			return err
		}
	}
	return &CorruptError{File: s.name, Seq: seq, Run: run, What: what, Err: err}
}

// note adds an event to the index of an unsealed segment. The caller holds mu,
// or is alone.
func (s *segment) note(run RunID, v Version, t int64, seq Seq) error {
	e := s.latest
	if e == nil || s.latestOf != run {
		e = s.runs[run]
	}
	switch {
	case e == nil:
		e = &runEntry{first: v, offs: make([]uint32, 0, 8)}
		s.runs[run] = e
	case v != e.last()+1:
		return fmt.Errorf("version %d follows version %d", v, e.last())
	case t < e.time:
		return fmt.Errorf("time %d follows time %d", t, e.time)
	}
	s.latest, s.latestOf = e, run
	e.time = t
	e.offs = append(e.offs, uint32(seq-s.first))
	if s.last < s.first || t < s.minTime {
		s.minTime = t
	}
	s.maxTime = max(s.maxTime, t)
	s.last = seq
	return nil
}

// scan reads a segment that is not sealed: it verifies every chunk, builds the
// index, and carries e, the edge of the tree before the segment, to its end. With a
// quarantine it goes on after damage, and notes it there.
func (s *segment) scan(e *edge, q *quarantine) error { return s.scanBy(scanner{edge: e, q: q}) }

func (s *segment) scanBy(x scanner) error {
	s.runs, s.latest, s.chunks = make(map[RunID]*runEntry), nil, 0
	s.last, s.minTime, s.maxTime = s.first-1, 0, 0
	x.s, x.at = s, s.first
	e, q := x.edge, x.q
	err := s.view(func(tx storeTx) error {
		if err := checkFormat(s.name, tx.get(bucketMeta, keyFormat)); err != nil {
			return err
		}
		s.used = tx.size()
		c, ok := tx.cursor(bucketChunks)
		if !ok {
			return errors.New("no bucket of chunks")
		}
		x.tx = tx
		if s.signed {
			if err := checkSignature(tx); err != nil {
				return err
			}
		}
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if err := x.chunk(k, v); err != nil {
				return err
			}
		}
		if last := c.last(); last != 0 && last != x.at-1 {
			return fmt.Errorf("the last event is %d, and %d was written last", x.at-1, last)
		}
		if x.at == s.first {
			return nil
		}
		lost := q != nil && len(q.found) > 0
		info, err := parseSegmentInfo(tx.get(bucketMeta, keyStart))
		if err != nil || info.start != s.start {
			err = fmt.Errorf("tree before the segment is not as the catalog has it: %w", err)
			if q == nil {
				return err
			}
			// The catalog's is the one that counts.
			q.found = append(q.found, &CorruptError{File: s.name, Seq: s.first, What: "segment", Err: err})
		}
		if lost {
			return nil // no tree head after the damage has it in it
		}
		if ck := x.last; ck.flags&flagHead == 0 || ck.head.size != uint64(s.last) || e.size != ck.head.size || e.root() != ck.head.root {
			return fmt.Errorf("tree head of the last commit does not match the events")
		}
		if x.all != nil {
			return x.all.end(tx)
		}
		return nil
	})
	if err != nil {
		return s.corrupt(x.at, x.run, "segment", err)
	}
	return nil
}

// hash carries e over the event at seq; rec is nil if that is lost. Where a block
// begins whose node is stored, that node is taken and the block's events are passed
// over.
func (s *segment) hash(tx storeTx, e *edge, seq Seq, rec *record) {
	if uint64(seq) <= e.size {
		return
	}
	if e.size%blockSize == 0 {
		if v := tx.get(bucketNodes, nodeKey(blockLevel, e.size/blockSize)); len(v) == hashLen {
			e.add(blockLevel, [32]byte(v), nil)
			return
		}
	}
	if rec == nil {
		e.add(0, lostLeaf(seq), nil)
		return
	}
	e.add(0, rec.leaf(), nil)
}

// segmentOf returns the index of the segment that seq belongs to, -1 if it is
// before the first.
func segmentOf(segs []*segment, seq Seq) int {
	return sort.Search(len(segs), func(i int) bool { return segs[i].first > seq }) - 1
}

// find returns the newest of segs that has events of run, with its entry; n is
// 0 if there is none.
func find(segs []*segment, run RunID) (i int, e runEntry, n int, err error) {
	p := probesOf(run)
	for i = len(segs) - 1; i >= 0; i-- {
		if segs[i].without(p) {
			continue
		}
		if e, n, err = segs[i].entry(run, false); n > 0 || err != nil {
			return i, e, n, err
		}
	}
	return -1, e, 0, nil
}

// sortedRuns returns the runs of an index in the order of bucket x.
func sortedRuns(m map[RunID]*runEntry) []RunID {
	ids := make([]RunID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b RunID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
