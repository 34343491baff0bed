package audit_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	bolt "go.etcd.io/bbolt"
)

// reads counts the events that are read.
type reads struct {
	*eventlog.DB
	events int
	lowest eventlog.Seq
}

func (r *reads) ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error) {
	ev, err := r.DB.ReadFrom(after, limit)
	r.events += len(ev)
	if len(ev) > 0 {
		r.lowest = min(r.lowest, ev[0].Seq)
	}
	return ev, err
}

func (r *reads) ReadRun(run eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	ev, err := r.DB.ReadRun(run, after, limit)
	r.events += len(ev)
	return ev, err
}

func verifyNew(t *testing.T, w *world, o audit.VerifyOptions) *audit.Report {
	t.Helper()
	return verifyWith(t, w.a, o)
}

func verifyWith(t *testing.T, a *audit.Auditor, o audit.VerifyOptions) *audit.Report {
	t.Helper()
	r, err := a.VerifyNew(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What was verified up to a checkpoint is not read again, but for one event of
// each run that goes on.
func TestIncremental(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(700)
	w.sign()
	keys := w.keys()
	o := audit.VerifyOptions{Keys: []*audit.Keys{keys}, State: filepath.Join(t.TempDir(), "state")}
	r := verifyNew(t, w, o)
	if r.Err() != nil || r.Events != 700 || r.From != 1 || r.Signed.Size != 700 {
		t.Fatalf("from the beginning: %+v", r)
	}
	for _, n := range []int{0, 1, 30, 500} {
		w.fill(n)
		w.sign()
		w.fill(3) // not signed: these are verified again next time
		from := r.Signed.Size
		count := &reads{DB: w.db, lowest: 1 << 62}
		a, err := audit.Open(w.dir, count, audit.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		r = verifyWith(t, a, o)
		want(t, r.Problems)
		fresh := int(w.db.Head()) - int(from)
		if int(r.Events) != fresh || count.events > fresh+5 || count.lowest != eventlog.Seq(from)+1 || r.Signed.Size != uint64(w.db.Head())-3 {
			t.Errorf("%d new events, %d were read from seq %d on: %+v", fresh, count.events, count.lowest, r)
		}
		if _, root := w.db.TreeHead(); root != r.Root {
			t.Error("the root is not that of the log")
		}
	}
	// A full verification writes the same state.
	a := read(t, o.State)
	full := o
	full.State = filepath.Join(t.TempDir(), "state")
	if r, err := w.a.Verify(full); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	if b := read(t, full.State); !bytes.Equal(a, b) {
		t.Errorf("states differ:\n%s\n%s", a, b)
	}
	// Older checkpoints from elsewhere are compared without reading events.
	first := bytes.SplitAfter(read(t, w.dir, "checkpoints.txt"), []byte("=\n\n"))
	o.Checkpoints = [][]byte{bytes.TrimSuffix(append(first[0], first[1]...), []byte("\n"))}
	if r := verifyNew(t, w, o); r.Err() != nil || r.Events != 3 {
		t.Errorf("with an old checkpoint: %v, %d events", r.Err(), r.Events)
	}
}

// A state is of this log, whole, and not of a longer one; and damage in what is
// new is found.
func TestIncrementalFinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(150)
	w.sign()
	state := filepath.Join(t.TempDir(), "state")
	o := audit.VerifyOptions{State: state}
	if r := verifyNew(t, w, o); r.Err() != nil {
		t.Fatal(r.Err())
	}
	good := read(t, state)
	w.close()
	short := copyDir(t, w.dir)
	w.open()
	w.fill(300)
	w.sign()
	if r := verifyNew(t, w, o); r.Err() != nil {
		t.Fatal(r.Err())
	}
	later := read(t, state)

	// An old copy of the log, beside the state of a longer one.
	old := &world{t: t, dir: short, n: w.n}
	t.Cleanup(old.close)
	old.open()
	want(t, verifyNew(t, old, o).Problems, audit.ErrTruncated)
	// It grows to the same size by other events.
	old.fill(300)
	want(t, verifyNew(t, old, o).Problems, audit.ErrRewritten)
	old.fill(40)
	r := verifyNew(t, old, o)
	want(t, r.Problems, audit.ErrRewritten)
	if !bytes.Equal(read(t, state), later) {
		t.Error("a state was written although there are problems")
	}

	write(t, good, state)
	for at := 0; at < len(good); at += 7 {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		write(t, b, state)
		if _, err := w.a.VerifyNew(o); !errors.Is(err, audit.ErrFormat) && !errors.Is(err, audit.ErrSignature) {
			t.Fatalf("a changed bit at %d of the state: %v\n%s", at, err, b)
		}
	}
	other := newWorld(t)
	other.fill(10)
	write(t, good, state)
	if _, err := other.a.VerifyNew(o); !errors.Is(err, audit.ErrSignature) {
		t.Errorf("the state of another log: %v", err)
	}

	// An event that came later is changed, with its checksum.
	file, run := w.db.FileOf(400), eventlog.RunID{}
	if e, err := w.db.ReadFrom(399, 1); err == nil {
		run = e[0].Run
	}
	w.close()
	edit(t, filepath.Join(w.dir, file), func(b *bolt.Bucket) error {
		k, v := chunkWith(b, 400)
		rec := records(v)[400-int(binary.BigEndian.Uint64(v[8:]))]
		rec[bytes.Index(rec, []byte("payload"))] ^= 1
		binary.BigEndian.PutUint32(rec, crc32.Checksum(rec[4:], crcTable))
		return b.Put(k, v)
	})
	full, err := audit.VerifyDir(w.dir, audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p := has(full.Problems, audit.ErrDamaged); p == nil || p.File != file || p.Run != run {
		t.Errorf("full: %v", full.Problems)
	}
	// The log may refuse to open over it; if it opens, what is new does not add up.
	db, err := eventlog.Open(w.dir, eventlog.Options{ReadOnly: true})
	if err != nil {
		return
	}
	defer db.Close()
	a, err := audit.Open(w.dir, db, audit.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if r, err = a.VerifyNew(o); err != nil {
		t.Fatal(err)
	}
	want(t, r.Problems, audit.ErrRewritten)
}
