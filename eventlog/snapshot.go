package eventlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// A Snapshot is the log as it was after one commit, in pieces that can be copied
// while the log goes on. It holds no transaction, and memory in proportion to the
// catalog and to the number of blobs. [Assemble] makes a log of the pieces.
//
// A sealed segment is a piece as it is. What is not sealed would change under
// the copy, so its chunks are handed out instead, as many as the head has: they
// are read in short transactions, and verified.
type Snapshot struct {
	d    *DB
	head treeHead
	rows []catalogRow
	list []listed
}

// Piece is a file of a snapshot.
type Piece struct {
	Name string // path within the data directory, by a slash
	Size int64
	Sum  *[32]byte // SHA-256, if it is known without reading
	Open func() (io.ReadCloser, error)
}

// Names of pieces. Those of tails are pieceTail of the segment, then the seq
// that they begin with.
const pieceCatalog = "catalog"

func pieceTail(first Seq) string { return fmt.Sprintf("%s/%020d.tail", logDir, first) }

// tailPiece is how large a piece of a tail gets. Where one ends depends on the
// chunks alone, so that a later snapshot has the same pieces and some more.
const tailPiece = 4 << 20

// Snapshot begins a snapshot of the events up to size, which must be the size of
// the tree after a commit, as [DB.TreeHead] returned it together with root. Until
// it is closed no payload is erased: files would be replaced under the copy.
func (d *DB) Snapshot(size uint64, root [32]byte) (_ *Snapshot, err error) {
	d.erasing.RLock()
	defer func() {
		if err != nil {
			d.erasing.RUnlock()
		}
	}()
	if _, err := d.readable(); err != nil {
		return nil, err
	}
	if size == 0 || size > uint64(d.Head()) {
		return nil, fmt.Errorf("no snapshot of %d events: the log has %d", size, d.Head())
	}
	sn := &Snapshot{d: d, head: treeHead{size: size, root: root}}
	err = d.catalog.view(func(tx storeTx) (err error) {
		sn.rows, err = tx.rows()
		return err
	})
	if err != nil {
		return nil, err
	}
	list, err := listedSegments(sn.rows)
	if err != nil {
		return nil, err
	}
	// The catalog may be of a later moment than the head.
	for _, l := range list {
		if l.first > Seq(size)+1 {
			break
		}
		if l.info.last > Seq(size) {
			l.info = segmentInfo{start: l.info.start}
		}
		sn.list = append(sn.list, l)
	}
	sn.rows = rowsOf(sn.rows, sn.list, Seq(size))
	return sn, nil
}

// Close ends the snapshot.
func (sn *Snapshot) Close() { sn.d.erasing.RUnlock() }

// Each hands out the pieces: the catalog, the data keys of a log that is encrypted, the
// segments in order, the blobs, the archives. What it finds to be damaged is a [*CorruptError].
func (sn *Snapshot) Each(fn func(Piece) error) error {
	if err := fn(memoryPiece(pieceCatalog, encodeRows(sn.rows))); err != nil {
		return err
	}
	if sn.d.ring.Encrypted() {
		if err := sn.file(crypt.File, filepath.Join(sn.d.dir, crypt.File), nil, fn); err != nil {
			return err
		}
	}
	segs, err := sn.d.readable()
	if err != nil {
		return err
	}
	head, digests := Seq(sn.head.size), digestsIn(sn.rows)
	for n, e := range sn.list {
		if e.first > head {
			break // without events
		}
		i := segmentOf(segs, e.first)
		if i < 0 || segs[i].first != e.first {
			return &CorruptError{File: catalogName, Seq: e.first, What: "the segment is not open"}
		}
		s := segs[i]
		if e.info.sealed {
			err = sn.file(s.name, s.path, digests[e.first], fn)
		} else {
			end := sn.head
			if n+1 < len(sn.list) && sn.list[n+1].first <= head {
				next := sn.list[n+1].info.start
				end.size, end.root = next.size, next.root()
			}
			err = sn.tail(s, e.info.start, end, fn)
		}
		if err != nil {
			return err
		}
	}
	if err := sn.payloads(fn); err != nil {
		return err
	}
	return sn.archives(fn)
}

