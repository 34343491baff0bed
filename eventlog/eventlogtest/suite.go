// Package eventlogtest holds what tests of logs share: the suite that every
// [eventlog.Log] passes ([Run]) and a log in memory ([NewMemory]).
package eventlogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
)

// Run runs the suite. Each part calls open for an empty log of its own, which
// open closes and checks when the test ends.
func Run(t *testing.T, open func(t *testing.T) eventlog.Log) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, eventlog.Log)
	}{
		{"Empty", testEmpty},
		{"AppendAndRead", testAppendAndRead},
		{"Conflict", testConflict},
		{"Refused", testRefused},
		{"Payloads", testPayloads},
		{"Paging", testPaging},
		{"Ownership", testOwnership},
		{"Context", testContext},
		{"Concurrent", testConcurrent},
		{"Race", testRace},
		{"System", testSystem},
		{"Tree", testTree},
		{"Closed", testClosed},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

// RunNo returns the n-th run ID of a fixed series, for tests that need names.
func RunNo(n int) eventlog.RunID {
	id := eventlog.RunID{0: 1, 1: 0x8f}
	for i := 15; n > 0; i, n = i-1, n>>8 {
		id[i] = byte(n)
	}
	return id
}

// Rec returns a record with the given payload that happened at time 1000+at.
func Rec(at int64, payload string) eventlog.Record {
	return eventlog.Record{Time: 1000 + at, Kind: 7, Actor: "test", Payload: []byte(payload)}
}

func mustAppend(t *testing.T, l eventlog.Log, run eventlog.RunID, expect eventlog.Version, recs ...eventlog.Record) eventlog.Seq {
	t.Helper()
	seq, err := l.Append(t.Context(), eventlog.Append{ID: eventlog.AppendID(rand.Uint64() | 1), Run: run, Expect: expect, Records: recs})
	if err != nil {
		t.Fatalf("append to %v at %d: %v", run, expect, err)
	}
	return seq
}

// All reads the whole log in pages of the given size.
func All(l eventlog.Log, page int) ([]eventlog.Event, error) {
	var all []eventlog.Event
	for {
		p, err := l.ReadFrom(eventlog.Seq(len(all)), page)
		if err != nil || len(p) == 0 {
			return all, err
		}
		all = append(all, p...)
	}
}

// AllOf reads a whole run in pages of the given size.
func AllOf(l eventlog.Log, run eventlog.RunID, page int) ([]eventlog.Event, error) {
	var all []eventlog.Event
	for {
		p, err := l.ReadRun(run, eventlog.Version(len(all)), page)
		if err != nil || len(p) == 0 {
			return all, err
		}
		all = append(all, p...)
	}
}

func testEmpty(t *testing.T, l eventlog.Log) {
	if h := l.Head(); h != 0 {
		t.Errorf("head of an empty log is %d", h)
	}
	if v, err := l.Version(RunNo(1)); v != 0 || err != nil {
		t.Errorf("version of an unknown run: %d, %v", v, err)
	}
	if ev, err := l.ReadFrom(0, 10); len(ev) != 0 || err != nil {
		t.Errorf("read of an empty log: %v, %v", ev, err)
	}
	if ev, err := l.ReadFrom(1<<60, 10); len(ev) != 0 || err != nil {
		t.Errorf("read past the head: %v, %v", ev, err)
	}
	if ev, err := l.ReadRun(RunNo(1), 0, 10); len(ev) != 0 || err != nil {
		t.Errorf("read of an unknown run: %v, %v", ev, err)
	}
}

func testAppendAndRead(t *testing.T, l eventlog.Log) {
	a, b := RunNo(1), RunNo(2)
	if s := mustAppend(t, l, a, 0, Rec(1, "a1"), Rec(2, "a2")); s != 1 {
		t.Errorf("first seq %d", s)
	}
	if s := mustAppend(t, l, b, 0, Rec(1, "b1")); s != 3 {
		t.Errorf("second seq %d", s)
	}
	if s := mustAppend(t, l, a, 2, Rec(2, "a3")); s != 4 {
		t.Errorf("third seq %d", s)
	}
	if h := l.Head(); h != 4 {
		t.Errorf("head %d, want 4", h)
	}
	all, err := All(l, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%d:%d/%d@%d=%s", e.Seq, e.Run[15], e.Version, e.Time, e.Payload))
		if e.Append == 0 || e.Kind != 7 || e.Actor != "test" || e.Erased || e.Salt == [16]byte{} {
			t.Errorf("event %d came back as %+v", e.Seq, e)
		}
	}
	want := "1:1/1@1001=a1 2:1/2@1002=a2 3:2/1@1001=b1 4:1/3@1002=a3"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("log is\n%s\nwant\n%s", s, want)
	}
	ra, err := AllOf(l, a, 2)
	if err != nil || len(ra) != 3 || ra[2].Seq != 4 || ra[2].Version != 3 {
		t.Errorf("run a: %v, %v", ra, err)
	}
	if all[0].Append != all[1].Append || all[0].Append == all[3].Append {
		t.Error("append IDs do not follow the appends")
	}
	if v, err := l.Version(a); v != 3 || err != nil {
		t.Errorf("version of a: %d, %v", v, err)
	}
}

