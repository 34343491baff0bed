package projection

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

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

// form is how values are stored: behind each its seal, and all of that encrypted where the
// log is.
type form struct {
	ring   *crypt.Ring
	sealed bool
}

// stored returns a value as it is stored. It opens under its key in its bucket and nowhere
// else.
func (f form) stored(bucket string, key, value []byte) []byte {
	b := make([]byte, 0, len(value)+sealSize)
	b = binary.BigEndian.AppendUint64(append(b, value...), seal(bucket, key, value))
	if !f.sealed {
		return b
	}
	return f.ring.Newest().Box(viewPlace(bucket, key), b)
}

// opened is the inverse of stored.
func (f form) opened(bucket string, key, v []byte) ([]byte, error) {
	if f.sealed {
		var err error
		if v, err = f.ring.Open(viewPlace(bucket, key), v); err != nil {
			return nil, damaged("an entry of bucket %s: %v", bucket, err)
		}
	}
	return unseal(bucket, key, v)
}

// viewPlace is what the value of a key in a bucket is sealed for.
func viewPlace(bucket string, key []byte) []byte {
	return append(part([]byte("view "), bucket), key...)
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
	return b.Put(key, w.store.stored(metaBucket, key, e))
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
