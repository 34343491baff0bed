package eventlog_test

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"pgregory.net/rapid"
)

// A DB with segments of a few dozen events answers as the log in memory does,
// whatever is asked of it in whatever order, and across restarts.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "log")
		if err != nil {
			rt.Fatal(err)
		}
		o := eventlog.Options{SegmentSize: tiny}
		d, err := openLog(dir, o)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { d.Close() }()
		m := eventlogtest.NewMemory()
		defer m.Close()
		now := int64(0)
		id := eventlog.AppendID(0)
		run := rapid.Custom(func(t *rapid.T) eventlog.RunID { return eventlogtest.RunNo(rapid.IntRange(1, 12).Draw(t, "run")) })

		rt.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				a := eventlog.Append{Run: run.Draw(t, "run")}
				v, _ := m.Version(a.Run)
				a.Expect = eventlog.Version(max(0, int(v)+rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, -1, 1}).Draw(t, "off")))
				for range rapid.IntRange(1, 40).Draw(t, "records") {
					now += int64(rapid.IntRange(0, 3).Draw(t, "dt"))
					size := rapid.SampledFrom([]int{0, 1, 40, 200, 200, 200, 2000, 9000, eventlog.BlobOver, eventlog.BlobOver + 1}).Draw(t, "size")
					p := make([]byte, size)
					for i := range p {
						p[i] = byte(int(now) + i*i)
					}
					a.Records = append(a.Records, eventlog.Record{Time: now + 1, Kind: 3, Actor: fmt.Sprint("a", now%3), Payload: p})
				}
				id++
				a.ID = id
				s1, err1 := d.Append(context.Background(), a)
				s2, err2 := m.Append(context.Background(), a)
				if s1 != s2 || (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error() {
					t.Fatalf("append: %d, %v; twin %d, %v", s1, err1, s2, err2)
				}
			},
			"readRun": func(t *rapid.T) {
				r := run.Draw(t, "run")
				v, _ := m.Version(r)
				after := eventlog.Version(rapid.IntRange(0, int(v)+1).Draw(t, "after"))
				limit := rapid.IntRange(0, 50).Draw(t, "limit")
				e1, err1 := d.ReadRun(r, after, limit)
				e2, err2 := m.ReadRun(r, after, limit)
				same(t, e1, e2, err1, err2)
			},
			"readFrom": func(t *rapid.T) {
				after := eventlog.Seq(rapid.IntRange(0, int(m.Head())+1).Draw(t, "after"))
				limit := rapid.IntRange(0, 50).Draw(t, "limit")
				e1, err1 := d.ReadFrom(after, limit)
				e2, err2 := m.ReadFrom(after, limit)
				same(t, e1, e2, err1, err2)
			},
			"version": func(t *rapid.T) {
				r := run.Draw(t, "run")
				v1, err := d.Version(r)
				v2, _ := m.Version(r)
				if err != nil || v1 != v2 {
					t.Fatalf("version %d, %v; twin %d", v1, err, v2)
				}
			},
			"reopen": func(t *rapid.T) {
				size, root := d.TreeHead()
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				checkT(t, dir)
				if d, err = openLog(dir, o); err != nil {
					t.Fatal(err)
				}
				if s, r := d.TreeHead(); s != size || r != root {
					t.Fatal("the tree head changed across a restart")
				}
			},
			"": func(t *rapid.T) {
				if d.Head() != m.Head() {
					t.Fatalf("head %d; twin %d", d.Head(), m.Head())
				}
			},
		})
		if r, err := d.Check(eventlog.CheckOptions{}); err != nil || r.Err() != nil {
			rt.Fatalf("check of the open log: %v, %v", err, r.Err())
		}
		if err := d.Close(); err != nil {
			rt.Fatal(err)
		}
		checkT(rt, dir)
	})
}

func checkT(t *rapid.T, dir string) {
	r, err := checkLog(dir, eventlog.CheckOptions{})
	if err != nil {
		t.Fatalf("check: %v", err)
	}
	if err := r.Err(); err != nil {
		t.Fatalf("check: %v and %d more", err, len(r.Problems)-1)
	}
}

// same compares pages but for the salt, which is random.
func same(t *rapid.T, a, b []eventlog.Event, errA, errB error) {
	t.Helper()
	if errA != nil || errB != nil || len(a) != len(b) {
		t.Fatalf("%d events, %v; twin %d, %v", len(a), errA, len(b), errB)
	}
	for i := range a {
		x, y := a[i], b[i]
		x.Salt, y.Salt = [16]byte{}, [16]byte{}
		if !reflect.DeepEqual(x, y) {
			t.Fatalf("event %d is\n%+v\ntwin has\n%+v", i, x, y)
		}
	}
}
