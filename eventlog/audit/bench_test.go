package audit_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"path/filepath"
	"testing"

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

// BenchmarkProve proves, and checks, one event anywhere in a log of a million.
func BenchmarkProve(b *testing.B) {
	_, db, a := filled(b, 1_000_000)
	keys := a.Keys()
	b.Run("prove", func(b *testing.B) {
		for b.Loop() {
			if _, err := a.Prove(1+rand.N(db.Head()), false); err != nil {
				b.Fatal(err)
			}
		}
	})
	doc, err := a.Prove(777_777, false)
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
}

// BenchmarkVerify verifies a whole log, and what came after a checkpoint.
func BenchmarkVerify(b *testing.B) {
	const n = 300_000
	_, db, a := filled(b, n)
	rate := func(b *testing.B, events int) {
		b.ReportMetric(float64(b.N)*float64(events)/b.Elapsed().Seconds(), "events/s")
	}
	state := filepath.Join(b.TempDir(), "state")
	b.Run("full", func(b *testing.B) {
		for b.Loop() {
			if r, err := a.Verify(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil {
				b.Fatal(err, r)
			}
		}
		rate(b, n)
	})
	if _, err := db.Append(context.Background(), eventlog.Append{ID: 1, Run: eventlogtest.RunNo(1 << 24), Records: make1000()}); err != nil {
		b.Fatal(err)
	}
	b.Run("new=1000", func(b *testing.B) {
		for b.Loop() {
			if r, err := a.VerifyNew(audit.VerifyOptions{State: state}); err != nil || r.Err() != nil || r.Events != 1000 {
				b.Fatal(err, r)
			}
		}
		rate(b, 1000)
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