// digestsIn returns what the catalog says of the files of sealed segments, as far as
// it says one thing.
func digestsIn(rows []catalogRow) map[Seq]*[32]byte {
	digests := make(map[Seq]*[32]byte)
	for _, r := range rows {
		if r.bucket != bucketDigests || len(r.key) != 8 {
			continue
		}
		if row, err := parseDigestRow(r.value); err == nil && row.next == (fileDigest{}) {
			digests[Seq(binary.BigEndian.Uint64(r.key))] = &row.now.sum
		}
	}
	return digests
}

// payloads hands out the blobs that events up to the head refer to.
func (sn *Snapshot) payloads(fn func(Piece) error) error {
	refs := make(map[string]bool)
	if err := sn.d.references(refs, 1, Seq(sn.head.size)); err != nil {
		return err
	}
	encrypted := sn.d.ring.Encrypted()
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		path := filepath.Join(sn.d.dir, name)
		var sum *[32]byte
		if !encrypted {
			sum = new([32]byte)
			if _, err := hex.Decode(sum[:], []byte(filepath.Base(name))); err != nil {
				return err
			}
		} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue // it has its other name, or is missing, as a check says
		}
		if err := sn.file(name, path, sum, fn); err != nil {
			return err
		}
	}
	return nil
}

// archives hands out the files of archives/ that are complete.
func (sn *Snapshot) archives(fn func(Piece) error) error {
	entries, err := os.ReadDir(filepath.Join(sn.d.dir, archiveDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		var sum *[32]byte
		if id, ok := parseArchiveName(e.Name()); ok {
			sum = (*[32]byte)(&id)
		}
		name := filepath.Join(archiveDir, e.Name())
		if err := sn.file(name, filepath.Join(sn.d.dir, name), sum, fn); err != nil {
			return err
		}
	}
	return nil
}

// file hands out a file that nobody changes.
func (sn *Snapshot) file(name, path string, sum *[32]byte, fn func(Piece) error) error {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return &CorruptError{File: name, What: "the file cannot be read", Err: err}
	}
	return fn(Piece{Name: filepath.ToSlash(name), Size: st.Size(), Sum: sum, Open: func() (io.ReadCloser, error) { return os.Open(path) }})
}

