package eventlog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

const (
	archiveDir    = "archives"
	archiveSuffix = ".wfda"
)

// ArchiveID names an archive: the SHA-256 of its file.
type ArchiveID [32]byte

// String returns the 64 hex digits of the ID.
func (id ArchiveID) String() string { return hex.EncodeToString(id[:]) }

// name returns the path of the archive within the data directory.
func (id ArchiveID) name() string { return filepath.Join(archiveDir, id.String()+archiveSuffix) }

func parseArchiveName(base string) (id ArchiveID, ok bool) {
	digits, ok := strings.CutSuffix(base, archiveSuffix)
	n, err := hex.Decode(id[:], []byte(digits[:min(len(digits), 64)]))
	return id, ok && err == nil && n == len(id) && len(digits) == 64
}

// Archive describes an archive.
type Archive struct {
	ID     ArchiveID
	Events int
	Runs   int
	Bytes  int64     // of the file
	Raw    int64     // of the payloads in it
	Time   time.Time // when the file was written
}

// archives are the archives of a data directory.
type archives struct {
	mu     sync.Mutex
	recent []unpackedFrame // the last few that were read, the latest last
}

type unpackedFrame struct {
	id     ArchiveID
	offset int64
	events []archived
}

// keepFrames is how many frames stay unpacked: a reader of a run comes back for
// the next page.
const keepFrames = 4

