package backup_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/backup"
)

// died is what a process is said to have died of at a failpoint.
type died struct{}

// dying runs f, which may die at the n-th passage of a failpoint, and reports
// whether it did. What f defers is only what a process that dies gives up, too:
// locks and open files.
func dying(point string, n int, f func(fail func(string) error)) (dead bool) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case died:
			dead = true
		default:
			panic(r)
		}
	}()
	hits := 0
	f(func(p string) error {
		if p == point {
			if hits++; hits == n {
				panic(died{})
			}
		}
		return nil
	})
	return false
}

// A backup that is cut off is none, and one that was there before is there still;
// the next one comes to its end, and leaves nothing behind.
func TestInterruptedBackup(t *testing.T) {
	places(t, func(t *testing.T, path string) {
		w := newWorld(t)
		w.fill(14)
		tried := 0
		for _, point := range backup.Failpoints {
			for _, renewed := range []bool{false, true} {
				for _, n := range []int{1, 3} {
					at := fmt.Sprintf("%s, passage %d, renewed %v", point, n, renewed)
					os.RemoveAll(path)
					old := eventlog.Seq(0)
					if renewed {
						old = w.mustBackup(path).Head
						w.fill(10)
					}
					dead := dying(point, n, func(fail func(string) error) { w.backup(path, fail) })
					if !dead {
						continue // it does not come there so often
					}
					tried++
					r, err := backup.Verify(t.Context(), path, nil, nil)
					after := strings.HasSuffix(point, "after-manifest") || strings.HasSuffix(point, "clean")
					switch {
					case err != nil && (renewed || after):
						t.Errorf("%s: %v", at, err)
					case err == nil && (len(r.Problems) > 0 || !after && r.Head != old || after && r.Head != w.db.Head()):
						t.Errorf("%s: head %d, problems %v", at, r.Head, r.Problems)
					case err == nil && n == 1:
						restore(t, path, filepath.Join(t.TempDir(), "data"), backup.RestoreOptions{})
					}
					w.mustBackup(path)
					if r := intact(t, path); len(r.Unfinished) > 0 || r.Head != w.db.Head() {
						t.Errorf("%s: the next backup leaves %q", at, r.Unfinished)
					}
					if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
						t.Errorf("%s: there is %q", at, left)
					}
				}
			}
		}
		if tried < 5 {
			t.Errorf("only %d were cut off", tried)
		}
	})
}

// A restore that is cut off leaves nothing at its place, or everything; it can be
// repeated.
func TestInterruptedRestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(40)
	path := filepath.Join(t.TempDir(), "backup")
	w.mustBackup(path)
	all := events(t, w.db)
	for _, point := range backup.RestoreFailpoints {
		dir := filepath.Join(t.TempDir(), "data")
		if !dying(point, 1, func(fail func(string) error) {
			backup.Restore(context.Background(), path, dir, backup.RestoreOptions{Failpoint: fail})
		}) {
			t.Errorf("it does not come to %s", point)
		}
		if strings.HasSuffix(point, "after-rename") {
			holds(t, dir, all)
			continue
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something is at the place: %v", point, err)
		}
		restore(t, path, dir, backup.RestoreOptions{})
		holds(t, dir, all)
		if left, _ := filepath.Glob(dir + "*"); len(left) != 1 {
			t.Errorf("%s: there is %q", point, left)
		}
	}
	// Of what completes it, too.
	dir := filepath.Join(t.TempDir(), "data")
	failed := errors.New("not to be completed")
	_, err := backup.Restore(t.Context(), path, dir, backup.RestoreOptions{Complete: func(string, *backup.Restored) error { return failed }})
	if left, _ := filepath.Glob(dir + "*"); !errors.Is(err, failed) || len(left) > 0 {
		t.Errorf("%v, and there is %q", err, left)
	}
}

