package eventlog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// A log is encrypted from the first time on that it is opened with a key: what is
// written then is sealed, what was there before stays as it is until [DB.Reseal], and
// both are read. Records are sealed one by one, so that a damaged one is lost alone, as
// in a log that is not encrypted; seqs, sizes, tree heads and the index of runs are
// not. Hashes and proofs are of what is sealed, so they stay as they are whatever the
// keys. See package crypt for the keys, docs/adr/0031-one-small-file-of-keys.md for why.

// Ring returns the data keys of the log, for what lies beside it.
func (d *DB) Ring() *crypt.Ring { return d.ring }

// loadRing opens the data keys there are. mended says what was wrong with one of their
// files.
func (d *DB) loadRing() (mended error, err error) {
	ring, what, err := crypt.Load(d.dir, d.opts.Keys)
	bad := ringProblem(what, err)
	if bad != nil && err != nil {
		return nil, bad
	}
	d.ring, d.blobs.ring, d.packer.ring = ring, ring, ring
	return bad, err
}

// openRing mends the files of the data keys, and makes the first one where keys are given
// and there is none. The catalog says that the log is encrypted before anything is sealed.
func (d *DB) openRing(mended error) error {
	marked, err := ringFits(d.catalog, d.ring)
	if err != nil {
		return err
	}
	if mended != nil {
		d.log.Warn("a file of the data keys is damaged, and the other one is used", "error", mended)
	}
	ring := d.ring
	if d.opts.ReadOnly {
		return nil
	}
	if err := ring.Mend(); err != nil {
		return err
	}
	if !ring.Encrypted() && len(d.opts.Keys) > 0 {
		if err := ring.Begin(d.opts.Keys); err != nil {
			return err
		}
		d.log.Info("the log is encrypted from now on", "key", d.opts.Keys[0].ID)
	}
	// Dying here leaves a data key with which nothing is sealed.
	if marked || !ring.Encrypted() {
		return nil
	}
	return d.catalog.update(func(tx storeTx) error {
		return cmp.Or(tx.put(bucketMeta, keyFormat, sealedFormat), tx.put(bucketMeta, keyRing, ringOf(ring)))
	})
}

// ringOf names the data keys of a log, whatever becomes of them.
func ringOf(ring *crypt.Ring) []byte {
	tag := ring.Tag("ring")
	return tag[:16]
}

// ringFits returns an error if the log is encrypted with other data keys than there are:
// all of it would be taken for damaged. marked says that the catalog knows them.
func ringFits(catalog *store, ring *crypt.Ring) (marked bool, err error) {
	marked, by, err := sealedBy(catalog)
	switch {
	case err != nil || !marked:
		return false, err
	case !ring.Encrypted():
		return true, &CorruptError{File: crypt.File, What: "the file is missing, and the log is encrypted: put it back from a backup"}
	case by != nil && !bytes.Equal(by, ringOf(ring)):
		return true, &CorruptError{File: crypt.File, What: "it is of another log: put this one's back, of which " + crypt.Copy + " may be a copy"}
	}
	return by != nil, nil
}

// ringProblem returns what is wrong with the files of data keys as damage.
func ringProblem(mended string, err error) error {
	var damage *crypt.DamageError
	switch {
	case errors.As(err, &damage):
		return &CorruptError{File: damage.File, What: damage.What + ", and so is its copy"}
	case mended != "":
		return &CorruptError{File: crypt.File, What: mended + "; the other one is used, and mended by the next start for writing"}
	}
	return nil
}

// Sealed says how much of the log is sealed with which data key.
type Sealed struct {
	// Bytes are those of chunks, blobs and archives, by number of data key; 0: not sealed.
	Bytes map[uint32]int64 `json:"bytes"`
	// Kept are files that are kept of damaged segments, as they were.
	Kept []string `json:"kept,omitempty"`
}

// Stale returns how much is not as it would be written now.
func (s *Sealed) Stale(current uint32) (n int64) {
	for key, bytes := range s.Bytes {
		if key != current {
			n += bytes
		}
	}
	return n
}

