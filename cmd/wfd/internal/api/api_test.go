package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// moody is a log whose appends fail when they are told to, and that tells of
// commits.
type moody struct {
	eventlog.Log
	mu   sync.Mutex
	err  error
	next chan struct{}
}

func (l *moody) Append(ctx context.Context, a eventlog.Append) (eventlog.Seq, error) {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	seq, err := l.Log.Append(ctx, a)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.next)
	l.next = make(chan struct{})
	return seq, err
}

func (l *moody) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *moody) commit() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next
}

// server is an API over a socket.
type server struct {
	t   testing.TB
	url string
	api *API
	log *moody
}

const replies = `
nodes:
  slow: {text: done, delay: 300ms}
  never: {text: done, delay: 1h}
  told: {text: done, delay: 300ms}
default: {text: ok}
`

func serve(t *testing.T, change func(*Options)) *server {
	t.Helper()
	answers, err := agent.ParseReplies("replies", []byte(replies))
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, engine.Options{Replies: agent.RunnerFunc(func(ctx context.Context, t *agent.Task) agent.Answer {
		a := answers.Runner().Run(ctx, t)
		if t.Node == "told" {
			t.Show("Once ")
			t.Show("upon\na time")
		}
		return a
	})}, change)
}

func serveOn(t testing.TB, o engine.Options, change func(*Options)) *server {
	t.Helper()
	log := &moody{Log: eventlogtest.NewMemory(), next: make(chan struct{})}
	views, err := projection.Open(filepath.Join(t.TempDir(), "views"), log, projection.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := engine.New(log, views, o)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ao := Options{Engine: e, Log: log, Views: views, Commit: log.commit, Version: "test", Hosts: func() []string { return []string{"127.0.0.1", "localhost"} }}
	if change != nil {
		change(&ao)
	}
	s := &server{t: t, api: New(ao), log: log}
	ts := httptest.NewServer(s.api)
	s.url = ts.URL
	t.Cleanup(func() {
		s.api.Drain()
		http.DefaultClient.CloseIdleConnections()
		ts.Close()
		e.Stop()
		if err := views.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// do makes a request with headers "Name: value" and returns the answer.
func (s *server) do(method, path, body string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		switch k {
		case "Host":
			req.Host = v
		case "Content-Type":
			req.Header.Set(k, v)
		default:
			req.Header.Add(k, v)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(b)
}

// want makes a request that must be answered with a status.
func (s *server) want(status int, method, path, body string, headers ...string) string {
	s.t.Helper()
	resp, b := s.do(method, path, body, headers...)
	if resp.StatusCode != status {
		s.t.Fatalf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, status, b)
	}
	return b
}

func (s *server) apply(text string) {
	s.t.Helper()
	s.want(201, "POST", "/v1/workflows", text, "Content-Type: application/yaml")
}

// start starts a run and returns its ID.
func (s *server) start(name, body string, headers ...string) string {
	s.t.Helper()
	return field(s.t, s.want(201, "POST", "/v1/workflows/"+name+"/runs", body, headers...), "id")
}

func field(t testing.TB, body, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return fmt.Sprint(m[name])
}

const (
	quick = "name: quick\nnodes: {a: {agent: x, prompt: A.}}"
	ask   = "name: ask\nnodes: {q: {human: {prompt: OK?, form: {type: boolean}}}}"
	hang  = "name: hang\nnodes: {never: {agent: x, prompt: A.}}"
	slow  = "name: slow\nnodes: {slow: {agent: x, prompt: A.}}"
)

// Every error is a problem of a known type, with its status, and says what is
// wrong.
func TestProblems(t *testing.T) {
	s := serve(t, nil)
	s.apply(quick)
	s.apply(ask)
	s.apply("name: typed\ninput: {type: object, required: [n], properties: {n: {type: integer}}}\nnodes: {a: {end: completed}}")
	s.apply("name: Two-Names\nnodes: {a: {end: completed}}")
	s.apply("name: two_names\nnodes: {a: {end: completed}}")
	id := s.start("ask", "")
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, c := range []struct {
		method, path, body string
		headers            []string
		status             int
		slug, text         string
	}{
		{"GET", "/v1/nonsense", "", nil, 404, "not-found", "/v1/nonsense"},
		{"DELETE", "/v1/runs", "", nil, 405, "method-not-allowed", "GET"},
		{"GET", "/v1/runs/nonsense", "", nil, 404, "not-found", "ULID"},
		{"GET", "/v1/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV", "", nil, 404, "not-found", ""},
		{"GET", "/v1/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV/events", "", nil, 404, "not-found", ""},
		{"GET", "/v1/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV/checkpoints", "", nil, 404, "not-found", ""},
		{"GET", "/v1/workflows/nonsense", "", nil, 404, "not-found", "nonsense"},
		{"GET", "/v1/workflows/TWO-names", "", nil, 409, "ambiguous", "Two-Names or two_names"},
		{"GET", "/v1/runs?status=strange", "", nil, 422, "invalid", "status"},
		{"GET", "/v1/runs?limit=0", "", nil, 422, "invalid", "limit"},
		{"GET", "/v1/runs?cursor=strange", "", nil, 422, "invalid", "cursor"},
		{"GET", "/v1/runs?label=strange", "", nil, 422, "invalid", "key=value"},
		{"GET", "/v1/runs/" + id + "?wait=long", "", nil, 422, "invalid", "duration"},
		{"GET", "/v1/runs/" + id + "/state?at=strange", "", nil, 422, "invalid", "seq"},
		{"GET", "/v1/runs/" + id + "/state?at=v99", "", nil, 404, "not-found", "version"},
		{"GET", "/v1/runs/" + id + "/events?kind=strange", "", nil, 422, "invalid", "kind"},
		{"GET", "/v1/events?cursor=strange", "", nil, 422, "invalid", "seq"},
		{"POST", "/v1/workflows", "nam: x", []string{"Content-Type: application/yaml"}, 422, "invalid-definition", `"line":1`},
		{"POST", "/v1/workflows", "x", []string{"Content-Type: application/pdf"}, 415, "media-type", "pdf"},
		{"POST", "/v1/workflows", strings.Repeat("#", 1<<20+1), []string{"Content-Type: application/yaml"}, 413, "too-large", ""},
		{"POST", "/v1/workflows/quick/runs", `{`, nil, 400, "malformed", "JSON"},
		{"POST", "/v1/workflows/quick/runs", `{"input":1} x`, nil, 400, "malformed", "JSON"},
		{"POST", "/v1/workflows/quick/runs", `{"input":1,"input":2}`, nil, 400, "malformed", "twice"},
		{"POST", "/v1/workflows/quick/runs", `{"input":` + deep + `}`, nil, 400, "malformed", "deeper"},
		{"POST", "/v1/workflows/quick/runs", "{\"input\":\"\xff\"}", nil, 400, "malformed", "UTF-8"},
		{"POST", "/v1/workflows/quick/runs", `{"input":1e999}`, nil, 400, "malformed", "range"},
		{"POST", "/v1/workflows/quick/runs", `{"inptu":1}`, nil, 422, "invalid", "inptu"},
		{"POST", "/v1/workflows/quick/runs", `{"id":"x"}`, nil, 422, "invalid", "ULID"},
		{"POST", "/v1/workflows/quick/runs", `{"labels":{"a":1}}`, nil, 422, "invalid", "labels"},
		{"POST", "/v1/workflows/quick/runs", `<input/>`, []string{"Content-Type: application/xml"}, 415, "media-type", ""},
		{"POST", "/v1/workflows/quick/runs", `{}`, []string{"Idempotency-Key: " + strings.Repeat("k", 300)}, 422, "invalid", "Idempotency-Key"},
		{"POST", "/v1/workflows/typed/runs", `{"input":{"n":"x"}}`, nil, 422, "invalid", "/n"},
		{"POST", "/v1/workflows/quick/runs", `{"input":"` + strings.Repeat("x", payloadLimit) + `"}`, nil, 413, "too-large", ""},
		{"POST", "/v1/runs/" + id + "/answer", `{"value":"yes"}`, nil, 422, "invalid", "answer to q"},
		{"POST", "/v1/runs/" + id + "/answer", `{"node":"nobody","value":true}`, nil, 404, "not-found", "nobody"},
		{"POST", "/v1/runs/" + id + "/answer", `{}`, nil, 422, "invalid", "value"},
		{"POST", "/v1/runs/" + id + "/answer", ``, nil, 400, "malformed", "body"},
		{"POST", "/v1/runs/" + id + "/signal", `{"name":""}`, nil, 422, "invalid", "name"},
		{"POST", "/v1/runs/" + id + "/resume", ``, nil, 409, "refused", "waiting"},
		{"POST", "/v1/runs/" + id + "/retry", ``, nil, 409, "refused", "waiting"},
		{"POST", "/v1/runs/" + id + "/restore", `{"to":"nothing"}`, nil, 404, "not-found", "nothing"},
		{"POST", "/v1/runs/" + id + "/checkpoint", `{}`, nil, 422, "invalid", "name"},
		{"GET", "/livez", "", []string{"Host: evil.example"}, 403, "forbidden", "evil.example"},
		{"POST", "/v1/runs/" + id + "/cancel", ``, []string{"Origin: https://evil.example"}, 403, "forbidden", ""},
		{"POST", "/v1/runs/" + id + "/cancel", ``, []string{"Sec-Fetch-Site: cross-site"}, 403, "forbidden", ""},
	} {
		resp, body := s.do(c.method, c.path, c.body, c.headers...)
		var p Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != c.status || p.Status != c.status || !p.OfType(c.slug) || p.Title != Types[c.slug].Title {
			t.Errorf("%s %s: %d %s, want %d %s: %v", c.method, c.path, resp.StatusCode, body, c.status, c.slug, err)
			continue
		}
		if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
			t.Errorf("%s %s: content type %s", c.method, c.path, ct)
		}
		if p.Detail == "" || !strings.Contains(body, c.text) {
			t.Errorf("%s %s: %q does not say %q", c.method, c.path, body, c.text)
		}
		if len(body) > 4096 {
			t.Errorf("%s %s: the problem has %d bytes", c.method, c.path, len(body))
		}
	}
	if resp, _ := s.do("DELETE", "/v1/runs", ""); resp.Header.Get("Allow") != "GET" {
		t.Errorf("Allow: %s", resp.Header.Get("Allow"))
	}
}

// A start and a command that are repeated with their key are done once.
func TestIdempotency(t *testing.T) {
	s := serve(t, nil)
	s.apply(ask)
	id := s.start("ask", `{"input":{"a":1}}`, "Idempotency-Key: k1")
	if again := field(t, s.want(200, "POST", "/v1/workflows/ask/runs", `{"input":{"a":1}}`, "Idempotency-Key: k1"), "id"); again != id {
		t.Errorf("repeated: run %s, first was %s", again, id)
	}
	s.want(409, "POST", "/v1/workflows/ask/runs", `{"input":{"a":2}}`, "Idempotency-Key: k1")
	for range 3 {
		s.want(200, "POST", "/v1/runs/"+id+"/pause", "", "Idempotency-Key: k2")
	}
	s.want(409, "POST", "/v1/runs/"+id+"/pause", "")
	for _, kinds := range []string{"kind=node.&kind=run.paused", "kind=run.paused&kind=node.", "kind=node.,run.paused"} {
		b := s.want(200, "GET", "/v1/runs/"+id+"/events?"+kinds, "")
		if !strings.Contains(b, `"run.paused"`) || !strings.Contains(b, `"node.scheduled"`) || strings.Contains(b, `"run.created"`) {
			t.Errorf("%s: %s", kinds, b)
		}
	}
	if n := strings.Count(s.want(200, "GET", "/v1/runs/"+id+"/events?kind=run.paused", ""), `"run.paused"`); n != 1 {
		t.Errorf("%d pauses in the log", n)
	}
	s.want(200, "POST", "/v1/runs/"+id+"/resume", "")
	for range 2 { // the second time the run is completed, and its key is still known
		s.want(200, "POST", "/v1/runs/"+id+"/answer", `{"node":"q","value":true}`, "Idempotency-Key: k3")
		s.want(200, "GET", "/v1/runs/"+id+"?wait=10s", "")
	}
	s.want(409, "POST", "/v1/runs/"+id+"/answer", `{"node":"q","value":true}`)
}

// A long poll answers once the run is settled, or when its time is up, or when
// the API drains; what is answered is the run as it stands.
func TestLongPoll(t *testing.T) {
	s := serve(t, nil)
	s.apply(slow)
	s.apply(ask)
	s.apply(hang)
	id := s.start("slow", "")
	began := time.Now()
	if got := field(t, s.want(200, "GET", "/v1/runs/"+id+"?wait=30s", ""), "status"); got != "completed" || time.Since(began) > 20*time.Second {
		t.Errorf("%s after %s", got, time.Since(began))
	}
	id = s.start("ask", "")
	if got := field(t, s.want(200, "GET", "/v1/runs/"+id+"?wait=30s&until=idle", ""), "status"); got != "waiting" {
		t.Errorf("idle: %s", got)
	}
	if got := field(t, s.want(200, "GET", "/v1/runs/"+id+"?wait=50ms", ""), "status"); got != "waiting" {
		t.Errorf("time is up: %s", got)
	}
	id = s.start("hang", "")
	time.AfterFunc(50*time.Millisecond, s.api.Drain)
	began = time.Now()
	if got := field(t, s.want(200, "GET", "/v1/runs/"+id+"?wait=60s", ""), "status"); got != "running" || time.Since(began) > 20*time.Second {
		t.Errorf("drained: %s after %s", got, time.Since(began))
	}
}

// Lists come in pages whose cursors neither repeat nor skip.
func TestPages(t *testing.T) {
	s := serve(t, nil)
	s.apply(quick)
	want := map[string]bool{}
	for range 7 {
		id := s.start("quick", `{"labels":{"team":"red"}}`)
		s.want(200, "GET", "/v1/runs/"+id+"?wait=30s", "")
		want[id] = true
	}
	for _, path := range []string{"/v1/runs?limit=3", "/v1/runs?limit=3&label=team%3Dred&status=completed&workflow=QUICK"} {
		seen := map[string]bool{}
		for cursor := ""; ; {
			var list List[struct{ ID string }]
			if err := json.Unmarshal([]byte(s.want(200, "GET", path+"&cursor="+cursor, "")), &list); err != nil {
				t.Fatal(err)
			}
			for _, r := range list.Items {
				if seen[r.ID] || !want[r.ID] {
					t.Errorf("%s: run %s is repeated, or none of ours", path, r.ID)
				}
				seen[r.ID] = true
			}
			if cursor = list.Next; cursor == "" {
				break
			}
		}
		if len(seen) != len(want) {
			t.Errorf("%s: %d runs, want %d", path, len(seen), len(want))
		}
	}
	var last uint64
	for cursor := ""; ; {
		var list List[struct{ Seq uint64 }]
		if err := json.Unmarshal([]byte(s.want(200, "GET", "/v1/events?limit=5&cursor="+cursor, "")), &list); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Seq != last+1 {
				t.Fatalf("event %d follows %d", e.Seq, last)
			}
			last = e.Seq
		}
		if cursor = list.Next; cursor == "" {
			break
		}
	}
	if head := s.log.Head(); uint64(head) != last {
		t.Errorf("the pages end at %d, the log at %d", last, head)
	}
}

// A token is asked for everywhere but at the health checks.
func TestToken(t *testing.T) {
	s := serve(t, func(o *Options) { o.Token = "secret" })
	s.want(200, "GET", "/livez", "")
	s.want(200, "GET", "/readyz", "")
	for _, path := range []string{"/v1/runs", "/v1/events", "/openapi.json", "/v1/schema", "/nonsense", "/v1/../livez/../v1/runs"} {
		s.want(401, "GET", path, "")
		s.want(401, "GET", path, "", "Authorization: Bearer wrong")
		s.want(401, "GET", path, "", "Authorization: Basic secret")
		s.want(401, "GET", path, "", "Authorization: Bearer secret", "Authorization: Bearer secret")
	}
	s.want(200, "GET", "/v1/runs", "", "Authorization: Bearer secret")
	s.want(200, "GET", "/v1/runs", "", "Authorization: bearer secret")
}

// A disk that is full refuses and goes on; an outcome that is not known stops the
// engine, and readiness goes red while reads go on.
func TestStorageFails(t *testing.T) {
	s := serve(t, nil)
	s.apply(ask)
	id := s.start("ask", "")
	s.log.fail(fmt.Errorf("no space: %w", eventlog.ErrFull))
	if b := s.want(507, "POST", "/v1/runs/"+id+"/pause", ""); !strings.Contains(b, "disk-full") {
		t.Error(b)
	}
	s.want(200, "GET", "/readyz", "")
	s.log.fail(nil)
	s.want(200, "POST", "/v1/runs/"+id+"/pause", "")
	s.log.fail(fmt.Errorf("EIO: %w", eventlog.ErrUnknown))
	if b := s.want(503, "POST", "/v1/runs/"+id+"/resume", ""); !strings.Contains(b, "outcome-unknown") || !strings.Contains(b, "same Idempotency-Key") {
		t.Error(b)
	}
	s.log.fail(nil)
	s.want(503, "POST", "/v1/runs/"+id+"/resume", "")
	s.want(503, "POST", "/v1/workflows", quick, "Content-Type: application/yaml")
	s.want(503, "GET", "/readyz", "")
	s.want(200, "GET", "/livez", "")
	s.want(200, "GET", "/v1/runs/"+id, "")
	s.want(200, "GET", "/v1/runs/"+id+"/events", "")
}

// The description of the API names every operation once, in version 3.1.
func TestOpenAPI(t *testing.T) {
	s := serve(t, nil)
	var spec struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ OperationID, Summary string }
	}
	if err := json.Unmarshal([]byte(s.want(200, "GET", "/openapi.json", "")), &spec); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Errorf("version %s", spec.OpenAPI)
	}
	seen := map[string]bool{}
	for path, ops := range spec.Paths {
		for method, op := range ops {
			if op.OperationID == "" || op.Summary == "" || seen[op.OperationID] {
				t.Errorf("%s %s: operation %q, %q", method, path, op.OperationID, op.Summary)
			}
			seen[op.OperationID] = true
		}
	}
	for _, path := range []string{"/v1/workflows", "/v1/runs/{id}", "/v1/runs/{id}/events", "/v1/inbox", "/readyz"} {
		if spec.Paths[path] == nil {
			t.Errorf("%s is missing", path)
		}
	}
}

