package host

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/projection/event"
)

// told is a log that can be read while it is written.
type told struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *told) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func grow(t *testing.T, h *Host) {
	t.Helper()
	at := time.Now().UnixNano()
	_, err := h.Log.Append(t.Context(), eventlog.Append{
		ID: eventlog.AppendID(at), Run: eventlog.RunID{1, byte(h.Log.Head())},
		Records: []eventlog.Record{{Time: at, Kind: event.KindRunResumed, Actor: "test", Payload: event.Encode(&event.RunResumed{})}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + " does not come")
		}
	}
}

func signedSize(t *testing.T, h *Host) uint64 {
	t.Helper()
	a, err := h.audit.Auditor()
	if err != nil {
		t.Fatal(err)
	}
	c, _ := a.Last()
	return c.Size
}

// What is new is signed at the start, at intervals and at the end, and a log in
// which nothing is new is not signed again. A host that is no daemon signs nothing.
func TestSignsInBackground(t *testing.T) {
	dir := t.TempDir()
	open := func(w *told) *Host {
		t.Helper()
		h, err := Open(Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(w, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
	h := open(&told{})
	grow(t, h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "audit.key")); !os.IsNotExist(err) {
		t.Errorf("a key was made: %v", err)
	}
	backup, err := os.ReadFile(filepath.Join(dir, "log", "00000000000000000001.db"))
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := os.ReadFile(filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}

	h = open(&told{})
	h.audit.start(5 * time.Millisecond)
	await(t, "the checkpoint of the start", func() bool { return signedSize(t, h) == 1 })
	grow(t, h)
	await(t, "the checkpoint of an interval", func() bool { return signedSize(t, h) == 2 })
	before, err := os.ReadFile(filepath.Join(dir, "checkpoints.txt"))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if after, err := os.ReadFile(filepath.Join(dir, "checkpoints.txt")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("nothing is new, and yet: %v\n%s", err, after)
	}
	h.audit.stop()
	grow(t, h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.VerifyDir(dir, audit.VerifyOptions{}); err != nil || r.Err() != nil || r.Signed.Size != 3 {
		t.Fatalf("after the end: %v, %+v", err, r)
	}

	// An old backup: it is said, once, and nothing else is the matter.
	for name, b := range map[string][]byte{"log/00000000000000000001.db": backup, "catalog.db": catalog} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "views")); err != nil {
		t.Fatal(err)
	}
	w := &told{}
	h = open(w)
	h.audit.start(time.Millisecond)
	await(t, "the explanation", func() bool { return strings.Contains(w.String(), "an old copy of the directory") })
	grow(t, h)
	time.Sleep(30 * time.Millisecond)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(w.String(), "is not what was signed for"); n != 1 {
		t.Errorf("told %d times:\n%s", n, w)
	}
	for _, s := range []string{"truncated", "seq 2 to 3", "the daemon goes on"} {
		if !strings.Contains(w.String(), s) {
			t.Errorf("no %q in\n%s", s, w)
		}
	}
}

// The key and the event that says that it was rotated come together, whatever is
// between them.
func TestRotate(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Host, *audit.Auditor) {
		t.Helper()
		h, err := Open(Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		a, err := h.audit.Auditor()
		if err != nil {
			t.Fatal(err)
		}
		return h, a
	}
	h, a := open()
	grow(t, h)
	first := a.PublicKey()
	if err := h.audit.Rotate(t.Context(), "cli:ann@local", "she left"); err != nil {
		t.Fatal(err)
	}
	second := a.PublicKey()
	e, err := h.Log.ReadRun(event.Custody, 0, 10)
	if err != nil || len(e) != 1 {
		t.Fatal(e, err)
	}
	said := func(e eventlog.Event) event.KeyRotated {
		t.Helper()
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			t.Fatal(err)
		}
		return *p.(*event.KeyRotated)
	}
	if p := said(e[0]); e[0].Actor != "cli:ann@local" || p != (event.KeyRotated{Number: 1, From: first, To: second, At: 1, Reason: "she left"}) {
		t.Errorf("%s: %+v", e[0].Actor, p)
	}

	// Killed behind the event: what is on disk is the log with it, the old key, and
	// the next one.
	old := map[string][]byte{}
	for _, name := range []string{"audit.key", "audit.pub", "audit.keys"} {
		if old[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.audit.Rotate(t.Context(), "cli:bob@local", ""); err != nil {
		t.Fatal(err)
	}
	third := a.PublicKey()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "audit.key"), filepath.Join(dir, "audit.key.next")); err != nil {
		t.Fatal(err)
	}
	for name, b := range old {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verified := func(signed uint64) {
		t.Helper()
		r, err := audit.VerifyDir(dir, audit.VerifyOptions{Announced: api.Announced})
		if err != nil || r.Err() != nil || r.Signed.Size != signed {
			t.Errorf("%v, %v, signed %d", err, r.Err(), r.Signed.Size)
		}
	}
	verified(1) // the next start has the key
	h, a = open()
	if a.PublicKey() != third {
		t.Errorf("the key is %s, and %s was announced", a.PublicKey(), third)
	}
	if _, _, err := a.Sign(); err != nil {
		t.Error(err)
	}
	if n, err := h.Log.Version(event.Custody); n != 2 {
		t.Errorf("%d events, %v", n, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	verified(3)

	// The same, and the next key is lost as well: that is said, until the key is
	// rotated again.
	for name, b := range old {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "checkpoints.txt")); err != nil {
		t.Fatal(err)
	}
	if r, err := audit.VerifyDir(dir, audit.VerifyOptions{Announced: api.Announced}); err != nil || r.Err() == nil || !strings.Contains(r.Err().Error(), "seq 3: the event says that key") {
		t.Errorf("%v, %v", err, r.Err())
	}
	h, a = open()
	if a.PublicKey() != second {
		t.Error(a.PublicKey())
	}
	if err := h.audit.Rotate(t.Context(), "cli:bob@local", "the other is lost"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Sign(); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	verified(4)
}
