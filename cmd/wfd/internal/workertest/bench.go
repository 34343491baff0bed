package workertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
)

const (
	// lease is what every worker gets: long enough for a slow machine, short enough to
	// be waited for.
	lease = 3 * time.Second
	queue = "worker-test"
	// maxBody is more than the API takes.
	maxBody = 20 << 20
)

// bench is a daemon, and what stands between it and the worker.
type bench struct {
	dir   string
	token string
	addr  string
	slog  *slog.Logger

	c    *client.Client // of the API, past the bench
	http *http.Server
	done chan error // of http

	mu      sync.Mutex
	host    *host.Host // nil: the daemon is away
	under   sync.WaitGroup
	calls   []*call
	rule    rule
	changed chan struct{} // closed at the next call
}

// call is something that the worker said.
type call struct {
	verb   string // poll, heartbeat, complete, fail, release
	task   string
	at     time.Time
	body   map[string]json.RawMessage
	status int               // of the answer; 0: it was not answered
	answer json.RawMessage   // as the API gave it
	given  []json.RawMessage // tasks, of a poll
}

// token is what the call was said with.
func (c *call) token() string {
	var s string
	json.Unmarshal(c.body["token"], &s)
	return s
}

// verdict is what becomes of a call. The zero value has it answered as the API does.
type verdict struct {
	refuse int    // with this status, instead of asking the API
	slug   string // of the problem
	drop   bool   // the connection ends without the answer
}

// rule says what becomes of a call. It is called with bench.mu held.
type rule func(*call) verdict

func openBench(ctx context.Context, dir string, log *slog.Logger) (*bench, error) {
	b := &bench{dir: dir, token: rand.Text(), addr: "127.0.0.1:0", slog: log, changed: make(chan struct{})}
	if err := b.up(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// register registers the workflow whose tasks are for a handler.
func (b *bench) register(ctx context.Context, handler string) error {
	definition, err := json.Marshal(map[string]any{"name": "worker-test", "nodes": map[string]any{"work": map[string]any{
		"worker": map[string]any{"worker": handler, "input": "${input}"}, "queue": queue, "timeout": "5m", "retry": map[string]any{"max": 3, "backoff": "50ms"},
	}}})
	if err == nil {
		_, err = b.c.Register(ctx, "worker-test.json", definition)
	}
	return err
}

// up opens the directory and serves it, at the address it had before.
func (b *bench) up(ctx context.Context) error {
	h, err := host.Open(host.Options{Dir: b.dir, Logger: b.slog, Token: b.token, Workers: true})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", b.addr)
	if err != nil {
		return errors.Join(err, h.Close())
	}
	if err := h.Start(ctx); err != nil {
		l.Close()
		return errors.Join(err, h.Close())
	}
	b.addr = l.Addr().String()
	b.mu.Lock()
	b.host = h
	b.mu.Unlock()
	b.http, b.done = &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second}, make(chan error, 1)
	go func(s *http.Server, done chan<- error) { done <- s.Serve(l) }(b.http, b.done)
	b.c, err = client.New("wfd", client.Transport(api.Inside(h.API, "worker-test")), client.Patience(0))
	return err
}

// down is as if the daemon were stopped: nobody listens.
func (b *bench) down() error {
	b.mu.Lock()
	h := b.host
	b.host = nil
	b.mu.Unlock()
	b.http.Close()
	<-b.done
	b.under.Wait()
	return h.Close()
}

// enter returns the daemon for a request, which leaves it in the end.
func (b *bench) enter() (h *host.Host, leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.host == nil {
		panic(http.ErrAbortHandler)
	}
	b.under.Add(1)
	return b.host, b.under.Done
}

// ServeHTTP implements http.Handler.
func (b *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, leave := b.enter()
	defer leave()
	c, ok := callOf(r)
	if !ok {
		h.API.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the worker has gone
	}
	json.Unmarshal(body, &c.body) // what is none is for the API to refuse
	if c.verb == "poll" && c.body != nil {
		c.body["lease"] = json.RawMessage(`"` + lease.String() + `"`)
		body, _ = json.Marshal(c.body) // of JSON
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	v := b.judge(c)
	answer := &recorder{header: http.Header{}}
	if v.refuse != 0 {
		answer.header.Set("Content-Type", "application/problem+json")
		answer.header.Set("Retry-After", "1")
		answer.WriteHeader(v.refuse)
		fmt.Fprintf(answer, `{"type": "urn:wfd:problem:%s", "status": %d, "title": "worker-test says so", "detail": "worker-test says so"}`, v.slug, v.refuse)
	} else {
		h.API.ServeHTTP(answer, r)
	}
	if v.drop {
		b.answered(c, answer)
		panic(http.ErrAbortHandler)
	}
	for k, v := range answer.header {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.status)
	w.Write(answer.body.Bytes())
	http.NewResponseController(w).Flush() // a worker that has gone needs no answer
	b.answered(c, answer)                 // what a check sees as said is on its way
}

// callOf returns what a request is about tasks, if it is.
func callOf(r *http.Request) (*call, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/tasks/")
	if !ok || r.Method != http.MethodPost {
		return nil, false
	}
	c := &call{verb: rest, at: time.Now()}
	if id, verb, ok := strings.Cut(rest, "/"); ok {
		c.task, c.verb = id, verb
	}
	return c, true
}

// judge notes a call and returns what becomes of it.
func (b *bench) judge(c *call) (v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, c)
	if b.rule != nil {
		v = b.rule(c)
	}
	b.ring()
	return v
}

func (b *bench) answered(c *call, a *recorder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.status, c.answer = a.status, a.body.Bytes()
	if c.verb == "poll" {
		var p struct{ Tasks []json.RawMessage }
		json.Unmarshal(c.answer, &p) // a problem has none
		c.given = p.Tasks
	}
	b.ring()
}

// ring wakes those who wait. Called with mu held.
func (b *bench) ring() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// setRule has calls judged by r from now on; nil: as the API does.
func (b *bench) setRule(r rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rule = r
}

// forget forgets what was said, and answered.
func (b *bench) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = slices.DeleteFunc(b.calls, answered)
}

// said returns what was said with one of verbs; no verbs: all.
func (b *bench) said(verbs ...string) (out []*call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		if len(verbs) == 0 || slices.Contains(verbs, c.verb) {
			copied := *c
			out = append(out, &copied)
		}
	}
	return out
}

// until waits until a call is as wanted, and returns the first that is; nil: none was in
// time.
func (b *bench) until(ctx context.Context, within time.Duration, wanted func(*call) bool) *call {
	if found := b.untilN(ctx, within, 1, wanted); len(found) > 0 {
		return found[0]
	}
	return nil
}

// untilN waits until n calls are as wanted, and returns those that are.
func (b *bench) untilN(ctx context.Context, within time.Duration, n int, wanted func(*call) bool) []*call {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		found := slices.DeleteFunc(b.said(), func(c *call) bool { return !wanted(c) })
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-timer.C:
			return found
		case <-ctx.Done():
			return found
		}
	}
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}
