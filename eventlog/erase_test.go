package eventlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// left keeps the size of a payload, and nothing of what is left already.
func left(e eventlog.Event) ([]byte, error) {
	if e.Erased || len(e.Payload) == 0 {
		return e.Payload, nil
	}
	return fmt.Appendf(nil, "left %d", len(e.Payload)), nil
}

// secrets appends events whose payloads hold a text of their own, some of them
// large, to five runs in turn, and returns the events.
func secrets(t *testing.T, d *eventlog.DB, n int) []eventlog.Event {
	t.Helper()
	for i := range n {
		run := eventlogtest.RunNo(i%5 + 1)
		v, err := d.Version(run)
		if err != nil {
			t.Fatal(err)
		}
		small := fmt.Sprintf("secret-%d-%d-", i%5+1, v+1) + strings.Repeat("s", i%7*100)
		large := fmt.Sprintf("secret-%d-%d-", i%5+1, v+2) + strings.Repeat("large", eventlog.BlobOver/5*(i%2+1))
		shared := strings.Repeat("shared", eventlog.BlobOver)
		recs := []eventlog.Record{eventlogtest.Rec(int64(i+1), small), eventlogtest.Rec(int64(i+1), large)}
		if i%10 < 5 {
			recs = append(recs, eventlogtest.Rec(int64(i+1), shared))
		}
		if _, err := d.Append(t.Context(), eventlog.Append{ID: eventlog.AppendID(i + 1), Run: run, Expect: v, Records: recs}); err != nil {
			t.Fatal(err)
		}
	}
	events, err := eventlogtest.All(d, 100)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// inFiles reports which of the data directory's files have the text in them.
func inFiles(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	for _, path := range files(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			names = append(names, path)
		}
	}
	return names
}

// content returns what is in all files.
func content(t *testing.T, dir string) (all []byte) {
	for _, path := range files(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func spansOf(events []eventlog.Event, pick func(eventlog.Event) bool) (spans []eventlog.Span) {
	for _, e := range events {
		if pick(e) {
			spans = append(spans, eventlog.Span{Run: e.Run, From: e.Version, To: e.Version})
		}
	}
	return spans
}

// erasedAs returns e as it is read once it was erased.
func erasedAs(t *testing.T, e eventlog.Event) eventlog.Event {
	rest, err := left(e)
	if err != nil {
		t.Fatal(err)
	}
	e.Hash, e.Erased, e.Archived, e.Salt = e.PayloadHash(), true, false, [16]byte{}
	if e.Payload = rest; len(rest) == 0 {
		e.Payload = nil
	}
	return e
}

// What is erased is in no file any more, what is left of it and everything else is
// read as before, and the tree is the same.
func TestErase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: tiny})
	events := secrets(t, d, 150)
	size, root := d.TreeHead()
	pick := func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(2) || e.Seq%17 == 0 }
	done, err := d.Erase(t.Context(), spansOf(events, pick), left)
	if err != nil {
		t.Fatal(err)
	}
	if s, r := d.TreeHead(); s != size || r != root {
		t.Error("the tree has changed")
	}
	n := 0
	want := slices.Clone(events)
	for i, e := range events {
		if pick(e) {
			n++
			want[i] = erasedAs(t, e)
		}
	}
	if done.Events != n || done.Segments < 3 || done.Blobs == 0 || done.Bytes <= 0 {
		t.Errorf("erased %+v, want %d events", done, n)
	}
	read := func(d *eventlog.DB) {
		t.Helper()
		got, err := eventlogtest.All(d, 77)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("event %d is\n%+v\nwant\n%+v", i+1, got[i], want[i])
			}
			if eventlog.Leaf(got[i]) != eventlog.Leaf(events[i]) {
				t.Fatalf("event %d has another leaf", i+1)
			}
		}
	}
	read(d)
	all := content(t, dir)
	for _, e := range events {
		if parts := strings.SplitAfterN(string(e.Payload[:min(len(e.Payload), 20)]), "-", 4); pick(e) && len(parts) == 4 {
			if secret := strings.Join(parts[:3], ""); bytes.Contains(all, []byte(secret)) {
				t.Fatalf("%q, of event %d, is still in %v", secret, e.Seq, inFiles(t, dir, secret))
			}
		}
	}
	if !*encrypt && len(inFiles(t, dir, "sharedshared")) == 0 {
		t.Error("a blob is gone that other events refer to")
	}
	if r, err := d.Check(eventlog.CheckOptions{}); err != nil || r.Err() != nil || r.Root != root {
		t.Errorf("check of the open log: %v, %v", err, r.Err())
	}
	if _, err := fillSome(d, 400, 20); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, dir)
	want = append(want, func() []eventlog.Event {
		d := open(t, dir, eventlog.Options{SegmentSize: tiny})
		all, err := eventlogtest.All(d, 1000)
		if err != nil {
			t.Fatal(err)
		}
		read(d)
		if again, err := d.Erase(t.Context(), spansOf(events, pick), left); err != nil || again.Events != n {
			t.Errorf("erasing again: %+v, %v", again, err)
		}
		read(d)
		return all[len(want):]
	}()...)
}

