package api

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

var listRows = flag.Int("rows", 2000, "runs of the store whose list BenchmarkRunList asks for")

// listed appends runs that have ended, or were begun, as an engine would have them: most
// went well, of each of 50 workflows, with labels that many have and few.
func listed(b *testing.B, log eventlog.Log, n int) {
	b.Helper()
	value := event.MustValue(map[string]any{"answer": "what was asked for", "n": 1})
	began := time.Now().Add(-time.Duration(n) * time.Second)
	var writers sync.WaitGroup
	const wide = 512
	for w := range wide {
		writers.Go(func() {
			for i := w; i < n; i += wide {
				at := began.Add(time.Duration(i) * time.Second).UnixNano()
				record := func(p event.Payload) eventlog.Record {
					return eventlog.Record{Time: at, Kind: p.Kind(), Actor: "token:load", Payload: event.Encode(p)}
				}
				records := []eventlog.Record{record(&event.RunCreated{
					Workflow: fmt.Sprintf("workflow-%02d", i%50), Version: 1, Hash: "0", Input: value, Entry: []string{"a"},
					Labels: map[string]string{"customer": fmt.Sprint(i % 1000), "batch": fmt.Sprint(i / (n/4 + 1))},
				})}
				switch {
				case i%20 == 3:
					records = append(records, record(&event.RunFailed{Failure: event.Failure{Class: "network", Message: "the service does not answer", Node: "a"}}))
				case i%1000 == 7:
					records = append(records, record(&event.RunCancelled{Reason: "not needed"}))
				default:
					records = append(records, record(&event.RunCompleted{Output: value}))
				}
				var id eventlog.RunID
				copy(id[:], fmt.Appendf(nil, "\x01%015d", i))
				if _, err := log.Append(context.Background(), eventlog.Append{ID: eventlog.AppendID(i + 1), Run: id, Records: records}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
}

// BenchmarkRunList asks over HTTP for pages of the list of runs, as the page does. With
// -rows 1000000 it takes some minutes to make the store.
func BenchmarkRunList(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "data")
	log, views, err := engine.Store(dir, nil, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	listed(b, log, *listRows)
	e := engine.New(log, views, engine.Options{})
	if err := e.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d runs are there after %s", *listRows, time.Since(began).Round(time.Second))
	api := New(Options{Engine: e, Log: log, Views: views, Version: "test", Hosts: func() []string { return []string{"127.0.0.1"} }})
	ts := httptest.NewServer(api)
	b.Cleanup(func() {
		ts.Close()
		e.Stop()
		if err := views.Close(); err != nil {
			b.Error(err)
		}
		if err := log.Close(); err != nil {
			b.Error(err)
		}
	})
	ask := func(b *testing.B, query string) {
		resp, err := http.Get(ts.URL + "/v1/" + query)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			b.Fatalf("%s %v\n%s", resp.Status, err, body)
		}
	}
	for _, c := range []struct{ name, query string }{
		{"newest", "runs?limit=100"}, {"failed", "runs?limit=100&status=failed"}, {"workflow", "runs?limit=100&workflow=workflow-07"},
		{"workflow and status", "runs?limit=100&workflow=workflow-03&status=failed"}, {"label of many", "runs?limit=100&label=batch%3D3"},
		{"label of one in 1000", "runs?limit=100&label=customer%3D13"}, {"label of an old quarter", "runs?limit=100&label=batch%3D0"},
		{"label of none", "runs?limit=100&label=customer%3Dx"}, {"two labels", "runs?limit=100&label=customer%3D13&label=batch%3D0"},
		{"label, workflow, status", "runs?limit=100&label=batch%3D0&workflow=workflow-03&status=failed"},
		{"label and another status", "runs?limit=100&label=batch%3D0&status=paused"}, {"totals", "totals"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				from := time.Now()
				ask(b, c.query)
				took = append(took, time.Since(from))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
		})
	}
}
