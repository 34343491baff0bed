package eventlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// openSample makes a log of one segment that was not closed in order, with three
// events of each of five runs in turn, and returns its events.
func openSample(t *testing.T, dir string) []eventlog.Event {
	t.Helper()
	d := open(t, dir, eventlog.Options{})
	for i := range 40 {
		run := eventlogtest.RunNo(i%5 + 1)
		v, err := d.Version(run)
		if err != nil {
			t.Fatal(err)
		}
		recs := []eventlog.Record{eventlogtest.Rec(int64(i), fmt.Sprintf("payload-%d.", i)), eventlogtest.Rec(int64(i), string(bytes.Repeat([]byte{'p'}, 700)))}
		if _, err := d.Append(t.Context(), eventlog.Append{ID: eventlog.AppendID(i + 1), Run: run, Expect: v, Records: recs}); err != nil {
			t.Fatal(err)
		}
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

// quarantined opens a damaged log, wants the damage named and everything that is
// returned as it was written, and appends to every run that it may. It returns the
// runs that are shut off.
func quarantined(t *testing.T, dir string, want []eventlog.Event) (off map[eventlog.RunID]bool, d *eventlog.DB) {
	t.Helper()
	d, err := openLog(dir, eventlog.Options{Quarantine: true})
	if errors.Is(err, eventlog.ErrFormat) {
		return nil, nil // a bit of the format's number: another format is not read
	}
	if err != nil {
		t.Fatalf("a damaged log does not open: %v", err)
	}
	off = map[eventlog.RunID]bool{}
	var corrupt *eventlog.CorruptError
	for n := range 5 {
		run := eventlogtest.RunNo(n + 1)
		var of []eventlog.Event
		for _, e := range want {
			if e.Run == run {
				of = append(of, e)
			}
		}
		got, err := eventlogtest.AllOf(d, run, 50)
		if err != nil && !errors.As(err, &corrupt) || err == nil && len(got) < len(of) {
			t.Errorf("run %d: %d of %d events, and %v", n+1, len(got), len(of), err)
		}
		for i, e := range got {
			if i < len(of) && !reflect.DeepEqual(e, of[i]) {
				t.Fatalf("damage was returned as an event: %+v, was %+v", e, of[i])
			}
		}
		off[run] = err != nil
		_, aerr := d.Append(t.Context(), eventlog.Append{ID: 99, Run: run, Expect: eventlog.Version(len(got)), Records: []eventlog.Record{eventlogtest.Rec(1000, "after")}})
		if off[run] && !errors.As(aerr, &corrupt) || !off[run] && aerr != nil {
			t.Errorf("run %d, whose events end in %v, is appended to: %v", n+1, err, aerr)
		}
	}
	if _, err := d.Append(t.Context(), eventlog.Append{ID: 98, Run: eventlogtest.RunNo(1000 + int(d.Head())), Records: []eventlog.Record{eventlogtest.Rec(1000, "new")}}); err != nil {
		t.Errorf("a new run: %v", err)
	}
	return off, d
}

func count(off map[eventlog.RunID]bool) (n int) {
	for _, is := range off {
		if is {
			n++
		}
	}
	return n
}

// A changed bit of an event shuts its run off, and no other: at this start, and at
// every later one, with what came meanwhile.
func TestQuarantine(t *testing.T) {
	dir := t.TempDir()
	want := openSample(t, dir)
	path := filepath.Join(dir, "log", "00000000000000000001.db")
	for _, i := range []int{0, 7, 19, 39} { // the first append, some, and the last
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			dir2 := t.TempDir()
			if err := os.CopyFS(dir2, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir2, "log", filepath.Base(path))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Appendf(nil, "payload-%d.", i)
			for at := 0; ; { // every copy that there is of it, in live pages and in old ones
				j := bytes.Index(b[at:], text)
				if j < 0 {
					break
				}
				b[at+j] ^= 4
				at += j + 1
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if d, err := openLog(dir2, eventlog.Options{}); err == nil {
				d.Close()
				t.Fatal("without a quarantine a damaged log opens")
			}
			damaged := want[2*i].Run
			for life := range 3 {
				off, d := quarantined(t, dir2, want)
				for run, is := range off {
					if is != (run == damaged) {
						t.Errorf("life %d: run %v is shut off: %v; damaged is %v", life, run, is, damaged)
					}
				}
				if list := d.Damage(); len(list) == 0 || list[0].File == "" || list[0].Seq != eventlog.Seq(2*i+1) || list[0].Run != damaged {
					t.Errorf("life %d: the damage is %v", life, list)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			r, err := checkLog(dir2, eventlog.CheckOptions{})
			if err != nil || len(r.Problems) == 0 || r.Problems[0].Seq != eventlog.Seq(2*i+1) {
				t.Errorf("check: %v, %+v", err, r)
			}
		})
	}
}

// Whatever is damaged in the file of the open segment, be it pages of its tree: the
// log opens, names it, gives nothing that is not as it was written, keeps the file,
// and takes new runs.
func TestQuarantineOfAnyPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := openSample(t, dir)
	whole, err := os.ReadFile(filepath.Join(dir, "log", "00000000000000000001.db"))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	used := usedPages(whole)
	shut, tried := 0, 0
	damage := func(name string, b []byte, sure bool) {
		tried++
		dir2 := t.TempDir()
		if err := os.CopyFS(dir2, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir2, "log", "00000000000000000001.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		off, d := quarantined(t, dir2, want)
		if d == nil {
			return
		}
		n := count(off)
		shut += n
		if n > 0 && len(d.Damage()) == 0 || sure && n == 0 {
			t.Errorf("%s: %d runs are shut off, and the damage is %v", name, n, d.Damage())
		}
		d.Close()
		off, d = quarantined(t, dir2, want)
		if count(off) < n {
			t.Errorf("%s: %d runs were shut off, and at the next start %d", name, n, count(off))
		}
		d.Close()
		if r, err := checkLog(dir2, eventlog.CheckOptions{}); err != nil || n > 0 && len(r.Problems) == 0 {
			t.Errorf("%s: check: %v, %+v", name, err, r)
		}
		os.RemoveAll(dir2)
	}
	for page := range used {
		if page < 2 || page >= len(whole)/4096 {
			continue // the meta pages: one of the two is enough, or nothing can be read
		}
		b := bytes.Clone(whole)
		clear(b[page*4096:][:4096])
		damage(fmt.Sprintf("page %d of zeros", page), b, true)
		b = bytes.Clone(whole)
		for i := range b[page*4096:][:4096] {
			b[page*4096+i] = byte(rng.Uint32())
		}
		damage(fmt.Sprintf("page %d of garbage", page), b, true)
		for range 4 {
			at := page*4096 + rng.IntN(4096)
			b = bytes.Clone(whole)
			b[at] ^= 1 << rng.IntN(8)
			damage(fmt.Sprintf("a bit at %d", at), b, false)
		}
		b = bytes.Clone(whole) // its last element is hidden, and with it the end of the log, perhaps
		binary.LittleEndian.PutUint16(b[page*4096+10:], max(1, binary.LittleEndian.Uint16(b[page*4096+10:]))-1)
		damage(fmt.Sprintf("page %d without its last element", page), b, false)
		at := page*4096 + rng.IntN(16) // the page's header
		b = bytes.Clone(whole)
		b[at] ^= 1 << rng.IntN(8)
		damage(fmt.Sprintf("a bit at %d", at), b, false)
	}
	if tried < 50 || shut == 0 {
		t.Errorf("%d ways of damage shut off %d runs: too few to mean anything", tried, shut)
	}
}

// What a damaged file may have held beyond what was found in it stays lost when the log
// goes on in other segments, and is opened again: as long as the damaged file is kept.
func TestQuarantineOutlivesItsSegment(t *testing.T) {
	sound, dir := t.TempDir(), t.TempDir()
	want := openSample(t, sound)
	if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log", "00000000000000000001.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; ; { // the last append, wherever it stands, and every branch above it
		j := bytes.Index(b[at:], []byte("payload-39"))
		if j < 0 {
			break
		}
		page := (at + j) &^ 4095
		clear(b[page:][:4096])
		at = page + 4096
	}
	for page := 2 * 4096; page+16 <= len(b); page += 4096 {
		if b[page+8] == 1 { // a branch page
			clear(b[page:][:4096])
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	off, d := quarantined(t, dir, want)
	n := count(off)
	if kept, _ := filepath.Glob(filepath.Join(dir, "log", "*.damaged")); n == 0 || len(kept) != 1 {
		t.Fatalf("%d runs are shut off, and %v is kept", n, kept)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for life := range eventlog.Version(3) {
		d, err := openLog(dir, eventlog.Options{Quarantine: true, SegmentSize: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 { // runs that began after the damage: it is none of theirs
			if _, err := d.Append(t.Context(), eventlog.Append{ID: eventlog.AppendID(5000 + i), Run: eventlogtest.RunNo(5000 + i), Expect: life, Records: []eventlog.Record{eventlogtest.Rec(2000, string(bytes.Repeat([]byte{byte(i)}, 3000)))}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		off, d := quarantined(t, dir, want)
		if count(off) < n {
			t.Errorf("life %d: %d runs are shut off, %d were", life, count(off), n)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