// WriteArchive copies the payloads of the events in spans to a new archive, which
// is durable when it returns. What was erased before is left out. Nothing refers
// to the archive yet: see [DB.AdoptArchive]; until then [DB.SweepArchives] removes
// it.
func (d *DB) WriteArchive(ctx context.Context, spans []Span) (info Archive, err error) {
	if d.opts.ReadOnly {
		return info, ErrReadOnly
	}
	return d.writeArchive(func(w *archiveWriter) error {
		for _, span := range spans {
			for after := span.From - 1; after < span.To; {
				if err := ctx.Err(); err != nil {
					return err
				}
				page, err := d.ReadRun(span.Run, after, int(min(span.To-after, 1024)))
				if err != nil {
					return err
				}
				if len(page) == 0 {
					return fmt.Errorf("%w: run %v has no version %d", ErrInvalid, span.Run, after+1)
				}
				for i := range page {
					after = page[i].Version
					if page[i].Erased {
						continue
					}
					if err := w.add(&page[i]); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// writeArchive makes an archive of what fill adds.
func (d *DB) writeArchive(fill func(*archiveWriter) error) (info Archive, err error) {
	dir := filepath.Join(d.dir, archiveDir)
	if err := makeDir(dir); err != nil {
		return info, err
	}
	if err := durable.SyncDir(d.dir); err != nil {
		return info, err
	}
	f, err := os.CreateTemp(dir, "*"+tmpSuffix)
	if err != nil {
		return info, spaceError(err)
	}
	defer os.Remove(f.Name()) // gone if all went well
	h := sha256.New()
	w, err := newArchiveWriter(io.MultiWriter(f, h), d.ring)
	if err == nil {
		err = fill(w)
	}
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return info, spaceError(err)
	}
	h.Sum(info.ID[:0])
	info.Bytes = w.at
	describeFrames(&info, w.frames)
	if err := d.opts.fail("archive.before-rename"); err != nil {
		return info, err
	}
	if err := os.Rename(f.Name(), filepath.Join(d.dir, info.ID.name())); err != nil {
		return info, err
	}
	if err := durable.SyncDir(dir); err != nil {
		return info, err
	}
	return info, d.opts.fail("archive.after-rename")
}

// spaceError marks an error that is for want of space: nothing was stored.
func spaceError(err error) error {
	if outOfSpace(err) && !errors.Is(err, ErrFull) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}

func describeFrames(info *Archive, frames []frame) {
	var last RunID
	for _, f := range frames {
		info.Events += f.count
		info.Raw += f.raw
		if f.run != last {
			info.Runs++
			last = f.run
		}
	}
}

// AdoptArchive makes reading find what the archive has of events that are erased.
// The file is verified as a whole before.
func (d *DB) AdoptArchive(id ArchiveID) error {
	path := filepath.Join(d.dir, id.name())
	is, err := digestOf(path)
	if err != nil {
		return err
	}
	if is.sum != id {
		return &CorruptError{File: id.name(), What: "the archive is not as it was written"}
	}
	f, frames, err := openArchive(path)
	if beyondMeans(err) {
		return err
	}
	if err != nil {
		return &CorruptError{File: id.name(), What: "archive", Err: err}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return d.updateCatalog(func(tx storeTx) error { return putFrames(tx, id, frames) })
}

func putFrames(tx storeTx, id ArchiveID, frames []frame) error {
	for _, fr := range frames {
		if err := tx.put(bucketArchives, frameKey(fr.run, fr.first), frameRow(id, fr)); err != nil {
			return err
		}
	}
	return nil
}

// frameKey is the key of bucket a.
func frameKey(run RunID, first Version) []byte {
	return binary.BigEndian.AppendUint64(run[:len(run):len(run)], uint64(first))
}

// CRC-32C u32 of the key and of the rest, ID, number of events u64, offset u64,
// length u64, length unpacked u64.
func frameRow(id ArchiveID, fr frame) []byte {
	b := append(make([]byte, crcLen, crcLen+hashLen+32), id[:]...)
	for _, n := range []int64{int64(fr.count), fr.offset, fr.length, fr.raw} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	binary.BigEndian.PutUint32(b, checksumUpdate(checksum(frameKey(fr.run, fr.first)), b[crcLen:]))
	return b
}

func parseFrameRow(k, v []byte) (id ArchiveID, fr frame, err error) {
	if len(k) != 24 || len(v) != crcLen+hashLen+32 || binary.BigEndian.Uint32(v) != checksumUpdate(checksum(k), v[crcLen:]) {
		return id, fr, &CorruptError{File: catalogName, What: "table of archives", Err: errChecksum}
	}
	copy(fr.run[:], k)
	fr.first = Version(binary.BigEndian.Uint64(k[16:]))
	copy(id[:], v[crcLen:])
	n := func(i int) int64 { return int64(binary.BigEndian.Uint64(v[crcLen+hashLen+8*i:])) }
	fr.count, fr.offset, fr.length, fr.raw = int(n(0)), n(1), n(2), n(3)
	return id, fr, nil
}

// frameOf returns the archive and the frame with an event; ok is false if none has it.
func (d *DB) frameOf(run RunID, v Version) (id ArchiveID, fr frame, ok bool, err error) {
	err = d.catalog.view(func(tx storeTx) error {
		c, has := tx.cursor(bucketArchives)
		if !has {
			return nil
		}
		k, val := c.Seek(frameKey(run, v))
		if k == nil {
			k, val = c.Last()
		} else if string(k) != string(frameKey(run, v)) {
			k, val = c.Prev()
		}
		if len(k) < len(run) || RunID(k[:len(run)]) != run {
			return nil
		}
		var err error
		if id, fr, err = parseFrameRow(k, val); err != nil {
			return err
		}
		ok = v >= fr.first && v < fr.first+Version(fr.count)
		return nil
	})
	return id, fr, ok, err
}

// errArchivedOther: an archive has another payload than the event was written with.
var errArchivedOther = errors.New("the payload does not match the event's hash")

// unarchive puts the payloads of erased events back that an archive has. An
// archive that is not there leaves them as they are.
func (d *DB) unarchive(events []Event) error {
	for i := range events {
		e := &events[i]
		if !e.Erased {
			continue
		}
		id, fr, ok, err := d.frameOf(e.Run, e.Version)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		a, err := d.archivedEvent(id, fr, e.Version)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && payloadHash(&a.salt, a.payload) != e.Hash {
			err = errArchivedOther
		}
		if beyondMeans(err) {
			return err
		}
		if err != nil {
			return &CorruptError{File: id.name(), Seq: e.Seq, Run: e.Run, What: "archive", Err: err}
		}
		e.Payload, e.Salt, e.Erased, e.Archived, e.Hash = a.payload, a.salt, false, true, [32]byte{}
	}
	return nil
}

func (d *DB) archivedEvent(id ArchiveID, fr frame, v Version) (archived, error) {
	a := &d.archives
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.recent) - 1; i >= 0; i-- {
		if r := &a.recent[i]; r.id == id && r.offset == fr.offset {
			return r.events[v-fr.first], nil
		}
	}
	f, err := os.Open(filepath.Join(d.dir, id.name()))
	if err != nil {
		return archived{}, err
	}
	events, err := readFrame(f, d.ring, fr)
	if err = errors.Join(err, f.Close()); err != nil {
		return archived{}, err
	}
	if len(a.recent) == keepFrames {
		a.recent = slices.Delete(a.recent, 0, 1)
	}
	a.recent = append(a.recent, unpackedFrame{id, fr.offset, events})
	return events[v-fr.first], nil
}

// forget drops what is unpacked of all archives.
func (a *archives) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recent = nil
}

// eachFrame calls fn for every frame the catalog knows, in the order of runs.
func (d *DB) eachFrame(fn func(ArchiveID, frame)) error { return eachFrame(d.catalog, fn) }

func eachFrame(catalog *store, fn func(ArchiveID, frame)) error {
	return catalog.view(func(tx storeTx) error {
		c, ok := tx.cursor(bucketArchives)
		if !ok {
			return nil
		}
		for k, v := c.First(); k != nil; k, v = c.Next() {
			id, fr, err := parseFrameRow(k, v)
			if err != nil {
				return err
			}
			fn(id, fr)
		}
		return nil
	})
}

// Archives returns the archives that hold payloads of the log, in no order.
func (d *DB) Archives() ([]Archive, error) {
	byID := make(map[ArchiveID]*Archive)
	last := make(map[ArchiveID]RunID)
	err := d.eachFrame(func(id ArchiveID, fr frame) {
		a := byID[id]
		if a == nil {
			a = &Archive{ID: id}
			byID[id] = a
		}
		a.Events += fr.count
		a.Raw += fr.raw
		if last[id] != fr.run {
			a.Runs++
			last[id] = fr.run
		}
	})
	list := make([]Archive, 0, len(byID))
	for id, a := range byID {
		if fi, err := os.Stat(filepath.Join(d.dir, id.name())); err == nil {
			a.Bytes, a.Time = fi.Size(), fi.ModTime()
		}
		list = append(list, *a)
	}
	return list, err
}
