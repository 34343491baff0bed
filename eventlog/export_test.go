package eventlog

import (
	"bytes"
	"encoding/binary"

	"github.com/wfd-dev/wfd/eventlog/boltfile"
)

// Enqueued returns how many events wait for the writer.
func (d *DB) Enqueued() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.batch.events
}

// LivePages returns the pages that the trees of a bbolt file refer to, the
// newer meta page included; for any other file, all.
func LivePages(b []byte) map[int]bool {
	live := make(map[int]bool)
	m, err := boltfile.ReadMeta(bytes.NewReader(b), pageSize)
	if err != nil {
		for i := range len(b)/pageSize + 1 {
			live[i] = true
		}
		return live
	}
	used, _ := m.Used(bytes.NewReader(b), int64(len(b))) // of a damaged file, what can be found
	for i, u := range used {
		if u && i > 1 {
			live[i] = true
		}
	}
	live[int(m.Tx%2)] = true
	return live
}

// InertByte reports whether nothing depends on the byte at offset at of a
// bbolt file: it is in no header, element, key or value of a live page.
func InertByte(b []byte, at int) bool {
	le := binary.LittleEndian
	page := at / pageSize
	// Go back to the first page of an overflowing one.
	live := LivePages(b)
	start := page
	for start > 1 {
		p := b[start*pageSize:]
		if int(le.Uint64(p)) == start && (le.Uint16(p[8:]) == boltfile.FlagLeaf || le.Uint16(p[8:]) == boltfile.FlagBranch) &&
			start+int(le.Uint32(p[12:])) >= page && live[start] {
			break
		}
		start--
	}
	if start <= 1 {
		return at%pageSize >= boltfile.HeaderSize+64 || at%pageSize < boltfile.HeaderSize
	}
	p, off := b[start*pageSize:], at-start*pageSize
	count := int(le.Uint16(p[10:]))
	if off < boltfile.HeaderSize+count*boltfile.ElementSize {
		return false
	}
	for i := range count {
		e := boltfile.HeaderSize + i*boltfile.ElementSize
		pos, n := e+int(le.Uint32(p[e:])), int(le.Uint32(p[e+4:]))
		if le.Uint16(p[8:]) == boltfile.FlagLeaf {
			pos, n = e+int(le.Uint32(p[e+4:])), int(le.Uint32(p[e+8:]))+int(le.Uint32(p[e+12:]))
		}
		if off < pos || off >= pos+n {
			continue
		}
		if le.Uint16(p[8:]) == boltfile.FlagLeaf && le.Uint32(p[e:]) == boltfile.ElementBucket {
			// A bucket's sequence is not used, nor the page ID and overflow of
			// an inline one.
			in := off - pos - int(le.Uint32(p[e+8:]))
			inline := le.Uint64(p[pos+int(le.Uint32(p[e+8:])):]) == 0
			return in >= 8 && in < 16 || inline && (in >= 16 && in < 24 || in >= 28 && in < 32)
		}
		return false
	}
	return true
}

// HighWater returns how much of a bbolt file is in use.
func HighWater(b []byte) int64 {
	m, err := boltfile.ReadMeta(bytes.NewReader(b), pageSize)
	if err != nil {
		panic(err)
	}
	return int64(m.Pages) * pageSize
}
