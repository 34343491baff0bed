package replay

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/run"
)

// longRun is a run of about 10,000 events, a loop of two nodes.
func longRun(b *testing.B) (*sim, *simRun) {
	m := newSim(b, 1, `
name: long
entry: draft
state: {score: {type: number, default: 0}}
nodes:
  draft: {exec: {command: [x]}, max_visits: 2000}
  review: {exec: {command: [x]}, set: {score: "${result.score}"}, max_visits: 2000}
  done: {exec: {command: [x]}}
edges:
  - {from: draft, to: review}
  - {from: review, to: draft, if: "state.score < 1"}
  - {from: review, to: done, default: true}
`)
	m.calm = true
	m.answer = func(v *run.Visit) any {
		return map[string]any{"score": 0.5, "text": "some text of a reply, as agents write"}
	}
	r := m.start("long", map[string]any{})
	for r.s.Version < 10_000 {
		m.step(r)
	}
	return m, r
}

// cpuTime returns what this process has computed so far: on a machine that others use
// as well, time says little.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rate reports how many of something were done, since a processor time.
func rate(b *testing.B, n int, unit string, since time.Duration) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), unit+"/s")
	b.ReportMetric(float64(n)/(cpuTime()-since).Seconds(), unit+"/cpu-s")
}

// BenchmarkFoldMemory folds events that are in memory and decoded from there.
func BenchmarkFoldMemory(b *testing.B) {
	m, r := longRun(b)
	events := m.events(r.s.Run)
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		s := newState(m.log, r.s.Run)
		for _, e := range events {
			if err := s.Apply(e); err != nil {
				b.Fatal(err)
			}
		}
	}
	rate(b, len(events)*b.N, "events", cpu)
}

// onDisk copies a simulation's log to a log on disk.
func onDisk(b *testing.B, m *sim) *eventlog.DB {
	db, err := eventlog.Open(b.TempDir(), eventlog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	for _, r := range m.runs {
		for group, err := range appends(m.log, r.s.Run) {
			if err != nil {
				b.Fatal(err)
			}
			a := eventlog.Append{ID: group[0].Append, Run: r.s.Run, Expect: group[0].Version - 1}
			for _, e := range group {
				a.Records = append(a.Records, eventlog.Record{Time: e.Time, Kind: e.Kind, Actor: e.Actor, Payload: e.Payload})
			}
			if _, err := db.Append(context.Background(), a); err != nil {
				b.Fatal(err)
			}
		}
	}
	return db
}

// BenchmarkFoldLog folds events as they are read from a log on disk.
func BenchmarkFoldLog(b *testing.B) {
	m, r := longRun(b)
	db := onDisk(b, m)
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if _, err := State(db, r.s.Run, Position{}); err != nil {
			b.Fatal(err)
		}
	}
	rate(b, int(r.s.Version)*b.N, "events", cpu)
}

// BenchmarkStateAt gives the state at events all over a run of 10,000, from disk.
func BenchmarkStateAt(b *testing.B) {
	m, r := longRun(b)
	db := onDisk(b, m)
	at := eventlog.Version(1)
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if _, err := State(db, r.s.Run, Position{Version: at}); err != nil {
			b.Fatal(err)
		}
		at = (at+3331)%r.s.Version + 1
	}
	rate(b, b.N, "states", cpu)
}

// BenchmarkVerify decides a run of 10,000 events again.
func BenchmarkVerify(b *testing.B) {
	m, r := longRun(b)
	b.ResetTimer()
	cpu := cpuTime()
	for range b.N {
		if v, err := Verify(m.log, m.defs, r.s.Run); err != nil || !v.OK {
			b.Fatal(err, jsonOf(v))
		}
	}
	rate(b, int(r.s.Version)*b.N, "events", cpu)
}
