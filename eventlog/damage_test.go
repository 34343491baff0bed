package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// sample makes a log of a few segments with the last one closed cleanly, and
// returns its events.
func sample(t *testing.T, dir string, appends int) []eventlog.Event {
	t.Helper()
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fillSome(d, 0, appends); err != nil {
		t.Fatal(err)
	}
	events, err := eventlogtest.All(d, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return events
}

// files lists the files of a data directory but LOCK and log/synced, which hold nothing of
// the log.
func files(t *testing.T, dir string) (names []string) {
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != "LOCK" && e.Name() != "synced" && filepath.Ext(path) != ".tmp" {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// sealedFiles lists the files of the segments that are sealed: all but the last.
func sealedFiles(t *testing.T, dir string) []string {
	names, err := filepath.Glob(filepath.Join(dir, "log", "*.db"))
	if err != nil || len(names) < 2 {
		t.Fatalf("%d segments: %v", len(names), err)
	}
	return names[:len(names)-1]
}

// survey reads a log that may be damaged in every way there is. Whatever it
// returns must be as it was written; found says that damage was reported.
func survey(t *testing.T, dir string, want []eventlog.Event) (found bool) {
	t.Helper()
	d, err := openLog(dir, eventlog.Options{ReadOnly: true, SegmentSize: tiny})
	if err != nil {
		return true
	}
	defer d.Close()
	damaged := func(err error) {
		var c *eventlog.CorruptError
		if !errors.As(err, &c) && !errors.Is(err, eventlog.ErrFormat) {
			t.Errorf("damage is reported as %v", err)
		}
		if c != nil && c.File == "" {
			t.Errorf("damage without a place: %v", err)
		}
		found = true
	}
	if int(d.Head()) != len(want) {
		found = true
	}
	for after := eventlog.Seq(0); after < d.Head(); {
		ev, err := d.ReadFrom(after, 50)
		if err != nil {
			damaged(err)
			after++
			continue
		}
		if len(ev) == 0 {
			t.Errorf("no events and no error after %d of %d", after, d.Head())
			break
		}
		for _, e := range ev {
			if !reflect.DeepEqual(e, want[e.Seq-1]) || e.Seq != after+1 {
				t.Fatalf("damage was returned as an event: %+v", e)
			}
			after = e.Seq
		}
	}
	for n := range 5 {
		run := eventlogtest.RunNo(n + 1)
		var of []eventlog.Event
		for _, e := range want {
			if e.Run == run {
				of = append(of, e)
			}
		}
		v, err := d.Version(run)
		if err != nil {
			damaged(err)
		} else if int(v) != len(of) {
			found = true
		}
		ev, err := eventlogtest.AllOf(d, run, 50)
		if err != nil {
			damaged(err)
		}
		for i, e := range ev {
			if !reflect.DeepEqual(e, of[i]) {
				t.Fatalf("damage was returned as an event of a run: %+v", e)
			}
		}
		if len(ev) != len(of) {
			found = true
		}
	}
	return found
}

// harm runs the survey and the check on a damaged directory, and reports
// whether one of them found the damage.
func harm(t *testing.T, dir string, want []eventlog.Event) bool {
	t.Helper()
	seen := survey(t, dir, want)
	r, err := checkLog(dir, eventlog.CheckOptions{})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	return seen || len(r.Problems) > 0
}

// Every byte of every file is changed in turn in the long form, with -kills
// over 100, and a random selection of them in the short one. No change is returned as data, none
// makes a panic, and each one that matters is found: what remains are bytes of
// the catalog and the open segment that nobody reads. Of a sealed segment every bit
// is found.
func TestFlippedBits(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := t.TempDir()
	want := sample(t, dir, 30)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, path := range files(t, dir) {
		stride := 797
		switch {
		case *kills > 100:
			stride = 1 // the long form
		case strings.Contains(path, "blobs"):
			stride = 16 << 10 // all of it under one hash
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		used := usedPages(whole)
		sealed := slices.Contains(sealedFiles(t, dir), path)
		for at := rng.IntN(stride); at < len(whole); at += 1 + rng.IntN(2*stride) {
			poke(t, path, at, whole[at]^1<<rng.IntN(8))
			if !harm(t, dir, want) && (sealed || used[at/4096] && !inert(whole, at)) {
				t.Errorf("%s: a changed bit at %d is not found: page %x, offset %d", filepath.Base(path), at, whole[at&^4095:][:16], at%4096)
			}
			if t.Failed() {
				t.Fatalf("%s, offset %d", path, at)
			}
			poke(t, path, at, whole[at])
		}
	}
	if harm(t, dir, want) {
		t.Error("the undamaged log has a problem")
	}
}

// poke changes one byte of a file.
func poke(t *testing.T, path string, at int, v byte) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{v}, int64(at)); err != nil {
		t.Fatal(err)
	}
}

// Files are cut to any length, emptied, filled with garbage, replaced by each
// other and removed.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := sample(t, dir, 30)
	rng := rand.New(rand.NewPCG(3, 4))
	paths := files(t, dir)
	for i, path := range paths {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(paths[(i+1)%len(paths)])
		if err != nil {
			t.Fatal(err)
		}
		hwm := 0
		for p, u := range usedPages(whole) {
			if u {
				hwm = min((p+1)*4096, len(whole))
			}
		}
		garbage := make([]byte, len(whole))
		for j := range garbage {
			garbage[j] = byte(rng.Uint32())
		}
		page := bytes.Clone(whole) // one page overwritten with another
		if n := hwm / 4096; n > 4 {
			copy(page[rng.IntN(n)*4096:], whole[rng.IntN(n)*4096:][:4096])
		}
		cases := map[string][]byte{"empty": {}, "garbage": garbage, "another file": other, "zeros": make([]byte, len(whole)), "half garbage": append(bytes.Clone(whole[:hwm/2]), garbage[hwm/2:]...)}
		for _, n := range []int{1, 100, 4095, 4096, 8192, 12288, 16384, hwm / 2, hwm - 4096, hwm - 1} {
			if n > 0 && n < len(whole) && n < hwm {
				cases[fmt.Sprintf("cut to %d", n)] = whole[:n]
			}
		}
		for name, b := range cases {
			if bytes.Equal(b, whole) {
				continue
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if !harm(t, dir, want) {
				t.Errorf("%s: %s is not found", path, name)
			}
		}
		os.WriteFile(path, page, 0o600)
		harm(t, dir, want)
		os.Remove(path)
		if !harm(t, dir, want) {
			t.Errorf("%s: removed, and not found", path)
		}
		os.Mkdir(path, 0o700)
		if !harm(t, dir, want) {
			t.Errorf("%s: a directory in its place is not found", path)
		}
		os.Remove(path)
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if harm(t, dir, want) {
		t.Error("the undamaged log has a problem")
	}
}

// A file that is cut while the log is open is a fault in mapped memory: the
// read says so and the process lives.
func TestCutWhileOpen(t *testing.T) {
	dir := t.TempDir()
	sample(t, dir, 30)
	d, err := openLog(dir, eventlog.Options{SegmentSize: tiny, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, path := range files(t, filepath.Join(dir, "log")) {
		if err := os.Truncate(path, 8192); err != nil {
			t.Fatal(err)
		}
	}
	_, err = eventlogtest.All(d, 1000)
	var c *eventlog.CorruptError
	if !errors.As(err, &c) {
		t.Errorf("reading a file that was cut: %v", err)
	}
}

// usedPages says which 4096-byte pages of a bbolt file its trees refer to;
// every page of another file.
func usedPages(b []byte) map[int]bool { return eventlog.LivePages(b) }

// inert reports whether the byte at is one that nothing reads: padding in a
// page, and the parts of bbolt's own pages that do not bear on the content.
func inert(b []byte, at int) bool { return eventlog.InertByte(b, at) }
