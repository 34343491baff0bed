package eventlog

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// EraseArchived takes the events in spans out of every archive that has them: each
// is written anew without them, and the old file removed. Repeated after a crash
// it completes what was begun.
func (d *DB) EraseArchived(ctx context.Context, spans []Span) error {
	if d.opts.ReadOnly {
		return ErrReadOnly
	}
	d.erasing.Lock()
	defer d.erasing.Unlock()
	defer d.archives.forget()
	gone := make(map[RunID][]Span)
	for _, s := range spans {
		gone[s.Run] = append(gone[s.Run], s)
	}
	concerned := make(map[ArchiveID]bool)
	err := d.eachFrame(func(id ArchiveID, fr frame) {
		for _, s := range gone[fr.run] {
			if s.From < fr.first+Version(fr.count) && fr.first <= s.To {
				concerned[id] = true
			}
		}
	})
	if err != nil {
		return err
	}
	for id := range concerned {
		if err := d.rewriteArchive(ctx, id, gone); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) rewriteArchive(ctx context.Context, id ArchiveID, gone map[RunID][]Span) error {
	path := filepath.Join(d.dir, id.name())
	f, frames, err := openArchive(path)
	if errors.Is(err, fs.ErrNotExist) {
		frames, err = nil, nil // what is not there is gone
	} else if err == nil {
		defer f.Close()
	}
	if beyondMeans(err) {
		return err
	}
	if err != nil {
		return &CorruptError{File: id.name(), What: "archive", Err: err}
	}
	var kept []frame
	info, err := d.writeArchive(func(w *archiveWriter) error {
		for _, fr := range frames {
			if err := cmp.Or(ctx.Err(), w.keep(f, fr, gone[fr.run])); err != nil {
				return err
			}
		}
		err := w.flush()
		kept = w.frames
		return err
	})
	if err != nil {
		return err
	}
	err = d.updateCatalog(func(tx storeTx) error {
		if err := dropFrames(tx, id); err != nil {
			return err
		}
		return putFrames(tx, info.ID, kept)
	})
	if err == nil {
		// Dying here leaves the old file, which no row names: SweepArchives removes it.
		err = d.opts.fail("archive.before-remove")
	}
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		if err := os.Remove(filepath.Join(d.dir, info.ID.name())); err != nil {
			return err
		}
	}
	if info.ID == id {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// keep adds what is not gone of a frame of another archive.
func (a *archiveWriter) keep(f io.ReaderAt, fr frame, gone []Span) error {
	if len(gone) == 0 {
		packed, err := readPacked(f, a.ring, fr)
		if err != nil {
			return err
		}
		if err := a.flush(); err != nil {
			return err
		}
		return a.copy(fr, packed)
	}
	events, err := readFrame(f, a.ring, fr)
	if err != nil {
		return err
	}
	for i, e := range events {
		v := fr.first + Version(i)
		if slices.ContainsFunc(gone, func(s Span) bool { return s.From <= v && v <= s.To }) {
			continue
		}
		if err := a.add(&Event{Run: fr.run, Version: v, Salt: e.salt, Payload: e.payload}); err != nil {
			return err
		}
	}
	return nil
}

// dropFrames deletes the rows of an archive.
func dropFrames(tx storeTx, id ArchiveID) error {
	c, ok := tx.cursor(bucketArchives)
	if !ok {
		return nil
	}
	var keys [][]byte
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if len(v) >= crcLen+hashLen && ArchiveID(v[crcLen:crcLen+hashLen]) == id {
			keys = append(keys, slices.Clone(k))
		}
	}
	for _, k := range keys {
		if err := tx.delete(bucketArchives, k); err != nil {
			return err
		}
	}
	return nil
}

// SweepArchives removes the files in archives/ that the catalog does not know:
// whoever wrote them died before the log spoke of them. It must not run between
// [DB.WriteArchive] and [DB.AdoptArchive].
func (d *DB) SweepArchives() (removed []string, err error) {
	if d.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	d.erasing.Lock()
	defer d.erasing.Unlock()
	known := make(map[ArchiveID]bool)
	if err := d.eachFrame(func(id ArchiveID, _ frame) { known[id] = true }); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, archiveDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if id, ok := parseArchiveName(e.Name()); ok && known[id] {
			continue
		}
		name := filepath.Join(archiveDir, e.Name())
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, err
}
