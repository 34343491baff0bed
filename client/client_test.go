package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/client/internal/daemon"
)

// script answers one request after the other.
type script struct {
	t       *testing.T
	answers []any // an error, or status and body as "503 {…}", or a function of the request
	seen    []string
	keys    []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.seen = append(s.seen, r.Method+" "+r.URL.RequestURI())
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	if len(s.answers) == 0 {
		s.t.Fatalf("one request too many: %s", s.seen)
	}
	a := s.answers[0]
	s.answers = s.answers[1:]
	if err, ok := a.(error); ok {
		return nil, err
	}
	status, body := 0, ""
	fmt.Sscan(a.(string), &status)
	_, body, _ = strings.Cut(a.(string), " ")
	resp := &http.Response{StatusCode: status, Status: fmt.Sprint(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	if status == 503 {
		resp.Header.Set("Retry-After", "1")
	}
	return resp, nil
}

func scripted(t *testing.T, answers ...any) (*client.Client, *script) {
	s := &script{t: t, answers: answers}
	c, err := client.New("wfd.test", client.Transport(s))
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

var errDown = errors.New("connection refused")

const starting = `503 {"type": "urn:wfd:problem:starting", "status": 503, "detail": "it starts"}`

// What changes something is repeated with the same key while the daemon is away.
func TestRepeatedWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, errDown, starting, `502 <html>`, `201 {"id": "R", "status": "running"}`)
		began := time.Now()
		r, err := c.Start(t.Context(), "a b", client.Start{Input: 7})
		if err != nil || r.ID != "R" || s.seen[3] != "POST /v1/workflows/a%20b/runs" {
			t.Fatal(r, err, s.seen)
		}
		if len(slices.Compact(slices.Clone(s.keys))) != 1 || s.keys[0] == "" {
			t.Errorf("keys: %q", s.keys)
		}
		if d := time.Since(began); d < time.Second || d > 5*time.Second {
			t.Errorf("it took %s: the daemon asked for a second", d)
		}
		c, s = scripted(t, `200 {"id": "R"}`)
		if _, err := c.Signal(t.Context(), "R", "paid", nil, client.Key("order-17")); err != nil || s.keys[0] != "order-17" {
			t.Error(err, s.keys)
		}
	})
}

// Patience ends, at once for what is refused, and with the context.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := slices.Repeat([]any{errDown}, 100)
		c, _ := scripted(t, down...)
		began := time.Now()
		_, err := c.Cancel(t.Context(), "R", "")
		if d := time.Since(began); !errors.Is(err, client.ErrUnreachable) || d < 30*time.Second || d > 33*time.Second {
			t.Error(err, d)
		}
		c, _ = scripted(t, `409 {"type": "urn:wfd:problem:refused", "status": 409, "detail": "the run is completed"}`)
		if _, err = c.Cancel(t.Context(), "R", ""); !errors.Is(err, client.ErrRefused) || errors.Is(err, client.ErrStale) || err.Error() != "the run is completed" {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c, _ = scripted(t, down...)
		if _, err = c.Wait(ctx, "R"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// No event is missed or shown twice, however often the stream breaks off.
func TestEventsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := func(seqs ...int) (s string) {
			for _, n := range seqs {
				s += fmt.Sprintf("{\"seq\": %d, \"kind\": \"state.set\"}\n", n)
			}
			return s
		}
		c, s := scripted(t,
			"200 \n"+line(3, 4)+`{"type":"urn:wfd:problem:stopped","status":503,"detail":"it stops"}`+"\n", // in the stream
			errDown, starting,
			"200 "+line(7),                         // ends in order: the daemon does
			`200 {"id": "R", "status": "running"}`, // the run has not
			"200 "+line(9),
			`200 {"id": "R", "status": "completed"}`,
			"200 "+line(12), // what came between
		)
		var have []uint64
		for e, err := range c.Events(t.Context(), "R", client.Follow{Kinds: []string{"state.set"}}) {
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, e.Seq)
		}
		if !slices.Equal(have, []uint64{3, 4, 7, 9, 12}) {
			t.Error(have)
		}
		if want := "GET /v1/runs/R/events?cursor=9&follow=false&kind=state.set"; s.seen[len(s.seen)-1] != want {
			t.Errorf("%q, want %q", s.seen, want)
		}
	})
}

