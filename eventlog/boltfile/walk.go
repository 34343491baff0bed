package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const maxLevels = 32 // of a tree

// walker reads the pages of a file and notes which are taken.
type walker struct {
	Meta
	r       io.ReaderAt
	taken   []uint64          // bit set of pages referred to
	bufs    [maxLevels][]byte // one page per level, reused
	buckets []uint64          // root pages of the buckets found in the root
}

// walk returns a walker of a file of size bytes that has taken the meta pages.
func (m Meta) walk(r io.ReaderAt, size int64) (*walker, error) {
	if m.Pages < 4 || m.Pages > uint64(size)/uint64(m.PageSize) {
		return nil, fmt.Errorf("the file has %d bytes, its meta page says %d pages", size, m.Pages)
	}
	w := &walker{Meta: m, r: r, taken: make([]uint64, m.Pages/64+1)}
	w.taken[0] = 3
	return w, nil
}

func (w *walker) has(id uint64) bool { return w.taken[id/64]>>(id%64)&1 == 1 }

// take notes that pages [id, id+n) are in use.
func (w *walker) take(id, n uint64) error {
	if id < 2 || n > w.Pages || id > w.Pages-n {
		return fmt.Errorf("page %d: out of range", id)
	}
	for ; n > 0; id, n = id+1, n-1 {
		if w.has(id) {
			return fmt.Errorf("page %d: referred to twice", id)
		}
		w.taken[id/64] |= 1 << (id % 64)
	}
	return nil
}

// head is what a page's header says.
type head struct {
	flags uint16
	count int    // elements
	over  uint64 // pages that belong to it
}

// begin reads the beginning of page id into p, as much as there is room for.
func (m Meta) begin(r io.ReaderAt, p []byte, id uint64) (h head, err error) {
	if id < 2 || id >= m.Pages {
		return h, fmt.Errorf("page %d: out of range", id)
	}
	if _, err := r.ReadAt(p, int64(id)*int64(m.PageSize)); err != nil {
		return h, fmt.Errorf("page %d: %w", id, err)
	}
	h = head{le.Uint16(p[8:]), int(le.Uint16(p[10:])), uint64(le.Uint32(p[12:]))}
	switch {
	case le.Uint64(p) != id || h.flags != FlagBranch && h.flags != FlagLeaf && h.flags != FlagFreelist:
		return h, fmt.Errorf("page %d: calls itself page %d with flags %#x", id, le.Uint64(p), h.flags)
	case h.over >= m.Pages-id:
		return h, fmt.Errorf("page %d: %d overflow pages", id, h.over)
	}
	return h, nil
}

