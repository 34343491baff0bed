package api

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
)

// counted is a log that counts the events that are read of single runs.
type counted struct {
	eventlog.Log
	n atomic.Int64
}

func (l *counted) ReadRun(id eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error) {
	events, err := l.Log.ReadRun(id, after, limit)
	l.n.Add(int64(len(events)))
	return events, err
}

// Pages of a replay are the whole, whoever else pages through it, and however often
// one is asked for; and each goes on where the one before ended, without reading
// what came before it again.
func TestReplayPages(t *testing.T) {
	log := &counted{}
	s := serve(t, func(o *Options) { log.Log = o.Log; o.Log = log })
	s.apply("name: loop\nentry: a\nnodes: {a: {agent: x, prompt: A., max_visits: 99}, b: {end: completed}}\nedges: [{from: a, to: a, if: nodes.a.visits < 60}, {from: a, to: b, default: true}]")
	id := s.start("loop", "{}")
	s.want(200, "GET", "/v1/runs/"+id+"?wait=30s", "")
	type page struct {
		Items []json.RawMessage
		Next  string `json:"next_cursor"`
	}
	get := func(from string, limit int) (p page) {
		t.Helper()
		body := s.want(200, "GET", fmt.Sprintf("/v1/runs/%s/replay?from=%s&limit=%d", id, from, limit), "")
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole := get("0", 10_000)
	if len(whole.Items) < 240 || whole.Next != "" {
		t.Fatalf("%d frames, then %q", len(whole.Items), whole.Next)
	}
	same := func(got []json.RawMessage) {
		t.Helper()
		if fmt.Sprintf("%s", got) != fmt.Sprintf("%s", whole.Items) {
			t.Fatalf("%d frames page by page, %d as a whole, or others", len(got), len(whole.Items))
		}
	}
	log.n.Store(0)
	var all []json.RawMessage
	pages := 0
	for from, more := "0", true; more; pages++ {
		p := get(from, 5)
		all = append(all, p.Items...)
		from, more = p.Next, p.Next != ""
	}
	same(all)
	// Besides, a page reads the run's first event, which names its definition.
	if got, most := int(log.n.Load()), len(whole.Items)+pages; got > most {
		t.Errorf("%d events were read for %d pages of %d events in all", got, pages, len(whole.Items))
	}
	var one, two []json.RawMessage
	for a, b := (page{Next: "0"}), (page{Next: "0"}); a.Next != "" || b.Next != ""; {
		if a.Next != "" {
			a = get(a.Next, 7)
			one = append(one, a.Items...)
		}
		if b.Next != "" {
			if c := get(b.Next, 7); len(c.Items) == 0 { // asked for twice
				t.Fatal("an empty page")
			}
			b = get(b.Next, 7)
			two = append(two, b.Items...)
		}
	}
	same(one)
	same(two)
	if n := len(s.api.reels.held); n > maxReels {
		t.Errorf("%d reels are held, at most %d should be", n, maxReels)
	}
}
