package audit_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	bolt "go.etcd.io/bbolt"
)

// Tampering is done as by somebody who knows docs/format.md: with every
// checksum made anew.

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// segments lists the segment files of dir.
func segments(t testing.TB, dir string) []string {
	list, err := filepath.Glob(filepath.Join(dir, "log", "*.db"))
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	return list
}

// edit changes the chunks of a segment in a transaction.
func edit(t testing.TB, path string, fn func(b *bolt.Bucket) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(func(tx *bolt.Tx) error { return fn(tx.Bucket([]byte("b"))) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// chunkWith returns key and value of the chunk with seq.
func chunkWith(b *bolt.Bucket, seq eventlog.Seq) (k, v []byte) {
	k, v = b.Cursor().Seek(binary.BigEndian.AppendUint64(nil, uint64(seq)))
	return bytes.Clone(k), bytes.Clone(v)
}

// records returns the records of a chunk, their checksums included.
func records(v []byte) (list [][]byte) {
	n := int(binary.BigEndian.Uint16(v[16:]))
	at := 24
	if v[2]&1 != 0 {
		at += 48
	}
	body := v[at+2*n:]
	for i := range n {
		start, end := int(binary.BigEndian.Uint16(v[at+2*i:])), len(body)
		if i+1 < n {
			end = int(binary.BigEndian.Uint16(v[at+2*i+2:]))
		}
		list = append(list, body[start:end])
	}
	return list
}

// One character of one payload is changed, with its checksum: nothing but the
// tree can tell.
func TestEditedPayload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(600)
	w.sign()
	keys := w.keys()
	state := filepath.Join(w.dir, "state")
	if r, err := w.a.Verify(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	const seq = 130
	e, err := w.db.ReadFrom(seq-1, 1)
	if err != nil {
		t.Fatal(err)
	}
	file := w.db.FileOf(seq)
	w.close()
	edit(t, filepath.Join(w.dir, file), func(b *bolt.Bucket) error {
		k, v := chunkWith(b, seq)
		rec := records(v)[seq-int(binary.BigEndian.Uint64(v[8:]))]
		i := bytes.Index(rec, []byte("payload"))
		rec[i] ^= 1
		binary.BigEndian.PutUint32(rec, crc32.Checksum(rec[4:], crcTable))
		return b.Put(k, v)
	})
	problems := verify(t, w.dir, audit.VerifyOptions{Keys: []*audit.Keys{keys}})
	want(t, problems, audit.ErrDamaged, audit.ErrRewritten)
	p := has(problems, audit.ErrDamaged)
	if p.File != file || p.From > seq || p.From+4 < seq || p.Run != e[0].Run {
		t.Errorf("it is reported as %v, and was seq %d of %v in %s", p, seq, e[0].Run, file)
	}
	w.open() // a reader gets no wind of it; a proof does
	if got, err := w.db.ReadFrom(seq-1, 1); err != nil || bytes.Equal(got[0].Payload, e[0].Payload) {
		t.Errorf("the edit did not work: %v", err)
	}
	if _, err := w.a.Prove(seq, false); has([]*audit.Problem{asProblem(err)}, audit.ErrRewritten) == nil {
		t.Errorf("a proof of an edited event: %v", err)
	}
	var out bytes.Buffer
	if _, err := w.a.Export(context.Background(), &out, 1, 0, audit.ExportOptions{}); err == nil {
		t.Error("an edited log was exported")
	}
	// What was verified once is not read again.
	if r, err := w.a.VerifyNew(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil || r.Events != 0 {
		t.Errorf("incremental: %v, %v, %d events", err, r.Err(), r.Events)
	}
}

func asProblem(err error) *audit.Problem {
	return &audit.Problem{Err: err}
}

// Two events of different runs change places.
func TestSwappedEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inOneCommit(t, dir, 40)
	w := &world{t: t, dir: dir}
	w.open()
	w.sign()
	w.close()
	swapped := false
	edit(t, segments(t, dir)[0], func(b *bolt.Bucket) error {
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			v = bytes.Clone(v)
			if list := records(v); len(list) > 1 && len(list[0]) == len(list[1]) {
				first := bytes.Clone(list[0])
				copy(list[0], list[1])
				copy(list[1], first)
				swapped = true
				return b.Put(bytes.Clone(k), v)
			}
		}
		return nil
	})
	if !swapped {
		t.Fatal("no commit took two appends")
	}
	want(t, verify(t, dir, audit.VerifyOptions{}), audit.ErrDamaged, audit.ErrRewritten)
}

// inOneCommit makes a log with events of n runs, all but one in one commit: the
// first commit waits until the others' appends wait for the next.
func inOneCommit(t *testing.T, dir string, n int) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		db, err := eventlog.Open(dir, eventlog.Options{Failpoint: func(point string) error {
			if point == "commit.before" {
				<-release
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for i := range n {
			go func() {
				_, err := db.Append(t.Context(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(i + 1), Records: []eventlog.Record{eventlogtest.Rec(5, "the same length")}})
				done <- err
			}()
		}
		synctest.Wait()
		close(release)
		for range n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Events in the middle are deleted; and the last commits, as if they had never
// been, which only the signature can tell.
func TestDeletedEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(250)
	w.sign()
	segs := segments(t, w.dir)
	w.close()
	middle := copyDir(t, w.dir)
	edit(t, segments(t, middle)[0], func(b *bolt.Bucket) error {
		k, _ := chunkWith(b, 20)
		return b.Delete(k)
	})
	want(t, verify(t, middle, audit.VerifyOptions{}), audit.ErrDamaged)

	edit(t, segs[len(segs)-1], func(b *bolt.Bucket) error {
		for range 2 {
			k, _ := b.Cursor().Last()
			if err := b.Delete(bytes.Clone(k)); err != nil {
				return err
			}
		}
		k, _ := b.Cursor().Last()
		return b.SetSequence(binary.BigEndian.Uint64(k)) // who does this knows where the end is noted
	})
	if r, err := eventlog.Check(w.dir, eventlog.CheckOptions{}); err != nil || r.Events == 250 {
		t.Fatal(r.Events, err)
	}
	problems := verify(t, w.dir, audit.VerifyOptions{})
	want(t, problems, audit.ErrTruncated)
	if p := has(problems, audit.ErrTruncated); p != nil && (p.To != 250 || p.From >= 250 || p.File == "") {
		t.Errorf("%+v", p)
	}
	w.open()
	if _, _, err := w.a.Sign(); has([]*audit.Problem{asProblem(err)}, audit.ErrTruncated) == nil {
		t.Errorf("a cut log was signed: %v", err)
	}
	r, err := w.a.VerifyNew(audit.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r.Problems, audit.ErrTruncated)
	// Not even when it has grown past the old size again.
	w.n -= 3
	for w.db.Head() < 260 {
		w.n++
		if _, err := w.db.Append(t.Context(), eventlog.Append{ID: 9, Run: eventlogtest.RunNo(1000 + w.n), Records: []eventlog.Record{eventlogtest.Rec(5, "instead")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.a.Sign(); has([]*audit.Problem{asProblem(err)}, audit.ErrRewritten) == nil {
		t.Errorf("a rewritten log was signed: %v", err)
	}
	w.close()
	want(t, verify(t, w.dir, audit.VerifyOptions{}), audit.ErrRewritten)
}

// A log is replaced by another that is sound in itself, beside the signed
// checkpoints of the first.
func TestReplacedLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(300)
	w.sign()
	w.close()
	other := newWorld(t)
	other.fill(320)
	other.close()
	for _, name := range []string{"audit.key", "audit.pub", "checkpoints.txt"} {
		write(t, read(t, w.dir, name), other.dir, name)
	}
	problems := verify(t, other.dir, audit.VerifyOptions{})
	want(t, problems, audit.ErrRewritten)
	if p := has(problems, audit.ErrRewritten); p.From != 1 || p.To != 300 || p.File == "" {
		t.Errorf("%+v", p)
	}
	other.open()
	if _, _, err := other.a.Sign(); err == nil {
		t.Error("another log was signed as if it went on from the first")
	}
}

// After a common beginning the log has two histories, and both are signed with
// the right key: whoever has seen both can show it, and each holds the other
// for rewritten behind the last place where they agree.
func TestForkedHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(200)
	w.sign()
	keys := w.keys()
	w.close()
	fork := &world{t: t, dir: copyDir(t, w.dir), n: w.n}
	t.Cleanup(fork.close)
	w.open()
	fork.open()
	w.fill(100)
	fork.n += 3
	fork.fill(100)
	_, mine := w.sign()
	_, theirs := fork.sign()
	doc, err := w.a.Consistency(200, 300)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := audit.CheckConsistency(bytes.Replace(doc, jsonString(t, mine), jsonString(t, theirs), 1), keys); err == nil {
		t.Error("a proof from one history to the other is accepted")
	}
	r, err := w.a.VerifyNew(audit.VerifyOptions{Checkpoints: [][]byte{theirs}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r.Problems, audit.ErrForked)
	w.close()
	fork.close()
	want(t, verify(t, w.dir, audit.VerifyOptions{}))
	want(t, verify(t, fork.dir, audit.VerifyOptions{}))
	want(t, verify(t, w.dir, audit.VerifyOptions{Checkpoints: [][]byte{theirs}}), audit.ErrForked)
	write(t, read(t, w.dir, "checkpoints.txt"), fork.dir, "checkpoints.txt")
	problems := verify(t, fork.dir, audit.VerifyOptions{})
	want(t, problems, audit.ErrRewritten)
	if p := has(problems, audit.ErrRewritten); p.From != 201 || p.To != 300 {
		t.Errorf("%+v", p)
	}
}

// The copy that somebody kept is what shows that the log and its checkpoints
// were cut together.
func TestCheckpointKeptElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(100)
	w.sign()
	w.close()
	before := copyDir(t, w.dir)
	w.open()
	w.fill(50)
	_, kept := w.sign()
	w.close()
	want(t, verify(t, before, audit.VerifyOptions{}))
	want(t, verify(t, before, audit.VerifyOptions{Checkpoints: [][]byte{kept}}), audit.ErrTruncated)
}

// Every byte of checkpoints.txt matters; one in five is tried.
func TestFlippedCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(3)
	w.sign()
	w.fill(2)
	w.sign()
	w.close()
	want(t, verify(t, w.dir, audit.VerifyOptions{}))
	whole := read(t, w.dir, "checkpoints.txt")
	for at := rand.IntN(5); at < len(whole); at += 5 {
		b := slices.Clone(whole)
		b[at] ^= 1 << rand.IntN(8)
		write(t, b, w.dir, "checkpoints.txt")
		if len(verify(t, w.dir, audit.VerifyOptions{})) == 0 {
			t.Errorf("a changed bit at %d of %q is not found", at, whole)
		}
	}
	// Entries out of order, and one of another log.
	notes := bytes.SplitAfter(whole, []byte("=\n\n"))
	write(t, slices.Concat(notes[2], notes[3], notes[0], notes[1]), w.dir, "checkpoints.txt")
	want(t, verify(t, w.dir, audit.VerifyOptions{}), audit.ErrDamaged)
	other := newWorld(t)
	other.fill(7)
	_, foreign := other.sign()
	write(t, slices.Concat(whole, foreign, []byte("\n")), w.dir, "checkpoints.txt")
	want(t, verify(t, w.dir, audit.VerifyOptions{}), audit.ErrSignature)
	os.Remove(filepath.Join(w.dir, "checkpoints.txt"))
	want(t, verify(t, w.dir, audit.VerifyOptions{}))
}