func testConflict(t *testing.T, l eventlog.Log) {
	run := RunNo(1)
	mustAppend(t, l, run, 0, Rec(1, "x"))
	for _, expect := range []eventlog.Version{0, 2, 1 << 40} {
		_, err := l.Append(t.Context(), eventlog.Append{ID: 1, Run: run, Expect: expect, Records: []eventlog.Record{Rec(1, "y")}})
		if !errors.Is(err, eventlog.ErrConflict) {
			t.Errorf("expect %d on version 1: %v, want ErrConflict", expect, err)
		}
	}
	if _, err := l.Append(t.Context(), eventlog.Append{ID: 1, Run: RunNo(2), Expect: 1, Records: []eventlog.Record{Rec(1, "y")}}); !errors.Is(err, eventlog.ErrConflict) {
		t.Errorf("expect 1 on a new run: %v, want ErrConflict", err)
	}
	if h := l.Head(); h != 1 {
		t.Errorf("a refused append moved the head to %d", h)
	}
	mustAppend(t, l, run, 1, Rec(1, "z"))
}

func testRefused(t *testing.T, l eventlog.Log) {
	run := RunNo(1)
	mustAppend(t, l, run, 0, Rec(100, "x"))
	ok := Rec(200, "y")
	with := func(f func(*eventlog.Record)) []eventlog.Record {
		r := ok
		f(&r)
		return []eventlog.Record{r}
	}
	for name, c := range map[string]struct {
		a    eventlog.Append
		want error
	}{
		"no ID":          {eventlog.Append{Run: run, Expect: 1, Records: []eventlog.Record{ok}}, eventlog.ErrInvalid},
		"no run":         {eventlog.Append{ID: 1, Expect: 0, Records: []eventlog.Record{ok}}, eventlog.ErrInvalid},
		"no records":     {eventlog.Append{ID: 1, Run: run, Expect: 1}, eventlog.ErrInvalid},
		"no kind":        {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: with(func(r *eventlog.Record) { r.Kind = 0 })}, eventlog.ErrInvalid},
		"no time":        {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: with(func(r *eventlog.Record) { r.Time = 0 })}, eventlog.ErrInvalid},
		"time goes back": {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: []eventlog.Record{Rec(99, "")}}, eventlog.ErrInvalid},
		"back within":    {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: []eventlog.Record{Rec(201, ""), Rec(200, "")}}, eventlog.ErrInvalid},
		"actor not text": {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: with(func(r *eventlog.Record) { r.Actor = "\xff" })}, eventlog.ErrInvalid},
		"long actor":     {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: with(func(r *eventlog.Record) { r.Actor = strings.Repeat("a", eventlog.MaxActor+1) })}, eventlog.ErrTooLarge},
		"big payload":    {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: with(func(r *eventlog.Record) { r.Payload = make([]byte, eventlog.MaxPayload+1) })}, eventlog.ErrTooLarge},
		"many records":   {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: make([]eventlog.Record, eventlog.MaxRecords+1)}, eventlog.ErrTooLarge},
		"big append": {eventlog.Append{ID: 1, Run: run, Expect: 1, Records: func() (rs []eventlog.Record) {
			p := make([]byte, eventlog.MaxPayload)
			for range eventlog.MaxAppend/eventlog.MaxPayload + 1 {
				rs = append(rs, eventlog.Record{Time: 2000, Kind: 1, Payload: p})
			}
			return rs
		}()}, eventlog.ErrTooLarge},
	} {
		if _, err := l.Append(t.Context(), c.a); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if h := l.Head(); h != 1 {
		t.Errorf("a refused append moved the head to %d", h)
	}
}

