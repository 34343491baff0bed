package projection

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// A DamageError says that a views file is not what was written to it. It is
// answered by building the file anew.
type DamageError struct {
	What  string
	Stack string // where a fault or panic was caught
}

func (e *DamageError) Error() string { return "views are damaged: " + e.What }

func damaged(format string, args ...any) error {
	return &DamageError{What: fmt.Sprintf(format, args...)}
}

func isDamage(err error) bool { return errors.As(err, new(*DamageError)) }

// mapAhead is how much of the file is mapped from the start: a file that
// outgrows its mapping makes readers and the writer wait for each other.
const mapAhead = 1 << 30

// store is one bbolt file of sealed entries. Commits are not synced: after a
// crash of the machine the file must not be trusted (see marker).
type store struct {
	form
	db   *bolt.DB
	file *os.File // the same, to look at pages without bbolt
}

// openStore opens or creates the file. Damage is found here as far as bbolt
// could not survive it.
//
// It writes nothing to a file that is there: the marker may call it clean.
func openStore(path string, ring *crypt.Ring) (s *store, err error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s = &store{form: form{ring, ring.Seals()}, file: file}
	err = guard(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: time.Second, NoSync: true, FreelistType: bolt.FreelistMapType,
			InitialMmapSize: mapAhead, NoStatistics: true,
		})
		return err
	})
	if err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// init makes the buckets of a new file.
func (s *store) init(buckets []string, signature string) error {
	return guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			for _, b := range append(buckets, metaBucket) {
				if _, err := tx.CreateBucket([]byte(b)); err != nil {
					return err
				}
			}
			w := &writer{reader: reader{store: s, tx: tx, open: map[string]*bolt.Bucket{}}}
			w.meta.signature = signature
			return w.writeMeta()
		})
	})
}

// guard runs fn and turns faults on the mapped file and panics of bbolt into
// damage, as it does with bbolt's own findings.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &DamageError{What: fmt.Sprint(p), Stack: string(debug.Stack())}
		}
	}()
	err = fn()
	for _, e := range []error{
		berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum, berrors.ErrIncompatibleValue, syscall.EIO,
		berrors.ErrFreePagesNotLoaded, berrors.ErrInvalidMapping,
	} {
		if errors.Is(err, e) {
			return &DamageError{What: err.Error()}
		}
	}
	return named(err)
}

// view runs fn on a snapshot. It must be short and must not wait for anything.
func (s *store) view(fn func(*reader) error) error {
	return guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error { return fn(&reader{store: s, tx: tx, open: map[string]*bolt.Bucket{}}) })
	})
}

// update runs fn and commits what it wrote. If an error comes back the outcome
// is to be read from the file.
func (s *store) update(fn func(*writer) error) error {
	// A commit frees the pages of the old list of free pages, as many as its head
	// says.
	if err := checkFreeHead(s.file); err != nil {
		return err
	}
	return guard(func() error {
		return s.db.Update(func(tx *bolt.Tx) error {
			w := &writer{reader: reader{store: s, tx: tx, open: map[string]*bolt.Bucket{}}}
			var err error
			if w.meta, err = w.readMeta(); err != nil {
				return err
			}
			if err := fn(w); err != nil {
				return err
			}
			return w.writeMeta()
		})
	})
}

// named returns an error of a file that could not grow with its cause, which bbolt
// formats away.
func named(err error) error {
	if err == nil || !strings.Contains(err.Error(), "file resize error:") {
		return err
	}
	for _, cause := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if text, ok := strings.CutSuffix(err.Error(), cause.Error()); ok {
			return fmt.Errorf("%s%w", text, cause)
		}
	}
	return err
}

func (s *store) sync() error { return guard(s.db.Sync) }

func (s *store) close() error {
	var err error
	if s.db != nil {
		err = guard(s.db.Close)
	}
	return errors.Join(err, s.file.Close())
}

