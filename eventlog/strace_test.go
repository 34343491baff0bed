package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// TestTracedChild appends events one by one, until an error or as many as it
// is told, and says on stdout how many were acknowledged.
func TestTracedChild(t *testing.T) {
	dir := os.Getenv("EVENTLOG_TRACED_DIR")
	if dir == "" {
		t.Skip("runs as a child under strace")
	}
	n, _ := strconv.Atoi(os.Getenv("EVENTLOG_TRACED_APPENDS"))
	d, err := openLog(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := d.Version(eventlogtest.RunNo(1))
	acked := 0
	one := func() error {
		_, err := d.Append(context.Background(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1), Expect: v + eventlog.Version(acked), Records: []eventlog.Record{eventlogtest.Rec(1, "x")}})
		return err
	}
	for acked < n && err == nil {
		if err = one(); err == nil {
			acked++
		}
	}
	if err != nil {
		fmt.Println("first", errors.Is(err, eventlog.ErrUnknown), "then", errors.Is(one(), eventlog.ErrStopped), err)
		if ev, err := eventlogtest.All(d, 100); err != nil || len(ev) != int(v)+acked {
			t.Errorf("reads after the failure: %d events, %v", len(ev), err)
		}
	}
	fmt.Println("acked", acked)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// traced runs TestTracedChild under strace and returns its output and trace.
func traced(t *testing.T, dir string, appends int, inject string, more ...string) (acked int, out, trace string) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	log := filepath.Join(t.TempDir(), "trace")
	args := []string{strace, "-f", "-qq", "-o", log, "-e", "trace=fdatasync,fsync,pwrite64,fadvise64"}
	if inject != "" {
		args = append(args, "-e", "inject="+inject)
	}
	args = append(args, more...)
	out, err = child(t, "TestTracedChild", []string{"EVENTLOG_TRACED_DIR=" + dir, fmt.Sprint("EVENTLOG_TRACED_APPENDS=", appends)}, args...)
	if err != nil && strings.Contains(out, "ptrace") {
		t.Skip("strace may not trace here")
	}
	_, rest, ok := strings.Cut(out, "acked ")
	if !ok || err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	fmt.Sscan(rest, &acked)
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return acked, out, string(b)
}

// An append alone costs one sync.
func TestOneSyncPerAppend(t *testing.T) {
	processes(t)
	dir := filepath.Join(t.TempDir(), "data")
	traced(t, dir, 1, "")
	syncs := func(n int) int {
		_, _, trace := traced(t, dir, n, "")
		return strings.Count(trace, "sync(")
	}
	if few, many := syncs(5), syncs(45); many-few != 40 {
		t.Errorf("40 appends cost %d syncs", many-few)
	}
}

// A sync that fails leaves the outcome unknown: the log stops, and after a restart the append is there or not, and
// everything before it is.
func TestFailedSync(t *testing.T) {
	processes(t)
	for _, inject := range []string{
		"fdatasync:error=EIO:when=1",
		"fdatasync:error=EIO:when=2",
		"fdatasync:error=EIO:when=5",
		"fdatasync:error=ENOSPC:when=5",
		"pwrite64:error=EIO:when=11",
	} {
		t.Run(inject, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			traced(t, dir, 1, "")
			acked, out, _ := traced(t, dir, 100, inject)
			if !strings.Contains(out, "first true then true") || acked == 100 {
				t.Errorf("child says:\n%s", out)
			}
			check(t, dir)
			d := open(t, dir, eventlog.Options{})
			if n := int(d.Head()); n != 1+acked && n != 2+acked {
				t.Errorf("%d events after %d acknowledged", n, 1+acked)
			}
		})
	}
}

// A commit whose sync has returned is not acknowledged before it was noted: a file system
// that went down meanwhile lets syncs return, and fails the next write.
func TestFailedNote(t *testing.T) {
	processes(t)
	dir := filepath.Join(t.TempDir(), "data")
	traced(t, dir, 1, "")
	acked, out, _ := traced(t, dir, 100, "pwrite64:error=EIO:when=4", "-P", filepath.Join(dir, "log", "synced"))
	if !strings.Contains(out, "first true then true") || acked != 2 {
		t.Errorf("child says:\n%s", out)
	}
	check(t, dir)
	d := open(t, dir, eventlog.Options{})
	if n := int(d.Head()); n != 4 {
		t.Errorf("%d events after %d acknowledged", n, 1+acked)
	}
}

// TestErasingChild erases payloads in segments that are sealed, and says what came of it.
func TestErasingChild(t *testing.T) {
	dir := os.Getenv("EVENTLOG_ERASING_DIR")
	if dir == "" {
		t.Skip("runs as a child under strace")
	}
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Erase(t.Context(), []eventlog.Span{{Run: eventlogtest.RunNo(1), From: 1, To: 3}}, func(eventlog.Event) ([]byte, error) { return nil, nil })
	_, then := fillSome(d, 60, 1)
	fmt.Println("erase", errors.Is(err, eventlog.ErrUnknown), "then", errors.Is(then, eventlog.ErrStopped), err)
	d.Close()
}

// A sync of the catalog that fails while segments are rewritten stops the log too.
func TestFailedSyncOfTheCatalog(t *testing.T) {
	processes(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	dir := filepath.Join(t.TempDir(), "data")
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fillSome(d, 0, 60); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := child(t, "TestErasingChild", []string{"EVENTLOG_ERASING_DIR=" + dir},
		strace, "-f", "-qq", "-o", "/dev/null", "-P", filepath.Join(dir, "catalog.db"), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1")
	if err != nil && strings.Contains(out, "ptrace") {
		t.Skip("strace may not trace here")
	}
	if err != nil || !strings.Contains(out, "erase true then true") {
		t.Errorf("child: %v\n%s", err, out)
	}
	check(t, dir)
}

// What a process that was ended has written is not taken from the kernel's cache: a
// sync of it may have failed, and the kernel takes the pages for clean since then.
// The next one syncs and reads from the disk: the catalog, and the open segment.
func TestReadsTheDiskAfterACrash(t *testing.T) {
	processes(t)
	dir := filepath.Join(t.TempDir(), "data")
	traced(t, dir, 1, "")
	if _, _, trace := traced(t, dir, 1, ""); strings.Contains(trace, "fadvise64") {
		t.Error("after an orderly end the kernel is told to forget what it has")
	}
	if err := os.WriteFile(filepath.Join(dir, "LOCK"), []byte("1\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, trace := traced(t, dir, 1, "")
	if n := strings.Count(trace, "POSIX_FADV_DONTNEED"); n != 2 {
		t.Errorf("after a crash the kernel is told to forget %d files, want the catalog and the open segment", n)
	}
	// A log that has stopped leaves its name, though it is closed in order.
	traced(t, dir, 100, "fdatasync:error=EIO:when=8")
	if _, _, trace = traced(t, dir, 1, ""); !strings.Contains(trace, "POSIX_FADV_DONTNEED") {
		t.Error("after a sync has failed the kernel's cache is believed")
	}
}
