package eventlog_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// mapped returns the segments of dir that this process has mapped.
func mapped(t *testing.T, dir string) (names []string) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(maps)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), filepath.Join(dir, "log")+"/"); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// However many segments are read, no more sealed ones stay open than asked
// for, those read last; and a closed one is opened again by whoever needs it.
func TestOpenSegments(t *testing.T) {
	dir := t.TempDir()
	want := sample(t, dir, 120)
	for _, limit := range []int{1, 3} {
		d := open(t, dir, eventlog.Options{SegmentSize: tiny, OpenSegments: limit})
		if n := d.Stats().Sealed; n < 6 {
			t.Fatalf("%d sealed segments", n)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 3 {
					if ev, err := eventlogtest.All(d, 40); err != nil || len(ev) != len(want) {
						t.Errorf("%d of %d events, %v", len(ev), len(want), err)
					}
				}
			})
		}
		wg.Wait()
		// Readers that met may have left one too many: the next closes it.
		first, err := d.ReadFrom(0, 1)
		if err != nil || first[0].Seq != 1 {
			t.Fatal(err)
		}
		unsealed := d.Stats().Segments - d.Stats().Sealed
		names := mapped(t, dir)
		if len(names) > limit+unsealed || !slices.Contains(names, "00000000000000000001.db") {
			t.Errorf("limit %d, %d not sealed: %v are mapped", limit, unsealed, names)
		}
		d.Close()
	}
}

// A log that grows far past the limit holds no more files than it says.
func TestOpenSegmentsWhileGrowing(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, eventlog.Options{SegmentSize: tiny, OpenSegments: 2})
	for i := range 12 {
		if _, err := fillSome(d, 20*i, 20); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Stats().Segments; n < 10 {
		t.Fatalf("%d segments", n)
	}
	// The limit, the open one, and those that the keeper has not come to.
	if names := mapped(t, dir); len(names) > 2+1+d.Stats().Segments-d.Stats().Sealed {
		t.Errorf("%d of %d segments are mapped", len(names), d.Stats().Segments)
	}
}

// A file that is cut while Check is at it is a problem in the report and not
// the end of the process.
func TestCutWhileChecked(t *testing.T) {
	for _, live := range []bool{false, true} {
		dir := t.TempDir()
		sample(t, dir, 60)
		cut := func(file string, events uint64) {
			if events > 20 && strings.HasPrefix(file, "log") {
				os.Truncate(filepath.Join(dir, file), 8192)
			}
		}
		var r *eventlog.CheckReport
		var err error
		if live {
			d, oerr := openLog(dir, eventlog.Options{SegmentSize: tiny, ReadOnly: true})
			if oerr != nil {
				t.Fatal(oerr)
			}
			r, err = d.Check(eventlog.CheckOptions{Progress: cut})
			d.Close()
		} else {
			r, err = checkLog(dir, eventlog.CheckOptions{Progress: cut})
		}
		if err != nil || len(r.Problems) == 0 {
			t.Errorf("live %v: %v, %d problems", live, err, len(r.Problems))
		}
	}
}

// What Check tells of each event is what its reader gets.
func TestCheckedEvents(t *testing.T) {
	dir := t.TempDir()
	want := sample(t, dir, 60)
	var got []eventlog.CheckedEvent
	if _, err := checkLog(dir, eventlog.CheckOptions{Event: func(e eventlog.CheckedEvent) { got = append(got, e) }}); err != nil || len(got) != len(want) {
		t.Fatalf("%d events of %d, %v", len(got), len(want), err)
	}
	files := make(map[string]bool)
	for i, e := range want {
		g := got[i]
		files[g.File] = true
		if g.Seq != e.Seq || g.Run != e.Run || g.Version != e.Version || g.Leaf != eventlog.Leaf(e) {
			t.Fatalf("event %d was reported as %+v", e.Seq, g)
		}
	}
	if len(files) < 3 {
		t.Errorf("files %v", files)
	}
}
