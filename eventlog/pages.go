package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts its file: a page number out of range or a file cut short is a
// memory fault, a cycle is a stack overflow, and while a file is opened for
// writing both happen in a goroutine of bbolt's where nothing can be recovered.
// So a file is looked at here, with plain reads, before bbolt maps it. The
// layout is that of bbolt 1.x, which has not changed since 2014.

const (
	pageSize   = 4096
	pageHeader = 16
	elemSize   = 16

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10
	elemBucket   = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)
	maxDepth    = 24
)

// boltMeta is what a meta page says.
type boltMeta struct {
	root, freelist, hwm, txid uint64
}

var le = binary.LittleEndian

// readMeta returns the valid meta page with the highest transaction ID, and
// whether both are valid.
func readMeta(r io.ReaderAt) (m boltMeta, both bool, err error) {
	var valid int
	for i := range int64(2) {
		var p [80]byte
		if _, err := r.ReadAt(p[:], i*pageSize); err != nil && err != io.EOF {
			return m, false, fmt.Errorf("meta page %d: %w", i, err)
		}
		b := p[pageHeader:]
		h := fnv.New64a()
		h.Write(b[:56])
		if le.Uint32(b) != boltMagic || le.Uint32(b[4:]) != boltVersion || le.Uint32(b[8:]) != pageSize || le.Uint64(b[56:]) != h.Sum64() {
			continue
		}
		valid++
		if n := (boltMeta{le.Uint64(b[16:]), le.Uint64(b[32:]), le.Uint64(b[40:]), le.Uint64(b[48:])}); valid == 1 || n.txid > m.txid {
			m = n
		}
	}
	if valid == 0 {
		return m, false, errors.New("no valid meta page")
	}
	return m, valid == 2, nil
}

// checkPages proves that bbolt can walk the file without harm: that it is as
// long as its meta page says, and that its pages form a tree with sound and
// ordered elements. With deep false the leaves of the buckets are not read:
// that is enough against faults and cycles, and costs a read per hundred leaves.
func checkPages(r io.ReaderAt, size int64, deep bool) error {
	m, _, err := readMeta(r)
	if err != nil {
		return err
	}
	if m.hwm < 4 || m.hwm > uint64(size)/pageSize {
		return fmt.Errorf("the file has %d bytes, its meta page says %d pages", size, m.hwm)
	}
	w := &pageWalker{r: r, hwm: m.hwm, deep: deep, seen: make([]uint64, m.hwm/64+1)}
	w.seen[0] = 3 // the meta pages
	if err := w.tree(m.root, nil, nil, 0, -1); err != nil {
		return err
	}
	for _, b := range w.buckets {
		leaves := -1
		if !deep {
			if leaves, err = w.leafDepth(b); err != nil {
				return err
			}
		}
		if err := w.tree(b, nil, nil, 1, leaves); err != nil {
			return err
		}
	}
	if m.freelist != noFreelist {
		return w.freelist(m.freelist)
	}
	return nil
}

type pageWalker struct {
	r       io.ReaderAt
	hwm     uint64
	deep    bool
	seen    []uint64         // bit set of pages referred to
	bufs    [maxDepth][]byte // one page per level, reused
	buckets []uint64         // root pages of the buckets found in the root
}

// mark notes that pages [id, id+n) are in use.
func (w *pageWalker) mark(id, n uint64) error {
	if id < 2 || n > w.hwm || id > w.hwm-n {
		return fmt.Errorf("page %d: out of range", id)
	}
	for ; n > 0; id, n = id+1, n-1 {
		if w.seen[id/64]>>(id%64)&1 == 1 {
			return fmt.Errorf("page %d: referred to twice", id)
		}
		w.seen[id/64] |= 1 << (id % 64)
	}
	return nil
}

