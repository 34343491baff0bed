package eventlog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// A segment's life: prepared under log/next.tmp while its predecessor fills
// up; renamed and listed in the catalog when it becomes the open one; sealed,
// with its index on disk, once its successor is open. The writer rotates; the
// keeper, in the background, prepares and seals.

func sortRows(rows []row) {
	slices.SortFunc(rows, func(a, b row) int { return slices.Compare(a.key, b.key) })
}

// full reports whether the open segment takes no further commit.
func (d *DB) full() bool {
	s := d.open()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.used >= d.opts.segmentSize()/16*15 && s.last >= s.first
}

// prepareAhead asks for the next segment once the open one is past half full,
// so that a small log never pays for it.
func (d *DB) prepareAhead() {
	s := d.open()
	s.mu.RLock()
	used := s.used
	s.mu.RUnlock()
	if used > d.opts.segmentSize()/2 && !d.wantNext.Swap(true) {
		poke(d.keep)
	}
}

func (d *DB) nextPath() string { return filepath.Join(d.dir, logDir, "next"+tmpSuffix) }

// prepare makes log/next.tmp unless it is there.
func (d *DB) prepare() error {
	d.nextMu.Lock()
	defer d.nextMu.Unlock()
	return d.prepareLocked()
}

func (d *DB) prepareLocked() error {
	if d.nextReady {
		return nil
	}
	err := createStore(d.nextPath(), logDir+"/next"+tmpSuffix, func(tx storeTx) error {
		return tx.put(bucketMeta, keyFormat, formatValue)
	}, bucketMeta, bucketChunks, bucketNodes, bucketIndex)
	if err == nil && d.opts.Zero && len(*d.segs.Load()) > 1 {
		err = zeroFill(d.nextPath(), d.opts.segmentSize())
	}
	if err == nil {
		err = d.opts.fail("create.before-rename")
	}
	d.nextReady = err == nil
	return err
}

