package eventlog

import (
	"encoding/binary"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// A chunk is what bucket b of a segment holds under the seq of the chunk's
// last event: the records of one commit, or a part of them. All numbers are
// big-endian.
//
//	 0  version u8 = 1
//	 1  codec u8: 0 = the body is as it is, 1 = each record in it is sealed
//	 2  flags u8: 1 = a tree head follows (the last chunk of a commit), 2 = a record refers to a blob
//	 3  zero
//	 4  length of the body u32
//	 8  seq of the first record u64
//	16  number of records u16
//	18  zero u16
//	20  CRC-32C u32 of bytes 0-19 and of everything from 24 to the body
//	24  with flag 1: tree size u64, root 32 bytes, commit time i64
//	 .  with codec 1: header of the series that the records are sealed in, 28 bytes
//	 .  start of each record in the body, u16 each
//	 .  the body: the records, each behind its own CRC, sealed with codec 1
//
// The checksum of the header makes the place of a record as certain as its
// own checksum makes its bytes. This format is frozen.
const (
	chunkVersion = 1
	codecNone    = 0
	codecSealed  = 1

	flagHead  = 1
	flagBlobs = 2

	chunkFixed = 24
	headLen    = 8 + hashLen + 8

	// chunkMax is the size of a chunk with more than one record. bbolt keeps
	// at least two values in a leaf: two of this size fill four pages of 4096
	// bytes, with 16 bytes of page header and twice 24 of element and key.
	chunkMax = (4*4096 - 16 - 2*24) / 2
)

// treeHead is what the log was after a commit.
type treeHead struct {
	size uint64
	root [32]byte
	time int64 // of the commit: the latest time of the log's events
}

func (h *treeHead) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, h.size)
	b = append(b, h.root[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(h.time))
}

func parseTreeHead(b []byte) (h treeHead) {
	h.size = binary.BigEndian.Uint64(b)
	copy(h.root[:], b[8:])
	h.time = int64(binary.BigEndian.Uint64(b[8+hashLen:]))
	return h
}

// chunkWriter packs records into chunks.
type chunkWriter struct {
	ring   *crypt.Ring
	series *crypt.Series // of the chunk; nil: its records are not sealed
	first  Seq
	flags  byte
	starts []uint16
	body   []byte
}

// fits reports whether a record of n bytes can join the chunk.
func (w *chunkWriter) fits(n int) bool {
	if w.series != nil {
		n += crypt.SeriesOverhead
	}
	return len(w.starts) == 0 || w.size()+2+n <= chunkMax
}

// size bounds what finish appends.
func (w *chunkWriter) size() int {
	n := chunkFixed + headLen + 2*len(w.starts) + len(w.body)
	if w.series != nil {
		n += crypt.HeaderSize
	}
	return n
}

func (w *chunkWriter) add(rec []byte, blob bool) {
	if blob {
		w.flags |= flagBlobs
	}
	n := len(w.starts)
	if n == 0 {
		w.series = w.ring.Series()
	}
	w.starts = append(w.starts, uint16(len(w.body)))
	if w.series == nil {
		w.body = append(w.body, rec...)
		return
	}
	w.body = w.series.Seal(w.body, uint32(n), recordPlace(w.first+Seq(n)), rec)
}

// recordPlace is what a record is sealed for: it opens as the event with this seq and
// as nothing else.
func recordPlace(seq Seq) []byte { return binary.BigEndian.AppendUint64([]byte("event "), uint64(seq)) }

// finish appends the chunk to b, with the tree head if there is one, and
// starts the next one.
func (w *chunkWriter) finish(b []byte, head *treeHead) []byte {
	start := len(b)
	if head != nil {
		w.flags |= flagHead
	}
	codec := byte(codecNone)
	if w.series != nil {
		codec = codecSealed
	}
	b = append(b, chunkVersion, codec, w.flags, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(w.body)))
	b = binary.BigEndian.AppendUint64(b, uint64(w.first))
	b = binary.BigEndian.AppendUint16(b, uint16(len(w.starts)))
	b = append(b, 0, 0, 0, 0, 0, 0)
	if head != nil {
		b = head.appendTo(b)
	}
	if w.series != nil {
		b = append(b, w.series.Header[:]...)
	}
	for _, s := range w.starts {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	binary.BigEndian.PutUint32(b[start+20:], headerSum(b[start:]))
	b = append(b, w.body...)
	w.first += Seq(len(w.starts))
	w.flags, w.starts, w.body, w.series = 0, w.starts[:0], w.body[:0], nil
	return b
}