// Nobody's files are overwritten, and two at the same time are one too many.
func TestPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(3)
	path := filepath.Join(t.TempDir(), "backup")
	w.mustBackup(path)
	used := t.TempDir()
	write(t, []byte("a diary"), used, "diary")
	if _, err := backup.Restore(t.Context(), path, used, backup.RestoreOptions{}); !errors.Is(err, backup.ErrTarget) || !strings.Contains(err.Error(), "diary") {
		t.Errorf("restore to a directory in use: %v", err)
	}
	if _, err := backup.Restore(t.Context(), path, filepath.Join(used, "diary"), backup.RestoreOptions{}); !errors.Is(err, backup.ErrTarget) {
		t.Errorf("restore to a file: %v", err)
	}
	if _, err := backup.Restore(t.Context(), path, filepath.Join(used, "data"), backup.RestoreOptions{Until: eventlog.Until{Seq: 10}}); !errors.Is(err, backup.ErrTarget) {
		t.Errorf("restore up to an event that is not there: %v", err)
	}
	if _, err := backup.Restore(t.Context(), path, filepath.Join(used, "data"), backup.RestoreOptions{Until: eventlog.Until{Time: 1}}); !errors.Is(err, eventlog.ErrNoneSoEarly) {
		t.Errorf("restore up to a time before the first event: %v", err)
	}
	if _, err := backup.Restore(t.Context(), used, filepath.Join(used, "data"), backup.RestoreOptions{}); !errors.Is(err, backup.ErrFormat) {
		t.Errorf("restore from what is no backup: %v", err)
	}
	if _, err := backup.Verify(t.Context(), used, nil, nil); !errors.Is(err, backup.ErrFormat) {
		t.Errorf("verification of what is no backup: %v", err)
	}
	for _, to := range []string{used, filepath.Join(used, "diary"), filepath.Join(used, "none", "backup"), used + ".tar.zst/x"} {
		if _, err := w.backup(to, nil); !errors.Is(err, backup.ErrDestination) {
			t.Errorf("backup to %s: %v", to, err)
		}
	}
	if b := read(t, used, "diary"); string(b) != "a diary" {
		t.Errorf("the diary has %q", b)
	}
	for _, to := range []string{path, path + ".tar.zst"} {
		first, err := backup.Open(t.Context(), to, backup.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.backup(to, nil); !errors.Is(err, backup.ErrDestination) {
			t.Errorf("a second backup to %s: %v", to, err)
		}
		first.Close()
	}
	empty := &world{t: t, dir: filepath.Join(t.TempDir(), "data")}
	empty.open()
	defer empty.close()
	var said *backup.ProblemError
	if _, err := empty.backup(filepath.Join(t.TempDir(), "backup"), nil); !errors.As(err, &said) || !strings.Contains(err.Error(), "nothing to back up") {
		t.Errorf("backup of an empty log: %v", err)
	}
}

// A full disk is told, and takes nothing of what was there before.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a file system of its own")
	}
	for _, name := range []string{"backup", "backup.tar.zst"} {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		w := newWorld(t)
		w.fill(20)
		path := filepath.Join(dir, name)
		old := w.mustBackup(path)
		incompressible(w)
		if _, err := w.backup(path, nil); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a backup to a full disk: %v", err)
		}
		if r := intact(t, path); r.Head != old.Head {
			t.Errorf("the backup has head %d, it had %d", r.Head, old.Head)
		}
		data := filepath.Join(dir, "data")
		full := filepath.Join(t.TempDir(), "backup")
		w.mustBackup(full)
		if _, err := backup.Restore(t.Context(), full, data, backup.RestoreOptions{}); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, eventlog.ErrFull) {
			t.Errorf("a restore to a full disk: %v", err)
		}
		if left, _ := filepath.Glob(data + "*"); len(left) > 0 {
			t.Errorf("there is %q", left)
		}
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
			t.Fatal(err)
		}
		w.mustBackup(path)
		intact(t, path)
		restore(t, path, data, backup.RestoreOptions{})
	}
}

