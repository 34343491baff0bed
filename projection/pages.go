package projection

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

// bbolt believes its file. A page number out of range is a memory fault, a cycle
// a stack overflow, and a wrong list of free pages overwrites rows that are in
// use. So before bbolt maps a file it is looked at here with plain reads: the
// meta pages and the length always, every page while the file is small enough
// that nobody notices. The layout is that of bbolt 1.x.

const (
	pageHead = 16
	elemHead = 16

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageFreelist = 0x10
	elemBucket   = 0x01

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	maxPageSize = 1 << 16
	maxLevels   = 32
)

// walkBelow is the size up to which a file is read whole when it is opened.
const walkBelow = 64 << 20

// checkFile returns damage if bbolt had better not open the file. A file that
// is missing or empty is sound: it will be created.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	p := &pageFile{r: f}
	if err := p.readMeta(); err != nil {
		return err
	}
	if p.hwm < 4 || p.hwm > uint64(info.Size())/uint64(p.size) || p.root >= p.hwm || p.freelist >= p.hwm {
		return damaged("the file has %d bytes, its head speaks of %d pages", info.Size(), p.hwm)
	}
	p.uses = make([]uint8, p.hwm)
	p.uses[0], p.uses[1] = 1, 1
	if err := p.free(); err != nil {
		return err
	}
	if info.Size() > walkBelow {
		return nil
	}
	if err := p.walk(p.root, nil, nil, 0); err != nil {
		return err
	}
	for id, n := range p.uses {
		if n == 0 {
			return damaged("page %d is neither used nor free", id)
		}
	}
	return nil
}

type pageFile struct {
	r                   io.ReaderAt
	size                int // of a page
	root, freelist, hwm uint64
	uses                []uint8 // by page: 1 once it was seen
}

// readMeta takes the newer of the two meta pages that are valid.
func (p *pageFile) readMeta() error {
	le := binary.LittleEndian
	var best uint64
	for size := 1 << 10; size <= maxPageSize; size <<= 1 {
		for i := range int64(2) {
			var b [80]byte
			if _, err := p.r.ReadAt(b[:], i*int64(size)); err != nil {
				continue // too short: no meta page here
			}
			m := b[pageHead:]
			sum := fnv.New64a()
			sum.Write(m[:56])
			if le.Uint32(m) != boltMagic || le.Uint32(m[4:]) != boltVersion || le.Uint32(m[8:]) != uint32(size) ||
				le.Uint64(m[56:]) != sum.Sum64() {
				continue
			}
			if tx := le.Uint64(m[48:]); p.size == 0 || tx > best {
				best, p.size = tx, size
				p.root, p.freelist, p.hwm = le.Uint64(m[16:]), le.Uint64(m[32:]), le.Uint64(m[40:])
			}
		}
	}
	if p.size == 0 {
		return damaged("it has no valid head")
	}
	return nil
}

// checkFreeHead looks at the head of the list of free pages.
func checkFreeHead(r io.ReaderAt) error {
	p := &pageFile{r: r}
	if err := p.readMeta(); err != nil {
		return err
	}
	head, _, err := p.head(p.freelist)
	if err == nil && binary.LittleEndian.Uint16(head[8:]) != pageFreelist {
		err = damaged("page %d is not the list of free pages", p.freelist)
	}
	return err
}

// head reads the head of a page: whose it is and how many follow it.
func (p *pageFile) head(id uint64) (b [pageHead]byte, over uint64, err error) {
	if id < 2 || id >= p.hwm {
		return b, 0, damaged("page %d is out of range", id)
	}
	if _, err := p.r.ReadAt(b[:], int64(id)*int64(p.size)); err != nil {
		return b, 0, damaged("page %d: %v", id, err)
	}
	over = uint64(binary.LittleEndian.Uint32(b[12:]))
	if binary.LittleEndian.Uint64(b[:]) != id || over >= p.hwm-id {
		return b, 0, damaged("page %d has another's head", id)
	}
	return b, over, nil
}

