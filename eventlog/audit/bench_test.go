package audit_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

// filled returns a log of n events of about 188 bytes in runs of 50.
func filled(b *testing.B, n int) (dir string, db *eventlog.DB, a *audit.Auditor) {
	b.Helper()
	dir = b.TempDir()
	db, err := eventlog.Open(dir, eventlog.Options{SegmentSize: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	if a, err = audit.Open(dir, db, audit.Options{}); err != nil {
		b.Fatal(err)
	}
	done := make(chan error)
	const at = 64
	for w := range at {
		go func() {
			rng := rand.NewChaCha8([32]byte{byte(w)})
			for run := w; run < n/50; run += at {
				recs := make([]eventlog.Record, 50)
				for i := range recs {
					p := make([]byte, 132)
					rng.Read(p)
					recs[i] = eventlog.Record{Time: 1e18 + int64(i), Kind: 9, Actor: "engine", Payload: p}
				}
				if _, err := db.Append(context.Background(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(run + 1), Records: recs}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range at {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := a.Sign(); err != nil {
		b.Fatal(err)
	}
	return dir, db, a
}

// -events is the size of the log that proofs are made in. The figures of
// docs/performance.md are of 10,000,000.
var benchEvents = flag.Int("events", 300_000, "events of the log of BenchmarkLarge")

// cpuTime returns what this process has computed so far: on a machine that others use
// as well, time says little.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLarge proves and verifies in a log of -events.
func BenchmarkLarge(b *testing.B) {
	n := *benchEvents
	dir, db, a := filled(b, n)
	keys := a.Keys()
	size := eventlog.Seq(n)
	// One event anywhere. A log that was just opened has nothing in memory but what
	// it reads for the first time.
	b.Run("prove", func(b *testing.B) {
		cpu, longest := cpuTime(), time.Duration(0)
		for b.Loop() {
			began := time.Now()
			if _, err := a.Prove(1+rand.N(size), false); err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
		b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
		b.ReportMetric((cpuTime()-cpu).Seconds()*1000/float64(b.N), "cpu-ms/op")
	})
	doc, err := a.Prove(size/9*7, false)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if _, err := audit.CheckProof(doc, keys); err != nil {
				b.Fatal(err)
			}
		}
	})
	rate := func(b *testing.B, events int, took, cpu time.Duration) {
		b.ReportMetric(float64(events)/took.Seconds(), "events/s")
		b.ReportMetric(float64(events)/cpu.Seconds(), "events/cpu-s")
	}
	state := filepath.Join(b.TempDir(), "state")
	// All of it, once however often the others are repeated.
	b.Run("verify", func(b *testing.B) {
		began, cpu := time.Now(), cpuTime()
		if r, err := a.Verify(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil || r.Events != uint64(n) {
			b.Fatal(err, r)
		}
		b.ReportMetric(0, "ns/op")
		rate(b, n, time.Since(began), cpuTime()-cpu)
	})
	for i := range 20 { // runs of old, which go on, and new ones
		run, v := eventlogtest.RunNo(1<<24+i), eventlog.Version(0)
		if i%2 == 0 {
			run, v = eventlogtest.RunNo(1+i*(n/50/20)), 50
		}
		if _, err := db.Append(context.Background(), eventlog.Append{ID: 1, Run: run, Expect: v, Records: make1000()[:50]}); err != nil {
			b.Fatal(err)
		}
	}
	// What is new is verified with the state of what was; nothing else is read.
	b.Run("new=1000", func(b *testing.B) {
		cpu := cpuTime()
		for b.Loop() {
			if r, err := a.VerifyNew(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil || r.Events != 1000 {
				b.Fatal(err, r)
			}
		}
		rate(b, 1000*b.N, b.Elapsed(), cpuTime()-cpu)
	})
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	// The same of a directory, as wfd audit verify does it.
	b.Run("reopened/new=1000", func(b *testing.B) {
		for b.Loop() {
			db, err := eventlog.Open(dir, eventlog.Options{})
			if err != nil {
				b.Fatal(err)
			}
			a, err := audit.Open(dir, db, audit.Options{ReadOnly: true})
			if err != nil {
				b.Fatal(err)
			}
			if r, err := a.VerifyNew(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil || r.Events != 1000 {
				b.Fatal(err, r)
			}
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func make1000() []eventlog.Record {
	recs := make([]eventlog.Record, 1000)
	for i := range recs {
		recs[i] = eventlog.Record{Time: 2e18, Kind: 1, Actor: "engine", Payload: make([]byte, 132)}
	}
	return recs
}

// BenchmarkExport writes a log as an export, and verifies the export.
func BenchmarkExport(b *testing.B) {
	const n = 50_000
	_, _, a := filled(b, n)
	var out bytes.Buffer
	if _, err := a.Export(context.Background(), &out, 1, 0, audit.ExportOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if _, err := a.Export(context.Background(), io.Discard, 1, 0, audit.ExportOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, err := audit.VerifyExport(bytes.NewReader(out.Bytes()), a.Keys(), audit.VerifyExportOptions{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkSign signs a log that grows by an event each time.
func BenchmarkSign(b *testing.B) {
	_, db, a := filled(b, 100_000)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		if _, err := db.Append(context.Background(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1<<24 + i), Records: make1000()[:1]}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, _, err := a.Sign(); err != nil {
			b.Fatal(err)
		}
	}
}
