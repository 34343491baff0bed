package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// restoredWorld is a log of 150 events and another that was made of its first 100.
func restoredWorld(t *testing.T) (old, now *world, kept [2][]byte) {
	old = newWorld(t)
	old.fill(80)
	_, kept[0] = old.sign()
	old.fill(20)
	size, root := old.db.TreeHead()
	old.close()
	now = &world{t: t, dir: copyDir(t, old.dir), n: old.n}
	t.Cleanup(now.close)
	old.open()
	old.fill(50)
	_, kept[1] = old.sign()
	write(t, read(t, old.dir, "checkpoints.txt"), now.dir, "checkpoints.txt")
	if err := audit.Restored(now.dir, size, root); err != nil {
		t.Fatal(err)
	}
	now.open()
	now.fill(30)
	now.sign()
	return old, now, kept
}

// A log that was restored has a name and a key of its own, is held against what
// was signed before, and tells whoever asks for more what became of it.
func TestRestored(t *testing.T) {
	t.Parallel()
	old, now, kept := restoredWorld(t)
	if old.a.Origin() == now.a.Origin() {
		t.Error("both logs have one name")
	}
	for _, name := range []string{"audit.past", "audit.key"} {
		if st, err := os.Stat(filepath.Join(now.dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	then, here := old.keys(), now.keys()
	state := filepath.Join(t.TempDir(), "state")
	verifications := func(o audit.VerifyOptions) (reports []*audit.Report) {
		t.Helper()
		for _, verify := range []func(audit.VerifyOptions) (*audit.Report, error){
			now.a.Verify, now.a.VerifyNew,
			func(o audit.VerifyOptions) (*audit.Report, error) { o.State = state; return now.a.VerifyNew(o) },
		} {
			r, err := verify(o)
			if err != nil {
				t.Fatal(err)
			}
			reports = append(reports, r)
		}
		return reports
	}
	for _, keys := range [][]*audit.Keys{nil, {here}, {then, here}, {here, then}} {
		for _, r := range verifications(audit.VerifyOptions{Keys: keys, Checkpoints: kept[:1]}) {
			want(t, r.Problems)
			if len(r.Past) != 1 || r.Past[0].Origin != old.a.Origin() || r.Past[0].Size != 100 || r.Past[0].Signed != 150 || r.Head != 130 {
				t.Errorf("%+v", r)
			}
		}
		for _, r := range verifications(audit.VerifyOptions{Keys: keys, Checkpoints: kept[1:]}) {
			want(t, r.Problems, audit.ErrRestored)
			if p := has(r.Problems, audit.ErrRestored); len(r.Problems) != 1 || p.From != 101 || p.To != 150 {
				t.Errorf("a checkpoint of what was left behind: %v", r.Problems)
			}
		}
	}
	// Who knows the old key alone is not told that all is well.
	r, err := now.a.Verify(audit.VerifyOptions{Keys: []*audit.Keys{then}, Checkpoints: kept[:1]})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r.Problems, audit.ErrRestored)
	if p := has(r.Problems, audit.ErrRestored); len(r.Problems) != 1 || p.From != 101 || p.To != 130 || r.Signed.Size != 100 {
		t.Errorf("%v", r.Problems)
	}
	// A log that was restored twice stands on both.
	size, root := uint64(90), rootAt(t, now, 90)
	again := &world{t: t, dir: copyDir(t, now.dir)}
	if err := audit.Restored(again.dir, size, root); err != nil {
		t.Fatal(err)
	}
	past, err := audit.LoadPast(again.dir)
	if err != nil || len(past) != 2 || past[0].Size != 90 || past[1].Size != 90 || past[1].Origin != now.a.Origin() || past[1].Signed != 130 {
		t.Errorf("%+v, %v", past, err)
	}
}

// rootAt returns the root over the first n events.
func rootAt(t *testing.T, w *world, n int) [32]byte {
	events, err := w.db.ReadFrom(0, n)
	if err != nil || len(events) != n {
		t.Fatal(len(events), err)
	}
	var leaves [][32]byte
	for _, e := range events {
		leaves = append(leaves, eventlog.Leaf(e))
	}
	return eventlogtest.Root(leaves)
}

// A restore is no excuse: events that were signed for before it are still held
// against that, and the file that speaks of it does not make a cut log whole.
func TestRestoredAndForged(t *testing.T) {
	t.Parallel()
	old, now, kept := restoredWorld(t)
	then := old.keys()
	now.close()
	old.close()
	other := newWorld(t)
	other.n = 3
	other.fill(130)
	other.close()
	for _, name := range []string{"audit.past", "audit.key", "audit.pub", "checkpoints.txt"} {
		write(t, read(t, now.dir, name), other.dir, name)
	}
	want(t, verify(t, other.dir, audit.VerifyOptions{}), audit.ErrRewritten)
	other.open()
	if _, _, err := other.a.Sign(); has([]*audit.Problem{asProblem(err)}, audit.ErrRewritten) == nil {
		t.Errorf("a log that is not the one that was restored is signed: %v", err)
	}
	// Somebody without the key cuts the log and says that it was restored.
	forged := &world{t: t, dir: copyDir(t, now.dir)}
	line := read(t, now.dir, "audit.past")
	for _, l := range [][]byte{line, bytes.Replace(line, []byte(`"size":100`), []byte(`"size":150`), 1), line[:len(line)/2], append(line[:len(line):len(line)], line...)} {
		write(t, l, forged.dir, "audit.past")
		r, err := audit.VerifyDir(forged.dir, audit.VerifyOptions{Keys: []*audit.Keys{then}, Checkpoints: kept[1:]})
		if err == nil && r.Err() == nil {
			t.Errorf("nothing is wrong with %s", l)
		}
	}
	os.Remove(filepath.Join(forged.dir, "audit.past"))
	want(t, verify(t, forged.dir, audit.VerifyOptions{})) // it says nothing of another log any more
	if r, err := audit.VerifyDir(forged.dir, audit.VerifyOptions{Keys: []*audit.Keys{then}}); err == nil && r.Err() == nil {
		t.Error("another log's key vouches for it")
	}
}
