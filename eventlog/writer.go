package eventlog

import (
	"cmp"
	"errors"
	"fmt"
)

// write is the writer: it commits the open batch whenever there is one and nobody
// else does, and never waits for a batch to grow: while it commits, the next one
// collects.
func (d *DB) write() {
	defer close(d.writerDone)
	for range d.wake {
		for {
			d.mu.Lock()
			cuts, closing := d.cuts, d.closing
			if d.busy { // who is busy rings when that is over
				d.mu.Unlock()
				break
			}
			if d.batch.events == 0 && len(cuts) == 0 {
				d.mu.Unlock()
				if closing {
					return
				}
				break
			}
			d.cuts = nil
			b := d.take()
			d.mu.Unlock()
			d.cutNow(cuts)
			if b != nil {
				d.store(b)
			}
			d.mu.Lock()
			d.busy = false
			d.mu.Unlock()
		}
	}
}

// take takes the open batch, to store it, and notes that somebody is busy. It is nil if
// there is nothing in it: it stays open then. Called with mu held, while nobody is busy.
func (d *DB) take() *batch {
	d.busy = true
	b := d.batch
	if b.events == 0 {
		return nil
	}
	d.alone = len(b.entries) == 1
	d.batch = newBatch(d.spare)
	d.spare = nil
	return b
}

// storeOwn stores a batch that an appender has taken, on the appender's goroutine.
func (d *DB) storeOwn(b *batch) {
	d.store(b)
	d.mu.Lock()
	d.busy = false
	more := d.batch.events > 0 || len(d.cuts) > 0 || d.closing
	d.mu.Unlock()
	if more {
		poke(d.wake)
	}
}

// store commits a batch that was taken and settles it.
func (d *DB) store(b *batch) {
	close(b.taken)
	if err := d.commit(b); err != nil {
		d.fail(b, err)
	} else {
		d.acknowledge(b)
	}
}