// lines reads a stream line by line in the background.
func lines(t *testing.T, s *server, path string, headers ...string) (<-chan string, *http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan string, 1024)
	go func() {
		defer close(ch)
		defer resp.Body.Close()
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			ch <- sc.Text()
		}
	}()
	return ch, resp, cancel
}

func readUntil(t *testing.T, ch <-chan string, text string) (all []string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case l, ok := <-ch:
			if !ok {
				t.Fatalf("the stream ended before %q: %q", text, all)
			}
			if all = append(all, l); strings.Contains(l, text) {
				return all
			}
		case <-timeout:
			t.Fatalf("%q does not come: %q", text, all)
		}
	}
}

func readToEnd(t *testing.T, ch <-chan string) (all []string) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case l, ok := <-ch:
			if !ok {
				return all
			}
			all = append(all, l)
		case <-timeout:
			t.Fatalf("the stream does not end: %q", all)
		}
	}
}

// Server-sent events follow a run as it goes, end with it, and resume after the
// last one that a client has seen; there being nothing more, 204 says so.
func TestServerSentEvents(t *testing.T) {
	s := serve(t, nil)
	s.apply(ask)
	id := s.start("ask", "")
	path := "/v1/runs/" + id + "/events"
	ch, resp, cancel := lines(t, s, path, "Accept: text/event-stream")
	defer cancel()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %s", ct)
	}
	first := readUntil(t, ch, `"kind":"run.waiting"`)
	var last string
	for _, l := range first {
		if n, ok := strings.CutPrefix(l, "id: "); ok {
			last = n
		}
	}
	cancel()
	readToEnd(t, ch)
	resumed, _, cancel2 := lines(t, s, path, "Accept: text/event-stream", "Last-Event-ID: "+last)
	defer cancel2()
	s.want(200, "POST", "/v1/runs/"+id+"/answer", `{"value":true}`)
	rest := strings.Join(readToEnd(t, resumed), "\n")
	if strings.Contains(rest, "run.waiting") || strings.Contains(rest, "run.created") || !strings.Contains(rest, "event: input.received") || !strings.Contains(rest, "event: run.completed") {
		t.Errorf("resumed: %s", rest)
	}
	s.want(204, "GET", path, "", "Accept: text/event-stream", fmt.Sprintf("Last-Event-ID: %d", s.log.Head()))
}

