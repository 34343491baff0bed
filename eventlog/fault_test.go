package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// fillSome appends n appends of three events to some runs, one of them with a
// blob, and returns how many were acknowledged before the first error.
func fillSome(l eventlog.Log, from, n int) (acked int, err error) {
	for i := from; i < from+n; i++ {
		run := eventlogtest.RunNo(i%5 + 1)
		v, err := l.Version(run)
		if err != nil {
			return acked, err
		}
		recs := []eventlog.Record{eventlogtest.Rec(int64(i), strings.Repeat("p", 900)), eventlogtest.Rec(int64(i), fmt.Sprint(i)), eventlogtest.Rec(int64(i), "")}
		if i%7 == 3 {
			recs[2].Payload = []byte(strings.Repeat(fmt.Sprint(i), 2*eventlog.BlobOver))[:eventlog.BlobOver+i+1]
		}
		if _, err := l.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(i + 1), Run: run, Expect: v, Records: recs}); err != nil {
			return acked, err
		}
		acked++
	}
	return acked, nil
}

// Every step that writes fails once at every passage: with nothing done, or
// done and reported as failed. Whatever it was, what was acknowledged is there
// after a restart, an append of known failure is not, and the log is whole.
func TestEveryWriteFails(t *testing.T) {
	injected := errors.New("injected")
	for _, point := range eventlog.Failpoints {
		for _, cause := range []error{injected, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s/%v", point, cause), func(t *testing.T) {
				t.Parallel()
				for n := int64(1); ; n++ {
					if !failOnce(t, point, n, cause) || n == 3 {
						return
					}
				}
			})
		}
	}
}

// failOnce runs the workload with the n-th passage of point failing, and
// reports whether it came to that.
func failOnce(t *testing.T, point string, n int64, cause error) bool {
	dir := t.TempDir()
	var hits atomic.Int64
	o := eventlog.Options{SegmentSize: tiny, Failpoint: func(p string) error {
		if p == point && hits.Add(1) == n {
			return cause
		}
		return nil
	}}
	acked := 0
	d, err := openLog(dir, o)
	if err == nil {
		if acked, err = fillSome(d, 0, 60); err == nil {
			_, err = d.Sweep()
		}
		if errors.Is(err, eventlog.ErrFull) {
			// A full disk passes: the same log goes on.
			var more int
			if more, err = fillSome(d, acked, 60-acked); err != nil {
				t.Fatalf("after a full disk at %s, passage %d: %v", point, n, err)
			}
			acked += more
		}
		switch {
		case err == nil, errors.Is(err, cause) && point == "sweep.before-remove":
		case errors.Is(err, eventlog.ErrUnknown), errors.Is(err, eventlog.ErrStopped):
			if _, err := fillSome(d, acked, 1); !errors.Is(err, eventlog.ErrStopped) {
				t.Errorf("an append after a failure at %s: %v, want ErrStopped", point, err)
			}
			if ev, err := eventlogtest.All(d, 1000); err != nil || len(ev) < 3*acked {
				t.Errorf("reads after a failure at %s: %d of %d events, %v", point, len(ev), 3*acked, err)
			}
		default:
			t.Errorf("failure at %s, passage %d: %v", point, n, err)
		}
		unknown := errors.Is(err, eventlog.ErrUnknown)
		if err := d.Close(); err != nil {
			t.Errorf("close after a failure at %s: %v", point, err)
		}
		defer func() {
			if d, err = openLog(dir, eventlog.Options{SegmentSize: tiny}); err != nil {
				t.Fatalf("open after a failure at %s, passage %d: %v", point, n, err)
			}
			switch got := int(d.Head()); {
			case got == 3*acked:
			case got == 3*(acked+1) && unknown:
			default:
				t.Errorf("%s, passage %d: %d events after %d acknowledged appends", point, n, got, acked)
			}
			if _, err := fillSome(d, acked+1, 3); err != nil {
				t.Errorf("append after a restart: %v", err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			check(t, dir)
		}()
	} else if !errors.Is(err, cause) {
		t.Fatalf("open: %v", err)
	} else if d, err := openLog(dir, eventlog.Options{SegmentSize: tiny}); err != nil {
		t.Fatalf("open after a creation that failed at %s: %v", point, err)
	} else {
		d.Close()
		check(t, dir)
	}
	return hits.Load() >= n
}

// Appends enqueued behind a batch that fails fail too, and say that they were
// not stored.
func TestBehindAFailedBatch(t *testing.T) {
	for _, cause := range []error{errors.New("injected"), syscall.ENOSPC} {
		var d *eventlog.DB
		gate, first := make(chan struct{}), make(chan struct{})
		var once sync.Once
		d = open(t, t.TempDir(), eventlog.Options{Failpoint: func(p string) (err error) {
			if p == "commit.before" {
				once.Do(func() { close(first); <-gate; err = cause })
			}
			return err
		}})
		var wg sync.WaitGroup
		errs := make([]error, 3)
		put := func(i int, run eventlog.RunID, v eventlog.Version) {
			wg.Go(func() {
				_, errs[i] = d.Append(context.Background(), eventlog.Append{ID: 1, Run: run, Expect: v, Records: []eventlog.Record{eventlogtest.Rec(1, "x")}})
			})
		}
		put(0, eventlogtest.RunNo(1), 0)
		<-first
		// Decided on an event that is enqueued and not durable.
		_, err := d.Append(context.Background(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1), Expect: 0, Records: []eventlog.Record{eventlogtest.Rec(1, "x")}})
		if !errors.Is(err, eventlog.ErrConflict) {
			t.Errorf("an enqueued append does not count: %v", err)
		}
		put(1, eventlogtest.RunNo(1), 1)
		put(2, eventlogtest.RunNo(2), 0)
		for d.Enqueued() < 2 {
			syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 1000})
		}
		if v, err := d.Version(eventlogtest.RunNo(1)); v != 0 || err != nil {
			t.Errorf("an enqueued append is visible: version %d, %v", v, err)
		}
		close(gate)
		wg.Wait()
		want := []error{eventlog.ErrUnknown, eventlog.ErrStopped, eventlog.ErrStopped}
		if cause == syscall.ENOSPC {
			want = []error{eventlog.ErrFull, eventlog.ErrFull, eventlog.ErrFull}
		}
		for i := range errs {
			if !errors.Is(errs[i], want[i]) {
				t.Errorf("%v: append %d: %v, want %v", cause, i, errs[i], want[i])
			}
			if i > 0 && errors.Is(errs[i], eventlog.ErrUnknown) {
				t.Errorf("%v: append %d was not stored for certain, and says it is unknown", cause, i)
			}
		}
		_, err = d.Append(context.Background(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1), Expect: 0, Records: []eventlog.Record{eventlogtest.Rec(1, "x")}})
		if (err == nil) != (cause == syscall.ENOSPC) {
			t.Errorf("%v: the next append: %v", cause, err)
		}
	}
}

