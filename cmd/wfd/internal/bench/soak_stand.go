package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// Stand is how a store of some size does.
type Stand struct {
	Size
	Total       uint64  `json:"total_events"`
	Checkpoints int     `json:"checkpoints"` // that the runs which have ended imply
	LogBytes    int64   `json:"log_bytes"`
	ViewBytes   int64   `json:"view_bytes"`
	PerEvent    float64 `json:"bytes_per_event"` // of the log
	StartS      float64 `json:"start_s"`         // until commands are taken and all runs are taken up
	AnonStart   float64 `json:"anonymous_mb_at_start"`
	AnonMost    float64 `json:"anonymous_mb_most"`

	List   Quantiles `json:"list"`   // a page of 50, by filters
	Lookup Quantiles `json:"lookup"` // the row of any run
	Load   Quantiles `json:"load"`   // the fold of any run that has ended
	Verify Quantiles `json:"verify"` // its decisions, made again
	Append Quantiles `json:"append"` // a run is started that waits
	Wake   Quantiles `json:"wake"`   // a signal to any run that waits
	Long   float64   `json:"long_run_s"`

	Watched *Watched `json:"watched,omitempty"`
}

// Quantiles of a time in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	N   int     `json:"n"`
}

func (s spread) quantiles() Quantiles { return Quantiles{s.at(0.5), s.at(0.99), len(s)} }

// Watched is how a process did that ran chains for a while.
type Watched struct {
	Seconds    float64 `json:"seconds"`
	StepsPerS  float64 `json:"steps_per_s"`
	AnonFrom   float64 `json:"anonymous_mb_from"` // the median of the second quarter
	AnonTo     float64 `json:"anonymous_mb_to"`   // and of the last
	Goroutines [2]int  `json:"goroutines"`        // before, and once it is quiet
	Files      [2]int  `json:"files"`
}

// by returns how many times as much a store has of everything that should not grow.
func (s *Stand) by(small *Stand) map[string]float64 {
	r := map[string]float64{}
	for name, pair := range map[string][2]float64{
		"bytes_per_event": {s.PerEvent, small.PerEvent}, "start": {s.StartS, small.StartS}, "list_p50": {s.List.P50, small.List.P50}, "list_p99": {s.List.P99, small.List.P99},
		"lookup_p50": {s.Lookup.P50, small.Lookup.P50}, "load_p50": {s.Load.P50, small.Load.P50}, "append_p50": {s.Append.P50, small.Append.P50}, "append_p99": {s.Append.P99, small.Append.P99}, "wake_p50": {s.Wake.P50, small.Wake.P50},
	} {
		if pair[1] > 0 {
			r[name] = pair[0] / pair[1]
		}
	}
	return r
}

// SoakChild opens the store in dir and writes how it does to w, as JSON.
func SoakChild(ctx context.Context, dir string, watch time.Duration, w io.Writer) (err error) {
	raw, err := os.ReadFile(filepath.Join(dir, builtFile))
	if err != nil {
		return err
	}
	var b built
	if err := json.Unmarshal(raw, &b); err != nil {
		return err
	}
	if err := readAll(dir); err != nil {
		return err
	}
	m := &measurer{s: Stand{Size: b.Size, Checkpoints: b.Runs * soakSteps}}
	if err := m.open(ctx, filepath.Join(dir, "data")); err != nil {
		return err
	}
	err = m.all(ctx, watch)
	if err = errors.Join(err, m.l.end(), m.snapshots.Close()); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(m.s)
}

// measurer measures a store.
type measurer struct {
	s         Stand
	l         *life
	snapshots *projection.Snapshots
}

func (m *measurer) open(ctx context.Context, dir string) (err error) {
	if m.s.LogBytes, err = size(filepath.Join(dir, "log")); err != nil {
		return err
	}
	if m.s.ViewBytes, err = size(filepath.Join(dir, "views")); err != nil {
		return err
	}
	if m.snapshots, err = projection.OpenSnapshots(filepath.Join(dir, "views"), nil); err != nil {
		return err
	}
	began := time.Now()
	if m.l, err = beginAs(ctx, dir, nil, noop, engine.Options{Snapshots: m.snapshots}); err != nil {
		return errors.Join(err, m.snapshots.Close())
	}
	m.s.StartS = time.Since(began).Seconds()
	m.s.Total = uint64(m.l.log.Head())
	m.s.PerEvent = float64(m.s.LogBytes) / float64(max(m.s.Total, 1))
	m.s.AnonStart = anonymous() / 1e6
	m.s.AnonMost = m.s.AnonStart
	return nil
}

