package browser

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const root = "../../../.."

// playTime bounds all scenes together. They take a quarter of it on two idle cores.
const playTime = 8 * time.Minute

// only narrows down what is played.
var only = flag.String("scenes", "", "play only scenes whose name matches this")

// step is what play.mjs says on a line: a scene that ends, something that the daemon's
// keeper is to do, or a figure.
type step struct {
	Scene string `json:"scene"`
	Error string `json:"error"`
	Do    string `json:"do"`
	With  string `json:"with"`
	Note  string `json:"note"`
}

// The page does what it is for: the first five minutes, every screen in both themes and on
// a narrow one, the slider against the API at every event, a run followed live, the
// daemon killed under an open page, mistakes in watched files, and agents that write
// markup.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser is played")
	}
	chromium := needed(t)
	bin := filepath.Join(t.TempDir(), "wfd")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/wfd-dev/wfd/cmd/wfd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	model := slowModel(t)
	agents := filepath.Join(t.TempDir(), "agents")
	if err := os.Mkdir(agents, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{
		"slow": "provider: openai\nmodel: gpt-4.1\napi_key: ${secrets.SLOW}\nbase_url: " + model + "/v1\n",
		"x":    "", "y": "", // are simulated
	} {
		text := "---\nname: " + name + "\nrole: writer\n" + more + "---\nAnswer.\n"
		if err := os.WriteFile(filepath.Join(agents, name+".md"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := start(t, bin, "dev", dir, "--data", filepath.Join(dir, "data"), "--agents", agents, "--keys", "--no-open")
	locked := start(t, bin, "serve", "--data", filepath.Join(t.TempDir(), "data"), "--token", "open sesame")
	shots, err := filepath.Abs(filepath.Join(root, "shots"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), playTime)
	defer cancel()
	play := exec.CommandContext(ctx, "node", "play.mjs")
	play.Env = append(os.Environ(), "WFD="+d.url, "WFD_LOCKED="+locked.url, "CHROMIUM="+chromium, "SHOTS="+shots, "PROFILE="+t.TempDir(), "SCENES="+*only, "MODEL="+model,
		fmt.Sprintf("WFD_BEGAN=%d", d.began.UnixMilli()))
	var stderr bytes.Buffer
	play.Stderr = &stderr
	in, err := play.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := play.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := play.Start(); err != nil {
		t.Fatal(err)
	}
	scenes := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Errorf("play.mjs says %q", lines.Text())
			continue
		}
		switch {
		case s.Do == "key":
			before := strings.Count(d.log.String(), "kill -9")
			fmt.Fprint(d.keys, s.With)
			for end := time.Now().Add(30 * time.Second); s.With == "k" && strings.Count(d.log.String(), "kill -9") == before; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Errorf("the daemon was not killed:\n%s", d.log)
					break
				}
			}
			fmt.Fprintln(in, "done")
		case s.Do == "save":
			name, text, _ := strings.Cut(s.With, "\n")
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o644); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(in, "done")
		case s.Note != "":
			t.Log(s.Note)
		default:
			scenes++
			t.Run(s.Scene, func(t *testing.T) {
				if s.Error != "" {
					t.Error(s.Error)
				}
			})
		}
	}
	if err := play.Wait(); err != nil || *only == "" && scenes < 15 {
		t.Errorf("%d scenes were played: %v\n%s", scenes, err, stderr.String())
	}
	if t.Failed() {
		t.Logf("the daemon:\n%s", d.log.String())
	}
}

// slowModel is a model that stops in the middle of its answer until it is told to go on.
func slowModel(t *testing.T) (url string) {
	t.Helper()
	goOn := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(goOn) }) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /release", func(http.ResponseWriter, *http.Request) { release() })
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		say := func(choices, usage string) {
			fmt.Fprintf(w, "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4.1\",\"choices\":[%s]%s}\n\n", choices, usage)
			w.(http.Flusher).Flush()
		}
		for i := range 40 { // words that come while somebody may not look yet
			say(fmt.Sprintf(`{"index":0,"delta":{"role":"assistant","content":"word %d "}}`, i), "")
			select {
			case <-goOn:
			case <-r.Context().Done():
				return
			case <-time.After(250 * time.Millisecond):
			}
		}
		say(`{"index":0,"delta":{"content":"and an end."},"finish_reason":"stop"}`, "")
		say("", `,"usage":{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60}`)
		fmt.Fprint(w, "data: [DONE]\n\n")
	})
	s := httptest.NewServer(mux)
	t.Cleanup(func() { release(); s.Close() })
	return s.URL
}

// needed returns where chromium is, and skips the test where something is missing.
func needed(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no node")
	}
	if _, err := os.Stat(filepath.Join(root, "testdata", "npm", "node_modules", "playwright-core")); err != nil {
		t.Skip("playwright-core is not installed: npm ci in testdata/npm")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("there is no chromium")
	return ""
}

// daemon is a daemon that runs until the test ends.
type daemon struct {
	url   string
	keys  io.Writer
	began time.Time
	log   *safe
}

// safe is a log that is written and read at once.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T, bin string, args ...string) *daemon {
	t.Helper()
	d := &daemon{began: time.Now(), log: &safe{}}
	cmd := exec.Command(bin, append(args, "--addr", "127.0.0.1:0")...)
	cmd.Stderr = d.log
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "WFD_SECRET_SLOW=any key will do")
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		done := make(chan struct{})
		go func() {
			cmd.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-done
			t.Errorf("%v did not end in order:\n%s", args, d.log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v does not start: %v\n%s", args, err, d.log)
	}
	d.url, d.keys = strings.TrimSpace(line), keys
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Get(d.url + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == 200 {
				return d
			}
			err = errors.New(res.Status)
		}
		if time.Now().After(end) {
			t.Fatalf("%v is not ready: %v\n%s", args, err, d.log)
		}
	}
}
