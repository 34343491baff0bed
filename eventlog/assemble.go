package eventlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// Until says which event of a snapshot a log assembled from it ends with. The
// zero Until is the last one.
type Until struct {
	Seq Seq // no event after this one; 0: no bound
	// Time is a moment in Unix nanoseconds: the log ends before the first event
	// that is later; 0: no bound.
	Time int64
}

// passed reports whether an event is one too many.
func (u Until) passed(seq Seq, at int64) bool {
	return u.Seq != 0 && seq > u.Seq || u.Time != 0 && at > u.Time
}

// ErrNoneSoEarly: a log is to end before its first event.
var ErrNoneSoEarly = errors.New("no event of the log is that early")

// Assembled says where an assembled log ends.
type Assembled struct {
	Head Seq
	Root [32]byte
	Time int64 // the latest of any event
}

// PiecesUntil reads the catalog of a snapshot, the content of its first piece,
// and returns a function that says which of the pieces of segments are needed
// for a log that ends at u.
func PiecesUntil(catalog []byte, u Until) (needed func(name string) bool, err error) {
	rows, err := decodeRows(catalog)
	if err != nil {
		return nil, err
	}
	list, err := listedSegments(rows)
	if err != nil {
		return nil, err
	}
	var end Seq // no segment that begins after it
	for _, l := range list {
		if u.Seq != 0 && l.first > u.Seq {
			break
		}
		end = l.first
		if l.info.sealed && u.passed(l.info.last, l.info.maxTime) {
			break
		}
	}
	return func(name string) bool {
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, logDir+"/"), ".")
		first, ok := parseSegmentName(digits + ".db")
		return ok && first <= end
	}, nil
}

// Assemble makes a log in dir, which holds the pieces of a snapshot under their
// names, as far as [PiecesUntil] asks for them, and no log yet. keys open it if it is
// encrypted. Blobs and archives may follow later. The log ends at u, be that between the events of one append.
// Dying here leaves a directory that is of no use. It trusts neither the pieces
// nor, without [Check], that they belong together.
func Assemble(dir string, u Until, keys crypt.Keys) (Assembled, error) {
	lock, err := lockDir(dir, false)
	if err != nil {
		return Assembled{}, err
	}
	a := assembler{dir: dir, until: u}
	if a.ring, _, err = crypt.Load(dir, keys); err == nil {
		err = a.ring.Mend()
	}
	if err == nil {
		err = a.assemble()
	}
	return a.end, errors.Join(err, lock.close(false))
}

type assembler struct {
	dir   string
	ring  *crypt.Ring
	until Until
	end   Assembled
	edge  edge // of the tree, all segments so far included
}

func (a *assembler) assemble() error {
	b, err := os.ReadFile(filepath.Join(a.dir, pieceCatalog))
	if err != nil {
		return err
	}
	rows, err := decodeRows(b)
	if err != nil {
		return err
	}
	list, err := listedSegments(rows)
	if err != nil {
		return err
	}
	if err := makeDir(filepath.Join(a.dir, logDir)); err != nil {
		return err
	}
	kept, err := a.segments(list)
	if err != nil {
		return err
	}
	if a.end.Head == 0 {
		return ErrNoneSoEarly
	}
	if err := a.writeCatalog(rows, kept); err != nil {
		return err
	}
	return a.clear(list)
}

// segments makes the segments up to the end and returns them as the catalog is
// to list them; the last one is open.
func (a *assembler) segments(list []listed) (kept []listed, err error) {
	for i, l := range list {
		if i > 0 && l.info.start != a.edge {
			return nil, &CorruptError{File: pieceCatalog, Seq: l.first, What: "the tree before the segment does not match the events"}
		}
		a.edge = l.info.start
		if u := a.until; l.info.sealed && !u.passed(l.info.last, l.info.maxTime) {
			if i+1 == len(list) {
				return nil, &CorruptError{File: pieceCatalog, Seq: l.info.last + 1, What: "the open segment is not listed"}
			}
			if _, err := os.Stat(filepath.Join(a.dir, segmentName(l.first))); err != nil {
				return nil, err
			}
			kept = append(kept, l)
			a.edge = list[i+1].info.start
			a.end = Assembled{l.info.last, a.edge.root(), max(a.end.Time, l.info.maxTime)}
			continue
		}
		ended, err := a.build(l)
		if err != nil {
			return nil, err
		}
		kept = append(kept, listed{l.first, segmentInfo{start: l.info.start}})
		if ended {
			break
		}
	}
	return kept, nil
}