// Pieces of answers come between the events, if they are asked for; they have no id, so
// that a client resumes after the last event.
func TestTokens(t *testing.T) {
	s := serve(t, nil)
	s.apply("name: told\nnodes: {told: {exec: {command: [x]}}}\n")
	for accept, want := range map[string]string{
		"text/event-stream":    "event: token\ndata: {\"run\":%q,\"node\":\"told\",\"visit\":1,\"attempt\":1,\"text\":\"upon\\na time\"}\n",
		"application/x-ndjson": "{\"kind\":\"token\",\"data\":{\"run\":%q,\"node\":\"told\",\"visit\":1,\"attempt\":1,\"text\":\"upon\\na time\"}}\n",
	} {
		id := s.start("told", "")
		path := "/v1/runs/" + id + "/events?follow=true"
		with, _, cancel := lines(t, s, path+"&tokens=true", "Accept: "+accept)
		without, _, cancel2 := lines(t, s, path, "Accept: "+accept)
		got := strings.Join(readToEnd(t, with), "\n")
		if want := fmt.Sprintf(want, id); !strings.Contains(got, want) || strings.Index(got, want) > strings.Index(got, "node.completed") {
			t.Errorf("%s: %s\nwant %s", accept, got, want)
		}
		if got := strings.Join(readToEnd(t, without), "\n"); strings.Contains(got, "upon") || !strings.Contains(got, "run.completed") {
			t.Errorf("%s, not asked for: %s", accept, got)
		}
		cancel()
		cancel2()
	}
}

