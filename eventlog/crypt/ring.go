package crypt

import (
	"cmp"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Ring is the data keys of a data directory. The zero Ring has none, and seals nothing:
// it is that of a directory that is not encrypted, as is a nil one. It is safe for
// concurrent use.
type Ring struct {
	dir  string
	mu   sync.Mutex // held while it changes
	keys atomic.Pointer[dataKeys]
}

// dataKeys are what a ring has at a time. They do not change.
type dataKeys struct {
	key   Key    // opens them; of one that is being read, the name alone
	write uint32 // number of the data key that seals; 0: nothing is sealed any more
	names [keySize]byte
	list  []dataKey // in ascending order
}

type dataKey struct {
	number uint32
	secret [keySize]byte
	x      *extended
}

func (k *dataKeys) by(number uint32) *dataKey {
	i, ok := slices.BinarySearchFunc(k.list, number, func(d dataKey, n uint32) int { return cmp.Compare(d.number, n) })
	if !ok {
		return nil
	}
	return &k.list[i]
}

// with returns a copy with one more data key, which seals from then on.
func (k *dataKeys) with() *dataKeys {
	next := *k
	d := dataKey{number: 1}
	if n := len(k.list); n > 0 {
		d.number = k.list[n-1].number + 1
	}
	rand.Read(d.secret[:])
	d.x = newExtended(&d.secret)
	next.list, next.write = append(slices.Clone(k.list), d), d.number
	return &next
}

// Errors of opening what was sealed.
var (
	// ErrSeal: the bytes are not those that were written there, under that data key.
	ErrSeal = errors.New("the seal is broken: the bytes are not those that were written here")
	// ErrNoDataKey: the data directory does not have the data key.
	ErrNoDataKey = errors.New("there is no such data key")
)

func (r *Ring) now() *dataKeys {
	if r == nil {
		return nil
	}
	return r.keys.Load()
}

// Current returns the number of the data key that seals what is written, 0 if what is
// written is not sealed.
func (r *Ring) Current() uint32 {
	if k := r.now(); k != nil {
		return k.write
	}
	return 0
}

// Seals reports whether what is written is sealed.
func (r *Ring) Seals() bool { return r.Current() != 0 }

// Encrypted reports whether there may be anything that is sealed.
func (r *Ring) Encrypted() bool { return r.now() != nil }

// Overhead is by how much sealing makes a value longer, and HeaderSize what of it the
// values of a series share.
const (
	HeaderSize = 4 + nonceSize
	Overhead   = HeaderSize + tagSize
)

// SeriesOverhead is by how much each value of a series gets longer.
const SeriesOverhead = tagSize

// Series seals several values that lie together.
type Series struct {
	Header [HeaderSize]byte
	block  cipher.Block
	aead   cipher.AEAD
}

// Series begins a series under the current data key; nil if what is written is not
// sealed.
func (r *Ring) Series() *Series {
	k := r.now()
	if k == nil || k.write == 0 {
		return nil
	}
	return newSeries(k.by(k.write))
}

// Newest is Series, for what lies in a file that goes on as it was begun, though what is
// written is not sealed any more. The ring must be Encrypted.
func (r *Ring) Newest() *Series {
	k := r.now()
	return newSeries(&k.list[len(k.list)-1])
}

func newSeries(d *dataKey) *Series {
	s := &Series{}
	binary.BigEndian.PutUint32(s.Header[:], d.number)
	rand.Read(s.Header[4:]) // never fails: it crashes the program instead
	s.derive(d)
	return s
}

func (s *Series) derive(d *dataKey) {
	s.block = d.x.derive(s.Header[4:16])
	s.aead = newGCM(s.block)
}

// Opened returns the series with a header.
func (r *Ring) Opened(header []byte) (*Series, error) {
	if len(header) < HeaderSize {
		return nil, ErrSeal
	}
	s := &Series{Header: [HeaderSize]byte(header)}
	n := s.DataKey()
	k := r.now()
	if k == nil || k.by(n) == nil {
		return nil, fmt.Errorf("sealed with data key %d: %w", n, ErrNoDataKey)
	}
	s.derive(k.by(n))
	return s, nil
}

// DataKey returns the number of the series' data key.
func (s *Series) DataKey() uint32 { return binary.BigEndian.Uint32(s.Header[:]) }

func (s *Series) nonce(n uint32) (nonce [12]byte) {
	copy(nonce[:], s.Header[16:])
	last := nonce[8:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)^n)
	return nonce
}

// Seal appends value n of the series to b, sealed for a place. There are no two with a
// number.
func (s *Series) Seal(b []byte, n uint32, place, value []byte) []byte {
	nonce := s.nonce(n)
	return s.aead.Seal(b, nonce[:], value, place)
}

// Open returns what Seal was given.
func (s *Series) Open(n uint32, place, sealed []byte) ([]byte, error) {
	nonce := s.nonce(n)
	b, err := s.aead.Open(make([]byte, 0, len(sealed)), nonce[:], sealed, place)
	if err != nil {
		return nil, ErrSeal
	}
	return b, nil
}

// Hint returns what was sealed as far as it can be read though the seal is broken: a
// changed bit is a changed bit there. It proves nothing.
func (s *Series) Hint(n uint32, sealed []byte) []byte {
	if len(sealed) < tagSize {
		return nil
	}
	nonce := s.nonce(n)
	b := make([]byte, len(sealed)-tagSize)
	cipher.NewCTR(s.block, append(nonce[:], 0, 0, 0, 2)).XORKeyStream(b, sealed[:len(b)])
	return b
}

// Seal returns value, sealed for a place. Without a data key it is value as it is.
func (r *Ring) Seal(place, value []byte) []byte {
	s := r.Series()
	if s == nil {
		return value
	}
	return s.Box(place, value)
}

// Box returns value as the only one of the series, with the header before it.
func (s *Series) Box(place, value []byte) []byte {
	b := append(make([]byte, 0, len(value)+Overhead), s.Header[:]...)
	return s.Seal(b, 0, place, value)
}

// Open returns what Seal was given. It must have been sealed.
func (r *Ring) Open(place, sealed []byte) ([]byte, error) {
	s, err := r.Opened(sealed)
	if err != nil {
		return nil, err
	}
	return s.Open(0, place, sealed[HeaderSize:])
}

// DataKeyOf returns the number of the data key that a value was sealed with.
func DataKeyOf(sealed []byte) uint32 {
	if len(sealed) < Overhead {
		return 0
	}
	return binary.BigEndian.Uint32(sealed)
}

// Tag returns a name for content that whoever has no key can neither read nor compare
// with a guess. It stays the same as long as the directory is encrypted, whichever the
// keys. The ring must be Encrypted.
func (r *Ring) Tag(what string, content ...[]byte) (tag [32]byte) {
	names := r.now().names
	h := hmac.New(sha256.New, names[:])
	for _, b := range append([][]byte{[]byte(what)}, content...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	h.Sum(tag[:0])
	return tag
}

// Status is what a ring has.
type Status struct {
	Key      string   `json:"key"`       // name of the key that opens it
	Write    uint32   `json:"write"`     // data key that seals what is written; 0: nothing is
	DataKeys []uint32 `json:"data_keys"` // all of them
}

// Status returns what the ring has; ok is false if the directory is not encrypted.
func (r *Ring) Status() (s Status, ok bool) {
	k := r.now()
	if k == nil {
		return s, false
	}
	s.Key, s.Write = k.key.ID, k.write
	for _, d := range k.list {
		s.DataKeys = append(s.DataKeys, d.number)
	}
	return s, true
}
