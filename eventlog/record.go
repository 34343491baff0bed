package eventlog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"unsafe"
)

// An event on disk is a MessagePack array of 8, each number and string in its
// shortest form, so that there is one encoding of an event and no other:
//
//	run bin(16), version uint, time uint, kind uint, actor str,
//	append uint, salt bin(16), payload
//
// where payload is one of
//
//	bin                                            in place
//	array(3): size uint, SHA-256 bin(32), hash bin(32)   in a blob file
//	array(1): hash bin(32)                         erased
//	array(2): hash bin(32), rest bin               erased but for a rest
//
// and hash is the salted payload hash that the event's leaf commits to. The
// record is preceded by its CRC-32C, u32 big-endian. The seq is not part of
// the record: it follows from the record's place in its chunk.
//
// This format is frozen: testdata/record.golden holds its bytes.

// castagnoli is the polynomial of every checksum on disk.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func checksumUpdate(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// MessagePack's markers. They are on disk and never change.
const (
	mpFixArray = 0x90
	mpFixStr   = 0xa0
	mpBin8     = 0xc4
	mpBin16    = 0xc5
	mpBin32    = 0xc6
	mpUint8    = 0xcc
	mpUint16   = 0xcd
	mpUint32   = 0xce
	mpUint64   = 0xcf
	mpStr8     = 0xd9
	mpStr16    = 0xda
)

// crcLen is what precedes every record.
const crcLen = 4

// recordMin is the size of the smallest record, its CRC included.
const recordMin = crcLen + 1 + 18 + 1 + 1 + 1 + 1 + 1 + 18 + 2

// payloadForm says where a record's payload is.
type payloadForm uint8

const (
	payloadInline payloadForm = iota
	payloadBlob
	payloadErased
)

// blobRef names a payload that lies in a file of its own.
type blobRef struct {
	size uint64
	sum  [32]byte // SHA-256 of the payload: the file's name
}

// record is an event as it is encoded. Decoded, actor and payload alias the
// bytes they were decoded from.
type record struct {
	run     RunID
	version Version
	time    int64
	kind    Kind
	actor   string
	append  AppendID
	salt    [16]byte
	form    payloadForm
	payload []byte   // payloadInline; payloadErased: what was left of it, may be nil
	blob    blobRef  // payloadBlob
	hash    [32]byte // salted payload hash; set unless payloadInline
}

// leaf returns the record's leaf in the Merkle tree.
func (r *record) leaf() [32]byte {
	h := r.hash
	if r.form == payloadInline {
		h = payloadHash(&r.salt, r.payload)
	}
	return leafHash(&r.run, r.version, r.kind, r.time, r.actor, h)
}

// appendTo encodes r, its CRC first.
func (r *record) appendTo(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, mpFixArray|8)
	b = appendBin(b, r.run[:])
	b = appendUint(b, uint64(r.version))
	b = appendUint(b, uint64(r.time))
	b = appendUint(b, uint64(r.kind))
	b = appendStr(b, r.actor)
	b = appendUint(b, uint64(r.append))
	b = appendBin(b, r.salt[:])
	switch r.form {
	case payloadInline:
		b = appendBin(b, r.payload)
	case payloadBlob:
		b = append(b, mpFixArray|3)
		b = appendUint(b, r.blob.size)
		b = appendBin(b, r.blob.sum[:])
		b = appendBin(b, r.hash[:])
	case payloadErased:
		if len(r.payload) == 0 {
			b = append(b, mpFixArray|1)
			b = appendBin(b, r.hash[:])
		} else {
			b = append(b, mpFixArray|2)
			b = appendBin(b, r.hash[:])
			b = appendBin(b, r.payload)
		}
	}
	binary.BigEndian.PutUint32(b[start:], checksum(b[start+crcLen:]))
	return b
}

func appendUint(b []byte, n uint64) []byte {
	switch {
	case n < 1<<7:
		return append(b, byte(n))
	case n < 1<<8:
		return append(b, mpUint8, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, mpUint16), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, mpUint32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, mpUint64), n)
}

func appendStr(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 1<<5:
		b = append(b, mpFixStr|byte(n))
	case n < 1<<8:
		b = append(b, mpStr8, byte(n))
	default: // at most MaxActor
		b = binary.BigEndian.AppendUint16(append(b, mpStr16), uint16(n))
	}
	return append(b, s...)
}

func appendBin(b, p []byte) []byte {
	switch n := len(p); {
	case n < 1<<8:
		b = append(b, mpBin8, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mpBin16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, mpBin32), uint32(n))
	}
	return append(b, p...)
}