func headerSum(h []byte) uint32 {
	return checksumUpdate(checksum(h[:20]), h[chunkFixed:])
}

// chunk is a parsed chunk; it aliases the bytes it was parsed from.
type chunk struct {
	first  Seq
	count  int
	flags  byte
	head   treeHead // with flagHead
	starts []byte
	body   []byte
	series *crypt.Series // with codec 1
}

// last returns the seq of the chunk's last record.
func (c *chunk) last() Seq { return c.first + Seq(c.count) - 1 }

// seriesAt returns where the header of the series is in a chunk with codec 1.
func seriesAt(b []byte) int {
	if b[2]&flagHead != 0 {
		return chunkFixed + headLen
	}
	return chunkFixed
}

// chunkHeader returns how long the header of a chunk is.
func chunkHeader(b []byte) int {
	n := seriesAt(b) + 2*int(binary.BigEndian.Uint16(b[16:]))
	if b[1] == codecSealed {
		n += crypt.HeaderSize
	}
	return n
}

// parseChunk checks everything about a chunk but its records. If they are sealed, ring
// has what opens them.
func parseChunk(b []byte, ring *crypt.Ring) (c chunk, err error) {
	if len(b) < chunkFixed {
		return c, fmt.Errorf("chunk of %d bytes", len(b))
	}
	c.flags = b[2]
	c.count = int(binary.BigEndian.Uint16(b[16:]))
	c.first = Seq(binary.BigEndian.Uint64(b[8:]))
	bodyLen := int(binary.BigEndian.Uint32(b[4:]))
	n := chunkHeader(b)
	if n > len(b) {
		return c, fmt.Errorf("chunk of %d bytes with a header of %d", len(b), n)
	}
	if binary.BigEndian.Uint32(b[20:]) != headerSum(b[:n]) {
		return c, fmt.Errorf("header of the chunk: %w", errChecksum)
	}
	if b[0] != chunkVersion || b[1] > codecSealed || c.flags&^(flagHead|flagBlobs) != 0 {
		return c, fmt.Errorf("chunk version %d, codec %d, flags %#x: %w", b[0], b[1], c.flags, ErrFormat)
	}
	if c.flags&flagHead != 0 {
		c.head = parseTreeHead(b[chunkFixed:])
	}
	c.starts, c.body = b[n-2*c.count:n], b[n:]
	if b[1] == codecSealed {
		if c.series, err = ring.Opened(b[seriesAt(b):]); err != nil {
			return c, fmt.Errorf("chunk %w", err)
		}
	}
	if b[3]|b[18]|b[19] != 0 || c.count == 0 || c.first == 0 || len(c.body) != bodyLen {
		return c, fmt.Errorf("chunk of %d records and %d of %d bytes", c.count, len(c.body), bodyLen)
	}
	for i := range c.count {
		if s, e := c.span(i); i == 0 && s != 0 || e-s < recordMin {
			return c, fmt.Errorf("offset table of the chunk, entry %d", i)
		}
	}
	return c, nil
}

// span returns where record i lies in the body.
func (c *chunk) span(i int) (start, end int) {
	start = int(binary.BigEndian.Uint16(c.starts[2*i:]))
	if i == c.count-1 {
		return start, len(c.body)
	}
	return start, int(binary.BigEndian.Uint16(c.starts[2*i+2:]))
}

// stored returns record i as it is in the body.
func (c *chunk) stored(i int) []byte {
	start, end := c.span(i)
	return c.body[start:end:end]
}

// record returns the bytes of record i, its CRC included and not yet checked. Those of
// a record that is not sealed alias the chunk.
func (c *chunk) record(i int) ([]byte, error) {
	if c.series == nil {
		return c.stored(i), nil
	}
	return c.series.Open(uint32(i), recordPlace(c.first+Seq(i)), c.stored(i))
}

// parse decodes record i, as parseRecord does.
func (c *chunk) parse(i int, r *record) error {
	b, err := c.record(i)
	if err != nil {
		return err
	}
	return parseRecord(b, r)
}

// hint returns the bytes of record i, its CRC included, though it may be damaged.
func (c *chunk) hint(i int) []byte {
	if c.series == nil {
		return c.stored(i)
	}
	return c.series.Hint(uint32(i), c.stored(i))
}