// read returns page id with its overflow pages, its flags and count.
func (w *pageWalker) read(id uint64, level int) (p []byte, flags uint16, count int, err error) {
	if level >= maxDepth {
		return nil, 0, 0, fmt.Errorf("page %d: the tree is too deep", id)
	}
	if id < 2 || id >= w.hwm {
		return nil, 0, 0, fmt.Errorf("page %d: out of range", id)
	}
	if w.bufs[level] == nil {
		w.bufs[level] = make([]byte, pageSize)
	}
	p = w.bufs[level]
	if _, err := w.r.ReadAt(p[:pageSize], int64(id)*pageSize); err != nil {
		return nil, 0, 0, fmt.Errorf("page %d: %w", id, err)
	}
	flags, count = le.Uint16(p[8:]), int(le.Uint16(p[10:]))
	over := uint64(le.Uint32(p[12:]))
	if le.Uint64(p) != id || flags != pageBranch && flags != pageLeaf && flags != pageFreelist {
		return nil, 0, 0, fmt.Errorf("page %d: calls itself page %d with flags %#x", id, le.Uint64(p), flags)
	}
	if over >= w.hwm-id {
		return nil, 0, 0, fmt.Errorf("page %d: %d overflow pages", id, over)
	}
	if n := int(1+over) * pageSize; n > len(p) {
		w.bufs[level] = append(make([]byte, 0, n), p[:pageSize]...)[:n]
		if _, err := w.r.ReadAt(w.bufs[level][pageSize:], int64(id+1)*pageSize); err != nil {
			return nil, 0, 0, fmt.Errorf("page %d: %w", id, err)
		}
		p = w.bufs[level]
	} else if n > pageSize {
		if _, err := w.r.ReadAt(p[pageSize:n], int64(id+1)*pageSize); err != nil {
			return nil, 0, 0, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return p[:int(1+over)*pageSize], flags, count, nil
}

// leafDepth returns the level of the leaves under the bucket root id, which is
// the same for all of them.
func (w *pageWalker) leafDepth(id uint64) (int, error) {
	for level := 1; ; level++ {
		p, flags, count, err := w.read(id, level)
		if err != nil {
			return 0, err
		}
		if flags != pageBranch || count == 0 {
			return level, nil
		}
		id = le.Uint64(p[pageHeader+8:])
	}
}

// tree walks the page id, whose keys must lie in [lo, hi), and what is under
// it. Pages at level leaves are marked and not read, unless it is -1.
func (w *pageWalker) tree(id uint64, lo, hi []byte, level, leaves int) error {
	if level == leaves && level > 1 {
		return w.mark(id, 1)
	}
	p, flags, count, err := w.read(id, level)
	if err != nil {
		return err
	}
	if err := w.mark(id, uint64(len(p)/pageSize)); err != nil {
		return err
	}
	if flags == pageFreelist || flags == pageBranch && count == 0 || count == 0 && lo != nil {
		return fmt.Errorf("page %d: flags %#x and %d elements where a node belongs", id, flags, count)
	}
	if flags == pageLeaf {
		return w.leaf(id, p, count, lo, hi, level == 0)
	}
	key := func(i int) ([]byte, error) {
		e := p[pageHeader+i*elemSize:]
		return slot(p, pageHeader+i*elemSize, count, le.Uint32(e), le.Uint32(e[4:]))
	}
	if pageHeader+count*elemSize > len(p) {
		return fmt.Errorf("page %d: %d elements", id, count)
	}
	for i := range count {
		k, err := key(i)
		next := hi
		if err == nil && i+1 < count {
			next, err = key(i + 1)
		}
		if err != nil || bytes.Compare(k, lo) < 0 || next != nil && bytes.Compare(k, next) >= 0 {
			return fmt.Errorf("page %d: element %d out of place", id, i)
		}
		if err := w.tree(le.Uint64(p[pageHeader+i*elemSize+8:]), k, next, level+1, leaves); err != nil {
			return err
		}
	}
	return nil
}

var errSlot = errors.New("element outside of its page")

// slot returns n bytes at pos from the element at off in p.
func slot(p []byte, off, count int, pos, n uint32) ([]byte, error) {
	start := uint64(off) + uint64(pos)
	if start < uint64(pageHeader+count*elemSize) || start+uint64(n) > uint64(len(p)) {
		return nil, errSlot
	}
	return p[start : start+uint64(n)], nil
}

// leaf checks a leaf, or the page of an inline bucket. Buckets may only be in
// the root.
func (w *pageWalker) leaf(id uint64, p []byte, count int, lo, hi []byte, root bool) error {
	if pageHeader+count*elemSize > len(p) {
		return fmt.Errorf("page %d: %d elements", id, count)
	}
	for i := range count {
		off := pageHeader + i*elemSize
		e := p[off:]
		flags, pos, ksize, vsize := le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:]), le.Uint32(e[12:])
		k, err := slot(p, off, count, pos, ksize)
		if err != nil || ksize == 0 || bytes.Compare(k, lo) < 0 || i > 0 && bytes.Equal(k, lo) || hi != nil && bytes.Compare(k, hi) >= 0 {
			return fmt.Errorf("page %d: key %d out of place", id, i)
		}
		if vsize > 1<<30 || pos > 1<<30 || ksize > 1<<16 {
			return fmt.Errorf("page %d: value %d out of place", id, i)
		}
		v, err := slot(p, off, count, pos+ksize, vsize)
		if err != nil || flags > elemBucket || root != (flags == elemBucket) {
			return fmt.Errorf("page %d: value %d out of place", id, i)
		}
		if flags == elemBucket {
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
func (w *pageWalker) bucket(id uint64, v []byte) error {
	if len(v) < 16 {
		return fmt.Errorf("page %d: bucket of %d bytes", id, len(v))
	}
	if root := le.Uint64(v); root != 0 {
		w.buckets = append(w.buckets, root)
		return nil
	}
	if v = v[16:]; len(v) < pageHeader || le.Uint16(v[8:]) != pageLeaf {
		return fmt.Errorf("page %d: inline bucket without a leaf", id)
	}
	return w.leaf(id, v, int(le.Uint16(v[10:])), nil, nil, false)
}

// freelist checks the list of free pages, which bbolt keeps on disk only in a
// file that was never written to with the list off.
func (w *pageWalker) freelist(id uint64) error {
	p, flags, count, err := w.read(id, 0)
	if err != nil {
		return err
	}
	if flags != pageFreelist || count == 0xFFFF || pageHeader+8*count > len(p) {
		return fmt.Errorf("page %d: not a free list", id)
	}
	if err := w.mark(id, uint64(len(p)/pageSize)); err != nil {
		return err
	}
	for i := range count {
		if err := w.mark(le.Uint64(p[pageHeader+8*i:]), 1); err != nil {
			return fmt.Errorf("free list: %w", err)
		}
	}
	return nil
}
