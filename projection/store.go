package projection

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
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
	db   *bolt.DB
	file *os.File // the same, to look at pages without bbolt
}

// openStore opens or creates the file. Damage is found here as far as bbolt
// could not survive it.
func openStore(path string, buckets []string) (s *store, err error) {
	if err := checkFile(path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s = &store{file: file}
	err = guard(func() (err error) {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: time.Second, NoSync: true, FreelistType: bolt.FreelistMapType,
			InitialMmapSize: mapAhead, NoStatistics: true,
		})
		if err != nil {
			return err
		}
		return s.db.Update(func(tx *bolt.Tx) error {
			for _, b := range append(buckets, metaBucket) {
				if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
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
	return err
}

// view runs fn on a snapshot. It must be short and must not wait for anything.
func (s *store) view(fn func(*reader) error) error {
	return guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error { return fn(&reader{tx: tx, open: map[string]*bolt.Bucket{}}) })
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
			w := &writer{reader: reader{tx: tx, open: map[string]*bolt.Bucket{}}}
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
	tx   *bolt.Tx
	open map[string]*bolt.Bucket
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
	return unseal(bucket, key, v)
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
		v, err := unseal(bucket, k, v)
		if err != nil {
			return err
		}
		if more, err := fn(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}

// An entry is sealed with a hash over bucket, key and value: bbolt checksums
// its two meta pages and nothing else.
const sealSize = 8

func seal(bucket string, key, value []byte) uint64 {
	var stack [512]byte
	b := part(stack[:0], bucket)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = append(b, value...)
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:])
}

func unseal(bucket string, key, v []byte) ([]byte, error) {
	n := len(v) - sealSize
	if n < 0 || binary.BigEndian.Uint64(v[n:]) != seal(bucket, key, v[:n]) {
		return nil, damaged("an entry of bucket %s is not what was written", bucket)
	}
	return v[:n:n], nil
}

// writer changes entries within one transaction.
type writer struct {
	reader
	meta meta
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
		s := seal(bucket, key, new)
		sum.count++
		sum.hash += s
		v := make([]byte, 0, len(new)+sealSize)
		err = b.Put(key, binary.BigEndian.AppendUint64(append(v, new...), s))
	}
	w.meta.sums[bucket] = sum
	return err
}

// checkSums reads every entry of s and compares with the sums that were kept
// while they were written: nothing is missing, added or changed.
func (s *store) checkSums(buckets []string) error {
	return s.view(func(r *reader) error {
		m, err := r.readMeta()
		if err != nil {
			return err
		}
		for _, b := range buckets {
			var sum sum
			err := r.scan(b, nil, nil, func(k, v []byte) (bool, error) {
				sum.count++
				sum.hash += seal(b, k, v)
				return true, nil
			})
			if err != nil {
				return err
			}
			if sum != m.sums[b] {
				return damaged("bucket %s has %d entries, %d were written", b, sum.count, m.sums[b].count)
			}
		}
		return nil
	})
}

const (
	metaBucket = "meta"
	metaKey    = "views"
)

// meta is what a file says of itself, in one entry.
type meta struct {
	signature string // how the rows were made
	cursor    uint64 // seq of the last event folded
	print     uint64 // fingerprint of that event
	sums      map[string]sum
}

// sum is the number of a bucket's entries and the sum of their seals.
type sum struct{ count, hash uint64 }

func (r *reader) readMeta() (meta, error) {
	m := meta{sums: make(map[string]sum)}
	b, err := r.get(metaBucket, []byte(metaKey))
	if err != nil || b == nil {
		return m, err
	}
	d := decoder{b: b}
	m.signature = d.str()
	m.cursor = d.uint()
	m.print = d.uint()
	for range d.count() {
		m.sums[d.str()] = sum{d.uint(), d.uint()}
	}
	if err := d.done(); err != nil {
		return m, damaged("its head does not decode")
	}
	return m, nil
}

func (w *writer) writeMeta() error {
	var e encoder
	e.str(w.meta.signature)
	e.uint(w.meta.cursor)
	e.uint(w.meta.print)
	e.uint(uint64(len(w.meta.sums)))
	for _, name := range slices.Sorted(maps.Keys(w.meta.sums)) {
		e.str(name)
		e.uint(w.meta.sums[name].count)
		e.uint(w.meta.sums[name].hash)
	}
	b, err := w.bucket(metaBucket)
	if err != nil {
		return err
	}
	key := []byte(metaKey)
	return b.Put(key, binary.BigEndian.AppendUint64(e, seal(metaBucket, key, e)))
}

// fileSize returns the bytes of the file, 0 if there is none.
func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// entry is a change of one key from old to new; nil is none.
type entry struct {
	bucket   string
	key      []byte
	old, new []byte
}

// setAll makes the changes in the order of their keys, which is the cheapest;
// of two for one key, the one that removes comes first.
func (w *writer) setAll(list []entry) error {
	slices.SortFunc(list, func(a, b entry) int {
		if c := cmp.Or(cmp.Compare(a.bucket, b.bucket), bytes.Compare(a.key, b.key)); c != 0 || (a.new == nil) == (b.new == nil) {
			return c
		}
		if a.new == nil {
			return -1
		}
		return 1
	})
	for _, e := range list {
		if err := w.set(e.bucket, e.key, e.old, e.new); err != nil {
			return err
		}
	}
	return nil
}