// readAll reads every file once. Of a small store every page is in memory by itself; what is
// compared is the work that a store's size makes, not how fast the disk under it is.
func readAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return errors.Join(err, f.Close())
	})
}

// size returns the bytes of the files under dir.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			n += fi.Size()
		}
		return err
	})
	return n, err
}

// Bounds of one figure.
const (
	figureTimes = 2000
	figureLimit = 10 * time.Second
)

func (m *measurer) all(ctx context.Context, watch time.Duration) error {
	filters := []projection.Filter{{}, {Status: run.Completed}, {Status: run.Waiting}, {Workflow: "chain"}, {Workflow: "chain", Status: run.Completed}}
	cursors := make([]string, len(filters))
	defs := replay.Registered(m.l.log)
	asleep := rand.Perm(m.s.Waiting)
	asleep = asleep[:min(len(asleep), figureTimes/4, m.s.Runs)]
	for _, f := range []struct {
		name  string
		to    *Quantiles
		times int
		do    func(i int) error
	}{
		{"list", &m.s.List, figureTimes, func(i int) (err error) {
			f := i % len(filters)
			_, cursors[f], err = m.l.views.Runs(ctx, filters[f], cursors[f], 50)
			return err
		}},
		{"lookup", &m.s.Lookup, figureTimes, func(int) error {
			_, err := m.l.views.Run(ctx, runNo(rand.IntN(m.s.Runs)))
			return err
		}},
		{"load", &m.s.Load, figureTimes, func(int) error {
			s, err := run.Fold(m.l.log, runNo(rand.IntN(m.s.Runs)), run.Newest)
			if err == nil && s.Status != run.Completed {
				err = fmt.Errorf("run %s is %s", s.Run, s.Status)
			}
			return err
		}},
		{"verify", &m.s.Verify, figureTimes / 10, func(int) error {
			id := runNo(rand.IntN(m.s.Runs))
			v, err := replay.Verify(m.l.log, defs, id)
			if err == nil && !v.OK {
				err = fmt.Errorf("run %s is not what follows from its facts: %s", id, v.Difference.Why)
			}
			return err
		}},
		{"append", &m.s.Append, min(figureTimes/4, m.s.Runs), func(int) error {
			_, _, err := m.l.e.StartRun(ctx, engine.StartRequest{Workflow: "nap"}, by)
			return err
		}},
		{"wake", &m.s.Wake, len(asleep), func(i int) error {
			_, err := m.l.e.Do(ctx, soakRun(waitingRun, asleep[i]), machine.Signal{Name: "go"}, by)
			if errors.Is(err, machine.ErrRefused) {
				err = nil // a soak of before has woken it
			}
			return err
		}},
	} {
		took, err := drive(ctx, f.times, 1, figureLimit, f.do)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		*f.to = took.quantiles()
		m.s.AnonMost = max(m.s.AnonMost, anonymous()/1e6)
	}
	began := time.Now()
	if _, err := run.Fold(m.l.log, soakRun(longRun, 0), run.Newest); err != nil {
		return err
	}
	m.s.Long = time.Since(began).Seconds()
	m.s.AnonMost = max(m.s.AnonMost, anonymous()/1e6)
	if watch > 0 {
		return m.watch(ctx, watch)
	}
	return nil
}

// watch has clients run chains, and looks at what the process takes meanwhile.
func (m *measurer) watch(ctx context.Context, long time.Duration) error {
	const clients, every = 64, 100 * time.Millisecond
	r := &Watched{Goroutines: [2]int{runtime.NumGoroutine()}, Files: [2]int{files()}}
	stop := make(chan struct{})
	sampled := make(chan []float64)
	go func() {
		var all []float64
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				all = append(all, anonymous()/1e6)
			case <-stop:
				sampled <- all
				return
			}
		}
	}()
	began := time.Now()
	took, err := drive(ctx, MaxRuns, clients, long, func(int) error {
		_, err := m.l.once(ctx, "chain", eventlog.RunID{})
		return err
	})
	r.Seconds = time.Since(began).Seconds()
	close(stop)
	all := <-sampled
	if err != nil {
		return err
	}
	r.StepsPerS = float64(len(took)*soakSteps) / r.Seconds
	if n := len(all); n >= 4 {
		r.AnonFrom, r.AnonTo = median(all[n/4:n/2]), median(all[n*3/4:])
	}
	if err := m.l.views.Flush(ctx); err != nil {
		return err
	}
	time.Sleep(time.Second) // for what ends by itself
	r.Goroutines[1], r.Files[1] = runtime.NumGoroutine(), files()
	m.s.Watched = r
	return nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

// files is how many files this process has open, 0 where that is not told.
func files() int {
	e, _ := os.ReadDir("/proc/self/fd")
	return len(e)
}
