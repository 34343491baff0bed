package projection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// filled returns a world and the closed directory of its views.
func filled(t *testing.T, steps int) (*world, string) {
	w := newWorld(t, 7)
	w.steps(steps)
	dir := t.TempDir()
	v := open(t, dir, w.log)
	if err := v.CatchUp(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	closed(t, v)
	return w, dir
}

// said opens dir and returns what the program's log says, and how far the views
// came before anything was folded.
func said(t *testing.T, dir string, log eventlog.Log) (*Views, string, eventlog.Seq) {
	t.Helper()
	var out bytes.Buffer
	v, err := Open(dir, log, Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v, out.String(), v.Applied()
}

// TestOpenTrusts: what may be kept is kept, and everything else is built anew
// with a line that says why.
func TestOpenTrusts(t *testing.T) {
	otherBoot := func(t *testing.T) {
		was := bootID
		bootID = func() string { return "another" }
		t.Cleanup(func() { bootID = was })
	}
	dirty := func(t *testing.T, dir string) {
		if err := writeMarker(dir, false, false); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		do     func(t *testing.T, w *world, dir string) *eventlogtest.Memory
		reason string // "": kept
	}{
		{"closed", func(*testing.T, *world, string) *eventlogtest.Memory { return nil }, ""},
		{"closed, other boot", func(t *testing.T, _ *world, _ string) *eventlogtest.Memory { otherBoot(t); return nil }, ""},
		{"process crashed", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory { dirty(t, dir); return nil }, ""},
		{"machine crashed", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			dirty(t, dir)
			otherBoot(t)
			return nil
		}, "machine stopped"},
		{"system without boot IDs", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			was := bootID
			bootID = func() string { return "" }
			t.Cleanup(func() { bootID = was })
			dirty(t, dir)
			return nil
		}, "machine stopped"},
		{"no marker", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			os.Remove(filepath.Join(dir, markerFile))
			return nil
		}, "nothing says"},
		{"marker damaged", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			os.WriteFile(filepath.Join(dir, markerFile), []byte("wfd views 1\n"), 0o600)
			return nil
		}, "state file is damaged"},
		{"other format", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			os.WriteFile(filepath.Join(dir, markerFile), []byte("wfd views 2\nclean\nboot x\n"), 0o600)
			return nil
		}, "format is 2"},
		{"other log", func(t *testing.T, w *world, _ string) *eventlogtest.Memory {
			other := newWorld(t, 8)
			other.steps(3000)
			return other.log
		}, "not the one they have seen"},
		{"log cut short", func(t *testing.T, w *world, _ string) *eventlogtest.Memory {
			other := newWorld(t, 7)
			other.steps(100)
			return other.log
		}, "the log ends at"},
		{"no head", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			os.WriteFile(filepath.Join(dir, viewsFile), make([]byte, 1<<20), 0o600)
			return nil
		}, "no valid head"},
		{"file cut short", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			os.Truncate(filepath.Join(dir, viewsFile), 32<<10)
			return nil
		}, "pages"},
		{"empty file", func(t *testing.T, _ *world, dir string) *eventlogtest.Memory {
			os.Truncate(filepath.Join(dir, viewsFile), 0)
			return nil
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, dir := filled(t, 1500)
			log := w.log
			other := tt.do(t, w, dir)
			if other != nil {
				log = other
			}
			v, out, applied := said(t, dir, log)
			if tt.reason == "" && out != "" || !strings.Contains(out, tt.reason) {
				t.Errorf("the log says %q, not %q", out, tt.reason)
			}
			if kept := applied == log.Head(); kept != (tt.reason == "" && tt.name != "empty file") {
				t.Errorf("opened at %d of %d", applied, log.Head())
			}
			if other == nil {
				w.check(v)
			}
			if err := v.Verify(context.Background(), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOpenWritesNothing to a file that the marker calls clean.
func TestOpenWritesNothing(t *testing.T) {
	w, dir := filled(t, 500)
	before, err := os.ReadFile(filepath.Join(dir, viewsFile))
	if err != nil {
		t.Fatal(err)
	}
	v := open(t, dir, w.log)
	w.check(v)
	closed(t, v)
	after, err := os.ReadFile(filepath.Join(dir, viewsFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("reading has changed the file (%v)", err)
	}
}

// TestSignature: rows of another version of a view are not read.
func TestSignature(t *testing.T) {
	w, dir := filled(t, 500)
	v := open(t, dir, w.log)
	err := v.store.update(func(w *writer) error {
		w.meta.signature = strings.Replace(w.meta.signature, "runs 5", "runs 4", 1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, v)
	v, out, applied := said(t, dir, w.log)
	if applied != 0 || !strings.Contains(out, "of another making") {
		t.Errorf("opened at %d: %s", applied, out)
	}
	w.check(v)
}

// TestDamage overwrites every page in turn, in several ways, before the file is
// opened: the answers are right nevertheless, or there is an error, and never a
// panic.
func TestDamage(t *testing.T) {
	w, dir := filled(t, 900)
	whole, err := os.ReadFile(filepath.Join(dir, viewsFile))
	if err != nil {
		t.Fatal(err)
	}
	m, err := readHead(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	pages, size := int(m.Pages), m.PageSize
	whole = whole[:pages*size]
	rng := rand.New(rand.NewPCG(1, 2))
	ways := map[string]func(page []byte){
		"zeros": func(page []byte) { clear(page) },
		"noise": func(page []byte) {
			for i := range page {
				page[i] = byte(rng.Uint32())
			}
		},
		"one byte":        func(page []byte) { page[rng.IntN(len(page))] ^= byte(1 + rng.IntN(255)) },
		"head":            func(page []byte) { page[rng.IntN(16)] ^= byte(1 + rng.IntN(255)) },
		"elements":        func(page []byte) { page[16+rng.IntN(64)] ^= byte(1 + rng.IntN(255)) },
		"fewer elements":  func(page []byte) { page[10]-- },
		"another's place": func(page []byte) { copy(page, whole[rng.IntN(pages)*size:][:size]) },
	}
	log := w.log
	rebuilt, kept := 0, 0
	for id := range pages {
		for name, way := range ways {
			if testing.Short() && rng.IntN(4) > 0 {
				continue
			}
			b := bytes.Clone(whole)
			way(b[id*size : (id+1)*size])
			d := t.TempDir()
			if err := os.WriteFile(filepath.Join(d, viewsFile), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := writeMarker(d, false, true); err != nil {
				t.Fatal(err)
			}
			v, err := Open(d, log, quiet)
			if err != nil {
				continue
			}
			if v.Applied() == 0 {
				rebuilt++ // an empty file, which other tests fill
			} else {
				kept++
				if err := v.Verify(context.Background(), nil); err != nil && !isDamage(err) {
					t.Fatalf("page %d, %s: %v", id, name, err)
				}
			}
			closed(t, v)
		}
	}
	t.Logf("%d pages: %d files thrown away, %d kept", pages, rebuilt, kept)
	if rebuilt == 0 {
		t.Error("no damage was found")
	}
}

// TestDamageWhileOpen overwrites pages under the views: reads and folds find it
// and the views are built anew, or answer with an error; none of the answers is
// wrong, and nothing panics.
func TestDamageWhileOpen(t *testing.T) {
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(3, 4))
	for try := range 40 {
		w := newWorld(t, uint64(try))
		w.steps(600)
		dir := t.TempDir()
		v := open(t, dir, w.log)
		if err := v.CatchUp(ctx, nil); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(v.path(), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		noise := make([]byte, 4096)
		for i := range noise {
			noise[i] = byte(rng.Uint32())
		}
		for page := 2; page < 40; page++ { // what a read looks at is among these
			if try%2 == 0 || rng.IntN(4) == 0 {
				if _, err := f.WriteAt(noise, int64(page)*4096); err != nil {
					t.Fatal(err)
				}
			}
		}
		if try%4 == 3 {
			w.steps(20)
		}
		for _, row := range w.rows() {
			got, err := v.Run(ctx, row.ID)
			if err != nil {
				continue // an error is no wrong answer
			}
			w.same("row", got, row)
		}
		f.Close()
		if err := v.Close(); err != nil && !isDamage(err) {
			t.Fatal(err)
		}
	}
}

// TestVerifyFinds: a row that is sealed and counted, and not what the log says.
func TestVerifyFinds(t *testing.T) {
	w, dir := filled(t, 500)
	v := open(t, dir, w.log)
	l := w.runs[0]
	for _, tt := range []struct {
		what   string
		change func(w *writer) error
		want   []string
	}{
		{"changed", func(wr *writer) error {
			old, err := wr.get(bucketRuns, l.id[:])
			if err != nil {
				return err
			}
			row, err := decodeRow(l.id, old)
			if err != nil {
				return err
			}
			row.Failures++
			return wr.set(bucketRuns, l.id[:], bytes.Clone(old), encodeRow(&row))
		}, []string{"bucket runs", l.id.String()}},
		{"added", func(wr *writer) error {
			return wr.set(bucketTotals, []byte("sleeping"), nil, []byte{1})
		}, []string{"bucket runs.totals", "key sleeping", "should not be there"}},
		{"removed", func(wr *writer) error {
			k := newest(of(l.state.Namespace), l.events[0].Seq)
			return wr.set(bucketAll, k, l.id[:], nil)
		}, []string{"bucket runs.all", "is missing"}},
	} {
		if err := v.Verify(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if err := v.store.update(tt.change); err != nil {
			t.Fatal(err)
		}
		err := v.Verify(context.Background(), nil)
		var diff *DifferenceError
		if !errors.As(err, &diff) {
			t.Fatalf("%s: %v", tt.what, err)
		}
		for _, s := range tt.want {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %q does not name %q", tt.what, err, s)
			}
		}
		if err := v.repair(v.store, errors.New("test")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnknownKind: an event of a newer build is refused, not skipped, and no row
// of its batch is written.
func TestUnknownKind(t *testing.T) {
	w := newWorld(t, 1)
	w.steps(50)
	v := open(t, t.TempDir(), w.log)
	if err := v.CatchUp(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	at := v.Applied()
	l := w.runs[0]
	a := eventlog.Append{ID: 1, Run: l.id, Expect: eventlog.Version(len(l.events)), Records: []eventlog.Record{{Time: w.clock, Kind: 999}}}
	if _, err := w.log.Append(context.Background(), a); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Runs(context.Background(), Filter{}, "", 0); !errors.Is(err, event.ErrUnknown) {
		t.Fatal(err)
	}
	if v.Applied() != at {
		t.Fatal("the cursor passed it")
	}
}

// TestRowBounds: whatever a run holds, its row is small.
func TestRowBounds(t *testing.T) {
	w := newWorld(t, 1)
	v := open(t, t.TempDir(), w.log)
	l := w.create(nil)
	labels := map[string]string{"long": strings.Repeat("x", 5000)}
	for i := range 200 {
		labels[fmt.Sprintf("k%03d", i)] = "v"
	}
	big := &life{id: eventlog.RunID{1, 9}, state: run.New(eventlog.RunID{1, 9})}
	w.runs = append(w.runs, big)
	long := strings.Repeat("é", 5000)
	w.append(big, &event.RunCreated{Workflow: long, Labels: labels, Entry: []string{"a"}})
	w.append(big, &event.RunWaiting{On: make([]event.Wait, 100)})
	for i := range 100 {
		w.append(big, &event.CheckpointCreated{At: 1, Name: fmt.Sprint(i)})
	}
	w.append(big, &event.TimerSet{For: "run", At: 1})
	w.append(big, &event.RunFailed{Failure: event.Failure{Class: "internal", Message: long}})
	w.append(l, &event.RunCompleted{Output: event.MustValue(long)})
	row, err := v.Run(context.Background(), big.id)
	if err != nil {
		t.Fatal(err)
	}
	if len(row.Labels) != maxLabels || len(row.Marks) != maxMarks || len(row.Failure.Message) > maxText || row.Marks[maxMarks-1].Name != "99" {
		t.Errorf("%d labels, %d marks, %d bytes of message", len(row.Labels), len(row.Marks), len(row.Failure.Message))
	}
	if _, ok := row.Labels["long"]; ok {
		t.Error("a label of 5,000 bytes is kept")
	}
	rows, _, err := v.Runs(context.Background(), Filter{Workflow: long}, "", 0)
	if err != nil || len(rows) != 1 {
		t.Errorf("runs of the workflow with the long name: %d, %v", len(rows), err)
	}
	if row, err = v.Run(context.Background(), l.id); err != nil || row.Output != nil || row.OutputSize < 5000 {
		t.Errorf("output %v of %d bytes, %v", row.Output, row.OutputSize, err)
	}
}