// zeroFill extends the file to size with blocks that are allocated and
// written: commits into them need not touch the file system's journal.
func zeroFill(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err == nil {
		zeros := make([]byte, 1<<20)
		for at := st.Size(); at < size && err == nil; at += int64(len(zeros)) {
			_, err = f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// rotate begins the next segment and leaves the open one to be sealed. Nothing
// of a batch has been written when it fails, and it goes on where it failed
// when it is called again.
func (d *DB) rotate() error {
	if err := d.lock.check(); err != nil {
		return err
	}
	if err := d.addSegment(); err != nil {
		return err
	}
	d.wantNext.Store(false)
	poke(d.keep)
	return nil
}

// addSegment makes a new open segment for the events after the present head.
func (d *DB) addSegment() error {
	s := newSegment(d.dir, d.ring, Seq(d.edge.size)+1, d.edge)
	s.runs = make(map[RunID]*runEntry)
	if err := d.nameSegment(s); err != nil {
		return err
	}
	// Dying here leaves a segment that is not listed and has no event: the next
	// start removes it.
	if err := d.opts.fail("rotate.after-rename"); err != nil {
		return err
	}
	info := segmentInfo{start: s.start}
	err := d.catalog.update(func(tx storeTx) error {
		return tx.put(bucketSegments, seqKey(s.first), info.bytes())
	})
	if err == nil {
		err = d.opts.fail("rotate.after-catalog")
	}
	// Dying here leaves an open segment without events.
	if err == nil {
		err = d.openGrowing(s)
	}
	if err != nil {
		return err
	}
	segs := append(slices.Clone(*d.segs.Load()), s)
	d.segs.Store(&segs)
	return nil
}

// nameSegment gives the prepared file the segment's name.
func (d *DB) nameSegment(s *segment) error {
	if _, err := os.Stat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return err // nil: an earlier attempt came so far
	}
	d.nextMu.Lock()
	defer d.nextMu.Unlock()
	if err := d.prepareLocked(); err != nil {
		return err
	}
	if err := d.opts.fail("rotate.before-rename"); err != nil {
		return err
	}
	if err := os.Rename(d.nextPath(), s.path); err != nil {
		return err
	}
	d.nextReady = false
	if err := durable.SyncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	return d.opts.fail("create.after-rename")
}

// keepUp is the keeper.
func (d *DB) keepUp() {
	defer close(d.keeperDone)
	for range d.keep {
		if d.Err() != nil {
			continue
		}
		if d.wantNext.Load() {
			if err := d.prepare(); err != nil {
				// The rotation tries again, and answers for it.
				d.log.Warn("the next segment could not be prepared", "error", err)
			}
		}
		if err := d.sealFull(); err != nil {
			if outOfSpace(err) {
				// Its index stays in memory until the next rotation.
				d.log.Warn("a segment could not be sealed", "error", err)
			} else {
				d.stop(err)
			}
		}
	}
}

// sealFull seals every segment that is full and not sealed yet.
func (d *DB) sealFull() error {
	d.sealing.Lock()
	defer d.sealing.Unlock()
	segs := *d.segs.Load()
	for i, s := range segs[:len(segs)-1] {
		s.mu.RLock()
		sealed := s.isSealed
		s.mu.RUnlock()
		if !sealed && d.quarantine.in(s) {
			continue // what is lost in it is found by scanning it, at every start
		}
		if sealed {
			if err := d.settleDigest(s); err != nil {
				d.log.Error("a sealed segment could not be compared with its digest", "file", s.name, "error", err)
			}
			continue
		}
		if err := d.seal(segs[:i], s); err != nil {
			return fmt.Errorf("seal %s: %w", s.name, err)
		}
	}
	return nil
}

// seal writes the index of s, then lists s as sealed with the digest of its file,
// then drops the index from memory. Dying in between leaves s unsealed: the next
// start builds the same index again and writes it over what is there.
func (d *DB) seal(before []*segment, s *segment) error {
	if err := d.opts.fail("seal.before"); err != nil {
		return err
	}
	s.mu.RLock()
	runs := s.runs // complete: appends go to a later segment
	info := segmentInfo{sealed: true, last: s.last, minTime: s.minTime, maxTime: s.maxTime, start: s.start}
	s.mu.RUnlock()
	filter := newBloom(len(runs))
	rows := make([]row, 0, len(runs))
	for _, id := range sortedRuns(runs) {
		e := *runs[id]
		if e.first > 1 {
			i, _, n, err := find(before, id)
			if err != nil {
				return err
			}
			if n == 0 {
				return s.corrupt(0, id, "the run's earlier events are in no segment", nil)
			}
			e.prev = before[i].first
		}
		filter.add(id)
		rows = append(rows, row{id[:], e.appendTo(nil, id)})
	}
	filter.seal()
	err := s.file.update(func(tx storeTx) error {
		put, err := tx.writer(bucketIndex)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := put(r.key, r.value); err != nil {
				return err
			}
		}
		return tx.put(bucketMeta, keySeal, info.bytes())
	})
	if err == nil {
		err = d.opts.fail("seal.after-index")
	}
	if err != nil {
		return err
	}
	var row digestRow
	if row.now, err = digestOf(s.path); err != nil {
		return err
	}
	err = d.catalog.update(func(tx storeTx) error {
		return cmp.Or(
			tx.put(bucketSegments, seqKey(s.first), info.bytes()),
			tx.put(bucketFilters, seqKey(s.first), filter),
			tx.put(bucketDigests, seqKey(s.first), row.bytes()))
	})
	if err == nil {
		err = d.opts.fail("seal.after-catalog")
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.isSealed, s.digested, s.runs, s.latest = true, true, nil, nil
	s.mu.Unlock()
	s.filter.Store(&filter)
	s.pool.Store(&d.pool)
	d.pool.add(s)
	return nil
}
