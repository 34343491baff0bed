package backup_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/backup"
)

// A directory that is restored from a backup has the events, blobs and archives of
// the one that was copied, up to the event that is asked for, and no others; what
// was signed for is known there, and nothing speaks against it.
func TestBackupAndRestore(t *testing.T) {
	places(t, func(t *testing.T, path string) {
		w := newWorld(t)
		w.fill(60)
		w.auditor.Sign()
		w.fill(30)
		old := events(t, w.db)[0]
		w.archive(old.Run, 6)
		done := w.mustBackup(path)
		all := events(t, w.db)
		if int(done.Head) != len(all) || done.Origin != w.auditor.Origin() || done.Checkpoint == "" || done.Copied != done.Bytes {
			t.Errorf("%+v", done)
		}
		if r := intact(t, path); r.Head != done.Head || r.Files != done.Files || r.Bytes != done.Bytes || len(r.Unfinished) > 0 {
			t.Errorf("%+v", r)
		}
		for _, f := range files(t, path) {
			if st, err := os.Stat(f); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", f, st.Mode(), err)
			}
		}
		w.fill(5) // not in the backup
		for _, n := range []int{0, 1, 100, 181, len(all)} {
			dir := filepath.Join(t.TempDir(), "data")
			r := restore(t, path, dir, backup.RestoreOptions{Until: eventlog.Until{Seq: eventlog.Seq(n)}})
			if n == 0 {
				n = len(all)
			}
			if int(r.To.Head) != n || r.From.Head != done.Head || len(r.Past) != 1 || r.Past[0].Size != uint64(n) || r.Past[0].Signed != uint64(len(all)) {
				t.Errorf("up to %d: %+v", n, r)
			}
			holds(t, dir, all[:n])
			if got := firstOf(t, dir, old.Run); !got.Archived || !bytes.Equal(got.Payload, old.Payload) {
				t.Errorf("the archived event is %+v", got)
			}
			goesOn(t, dir, w)
		}
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil { // empty: that will do
			t.Fatal(err)
		}
		restore(t, path, dir, backup.RestoreOptions{Until: eventlog.Until{Time: all[50].Time}})
		holds(t, dir, all[:51])
	})
}

// goesOn appends to a restored log, signs it and verifies all that was signed.
func goesOn(t *testing.T, dir string, was *world) {
	t.Helper()
	w := &world{t: t, dir: dir, n: 500}
	w.open()
	defer w.close()
	w.fill(2)
	if _, _, err := w.auditor.Sign(); err != nil {
		t.Errorf("the restored log cannot be signed: %v", err)
	}
	if w.auditor.Origin() == was.auditor.Origin() {
		t.Error("the restored log has the name of the other")
	}
	r, err := w.auditor.Verify(audit.VerifyOptions{})
	if err != nil || r.Err() != nil {
		t.Errorf("verification: %v, %v", err, r.Err())
	}
}

// A log that has moved goes on under its own name, if the key came along and no
// event is left behind.
func TestRestoreAsTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(20)
	without, with := filepath.Join(t.TempDir(), "without"), filepath.Join(t.TempDir(), "with")
	w.mustBackup(without)
	for _, f := range files(t, without) {
		if bytes.Contains(read(t, f), []byte("PRIVATE+KEY")) {
			t.Error("the private key is in a backup that was made without")
		}
	}
	w.withKey = true
	w.mustBackup(with)
	all := events(t, w.db)
	dir := filepath.Join(t.TempDir(), "data")
	for _, bad := range []struct {
		from string
		o    backup.RestoreOptions
	}{{without, backup.RestoreOptions{Same: true}}, {with, backup.RestoreOptions{Same: true, Until: eventlog.Until{Seq: 59}}}} {
		if _, err := backup.Restore(t.Context(), bad.from, dir, bad.o); !errors.Is(err, backup.ErrKey) {
			t.Errorf("%+v: %v", bad.o, err)
		}
	}
	if r := restore(t, with, dir, backup.RestoreOptions{Same: true}); len(r.Past) > 0 {
		t.Errorf("%+v", r)
	}
	holds(t, dir, all)
	moved := &world{t: t, dir: dir, n: w.n}
	moved.open()
	defer moved.close()
	if moved.auditor.PublicKey() != w.auditor.PublicKey() {
		t.Error("it has another key")
	}
	moved.fill(3)
	if _, _, err := moved.auditor.Sign(); err != nil {
		t.Error(err)
	}
	// The key of a log that becomes another does not come along.
	other := filepath.Join(t.TempDir(), "data")
	restore(t, with, other, backup.RestoreOptions{})
	if _, err := os.Stat(filepath.Join(other, "audit.key")); err == nil {
		t.Error("a restored log has the other one's key")
	}
}

// A backup that is made again copies what is new, heals what has become damaged,
// and keeps nothing that it does not need.
func TestRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "backup")
	w.fill(150)
	first := w.mustBackup(path)
	same := w.mustBackup(path)
	if same.Copied > first.Bytes/50 { // what is signed, and when it was made
		t.Errorf("of %d bytes that were there %d were copied", first.Bytes, same.Copied)
	}
	w.fill(30)
	second := w.mustBackup(path)
	if second.Copied >= second.Bytes/2 || second.Head <= first.Head {
		t.Errorf("%+v, %+v", first, second)
	}
	total := int64(0)
	for _, f := range files(t, filepath.Join(path, "objects")) {
		st, _ := os.Stat(f)
		total += st.Size()
	}
	if total > second.Bytes {
		t.Errorf("there are %d bytes for %d", total, second.Bytes)
	}
	for _, f := range files(t, filepath.Join(path, "objects")) {
		if b := read(t, f); len(b) > 50_000 {
			b[len(b)/2] ^= 4
			write(t, b, f)
			break
		}
	}
	if r, err := backup.Verify(t.Context(), path, nil, nil); err != nil || len(r.Problems) == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	w.mustBackup(path)
	intact(t, path)
	dir := filepath.Join(t.TempDir(), "data")
	restore(t, path, dir, backup.RestoreOptions{})
	holds(t, dir, events(t, w.db))
}