// The log goes on, is read and is checked while it is rewritten.
func TestEraseWhileInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: tiny})
	events := secrets(t, d, 100)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for p := range 3 {
		wg.Go(func() {
			run := eventlogtest.RunNo(50 + p)
			for i := 1; ctx.Err() == nil && i < 5000; i++ {
				v, err := d.Version(run)
				if err == nil {
					_, err = d.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(i), Run: run, Expect: v, Records: []eventlog.Record{eventlogtest.Rec(int64(1000+i), strings.Repeat("x", 300))}})
				}
				if err != nil {
					t.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			got, err := eventlogtest.AllOf(d, eventlogtest.RunNo(3), 20)
			if err != nil || len(got) == 0 || got[0].PayloadHash() != events[slices.IndexFunc(events, func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(3) })].PayloadHash() {
				t.Errorf("reading while it is rewritten: %v", err)
				return
			}
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if r, err := d.Check(eventlog.CheckOptions{}); err != nil || r.Err() != nil {
				t.Errorf("check while it is rewritten: %v, %v", err, r.Err())
				return
			}
		}
	})
	for round := range 6 {
		spans := spansOf(events, func(e eventlog.Event) bool { return int(e.Seq)%6 == round })
		if _, err := d.Erase(t.Context(), spans, left); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
}

