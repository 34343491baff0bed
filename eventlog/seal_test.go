package eventlog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// reads fails the test unless the log in dir has these events, opened with keys, and a
// check finds nothing.
func reads(t *testing.T, dir string, keys crypt.Keys, want []eventlog.Event) {
	t.Helper()
	d, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	got, err := eventlogtest.All(d, 100)
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%d events are read, which are not the %d that were written", len(got), len(want))
	}
	r, err := eventlog.Check(dir, eventlog.CheckOptions{Keys: keys})
	if err != nil || r.Err() != nil || len(r.Unreferenced) > 0 {
		t.Fatalf("check: %v, %v, unreferenced %v", err, r.Err(), r.Unreferenced)
	}
}

// begun makes a log of segments, blobs and an archive, and returns its events as they
// are read by the order of the log.
func begun(t *testing.T, dir string, keys crypt.Keys) []eventlog.Event {
	t.Helper()
	d, err := eventlog.Open(dir, eventlog.Options{SegmentSize: tiny, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	events := secrets(t, d, 60)
	spans := spansOf(events, func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(1) })
	a, err := d.WriteArchive(t.Context(), spans)
	if err == nil {
		err = d.AdoptArchive(a.ID)
	}
	if err == nil {
		_, err = d.Erase(t.Context(), spans, left)
	}
	if err != nil {
		t.Fatal(err)
	}
	events, err = eventlogtest.All(d, 100)
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	return events
}

// unlocked is all there is in a directory but for who had it last.
func unlocked(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "LOCK")); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q %x", files(t, dir), sha256.Sum256(content(t, dir)))
}

// Nothing of what is written can be found in any file: open and sealed segments, blobs,
// archives; and nothing of it without the key.
func TestSealed(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	events := begun(t, dir, testKeys)
	for _, text := range []string{"secret", "shared", "large", "test-actor", "left "} {
		if in := inFiles(t, dir, text); len(in) > 0 {
			t.Errorf("%q is in %v", text, in)
		}
	}
	stored := content(t, dir)
	for _, e := range events { // nor does a name say that a payload is there
		if !e.Erased && bytes.Contains(stored, e.Salt[:]) {
			t.Fatalf("the salt of event %d is in %v", e.Seq, inFiles(t, dir, string(e.Salt[:])))
		}
	}
	reads(t, dir, testKeys, events)
	was := unlocked(t, dir)
	var ke *crypt.KeyError
	for name, keys := range map[string]crypt.Keys{"no key": nil, "another key": {crypt.NewKey()}} {
		for _, o := range []eventlog.Options{{Keys: keys}, {Keys: keys, ReadOnly: true}, {Keys: keys, Quarantine: true}} {
			if _, err := eventlog.Open(dir, o); !errors.As(err, &ke) || ke.ID != testKeys[0].ID {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := eventlog.Check(dir, eventlog.CheckOptions{Keys: keys}); !errors.As(err, &ke) {
			t.Errorf("%s: check: %v", name, err)
		}
	}
	if unlocked(t, dir) != was {
		t.Error("who has no key has changed something")
	}
	reads(t, dir, append(crypt.Keys{crypt.NewKey()}, testKeys...), events)

	// Without the data keys it is refused, whatever the keys: nothing is taken for damage.
	for _, name := range []string{crypt.File, crypt.Copy} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(t.TempDir(), name)); err != nil {
			t.Fatal(err)
		}
	}
	var corrupt *eventlog.CorruptError
	if _, err := eventlog.Open(dir, eventlog.Options{Quarantine: true, Keys: testKeys}); !errors.As(err, &corrupt) || corrupt.File != crypt.File {
		t.Errorf("without the file of data keys: %v", err)
	}
}