func testPayloads(t *testing.T, l eventlog.Log) {
	var recs []eventlog.Record
	rng := rand.NewChaCha8([32]byte{1})
	for _, n := range []int{0, 1, 31, 32, 255, 256, 4000, 8100, 8192, 65535, 65536, 65537, 70000, 300000, 1 << 20} {
		p := make([]byte, n)
		rng.Read(p)
		recs = append(recs, eventlog.Record{Time: 1, Kind: eventlog.Kind(n%65535 + 1), Actor: strings.Repeat("é", n%129), Payload: p})
	}
	recs = append(recs, recs[13]) // the same big payload twice
	run := RunNo(1)
	mustAppend(t, l, run, 0, recs...)
	for name, read := range map[string]func() ([]eventlog.Event, error){
		"ReadFrom": func() ([]eventlog.Event, error) { return All(l, 100) },
		"ReadRun":  func() ([]eventlog.Event, error) { return AllOf(l, run, 100) },
	} {
		got, err := read()
		if err != nil || len(got) != len(recs) {
			t.Fatalf("%s: %d events, %v", name, len(got), err)
		}
		for i, e := range got {
			if r := recs[i]; !bytes.Equal(e.Payload, r.Payload) || e.Payload == nil || e.Actor != r.Actor || e.Kind != r.Kind {
				t.Errorf("%s: record %d with a payload of %d bytes came back different", name, i, len(r.Payload))
			}
		}
	}
}

func testPaging(t *testing.T, l eventlog.Log) {
	run := RunNo(1)
	big := make([]byte, 1<<20)
	for i := range 6 {
		mustAppend(t, l, run, eventlog.Version(2*i), eventlog.Record{Time: 1001, Kind: 1, Payload: big}, Rec(1, "s"))
	}
	if p, err := l.ReadFrom(0, 0); len(p) != 0 || err != nil {
		t.Errorf("limit 0: %d events, %v", len(p), err)
	}
	p, err := l.ReadFrom(0, 100)
	if err != nil || len(p) == 0 || len(p) == 12 {
		t.Errorf("a page of %d MiB holds %d events, %v: the byte budget is not kept", eventlog.PageBytes>>20, len(p), err)
	}
	if all, err := All(l, 100); err != nil || len(all) != 12 {
		t.Errorf("paging through: %d events, %v", len(all), err)
	}
	if all, err := AllOf(l, run, 5); err != nil || len(all) != 12 {
		t.Errorf("paging through the run: %d events, %v", len(all), err)
	}
	if p, err := l.ReadRun(run, 11, 100); err != nil || len(p) != 1 || p[0].Version != 12 {
		t.Errorf("after version 11: %v, %v", p, err)
	}
}

func testOwnership(t *testing.T, l eventlog.Log) {
	r := Rec(1, "original")
	mustAppend(t, l, RunNo(1), 0, r)
	copy(r.Payload, "scribble")
	first, err := l.ReadFrom(0, 1)
	if err != nil || string(first[0].Payload) != "original" {
		t.Fatalf("the log kept the caller's slice: %q, %v", first[0].Payload, err)
	}
	copy(first[0].Payload, "scribble")
	if second, err := l.ReadFrom(0, 1); err != nil || string(second[0].Payload) != "original" {
		t.Errorf("a reader's slice is shared: %q, %v", second[0].Payload, err)
	}
}

func testContext(t *testing.T, l eventlog.Log) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := l.Append(ctx, eventlog.Append{ID: 5, Run: RunNo(1), Records: []eventlog.Record{Rec(1, "x")}})
	switch {
	case err == nil || errors.Is(err, eventlog.ErrUnknown): // may or may not be there
	case errors.Is(err, context.Canceled): // was not stored
		if v, _ := l.Version(RunNo(1)); v != 0 {
			t.Error("refused by its context, yet stored")
		}
	default:
		t.Errorf("append with a cancelled context: %v", err)
	}
	mustAppend(t, l, RunNo(2), 0, Rec(1, "the log goes on"))
}

