package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// tiny makes segments so small that a hundred events fill one.
const tiny = 64 << 10

// world is a log and its auditor in a directory.
type world struct {
	t   testing.TB
	dir string
	db  *eventlog.DB
	a   *audit.Auditor
	n   int // appends so far
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	if err := w.openWith(audit.Options{}); err != nil {
		w.t.Fatal(err)
	}
}

// openWith opens the log, and returns why its auditor cannot be.
func (w *world) openWith(o audit.Options) (err error) {
	w.t.Helper()
	if w.db, err = eventlog.Open(w.dir, eventlog.Options{SegmentSize: tiny}); err != nil {
		w.t.Fatal(err)
	}
	w.a, err = audit.Open(w.dir, w.db, o)
	return err
}

func (w *world) close() {
	if err := w.db.Close(); err != nil && !errors.Is(err, eventlog.ErrClosed) {
		w.t.Error(err)
	}
}

func (w *world) reopen() {
	w.t.Helper()
	w.close()
	w.open()
}

// fill appends n events, in appends of up to four, to five runs in turn.
func (w *world) fill(n int) {
	w.t.Helper()
	for n > 0 {
		run := eventlogtest.RunNo(w.n%5 + 1)
		v, err := w.db.Version(run)
		if err != nil {
			w.t.Fatal(err)
		}
		a := eventlog.Append{ID: eventlog.AppendID(w.n + 1), Run: run, Expect: v}
		for i := range min(n, w.n%4+1) {
			p := fmt.Sprintf("payload %d of append %d%s", i, w.n, strings.Repeat(".", w.n%7*30))
			a.Records = append(a.Records, eventlog.Record{Time: 1e18 + int64(w.n)*1e9 + 5, Kind: eventlog.Kind(i + 1), Actor: fmt.Sprint("user:", w.n%3), Payload: []byte(p)})
			n--
		}
		if w.n%40 == 7 {
			a.Records[0].Payload = make([]byte, eventlog.BlobOver+1+w.n)
		}
		if _, err := w.db.Append(context.Background(), a); err != nil {
			w.t.Fatal(err)
		}
		w.n++
	}
}

func (w *world) sign() (audit.Checkpoint, []byte) {
	w.t.Helper()
	c, note, err := w.a.Sign()
	if err != nil {
		w.t.Fatal(err)
	}
	return c, note
}

// keys are the public keys as a stranger has them: the first one alone.
func (w *world) keys() *audit.Keys {
	w.t.Helper()
	k, err := audit.ParseKeys([]byte(w.a.PublicKey()))
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// verify verifies a directory that is closed, and returns the problems.
func verify(t testing.TB, dir string, o audit.VerifyOptions) []*audit.Problem {
	t.Helper()
	r, err := audit.VerifyDir(dir, o)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return r.Problems
}

// has returns the first of the problems that is of the class.
func has(problems []*audit.Problem, class error) *audit.Problem {
	for _, p := range problems {
		if errors.Is(p, class) {
			return p
		}
	}
	return nil
}

// want fails unless there is a problem of each class.
func want(t testing.TB, problems []*audit.Problem, classes ...error) {
	t.Helper()
	for _, c := range classes {
		if has(problems, c) == nil {
			t.Errorf("no problem is %q: %v", c, problems)
		}
	}
	if len(classes) == 0 && len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}

// copyDir returns a copy of a closed directory.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "audit.key"), 0o600); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return to
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