// dataKeyOf returns the number of the data key that a chunk's records are sealed with.
func dataKeyOf(v []byte) uint32 {
	if len(v) < chunkFixed || v[1] != codecSealed {
		return 0
	}
	return crypt.DataKeyOf(v[min(seriesAt(v), len(v)):])
}

// sealedIn adds up the chunks of a segment.
func (s *segment) sealedIn(sum map[uint32]int64) error {
	return s.eachChunk(s.first, 1<<63-1, 0, func(_, v []byte) { sum[dataKeyOf(v)] += int64(len(v)) })
}

// Sealed reads through the log and says how much of it is sealed with which data key.
func (d *DB) Sealed(ctx context.Context) (Sealed, error) {
	sum := Sealed{Bytes: map[uint32]int64{}}
	segs, err := d.readable()
	if err != nil {
		return sum, err
	}
	for _, s := range segs {
		if err := cmp.Or(ctx.Err(), d.sealedIn(s, sum.Bytes)); err != nil {
			return sum, err
		}
		kept, err := damagedFiles(d.dir, s.first)
		if err != nil {
			return sum, err
		}
		for _, k := range kept {
			sum.Kept = append(sum.Kept, k.name)
		}
	}
	err = d.blobs.each(func(name string, isBlob bool) error {
		if !isBlob {
			return ctx.Err()
		}
		n, key, _, err := d.blobs.look(name)
		sum.Bytes[key] += n
		return cmp.Or(ctx.Err(), err)
	})
	if err != nil {
		return sum, err
	}
	list, err := d.Archives()
	for _, a := range list {
		if err := cmp.Or(ctx.Err(), d.sealedArchive(a.ID, sum.Bytes)); err != nil {
			return sum, err
		}
	}
	return sum, err
}

// sealedIn is segment.sealedIn while the segment is not rewritten.
func (d *DB) sealedIn(s *segment, sum map[uint32]int64) error {
	d.rewriting.RLock()
	defer d.rewriting.RUnlock()
	return s.sealedIn(sum)
}

// look returns the size of a blob's file, the number of its data key, and its content. A
// file that is gone has none.
func (b *blobs) look(name string) (size int64, key uint32, content []byte, err error) {
	p, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return 0, 0, nil, err
	}
	if sum := sha256.Sum256(p); name == blobName(&sum) {
		return int64(len(p)), 0, p, nil
	}
	content, err = b.ring.Open(blobPlace(name), p)
	if err != nil {
		return 0, 0, nil, &CorruptError{File: name, What: "blob", Err: err}
	}
	return int64(len(p)), crypt.DataKeyOf(p), content, nil
}

