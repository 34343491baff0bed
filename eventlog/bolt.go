package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/eventlog/boltfile"
	bolt "go.etcd.io/bbolt"
)

// This file is the only one that knows bbolt.

// pageSize is that of every file, whatever the machine's is. It is on disk: it
// never changes.
const pageSize = 4096

// flockWait is how long bbolt tries to lock a file. The data directory's own
// lock is held by then; what can be in the way for a moment is a child that has
// been forked and not yet executed its program, with a file that bbolt closed
// and did not unlock, as it does with those that were open for reading.
const flockWait = 2 * time.Second

// Growth of a file: bbolt extends it by truncate and fsync when a commit needs
// more pages than it has, so it grows by its own size between these bounds, and by no
// more than what is left until it is full.
const (
	growMin = 256 << 10
	growMax = 16 << 20
)

// store is one bbolt file.
type store struct {
	db   *bolt.DB
	path string
	name string // path within the data directory, for errors
	full int64  // the size that it is to grow to; 0: it is not known
}

// createStore makes a bbolt file with the given buckets at path, and syncs it.
// The caller renames it to its name when it is complete: bbolt's own creation
// is not crash-safe.
func createStore(path, name string, fill func(storeTx) error, buckets ...string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Mapped larger than growMin, it gets that much room with its first commit.
	s, err := boltOpen(path, name, false, 2*growMin)
	if err != nil {
		return err
	}
	err = s.update(func(tx storeTx) error {
		for _, b := range buckets {
			if _, err := tx.t.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		if fill == nil {
			return nil
		}
		return fill(tx)
	})
	return errors.Join(err, s.close())
}

// openStore opens a file of which other processes are kept away by the data
// directory's lock. mapSize is how large it may grow without being mapped anew,
// which would have to wait for every reader.
func openStore(path, name string, readOnly bool, mapSize int) (*store, error) {
	// Opening for writing makes bbolt walk all pages where it cannot be
	// recovered, so all are looked at before.
	if err := checkFile(path, !readOnly); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || beyondMeans(err) {
			return nil, err
		}
		return nil, &CorruptError{File: name, What: "not a sound bbolt file", Err: err}
	}
	return boltOpen(path, name, readOnly, mapSize)
}

// checkFile is checkPages on a file.
func checkFile(path string, deep bool) error {
	st, err := os.Stat(path) // before it is opened: a pipe would block
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkPages(f, st.Size(), deep)
}

// checkPages proves that bbolt can walk a file without harm. With deep false the
// leaves are not read.
func checkPages(r io.ReaderAt, size int64, deep bool) error {
	m, err := boltfile.ReadMeta(r, pageSize)
	if err != nil {
		return err
	}
	depth := boltfile.Branches
	if deep {
		depth = boltfile.Leaves
	}
	return m.Check(r, size, depth)
}

func boltOpen(path, name string, readOnly bool, mapSize int) (s *store, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catch(name, &err)
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         flockWait,
		ReadOnly:        readOnly,
		NoFreelistSync:  true,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapSize,
		PageSize:        pageSize,
		NoStatistics:    true,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	db.AllocSize = growMin
	return &store{db: db, path: path, name: name}, nil
}

func (s *store) close() error { return s.db.Close() }

// catch turns a panic, a memory fault among them, into a CorruptError: bbolt
// answers damaged pages with either. It must be deferred directly.
func catch(name string, err *error) {
	if r := recover(); r != nil {
		cause, ok := r.(error)
		if !ok {
			cause = fmt.Errorf("%v", r)
		}
		*err = &CorruptError{File: name, What: "the file cannot be read", Err: cause}
	}
}

