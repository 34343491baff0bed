package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/backup"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// tiny makes segments so small that a hundred events fill one.
const tiny = 64 << 10

// world is a data directory that is in use.
type world struct {
	t       testing.TB
	dir     string
	db      *eventlog.DB
	auditor *audit.Auditor
	n       int // appends so far
	withKey bool
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "data")}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = eventlog.Open(w.dir, eventlog.Options{SegmentSize: tiny}); err != nil {
		w.t.Fatal(err)
	}
	if w.auditor, err = audit.Open(w.dir, w.db, audit.Options{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	if err := w.db.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
		w.t.Error(err)
	}
}

// fill appends n appends of three events to five runs in turn; of every tenth one
// is in a blob.
func (w *world) fill(n int) {
	w.t.Helper()
	for range n {
		run := eventlogtest.RunNo(w.n%5 + 1)
		v, err := w.db.Version(run)
		if err != nil {
			w.t.Fatal(err)
		}
		recs := []eventlog.Record{
			eventlogtest.Rec(int64(w.n), strings.Repeat("p", 900)),
			eventlogtest.Rec(int64(w.n), fmt.Sprint("payload ", w.n)),
			eventlogtest.Rec(int64(w.n), ""),
		}
		if w.n%10 == 3 {
			recs[2].Payload = []byte(strings.Repeat(fmt.Sprint(w.n), 2*eventlog.BlobOver))[:eventlog.BlobOver+w.n+1]
		}
		if _, err := w.db.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(w.n + 1), Run: run, Expect: v, Records: recs}); err != nil {
			w.t.Fatal(err)
		}
		w.n++
	}
}

func (w *world) source() backup.Source {
	return backup.Source{Log: w.db, Copy: func() (audit.Copy, error) { return w.auditor.Copy(w.withKey) }}
}

func (w *world) send(out io.Writer, have []backup.Sum) error {
	return backup.Send(context.Background(), out, w.source(), backup.Options{
		Have: have, Now: time.Unix(1700000000, 0), Problem: func(err error) []byte { return []byte(err.Error()) },
	})
}

// backup makes a backup at path, with a failpoint, if there is one.
func (w *world) backup(path string, fail func(string) error) (*backup.Done, error) {
	w.t.Helper()
	to, err := backup.Open(context.Background(), path, backup.OpenOptions{Failpoint: fail})
	if err != nil {
		return nil, err
	}
	defer to.Close()
	r, out := io.Pipe()
	defer r.Close()
	go func() { out.CloseWithError(w.send(out, to.Have())) }()
	return to.Receive(context.Background(), r)
}

func (w *world) mustBackup(path string) *backup.Done {
	w.t.Helper()
	done, err := w.backup(path, nil)
	if err != nil {
		w.t.Fatalf("backup to %s: %v", path, err)
	}
	return done
}

// intact fails the test if a backup is not whole.
func intact(t testing.TB, path string) *backup.Report {
	t.Helper()
	r, err := backup.Verify(context.Background(), path, nil, nil)
	if err != nil {
		t.Fatalf("verify %s: %v", path, err)
	}
	for _, p := range r.Problems {
		t.Errorf("verify %s: %v", path, p)
	}
	return r
}

func restore(t testing.TB, from, dir string, o backup.RestoreOptions) *backup.Restored {
	t.Helper()
	r, err := backup.Restore(context.Background(), from, dir, o)
	if err != nil {
		t.Fatalf("restore %s: %v", from, err)
	}
	return r
}

// events returns all events of a log.
func events(t testing.TB, l eventlog.Log) []eventlog.Event {
	t.Helper()
	all, err := eventlogtest.All(l, 100)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// holds fails the test if the directory is not sound, or has other events.
func holds(t testing.TB, dir string, want []eventlog.Event) {
	t.Helper()
	r, err := eventlog.Check(dir, eventlog.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Problems {
		t.Errorf("check %s: %v", dir, p)
	}
	if len(r.Unreferenced) > 0 {
		t.Errorf("%s has files of no event: %q", dir, r.Unreferenced)
	}
	db, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got := events(t, db)
	if !slices.EqualFunc(got, want, func(a, b eventlog.Event) bool {
		return a.Seq == b.Seq && a.Append == b.Append && eventlog.Leaf(a) == eventlog.Leaf(b) && bytes.Equal(a.Payload, b.Payload)
	}) {
		t.Errorf("%s has %d events, or others than the %d it was to have", dir, len(got), len(want))
	}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err == nil && fi.Mode().Perm()&0o077 != 0 && filepath.Base(path) != "audit.pub" && filepath.Base(path) != "audit.keys" {
			t.Errorf("%s has mode %o", path, fi.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// places are the two forms of a backup.
func places(t *testing.T, f func(t *testing.T, path string)) {
	for _, name := range []string{"backup", "backup.tar.zst"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, filepath.Join(t.TempDir(), name))
		})
	}
}

// files lists the files under path, which may be one.
func files(t testing.TB, path string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "LOCK" {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, b []byte, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// archive moves the payloads of a run's first n events to an archive.
func (w *world) archive(run eventlog.RunID, n eventlog.Version) {
	w.t.Helper()
	spans := []eventlog.Span{{Run: run, From: 1, To: n}}
	a, err := w.db.WriteArchive(w.t.Context(), spans)
	if err == nil {
		err = w.db.AdoptArchive(a.ID)
	}
	if err == nil {
		_, err = w.db.Erase(w.t.Context(), spans, func(eventlog.Event) ([]byte, error) { return []byte("a rest"), nil })
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// firstOf returns the first event of a run, as a reader of the run sees it.
func firstOf(t testing.TB, dir string, run eventlog.RunID) eventlog.Event {
	t.Helper()
	db, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	page, err := db.ReadRun(run, 0, 1)
	if err != nil || len(page) != 1 {
		t.Fatalf("%d events, %v", len(page), err)
	}
	return page[0]
}
