package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

// The test binary is also the program of a server.
func TestMain(m *testing.M) {
	if os.Getenv("MCP_SERVER") != "" {
		fmt.Fprintln(os.Stderr, "started with", os.Getenv("KEY"))
		if err := newServer().Run(context.Background(), &sdk.StdioTransport{}); err != nil {
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// newServer returns a server whose tools do well and badly.
func newServer() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	add := func(name string, f func(map[string]any) (*sdk.CallToolResult, any, error)) {
		sdk.AddTool(s, &sdk.Tool{Name: name, Description: "Does " + name}, func(_ context.Context, _ *sdk.CallToolRequest, in map[string]any) (*sdk.CallToolResult, any, error) {
			return f(in)
		})
	}
	text := func(s string) *sdk.CallToolResult {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
	}
	add("echo", func(in map[string]any) (*sdk.CallToolResult, any, error) {
		return text(fmt.Sprint("You said ", in["text"], " ", os.Getenv("KEY"))), nil, nil
	})
	add("sum", func(in map[string]any) (*sdk.CallToolResult, any, error) {
		a, _ := in["a"].(float64)
		b, _ := in["b"].(float64)
		return nil, map[string]any{"sum": a + b}, nil
	})
	add("fails", func(map[string]any) (*sdk.CallToolResult, any, error) { return nil, nil, errors.New("no such file") })
	add("large", func(map[string]any) (*sdk.CallToolResult, any, error) {
		return text(strings.Repeat("x", maxContent+1)), nil, nil
	})
	add("crash", func(map[string]any) (*sdk.CallToolResult, any, error) { os.Exit(3); return nil, nil, nil })
	sdk.AddTool(s, &sdk.Tool{Name: "hang", Description: "Does hang"}, func(ctx context.Context, _ *sdk.CallToolRequest, _ map[string]any) (*sdk.CallToolResult, any, error) {
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second): // longer than anybody waits
		}
		return nil, nil, errors.New("too late")
	})
	return s
}

func open(t *testing.T, list ...Server) (*Servers, *strings.Builder) {
	t.Helper()
	t.Setenv(secret.Prefix+"KEY", "pl4nted-key")
	secrets, err := secret.Open("")
	if err != nil {
		t.Fatal(err)
	}
	said := &strings.Builder{}
	s := Open(list, sandbox.Policy{}, secrets, slog.New(slog.NewTextHandler(&locked{b: said}, nil)), "test")
	t.Cleanup(s.Close)
	return s, said
}

type locked struct {
	mu sync.Mutex
	b  *strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func program(t *testing.T) Server {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Server{Name: "files", Command: []string{path}, Env: map[string]string{"MCP_SERVER": "1", "KEY": "k-${secrets.KEY}"}}
}

// use is what every way to a server has to do.
func use(t *testing.T, s *Servers) {
	t.Helper()
	found, err := s.Find(t.Context(), []string{"files/s*", "echo", "nothing"})
	if err != nil || len(found) != 2 || found[0].Name != "echo" || found[0].Server != "files" || found[1].Description != "Does sum" || found[1].Schema["type"] != "object" {
		t.Fatalf("%+v, %v", found, err)
	}
	if all, err := s.Find(t.Context(), []string{"files"}); err != nil || len(all) != 6 {
		t.Errorf("%d tools, %v", len(all), err)
	}
	out, err := s.Call(t.Context(), "files", "echo", map[string]any{"text": "hello"})
	if err != nil || !strings.HasPrefix(out.Text, "You said hello") || out.JSON != nil || out.Failed {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = s.Call(t.Context(), "files", "sum", map[string]any{"a": 1, "b": 2})
	if err != nil || !reflect.DeepEqual(out.JSON, map[string]any{"sum": int64(3)}) {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = s.Call(t.Context(), "files", "fails", nil)
	if err != nil || !out.Failed || !strings.Contains(out.Text, "no such file") {
		t.Errorf("%+v, %v", out, err)
	}
	var f *agent.Failure
	if _, err = s.Call(t.Context(), "files", "unknown", nil); !errors.As(err, &f) || f.Class != event.ClassToolFailed || f.Again == nil || *f.Again {
		t.Errorf("an unknown tool: %v", err)
	}
	if _, err = s.Call(t.Context(), "files", "large", nil); !errors.As(err, &f) || f.Class != event.ClassToolFailed {
		t.Errorf("a large result: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = s.Call(ctx, "files", "hang", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a tool that hangs: %v", err)
	}
	if _, err = s.Call(t.Context(), "others", "x", nil); !errors.As(err, &f) || f.Class != event.ClassNotFound {
		t.Errorf("an unknown server: %v", err)
	}
}

// A program is spoken to, has secrets in its environment alone, and is begun again
// when it has crashed: once at once, then after a wait.
func TestProgram(t *testing.T) {
	s, said := open(t, program(t))
	use(t, s)
	out, err := s.Call(t.Context(), "files", "echo", nil)
	if err != nil || !strings.HasSuffix(out.Text, "k-pl4nted-key") {
		t.Errorf("%+v, %v", out, err)
	}
	var f *agent.Failure
	for i := range 3 {
		_, err = s.Call(t.Context(), "files", "crash", nil)
		if !errors.As(err, &f) || f.Class != event.ClassUnavailable {
			t.Fatalf("crash %d: %v", i, err)
		}
		if f.After > 0 {
			break // it is not even begun
		}
	}
	if f.After <= 0 || f.After > firstWait || !strings.Contains(f.Message, "it is tried again in") {
		t.Errorf("after some crashes: %+v", f)
	}
	time.Sleep(f.After)
	if out, err := s.Call(t.Context(), "files", "sum", map[string]any{"a": 1}); err != nil || out.JSON == nil {
		t.Errorf("after the wait: %+v, %v", out, err)
	}
	s.Close()
	if !strings.Contains(said.String(), "started with") || !strings.Contains(said.String(), "an MCP server has gone") {
		t.Errorf("the log has %s", said)
	}
	if _, err := s.Call(t.Context(), "files", "sum", nil); !errors.As(err, &f) || f.Class != event.ClassUnavailable {
		t.Errorf("after the end: %v", err)
	}
}

// A server over HTTP gets the headers that are configured for it.
func TestHTTP(t *testing.T) {
	mcp := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return newServer() }, nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer pl4nted-key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mcp.ServeHTTP(w, r)
	}))
	defer web.Close()
	defer web.CloseClientConnections() // the tool that hangs does so to the end
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	config := Server{Name: "files", URL: web.URL, Headers: map[string]string{"Authorization": "Bearer ${secrets.KEY}"}}
	s, _ := open(t, config)
	use(t, s)
	s.Close()
	config.Headers = nil
	s, _ = open(t, config)
	var f *agent.Failure
	if _, err := s.Find(t.Context(), []string{"files"}); !errors.As(err, &f) || f.Class != event.ClassUnavailable {
		t.Errorf("without a key: %v", err)
	}
}