// A log that is not encrypted is from when it is opened with a key, another key can be
// changed to, and back; what was written before is written anew, and nothing is left of it.
func TestReseal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	events := begun(t, dir, nil)
	size := len(events)
	_, root := treeHead(t, dir, nil)
	next := append(crypt.Keys{crypt.NewKey()}, testKeys...)
	change := func(name string, keys crypt.Keys, do func(*eventlog.DB) error) (sealed eventlog.Sealed) {
		t.Helper()
		d, err := eventlog.Open(dir, eventlog.Options{SegmentSize: tiny, Keys: keys})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err = do(d); err == nil {
			sealed, err = d.Sealed(t.Context())
		}
		if err := errors.Join(err, d.Close()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return sealed
	}
	reseal := func(d *eventlog.DB) error {
		if err := d.Reseal(t.Context()); err != nil {
			return err
		}
		sealed, err := d.Sealed(t.Context())
		if stale := sealed.Stale(d.Ring().Current()); err == nil && stale > 0 {
			err = fmt.Errorf("%d bytes are as before", stale)
		}
		return err
	}
	forget := func(d *eventlog.DB) error {
		if err := reseal(d); err != nil {
			return err
		}
		if ok, err := d.ForgetKeys(t.Context()); err != nil || !ok {
			return fmt.Errorf("keys are not forgotten: %v", err)
		}
		return nil
	}
	if s := change("opened with a key", testKeys, func(*eventlog.DB) error { return nil }); s.Bytes[0] == 0 || len(s.Bytes) != 1 {
		t.Fatalf("%+v", s)
	}
	reads(t, dir, testKeys, events)
	change("a key not needed yet", testKeys, func(d *eventlog.DB) error {
		if _, err := fillSome(d, 100, 3); err != nil {
			return err
		}
		ok, err := d.ForgetKeys(t.Context())
		if ok {
			return errors.New("keys are forgotten")
		}
		return err
	})
	events = all(t, dir, testKeys)
	if s := change("written anew", testKeys, reseal); s.Bytes[0] != 0 || s.Bytes[1] == 0 {
		t.Fatalf("%+v", s)
	}
	if in := inFiles(t, dir, "secret"); len(in) > 0 {
		t.Errorf("it is in %v", in)
	}
	reads(t, dir, testKeys, events)
	if s := change("rotated", next, func(d *eventlog.DB) error { return d.RotateKeys(next) }); s.Bytes[1] == 0 || s.Bytes[2] != 0 {
		t.Fatalf("%+v", s)
	}
	reads(t, dir, next[:1], events)
	if s := change("rotated and written anew", next[:1], forget); s.Bytes[1] != 0 || s.Bytes[2] == 0 {
		t.Fatalf("%+v", s)
	}
	reads(t, dir, next[:1], events)
	if _, got := treeHead(t, dir, next); len(events) == size || all(t, dir, next)[size-1].Seq != eventlog.Seq(size) || got == root {
		t.Error("not the log that was extended")
	}
	change("turned off", next, (*eventlog.DB).StopSealing)
	reads(t, dir, next, events)
	change("turned off and written anew", next, forget)
	reads(t, dir, nil, events)
	if crypt.Exists(dir) || len(inFiles(t, dir, "secret")) == 0 {
		t.Error("something is encrypted all the same")
	}
	if d, err := eventlog.Open(dir, eventlog.Options{}); err != nil || d.Close() != nil {
		t.Error("it does not open without a key", err)
	}
}

func treeHead(t *testing.T, dir string, keys crypt.Keys) (uint64, [32]byte) {
	t.Helper()
	d, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return d.TreeHead()
}

func all(t *testing.T, dir string, keys crypt.Keys) []eventlog.Event {
	t.Helper()
	d, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return eventsOf(t, d)
}

