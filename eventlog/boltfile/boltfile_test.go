package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog/boltfile"
	bolt "go.etcd.io/bbolt"
)

// options of a file: size of a page, buckets and entries of each, and whether it
// has a free list.
type options struct {
	page, buckets, entries int
	list                   bool
}

// written returns a file after a few transactions, one of which deletes.
func written(t testing.TB, o options) []byte {
	path := filepath.Join(t.TempDir(), "f")
	db, err := bolt.Open(path, 0o600, &bolt.Options{PageSize: o.page, NoFreelistSync: !o.list, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		err := db.Update(func(tx *bolt.Tx) error {
			for n := range o.buckets {
				b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "bucket-%04d", n))
				if err != nil {
					return err
				}
				for i := range o.entries {
					k := fmt.Appendf(nil, "%06d", i)
					if round == 2 && i%3 == 0 {
						err = b.Delete(k)
					} else {
						err = b.Put(k, bytes.Repeat([]byte{byte(n)}, 10+i%50))
					}
					if err != nil {
						return err
					}
				}
				if round == 0 {
					if err := b.Put([]byte("long"), make([]byte, 3*o.page)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(b []byte, pageSize int, depth boltfile.Depth) error {
	r := bytes.NewReader(b)
	m, err := boltfile.ReadMeta(r, pageSize)
	if err != nil {
		return err
	}
	return m.Check(r, int64(len(b)), depth)
}

// TestSound: what bbolt writes is taken, with pages of any size, with and
// without a free list, and with so many buckets that the root has branches.
func TestSound(t *testing.T) {
	for _, o := range []options{
		{4096, 1, 0, false}, {4096, 3, 2000, false}, {4096, 3, 2000, true}, {1024, 2, 500, true}, {16384, 2, 500, true}, {4096, 300, 5, true}, {1024, 300, 20, false},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			b := written(t, o)
			m, err := boltfile.ReadMeta(bytes.NewReader(b), 0)
			if err != nil || m.PageSize != o.page || !m.Both || (m.Freelist == boltfile.NoFreelist) == o.list {
				t.Fatalf("%+v, %v", m, err)
			}
			for depth := boltfile.Head; depth <= boltfile.Leaves; depth++ {
				if err := check(b, 0, depth); err != nil {
					t.Errorf("depth %d: %v", depth, err)
				}
			}
			if o.list {
				if err := m.CheckFreelistHead(bytes.NewReader(b)); err != nil {
					t.Error(err)
				}
			}
			if _, err := boltfile.ReadMeta(bytes.NewReader(b), o.page*2); !errors.Is(err, boltfile.ErrMeta) {
				t.Errorf("with another page size: %v", err)
			}
			used, err := m.Used(bytes.NewReader(b), int64(len(b)))
			if err != nil || !used[0] || !used[1] || !used[m.Root] {
				t.Errorf("%v, %v", used, err)
			}
		})
	}
}

// TestMeta: one meta page is enough; of two, the newer counts.
func TestMeta(t *testing.T) {
	b := written(t, options{4096, 2, 100, true})
	m, err := boltfile.ReadMeta(bytes.NewReader(b), 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := range 2 {
		torn := bytes.Clone(b)
		torn[page*4096+boltfile.HeaderSize+20] ^= 1
		one, err := boltfile.ReadMeta(bytes.NewReader(torn), 0)
		want := m.Tx
		if int(m.Tx%2) == page {
			want--
		}
		if err != nil || one.Both || one.Tx != want || one.PageSize != 4096 {
			t.Errorf("without page %d: %+v, %v", page, one, err)
		}
		torn[(1-page)*4096+boltfile.HeaderSize+20] ^= 1
		if _, err := boltfile.ReadMeta(bytes.NewReader(torn), 0); !errors.Is(err, boltfile.ErrMeta) {
			t.Errorf("without both: %v", err)
		}
	}
}

// TestDamage: each kind of damage is found and named.
func TestDamage(t *testing.T) {
	le := binary.LittleEndian
	whole := written(t, options{4096, 3, 2000, true})
	m, err := boltfile.ReadMeta(bytes.NewReader(whole), 0)
	if err != nil {
		t.Fatal(err)
	}
	branch, leaf := 0, 0
	used, _ := m.Used(bytes.NewReader(whole), int64(len(whole)))
	for id := range used {
		if p := whole[id*4096:]; used[id] && id > 1 && uint64(id) != m.Root && int(le.Uint64(p)) == id {
			switch le.Uint16(p[8:]) {
			case boltfile.FlagBranch:
				branch = id
			case boltfile.FlagLeaf:
				leaf = id
			}
		}
	}
	at := func(page int) int { return page * 4096 }
	for name, c := range map[string]struct {
		do   func(b []byte)
		want string
	}{
		"another's header":      {func(b []byte) { le.PutUint64(b[at(leaf):], 7) }, "calls itself page 7"},
		"no such page":          {func(b []byte) { le.PutUint64(b[at(branch)+24:], 1<<40) }, "out of range"},
		"cycle":                 {func(b []byte) { le.PutUint64(b[at(branch)+24:], uint64(branch)) }, ""},
		"too many overflow":     {func(b []byte) { le.PutUint32(b[at(leaf)+12:], 1<<31) }, "overflow pages"},
		"element outside":       {func(b []byte) { le.PutUint32(b[at(leaf)+16+4:], 1<<20) }, "key 0 out of place"},
		"too many elements":     {func(b []byte) { le.PutUint16(b[at(leaf)+10:], 0xfff0) }, "elements"},
		"free list too long":    {func(b []byte) { le.PutUint16(b[at(int(m.Freelist))+10:], 0xfffe) }, "a free list of 65534 pages"},
		"used and free":         {func(b []byte) { le.PutUint64(b[at(int(m.Freelist))+16:], m.Root) }, "referred to twice"},
		"neither used nor free": {func(b []byte) { le.PutUint16(b[at(int(m.Freelist))+10:], le.Uint16(b[at(int(m.Freelist))+10:])-1) }, "neither used nor free"},
		"bucket in a bucket":    {func(b []byte) { b[at(leaf)+16] = boltfile.ElementBucket }, "value 0 out of place"},
	} {
		b := bytes.Clone(whole)
		c.do(b)
		if err := check(b, 0, boltfile.Leaves); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
	if err := check(whole[:at(int(m.Pages)-1)], 0, boltfile.Head); err == nil {
		t.Error("a file cut short is sound")
	}
}

// FuzzCheck: whatever stands in a file, it is read within bounds.
func FuzzCheck(f *testing.F) {
	whole := written(f, options{1024, 3, 60, true})
	f.Add(uint32(0), uint64(0), uint32(len(whole)))
	f.Add(uint32(2048), uint64(3), uint32(len(whole)))
	f.Add(uint32(3*1024+8), uint64(1<<40), uint32(4096))
	f.Fuzz(func(t *testing.T, at uint32, v uint64, size uint32) {
		b := bytes.Clone(whole)
		if n := int(at) % len(b); n+8 <= len(b) {
			binary.LittleEndian.PutUint64(b[n:], v)
		}
		b = b[:min(int(size), len(b))]
		for depth := boltfile.Head; depth <= boltfile.Leaves; depth++ {
			_ = check(b, 0, depth) // must return
		}
	})
}

// The last transaction of a file is undone, as often as wanted: what was committed before
// it is what bbolt finds, and goes on from.
func TestTakeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put := func(n int) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
		if err == nil {
			err = errors.Join(db.Update(func(tx *bolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte("b"))
				if err != nil {
					return err
				}
				return b.Put([]byte("k"), bytes.Repeat([]byte{byte(n)}, 100*n))
			}), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	holds := func() (n int) {
		t.Helper()
		db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.View(func(tx *bolt.Tx) error {
			n = len(tx.Bucket([]byte("b")).Get([]byte("k"))) / 100
			return nil
		})
		return n
	}
	for n := 1; n < 8; n++ {
		put(n)
		if n < 3 {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := boltfile.ReadMeta(f, 0)
		if err == nil {
			err = m.TakeBack(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		st, _ := f.Stat()
		again, err := boltfile.ReadMeta(f, 0)
		if err != nil || again.Tx != m.Tx-1 || !again.Both {
			t.Errorf("after transaction %d was undone: %+v, %v", m.Tx, again, err)
		}
		if err := again.Check(f, st.Size(), boltfile.Leaves); err != nil {
			t.Errorf("after transaction %d was undone: %v", m.Tx, err)
		}
		f.Close()
		if got := holds(); got != n-1 {
			t.Errorf("after transaction %d was undone the file has %d", n, got)
		}
		put(n)
		if got := holds(); got != n {
			t.Errorf("transaction %d, again: the file has %d", n, got)
		}
	}
	if err := (boltfile.Meta{}).TakeBack(nil); !errors.Is(err, boltfile.ErrMeta) {
		t.Errorf("without another meta page: %v", err)
	}
}