// abandon closes a file that is damaged. A panic in the middle of a commit may
// have left bbolt's locks held; then the file is left open for good.
func (s *store) abandon() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.close() // whatever it finds is known to be broken
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// reader reads entries of one snapshot. What it returns is valid until the
// transaction ends.
type reader struct {
	store *store
	tx    *bolt.Tx
	open  map[string]*bolt.Bucket
}

func (r *reader) bucket(name string) (*bolt.Bucket, error) {
	b := r.open[name]
	if b == nil {
		if b = r.tx.Bucket([]byte(name)); b == nil {
			return nil, damaged("bucket %s is missing", name)
		}
		r.open[name] = b
	}
	return b, nil
}

// get returns the value at key, nil if there is none.
func (r *reader) get(bucket string, key []byte) ([]byte, error) {
	b, err := r.bucket(bucket)
	if err != nil {
		return nil, err
	}
	v := b.Get(key)
	if v == nil {
		return nil, nil
	}
	return r.store.opened(bucket, key, v)
}

// index is a part of a bucket. In those of runs what comes after the prefix is when the
// run was created, the newest first.
type index struct {
	bucket string
	prefix []byte
}

// meet calls fn for the entries of the first index, from key from on, that have one with
// the same end of its key in each of the others. What lies between is jumped over: to
// meet costs as little as the smallest index. At each jump fn is called without a value.
func (r *reader) meet(in []index, from []byte, fn func(key, value []byte) (bool, error)) error {
	if len(in) == 1 {
		return r.scan(in[0].bucket, in[0].prefix, from, fn)
	}
	cursors := make([]*bolt.Cursor, len(in))
	for i := range in {
		b, err := r.bucket(in[i].bucket)
		if err != nil {
			return err
		}
		cursors[i] = b.Cursor()
	}
	first := in[0]
	var last []byte
	k, value := cursors[0].Seek(from)
	for k != nil && bytes.HasPrefix(k, first.prefix) {
		if last != nil && bytes.Compare(k, last) <= 0 {
			return damaged("bucket %s is out of order", first.bucket)
		}
		last = k
		end := k[len(first.prefix):]
		for i := 1; i < len(in) && bytes.Equal(end, k[len(first.prefix):]); i++ {
			other, _ := cursors[i].Seek(slices.Concat(in[i].prefix, end))
			if other == nil || !bytes.HasPrefix(other, in[i].prefix) {
				return nil // nothing more is in it
			}
			end = other[len(in[i].prefix):]
		}
		if bytes.Equal(end, k[len(first.prefix):]) {
			v, err := r.store.opened(first.bucket, k, value)
			if err != nil {
				return err
			}
			if more, err := fn(k, v); err != nil || !more {
				return err
			}
			k, value = cursors[0].Next()
			continue
		}
		if more, err := fn(k, nil); err != nil || !more {
			return err
		}
		k, value = cursors[0].Seek(slices.Concat(first.prefix, end))
	}
	return nil
}

// scan calls fn for the entries with prefix from key from on, in order, until it
// returns false.
func (r *reader) scan(bucket string, prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	b, err := r.bucket(bucket)
	if err != nil {
		return err
	}
	c := b.Cursor()
	var last []byte
	for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if last != nil && bytes.Compare(k, last) <= 0 {
			return damaged("bucket %s is out of order", bucket)
		}
		last = k
		v, err := r.store.opened(bucket, k, v)
		if err != nil {
			return err
		}
		if more, err := fn(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}

// writer changes entries within one transaction.
type writer struct {
	reader
	meta  meta
	holes bool // events before may be lost
}

// set replaces the value at key, which is old, with new; nil is none. It keeps
// the sum of the bucket, for which old must be right.
func (w *writer) set(bucket string, key, old, new []byte) error {
	b, err := w.bucket(bucket)
	if err != nil {
		return err
	}
	sum := w.meta.sums[bucket]
	if old != nil {
		sum.count--
		sum.hash -= seal(bucket, key, old)
	}
	if new == nil {
		err = b.Delete(key)
	} else {
		sum.count++
		sum.hash += seal(bucket, key, new)
		err = b.Put(key, w.store.stored(bucket, key, new))
	}
	w.meta.sums[bucket] = sum
	return err
}
