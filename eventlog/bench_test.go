package eventlog_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// benchPayload is that of the measurements the layout was chosen by: with it
// an event has about 184 bytes of its own.
const benchPayload = 132

// writtenBytes returns what this process has handed to write so far.
func writtenBytes() int64 {
	b, _ := os.ReadFile("/proc/self/io")
	_, rest, _ := strings.Cut(string(b), "wchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseInt(line, 10, 64)
	return n
}

// feeder hands out appends of n records for runs in turn.
type feeder struct {
	runs     int
	versions []eventlog.Version
	next     int
	rng      *rand.ChaCha8
}

func newFeeder(runs int) *feeder {
	return &feeder{runs: runs, versions: make([]eventlog.Version, runs), rng: rand.NewChaCha8([32]byte{2})}
}

func (f *feeder) append(n int) eventlog.Append {
	i := f.next % f.runs
	f.next++
	a := eventlog.Append{ID: eventlog.AppendID(f.next), Run: eventlogtest.RunNo(i + 1), Expect: f.versions[i], Records: make([]eventlog.Record, n)}
	p := make([]byte, n*benchPayload)
	f.rng.Read(p)
	for j := range a.Records {
		a.Records[j] = eventlog.Record{Time: int64(f.next) + 1e18, Kind: 9, Actor: "engine", Payload: p[j*benchPayload : (j+1)*benchPayload]}
	}
	f.versions[i] += eventlog.Version(n)
	return a
}

// BenchmarkAppend stores batches of events, one commit each, next to the same
// number of bytes appended to a plain file with one fdatasync: ratio is the
// plain file's time over the log's.
func BenchmarkAppend(b *testing.B) {
	for _, batch := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			d, err := openLog(b.TempDir(), eventlog.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			raw, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer raw.Close()
			// What an event needs at least: payload, run, numbers, actor.
			plain := make([]byte, batch*(benchPayload+52))
			f := newFeeder(1000)
			appends := make([]eventlog.Append, 0, b.N)
			for range b.N {
				appends = append(appends, f.append(batch))
			}
			var inLog, inRaw time.Duration
			var bytes int64
			b.ResetTimer()
			for _, a := range appends {
				w, t := writtenBytes(), time.Now()
				if _, err := d.Append(context.Background(), a); err != nil {
					b.Fatal(err)
				}
				inLog += time.Since(t)
				bytes += writtenBytes() - w
				b.StopTimer()
				t = time.Now()
				raw.Write(plain)
				if err := syscall.Fdatasync(int(raw.Fd())); err != nil {
					b.Fatal(err)
				}
				inRaw += time.Since(t)
				b.StartTimer()
			}
			n := float64(b.N * batch)
			b.ReportMetric(n/inLog.Seconds(), "events/s")
			b.ReportMetric(inRaw.Seconds()/inLog.Seconds(), "ratio")
			b.ReportMetric(float64(bytes)/n, "B/event")
		})
	}
}

// BenchmarkClosedLoop lets many producers append one event each and wait.
func BenchmarkClosedLoop(b *testing.B) {
	for _, producers := range []int{100, 1000} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			d, err := openLog(b.TempDir(), eventlog.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			todo := make(chan struct{}, b.N)
			for range b.N {
				todo <- struct{}{}
			}
			close(todo)
			done := make(chan error, producers)
			b.ResetTimer()
			for p := range producers {
				go func() {
					f := newFeeder(1)
					for range todo {
						a := f.append(1)
						a.Run = eventlogtest.RunNo(p + 1)
						if _, err := d.Append(context.Background(), a); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range producers {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/float64(d.Stats().Commits), "events/commit")
		})
	}
}

// filled returns a log of n events in runs of 50, and the number of runs.
func filled(b *testing.B, n int, o eventlog.Options) (*eventlog.DB, int) {
	d, err := openLog(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	runs := n / 50
	f := newFeeder(runs)
	errs := make(chan error, 64)
	sem := make(chan struct{}, 64)
	for range 50 {
		for range runs { // a round: every run gets one event
			a := f.append(1)
			sem <- struct{}{}
			go func() {
				if _, err := d.Append(context.Background(), a); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
				<-sem
			}()
		}
		for range cap(sem) {
			sem <- struct{}{}
		}
		for range cap(sem) {
			<-sem
		}
	}
	select {
	case err := <-errs:
		b.Fatal(err)
	default:
	}
	return d, runs
}

func BenchmarkReadRun(b *testing.B) {
	d, runs := filled(b, 100_000, eventlog.Options{SegmentSize: 8 << 20})
	for b.Loop() {
		ev, err := d.ReadRun(eventlogtest.RunNo(rand.IntN(runs)+1), 0, 100)
		if err != nil || len(ev) != 50 {
			b.Fatal(len(ev), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*50), "µs/event")
}

func BenchmarkReadFrom(b *testing.B) {
	d, _ := filled(b, 100_000, eventlog.Options{SegmentSize: 8 << 20})
	n := 0
	for b.Loop() {
		for after := eventlog.Seq(0); ; {
			ev, err := d.ReadFrom(after, 1000)
			if err != nil {
				b.Fatal(err)
			}
			if len(ev) == 0 {
				break
			}
			after = ev[len(ev)-1].Seq
			n += len(ev)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mevents/s")
}

// BenchmarkColdRuns wakes a random one of many old runs with each event, in
// batches of 100: the case a per-key index is worst at.
func BenchmarkColdRuns(b *testing.B) {
	d, runs := filled(b, 100_000, eventlog.Options{SegmentSize: 4 << 20})
	w := writtenBytes()
	events := 0
	for b.Loop() {
		errs := make(chan error, 100)
		for _, i := range rand.Perm(runs)[:100] {
			go func() {
				run := eventlogtest.RunNo(i + 1)
				v, err := d.Version(run)
				if err == nil {
					_, err = d.Append(context.Background(), eventlog.Append{ID: 1, Run: run, Expect: v, Records: []eventlog.Record{{Time: 2e18, Kind: 1, Payload: make([]byte, benchPayload)}}})
				}
				errs <- err
			}()
		}
		for range 100 {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		events += 100
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(writtenBytes()-w)/float64(events), "B/event")
}