func (d *DB) sealedArchive(id ArchiveID, sum map[uint32]int64) error {
	f, frames, err := openArchive(filepath.Join(d.dir, id.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &CorruptError{File: id.name(), What: "archive", Err: err}
	}
	defer f.Close()
	head := make([]byte, crypt.Overhead)
	if _, err := f.ReadAt(head[:len(archiveMagic)], 0); err != nil {
		return err
	}
	sealed := string(head[:len(archiveMagic)]) == archiveSealed
	for _, fr := range frames {
		key := uint32(0)
		if sealed {
			if _, err := f.ReadAt(head, fr.offset); err != nil {
				return err
			}
			key = crypt.DataKeyOf(head)
		}
		sum[key] += fr.length
	}
	return nil
}

// RotateKeys puts the data keys under the first of keys, and seals what is written from
// now on with a new data key. It takes one small file: what was written stays as it is.
func (d *DB) RotateKeys(keys crypt.Keys) error {
	if d.opts.ReadOnly {
		return ErrReadOnly
	}
	d.erasing.Lock() // a snapshot has the ring as it was
	defer d.erasing.Unlock()
	if !d.ring.Encrypted() {
		return fmt.Errorf("%w: the log is not encrypted", ErrInvalid)
	}
	return d.ring.Rotate(keys)
}

// StopSealing makes the log store what is written from now on as it is.
func (d *DB) StopSealing() error {
	if d.opts.ReadOnly {
		return ErrReadOnly
	}
	d.erasing.Lock()
	defer d.erasing.Unlock()
	if !d.ring.Encrypted() {
		return fmt.Errorf("%w: the log is not encrypted", ErrInvalid)
	}
	return d.ring.Stop()
}

// Reseal writes all of the log anew that is not sealed with the current data key, or all
// that is sealed if nothing is to be: segments, one after the other, blobs and archives.
// The log goes on meanwhile. It may be repeated, and goes on where a crash ended it.
func (d *DB) Reseal(ctx context.Context) error {
	if d.opts.ReadOnly {
		return ErrReadOnly
	}
	d.erasing.Lock()
	defer d.erasing.Unlock()
	current := d.ring.Current()
	// What is under way may be sealed as it was before: the writer is waited for, and so
	// are those who store blobs.
	if err := d.cut(ctx); err != nil {
		return err
	}
	d.blobs.settled()
	segs := *d.segs.Load()
	for _, s := range segs[:len(segs)-1] {
		sum := map[uint32]int64{}
		if err := s.sealedIn(sum); err != nil {
			return s.corrupt(0, RunID{}, "events", err)
		}
		if stale := (&Sealed{Bytes: sum}).Stale(current); stale == 0 || d.quarantine.in(s) {
			continue
		}
		next, ok := nextSegmentEdge(*d.segs.Load(), s)
		if !ok {
			return fmt.Errorf("%s: not sealed", s.name)
		}
		if _, err := d.rewrite(ctx, s, next, func(Seq, *record) error { return nil }); err != nil {
			return err
		}
	}
	if err := d.resealBlobs(ctx, current); err != nil {
		return err
	}
	list, err := d.Archives()
	if err != nil {
		return err
	}
	defer d.archives.forget()
	for _, a := range list {
		sum := Sealed{Bytes: map[uint32]int64{}}
		if err := d.sealedArchive(a.ID, sum.Bytes); err != nil {
			return err
		}
		if sum.Stale(current) > 0 {
			if err := d.rewriteArchive(ctx, a.ID, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// resealBlobs writes blobs anew. Dying between the new file and the removal of the old
// one leaves both: the next time the old one is met again.
func (d *DB) resealBlobs(ctx context.Context, current uint32) error {
	return d.blobs.each(func(name string, isBlob bool) error {
		if err := ctx.Err(); err != nil || !isBlob {
			return err
		}
		_, key, content, err := d.blobs.look(name)
		if err != nil || content == nil || key == current {
			return err
		}
		sum := sha256.Sum256(content)
		to := blobName(&sum)
		if series := d.ring.Series(); series != nil {
			to = d.blobs.sealedName(&sum)
			content = series.Box(blobPlace(to), content)
		}
		path := filepath.Join(d.dir, to)
		if err := d.blobs.makeDirs(filepath.Dir(path)); err != nil {
			return err
		}
		// An append may store the same at this moment: whichever file is last, it
		// has the content.
		if err := d.blobs.write(path, content); err != nil || to == name {
			return err
		}
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return durable.SyncDir(filepath.Dir(filepath.Join(d.dir, name)))
	})
}

// ForgetKeys drops the data keys with which nothing in the log is sealed any more, and
// reports whether it did: it does not while there is something. If nothing is to be
// sealed, the log is one that is not encrypted from then on. What lies beside the log must
// have been written anew before.
func (d *DB) ForgetKeys(ctx context.Context) (bool, error) {
	if d.opts.ReadOnly {
		return false, ErrReadOnly
	}
	d.erasing.Lock()
	defer d.erasing.Unlock()
	sum, err := d.Sealed(ctx)
	current := d.ring.Current()
	if err != nil || !d.ring.Encrypted() || sum.Stale(current) > 0 || len(sum.Kept) > 0 {
		return false, err
	}
	if current == 0 {
		// Dying after this leaves keys with which nothing is sealed: the next start
		// says again that there may be something.
		err := d.updateCatalog(func(tx storeTx) error {
			return cmp.Or(tx.put(bucketMeta, keyFormat, formatValue), tx.delete(bucketMeta, keyRing))
		})
		if err != nil {
			return false, err
		}
	}
	return true, d.ring.Forget()
}