// page reads a page with its overflow and marks all of it as used.
func (p *pageFile) page(id uint64) (b []byte, flags uint16, count int, err error) {
	_, over, err := p.head(id)
	if err != nil {
		return nil, 0, 0, err
	}
	le := binary.LittleEndian
	b = make([]byte, (over+1)*uint64(p.size))
	if _, err := p.r.ReadAt(b, int64(id)*int64(p.size)); err != nil {
		return nil, 0, 0, damaged("page %d: %v", id, err)
	}
	for i := id; i <= id+over; i++ {
		if p.uses[i]++; p.uses[i] > 1 {
			return nil, 0, 0, damaged("page %d is used twice", i)
		}
	}
	return b, le.Uint16(b[8:]), int(le.Uint16(b[10:])), nil
}

// free reads the list of free pages.
func (p *pageFile) free() error {
	b, flags, count, err := p.page(p.freelist)
	if err != nil {
		return err
	}
	if flags != pageFreelist {
		return damaged("page %d is not the list of free pages", p.freelist)
	}
	b = b[pageHead:]
	le := binary.LittleEndian
	if count == 0xffff {
		count = int(min(le.Uint64(b), p.hwm))
		b = b[8:]
	}
	if count*8 > len(b) {
		return damaged("the list of free pages is too long")
	}
	for i := range count {
		id := le.Uint64(b[i*8:])
		if id < 2 || id >= p.hwm {
			return damaged("page %d is free and out of range", id)
		}
		if p.uses[id]++; p.uses[id] > 1 {
			return damaged("page %d is free twice", id)
		}
	}
	return nil
}

// walk proves that the tree at page id has sound elements in order, with keys
// from low on and below high (nil: no bound).
func (p *pageFile) walk(id uint64, low, high []byte, level int) error {
	if level > maxLevels {
		return damaged("its tree is too deep")
	}
	b, flags, count, err := p.page(id)
	if err != nil {
		return err
	}
	return p.elements(b, flags, count, low, high, level)
}

func (p *pageFile) elements(b []byte, flags uint16, count int, low, high []byte, level int) error {
	le := binary.LittleEndian
	id := le.Uint64(b)
	if flags != pageBranch && flags != pageLeaf || flags == pageBranch && count == 0 {
		return damaged("page %d is neither branch nor leaf", id)
	}
	if pageHead+count*elemHead > len(b) {
		return damaged("page %d has too many elements", id)
	}
	// key returns element i's key and what follows it.
	key := func(i int) (k, rest []byte, ok bool) {
		at := pageHead + i*elemHead
		pos, n := int(le.Uint32(b[at:])), int(le.Uint32(b[at+4:]))
		if flags == pageLeaf {
			pos, n = int(le.Uint32(b[at+4:])), int(le.Uint32(b[at+8:]))
		}
		if pos > len(b)-at || n > len(b)-at-pos || pos < elemHead {
			return nil, nil, false
		}
		return b[at+pos : at+pos+n], b[at+pos+n:], true
	}
	prev := low
	for i := range count {
		k, rest, ok := key(i)
		if !ok {
			return damaged("page %d: element %d is out of bounds", id, i)
		}
		if c := bytes.Compare(k, prev); c < 0 || c == 0 && (i > 0 || flags == pageLeaf && len(k) == 0) || high != nil && bytes.Compare(k, high) >= 0 {
			return damaged("page %d: element %d is out of order", id, i)
		}
		prev = k
		at := pageHead + i*elemHead
		if flags == pageBranch {
			next := high
			if i+1 < count {
				if next, _, ok = key(i + 1); !ok {
					return damaged("page %d: element %d is out of bounds", id, i+1)
				}
			}
			if err := p.walk(le.Uint64(b[at+8:]), k, next, level+1); err != nil {
				return err
			}
			continue
		}
		n := int(le.Uint32(b[at+12:]))
		if n > len(rest) {
			return damaged("page %d: element %d is out of bounds", id, i)
		}
		if le.Uint32(b[at:])&elemBucket != 0 {
			if err := p.bucket(rest[:n], level); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket walks the tree of a bucket, which is in pages of its own or, while it
// is small, inside its entry.
func (p *pageFile) bucket(v []byte, level int) error {
	le := binary.LittleEndian
	if len(v) < 16 {
		return damaged("a bucket has no head")
	}
	if root := le.Uint64(v); root != 0 {
		return p.walk(root, nil, nil, level+1)
	}
	v = v[16:]
	if len(v) < pageHead || le.Uint16(v[8:]) != pageLeaf {
		return damaged("a bucket has no page")
	}
	return p.elements(v, pageLeaf, int(le.Uint16(v[10:])), nil, nil, level+1)
}