var (
	errChecksum = errors.New("checksum does not match")
	errEncoding = errors.New("not a record of this format")
)

// parseRecord decodes b, which holds one record and its CRC, and nothing
// before the CRC has matched. It allocates nothing: r aliases b.
func parseRecord(b []byte, r *record) error {
	if len(b) < recordMin {
		return errEncoding
	}
	if binary.BigEndian.Uint32(b) != checksum(b[crcLen:]) {
		return errChecksum
	}
	d := decoder{b: b[crcLen:]}
	d.marker(mpFixArray | 8)
	d.fixed(r.run[:])
	r.version = Version(d.uint())
	r.time = int64(d.uint())
	kind := d.uint()
	r.kind = Kind(kind)
	r.actor = d.str()
	r.append = AppendID(d.uint())
	d.fixed(r.salt[:])
	r.payload, r.blob, r.hash = nil, blobRef{}, [32]byte{}
	switch d.peek() {
	case mpFixArray | 3:
		r.form = payloadBlob
		d.take(1)
		r.blob.size = d.uint()
		d.fixed(r.blob.sum[:])
		d.fixed(r.hash[:])
	case mpFixArray | 1:
		r.form = payloadErased
		d.take(1)
		d.fixed(r.hash[:])
	case mpFixArray | 2:
		r.form = payloadErased
		d.take(1)
		d.fixed(r.hash[:])
		if r.payload = d.bin(); len(r.payload) == 0 {
			d.bad = true
		}
	default:
		r.form = payloadInline
		r.payload = d.bin()
	}
	if d.bad || len(d.b) != 0 || r.run.IsZero() || r.version == 0 || r.time <= 0 || kind == 0 || kind > 1<<16-1 ||
		r.append == 0 || len(r.actor) > MaxActor || r.blob.size > MaxPayload {
		return errEncoding
	}
	return nil
}

// decoder reads the canonical encoding from the front of b; after the first
// failure it is bad, has nothing left and returns zero values. Every event that is
// read goes through it, and at a start all of a segment's.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) peek() byte {
	if len(d.b) == 0 {
		return 0
	}
	return d.b[0]
}

func (d *decoder) marker(m byte) {
	if d.peek() != m {
		d.fail()
		return
	}
	d.b = d.b[1:]
}

// big reads an n-byte big-endian number that must be at least low: a smaller
// one has a shorter form.
func (d *decoder) big(n int, low uint64) uint64 {
	var v uint64
	for _, c := range d.take(n) {
		v = v<<8 | uint64(c)
	}
	if v < low {
		d.fail()
	}
	return v
}

func (d *decoder) uint() uint64 {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	m := d.b[0]
	d.b = d.b[1:]
	switch {
	case m < 1<<7:
		return uint64(m)
	case m == mpUint64:
		if len(d.b) < 8 {
			break
		}
		v := binary.BigEndian.Uint64(d.b)
		if d.b = d.b[8:]; v >= 1<<32 {
			return v
		}
	case m == mpUint8:
		return d.big(1, 1<<7)
	case m == mpUint16:
		return d.big(2, 1<<8)
	case m == mpUint32:
		return d.big(4, 1<<16)
	}
	d.fail()
	return 0
}

func (d *decoder) bin() []byte {
	if len(d.b) == 0 {
		d.fail()
		return nil
	}
	m := d.b[0]
	d.b = d.b[1:]
	switch m {
	case mpBin8:
		return d.take(int(d.big(1, 0)))
	case mpBin16:
		return d.take(int(d.big(2, 1<<8)))
	case mpBin32:
		return d.take(int(d.big(4, 1<<16)))
	}
	d.fail()
	return nil
}

// fixed fills p, which has less than 256 bytes, from a bin of its length.
func (d *decoder) fixed(p []byte) {
	if n := 2 + len(p); len(d.b) >= n && d.b[0] == mpBin8 && int(d.b[1]) == len(p) {
		copy(p, d.b[2:n])
		d.b = d.b[n:]
		return
	}
	d.fail()
}

func (d *decoder) str() string {
	if len(d.b) == 0 {
		d.fail()
		return ""
	}
	m := d.b[0]
	d.b = d.b[1:]
	var p []byte
	switch {
	case m&0xe0 == mpFixStr:
		p = d.take(int(m & 0x1f))
	case m == mpStr8:
		p = d.take(int(d.big(1, 1<<5)))
	case m == mpStr16:
		p = d.take(int(d.big(2, 1<<8)))
	default:
		d.fail()
	}
	if d.bad || len(p) == 0 {
		return ""
	}
	return unsafe.String(&p[0], len(p))
}