func memoryPiece(name string, b []byte) Piece {
	return Piece{Name: name, Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// tail hands out the chunks of a segment up to end, where the tree must be as
// end says. before is the tree before the segment.
func (sn *Snapshot) tail(s *segment, before edge, end treeHead, fn func(Piece) error) error {
	t := tailReader{s: s, edge: before, first: s.first, emit: fn}
	err := s.eachChunk(s.first, Seq(end.size), 0, t.chunk)
	if err = cmp.Or(t.err, err); err != nil {
		return err
	}
	if t.edge.size != end.size || t.edge.root() != end.root {
		return s.corrupt(Seq(t.edge.size)+1, RunID{}, fmt.Sprintf("the events do not lead to the tree head of %d events", end.size), nil)
	}
	return t.flush()
}

// tailReader verifies the chunks of a segment and joins them to pieces.
type tailReader struct {
	s     *segment
	edge  edge
	first Seq // of piece
	piece []byte
	emit  func(Piece) error
	err   error // nothing is done after it
}

// chunk takes the next chunk. It is called outside of any transaction.
func (t *tailReader) chunk(key, v []byte) {
	if t.err == nil && len(t.piece) > 0 && len(t.piece)+len(v) > tailPiece {
		t.err = t.flush()
	}
	if t.err != nil {
		return
	}
	var rec record
	seq := Seq(t.edge.size) + 1
	ck, err := chunkAt(t.s.ring, key, v, seq)
	for i := 0; err == nil && i < ck.count; i++ {
		if err = ck.parse(i, &rec); err == nil {
			t.edge.add(0, rec.leaf(), nil)
			seq++
		}
	}
	if err != nil {
		t.err = t.s.corrupt(seq, RunID{}, "events", err)
	}
	t.piece = append(t.piece, v...)
}

func (t *tailReader) flush() error {
	if len(t.piece) == 0 {
		return nil
	}
	p := memoryPiece(fmt.Sprintf("%s/%020d", pieceTail(t.s.first), t.first), t.piece)
	t.piece, t.first = nil, Seq(t.edge.size)+1
	return t.emit(p)
}

// catalogRow is a row of the catalog, as it is on disk.
type catalogRow struct {
	bucket     string
	key, value []byte
}

// bucketsBySegment are the buckets of the catalog with a row for each segment.
var bucketsBySegment = []string{bucketSegments, bucketFilters, bucketDigests}

// rowsOf returns the rows of a catalog that has the segments of list and no others,
// for a log that ends at head.
func rowsOf(rows []catalogRow, list []listed, head Seq) (of []catalogRow) {
	sealed := make(map[Seq]bool)
	for _, l := range list {
		sealed[l.first] = l.info.sealed
	}
	for _, r := range rows {
		if r.bucket == bucketMeta && string(r.key) == string(keySettled) && len(r.value) == 8 {
			// An erasure that is ordered where the log ends now comes anew.
			r.value = seqKey(min(head, Seq(binary.BigEndian.Uint64(r.value))))
		}
		bySegment := slices.Contains(bucketsBySegment, r.bucket)
		if !bySegment || r.bucket != bucketSegments && len(r.key) == 8 && sealed[Seq(binary.BigEndian.Uint64(r.key))] {
			of = append(of, r)
		}
	}
	for _, l := range list {
		of = append(of, catalogRow{bucketSegments, seqKey(l.first), l.info.bytes()})
	}
	return of
}

// encodeRows writes rows one after the other: bucket, key and value, each behind
// its length as a varint.
func encodeRows(rows []catalogRow) (b []byte) {
	for _, r := range rows {
		for _, part := range [][]byte{[]byte(r.bucket), r.key, r.value} {
			b = binary.AppendUvarint(b, uint64(len(part)))
			b = append(b, part...)
		}
	}
	return b
}

// decodeRows is the inverse of encodeRows. The rows share the memory of b.
func decodeRows(b []byte) (rows []catalogRow, err error) {
	for len(b) > 0 {
		var parts [3][]byte
		for i := range parts {
			n, w := binary.Uvarint(b)
			if w <= 0 || n > uint64(len(b)-w) {
				return nil, &CorruptError{File: pieceCatalog, What: "the rows end early"}
			}
			parts[i], b = b[w:w+int(n):w+int(n)], b[w+int(n):]
		}
		rows = append(rows, catalogRow{string(parts[0]), parts[1], parts[2]})
	}
	return rows, nil
}

// listed is a segment as rows of the catalog list it.
type listed struct {
	first Seq
	info  segmentInfo
}

// listedSegments returns the segments in rows, in order.
func listedSegments(rows []catalogRow) (list []listed, err error) {
	for _, r := range rows {
		if r.bucket != bucketSegments {
			continue
		}
		if len(r.key) != 8 {
			return nil, &CorruptError{File: catalogName, What: "table of segments", Err: errEncoding}
		}
		l := listed{first: Seq(binary.BigEndian.Uint64(r.key))}
		if l.info, err = parseSegmentInfo(r.value); err == nil && l.info.start.size != uint64(l.first)-1 {
			err = errEncoding
		}
		if err != nil {
			return nil, &CorruptError{File: catalogName, Seq: l.first, What: "table of segments", Err: err}
		}
		list = append(list, l)
	}
	return list, nil
}

// References returns the paths, by slashes, of the blobs that the events of the
// log in dir refer to, by all the names that they may have.
func References(dir string, keys crypt.Keys) (names []string, err error) {
	d, err := Open(dir, Options{ReadOnly: true, Keys: keys})
	if err != nil {
		return nil, err
	}
	refs := make(map[string]bool)
	err = d.references(refs, 1, d.Head())
	for name := range refs {
		names = append(names, filepath.ToSlash(name))
	}
	return names, errors.Join(err, d.Close())
}