// build makes a segment of the chunks in its pieces, or in the sealed segment
// that is there, as far as the log goes. It reports whether it ends there.
func (a *assembler) build(l listed) (ended bool, err error) {
	name := segmentName(l.first)
	path := filepath.Join(a.dir, name)
	err = createStore(path+tmpSuffix, name, func(tx storeTx) error {
		return tx.put(bucketMeta, keyFormat, formatValue)
	}, bucketMeta, bucketChunks, bucketNodes, bucketIndex)
	if err != nil {
		return false, err
	}
	out, err := boltOpen(path+tmpSuffix, name, false, DefaultSegmentSize)
	if err != nil {
		return false, err
	}
	w := segmentWriter{out: out, until: a.until, edge: a.edge, time: a.end.Time}
	w.packer.first, w.packer.ring = l.first, a.ring
	switch {
	case a.until.Seq != 0 && l.first > a.until.Seq:
		w.ended = true // it follows a sealed one, and is to be the open one
	case l.info.sealed:
		err = a.rereadSealed(l, &w)
	default:
		err = a.readTail(l.first, &w)
	}
	if err == nil {
		err = w.finish(l)
	}
	if err = errors.Join(err, out.close()); err != nil {
		return false, err
	}
	a.edge = w.edge
	if w.edge.size >= uint64(l.first) {
		a.end = Assembled{Seq(w.edge.size), w.edge.root(), w.time}
	}
	return w.ended, os.Rename(path+tmpSuffix, path)
}

// rereadSealed hands the chunks of a sealed segment to w.
func (a *assembler) rereadSealed(l listed, w *segmentWriter) error {
	s := newSegment(a.dir, a.ring, l.first, l.info.start)
	var bad error
	err := s.eachChunk(l.first, math.MaxInt64, 0, func(_, v []byte) {
		if bad == nil && !w.ended {
			bad = w.chunk(v)
		}
	})
	if err = cmp.Or(bad, err); err != nil {
		err = s.corrupt(Seq(w.edge.size)+1, RunID{}, "events", err)
	}
	return errors.Join(err, s.close())
}

// readTail hands the chunks in the pieces of a tail to w.
func (a *assembler) readTail(first Seq, w *segmentWriter) error {
	tail := filepath.FromSlash(pieceTail(first))
	pieces, err := os.ReadDir(filepath.Join(a.dir, tail))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a segment without events
	}
	if err != nil {
		return err
	}
	for _, p := range pieces {
		name := filepath.Join(tail, p.Name())
		b, err := os.ReadFile(filepath.Join(a.dir, name))
		if err != nil {
			return err
		}
		for len(b) > 0 && !w.ended {
			n, err := chunkLen(b)
			if err == nil {
				err = w.chunk(b[:n])
			}
			if err != nil {
				return &CorruptError{File: name, Seq: Seq(w.edge.size) + 1, What: "events", Err: err}
			}
			b = b[n:]
		}
	}
	return nil
}

// chunkLen returns the length of the chunk that b begins with.
func chunkLen(b []byte) (int, error) {
	if len(b) < chunkFixed {
		return 0, fmt.Errorf("chunk of %d bytes", len(b))
	}
	n := chunkHeader(b) + int(binary.BigEndian.Uint32(b[4:]))
	if n > len(b) {
		return 0, fmt.Errorf("chunk of %d bytes, of which there are %d", n, len(b))
	}
	return n, nil
}