// While a backup is made the log goes on; the backup is of one commit.
func TestBackupWhileWriting(t *testing.T) {
	places(t, func(t *testing.T, path string) {
		w := newWorld(t)
		w.fill(20)
		stop, wg := make(chan struct{}), sync.WaitGroup{}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					w.fill(1)
				}
			}
		})
		for range 3 {
			w.mustBackup(path)
			intact(t, path)
		}
		close(stop)
		wg.Wait()
		dir := filepath.Join(t.TempDir(), "data")
		r := restore(t, path, dir, backup.RestoreOptions{})
		holds(t, dir, events(t, w.db)[:r.To.Head])
		if r.To.Head%3 != 0 || r.To.Head == 60 {
			t.Errorf("it ends in the middle of an append, or nothing was written meanwhile: %d", r.To.Head)
		}
	})
}

// A data directory is restored from as a backup is, and not changed.
func TestRestoreFromDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(70)
	w.auditor.Sign()
	all := events(t, w.db)
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := backup.Restore(t.Context(), w.dir, dir, backup.RestoreOptions{}); !errors.Is(err, eventlog.ErrLocked) {
		t.Errorf("from a directory in use: %v", err)
	}
	w.close()
	before := contents(t, w.dir)
	r := restore(t, w.dir, dir, backup.RestoreOptions{Until: eventlog.Until{Seq: 100}})
	holds(t, dir, all[:100])
	if r.Past[0].Size != 100 || r.Past[0].Signed != 210 {
		t.Errorf("%+v", r)
	}
	for name, b := range contents(t, w.dir) {
		if !bytes.Equal(before[name], b) {
			t.Errorf("%s was changed", name)
		}
	}
	goesOn(t, dir, w)
}

func contents(t *testing.T, dir string) map[string][]byte {
	m := map[string][]byte{}
	for _, f := range files(t, dir) {
		m[f] = read(t, f)
	}
	return m
}

// Every changed bit of every file is found and named, and every file that is
// missing, cut off, or too many; none of it is restored from.
func TestDamagedBackup(t *testing.T) {
	places(t, func(t *testing.T, path string) {
		w := newWorld(t)
		w.fill(30)
		w.mustBackup(path)
		all := files(t, path)
		damaged := func(what, file string) {
			t.Helper()
			r, err := backup.Verify(context.Background(), path, nil, nil)
			if err != nil && errors.Is(err, backup.ErrFormat) && strings.HasSuffix(file, "manifest") {
				return // without one it is no backup
			}
			if err != nil || len(r.Problems) == 0 {
				t.Errorf("%s: %+v, %v", what, r, err)
				return
			}
			if base := filepath.Base(file); file != path && !strings.Contains(r.Problems[0].String(), base) {
				t.Errorf("%s is reported as %v", what, r.Problems)
			}
			if !strings.HasSuffix(what, "bit") && !strings.HasSuffix(what, "missing") {
				return
			}
			dir := filepath.Join(t.TempDir(), "data")
			if _, err := backup.Restore(context.Background(), path, dir, backup.RestoreOptions{}); err == nil {
				t.Errorf("%s: it is restored from", what)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s: something is left of a restore that failed", what)
			}
		}
		for _, f := range all {
			whole := read(t, f)
			flips := 1
			if len(all) == 1 {
				flips = 40
			}
			for range flips {
				b := bytes.Clone(whole)
				b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
				write(t, b, f)
				damaged(f+", a bit", f)
			}
			write(t, whole[:rand.IntN(len(whole))], f)
			damaged(f+", cut", f)
			write(t, append(bytes.Clone(whole), 0), f)
			damaged(f+", longer", f)
			write(t, whole, f)
			if len(all) > 1 {
				os.Remove(f)
				damaged(f+", missing", f)
				write(t, whole, f)
			}
		}
		if len(all) > 1 {
			for _, name := range []string{"extra", "objects/extra", "objects/ab/" + strings.Repeat("ab", 32)} {
				f := filepath.Join(path, name)
				os.MkdirAll(filepath.Dir(f), 0o700)
				write(t, []byte("more"), f)
				damaged(f+", added", f)
				os.Remove(f)
			}
		}
		intact(t, path)
	})
}

// A backup is restored as what somebody signed who is not its log's only if that is
// asked for: with another log's key nothing in it is proven.
func TestRestoreUnproven(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	for _, w := range []*world{w, other} {
		w.fill(20)
		if _, _, err := w.auditor.Sign(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "backup")
	w.mustBackup(path)
	dir := filepath.Join(t.TempDir(), "data")
	if _, err := backup.Restore(t.Context(), path, dir, backup.RestoreOptions{Keys: other.auditor.Keys()}); !errors.Is(err, backup.ErrUnproven) {
		t.Errorf("restored against another log's key: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was refused, and is there: %v", err)
	}
	restore(t, path, dir, backup.RestoreOptions{Keys: w.auditor.Keys()})
	restore(t, path, dir+"2", backup.RestoreOptions{Keys: other.auditor.Keys(), Unproven: true})
	holds(t, dir+"2", events(t, w.db))
}
