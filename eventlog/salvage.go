package eventlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/boltfile"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// An open segment whose file cannot be walked any more, or not to its end, still has its
// chunks, each with its seqs and checksums. They are put into a new file of its name, and the
// damaged file is kept beside it, as long as somebody wants it: under
// <first seq>.<last seq found>.damaged. While it is there, what came after that last
// seq is taken for lost: no run that existed then goes on.

const damagedSuffix = ".damaged"

// salvage makes a new file of what can be read of the segment's.
func (d *DB) salvage(s *segment, cause *CorruptError) error {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return cause
	}
	found := chunksIn(b, d.ring)
	if len(found) == 0 {
		return cause
	}
	last := found[len(found)-1].last()
	tmp := filepath.Join(d.dir, logDir, "salvage"+tmpSuffix)
	err = createStore(tmp, logDir+"/salvage"+tmpSuffix, func(tx storeTx) error { return fillSalvaged(tx, s, found) },
		bucketMeta, bucketChunks, bucketNodes, bucketIndex)
	if err != nil {
		return err
	}
	kept := filepath.Join(d.dir, logDir, fmt.Sprintf("%020d.%020d%s", s.first, last, damagedSuffix))
	if err := os.Link(s.path, kept); err != nil && !(errors.Is(err, fs.ErrExist) && sameFile(s.path, kept)) {
		return errors.Join(cause, err)
	}
	// Dying here leaves the damaged file under both names, and is done again.
	if err := durable.SyncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	// What is said of the damaged file does not hold for the new one.
	if err := os.Remove(syncedPath(d.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return err
	}
	d.log.Error("a damaged segment was written anew from what can be read of it; the damaged file is kept", "file", s.name, "kept", filepath.Base(kept), "until_seq", last, "error", cause)
	return durable.SyncDir(filepath.Dir(s.path))
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// salvaged notes in the quarantine that a segment was written anew. It is not sealed as
// long as the damaged file is kept: that is known to those who scan it.
func (d *DB) salvaged(s *segment) error {
	kept, err := damagedFiles(d.dir, s.first)
	for _, k := range kept {
		d.quarantine.add(k.damage(s.name))
		if d.quarantine.salvaged == nil {
			d.quarantine.salvaged = map[string]bool{}
		}
		d.quarantine.salvaged[s.name] = true
	}
	return err
}

func (k damagedFile) damage(segment string) *CorruptError {
	return &CorruptError{
		File: k.name, Seq: k.last + 1,
		What: fmt.Sprintf("the file was damaged, and %s is what could be read of it: events after %d may be lost", segment, k.last),
	}
}

type damagedFile struct {
	name string // path within the data directory
	last Seq    // what was found in it
}

// damagedFiles lists the files that were kept of a segment.
func damagedFiles(dir string, first Seq) (kept []damagedFile, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, logDir))
	for _, e := range entries {
		rest, ok := strings.CutSuffix(e.Name(), damagedSuffix)
		digits, last, two := strings.Cut(rest, ".")
		f, isFirst := parseSegmentName(digits + ".db")
		l, isLast := parseSegmentName(last + ".db")
		if ok && two && isFirst && isLast && f == first {
			kept = append(kept, damagedFile{filepath.Join(logDir, e.Name()), l})
		}
	}
	return kept, err
}

// salvagedChunk is a chunk and its bytes.
type salvagedChunk struct {
	chunk
	raw []byte
}

// chunksIn returns the chunks in a file, in order. Where two that differ claim the
// same seqs, one was never committed, and nobody knows which: both are left out.
func chunksIn(b []byte, ring *crypt.Ring) []salvagedChunk {
	var all []salvagedChunk
	boltfile.Values(b, pageSize, func(key, value []byte) {
		ck, err := parseChunk(value, ring)
		if err != nil || len(key) != 8 || Seq(binary.BigEndian.Uint64(key)) != ck.last() {
			return
		}
		var rec record
		for i := range ck.count {
			if ck.parse(i, &rec) == nil {
				all = append(all, salvagedChunk{ck, value}) // something of it is as it was
				return
			}
		}
	})
	slices.SortStableFunc(all, func(a, b salvagedChunk) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last(), b.last()), bytes.Compare(a.raw, b.raw))
	})
	all = slices.CompactFunc(all, func(a, b salvagedChunk) bool { return bytes.Equal(a.raw, b.raw) })
	var sound []salvagedChunk
	for i := 0; i < len(all); {
		j, end := i+1, all[i].last()
		for j < len(all) && all[j].first <= end {
			end = max(end, all[j].last())
			j++
		}
		if j == i+1 {
			sound = append(sound, all[i])
		}
		i = j
	}
	return sound
}

// fillSalvaged writes what a segment is made of.
func fillSalvaged(tx storeTx, s *segment, chunks []salvagedChunk) error {
	if err := tx.put(bucketMeta, keyFormat, formatValue); err != nil {
		return err
	}
	info := segmentInfo{start: s.start}
	if err := tx.put(bucketMeta, keyStart, info.bytes()); err != nil {
		return err
	}
	put, err := tx.writer(bucketChunks)
	if err != nil {
		return err
	}
	e := s.start
	var nodes []row
	add := func(leaf [32]byte) {
		e.add(0, leaf, func(level int, index uint64, h [32]byte) {
			if isStored(level) {
				nodes = append(nodes, row{nodeKey(level, index), bytes.Clone(h[:])})
			}
		})
	}
	at := s.first
	for _, c := range chunks {
		if c.first < at {
			continue // of a segment before
		}
		for ; at < c.first; at++ {
			add(lostLeaf(at))
		}
		var rec record
		for i := range c.count {
			if c.parse(i, &rec) == nil {
				add(rec.leaf())
			} else {
				add(lostLeaf(at))
			}
			at++
		}
		if err := put(seqKey(c.last()), c.raw); err != nil {
			return err
		}
	}
	sortRows(nodes)
	return cmp.Or(tx.putAll(bucketNodes, nodes), tx.setLast(bucketChunks, at-1))
}
