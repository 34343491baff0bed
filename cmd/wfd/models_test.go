package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// model-server starts a server that speaks OpenAI's language and behaves as the model
// that is asked says: well, badly or not at all. OPENAI_BASE_URL leads to it.
func modelServer(ts *testscript.TestScript, neg bool, args []string) {
	m := &models{asked: map[string]int{}}
	s := httptest.NewServer(m)
	ts.Defer(s.Close)
	ts.Defer(s.CloseClientConnections) // those who hang
	ts.Setenv("OPENAI_BASE_URL", s.URL)
	ts.Setenv("OPENAI_API_KEY", "sk-pl4nted-key")
}

// models answers as the model that is asked.
type models struct {
	mu    sync.Mutex
	asked map[string]int // by model
}

func (m *models) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model    string
		Messages []struct{ Role, Content string }
		Stream   bool
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(body, &q) != nil || len(q.Messages) == 0 {
		http.Error(w, "what?", http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.asked[q.Model]++
	n := m.asked[q.Model]
	m.mu.Unlock()
	last := q.Messages[len(q.Messages)-1].Content
	a := &saying{w: w, stream: q.Stream}
	switch q.Model {
	case "echo":
		a.say(strings.SplitAfter("You said: "+last, " ")...)
	case "slow":
		a.pause = time.Second // for a watcher to be there before the last line
		a.say("Once ", "upon ", "a time.\n", "The ", "end.")
	case "leak":
		a.say("The key is ", r.Header.Get("Authorization"), " and the prompt ", last)
	case "late-object":
		if strings.Contains(last, "Your last answer was refused") {
			a.say(`{"score": 0.9}`)
		} else {
			a.say(`I would say 0.9`)
		}
	case "never-object":
		a.say("Never.")
	case "limited":
		if n < 3 {
			w.Header().Set("Retry-After-Ms", "50")
			http.Error(w, `{"error": {"message": "slow down", "type": "rate_limit_error"}}`, http.StatusTooManyRequests)
			return
		}
		a.say("At last.")
	case "down":
		http.Error(w, `{"error": {"message": "the server is on fire"}}`, http.StatusInternalServerError)
	case "hang":
		<-r.Context().Done()
	case "closing":
		a.begin()
		a.piece("Once upon")
		panic(http.ErrAbortHandler)
	case "broken":
		a.begin()
		fmt.Fprint(w, "data: {\"choices\": [\n\n")
	case "huge":
		a.begin()
		for r.Context().Err() == nil {
			a.piece(strings.Repeat("x", 100<<10))
		}
	case "evil":
		a.say("\x1b]0;owned\x07\x1b[31mred <script>alert(1)</script>\n```json\n", `{"run.budget": 1, "run": {"x": 1}, "score": 0.1, "other_node": "b"}`, "\n```")
	}
}

// saying is one answer.
type saying struct {
	w      http.ResponseWriter
	stream bool
	pause  time.Duration
}

func (s *saying) begin() { s.w.Header().Set("Content-Type", "text/event-stream") }

func (s *saying) piece(text string) {
	t, _ := json.Marshal(text)
	fmt.Fprintf(s.w, "data: {\"model\":\"fake\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%s},\"finish_reason\":null}]}\n\n", t)
	s.w.(http.Flusher).Flush()
	time.Sleep(s.pause)
}

func (s *saying) say(pieces ...string) {
	const counts = `{"prompt_tokens":100,"completion_tokens":10,"total_tokens":110}`
	if !s.stream {
		t, _ := json.Marshal(strings.Join(pieces, ""))
		s.w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(s.w, `{"model":"fake","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":%s}`, t, counts)
		return
	}
	s.begin()
	for _, p := range pieces {
		s.piece(p)
	}
	fmt.Fprintf(s.w, "data: {\"model\":\"fake\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
	fmt.Fprintf(s.w, "data: {\"model\":\"fake\",\"choices\":[],\"usage\":%s}\n\ndata: [DONE]\n\n", counts)
}

// tinyDir is where a small model of flesh and blood is, if it is here.
const tinyDir = "../../../shared/tinyllm"

// tinyllm [flags] builds and starts the small model; OPENAI_BASE_URL leads to it.
func tinyllm(ts *testscript.TestScript, neg bool, args []string) {
	dir, err := filepath.Abs(filepath.Join(testDir, tinyDir))
	ts.Check(err)
	bin := filepath.Join(ts.Getenv("WORK"), "tinyllm")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		ts.Fatalf("%v\n%s", err, out)
	}
	addr := freeAddr(ts)
	cmd := exec.Command(bin, append([]string{"-addr", addr}, args...)...)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	ts.Setenv("OPENAI_BASE_URL", "http://"+addr+"/v1")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/v1/models"); err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the model does not answer")
		}
	}
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(ts *testscript.TestScript) string {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	return strings.TrimPrefix(s.URL, "http://")
}

// testDir is the directory of the tests: scripts run elsewhere.
var testDir, _ = os.Getwd()

func hasTinyllm() bool {
	_, err := os.Stat(filepath.Join(testDir, tinyDir, "main.go"))
	return err == nil
}
