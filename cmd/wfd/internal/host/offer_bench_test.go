package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/projection/event"

	"github.com/wfd-dev/wfd/engine/workflow"
)

// BenchmarkOffer measures, over HTTP and on a log that syncs, how long after its commit
// a task is in the hands of a worker that waits for one.
func BenchmarkOffer(b *testing.B) {
	o := Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler), Workers: true, Hosts: nil}
	h, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	}()
	for !h.ready.Load() {
		time.Sleep(time.Millisecond)
	}
	const source = "name: paint\nnodes: {a: {worker: paint}}"
	wf, problems := workflow.Load("paint.yaml", []byte(source))
	if wf == nil {
		b.Fatal(problems)
	}
	if _, err := h.Engine.Register(ctx, wf, source, "bench"); err != nil {
		b.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	post := func(path string, body, out any) {
		text, _ := json.Marshal(body)
		resp, err := http.Post(url+path, "application/json", bytes.NewReader(text))
		if err != nil {
			b.Error(err)
			return
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != 200 {
			err = fmt.Errorf("%s: %s", path, answer)
		}
		if err == nil && out != nil {
			err = json.Unmarshal(answer, out)
		}
		if err != nil {
			b.Error(err)
		}
	}
	type task struct{ ID, Token string }
	type arrival struct {
		task
		at time.Time
	}
	arrived := make(chan arrival)
	var offer, start []time.Duration
	for b.Loop() {
		go func() {
			var got struct{ Tasks []task }
			post("/v1/tasks/poll", map[string]any{"worker": "w", "handlers": []string{"paint"}, "wait": "30s"}, &got)
			at := time.Now()
			if len(got.Tasks) != 1 {
				b.Errorf("%d tasks", len(got.Tasks))
				got.Tasks = []task{{}}
			}
			arrived <- arrival{got.Tasks[0], at}
		}()
		time.Sleep(2 * time.Millisecond) // until it waits
		commit := h.commits.next()
		var committed time.Time
		seen := make(chan bool)
		go func() {
			<-commit
			committed = time.Now()
			close(seen)
		}()
		began := time.Now()
		if _, _, err := h.Engine.StartRun(ctx, engine.StartRequest{Workflow: "paint", Input: event.Null}, engine.By{}); err != nil {
			b.Fatal(err)
		}
		<-seen
		start = append(start, committed.Sub(began))
		a := <-arrived
		offer = append(offer, a.at.Sub(committed))
		post("/v1/tasks/"+a.ID+"/complete", map[string]any{"token": a.Token, "result": 1}, nil)
	}
	for name, d := range map[string][]time.Duration{"offer": offer, "commit": start} {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds()), name+"-p50-µs")
		b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), name+"-p99-µs")
	}
}