// read returns page id with its overflow pages. The bytes are good until the
// next page of that level is read.
func (w *walker) read(id uint64, level int) (p []byte, h head, err error) {
	if level >= maxLevels {
		return nil, h, fmt.Errorf("page %d: the tree is too deep", id)
	}
	if w.bufs[level] == nil {
		w.bufs[level] = make([]byte, w.PageSize)
	}
	p = w.bufs[level]
	if h, err = w.begin(w.r, p[:w.PageSize], id); err != nil {
		return nil, h, err
	}
	n := int(1+h.over) * w.PageSize
	if n > len(p) {
		p = append(make([]byte, 0, n), p[:w.PageSize]...)[:n]
		w.bufs[level] = p
	}
	if h.over > 0 {
		if _, err := w.r.ReadAt(p[w.PageSize:n], int64(id+1)*int64(w.PageSize)); err != nil {
			return nil, h, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return p[:n], h, nil
}

// trees walks the root and the buckets in it, with or without their leaves.
func (w *walker) trees(deep bool) error {
	if err := w.tree(w.Root, place{root: true}); err != nil {
		return err
	}
	for _, b := range w.buckets {
		at := place{level: 1}
		if !deep {
			var err error
			if at.leaves, err = w.leafLevel(b); err != nil {
				return err
			}
		}
		if err := w.tree(b, at); err != nil {
			return err
		}
	}
	return nil
}

// leafLevel returns the level of the leaves under the bucket root id, which is
// the same for all of them.
func (w *walker) leafLevel(id uint64) (int, error) {
	for level := 1; ; level++ {
		p, h, err := w.read(id, level)
		if err != nil {
			return 0, err
		}
		if h.flags != FlagBranch || h.count == 0 {
			return level, nil
		}
		id = le.Uint64(p[HeaderSize+8:])
	}
}

// place is where in the file a page stands.
type place struct {
	lo, hi []byte // its keys lie in [lo, hi); nil is no bound
	level  int
	leaves int  // the level whose pages are not read; 0 = all are
	root   bool // it is of the bucket of buckets
}

// tree walks the page id and what is under it.
func (w *walker) tree(id uint64, at place) error {
	if at.level == at.leaves && at.level > 1 {
		return w.take(id, 1)
	}
	p, h, err := w.read(id, at.level)
	if err != nil {
		return err
	}
	if err := w.take(id, 1+h.over); err != nil {
		return err
	}
	if h.flags == FlagFreelist || h.count == 0 && (h.flags == FlagBranch || at.lo != nil) {
		return fmt.Errorf("page %d: flags %#x and %d elements where a node belongs", id, h.flags, h.count)
	}
	if h.flags == FlagLeaf {
		return w.leaf(id, p, h.count, at)
	}
	if HeaderSize+h.count*ElementSize > len(p) {
		return fmt.Errorf("page %d: %d elements", id, h.count)
	}
	key := func(i int) ([]byte, error) {
		off := HeaderSize + i*ElementSize
		return slot(p, off, h.count, le.Uint32(p[off:]), le.Uint32(p[off+4:]))
	}
	for i := range h.count {
		k, err := key(i)
		next := at.hi
		if err == nil && i+1 < h.count {
			next, err = key(i + 1)
		}
		if err != nil || bytes.Compare(k, at.lo) < 0 || next != nil && bytes.Compare(k, next) >= 0 {
			return fmt.Errorf("page %d: element %d out of place", id, i)
		}
		below := place{lo: k, hi: next, level: at.level + 1, leaves: at.leaves, root: at.root}
		if err := w.tree(le.Uint64(p[HeaderSize+i*ElementSize+8:]), below); err != nil {
			return err
		}
	}
	return nil
}

var errSlot = errors.New("element outside of its page")

// slot returns n bytes at pos from the element at off in p.
func slot(p []byte, off, count int, pos, n uint32) ([]byte, error) {
	start := uint64(off) + uint64(pos)
	if start < uint64(HeaderSize+count*ElementSize) || start+uint64(n) > uint64(len(p)) {
		return nil, errSlot
	}
	return p[start : start+uint64(n)], nil
}

// leaf checks a leaf, or the page of an inline bucket. Buckets may only be in
// the root, and nothing else may.
func (w *walker) leaf(id uint64, p []byte, count int, at place) error {
	if HeaderSize+count*ElementSize > len(p) {
		return fmt.Errorf("page %d: %d elements", id, count)
	}
	lo := at.lo
	for i := range count {
		off := HeaderSize + i*ElementSize
		e := p[off:]
		flags, pos, ksize, vsize := le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:]), le.Uint32(e[12:])
		k, err := slot(p, off, count, pos, ksize)
		if err != nil || ksize == 0 || bytes.Compare(k, lo) < 0 || i > 0 && bytes.Equal(k, lo) || at.hi != nil && bytes.Compare(k, at.hi) >= 0 {
			return fmt.Errorf("page %d: key %d out of place", id, i)
		}
		if vsize > 1<<30 || pos > 1<<30 || ksize > 1<<16 {
			return fmt.Errorf("page %d: value %d out of place", id, i)
		}
		v, err := slot(p, off, count, pos+ksize, vsize)
		if err != nil || flags > ElementBucket || at.root != (flags == ElementBucket) {
			return fmt.Errorf("page %d: value %d out of place", id, i)
		}
		if flags == ElementBucket {
			if err := w.bucket(id, v); err != nil {
				return err
			}
		}
		lo = k
	}
	return nil
}

// bucket checks a bucket's entry in the root: a reference to its root page, or
// the page itself.
func (w *walker) bucket(id uint64, v []byte) error {
	if len(v) < 16 {
		return fmt.Errorf("page %d: bucket of %d bytes", id, len(v))
	}
	if root := le.Uint64(v); root != 0 {
		w.buckets = append(w.buckets, root)
		return nil
	}
	if v = v[16:]; len(v) < HeaderSize || le.Uint16(v[8:]) != FlagLeaf {
		return fmt.Errorf("page %d: inline bucket without a leaf", id)
	}
	return w.leaf(id, v, int(le.Uint16(v[10:])), place{})
}

// freelist checks the list of free pages and takes them.
func (w *walker) freelist(id uint64) error {
	p, h, err := w.read(id, 0)
	if err != nil {
		return err
	}
	if h.flags != FlagFreelist {
		return fmt.Errorf("page %d: not a free list", id)
	}
	if err := w.take(id, 1+h.over); err != nil {
		return err
	}
	ids := p[HeaderSize:]
	n := uint64(h.count)
	if n == longList {
		n, ids = le.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return fmt.Errorf("page %d: a free list of %d pages", id, n)
	}
	for i := range n {
		if err := w.take(le.Uint64(ids[8*i:]), 1); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
	}
	return nil
}
