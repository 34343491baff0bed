package main

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/otlp/otlptest"
)

// receiver takes traces as a collector does. While it is down it answers 503.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	down  bool
	spans map[string]otlptest.Seen // by ID
	twice int                      // spans that came again
}

func receive(t *testing.T) *receiver {
	r := &receiver{spans: map[string]otlptest.Seen{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body := io.Reader(q.Body)
		if q.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(q.Body); err != nil {
				t.Error(err)
				return
			}
		}
		b, err := io.ReadAll(body)
		if err != nil || q.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", q.URL, err)
		}
		spans, err := otlptest.Read(b)
		if err != nil {
			t.Errorf("no request of OTLP: %v", err)
		}
		for _, s := range spans {
			if old, ok := r.spans[s.Span]; ok {
				if r.twice++; old.Trace != s.Trace || old.Parent != s.Parent || old.Name != s.Name {
					t.Errorf("span %s is %+v and %+v", s.Span, old, s)
				}
			}
			r.spans[s.Span] = s
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) has(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.Name == name {
			return true
		}
	}
	return false
}

const tracedSource = `
name: traced
nodes:
  ask: {agent: sara, prompt: "the quick brown fox"}
  fails: {exec: {command: ["false"]}, needs: [ask], retry: {max: 2, backoff: 10ms}, on_error: show}
  show: {exec: {command: [sh, -c, "echo $TRACEPARENT"]}}
  below: {workflow: inner, needs: [show]}
  person: {human: {prompt: well?}, needs: [below]}
`

// A trace of a run, and of the runs under it, is complete and the same whoever makes it: a
// daemon that is killed in the middle and whose receiver is away for a while, or somebody
// who asks later. What agents said is not in it unless asked for.
func TestTraces(t *testing.T) {
	wfd, err := exec.LookPath("wfd")
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inner := write("inner.yaml", "name: inner\nnodes: {a: {exec: {command: [\"true\"]}}}\n")
	outer := write("traced.yaml", tracedSource)
	data := filepath.Join(dir, "data")
	serve := func() (*exec.Cmd, string) {
		cmd := exec.Command(wfd, "serve", "--data", data, "--addr", "127.0.0.1:0", "--log-level", "error", "--otlp", r.URL)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "OPENAI_API_KEY=", "ANTHROPIC_API_KEY=")
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		b := make([]byte, 256)
		n, err := out.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		url := strings.TrimSpace(string(b[:n]))
		comes(t, "ready", func() bool {
			resp, err := http.Get(url + "/readyz")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == 200
		})
		return cmd, url
	}
	call := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(wfd, args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("wfd %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	daemon, url := serve()
	call("workflow", "apply", inner, "--addr", url)
	call("workflow", "apply", outer, "--addr", url)
	start := func(workflow, caller string) (run struct{ ID string }) {
		t.Helper()
		req, err := http.NewRequest("POST", url+"/v1/workflows/"+workflow+"/runs", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Traceparent", caller)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&run)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 201 {
			t.Fatal(resp.Status, err)
		}
		return run
	}
	const caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	const unsampled = "aaaabbbbccccdddd8448eb211c80319c" // whoever began it does not record it
	silent := start("inner", "00-"+unsampled+"-b7ad6b7169203331-00")
	run := start("traced", caller)
	comes(t, "the first spans", func() bool { return r.has("node ask") })
	r.mu.Lock()
	r.down = true
	r.mu.Unlock()
	comes(t, "the question", func() bool { return strings.Contains(call("inbox", "--addr", url), run.ID) })
	daemon.Process.Kill()
	daemon.Wait()
	r.mu.Lock()
	r.down = false
	r.mu.Unlock()
	daemon, url = serve()
	call("answer", run.ID, `{"yes": true}`, "--wait", "--addr", url)
	comes(t, "the run's span", func() bool { return r.has("workflow traced") })

	r.mu.Lock()
	for _, s := range r.spans {
		if s.Trace == unsampled {
			t.Errorf("%s was sent, of a trace that is not recorded", s.Name)
		}
	}
	r.mu.Unlock()
	if got := call("export", "--otlp", silent.ID, "--addr", url); !strings.Contains(got, unsampled) {
		t.Errorf("it is made of the log when it is asked for: %s", got)
	}

	// What was sent, and what is made of the log now.
	exported := call("export", "--otlp", run.ID, "--addr", url)
	spans, err := otlptest.ReadJSON([]byte(exported))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string][]otlptest.Seen{}
	r.mu.Lock()
	for _, s := range spans {
		byName[s.Name] = append(byName[s.Name], s)
		if got, ok := r.spans[s.Span]; !ok || got != s {
			t.Errorf("exported is %+v, and sent was %+v (%t)", s, got, ok)
		}
		if s.Trace != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s is in trace %s", s.Name, s.Trace)
		}
	}
	if len(spans) != len(r.spans) {
		t.Errorf("%d spans were sent, and %d exported", len(r.spans), len(spans))
	}
	r.mu.Unlock()
	for name, n := range map[string]int{"workflow traced": 1, "workflow inner": 1, "node ask": 1, "node fails": 2, "node show": 1, "node below": 1, "node person": 1, "node a": 1} {
		if len(byName[name]) != n {
			t.Errorf("%d spans are called %s, want %d", len(byName[name]), name, n)
		}
	}
	if t.Failed() {
		t.Fatal(exported)
	}
	root, model := byName["workflow traced"][0], slices.IndexFunc(spans, func(s otlptest.Seen) bool { return strings.HasPrefix(s.Name, "chat ") })
	switch {
	case root.Parent != "b7ad6b7169203331":
		t.Errorf("the run is below %s", root.Parent)
	case byName["workflow inner"][0].Parent != byName["node below"][0].Span:
		t.Error("the child run is not below the node that started it")
	case byName["node ask"][0].Parent != root.Span:
		t.Error("a node is not below its run")
	case model < 0 || spans[model].Parent != byName["node ask"][0].Span || !strings.Contains(exported, "gen_ai.usage.input_tokens"):
		t.Errorf("no call of a model is below its attempt: %s", exported)
	}
	// The program was told its own place.
	state := call("state", run.ID, "--addr", url, "-o", "json", "--jq", ".nodes.show.result.stdout")
	if want := "00-" + root.Trace + "-" + byName["node show"][0].Span + "-01"; state != want {
		t.Errorf("the program was told %q, want %q", state, want)
	}
	if strings.Contains(exported, "quick brown") {
		t.Error("content is exported")
	}
	if c := call("export", "--otlp", run.ID, "--otlp-content", "--addr", url); !strings.Contains(c, "wfd.output") {
		t.Error("content is not exported where it is asked for")
	}
	r.mu.Lock()
	before := len(r.spans)
	r.mu.Unlock()
	call("export", "--otlp", run.ID, "--endpoint", r.URL, "--addr", url)
	if r.mu.Lock(); len(r.spans) != before || r.twice == 0 {
		t.Errorf("sent again there are %d spans, and were %d", len(r.spans), before)
	}
	r.mu.Unlock()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !bytes.Contains(metrics, []byte("\nwfd_trace_dropped_events_total 0\n")) {
		t.Error("it is not counted what is dropped")
	}
	daemon.Process.Signal(os.Interrupt)
	if err := daemon.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := hex.DecodeString(root.Span); err != nil {
		t.Error(err)
	}
}

func comes(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not come", what)
		}
	}
}