// On a full file system appends fail with ErrFull, reads go on, and once there
// is space the same log goes on where it was.
func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a file system of its own")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	data := filepath.Join(dir, "data")
	d, err := openLog(data, eventlog.Options{SegmentSize: 512 << 10})
	if err != nil {
		t.Fatal(err)
	}
	acked, full := 0, 0
	for full < 5 {
		n, err := fillSome(d, acked, 1000)
		acked += n
		if !errors.Is(err, eventlog.ErrFull) {
			t.Fatalf("after %d appends: %v, want ErrFull", acked, err)
		}
		full++
	}
	if int(d.Head()) != 3*acked || acked == 0 {
		t.Errorf("head %d after %d acknowledged appends", d.Head(), acked)
	}
	if ev, err := eventlogtest.All(d, 100); err != nil || len(ev) != 3*acked {
		t.Errorf("reads on a full disk: %d events, %v", len(ev), err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	if n, err := fillSome(d, acked, 100); err != nil {
		t.Errorf("after %d appends with space again: %v", n, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	check(t, data)
}

// A limit on file size is met like a full disk.
func TestFileSizeLimit(t *testing.T) {
	if os.Getenv("EVENTLOG_CHILD") == "" {
		out, err := child(t, "TestFileSizeLimit", nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	var old syscall.Rlimit
	const limit = 1 // RLIMIT_FSIZE
	syscall.Getrlimit(limit, &old)
	dir := t.TempDir()
	d, err := openLog(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(limit, &syscall.Rlimit{Cur: 600 << 10, Max: old.Max}); err != nil {
		t.Skip(err)
	}
	acked, err := fillSome(d, 0, 10000)
	if !errors.Is(err, eventlog.ErrFull) || int(d.Head()) != 3*acked {
		t.Errorf("over the limit after %d appends, head %d: %v, want ErrFull", acked, d.Head(), err)
	}
	syscall.Setrlimit(limit, &old)
	if _, err := fillSome(d, acked, 20); err != nil {
		t.Errorf("with the limit lifted: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	check(t, dir)
}

// A second process is refused and told who holds the directory.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{})
	if err := d.SetAddress("127.0.0.1:7117"); err != nil {
		t.Fatal(err)
	}
	for _, ro := range []bool{false, true} {
		_, err := openLog(dir, eventlog.Options{ReadOnly: ro})
		var l *eventlog.LockedError
		if !errors.Is(err, eventlog.ErrLocked) || !errors.As(err, &l) || l.PID != os.Getpid() || l.Address != "127.0.0.1:7117" {
			t.Errorf("second open: %v", err)
		}
	}
	if _, err := checkLog(dir, eventlog.CheckOptions{}); !errors.Is(err, eventlog.ErrLocked) {
		t.Errorf("check of a held directory: %v", err)
	}
	d.Close()
	r1 := open(t, dir, eventlog.Options{ReadOnly: true})
	r2, err := openLog(dir, eventlog.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("two readers: %v", err)
	}
	r2.Close()
	_, err = r1.Append(t.Context(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1), Records: []eventlog.Record{eventlogtest.Rec(1, "x")}})
	if !errors.Is(err, eventlog.ErrReadOnly) {
		t.Errorf("append to a log open for reading: %v", err)
	}
}

// A directory that was moved away under a running log, with another put in its
// place, stops the log at the next rotation.
func TestReplacedDirectory(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "data")
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Rename(dir, filepath.Join(root, "moved")); err != nil {
		t.Fatal(err)
	}
	second := open(t, dir, eventlog.Options{SegmentSize: tiny})
	if _, err := fillSome(d, 4, 3); err != nil {
		t.Fatal(err) // no rotation yet
	}
	if _, err := fillSome(d, 10, 200); !errors.Is(err, eventlog.ErrStopped) {
		t.Errorf("the first log goes on: %v", err)
	}
	if _, err := fillSome(second, 0, 50); err != nil {
		t.Errorf("the second log: %v", err)
	}
}

// A blob that an append left behind is swept; one that is in use is not.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: tiny})
	if _, err := fillSome(d, 0, 40); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(dir, "blobs", "ab", "cd", "abcd"+strings.Repeat("0", 60))
	os.MkdirAll(filepath.Dir(orphan), 0o700)
	os.WriteFile(orphan, []byte("x"), 0o600)
	os.WriteFile(orphan+".1.tmp", []byte("x"), 0o600)
	r, err := d.Check(eventlog.CheckOptions{})
	if err != nil || r.Err() != nil || len(r.Unreferenced) != 2 || r.Blobs == 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
	removed, err := d.Sweep()
	if err != nil || len(removed) != 2 {
		t.Errorf("sweep: %v, %v", removed, err)
	}
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Error("the blob is still there")
	}
}

// OnCommit sees every head once, in order, before the append returns.
func TestOnCommit(t *testing.T) {
	var last atomic.Uint64
	d := open(t, t.TempDir(), eventlog.Options{OnCommit: func(h eventlog.Seq) {
		if uint64(h) <= last.Swap(uint64(h)) {
			t.Errorf("head %d again", h)
		}
	}})
	for i := range 20 {
		seq, err := d.Append(t.Context(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1), Expect: eventlog.Version(i), Records: []eventlog.Record{eventlogtest.Rec(1, "x")}})
		if err != nil || last.Load() != uint64(seq) {
			t.Fatalf("append %d returned with the observer at %d, %v", seq, last.Load(), err)
		}
	}
	if s := d.Stats(); s.Commits != 20 || s.Events != 20 || s.Segments != 1 || s.Bytes == 0 {
		t.Errorf("stats %+v", s)
	}
	size, root := d.TreeHead()
	r, err := d.Check(eventlog.CheckOptions{})
	if err != nil || r.Err() != nil || r.Events != size || r.Root != root {
		t.Errorf("check says %+v, %v; tree head %d %x", r, err, size, root)
	}
}
