package eventlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// scanBytes bounds what one transaction of eachChunk copies.
const scanBytes = 1 << 20

// eachChunk hands a copy of every chunk that may hold events of from..to to
// fn, outside of any transaction. With need, chunks without one of these flags
// are passed over. The chunks are as they are on disk, unchecked.
func (s *segment) eachChunk(from, to Seq, need byte, fn func(key, chunk []byte)) error {
	seek := seqKey(from)
	for {
		var rows []row
		copied := 0
		err := s.view(func(tx storeTx) error {
			c, ok := tx.cursor(bucketChunks)
			if !ok {
				return nil
			}
			for k, v := c.Seek(seek); k != nil; k, v = c.Next() {
				// What is beyond a torn or hostile key is for fn to judge.
				if len(k) == 8 && len(v) >= chunkFixed && Seq(binary.BigEndian.Uint64(v[8:])) > to {
					seek = nil
					return nil
				}
				if copied > scanBytes {
					seek = bytes.Clone(k)
					return nil
				}
				if need != 0 && (len(v) < 3 || v[2]&need == 0) {
					continue
				}
				rows = append(rows, row{bytes.Clone(k), bytes.Clone(v)})
				copied += len(v)
			}
			seek = nil
			return nil
		})
		for _, r := range rows {
			fn(r.key, r.value)
		}
		if err != nil || seek == nil {
			return err
		}
	}
}

// each calls fn for every file under blobs/; isBlob says that its name is that
// of a blob, and in its place.
func (b *blobs) each(fn func(name string, isBlob bool) error) error {
	root := filepath.Join(b.dir, "blobs")
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if e.IsDir() {
			return nil
		}
		name, err := filepath.Rel(b.dir, path)
		if err != nil {
			return err
		}
		var sum [32]byte
		n, err := hex.Decode(sum[:], []byte(e.Name()[:min(len(e.Name()), 64)]))
		return fn(name, err == nil && n == len(sum) && name == blobName(&sum))
	})
}

// Sweep removes the files in blobs/ that no event refers to, and returns their
// names. Appends with large payloads wait while it removes.
func (d *DB) Sweep() (removed []string, err error) {
	if d.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	removed, _, err = d.sweep(func(string, bool) bool { return true })
	return removed, err
}

// sweep removes those files that no event refers to and that pick picks, and
// returns their names and how many bytes they had.
func (d *DB) sweep(pick func(name string, isBlob bool) bool) (removed []string, freed int64, err error) {
	refs := make(map[string]bool)
	head := d.Head()
	if err := d.references(refs, 1, head); err != nil {
		return nil, 0, err
	}
	// From here on no append has a blob without a durable event: what was
	// appended since is looked at, and then every reference is known.
	d.blobs.referring.Lock()
	defer d.blobs.referring.Unlock()
	if err := d.Err(); err != nil {
		// An append of unknown outcome may refer to any of them.
		return nil, 0, fmt.Errorf("%w: %w", ErrStopped, stripUnknown(err))
	}
	if err := d.references(refs, head+1, d.Head()); err != nil {
		return nil, 0, err
	}
	err = d.blobs.each(func(name string, isBlob bool) error {
		if isBlob && refs[name] || !pick(name, isBlob) {
			return nil
		}
		if err := d.opts.fail("sweep.before-remove"); err != nil {
			return err
		}
		path := filepath.Join(d.dir, name)
		if fi, err := os.Stat(path); err == nil {
			freed += fi.Size()
		}
		removed = append(removed, name)
		return os.Remove(path)
	})
	return removed, freed, err
}

// references collects the names that blobs have, or may have, that the events from..to
// refer to.
func (d *DB) references(refs map[string]bool, from, to Seq) error {
	d.rewriting.RLock()
	defer d.rewriting.RUnlock()
	segs, err := d.readable()
	if err != nil {
		return err
	}
	segs = slices.Clone(segs)
	for i := max(segmentOf(segs, from), 0); i < len(segs) && segs[i].first <= to; i++ {
		s := segs[i]
		var rec record
		var bad error
		err := s.eachChunk(max(from, s.first), to, flagBlobs, func(key, v []byte) {
			ck, err := parseChunk(v, s.ring)
			for j := 0; err == nil && j < ck.count; j++ {
				if err = ck.parse(j, &rec); err == nil && rec.form == payloadBlob {
					for _, name := range d.blobs.names(&rec.blob.sum) {
						refs[name] = true
					}
				}
			}
			if err != nil && bad == nil {
				bad = s.corrupt(ck.first, RunID{}, "events", err)
			}
		})
		if err = errors.Join(err, bad); err != nil {
			return err
		}
	}
	return nil
}