func TestBadAddress(t *testing.T) {
	for _, addr := range []string{"", "http://", "ftp://x", "a b", "http://%zz"} {
		if c, err := client.New(addr); err == nil {
			t.Errorf("%q: %+v", addr, c)
		}
	}
	c, err := client.New("127.0.0.1:1", client.Patience(0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Run(t.Context(), "R"); !errors.Is(err, client.ErrUnreachable) {
		t.Error(err)
	}
}

// A run is waited for and followed over a kill of the daemon, and a wrong token is told.
func TestOverARestart(t *testing.T) {
	c, err := client.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := c.Register(ctx, "gate.yaml", []byte("name: gate\nnodes: {a: {wait: {signal: go}}}\noutput: {n: 1}")); err != nil {
		t.Fatal(err)
	}
	of := map[string]string{"of": fmt.Sprint(time.Now().UnixNano())} // this test may run several times
	run, err := c.Start(ctx, "gate", client.Start{Labels: of})
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(chan string, 100)
	go func() {
		defer close(kinds)
		for e, err := range c.Events(ctx, run.ID, client.Follow{}) {
			if err != nil {
				t.Error(err)
				return
			}
			kinds <- e.Kind
		}
	}()
	if first := <-kinds; first != "run.created" {
		t.Fatal(first)
	}
	waited := make(chan *client.Run)
	go func() {
		r, err := c.Wait(ctx, run.ID)
		if err != nil {
			t.Error(err)
		}
		waited <- r
	}()
	if err := daemon.Running.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Signal(ctx, run.ID, "go", map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	if r := <-waited; r == nil || r.Err() != nil || !json.Valid(r.Raw) {
		t.Errorf("%+v", r)
	}
	seen := map[string]int{}
	for k := range kinds {
		seen[k]++
	}
	if seen["signal.received"] != 1 || seen["run.completed"] != 1 || seen["run.created"] != 0 {
		t.Error(seen)
	}
	n := 0
	for row, err := range c.Runs(ctx, client.RunFilter{Labels: of}) {
		if err != nil || row.ID != run.ID {
			t.Error(row, err)
		}
		n++
	}
	if n != 1 {
		t.Error(n, "runs")
	}
	wrong, err := client.New(daemon.Running.URL, client.Token("wrong"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Run(ctx, run.ID); !errors.Is(err, client.ErrUnauthorized) {
		t.Error(err)
	}
}

// Triggers are made, listed page by page, paused and deleted, and what is refused says so.
func TestTriggers(t *testing.T) {
	c, err := client.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := c.Register(ctx, "tick.yaml", []byte("name: tick\nnodes: {a: {end: completed}}")); err != nil {
		t.Fatal(err)
	}
	spec := client.ScheduleSpec{Cron: "0 0 1 1 *", Zone: "Europe/Berlin", Workflow: "tick", Input: json.RawMessage(`{"n": 9007199254740993}`), Window: client.Duration(90 * time.Minute)}
	for i := range 60 {
		if err := c.SetTrigger(ctx, fmt.Sprintf("yearly-%02d", i), spec, false, "a test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetTrigger(ctx, "yearly-00", spec, false, ""); err != nil {
		t.Errorf("as it is there: %v", err)
	}
	var names []string
	for s, err := range c.ListSchedules(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Name)
	}
	if len(names) != 60 || !slices.IsSorted(names) {
		t.Errorf("%d schedules: %v", len(names), names)
	}
	s, err := c.GetSchedule(ctx, "yearly-07")
	if err != nil || len(s.Dues) != 5 || !s.Next.Equal(s.Dues[0]) || !strings.Contains(string(s.Spec), "9007199254740993") || !strings.Contains(string(s.Spec), "5400000000000") {
		t.Errorf("%+v, %v: %s", s, err, s.Spec)
	}
	year := time.Now().UTC().Year()
	if queued, there, err := c.Backfill(ctx, "yearly-07", time.Date(year-1, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 2, 1, 0, 0, 0, 0, time.UTC)); err != nil || len(queued) != 1 || there != 0 {
		t.Errorf("%v %d %v", queued, there, err)
	}
	if err := c.PauseTrigger(ctx, client.Schedules, "yearly-07", "holidays"); err != nil {
		t.Error(err)
	}
	if s, err := c.GetSchedule(ctx, "yearly-07"); err != nil || !s.Paused || s.PauseReason != "holidays" || !s.Next.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	if err := c.SetTrigger(ctx, "push", client.HookInSpec{Secret: "PUSH", Workflow: "tick", If: "webhook.body.n > 1"}, false, ""); err != nil {
		t.Error(err)
	}
	if h, err := c.GetHookIn(ctx, "push"); err != nil || h.Path != "/hooks/push" || h.Namespace != "default" {
		t.Errorf("%+v, %v", h, err)
	}
	if err := c.SetTrigger(ctx, "tell", client.HookOutSpec{URL: "https://example.org/x", Secret: "TELL", GiveUp: client.Duration(time.Hour)}, false, ""); err != nil {
		t.Error(err)
	}
	for h, err := range c.ListHooksOut(ctx) {
		if err != nil || h.Name != "tell" || h.Dead {
			t.Errorf("%+v, %v", h, err)
		}
	}
	spec.Cron = "61 * * * *"
	if err := c.SetTrigger(ctx, "wrong", spec, false, ""); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("a cron expression that is none: %v", err)
	}
	for kind, name := range map[client.Trigger]string{client.HooksOut: "tell", client.HooksIn: "push", client.Schedules: "yearly-07"} {
		if err := c.DeleteTrigger(ctx, kind, name, ""); err != nil {
			t.Error(err)
		}
		if err := c.ResumeTrigger(ctx, kind, name, ""); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("%s %s is deleted: %v", kind, name, err)
		}
	}
}
