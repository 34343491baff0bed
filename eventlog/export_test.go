package eventlog

import "bytes"

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
	m, _, err := readMeta(bytes.NewReader(b))
	if err != nil {
		for i := range len(b)/pageSize + 1 {
			live[i] = true
		}
		return live
	}
	live[int(m.txid%2)] = true
	w := &pageWalker{r: bytes.NewReader(b), hwm: m.hwm, deep: true, seen: make([]uint64, m.hwm/64+1)}
	w.tree(m.root, nil, nil, 0, -1)
	for _, r := range w.buckets {
		w.tree(r, nil, nil, 1, -1)
	}
	for i := range m.hwm {
		if w.seen[i/64]>>(i%64)&1 == 1 {
			live[int(i)] = true
		}
	}
	return live
}

// InertByte reports whether nothing depends on the byte at offset at of a
// bbolt file: it is in no header, element, key or value of a live page.
func InertByte(b []byte, at int) bool {
	page := at / pageSize
	// Go back to the first page of an overflowing one.
	live := LivePages(b)
	start := page
	for start > 1 {
		p := b[start*pageSize:]
		if int(le.Uint64(p)) == start && (le.Uint16(p[8:]) == pageLeaf || le.Uint16(p[8:]) == pageBranch) &&
			start+int(le.Uint32(p[12:])) >= page && live[start] {
			break
		}
		start--
	}
	if start <= 1 {
		return at%pageSize >= pageHeader+64 || at%pageSize < pageHeader
	}
	p, off := b[start*pageSize:], at-start*pageSize
	count := int(le.Uint16(p[10:]))
	if off < pageHeader+count*elemSize {
		return false
	}
	for i := range count {
		e := pageHeader + i*elemSize
		pos, n := e+int(le.Uint32(p[e:])), int(le.Uint32(p[e+4:]))
		if le.Uint16(p[8:]) == pageLeaf {
			pos, n = e+int(le.Uint32(p[e+4:])), int(le.Uint32(p[e+8:]))+int(le.Uint32(p[e+12:]))
		}
		if off < pos || off >= pos+n {
			continue
		}
		if le.Uint16(p[8:]) == pageLeaf && le.Uint32(p[e:]) == elemBucket {
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
	m, _, err := readMeta(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	return int64(m.hwm) * pageSize
}
