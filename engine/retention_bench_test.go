package engine

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
)

// BenchmarkCompact archives the payloads of 2,000 ended runs while another client
// goes on: runs a second, and how long a run of that client took, at the median
// and at worst, before and meanwhile.
func BenchmarkCompact(b *testing.B) {
	const runs, clients = 2000, 64
	for b.Loop() {
		b.StopTimer()
		e, stop := openBench(b)
		register(b, e, chainSource(10))
		ctx := context.Background()
		one := func() time.Duration {
			began := time.Now()
			r, _, err := e.StartRun(ctx, StartRequest{Workflow: "chain"}, By{Actor: "bench"})
			if err == nil {
				_, err = e.Await(ctx, r.ID, Settled)
			}
			if err != nil {
				b.Error(err)
			}
			return time.Since(began)
		}
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				for range runs / clients {
					one()
				}
			})
		}
		wg.Wait()
		var before, during []time.Duration
		for range 100 {
			before = append(before, one())
		}
		done := make(chan struct{})
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					during = append(during, one())
				}
			}
		})
		b.StartTimer()
		began := time.Now()
		got, err := e.Compact(ctx, &Retention{Default: Policy{After: 1}}, false)
		took := time.Since(began)
		b.StopTimer()
		close(done)
		wg.Wait()
		if err != nil || got.Archived < runs/clients*clients {
			b.Fatalf("%+v, %v", got, err)
		}
		slices.Sort(before)
		slices.Sort(during)
		ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
		b.ReportMetric(float64(got.Archived)/took.Seconds(), "runs/s")
		b.ReportMetric(ms(before[len(before)/2]), "before-p50-ms")
		b.ReportMetric(ms(before[len(before)-1]), "before-max-ms")
		b.ReportMetric(ms(during[len(during)/2]), "during-p50-ms")
		b.ReportMetric(ms(during[len(during)-1]), "during-max-ms")
		if row, err := e.views.Run(ctx, firstRun(b, e)); err != nil || row.Erased != projection.ErasedArchived {
			b.Errorf("%+v, %v", row, err)
		}
		stop()
		b.StartTimer()
	}
}

// firstRun returns the oldest run.
func firstRun(b *testing.B, e *Engine) eventlog.RunID {
	page, err := e.log.ReadFrom(1, 1) // the first event registers the workflow
	if err != nil || len(page) == 0 {
		b.Fatal(err)
	}
	return page[0].Run
}