// NDJSON is one event a line; it ends at the present end unless told to follow.
func TestNDJSON(t *testing.T) {
	s := serve(t, nil)
	s.apply(slow)
	id := s.start("slow", "")
	path := "/v1/runs/" + id + "/events"
	now, _, cancel := lines(t, s, path, "Accept: application/x-ndjson")
	defer cancel()
	for _, l := range readToEnd(t, now) {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %s", l)
		}
	}
	all, _, cancel2 := lines(t, s, path+"?follow=true&kind=run.", "Accept: application/x-ndjson")
	defer cancel2()
	if got := readToEnd(t, all); len(got) != 2 || !strings.Contains(got[0], "run.created") || !strings.Contains(got[1], "run.completed") {
		t.Errorf("followed: %q", got)
	}
	log, _, cancel3 := lines(t, s, "/v1/events?follow=true", "Accept: application/x-ndjson")
	s.start("slow", "")
	readUntil(t, log, `"kind":"node.completed"`)
	cancel3()
	readToEnd(t, log)
}

// A client that does not read holds nothing up, and streams are bounded.
func TestSlowClients(t *testing.T) {
	s := serve(t, nil)
	s.apply(ask)
	s.apply(quick)
	var stops []context.CancelFunc
	for range maxStreams {
		s.api.streams <- struct{}{}
	}
	if b := s.want(429, "GET", "/v1/events", "", "Accept: text/event-stream"); !strings.Contains(b, "busy") {
		t.Error(b)
	}
	for range maxStreams {
		<-s.api.streams
	}
	for range 20 {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url+"/v1/events", nil)
		req.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, func() { resp.Body.Close() }) // and never read from
	}
	big, err := json.Marshal(map[string]any{"input": string(bytes.Repeat([]byte("x"), 1<<20))})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		id := s.start("quick", string(big))
		if got := field(t, s.want(200, "GET", "/v1/runs/"+id+"?wait=30s", ""), "status"); got != "completed" {
			t.Errorf("with slow clients: %s", got)
		}
	}
	for _, stop := range stops {
		stop()
	}
}
