package mcpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/engine/access"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// open returns an engine with its API on a new directory.
func open(t *testing.T, change ...func(*host.Options)) *host.Host {
	t.Helper()
	o := host.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler), Version: "test"}
	for _, f := range change {
		f(&o)
	}
	h, err := host.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// inside returns a client of an engine in this process.
func inside(t *testing.T, h *host.Host) *client.Client {
	t.Helper()
	c, err := client.New("wfd", client.Transport(api.Inside(h.API, "cli:test@local")), client.Patience(0))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func register(t *testing.T, c *client.Client, definitions ...string) {
	t.Helper()
	for _, text := range definitions {
		if _, _, err := c.Do(t.Context(), client.Request{Path: "/v1/workflows", In: []byte(text), Type: "application/yaml"}); err != nil {
			t.Fatal(err)
		}
	}
}

func serve(t *testing.T, c *client.Client) *Server {
	t.Helper()
	s, err := New(t.Context(), Options{Client: c, Wait: 10 * time.Second, Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connect(t *testing.T, s *Server, o *sdk.ClientOptions) *sdk.ClientSession {
	t.Helper()
	mine, theirs := sdk.NewInMemoryTransports()
	ss, err := s.sdk.Connect(t.Context(), theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o).Connect(t.Context(), mine, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cs.Close()
		ss.Wait()
	})
	return cs
}

// call calls a tool and returns what its client is told, as text and as a value.
func call(t *testing.T, cs *sdk.ClientSession, name string, arguments any) (*sdk.CallToolResult, string, report) {
	t.Helper()
	r, err := cs.CallTool(t.Context(), &sdk.CallToolParams{Name: name, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var text []string
	for _, c := range r.Content {
		text = append(text, c.(*sdk.TextContent).Text)
	}
	var rep report
	b, _ := json.Marshal(r.StructuredContent)
	json.Unmarshal(b, &rep)
	return r, strings.Join(text, "\n"), rep
}

type object = map[string]any

const (
	greet   = "name: greet\ndescription: Greets.\ninput: {type: object, required: [name], properties: {name: {type: string}}}\nnodes: {ok: {human: {prompt: \"Greet ${input.name}?\", form: {type: boolean}}}}\noutput: \"Hello ${input.name}\"\n"
	add     = "name: add\ninput: {type: integer, minimum: 1}\nnodes: {a: {end: completed}}\noutput: \"${input + 1}\"\n"
	fails   = "name: fails\nnodes: {a: {end: failed, message: that is no good}}\n"
	sleep1h = "name: sleep\nnodes: {w: {wait: {for: 1h}}}\n"
	door    = "name: door\nnodes: {w: {wait: {signal: open}}}\noutput: \"${nodes.w.result}\"\n"
)

// A call of a workflow's tool is a run: its result, its questions, its failure, and what
// takes too long to wait for.
func TestWorkflowsAreTools(t *testing.T) {
	h := open(t)
	c := inside(t, h)
	register(t, c, greet, add, fails, sleep1h, door)
	s := serve(t, c)
	cs := connect(t, s, nil)
	list, err := cs.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tools := map[string]*sdk.Tool{}
	for _, tool := range list.Tools {
		tools[tool.Name] = tool
	}
	if g := tools["greet"]; len(tools) != 12 || g == nil || g.Description != "Greets." || fmt.Sprint(g.InputSchema.(object)["required"]) != "[name]" {
		t.Errorf("%d tools: %+v", len(tools), tools["greet"])
	}
	if _, text, rep := call(t, cs, "greet", object{"name": "you"}); rep.Status != "waiting" || len(rep.Questions) != 1 || rep.Questions[0].Node != "ok" || !strings.Contains(text, "Answer it with wfd_answer") {
		t.Errorf("%s\n%+v", text, rep)
	} else if r, text, rep := call(t, cs, "wfd_answer", object{"run": rep.Run, "value": true}); r.IsError || !strings.HasPrefix(text, "Hello you\n") || string(rep.Output) != `"Hello you"` {
		t.Errorf("%s\n%+v", text, rep)
	}
	if _, _, rep := call(t, cs, "add", object{"input": 41}); string(rep.Output) != "42" {
		t.Errorf("%+v", rep)
	}
	if r, text, rep := call(t, cs, "fails", nil); !r.IsError || rep.Status != "failed" || !strings.Contains(text, "that is no good") {
		t.Errorf("%s\n%+v", text, rep)
	}
	if _, text, rep := call(t, cs, "door", nil); rep.Status != "waiting" || !strings.Contains(text, "somebody outside") {
		t.Errorf("%s\n%+v", text, rep)
	} else if _, text, _ := call(t, cs, "wfd_signal", object{"run": rep.Run, "name": "open", "value": 9007199254740993}); !strings.HasPrefix(text, "9007199254740993\n") {
		t.Errorf("%s", text)
	}
	_, text, rep := call(t, cs, "wfd_start", object{"workflow": "sleep", "labels": object{"a": "b"}})
	if rep.Run == "" || !strings.Contains(text, "wfd_await") {
		t.Errorf("%s\n%+v", text, rep)
	}
	if _, _, late := call(t, cs, "wfd_await", object{"run": rep.Run, "wait": 0.05}); late.Status != "waiting" {
		t.Errorf("%+v", late)
	}
	if r, _, end := call(t, cs, "wfd_cancel", object{"run": rep.Run}); r.IsError || end.Status != "cancelled" {
		t.Errorf("%+v", end)
	}
	if _, text, _ := call(t, cs, "wfd_runs", object{"status": "cancelled"}); !strings.Contains(text, rep.Run) || !strings.Contains(text, `"via":"mcp"`) {
		t.Errorf("%s", text)
	}
}

// What is wrong is said in a result, which the client's model reads.
func TestWrongCalls(t *testing.T) {
	h := open(t)
	c := inside(t, h)
	register(t, c, greet, add)
	cs := connect(t, serve(t, c), nil)
	for _, x := range []struct {
		tool string
		in   any
		want string
	}{
		{"greet", object{"nme": "you"}, `lacks "name"`},
		{"greet", []int{1}, "object"},
		{"add", object{"input": 0}, "minimum"},
		{"add", object{"inputs": 1}, "unknown field"},
		{"wfd_start", object{"workflow": "none"}, "none"},
		{"wfd_start", object{}, "workflow is missing"},
		{"wfd_start", object{"workflow": "greet", "run": "x"}, `no argument "run"`},
		{"wfd_await", object{"run": "../../v1/workflows"}, "not a run ID"},
		{"wfd_await", object{"run": 5}, "not as the tool has them"},
		{"wfd_answer", object{"run": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "value": 1}, "there is no run"},
		{"wfd_runs", object{"status": "sleeping"}, "status"},
	} {
		if r, text, _ := call(t, cs, x.tool, x.in); !r.IsError || !strings.Contains(text, x.want) {
			t.Errorf("%s %v: %s, want %q", x.tool, x.in, text, x.want)
		}
	}
}

// Names that tools cannot have, or that several would have, and schemas that are none of
// an object's.
func TestNamesAndSchemas(t *testing.T) {
	h := open(t)
	c := inside(t, h)
	register(t, c, "name: wfd_runs\nnodes: {a: {end: completed}}\n", "name: grüße\nnodes: {a: {end: completed}}\n", "name: gr__e\nnodes: {a: {end: completed}}\n",
		"name: loose\ninput: {properties: {x: {type: string, x-mcp-header: 7}}}\nnodes: {a: {end: completed}}\n")
	cs := connect(t, serve(t, c), nil)
	list, err := cs.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	titles := map[string]string{}
	for _, tool := range list.Tools {
		titles[tool.Name] = tool.Title
	}
	if titles["wfd_runs"] != "" || titles["wfd_runs_2"] != "wfd_runs" || titles["gr__e"] != "gr__e" || titles["gr__e_2"] != "grüße" {
		t.Errorf("%v", titles)
	}
	if _, _, rep := call(t, cs, "wfd_start", object{"workflow": "loose"}); rep.Run == "" {
		t.Error("a workflow that is no tool cannot be started")
	}
}

// Clients are told of what is registered while they are connected.
func TestListChanges(t *testing.T) {
	h := open(t)
	c := inside(t, h)
	told := make(chan struct{}, 10)
	cs := connect(t, serve(t, c), &sdk.ClientOptions{ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { told <- struct{}{} }})
	for _, text := range []string{fails, strings.Replace(fails, "no good", "better", 1)} {
		register(t, c, text)
		select {
		case <-told:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody was told")
		}
	}
	if _, text, _ := call(t, cs, "fails", nil); !strings.Contains(text, "better") {
		t.Errorf("%s", text)
	}
}

// Runs are listed, page by page, and read; what is not there is not found.
func TestRunsAreResources(t *testing.T) {
	h := open(t)
	c := inside(t, h)
	register(t, c, add)
	cs := connect(t, serve(t, c), nil)
	var last report
	for range pageSize + 1 {
		_, _, last = call(t, cs, "add", object{"input": 1})
	}
	n := 0
	for r, err := range cs.Resources(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 && r.URI != "wfd://runs/"+last.Run {
			t.Errorf("first is %s", r.URI)
		}
	}
	if n != pageSize+1 {
		t.Errorf("%d runs", n)
	}
	for uri, want := range map[string]string{
		"":                `"output":2`,
		"/state":          `"visits":1`,
		"/events":         `"kind":"run.completed"`,
		"/events?after=1": `"items":`,
	} {
		r, err := cs.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "wfd://runs/" + last.Run + uri})
		if err != nil || !strings.Contains(r.Contents[0].Text, want) {
			t.Errorf("%s: %v %v", uri, r, err)
		}
	}
	for _, uri := range []string{"wfd://runs/x", "wfd://runs/" + last.Run + "/verify", "wfd://runs/..%2fworkflows", "file:///etc/passwd", "wfd://workflows/none", "wfd://audit/head"} {
		if r, err := cs.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s: %+v", uri, r.Contents[0])
		}
	}
}

// A client that asks for it is told what happens, and a call that is cancelled leaves
// its run alone.
func TestProgressAndCancel(t *testing.T) {
	h := open(t)
	c := inside(t, h)
	register(t, c, greet, sleep1h)
	told := make(chan string, 100)
	cs := connect(t, serve(t, c), &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { told <- r.Params.Message }})
	params := &sdk.CallToolParams{Name: "sleep"}
	params.SetProgressToken("p")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan error)
	go func() {
		_, err := cs.CallTool(ctx, params)
		over <- err
	}()
	if first := <-told; first == "" {
		t.Error("nothing was told")
	}
	cancel()
	if err := <-over; err == nil {
		t.Error("a cancelled call has a result")
	}
	var runs client.List[client.Row]
	if err := c.Get(t.Context(), client.Request{Path: "/v1/runs"}, &runs); err != nil || len(runs.Items) != 1 || runs.Items[0].Status != "waiting" {
		t.Errorf("%+v %v", runs.Items, err)
	}
}