// writeCatalog makes catalog.db of the rows of the snapshot and the segments that
// were kept. What is said of other segments goes.
func (a *assembler) writeCatalog(rows []catalogRow, kept []listed) error {
	if err := createCatalog(a.dir); err != nil {
		return err
	}
	s, err := openCatalog(a.dir, false)
	if err != nil {
		return err
	}
	err = s.update(func(tx storeTx) error {
		for _, r := range rowsOf(rows, kept, a.end.Head) {
			if err := tx.put(r.bucket, r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		_, err = listCatalog(s)
	}
	return errors.Join(err, s.close())
}

// clear removes the pieces that the log was made of, and makes its names durable.
func (a *assembler) clear(list []listed) error {
	for _, l := range list {
		if err := os.RemoveAll(filepath.Join(a.dir, filepath.FromSlash(pieceTail(l.first)))); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(a.dir, pieceCatalog)); err != nil {
		return err
	}
	return cmp.Or(durable.SyncDir(filepath.Join(a.dir, logDir)), durable.SyncDir(a.dir))
}

// segmentTx bounds what one transaction of a segmentWriter writes: bbolt keeps it
// in memory.
const segmentTx = 8 << 20

// segmentWriter writes a segment that is not sealed from chunks. Each chunk that
// it writes ends in the tree head after it, wherever the commits were.
type segmentWriter struct {
	out    *store
	until  Until
	ended  bool // there was an event too many
	edge   edge
	time   int64 // the latest of any event of the log so far
	packer chunkWriter
	chunks []row
	nodes  []row
	bytes  int
}

// chunk takes the next chunk, as it was on disk.
func (w *segmentWriter) chunk(v []byte) error {
	ck, err := parseChunk(v, w.packer.ring)
	if err != nil {
		return err
	}
	if ck.first != Seq(w.edge.size)+1 {
		return fmt.Errorf("the next chunk begins at %d", ck.first)
	}
	var rec record
	for i := range ck.count {
		b, err := ck.record(i)
		if err == nil {
			err = parseRecord(b, &rec)
		}
		if err != nil {
			return err
		}
		if w.until.passed(Seq(w.edge.size)+1, rec.time) {
			w.ended = true
			return nil
		}
		if !w.packer.fits(len(b)) {
			if err := w.flush(segmentTx); err != nil {
				return err
			}
		}
		w.packer.add(b, rec.form == payloadBlob)
		w.time = max(w.time, rec.time)
		w.edge.add(0, rec.leaf(), func(level int, index uint64, h [32]byte) {
			if isStored(level) {
				w.nodes = append(w.nodes, row{nodeKey(level, index), slices.Clone(h[:])})
			}
		})
	}
	return nil
}

// flush ends the chunk, and writes what there is if that is limit bytes or more.
func (w *segmentWriter) flush(limit int) error {
	if len(w.packer.starts) > 0 {
		v := w.packer.finish(make([]byte, 0, w.packer.size()), &treeHead{size: w.edge.size, root: w.edge.root(), time: w.time})
		w.chunks = append(w.chunks, row{seqKey(w.packer.first - 1), v})
		w.bytes += len(v)
	}
	if w.bytes < limit {
		return nil
	}
	sortRows(w.nodes)
	err := w.out.update(func(tx storeTx) error {
		return cmp.Or(tx.putAll(bucketChunks, w.chunks), tx.putAll(bucketNodes, w.nodes), tx.setLast(bucketChunks, Seq(w.edge.size)))
	})
	w.chunks, w.nodes, w.bytes = nil, nil, 0
	return err
}

// finish writes the rest.
func (w *segmentWriter) finish(l listed) error {
	if w.edge.size < uint64(l.first) {
		return nil // no event: its start is written with the first
	}
	if err := w.flush(0); err != nil {
		return err
	}
	info := segmentInfo{start: l.info.start}
	return w.out.update(func(tx storeTx) error { return tx.put(bucketMeta, keyStart, info.bytes()) })
}

// putAll puts rows, which are in the order of their keys.
func (x storeTx) putAll(bucket string, rows []row) error {
	put, err := x.writer(bucket)
	for i := 0; err == nil && i < len(rows); i++ {
		err = put(rows[i].key, rows[i].value)
	}
	return err
}
