// Package boltfile looks at a bbolt file before bbolt does.
//
// bbolt trusts its file: a page number out of range or a file cut short is a
// memory fault, a cycle is a stack overflow, a wrong list of free pages
// overwrites what is in use; and while a file is opened for writing, some of
// that happens in a goroutine of bbolt's where nothing can be recovered. So the
// file is read here first, with plain reads and bounds on everything:
//
//	m, err := boltfile.ReadMeta(f, 0)
//	if err == nil {
//		err = m.Check(f, size, boltfile.Leaves)
//	}
//
// An error says what is wrong with which page; it is damage, or it wraps what
// the file's reader said. Nobody may write to the file meanwhile.
//
// # Layout
//
// That of bbolt 1.x, which has not changed since 2014, on little-endian
// machines. A file is a row of pages. A page begins with a header: its number
// (8 bytes), flags (2), how many elements follow (2), how many more pages
// belong to it (4). Pages 0 and 1 are meta pages: magic, version, page size and
// flags (4 each), the root page of the bucket of buckets and its sequence, the
// page of the free list, the number of pages in use, the transaction, and an
// FNV-1a sum (8 each). A branch's elements are the place and length of the key
// and the page under it (4, 4, 8); a leaf's are flags, the place and length of
// the key, and the length of the value behind it (4 each). The value of a bucket
// is its root page and sequence, and if that page is 0 the page itself.
//
// # What it assumes
//
// Buckets stand in the root alone: one with buckets inside is refused.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// Sizes and flags of the format. They are bbolt's and never change.
const (
	HeaderSize  = 16 // of a page
	ElementSize = 16 // of a branch and of a leaf

	FlagBranch   = 0x01 // of a page
	FlagLeaf     = 0x02
	FlagFreelist = 0x10

	ElementBucket = 0x01 // of a leaf's element

	magic       = 0xED0CDAED
	version     = 2
	minPageSize = 1 << 10
	maxPageSize = 1 << 16
	longList    = 0xFFFF // elements of a free list whose length comes first
)

// NoFreelist is Meta.Freelist of a file without one: bbolt rebuilds it.
const NoFreelist = ^uint64(0)

// ErrMeta means that neither meta page is valid.
var ErrMeta = errors.New("no valid meta page")

// Meta is what the newer of the valid meta pages says.
type Meta struct {
	PageSize int
	Root     uint64 // page of the bucket of buckets
	Freelist uint64 // page of the free list, or NoFreelist
	Pages    uint64 // in use: what is behind them is no part of the file
	Tx       uint64 // the transaction that wrote it
	Both     bool   // both meta pages are valid
}

var le = binary.LittleEndian

// ReadMeta reads the meta pages of a file with pages of pageSize bytes; with 0,
// as large as the file says.
func ReadMeta(r io.ReaderAt, pageSize int) (Meta, error) {
	first, ok, err := readMeta(r, 0, pageSize)
	if err != nil {
		return Meta{}, err
	}
	from, to := minPageSize, maxPageSize // where the second page may be
	if size := max(first.PageSize, pageSize); size != 0 {
		from, to = size, size
	}
	for size := from; size <= to; size <<= 1 {
		second, ok2, err := readMeta(r, int64(size), size)
		switch {
		case err != nil:
			return Meta{}, err
		case !ok2:
			continue
		case !ok || second.Tx > first.Tx:
			second.Both = ok
			return second, nil
		}
		first.Both = true
	}
	if !ok {
		return Meta{}, ErrMeta
	}
	return first, nil
}

// readMeta reads the meta page at an offset; ok says that it is valid and, if
// pageSize is not 0, for pages of that size.
func readMeta(r io.ReaderAt, at int64, pageSize int) (m Meta, ok bool, err error) {
	var p [HeaderSize + 64]byte
	if _, err := r.ReadAt(p[:], at); err != nil && err != io.EOF {
		return m, false, fmt.Errorf("meta page at %d: %w", at, err)
	}
	b := p[HeaderSize:]
	size := int(le.Uint32(b[8:]))
	if le.Uint32(b) != magic || le.Uint32(b[4:]) != version || le.Uint64(b[56:]) != sum(b) ||
		size < minPageSize || size > maxPageSize || size&(size-1) != 0 || pageSize != 0 && size != pageSize {
		return m, false, nil
	}
	return Meta{PageSize: size, Root: le.Uint64(b[16:]), Freelist: le.Uint64(b[32:]), Pages: le.Uint64(b[40:]), Tx: le.Uint64(b[48:])}, true, nil
}

// sum is the checksum of a meta page whose fields b begins with.
func sum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b[:56])
	return h.Sum64()
}

// TakeBack undoes the transaction of m, the last one of a file in which both meta pages
// are valid. The one before it is the last one then: its pages are all there, since bbolt
// writes to none that it refers to. Its meta page is not touched; the other says the same
// from then on, of one transaction earlier.
func (m Meta) TakeBack(f interface {
	io.ReaderAt
	io.WriterAt
}) error {
	if !m.Both {
		return ErrMeta
	}
	place := func(tx uint64) int64 { return int64(tx%2) * int64(m.PageSize) }
	p := make([]byte, m.PageSize)
	if _, err := f.ReadAt(p, place(m.Tx-1)); err != nil {
		return err
	}
	le.PutUint64(p, m.Tx%2)
	b := p[HeaderSize:]
	le.PutUint64(b[48:], m.Tx-2)
	le.PutUint64(b[56:], sum(b))
	_, err := f.WriteAt(p, place(m.Tx))
	return err
}

// Depth is how much of a file Check reads.
type Depth uint8

// Depths, each with what is in the one before.
const (
	// Head is the length of the file and its free list.
	Head Depth = iota
	// Branches are the trees without the leaves of buckets. That is enough
	// against faults and cycles, and costs a read per hundred leaves.
	Branches
	// Leaves is everything. Then, if the file has a free list, every page must
	// be used or free.
	Leaves
)

// Check proves, as deep as asked, that bbolt can use a file of size bytes
// without harm: that it is as long as m says, and that its pages form trees with
// sound and ordered elements, none in two places.
func (m Meta) Check(r io.ReaderAt, size int64, depth Depth) error {
	w, err := m.walk(r, size)
	if err != nil {
		return err
	}
	if m.Freelist != NoFreelist {
		if err := w.freelist(m.Freelist); err != nil {
			return err
		}
	}
	if depth == Head {
		return nil
	}
	if err := w.trees(depth == Leaves); err != nil {
		return err
	}
	if depth < Leaves || m.Freelist == NoFreelist {
		return nil
	}
	for id := range m.Pages {
		if !w.has(id) {
			return fmt.Errorf("page %d: neither used nor free", id)
		}
	}
	return nil
}

// Used returns, by number, which pages the meta pages and the trees take up. If
// an error ends the walk it is what was met before.
func (m Meta) Used(r io.ReaderAt, size int64) ([]bool, error) {
	w, err := m.walk(r, size)
	if err != nil {
		return nil, err
	}
	err = w.trees(true)
	used := make([]bool, m.Pages)
	for id := range used {
		used[id] = w.has(uint64(id))
	}
	return used, err
}

// CheckFreelistHead looks at the header of the free list alone, which is what
// bbolt reads of it in a commit.
func (m Meta) CheckFreelistHead(r io.ReaderAt) error {
	var p [HeaderSize]byte
	h, err := m.begin(r, p[:], m.Freelist)
	if err == nil && h.flags != FlagFreelist {
		err = fmt.Errorf("page %d: not a free list", m.Freelist)
	}
	return err
}