// Over HTTP there is the guard of the API: its tokens, with what each may do and see, this
// host, no page of another site.
func TestHTTP(t *testing.T) {
	h := open(t, func(o *host.Options) { o.Token = "secret" })
	c := inside(t, h)
	register(t, c, add)
	s := NewWeb(Options{Wait: 10 * time.Second, Version: "test", Logger: slog.New(slog.DiscardHandler)}, Door{Hosts: func() []string { return []string{"127.0.0.1"} }, API: func(token string) (*client.Client, error) {
		return client.New("wfd", client.Token(token), client.Transport(api.Inside(h.API, "")), client.Patience(0))
	}})
	defer s.Close()
	web := httptest.NewServer(s)
	defer web.Close()
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	send := func(method, token, hostName, origin string) int {
		req, _ := http.NewRequest(method, web.URL, strings.NewReader(hello))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		if hostName != "" {
			req.Host = hostName
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for _, x := range []struct {
		method, token, host, origin string
		want                        int
	}{
		{"POST", "", "", "", 401}, {"POST", "wrong", "", "", 401}, {"GET", "", "", "", 401},
		{"POST", "secret", "evil.example", "", 403}, {"POST", "secret", "", "http://evil.example", 403}, {"GET", "secret", "", "http://evil.example", 403},
		{"POST", "secret", "", "", 200},
	} {
		if have := send(x.method, x.token, x.host, x.origin); have != x.want {
			t.Errorf("%+v: %d", x, have)
		}
	}
	transport := &sdk.StreamableClientTransport{Endpoint: web.URL, HTTPClient: &http.Client{Transport: bearer("secret")}}
	cs, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, rep := call(t, cs, "add", object{"input": 1}); string(rep.Output) != "2" {
		t.Errorf("%+v", rep)
	}
	made := func(spec access.Spec) (name string, c *sdk.ClientSession) {
		t.Helper()
		key, text, err := h.Engine.CreateToken(t.Context(), spec, "cli:test@local")
		if err != nil {
			t.Fatal(err)
		}
		c, err = sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: web.URL, HTTPClient: &http.Client{Transport: bearer(text)}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return key.Name, c
	}
	tools := func(c *sdk.ClientSession) (names []string) {
		list, err := c.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
		}
		return names
	}
	reader, reads := made(access.Spec{Name: "reader", Scopes: []string{"read"}})
	if !slices.Contains(tools(reads), "add") {
		t.Errorf("who may read sees %v", tools(reads))
	}
	if r, err := reads.CallTool(t.Context(), &sdk.CallToolParams{Name: "add", Arguments: object{"input": 1}}); err == nil && !r.IsError {
		t.Errorf("who may read starts a run: %+v", r)
	}
	_, elsewhere := made(access.Spec{Name: "elsewhere", Scopes: []string{"run"}, Namespace: "team-a"})
	if slices.Contains(tools(elsewhere), "add") {
		t.Errorf("who is of another namespace sees %v", tools(elsewhere))
	}
	// A session is its token's: another's is not let into it.
	req, _ := http.NewRequest("POST", web.URL, strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Mcp-Session-Id", cs.ID())
	if resp, err := (&http.Client{Transport: bearer("wrong")}).Do(req.Clone(t.Context())); err != nil || resp.StatusCode != 401 {
		t.Errorf("%v, %v", resp, err)
	}
	req.Body = io.NopCloser(strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`))
	if _, text, err := h.Engine.CreateToken(t.Context(), access.Spec{Name: "other", Scopes: []string{"run"}}, "cli:test@local"); err != nil {
		t.Fatal(err)
	} else if resp, err := (&http.Client{Transport: bearer(text)}).Do(req); err != nil || resp.StatusCode != 404 {
		t.Errorf("%v, %v", resp, err)
	}
	if _, err := h.Engine.RevokeToken(t.Context(), reader, "a test", "cli:test@local"); err != nil {
		t.Fatal(err)
	}
	if _, err := reads.ListTools(t.Context(), nil); err == nil {
		t.Error("a token that was revoked still lists")
	}
	for _, uri := range []string{"wfd://runs/../events", "wfd://runs/%2e%2e/events", "wfd://runs/..%2Ftokens/state", "wfd://workflows/.."} {
		if r, err := cs.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri}); err == nil {
			t.Errorf("%s is %+v", uri, r.Contents)
		}
	}
	for _, c := range []*sdk.ClientSession{cs, elsewhere, reads} {
		c.Close()
	}
	for _, g := range s.guests {
		for ss := range g.server.sdk.Sessions() {
			ss.Close()
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// A daemon that is away when it should answer is asked again: the run is started once.
func TestDaemonAway(t *testing.T) {
	h := open(t)
	var starts atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/runs") && starts.Add(1) < 3 {
			h.API.ServeHTTP(httptest.NewRecorder(), r) // it was done
			panic(http.ErrAbortHandler)                // and nobody knows
		}
		h.API.ServeHTTP(w, r)
	}))
	defer web.Close()
	defer web.CloseClientConnections()
	c, err := client.New(web.URL, client.Patience(0))
	if err != nil {
		t.Fatal(err)
	}
	register(t, c, add)
	s := serve(t, c)
	cs := connect(t, s, nil)
	if _, _, rep := call(t, cs, "add", object{"input": 1}); string(rep.Output) != "2" {
		t.Errorf("%+v", rep)
	}
	var runs client.List[client.Row]
	if err := c.Get(t.Context(), client.Request{Path: "/v1/runs"}, &runs); err != nil || len(runs.Items) != 1 || starts.Load() != 3 {
		t.Errorf("%d runs after %d starts, %v", len(runs.Items), starts.Load(), err)
	}
	s.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// One client over a pair of streams, until they end.
func TestStdio(t *testing.T) {
	h := open(t)
	s := serve(t, inside(t, h))
	in, write := io.Pipe()
	read, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.Stdio(t.Context(), in, out) }()
	cs, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), &sdk.IOTransport{Reader: read, Writer: write}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.Ping(t.Context(), nil); err != nil {
		t.Error(err)
	}
	cs.Close()
	if err := <-done; err != nil {
		t.Errorf("the end of its input is %v", err)
	}
	read.Close()
}
