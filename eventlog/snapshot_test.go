package eventlog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// pieces are the pieces of a snapshot, in order.
type pieces struct {
	names   []string
	content map[string][]byte
}

func snapshot(t testing.TB, d *eventlog.DB, between func()) pieces {
	t.Helper()
	sn, err := d.Snapshot(d.TreeHead())
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	p := pieces{content: map[string][]byte{}}
	err = sn.Each(func(x eventlog.Piece) error {
		if between != nil {
			between()
		}
		r, err := x.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		if int64(len(b)) != x.Size || x.Sum != nil && sha256.Sum256(b) != *x.Sum {
			t.Errorf("%s has %d bytes, not %d, or another sum", x.Name, len(b), x.Size)
		}
		p.names, p.content[x.Name] = append(p.names, x.Name), b
		return nil
	})
	if err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	return p
}

// assemble makes a log of pieces, with no more of those of segments than it asks for.
func (p *pieces) assemble(t testing.TB, u eventlog.Until) (string, eventlog.Assembled, error) {
	t.Helper()
	dir := t.TempDir()
	needed, err := eventlog.PiecesUntil(p.content["catalog"], u)
	if err != nil {
		return dir, eventlog.Assembled{}, err
	}
	for _, name := range p.names {
		if strings.HasPrefix(name, "log/") && !needed(name) {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, p.content[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := eventlog.Assemble(dir, u, keys())
	return dir, a, err
}

// A log that is assembled from a snapshot has the events up to any that is named,
// the tree over them, nothing else, and goes on.
func TestAssembleAtEveryEvent(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), eventlog.Options{SegmentSize: tiny})
	if _, err := fillSome(d, 0, 90); err != nil {
		t.Fatal(err)
	}
	all, err := eventlogtest.All(d, 100)
	if err != nil {
		t.Fatal(err)
	}
	var leaves [][32]byte
	for _, e := range all {
		leaves = append(leaves, eventlog.Leaf(e))
	}
	p := snapshot(t, d, nil)
	ends := []int{0, 1, 2, 3, len(all) - 1, len(all)}
	for _, name := range p.names { // where segments meet
		var first int
		if base, ok := strings.CutSuffix(filepath.Base(name), ".db"); ok {
			for _, c := range base {
				first = 10*first + int(c-'0')
			}
			ends = append(ends, first-1, first, first+1)
		}
	}
	for range 6 {
		ends = append(ends, 1+rand.IntN(len(all)))
	}
	slices.Sort(ends)
	for _, n := range slices.Compact(ends) {
		if n < 0 || n > len(all) {
			continue
		}
		want := n
		if n == 0 {
			want = len(all) // no bound
		}
		dir, a, err := p.assemble(t, eventlog.Until{Seq: eventlog.Seq(n)})
		if err != nil {
			t.Fatalf("up to %d: %v", n, err)
		}
		latest := slices.MaxFunc(all[:want], func(a, b eventlog.Event) int { return int(a.Time - b.Time) }).Time
		if root := eventlogtest.Root(leaves[:want]); a.Head != eventlog.Seq(want) || a.Root != root || a.Time != latest {
			t.Errorf("up to %d: %+v, want root %x and time %d", n, a, root, latest)
		}
		r := check(t, dir)
		if r.Events != uint64(want) {
			t.Errorf("up to %d: %d events", n, r.Events)
		}
		again := open(t, dir, eventlog.Options{SegmentSize: tiny})
		got, err := eventlogtest.All(again, 100)
		if err != nil || !slices.EqualFunc(got, all[:want], sameEvent) {
			t.Errorf("up to %d: the events differ (%v)", n, err)
		}
		if _, err := fillSome(again, 1000, 3); err != nil {
			t.Errorf("up to %d: it does not go on: %v", n, err)
		}
		again.Close()
	}
}

func sameEvent(a, b eventlog.Event) bool {
	p, q := a.Payload, b.Payload
	a.Payload, b.Payload = nil, nil
	return bytes.Equal(p, q) && a.Seq == b.Seq && a.Run == b.Run && a.Version == b.Version && a.Time == b.Time && a.Kind == b.Kind &&
		a.Actor == b.Actor && a.Append == b.Append && a.Salt == b.Salt && a.Hash == b.Hash && a.Erased == b.Erased
}

// While a snapshot is read the log goes on, begins segments and seals them; the
// snapshot is of one moment, and the next one has most of its pieces.
func TestSnapshotWhileWriting(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), eventlog.Options{SegmentSize: tiny})
	n := 50
	if _, err := fillSome(d, 0, n); err != nil {
		t.Fatal(err)
	}
	size, root := d.TreeHead()
	p := snapshot(t, d, func() {
		if _, err := fillSome(d, n, 10); err != nil {
			t.Fatal(err)
		}
		n += 10
	})
	if d.Head() < eventlog.Seq(size)+100 || d.Stats().Segments < 8 {
		t.Fatalf("not much was written meanwhile: %+v", d.Stats())
	}
	dir, a, err := p.assemble(t, eventlog.Until{})
	if err != nil || uint64(a.Head) != size || a.Root != root {
		t.Fatalf("%+v, %v; want %d, %x", a, err, size, root)
	}
	check(t, dir)
	if len(check(t, dir).Unreferenced) > 0 {
		t.Error("the snapshot has blobs of later events")
	}
	next := snapshot(t, d, nil)
	for name, b := range p.content {
		if again, ok := next.content[name]; strings.HasSuffix(name, ".db") && (!ok || !bytes.Equal(b, again)) {
			t.Errorf("%s is another in the next snapshot", name)
		}
	}
}