func testConcurrent(t *testing.T, l eventlog.Log) {
	const writers, each = 16, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < each; i += 2 {
				_, err := l.Append(context.Background(), eventlog.Append{
					ID: eventlog.AppendID(w*each + i + 1), Run: RunNo(w + 1), Expect: eventlog.Version(i),
					Records: []eventlog.Record{Rec(int64(i), fmt.Sprint(w, i)), Rec(int64(i), fmt.Sprint(w, i+1))},
				})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				// What is acknowledged is visible to the next read.
				if v, err := l.Version(RunNo(w + 1)); err != nil || v != eventlog.Version(i+2) {
					t.Errorf("writer %d: version %d after an append at %d, %v", w, v, i, err)
					return
				}
			}
		})
	}
	wg.Add(1)
	go func() { // a tail that must see a dense order
		defer wg.Done()
		for next := eventlog.Seq(1); next <= writers*each; {
			p, err := l.ReadFrom(next-1, 50)
			if err != nil {
				t.Errorf("tail: %v", err)
				return
			}
			for _, e := range p {
				if e.Seq != next {
					t.Errorf("tail: seq %d, want %d", e.Seq, next)
					return
				}
				next++
			}
			if t.Failed() {
				return
			}
		}
	}()
	wg.Wait()
	for w := range writers {
		ev, err := AllOf(l, RunNo(w+1), 7)
		if err != nil || len(ev) != each {
			t.Fatalf("run %d: %d events, %v", w, len(ev), err)
		}
		for i, e := range ev {
			if string(e.Payload) != fmt.Sprint(w, i) || e.Version != eventlog.Version(i+1) {
				t.Fatalf("run %d: event %d is %+v", w, i, e)
			}
			if i%2 == 1 && e.Seq != ev[i-1].Seq+1 {
				t.Fatalf("run %d: an append was torn apart: %d, %d", w, ev[i-1].Seq, e.Seq)
			}
		}
	}
}

// testRace lets many appenders decide on the same version: exactly one wins
// each.
func testRace(t *testing.T, l eventlog.Log) {
	const rivals, rounds = 8, 30
	run := RunNo(1)
	var mu sync.Mutex
	wins := make(map[eventlog.Version]int)
	var wg sync.WaitGroup
	for w := range rivals {
		wg.Go(func() {
			for {
				v, err := l.Version(run)
				if err != nil {
					t.Error(err)
					return
				}
				if v >= rounds {
					return
				}
				_, err = l.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(w + 1), Run: run, Expect: v, Records: []eventlog.Record{Rec(0, fmt.Sprint(w))}})
				switch {
				case err == nil:
					mu.Lock()
					wins[v]++
					mu.Unlock()
				case !errors.Is(err, eventlog.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for v := range eventlog.Version(rounds) {
		if wins[v] != 1 {
			t.Errorf("version %d was won %d times", v, wins[v])
		}
	}
}

func testSystem(t *testing.T, l eventlog.Log) {
	run := eventlog.System("defs")
	mustAppend(t, l, run, 0, Rec(1, "a"))
	mustAppend(t, l, run, 1, Rec(2, "b"))
	if ev, err := l.ReadRun(run, 1, 10); err != nil || len(ev) != 1 || ev[0].Run != run {
		t.Errorf("system stream: %v, %v", ev, err)
	}
}

func testClosed(t *testing.T, l eventlog.Log) {
	mustAppend(t, l, RunNo(1), 0, Rec(1, "x"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, errA := l.Append(t.Context(), eventlog.Append{ID: 1, Run: RunNo(1), Expect: 1, Records: []eventlog.Record{Rec(1, "y")}})
	_, errV := l.Version(RunNo(1))
	_, errR := l.ReadRun(RunNo(1), 0, 1)
	_, errF := l.ReadFrom(0, 1)
	for name, err := range map[string]error{"Append": errA, "Version": errV, "ReadRun": errR, "ReadFrom": errF, "Close": l.Close()} {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}
