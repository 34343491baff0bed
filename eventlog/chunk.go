package eventlog

import (
	"encoding/binary"
	"fmt"
)

// A chunk is what bucket b of a segment holds under the seq of the chunk's
// last event: the records of one commit, or a part of them. All numbers are
// big-endian.
//
//	 0  version u8 = 1
//	 1  codec u8 = 0: the body is not compressed
//	 2  flags u8: 1 = a tree head follows (the last chunk of a commit), 2 = a record refers to a blob
//	 3  zero
//	 4  length of the body u32
//	 8  seq of the first record u64
//	16  number of records u16
//	18  zero u16
//	20  CRC-32C u32 of bytes 0-19 and of everything from 24 to the body
//	24  with flag 1: tree size u64, root 32 bytes, commit time i64
//	 .  start of each record in the body, u16 each
//	 .  the body: the records, each behind its own CRC
//
// The checksum of the header makes the place of a record as certain as its
// own checksum makes its bytes. This format is frozen.
const (
	chunkVersion = 1
	codecNone    = 0

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
	first  Seq
	flags  byte
	starts []uint16
	body   []byte
}

// fits reports whether a record of n bytes can join the chunk.
func (w *chunkWriter) fits(n int) bool {
	return len(w.starts) == 0 || chunkFixed+headLen+2*(len(w.starts)+1)+len(w.body)+n <= chunkMax
}

// size bounds what finish appends.
func (w *chunkWriter) size() int { return chunkFixed + headLen + 2*len(w.starts) + len(w.body) }

func (w *chunkWriter) add(rec []byte, blob bool) {
	if blob {
		w.flags |= flagBlobs
	}
	w.starts = append(w.starts, uint16(len(w.body)))
	w.body = append(w.body, rec...)
}

// finish appends the chunk to b, with the tree head if there is one, and
// starts the next one.
func (w *chunkWriter) finish(b []byte, head *treeHead) []byte {
	start := len(b)
	if head != nil {
		w.flags |= flagHead
	}
	b = append(b, chunkVersion, codecNone, w.flags, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(w.body)))
	b = binary.BigEndian.AppendUint64(b, uint64(w.first))
	b = binary.BigEndian.AppendUint16(b, uint16(len(w.starts)))
	b = append(b, 0, 0, 0, 0, 0, 0)
	if head != nil {
		b = head.appendTo(b)
	}
	for _, s := range w.starts {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	binary.BigEndian.PutUint32(b[start+20:], headerSum(b[start:]))
	b = append(b, w.body...)
	w.first += Seq(len(w.starts))
	w.flags, w.starts, w.body = 0, w.starts[:0], w.body[:0]
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
}

// last returns the seq of the chunk's last record.
func (c *chunk) last() Seq { return c.first + Seq(c.count) - 1 }

// parseChunk checks everything about a chunk but its records.
func parseChunk(b []byte) (c chunk, err error) {
	if len(b) < chunkFixed {
		return c, fmt.Errorf("chunk of %d bytes", len(b))
	}
	c.flags = b[2]
	c.count = int(binary.BigEndian.Uint16(b[16:]))
	c.first = Seq(binary.BigEndian.Uint64(b[8:]))
	bodyLen := int(binary.BigEndian.Uint32(b[4:]))
	n := chunkFixed + 2*c.count
	if c.flags&flagHead != 0 {
		n += headLen
	}
	if n > len(b) {
		return c, fmt.Errorf("chunk of %d bytes with a header of %d", len(b), n)
	}
	if binary.BigEndian.Uint32(b[20:]) != headerSum(b[:n]) {
		return c, fmt.Errorf("header of the chunk: %w", errChecksum)
	}
	if b[0] != chunkVersion || b[1] != codecNone || c.flags&^(flagHead|flagBlobs) != 0 {
		return c, fmt.Errorf("chunk version %d, codec %d, flags %#x: %w", b[0], b[1], c.flags, ErrFormat)
	}
	if c.flags&flagHead != 0 {
		c.head = parseTreeHead(b[chunkFixed:])
	}
	c.starts, c.body = b[n-2*c.count:n], b[n:]
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

// record returns the bytes of record i, its CRC included and not yet checked.
func (c *chunk) record(i int) []byte {
	start, end := c.span(i)
	return c.body[start:end:end]
}