// Large tails come in several pieces, of which a later snapshot has the same.
func TestSnapshotTail(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), eventlog.Options{})
	payload := strings.Repeat("p", 7000)
	fill := func(n int) {
		v, err := d.Version(eventlogtest.RunNo(1))
		if err != nil {
			t.Fatal(err)
		}
		a := eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1), Expect: v}
		for range n {
			a.Records = append(a.Records, eventlogtest.Rec(5, payload))
		}
		if _, err := d.Append(context.Background(), a); err != nil {
			t.Fatal(err)
		}
	}
	fill(1500)
	p := snapshot(t, d, nil)
	if len(p.names) != 4+len(keys()) { // the catalog, the data keys if there are any, and 10 MB
		t.Fatalf("%q", p.names)
	}
	fill(100)
	next := snapshot(t, d, nil)
	for _, name := range p.names[1:3] {
		if !bytes.Equal(p.content[name], next.content[name]) {
			t.Errorf("%s is another in the next snapshot", name)
		}
	}
	dir, a, err := next.assemble(t, eventlog.Until{Seq: 1000})
	if err != nil || a.Head != 1000 {
		t.Fatal(a, err)
	}
	check(t, dir)
}

// A log ends before the first event that is later than the moment.
func TestAssembleAtTime(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), eventlog.Options{SegmentSize: tiny})
	if _, err := fillSome(d, 10, 90); err != nil {
		t.Fatal(err)
	}
	all, err := eventlogtest.All(d, 100)
	if err != nil {
		t.Fatal(err)
	}
	p := snapshot(t, d, nil)
	for _, i := range []int{0, 2, 3, 77, 150, len(all) - 1} {
		for _, off := range []int64{0, -1} {
			u := eventlog.Until{Time: all[i].Time + off}
			want := 0
			for want < len(all) && all[want].Time <= u.Time {
				want++
			}
			dir, a, err := p.assemble(t, u)
			if want == 0 {
				if !errors.Is(err, eventlog.ErrNoneSoEarly) {
					t.Errorf("before the first event: %v", err)
				}
				continue
			}
			if err != nil || a.Head != eventlog.Seq(want) {
				t.Errorf("until %d: %d, %v; want %d", u.Time, a.Head, err, want)
			}
			check(t, dir)
		}
	}
}

// What is damaged is not copied, nor assembled, as if it were not.
func TestSnapshotOfDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{})
	if _, err := fillSome(d, 0, 30); err != nil {
		t.Fatal(err)
	}
	p := snapshot(t, d, nil)
	for range 80 {
		name := p.names[rand.IntN(2)] // catalog or tail
		whole := p.content[name]
		b := bytes.Clone(whole)
		at, bit := rand.IntN(len(b)), byte(1)<<rand.IntN(8)
		b[at] ^= bit
		p.content[name] = b
		dir, _, err := p.assemble(t, eventlog.Until{})
		if err == nil && name != "catalog" {
			t.Errorf("%s with bit %#x of byte %d flipped is assembled", name, bit, at)
		}
		if err == nil {
			if r, err := checkLog(dir, eventlog.CheckOptions{}); err == nil && r.Err() == nil && r.Events != 90 {
				t.Errorf("%s with bit %#x of byte %d flipped gives %d events", name, bit, at, r.Events)
			}
		}
		p.content[name] = whole
	}
	file := filepath.Join(dir, d.FileOf(1))
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("pppppp")) // in a live page, for the log has not been rewritten
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for ; i >= 0 && i < len(b); i += 4096 { // one of them is live
		if b[i] == 'p' {
			if _, err := f.WriteAt([]byte("q"), int64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.Close()
	sn, err := d.Snapshot(d.TreeHead())
	if err != nil {
		t.Fatal(err)
	}
	defer sn.Close()
	var c *eventlog.CorruptError
	if err := sn.Each(func(eventlog.Piece) error { return nil }); !errors.As(err, &c) || c.Seq == 0 || c.File != d.FileOf(1) {
		t.Errorf("a snapshot of a damaged segment: %v", err)
	}
	d.Close()
	if err := os.WriteFile(file, b, 0o600); err != nil { // for the check in the end
		t.Fatal(err)
	}
}
