package boltfile

// Values calls each with every key and value that lies in something that looks like a
// leaf, wherever in the file b, referred to or not: what a file still holds that
// cannot be walked. What it finds may be of any age, or never have been committed.
func Values(b []byte, pageSize int, each func(key, value []byte)) {
	for at := 2 * pageSize; at+HeaderSize <= len(b); at += pageSize {
		p := b[at:]
		count, over := int(le.Uint16(p[10:])), int(le.Uint32(p[12:]))
		if le.Uint16(p[8:]) != FlagLeaf || over > len(p)/pageSize {
			continue
		}
		p = p[:min(len(p), (1+over)*pageSize)]
		if HeaderSize+count*ElementSize > len(p) {
			continue
		}
		for i := range count {
			off := HeaderSize + i*ElementSize
			e := p[off:]
			flags, pos, ksize, vsize := le.Uint32(e), le.Uint32(e[4:]), le.Uint32(e[8:]), le.Uint32(e[12:])
			if flags != 0 || vsize > 1<<30 || pos > 1<<30 || ksize > 1<<16 {
				continue
			}
			k, err := slot(p, off, count, pos, ksize)
			if err != nil {
				continue
			}
			if v, err := slot(p, off, count, pos+ksize, vsize); err == nil {
				each(k, v)
			}
		}
	}
}