// image copies the directory as a crash at this moment would leave it.
func image(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || e.IsDir() {
			return errors.Join(err, os.MkdirAll(filepath.Join(to, rel), 0o700))
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// A crash at any step of archiving and erasing leaves a log that is whole, and in
// which the same is done again to the end.
func TestEraseAfterCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: tiny})
	events := secrets(t, d, 40)
	if err := d.Close(); err != nil { // so that nothing but the erasure is under way
		t.Fatal(err)
	}
	images := map[string]string{}
	d = open(t, dir, eventlog.Options{SegmentSize: tiny, Failpoint: func(point string) error {
		switch step, _, _ := strings.Cut(point, "."); step {
		case "rewrite", "archive", "sweep":
			images[fmt.Sprintf("%s %d", point, len(images))] = image(t, dir)
		}
		return nil
	}})
	size, root := d.TreeHead()
	spans := spansOf(events, func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(4) })
	gone := spansOf(events, func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(4) && e.Version < 4 })
	do := func(d *eventlog.DB) error {
		a, err := d.WriteArchive(t.Context(), spans)
		if err == nil && a.Events > 0 {
			err = d.AdoptArchive(a.ID)
		}
		if err == nil {
			_, err = d.Erase(t.Context(), spans, left)
		}
		if err == nil {
			err = d.EraseArchived(t.Context(), gone)
		}
		return err
	}
	if err := do(d); err != nil {
		t.Fatal(err)
	}
	for _, point := range eventlog.Failpoints {
		if step, _, _ := strings.Cut(point, "."); (step == "rewrite" || step == "archive" || step == "sweep") && !slices.ContainsFunc(keysOf(images), func(k string) bool { return strings.HasPrefix(k, point+" ") }) {
			t.Errorf("%s was not passed", point)
		}
	}
	for point, dir := range images {
		check(t, dir)
		d := open(t, dir, eventlog.Options{SegmentSize: tiny})
		if err := do(d); err != nil {
			t.Fatalf("after a crash at %s: %v", point, err)
		}
		// What a first attempt took out of the log, a second does not find there.
		if _, err := d.Sweep(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.SweepArchives(); err != nil {
			t.Fatal(err)
		}
		if s, r := d.TreeHead(); s != size || r != root {
			t.Errorf("after a crash at %s: another tree", point)
		}
		got, err := eventlogtest.AllOf(d, eventlogtest.RunNo(4), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			if e.Erased != (e.Version < 4) {
				t.Fatalf("after a crash at %s: version %d erased %v", point, e.Version, e.Erased)
			}
		}
		for _, s := range []string{"secret-4-", "large"} {
			for _, name := range inFiles(t, filepath.Join(dir, "log"), s) {
				if s != "large" {
					t.Errorf("after a crash at %s: %s is in %s", point, s, name)
				}
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if r := check(t, dir); len(r.Unreferenced) > 0 {
			t.Errorf("after a crash at %s: left over: %v", point, r.Unreferenced)
		}
	}
}

func keysOf(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// A disk that is full stops an erasure and nothing else.
func TestEraseOnFullDisk(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"rewrite.before-catalog", "rewrite.before-rename", "archive.before-rename"} {
		dir := t.TempDir()
		var full atomic.Bool
		d := open(t, dir, eventlog.Options{SegmentSize: tiny, Failpoint: func(p string) error {
			if full.Load() && p == point {
				return &os.PathError{Op: "write", Path: dir, Err: syscall.ENOSPC}
			}
			return nil
		}})
		events := secrets(t, d, 20)
		spans := spansOf(events, func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(1) })
		do := func() error {
			_, err := d.WriteArchive(t.Context(), spans)
			if err == nil {
				_, err = d.Erase(t.Context(), spans, left)
			}
			return err
		}
		full.Store(true)
		if err := do(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%s: %v", point, err)
		}
		full.Store(false)
		if _, err := fillSome(d, 100, 5); err != nil {
			t.Errorf("%s: the log does not go on: %v", point, err)
		}
		if err := do(); err != nil {
			t.Errorf("%s: %v", point, err)
		}
		if _, err := d.SweepArchives(); err != nil {
			t.Error(err)
		}
	}
}

// What was archived is read as if it had never been erased; the log itself has
// the rest alone. Every bit of the archive is checked.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: tiny})
	events := secrets(t, d, 60)
	two := spansOf(events, func(e eventlog.Event) bool { return e.Run == eventlogtest.RunNo(2) || e.Run == eventlogtest.RunNo(3) })
	slices.SortFunc(two, func(a, b eventlog.Span) int {
		return bytes.Compare(append(a.Run[:], byte(a.From)), append(b.Run[:], byte(b.From)))
	})
	a, err := d.WriteArchive(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	if a.Events != len(two) || a.Runs != 2 || a.Bytes <= 0 || a.Raw <= a.Bytes {
		t.Errorf("archive %+v, want %d events", a, len(two))
	}
	if err := d.AdoptArchive(a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Erase(t.Context(), two, left); err != nil {
		t.Fatal(err)
	}
	original := func(run int, erased func(eventlog.Event) bool) {
		t.Helper()
		for _, page := range []int{1, 7, 1000} {
			got, err := eventlogtest.AllOf(d, eventlogtest.RunNo(run), page)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got {
				want := events[e.Seq-1]
				if want.Archived = true; erased(e) {
					want = erasedAs(t, want)
				}
				if !reflect.DeepEqual(e, want) {
					t.Fatalf("event %d of run %d is %+v", e.Version, run, e)
				}
			}
		}
	}
	none := func(eventlog.Event) bool { return false }
	original(2, none)
	original(3, none)
	raw, err := eventlogtest.All(d, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range raw {
		if e.Erased != (e.Run == eventlogtest.RunNo(2) || e.Run == eventlogtest.RunNo(3)) {
			t.Fatalf("event %d of the log itself: erased %v", e.Seq, e.Erased)
		}
	}
	if r, err := d.Check(eventlog.CheckOptions{}); err != nil || r.Err() != nil || r.Archives != 1 {
		t.Errorf("check: %v, %+v", err, r)
	}

	// One run goes, the other stays.
	if err := d.EraseArchived(t.Context(), []eventlog.Span{{Run: eventlogtest.RunNo(2), From: 1, To: 1 << 40}}); err != nil {
		t.Fatal(err)
	}
	original(2, func(eventlog.Event) bool { return true })
	original(3, none)
	list, err := d.Archives()
	if err != nil || len(list) != 1 || list[0].Runs != 1 || list[0].ID == a.ID {
		t.Fatalf("archives %+v, %v", list, err)
	}
	path := filepath.Join(dir, "archives", list[0].ID.String()+".wfda")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	for at := range whole {
		if at > 40 && at < len(whole)-40 && rng.IntN(len(whole)/60) > 0 {
			continue
		}
		poke(t, path, at, whole[at]^1<<rng.IntN(8))
		r, err := checkLog(dir, eventlog.CheckOptions{})
		if err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].File, "archives/") {
			t.Fatalf("a changed bit at %d of %d: %v, %v", at, len(whole), err, r.Problems)
		}
		// What is read is right, or is not read.
		ro, err := openLog(dir, eventlog.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var c *eventlog.CorruptError
		got, err := eventlogtest.AllOf(ro, eventlogtest.RunNo(3), 1000)
		if err != nil && !errors.As(err, &c) {
			t.Errorf("a changed bit at %d: %v", at, err)
		}
		for _, e := range got {
			if want := events[e.Seq-1]; !e.Erased && !bytes.Equal(e.Payload, want.Payload) {
				t.Errorf("a changed bit at %d was returned", at)
			}
		}
		ro.Close()
		poke(t, path, at, whole[at])
	}
	for name, b := range map[string][]byte{"empty": {}, "cut": whole[:len(whole)/2], "longer": append(slices.Clone(whole), 0)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := checkLog(dir, eventlog.CheckOptions{}); err != nil || r.Err() == nil {
			t.Errorf("%s archive: %v, nothing found", name, err)
		}
	}
	os.Remove(path)
	if r, err := checkLog(dir, eventlog.CheckOptions{}); err != nil || r.Err() == nil {
		t.Errorf("missing archive: %v, nothing found", err)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}