// incompressible fills two megabytes with payloads that do not shrink.
func incompressible(w *world) {
	w.fill(20)
	for i := range 20 {
		run := eventlog.RunID{1, byte(i + 1)}
		p := make([]byte, 100_000)
		for j := range p {
			p[j] = byte((j*j*31 + j*i*17) >> (j % 7))
		}
		copy(p, w.dir)
		for k := 0; k < len(p); k += 8 {
			h := uint64(k*2654435761+i) * 0x9e3779b97f4a7c15
			for b := range 8 {
				p[k+b] = byte(h >> (8 * b))
			}
		}
		_, err := w.db.Append(context.Background(), eventlog.Append{ID: 1, Run: run, Records: []eventlog.Record{{Time: 1e18, Kind: 1, Payload: p}}})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// What cannot be read is not sent as if it were there: the other side is told why,
// and has what it had.
func TestSourceFails(t *testing.T) {
	places(t, func(t *testing.T, path string) {
		w := newWorld(t)
		w.fill(40)
		old := w.mustBackup(path)
		w.fill(10)
		blobs, err := filepath.Glob(filepath.Join(w.dir, "blobs", "*", "*", "*"))
		if err != nil || len(blobs) < 2 {
			t.Fatal(blobs, err)
		}
		newest := blobs[0]
		whole := read(t, newest)
		for _, f := range blobs { // one that is not in the backup yet
			if a, _ := os.Stat(f); a != nil {
				if b, _ := os.Stat(newest); a.ModTime().After(b.ModTime()) {
					newest, whole = f, read(t, f)
				}
			}
		}
		for _, harm := range []func(){
			func() { os.Remove(newest) },
			func() { write(t, whole[1:], newest) },
			func() { write(t, append([]byte("x"), whole[1:]...), newest) },
		} {
			harm()
			var said *backup.ProblemError
			if _, err := w.backup(path, nil); !errors.As(err, &said) || !strings.Contains(err.Error(), filepath.Base(newest)) {
				t.Errorf("a backup with a blob that cannot be read: %v", err)
			}
			if r := intact(t, path); r.Head != old.Head {
				t.Errorf("the backup has head %d, it had %d", r.Head, old.Head)
			}
			os.Remove(newest)
			write(t, whole, newest)
		}
		w.mustBackup(path)
		// A byte of a sealed segment, wherever it is.
		w.fill(120)
		sealed := filepath.Join(w.dir, "log", fmt.Sprintf("%020d.db", 1))
		whole = read(t, sealed)
		b := bytes.Clone(whole)
		b[rand.IntN(len(b))] ^= 1
		write(t, b, sealed)
		other := path + ".tar.zst" // where it is not yet
		var said *backup.ProblemError
		if _, err := w.backup(other, nil); !errors.As(err, &said) || !strings.Contains(err.Error(), filepath.Base(sealed)) {
			t.Errorf("a backup of a sealed segment with a changed bit: %v", err)
		}
		write(t, whole, sealed)
		w.mustBackup(other)
	})
}

// A stream from elsewhere writes nothing outside of the backup, and is no backup
// unless it is whole.
func TestHostileStreams(t *testing.T) {
	places(t, func(t *testing.T, path string) {
		w := newWorld(t)
		w.fill(10)
		var whole bytes.Buffer
		if err := w.send(&whole, nil); err != nil {
			t.Fatal(err)
		}
		receive := func(stream []byte) error {
			to, err := backup.Open(context.Background(), path, backup.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer to.Close()
			_, err = to.Receive(context.Background(), bytes.NewReader(stream))
			return err
		}
		for _, name := range []string{"../evil", "/tmp/evil", "log/../../evil", "views/views.db", "catalog.db", "LOCK", "log/1.db", "blobs/ab/cd/..", "archives/../x", "archives/.x", "archives/a/b", "audit.key.next", "", "a\x00b"} {
			if err := receive(renamed(t, whole.Bytes(), name, tar.TypeReg)); err == nil {
				t.Errorf("a file %q is taken", name)
			}
		}
		for _, kind := range []byte{tar.TypeSymlink, tar.TypeLink, tar.TypeDir, tar.TypeFifo} {
			if err := receive(renamed(t, whole.Bytes(), "catalog", kind)); err == nil {
				t.Errorf("an entry of type %c is taken", kind)
			}
		}
		for n := 0; n < whole.Len()-1024; n += 1 + whole.Len()/40 {
			if err := receive(whole.Bytes()[:n]); err == nil {
				t.Errorf("a stream that ends after %d of %d bytes is taken", n, whole.Len())
			}
			b := bytes.Clone(whole.Bytes())
			b[n] ^= 1
			if err := receive(b); err == nil {
				intact(t, path) // the bit is in what a tar does not use
			}
		}
		if err := receive(whole.Bytes()); err != nil {
			t.Error(err)
		}
		intact(t, path)
	})
}

// renamed returns the stream with its first entry under another name and type.
func renamed(t *testing.T, stream []byte, name string, kind byte) []byte {
	t.Helper()
	var out bytes.Buffer
	in, w := tar.NewReader(bytes.NewReader(stream)), tar.NewWriter(&out)
	for i := 0; ; i++ {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			h = &tar.Header{Name: name, Typeflag: kind, Size: int64(len(b)), Mode: 0o600, ModTime: time.Unix(1, 0)}
			if kind != tar.TypeReg {
				h.Size, h.Linkname, b = 0, "../evil", nil
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return nil // a tar cannot say that
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return out.Bytes()
}
