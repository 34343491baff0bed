package eventlog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// A sealed segment is rewritten when payloads in it are to go: deleting a value
// in a bbolt file leaves its bytes in a free page, so the file is written anew
// without them, beside the old one, and takes its name. Seqs, versions, leaves
// and tree stay as they are. Steps, and what dying after each leaves behind:
//
//	the new file, complete and synced under a temporary name   removed by the next start
//	its digest beside the old one's in the catalog             the old file is valid: the next start drops the other digest
//	rename over the old file                                   the new file is valid: the next start drops the other digest
//	its digest alone in the catalog                            done

// rewriteTx bounds what one transaction of a rewrite writes: bbolt keeps it in
// memory.
const rewriteTx = 8 << 20

// rewrite writes a sealed segment anew, with each event's record changed by edit.
// It returns by how many bytes the file has become smaller.
func (d *DB) rewrite(ctx context.Context, s *segment, next edge, edit func(Seq, *record) error) (freed int64, err error) {
	d.sealing.Lock()
	err = d.settleDigest(s)
	d.sealing.Unlock()
	if err != nil {
		return 0, err
	}
	row, err := d.digestRow(s)
	if err != nil {
		return 0, err
	}
	tmp := s.path + tmpSuffix
	defer os.Remove(tmp) // gone if all went well
	if err := d.copySegment(ctx, s, tmp, next, edit); err != nil {
		return 0, err
	}
	if row.next, err = digestOf(tmp); err != nil {
		return 0, err
	}
	if err := d.opts.fail("rewrite.before-catalog"); err != nil {
		return 0, err
	}
	if err := d.putDigest(s, row); err != nil {
		return 0, err
	}
	if err := d.opts.fail("rewrite.before-rename"); err != nil {
		return 0, err
	}
	if err := d.replace(s, tmp); err != nil {
		return 0, err
	}
	if err := d.opts.fail("rewrite.after-rename"); err != nil {
		return 0, err
	}
	return row.now.size - row.next.size, d.putDigest(s, digestRow{now: row.next})
}

// replace gives the file at tmp the name of s. Readers wait for no longer than
// that takes; whoever walks the chunks of a segment in several transactions keeps
// it from happening in between.
func (d *DB) replace(s *segment, tmp string) error {
	d.rewriting.Lock()
	defer d.rewriting.Unlock()
	s.fileMu.Lock()
	defer s.fileMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if s.file != nil {
		if err := s.file.close(); err != nil {
			return err
		}
		s.file = nil
	}
	if err := os.Rename(tmp, s.path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(s.path))
}

// copySegment writes the segment to a new file at path. The tree over what it
// wrote must end in next, as the catalog has it: damage is not copied.
func (d *DB) copySegment(ctx context.Context, s *segment, path string, next edge, edit func(Seq, *record) error) (err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name := s.name + tmpSuffix
	out, err := boltOpen(path, name, false, 2*growMin)
	if err != nil {
		return err
	}
	out.db.NoSync = true // one sync, at the end, is enough for a file without a name
	defer func() {
		if err == nil {
			err = out.db.Sync()
		}
		err = errors.Join(err, out.close())
	}()
	for _, bucket := range []string{bucketMeta, bucketNodes, bucketIndex} {
		if err := s.copyBucket(out, bucket); err != nil {
			return err
		}
	}
	w := repacker{out: out, edge: s.start, time: d.timeBefore(s)}
	w.packer.first, w.packer.ring = s.first, d.ring
	var bad error
	err = s.eachChunk(s.first, s.last, 0, func(key, v []byte) {
		if bad == nil {
			bad = cmp.Or(ctx.Err(), w.chunk(key, v, edit))
		}
	})
	if err = cmp.Or(bad, err); err == nil {
		err = w.flush(true)
	}
	if err == nil && w.edge != next {
		err = errors.New("the events do not match the tree head after the segment")
	}
	if err != nil && ctx.Err() == nil && !w.failed && !outOfSpace(err) {
		err = s.corrupt(Seq(w.edge.size)+1, RunID{}, "it cannot be rewritten", err)
	}
	return err
}

// timeBefore returns the latest time of the events before s.
func (d *DB) timeBefore(s *segment) (latest int64) {
	for _, b := range *d.segs.Load() {
		if b.first < s.first {
			b.mu.RLock()
			latest = max(latest, b.maxTime)
			b.mu.RUnlock()
		}
	}
	return latest
}

