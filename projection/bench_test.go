package projection

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// many returns a log of n runs of ten events each; the events of 1,000 runs at
// a time are mixed.
func many(b *testing.B, n int) *eventlogtest.Memory {
	log := eventlogtest.NewMemory()
	rng := rand.New(rand.NewPCG(1, 1))
	life := []event.Payload{
		&event.NodeScheduled{Node: "a", Visit: 1}, &event.NodeStarted{Node: "a", Visit: 1, Attempt: 1},
		&event.NodeCompleted{Node: "a", Visit: 1, Attempt: 1, Result: event.MustValue("done")}, &event.EdgeTaken{From: "a", Visit: 1, To: "b", Of: 1},
		&event.NodeScheduled{Node: "b", Visit: 1}, &event.NodeStarted{Node: "b", Visit: 1, Attempt: 1}, &event.StateSet{Key: "k", Value: event.Null},
		&event.NodeCompleted{Node: "b", Visit: 1, Attempt: 1, Result: event.MustValue("done"), Last: true}, &event.RunCompleted{},
	}
	for from := 0; from < n; from += 1000 {
		ids := make([]eventlog.RunID, min(1000, n-from))
		for i := range ids {
			ids[i] = create(b, log, from+i, fmt.Sprint("w", i%10))
		}
		for _, p := range life {
			rng.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
			for i, id := range ids {
				if p.Kind() != event.KindRunCompleted || i%10 > 0 {
					appendTo(b, log, id, p)
				}
			}
		}
	}
	return log
}

// BenchmarkCatchUp is the building of all views: events per second.
func BenchmarkCatchUp(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			log := many(b, n)
			for b.Loop() {
				v := open(b, b.TempDir(), log)
				if err := v.CatchUp(context.Background(), nil); err != nil {
					b.Fatal(err)
				}
				if err := v.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(log.Head())*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkList is a page of 50 rows, first and in the middle.
func BenchmarkList(b *testing.B) {
	ctx := context.Background()
	for _, n := range []int{1_000, 100_000} {
		log := many(b, n)
		v := open(b, b.TempDir(), log)
		if err := v.CatchUp(ctx, nil); err != nil {
			b.Fatal(err)
		}
		cursor := ""
		for range n / 100 {
			_, next, err := v.Runs(ctx, Filter{}, cursor, 50)
			if err != nil {
				b.Fatal(err)
			}
			cursor = next
		}
		for name, f := range map[string]Filter{"all": {}, "status": {Status: run.Running}, "label": {Labels: map[string]string{"team": "red"}}} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				for b.Loop() {
					if _, _, err := v.Runs(ctx, f, "", 50); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%d/middle", n), func(b *testing.B) {
			for b.Loop() {
				if _, _, err := v.Runs(ctx, Filter{}, cursor, 50); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d/open", n), func(b *testing.B) {
			closed(b, v)
			for b.Loop() {
				v = open(b, v.dir, log)
				closed(b, v)
			}
			v = open(b, v.dir, log)
		})
		closed(b, v)
	}
}