func eventsOf(t *testing.T, d *eventlog.DB) []eventlog.Event {
	t.Helper()
	events, err := eventlogtest.All(d, 100)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// Whatever fails on the way of writing anew, what is there is read with the key, and the
// next attempt goes on.
func TestResealIsInterrupted(t *testing.T) {
	unraced(t)
	t.Parallel()
	before := filepath.Join(t.TempDir(), "data")
	events := begun(t, before, nil)
	failed := errors.New("interrupted")
	for _, point := range []string{
		"rewrite.before-catalog", "rewrite.before-rename", "rewrite.after-rename", "blob.before-write", "blob.before-rename", "blob.after-rename",
		"archive.before-rename", "archive.after-rename", "archive.before-remove", "seal.before", "seal.after-index", "rotate.after-rename",
	} {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(dir, os.DirFS(before)); err != nil {
			t.Fatal(err)
		}
		n := 0
		d, err := eventlog.Open(dir, eventlog.Options{SegmentSize: tiny, Keys: testKeys, Failpoint: func(p string) error {
			if p == point {
				if n++; n == 2 || strings.HasPrefix(point, "archive") || strings.HasPrefix(point, "seal") || strings.HasPrefix(point, "rotate") {
					return failed
				}
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Reseal(t.Context()); !errors.Is(err, failed) {
			t.Errorf("%s: %v", point, err)
		}
		d.Close()
		if got := all(t, dir, testKeys); !reflect.DeepEqual(got, events) {
			t.Fatalf("%s: other events are read", point)
		}
		if d, err = eventlog.Open(dir, eventlog.Options{SegmentSize: tiny, Keys: testKeys}); err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		err = d.Reseal(t.Context())
		if err == nil {
			_, err = d.SweepArchives()
		}
		if err == nil {
			_, err = d.Sweep()
		}
		if err := errors.Join(err, d.Close()); err != nil {
			t.Fatalf("%s: %v", point, err)
		}
		reads(t, dir, testKeys, events)
		if in := inFiles(t, dir, "secret"); len(in) > 0 {
			t.Errorf("%s: it is in %v", point, in)
		}
	}
}

// A changed bit of an event that is sealed is damage of that event alone, named so,
// whatever it is: no wrong key.
func TestSealedDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	d, err := eventlog.Open(dir, eventlog.Options{Keys: testKeys})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 { // one chunk with an event of each run
		run := eventlogtest.RunNo(i + 1)
		if _, err := d.Append(t.Context(), eventlog.Append{ID: 1, Run: run, Records: []eventlog.Record{eventlogtest.Rec(1, strings.Repeat("p", 300+i))}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log", "00000000000000000001.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	note, err := os.ReadFile(filepath.Join(dir, "log", "synced"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		// The header of event i+1's chunk has its seq, and what is sealed comes behind.
		b := bytes.Clone(whole)
		head := []byte{1, 1, 1, 0} // version, codec, flags: the last chunk of a commit
		hit := 0
		for at := 0; ; {
			j := bytes.Index(b[at:], head)
			if j < 0 {
				break
			}
			at += j
			if binary.BigEndian.Uint64(b[at+8:]) == uint64(i+1) {
				b[at+24+48+crypt.HeaderSize+2+200] ^= 16
				hit++
			}
			at += 4
		}
		if hit == 0 {
			t.Fatal("the event is not found")
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "log", "synced"), note, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := eventlog.Open(dir, eventlog.Options{Keys: testKeys}); err == nil || !strings.Contains(err.Error(), crypt.ErrSeal.Error()) || errors.As(err, new(*crypt.KeyError)) {
			t.Errorf("event %d: %v", i+1, err)
		}
		r, err := eventlog.Check(dir, eventlog.CheckOptions{Keys: testKeys})
		if err != nil || len(r.Problems) == 0 || r.Problems[0].Seq != eventlog.Seq(i+1) || r.Problems[0].Run != eventlogtest.RunNo(i+1) {
			t.Errorf("event %d: check: %v, %v", i+1, err, r.Problems)
		}
		d, err := eventlog.Open(dir, eventlog.Options{Keys: testKeys, Quarantine: true})
		if err != nil {
			t.Fatal(err)
		}
		for j := range 6 {
			_, err := d.Append(t.Context(), eventlog.Append{ID: 2, Run: eventlogtest.RunNo(j + 1), Expect: 1, Records: []eventlog.Record{eventlogtest.Rec(2, "more")}})
			if (err != nil) != (j == i) {
				t.Errorf("event %d is damaged, and run %d is appended to: %v", i+1, j+1, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Files of another log do not open here, be it encrypted with the same key, nor does a
// chunk in the place of another, or a blob under another's name.
func TestSealedInItsPlace(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir, other := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	events := begun(t, dir, testKeys)
	begun(t, other, testKeys)
	damaged := func(what, path string, b []byte) {
		t.Helper()
		was, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := eventlog.Check(dir, eventlog.CheckOptions{Keys: testKeys})
		if err != nil || len(r.Problems) == 0 {
			t.Errorf("%s: %v, %+v", what, err, r)
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf("log/%020d.db", events[len(events)-1].Seq+1) // has no event
	for _, path := range files(t, dir) {
		name, _ := filepath.Rel(dir, path)
		if b, err := os.ReadFile(filepath.Join(other, name)); err == nil && strings.HasPrefix(name, "log/") && name != last {
			damaged(name+" of another log", path, b)
		}
	}
	blobs := files(t, filepath.Join(dir, "blobs"))
	if len(blobs) < 2 {
		t.Fatal("too few blobs")
	}
	for i, path := range blobs[:2] {
		b, err := os.ReadFile(blobs[1-i])
		if err != nil {
			t.Fatal(err)
		}
		damaged("a blob under another's name", path, b)
	}
	// The data keys of the other log open nothing here.
	b, err := os.ReadFile(filepath.Join(other, crypt.File))
	if err != nil {
		t.Fatal(err)
	}
	damaged("data keys of another log", filepath.Join(dir, crypt.File), b)
	own, err := os.ReadFile(filepath.Join(dir, crypt.File))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, crypt.File), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var corrupt *eventlog.CorruptError
	if _, err := eventlog.Open(dir, eventlog.Options{Keys: testKeys, Quarantine: true}); !errors.As(err, &corrupt) || corrupt.File != crypt.File {
		t.Errorf("with the data keys of another log: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, crypt.File), own, 0o600); err != nil {
		t.Fatal(err)
	}
	reads(t, dir, testKeys, events)
}

// An older file of data keys than the log was written with is refused, and no event is
// taken for lost.
func TestOlderDataKeys(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	begun(t, dir, testKeys)
	old, err := os.ReadFile(filepath.Join(dir, crypt.File))
	if err != nil {
		t.Fatal(err)
	}
	d, err := eventlog.Open(dir, eventlog.Options{Keys: testKeys})
	if err == nil {
		err = d.RotateKeys(testKeys)
	}
	if err == nil {
		_, err = fillSome(d, 100, 3)
	}
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	events := all(t, dir, testKeys)
	now, err := os.ReadFile(filepath.Join(dir, crypt.File))
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		for _, name := range []string{crypt.File, crypt.Copy} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(old)
	was := inFiles(t, dir, "")
	if _, err := eventlog.Open(dir, eventlog.Options{Keys: testKeys, Quarantine: true}); !errors.Is(err, crypt.ErrNoDataKey) {
		t.Errorf("%v", err)
	}
	if is := inFiles(t, dir, ""); !reflect.DeepEqual(is, was) {
		t.Errorf("there are %v, were %v", is, was)
	}
	put(now)
	reads(t, dir, testKeys, events)
}

// The tests of the log pass with logs that are encrypted: what every log promises, that
// nothing is lost by kills and power cuts. With -encrypt all of them do.
func TestEncrypted(t *testing.T) {
	if testing.Short() || *encrypt {
		t.Skip("starts this again")
	}
	t.Parallel()
	names := []string{"TestConformanceTinySegments", "TestSnapshotTail", "TestAssembleAtTime", "TestCrash", "TestCrashStates"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-encrypt", "-kills=2", "-states=60", "-test.run=^("+strings.Join(names, "|")+")$")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// sealedDir is a data directory that is encrypted: every later build must read it.
const sealedDir = "testdata/sealed1"

func goldenSealed(t *testing.T, dir string) {
	d, err := eventlog.Open(dir, eventlog.Options{SegmentSize: tiny, Keys: testKeys})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fillSome(d, 0, 12); err != nil {
		t.Fatal(err)
	}
	run := eventlogtest.RunNo(999)
	recs := []eventlog.Record{eventlogtest.Rec(1, "small"), eventlogtest.Rec(1, strings.Repeat("large", eventlog.BlobOver/5+1))}
	spans := []eventlog.Span{{Run: run, From: 1, To: 1}}
	if _, err = d.Append(t.Context(), eventlog.Append{ID: 1, Run: run, Records: recs}); err == nil {
		var a eventlog.Archive
		if a, err = d.WriteArchive(t.Context(), spans); err == nil {
			err = d.AdoptArchive(a.ID)
		}
	}
	if err == nil {
		_, err = d.Erase(t.Context(), spans, left)
	}
	if err == nil {
		err = d.RotateKeys(testKeys)
	}
	if err == nil {
		_, err = fillSome(d, 12, 6)
	}
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	for _, path := range files(t, dir) {
		if b, err := os.ReadFile(path); err == nil && strings.HasSuffix(path, ".db") && !strings.HasSuffix(path, "01.db") { // without the room to grow, but for what is sealed
			os.Truncate(path, eventlog.HighWater(b))
		}
	}
}

func TestGoldenSealed(t *testing.T) {
	if flag.Lookup("update").Value.String() == "true" {
		os.RemoveAll(sealedDir)
		goldenSealed(t, sealedDir)
		writeFile(t, sealedDir+".golden", describeWith(t, sealedDir, testKeys))
		os.Remove(filepath.Join(sealedDir, "LOCK"))
		os.Remove(filepath.Join(sealedDir, "log", "next.tmp"))
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(sealedDir)); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(sealedDir + ".golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := describeWith(t, dir, testKeys); got != string(want) {
		t.Errorf("the directory reads as\n%s\nwant\n%s", got, want)
	}
	reads(t, dir, testKeys, all(t, dir, testKeys))
	d, err := eventlog.Open(dir, eventlog.Options{SegmentSize: tiny, Keys: testKeys})
	if err == nil {
		err = d.Reseal(t.Context())
	}
	if err := errors.Join(err, d.Close()); err != nil {
		t.Error(err)
	}
	if got := describeWith(t, dir, testKeys); strings.SplitN(got, "\n", 2)[1] != strings.SplitN(string(want), "\n", 2)[1] {
		t.Error("written anew, it reads as something else")
	}
}
