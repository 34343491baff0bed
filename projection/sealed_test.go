package projection

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// newRing returns the data keys of an encrypted log.
func newRing(t *testing.T) (*crypt.Ring, crypt.Keys) {
	t.Helper()
	keys := crypt.Keys{crypt.NewKey()}
	r, _, err := crypt.Load(t.TempDir(), keys)
	if err == nil {
		err = r.Begin(keys)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r, keys
}

func openSealed(t *testing.T, dir string, log eventlog.Log, ring *crypt.Ring) *Views {
	t.Helper()
	o := quiet
	o.Ring = ring
	v, err := Open(dir, log, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// inDir reports in which files under dir one of the texts is.
func inDir(t *testing.T, dir string, texts ...string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, text := range texts {
			if bytes.Contains(b, []byte(text)) {
				names = append(names, filepath.Base(path)+": "+text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Views of an encrypted log have the same rows, and nothing that was said can be found in
// their files, values of labels included: not after they were not encrypted, nor while
// the keys are changed, until it is turned off.
func TestViewsAreSealed(t *testing.T) {
	w := newWorld(t, 5) // whose views are compared with a twin
	w.steps(300)
	log := eventlogtest.NewMemory() // what is looked for in files
	plant(t, log)
	said := []string{"planted-label", "planted-key", "planted-prompt", "planted-output", "planted-message", "planted-form"}
	dirs := [2]string{t.TempDir(), t.TempDir()}
	var vs [2]*Views
	opened := func(ring *crypt.Ring) {
		t.Helper()
		vs = [2]*Views{openSealed(t, dirs[0], w.log, ring), openSealed(t, dirs[1], log, ring)}
	}
	close := func() {
		t.Helper()
		closed(t, vs[0])
		closed(t, vs[1])
	}
	check := func(hidden bool) {
		t.Helper()
		w.steps(20)
		w.check(vs[0])
		create(t, log, int(log.Head()), "more")
		rows, _, err := vs[1].Runs(t.Context(), Filter{Labels: map[string]string{"planted-key": "planted-label"}}, "", 0)
		if err != nil || len(rows) != 1 {
			t.Errorf("%d runs have the label (%v)", len(rows), err)
		}
		for _, v := range vs {
			if err := v.Verify(context.Background(), nil); err != nil {
				t.Error(err)
			}
		}
		if in := inDir(t, dirs[1], said...); hidden && len(in) > 0 || !hidden && len(in) < len(said) {
			t.Errorf("found: %q", in)
		}
	}
	opened(nil)
	check(false)
	if err := os.WriteFile(vs[1].path()+discardedSuffix, []byte("planted-label"), 0o600); err != nil {
		t.Fatal(err)
	}
	close()

	ring, keys := newRing(t)
	opened(ring) // they are made anew
	check(true)
	before := vs[1].Applied()
	close()
	if opened(ring); vs[1].Applied() != before {
		t.Errorf("opened again they stand at %d, not at %d", vs[1].Applied(), before)
	}
	check(true)
	each := func(do func(*Views) error) {
		t.Helper()
		for _, v := range vs {
			if err := do(v); err != nil {
				t.Fatal(err)
			}
		}
	}
	each(func(v *Views) error { return v.Scrub(t.Context()) })
	check(true)
	if err := ring.Rotate(keys); err != nil {
		t.Fatal(err)
	}
	check(true)
	each(func(v *Views) error { return v.Reseal(t.Context()) })
	if err := ring.Forget(); err != nil { // the data keys before
		t.Fatal(err)
	}
	check(true)
	each(func(v *Views) error { return v.store.checkSums(allBuckets()) })

	// Changed bits are met like any other.
	close()
	b, err := os.ReadFile(vs[1].path())
	if err == nil {
		for i := 8192; i < len(b); i += 97 {
			b[i] ^= 1
		}
		err = os.WriteFile(vs[1].path(), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	opened(ring)
	check(true)

	if err := ring.Stop(); err != nil {
		t.Fatal(err)
	}
	w.steps(50)
	w.check(vs[0]) // it goes on as it was begun
	each(func(v *Views) error { return v.Reseal(t.Context()) })
	if err := ring.Forget(); err != nil {
		t.Fatal(err)
	}
	check(false)
	close()
	opened(nil)
	check(false)
}

// plant adds a run that has texts of its own in all that rows keep.
func plant(t *testing.T, log *eventlogtest.Memory) {
	t.Helper()
	id := eventlogtest.RunNo(77777)
	appendTo(t, log, id,
		&event.RunCreated{Workflow: "w", Hash: "h", Labels: map[string]string{"planted-key": "planted-label"}, Input: event.MustValue("planted-input")},
		&event.NodeScheduled{Node: "ask", Visit: 1},
		&event.NodeStarted{Node: "ask", Visit: 1, Attempt: 1},
		&event.InputRequested{Node: "ask", Visit: 1, Prompt: "planted-prompt", Form: event.MustValue(map[string]any{"title": "planted-form"})},
	)
	other := eventlogtest.RunNo(77778)
	appendTo(t, log, other,
		&event.RunCreated{Workflow: "w", Hash: "h"},
		&event.RunCompleted{Output: event.MustValue("planted-output")},
	)
	failed := eventlogtest.RunNo(77779)
	appendTo(t, log, failed,
		&event.RunCreated{Workflow: "w", Hash: "h"},
		&event.RunFailed{Failure: event.Failure{Class: "internal", Message: "planted-message"}},
	)
}

// Snapshots of an encrypted log are sealed, those from before are thrown away, and what
// the keys do not open is as if it were not there.
func TestSnapshotsAreSealed(t *testing.T) {
	log := eventlogtest.NewMemory()
	id := create(t, log, 1, "planted-workflow")
	events, err := log.ReadRun(id, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	state, err := run.Fold(log, id, run.Newest)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ring, keys := newRing(t)
	var s *Snapshots
	life := func(r *crypt.Ring, kept bool) {
		t.Helper()
		var err error
		if s, err = OpenSnapshots(dir, r); err != nil {
			t.Fatal(err)
		}
		if has := s.Load(log, id) != nil; has != kept {
			t.Errorf("there is a snapshot: %v", has)
		}
		b, err := state.Snapshot()
		if err == nil {
			err = s.Put(id, events[len(events)-1], b)
		}
		if err != nil || s.Load(log, id) == nil {
			t.Fatalf("no snapshot is kept: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if in := inDir(t, dir, "planted-workflow"); (len(in) == 0) != r.Seals() {
			t.Errorf("found: %q", in)
		}
	}
	life(nil, false)
	life(nil, true)
	life(ring, false)
	life(ring, true)
	if err := ring.Rotate(keys); err != nil {
		t.Fatal(err)
	}
	life(ring, true)
	another, _ := newRing(t)
	life(another, false)
	if err := errors.Join(another.Stop(), another.Forget()); err != nil {
		t.Fatal(err)
	}
	life(another, false)
}
