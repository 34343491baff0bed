package eventlog_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	bolt "go.etcd.io/bbolt"
)

// A moment is a log between two commits: its files, and what was acknowledged.
type moment struct {
	segment, note []byte
	events        []eventlog.Event
}

// moments makes a log in dir with n commits, each of several events, and returns it after
// every one of them.
func moments(t *testing.T, dir string, n int) (all []moment) {
	t.Helper()
	d, err := openLog(dir, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		var recs []eventlog.Record
		for j := range 1 + i%7*9 {
			recs = append(recs, eventlogtest.Rec(int64(i), fmt.Sprint("payload-", i, "-", j, strings.Repeat("p", i*40%700))))
		}
		run := eventlogtest.RunNo(i%5 + 1)
		v, err := d.Version(run)
		if err == nil {
			_, err = d.Append(t.Context(), eventlog.Append{ID: eventlog.AppendID(i + 1), Run: run, Expect: v, Records: recs})
		}
		if err != nil {
			t.Fatal(err)
		}
		var m moment
		if m.events, err = eventlogtest.All(d, 1000); err != nil {
			t.Fatal(err)
		}
		if m.segment, err = os.ReadFile(openSegment(dir)); err != nil {
			t.Fatal(err)
		}
		if m.note, err = os.ReadFile(noteFile(dir)); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func openSegment(dir string) string { return filepath.Join(dir, "log", "00000000000000000001.db") }

func noteFile(dir string) string { return filepath.Join(dir, "log", "synced") }

// put writes the files of a log.
func put(t *testing.T, dir string, segment, note []byte) {
	t.Helper()
	if err := errors.Join(os.WriteFile(openSegment(dir), segment, 0o600), os.WriteFile(noteFile(dir), note, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// cutShort calls each with up to n states in which a power cut may have left the commit
// that made after of before: each of its pages old, new, or torn in the middle, and its meta
// page new, since without that there is no such commit.
func cutShort(before, after []byte, n int, rng *rand.Rand, each func(what string, state []byte)) {
	old := append(bytes.Clone(before), make([]byte, max(0, len(after)-len(before)))...)[:len(after)]
	var changed []int
	meta := -1
	for at := 0; at < len(after); at += 4096 {
		switch same := bytes.Equal(old[at:at+4096], after[at:at+4096]); {
		case same:
		case at < 2*4096:
			meta = at
		default:
			changed = append(changed, at)
		}
	}
	all := 1 << min(2*len(changed), 30) // two bits for each page
	for i := range min(n, all) {
		state := i
		if n < all && i > 0 { // the first is with nothing but the meta page
			state = rng.IntN(all)
		}
		b := bytes.Clone(old)
		copy(b[meta:meta+4096], after[meta:])
		var what strings.Builder
		for j, at := range changed {
			how := state >> (2 * min(j, 14)) % 4
			fmt.Fprint(&what, " ", at/4096, [...]string{" old", " new", " begun", " ended"}[how])
			from, to := [...]int{0, 0, 0, 512}[how], [...]int{0, 4096, 512, 4096}[how]
			copy(b[at+from:at+to], after[at+from:at+to])
		}
		each(what.String(), b)
	}
}

// A commit that was cut short by the end of the machine is there as a whole or not at all,
// whatever of its pages is: for who writes, who only reads, and who checks. Where it is
// noted that it was synced, the same is damage, and is never taken back.
func TestCommitCutShort(t *testing.T) {
	unraced(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	all := moments(t, dir, 30)
	seed := cmp.Or(*seed, rand.Uint64())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	taken, damage, states := 0, 0, 0
	for i := 4; i < len(all); i += 5 {
		before, after := all[i-1], all[i]
		cutShort(before.segment, after.segment, 120, rng, func(what string, state []byte) {
			states++
			put(t, dir, state, before.note)
			read := func(o eventlog.Options) (events []eventlog.Event) {
				d, err := openLog(dir, o)
				if err != nil {
					t.Fatalf("commit %d,%s: %v", i, what, err)
				}
				if events, err = eventlogtest.All(d, 1000); err != nil {
					t.Fatalf("commit %d,%s: %v", i, what, err)
				}
				if n := len(events); n != len(before.events) && n != len(after.events) || !slices.EqualFunc(events, after.events[:n], sameEvent) {
					t.Fatalf("commit %d,%s: %d events; there were %d before and %d after", i, what, n, len(before.events), len(after.events))
				}
				if !o.ReadOnly {
					if _, err := d.Append(t.Context(), eventlog.Append{ID: 99, Run: eventlogtest.RunNo(77), Records: []eventlog.Record{eventlogtest.Rec(99, "more")}}); err != nil {
						t.Errorf("commit %d,%s: append: %v", i, what, err)
					}
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				return events
			}
			if states%8 == 0 {
				check(t, dir)
				readOnly := read(eventlog.Options{ReadOnly: true})
				if b, err := os.ReadFile(openSegment(dir)); err != nil || !bytes.Equal(b, state) {
					t.Errorf("commit %d,%s: who only reads has written, %v", i, what, err)
				}
				if n := len(read(eventlog.Options{Quarantine: true})); n != len(readOnly) {
					t.Errorf("commit %d,%s: %d events, for readers %d", i, what, n, len(readOnly))
				}
			} else if len(read(eventlog.Options{})) == len(before.events) {
				taken++
			}
			if states%8 == 1 {
				check(t, dir)
			}
			put(t, dir, state, after.note)
			if d, err := openLog(dir, eventlog.Options{ReadOnly: true}); err != nil {
				damage++
			} else {
				if n := d.Head(); int(n) < len(after.events) {
					t.Errorf("commit %d,%s: it was acknowledged, and is gone without a word", i, what)
				}
				d.Close()
			}
		})
	}
	t.Logf("%d states: %d commits taken back, %d times damage", states, taken, damage)
	if taken < 100 || damage < 100 {
		t.Errorf("of %d states %d were taken back, %d are damage where the commit was synced", states, taken, damage)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "wfd-segment-*")); err != nil || len(left) > 0 {
		t.Errorf("copies are left: %v, %v", left, err)
	}
}

// Whatever log/synced says or does not, a log that is whole is read as it is; of a file
// that is older than what was acknowledged that is said, and what is found is kept.
func TestNoteOfSync(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	all := moments(t, dir, 20)
	last, first := all[19], all[0]
	for what, note := range map[string][]byte{
		"none": nil, "cut": last.note[:7], "long": append(bytes.Clone(last.note), 0), "garbage": bytes.Repeat([]byte{0xa5}, len(last.note)),
		"another commit's": first.note, "zeros": make([]byte, len(last.note)),
	} {
		put(t, dir, last.segment, note)
		if note == nil {
			os.Remove(noteFile(dir))
		}
		for _, readOnly := range []bool{true, false} {
			d, err := openLog(dir, eventlog.Options{ReadOnly: readOnly})
			if err != nil {
				t.Fatalf("a note that is %s: %v", what, err)
			}
			if int(d.Head()) != len(last.events) {
				t.Errorf("a note that is %s: %d of %d events", what, d.Head(), len(last.events))
			}
			d.Close()
		}
		check(t, dir)
	}
	// An older copy in its place: it is read as what it is, and said to be one.
	put(t, dir, all[10].segment, last.note)
	if r, err := checkLog(dir, eventlog.CheckOptions{}); err != nil || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Error(), "acknowledged") {
		t.Errorf("check of an older copy: %v, %+v", err, r)
	}
	var said bytes.Buffer
	d, err := openLog(dir, eventlog.Options{Quarantine: true, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Damage()) != 0 || int(d.Head()) != len(all[10].events) || !strings.Contains(said.String(), "older copy") {
		t.Errorf("an older copy: %d events, damage %v, said is %s", d.Head(), d.Damage(), &said)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	// The last commit's meta page is damaged: the file would pass for the one before.
	b := bytes.Clone(last.segment)
	newer := 0
	if binary.LittleEndian.Uint64(b[4096+64:]) > binary.LittleEndian.Uint64(b[64:]) {
		newer = 4096
	}
	b[newer+64] ^= 1
	put(t, dir, b, last.note)
	var corrupt *eventlog.CorruptError
	if _, err := openLog(dir, eventlog.Options{}); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "acknowledged") {
		t.Errorf("a damaged meta page: %v", err)
	}
	for range 2 {
		d, err := openLog(dir, eventlog.Options{Quarantine: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Damage()) == 0 || int(d.Head()) < len(last.events) {
			t.Errorf("a damaged meta page: %d of %d events, damage %v", d.Head(), len(last.events), d.Damage())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A commit by somebody who does not sign, an older build or another program, is none that
// was cut short: it stays.
func TestUnsignedCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	all := moments(t, dir, 20)
	for _, commits := range []int{1, 2, 3} {
		put(t, dir, all[19].segment, all[19].note)
		db, err := bolt.Open(openSegment(dir), 0o600, &bolt.Options{NoFreelistSync: true})
		if err != nil {
			t.Fatal(err)
		}
		for i := range commits {
			if err := db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket([]byte("m")).Put([]byte("theirs"), []byte{byte(i)})
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range 2 { // an append signs
			d := open(t, dir, eventlog.Options{})
			if _, err := d.Append(t.Context(), eventlog.Append{ID: 99, Run: eventlogtest.RunNo(70 + i), Records: []eventlog.Record{eventlogtest.Rec(99, "more")}}); err != nil {
				t.Error(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if db, err = bolt.Open(openSegment(dir), 0o600, &bolt.Options{ReadOnly: true}); err != nil {
			t.Fatal(err)
		}
		db.View(func(tx *bolt.Tx) error {
			if v := tx.Bucket([]byte("m")).Get([]byte("theirs")); !bytes.Equal(v, []byte{byte(commits - 1)}) {
				t.Errorf("of %d commits that are not signed the last one is gone: %v", commits, v)
			}
			return nil
		})
		db.Close()
	}
}