// copyBucket copies a bucket as it is.
func (s *segment) copyBucket(out *store, bucket string) error {
	for from := []byte{}; from != nil; {
		var rows []row
		err := s.view(func(tx storeTx) error {
			c, ok := tx.cursor(bucket)
			if !ok {
				return nil
			}
			copied := 0
			for k, v := c.Seek(from); k != nil; k, v = c.Next() {
				if copied > scanBytes {
					from = bytes.Clone(k)
					return nil
				}
				rows = append(rows, row{bytes.Clone(k), bytes.Clone(v)})
				copied += len(k) + len(v)
			}
			from = nil
			return nil
		})
		if err == nil {
			err = out.putRows(bucket, rows)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// repacker lays the records of a segment out in chunks as full as can be, each
// with the tree head after it.
type repacker struct {
	out    *store
	packer chunkWriter
	edge   edge
	time   int64
	rows   []row
	bytes  int
	failed bool // the new file cannot be written: nothing is wrong with the old one
	buf    []byte
}

// chunk takes the records of a chunk as it is on disk.
func (w *repacker) chunk(key, v []byte, edit func(Seq, *record) error) error {
	ck, err := chunkAt(w.packer.ring, key, v, Seq(w.edge.size)+1)
	if err != nil {
		return err
	}
	var rec record
	for i := range ck.count {
		if err := ck.parse(i, &rec); err != nil {
			return err
		}
		leaf := rec.leaf()
		if err := edit(Seq(w.edge.size)+1, &rec); err != nil {
			return err
		}
		if rec.leaf() != leaf {
			return fmt.Errorf("the rewritten event %d has another leaf", w.edge.size+1)
		}
		w.buf = rec.appendTo(w.buf[:0])
		if !w.packer.fits(len(w.buf)) {
			if err := w.flush(false); err != nil {
				return err
			}
		}
		w.packer.add(w.buf, rec.form == payloadBlob)
		w.edge.add(0, leaf, nil)
		w.time = max(w.time, rec.time)
	}
	return nil
}

// flush ends the chunk, and writes what there is when it is enough for a
// transaction, or all.
func (w *repacker) flush(all bool) error {
	if len(w.packer.starts) > 0 {
		v := w.packer.finish(make([]byte, 0, w.packer.size()), &treeHead{size: w.edge.size, root: w.edge.root(), time: w.time})
		w.rows = append(w.rows, row{seqKey(w.packer.first - 1), v})
		w.bytes += len(v)
	}
	if !all && w.bytes < rewriteTx {
		return nil
	}
	err := w.out.putRows(bucketChunks, w.rows)
	w.rows, w.bytes, w.failed = w.rows[:0], 0, err != nil
	return err
}

// putRows puts rows in one transaction; the bucket is there afterwards in any case.
func (s *store) putRows(bucket string, rows []row) error {
	return s.update(func(tx storeTx) error {
		put, err := tx.writer(bucket)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := put(r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// cut closes the open segment and seals it, so that it can be rewritten. An empty
// one is left alone.
func (d *DB) cut(ctx context.Context) error {
	done := make(chan error, 1)
	d.mu.Lock()
	if err := d.refusal(); err != nil {
		d.mu.Unlock()
		return err
	}
	d.cuts = append(d.cuts, done)
	d.mu.Unlock()
	poke(d.wake)
	select {
	case err := <-done:
		if err != nil {
			return err
		}
		return d.sealFull()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cutNow is the writer's part of cut.
func (d *DB) cutNow(waiting []chan error) {
	if len(waiting) == 0 {
		return
	}
	err := d.Err() // nothing is written after a commit of unknown outcome
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrStopped, stripUnknown(err))
	}
	if s := d.open(); err == nil && s.last >= s.first {
		if err = d.rotate(); err != nil && outOfSpace(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		} else if err != nil {
			d.stop(err)
		}
	}
	for _, c := range waiting {
		c <- err
	}
}

// nextSegmentEdge returns the tree before the segment after segs[i].
func nextSegmentEdge(segs []*segment, s *segment) (edge, bool) {
	i := slices.Index(segs, s)
	if i < 0 || i+1 >= len(segs) {
		return edge{}, false
	}
	return segs[i+1].start, true
}