// What cannot be reached says so, with the class; what is not to be used is not there.
func TestUnreachable(t *testing.T) {
	p := program(t)
	p.Tools = []string{"e*"}
	missing := Server{Name: "missing", Command: []string{"no-such-program-here"}}
	secretless := Server{Name: "secretless", URL: "http://127.0.0.1:1/", Headers: map[string]string{"A": "${secrets.ABSENT}"}}
	away := Server{Name: "away", URL: "http://127.0.0.1:1/"}
	s, _ := open(t, p, missing, secretless, away)
	if found, err := s.Find(t.Context(), []string{"files/*"}); err != nil || len(found) != 1 || found[0].Name != "echo" {
		t.Errorf("%+v, %v", found, err)
	}
	for name, class := range map[string]string{"missing": event.ClassUnavailable, "secretless": event.ClassAuth, "away": event.ClassUnavailable} {
		var f *agent.Failure
		if _, err := s.Call(t.Context(), name, "x", nil); !errors.As(err, &f) || f.Class != class || !strings.Contains(f.Message, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseConfig(t *testing.T) {
	list, err := ParseConfig("mcp.json", []byte(`{"mcpServers": {"files": {"command": "npx", "args": ["-y", "x"], "env": {"A": "b"}, "type": "stdio"}, "web": {"url": "https://h/mcp", "tools": ["a*"]}}}`))
	want := []Server{{Name: "files", Command: []string{"npx", "-y", "x"}, Env: map[string]string{"A": "b"}}, {Name: "web", URL: "https://h/mcp", Tools: []string{"a*"}}}
	if err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = ParseConfig("mcp.yaml", []byte("servers:\n  a b: {command: x}\n  c: {}\n  d: {command: x, url: y}\n  e: {comand: x}\n  f: 3\n  g: {url: 5, env: [a]}\n"))
	var problems workflow.Problems
	if !errors.As(err, &problems) || len(problems) < 7 {
		t.Fatalf("%v", err)
	}
	for i, want := range []string{"2:3", "3:3", "4:3", "4:24", "5:3", "5:7", "6:6"} {
		if got := fmt.Sprintf("%d:%d", problems[i].Line, problems[i].Column); got != want {
			t.Errorf("problem %d at %s, want %s: %s", i, got, want, problems[i].Message)
		}
	}
}

// A program that ends while it is connected to says how it ended and what it said last,
// without the secrets in it.
func TestProgramEnds(t *testing.T) {
	env := map[string]string{"KEY": "${secrets.KEY}"}
	s, _ := open(t,
		Server{Name: "refusing", Command: []string{"sh", "-c", `for i in 1 2 3; do echo "line $i" >&2; done; printf "the key $KEY is wrong" >&2; exit 7`}, Env: env},
		Server{Name: "killed", Command: []string{"sh", "-c", `kill -9 $$`}},
		Server{Name: "idle", Command: []string{"true"}},
	)
	for name, want := range map[string]string{
		"refusing": "the program sh has ended: exit status 7: line 1 / line 2 / line 3 / the key [secret KEY] is wrong",
		"killed":   "the program sh has ended: signal: killed",
		"idle":     "the program true has ended: exit status 0",
	} {
		var f *agent.Failure
		_, err := s.Call(t.Context(), name, "x", nil)
		if !errors.As(err, &f) || f.Class != event.ClassUnavailable || strings.Contains(f.Message, "pl4nted") {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !strings.Contains(f.Message, want) {
			t.Errorf("%s: %s", name, f.Message)
		}
	}
}