// view runs fn in a read transaction. fn must neither wait nor do other I/O,
// and nothing it is given may be kept.
func (s *store) view(fn func(storeTx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catch(s.name, &err)
	return s.db.View(func(t *bolt.Tx) error { return fn(storeTx{t}) })
}

// update runs fn and commits. An error that Is ErrFull means that nothing was
// stored and the file is as before; after any other error of the commit itself
// nobody knows.
func (s *store) update(fn func(storeTx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer catch(s.name, &err)
	id := 0
	err = s.db.Update(func(t *bolt.Tx) error {
		id = t.ID()
		return fn(storeTx{t})
	})
	if err != nil && isFull(err) && s.unchanged(id) {
		return fmt.Errorf("%s: %w: %w", s.name, ErrFull, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// updateOnce is update with one sync, when all is written, instead of bbolt's two, which
// keep the meta page from being on the disk before the pages that it refers to. A power
// cut may leave it there without them: whoever opens the file next has to know, see
// lastcommit.go. What was committed before it is not touched.
func (s *store) updateOnce(fn func(storeTx) error) error {
	defer func() { s.db.NoSync = false }()
	err := s.update(func(tx storeTx) error {
		s.db.NoSync = true
		return fn(tx)
	})
	if err != nil {
		return err
	}
	if err := s.db.Sync(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

// sizeFor lets the file grow in proportion to what it holds.
func (s *store) sizeFor(used int64) {
	step := min(used, growMax)
	if s.full > 0 {
		step = min(step, s.full-used)
	}
	s.db.AllocSize = int(max(step, growMin))
}

// isFull reports whether err is bbolt's for a write or truncate that found no
// space. A sync that failed is never taken for one: the kernel may have dropped
// the pages.
func isFull(err error) bool {
	for _, e := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		var pe *fs.PathError
		if errors.As(err, &pe) && pe.Op == "write" && errors.Is(err, e) {
			return true
		}
		// bbolt formats this cause away.
		if m := err.Error(); strings.Contains(m, "file resize error:") && strings.Contains(m, e.Error()) {
			return true
		}
	}
	return false
}

// unchanged reports whether both meta pages are as transaction id found them:
// whole, and the newer one of the transaction before. bbolt makes the next
// reader see a transaction whose meta page was written, synced or not.
func (s *store) unchanged(id int) bool {
	f, err := os.Open(s.path)
	if err != nil {
		return false
	}
	defer f.Close()
	m, err := boltfile.ReadMeta(f, pageSize)
	return err == nil && m.Both && m.Tx+1 == uint64(id)
}

// storeTx is a transaction.
type storeTx struct{ t *bolt.Tx }

// id returns the number of the transaction; of one that reads, that of the last one that
// wrote.
func (x storeTx) id() uint64 { return uint64(x.t.ID()) }

// size returns how many bytes of the file are in use.
func (x storeTx) size() int64 { return x.t.Size() }

// get returns the value of key, valid within the transaction.
func (x storeTx) get(bucket string, key []byte) []byte {
	if b := x.t.Bucket([]byte(bucket)); b != nil {
		return b.Get(key)
	}
	return nil
}

// writer returns a function that puts into bucket, which is filled to the brim:
// keys come in ascending order. Keys and values must stay until the commit.
func (x storeTx) writer(bucket string) (func(key, value []byte) error, error) {
	b, err := x.t.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return nil, err
	}
	b.FillPercent = 1
	return b.Put, nil
}

// setLast notes in a bucket the seq of the last event in it. bbolt keeps that in another
// page than what the bucket holds: where a damaged page hides the end of the bucket, it
// is missed.
func (x storeTx) setLast(bucket string, last Seq) error {
	b, err := x.t.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	return b.SetSequence(uint64(last))
}

// last returns what setLast noted, 0 if nothing was: older files have no such note.
func (c cursor) last() Seq { return Seq(c.Bucket().Sequence()) }

// delete removes a key.
func (x storeTx) delete(bucket string, key []byte) error {
	b := x.t.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Delete(key)
}

// put stores one value.
func (x storeTx) put(bucket string, key, value []byte) error {
	put, err := x.writer(bucket)
	if err != nil {
		return err
	}
	return put(key, value)
}

// rows returns a copy of all that the file holds.
func (x storeTx) rows() (rows []catalogRow, err error) {
	err = x.t.ForEach(func(name []byte, b *bolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			rows = append(rows, catalogRow{string(name), bytes.Clone(k), bytes.Clone(v)})
			return nil
		})
	})
	return rows, err
}

// cursor walks a bucket in the order of its keys: First, Seek, Next.
type cursor struct{ *bolt.Cursor }

// cursor returns a cursor over bucket, or false if there is no such bucket.
func (x storeTx) cursor(bucket string) (cursor, bool) {
	b := x.t.Bucket([]byte(bucket))
	if b == nil {
		return cursor{}, false
	}
	return cursor{b.Cursor()}, true
}