// commit stores b, and on error leaves the writer's position as it was.
func (d *DB) commit(b *batch) (err error) {
	if d.full() {
		if err := d.rotate(); err != nil {
			if outOfSpace(err) {
				return fmt.Errorf("%w: %w", ErrFull, err)
			}
			return fmt.Errorf("%w: next segment: %w", ErrStopped, err)
		}
	}
	edge, lastTime := d.edge, d.lastTime
	defer func() {
		if err != nil {
			d.edge, d.lastTime = edge, lastTime
		}
	}()
	s := d.open()
	b.base = Seq(d.edge.size) + 1
	w := d.pack(b)
	if err := d.opts.fail("commit.before"); err != nil {
		if outOfSpace(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return commitError(err)
	}
	update := s.file.updateOnce
	if !s.signed {
		update = s.file.update // there is no commit that could be gone back to
	}
	var commit uint64
	err = update(func(tx storeTx) error {
		commit = tx.id()
		if b.base == s.first {
			info := segmentInfo{start: s.start}
			if err := tx.put(bucketMeta, keyStart, info.bytes()); err != nil {
				return err
			}
		}
		w.used = tx.size()
		return cmp.Or(tx.putAll(bucketChunks, w.chunks), tx.putAll(bucketNodes, w.nodes),
			tx.setLast(bucketChunks, Seq(d.edge.size)), sign(tx))
	})
	if err == nil {
		s.signed = true
		err = d.noteSynced(s, commit)
	}
	// Dying here, after the commit, leaves events that nobody was told of:
	// their producers ask again and find them by their append ID.
	if err == nil {
		err = d.opts.fail("commit.after")
	}
	if err != nil {
		return commitError(err)
	}
	return d.index(s, b, w)
}

// commitError decides what an error of a commit means.
func commitError(err error) error {
	if errors.Is(err, ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// row is what is put under a key.
type row struct{ key, value []byte }

// written is a batch as it goes to disk.
type written struct {
	chunks, nodes []row
	values        []byte // of chunks
	used          int64
}

// pack carries the tree over the batch and lays its records out in chunks. What it
// returns is good until the next batch is packed.
func (d *DB) pack(b *batch) *written {
	w := &d.packed
	*w = written{chunks: w.chunks[:0], nodes: w.nodes[:0], values: w.values[:0]}
	if cap(w.values) > maxPooled {
		*w = written{}
	}
	for _, e := range b.entries {
		d.lastTime = max(d.lastTime, e.times[len(e.times)-1])
		for _, leaf := range e.leaves {
			d.edge.add(0, leaf, func(level int, index uint64, h [32]byte) {
				if isStored(level) {
					w.nodes = append(w.nodes, row{nodeKey(level, index), append([]byte(nil), h[:]...)})
				}
			})
		}
	}
	head := treeHead{size: d.edge.size, root: d.edge.root(), time: d.lastTime}
	p := &d.packer
	p.first = b.base
	finish := func(head *treeHead) {
		start := len(w.values)
		w.values = p.finish(w.values, head)
		w.chunks = append(w.chunks, row{seqKey(p.first - 1), w.values[start:len(w.values):len(w.values)]})
	}
	for _, e := range b.entries {
		start := 0
		for i, end := range e.ends {
			rec := e.bytes[start:end]
			if !p.fits(len(rec)) {
				finish(nil)
			}
			p.add(rec, e.isBlob != nil && e.isBlob[i])
			start = end
		}
	}
	finish(&head)
	// Level-16 nodes sort after those of level 8.
	sortRows(w.nodes)
	return w
}

// index makes the batch visible to readers of runs.
func (d *DB) index(s *segment, b *batch, w *written) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq := b.base
	for _, e := range b.entries {
		for i, t := range e.times {
			if err := s.note(e.run, e.first+Version(i), t, seq); err != nil {
				// Enqueue has checked this: the order of the index is broken.
				return fmt.Errorf("%w: run %v: %w", ErrUnknown, e.run, err)
			}
			seq++
		}
	}
	s.used = w.used
	s.chunks += len(w.chunks)
	s.file.sizeFor(w.used)
	return nil
}

// acknowledge tells everyone, in this order: the durable head, the observer,
// the producers.
func (d *DB) acknowledge(b *batch) {
	d.commits.Add(1)
	d.publish()
	d.mu.Lock()
	for _, e := range b.entries {
		if d.pending[e.run].version == e.head().version {
			delete(d.pending, e.run)
		}
	}
	d.mu.Unlock()
	if d.opts.OnCommit != nil {
		d.opts.OnCommit(d.Head())
	}
	d.settle(b, nil)
	d.prepareAhead()
}

// fail settles b, and with it everything enqueued behind it: that was decided
// on versions which do not exist now.
func (d *DB) fail(b *batch, err error) {
	full := errors.Is(err, ErrFull)
	if !full {
		d.stop(err)
	}
	d.mu.Lock()
	behind := d.batch
	d.batch = newBatch(nil)
	clear(d.pending)
	d.mu.Unlock()
	close(behind.taken)
	d.settle(b, err)
	if full {
		d.settle(behind, err)
	} else {
		d.settle(behind, fmt.Errorf("%w: %w", ErrStopped, stripUnknown(err)))
	}
}

// settle makes the outcome of b final and wakes its producers with one close.
func (d *DB) settle(b *batch, err error) {
	b.err = err
	for _, e := range b.entries {
		if e.isBlob != nil {
			d.blobs.referring.RUnlock()
		}
	}
	recycle := b.entries
	b.entries = nil
	close(b.done)
	for i, e := range recycle {
		recycle[i] = nil
		if cap(e.bytes) <= maxPooled {
			entries.Put(e)
		}
	}
	d.spare = recycle[:0]
}

// maxPooled keeps one huge append from being held for ever.
const maxPooled = 1 << 20
