package agent

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

func get(url string) *Task {
	return &Task{
		Run: eventlog.RunID{1}, Node: "n", Visit: 2, Attempt: 3, Kind: workflow.HTTP,
		Settings: map[string]any{"url": url, "allow_private": true},
	}
}

func server(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func send(t *testing.T, task *Task) map[string]any {
	t.Helper()
	a := new(HTTP).Run(t.Context(), task)
	if a.Failure != nil {
		t.Fatal(a.Failure)
	}
	return a.Result.(map[string]any)
}

// A request says what the node says, and which attempt of what it is.
func TestHTTPRequest(t *testing.T) {
	type seen struct {
		Method, Path, Body, Type, Key, Agent, Auth, Host string
	}
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Add("X-Many", "1")
		w.Header().Add("X-Many", "2")
		w.Header().Set("Set-Cookie", "session=secret")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(seen{r.Method, r.URL.String(), string(b), r.Header.Get("Content-Type"), r.Header.Get("Idempotency-Key"), r.UserAgent(), r.Header.Get("Authorization"), r.Host})
	})
	task := with(get(url+"/a?b=c"), "method", "post")
	task = with(task, "headers", map[string]any{"authorization": "Bearer x\n", "Host": "example.com"})
	task = with(task, "body", map[string]any{"n": int64(1)})
	got := send(t, task)
	if got["status"] != int64(201) {
		t.Errorf("status %v", got["status"])
	}
	want := map[string]any{
		"Method": "POST", "Path": "/a?b=c", "Body": `{"n":1}`, "Type": "application/json", "Key": task.Key(),
		"Agent": "wfd", "Auth": "Bearer x", "Host": "example.com",
	}
	if !reflect.DeepEqual(got["json"], any(want)) {
		t.Errorf("the server saw %v, want %v", got["json"], want)
	}
	headers := got["headers"].(map[string]any)
	if headers["X-Many"] != "1, 2" || headers["Content-Type"] != "application/json" || headers["Set-Cookie"] != nil {
		t.Errorf("headers %v", headers)
	}
	got = send(t, with(with(get(url), "body", "plain"), "headers", map[string]any{"Idempotency-Key": "own"}))
	if j := got["json"].(map[string]any); j["Method"] != "GET" || j["Body"] != "plain" || j["Type"] != "text/plain; charset=utf-8" || j["Key"] != "own" {
		t.Errorf("the server saw %v", j)
	}
}

func TestHTTPSettings(t *testing.T) {
	for name, c := range map[string]struct {
		task *Task
		want string
	}{
		"no url":        {get(""), "url: want http://host/"},
		"other scheme":  {get("file:///etc/passwd"), "url: want http://host/"},
		"no host":       {get("http:///x"), "url: want http://host/"},
		"broken url":    {get("http://[secret"), "url: missing ']'"},
		"method":        {with(get("http://h"), "method", "GE T"), "invalid method"},
		"header name":   {with(get("http://h"), "headers", map[string]any{"a b": "x"}), `headers: "a b" cannot be sent`},
		"header value":  {with(get("http://h"), "headers", map[string]any{"A": "x\r\nB: y"}), `headers: "A" cannot be sent`},
		"headers, list": {with(get("http://h"), "headers", []any{}), "headers: want an object"},
	} {
		t.Run(name, func(t *testing.T) {
			f := refused(t, new(HTTP).Run(t.Context(), c.task), event.ClassToolFailed, c.want)
			if f.Again == nil || *f.Again || strings.Contains(f.Message, "secret") {
				t.Errorf("again %v, %s", f.Again, f.Message)
			}
		})
	}
}

func TestHTTPStatus(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		if after := r.URL.Query().Get("after"); after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "because "+strings.Repeat("x", 1000))
	})
	soon := time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
	for path, c := range map[string]struct {
		class string
		final bool
		after time.Duration
	}{
		"/400":                       {event.ClassToolFailed, true, 0},
		"/401":                       {event.ClassAuth, true, 0},
		"/403":                       {event.ClassAuth, true, 0},
		"/404":                       {event.ClassNotFound, true, 0},
		"/408":                       {event.ClassTimeout, false, 0},
		"/409":                       {event.ClassToolFailed, true, 0},
		"/422":                       {event.ClassToolFailed, true, 0},
		"/429":                       {event.ClassRateLimit, false, 0},
		"/429?after=7":               {event.ClassRateLimit, false, 7 * time.Second},
		"/429?after=-7":              {event.ClassRateLimit, false, 0},
		"/429?after=soon":            {event.ClassRateLimit, false, 0},
		"/429?after=99999999999999":  {event.ClassRateLimit, false, 24 * time.Hour},
		"/429?after=" + escape(soon): {event.ClassRateLimit, false, 90 * time.Second},
		"/503?after=2":               {event.ClassUnavailable, false, 2 * time.Second},
		"/500":                       {event.ClassUnavailable, false, 0},
		"/502":                       {event.ClassUnavailable, false, 0},
		"/504":                       {event.ClassUnavailable, false, 0},
	} {
		f := refused(t, new(HTTP).Run(t.Context(), get(url+path)), c.class, path[1:4], "because xxx")
		if (f.Again != nil) != c.final || len(f.Message) > 500 {
			t.Errorf("%s: again %v, %d bytes of message", path, f.Again, len(f.Message))
		}
		if d := c.after - f.After; d < 0 || d > 5*time.Second {
			t.Errorf("%s: after %s, want %s", path, f.After, c.after)
		}
	}
}

func escape(s string) string { return url.QueryEscape(s) }

// A redirect is followed a few times, and takes no credentials elsewhere.
func TestHTTPRedirects(t *testing.T) {
	var there http.Header
	other := server(t, func(w http.ResponseWriter, r *http.Request) { there = r.Header.Clone() })
	var back string
	hops := 0
	here := server(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/other":
			http.Redirect(w, r, other, http.StatusTemporaryRedirect)
		case "/loop":
			hops++
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/same":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/file":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		case "/metadata":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		case "/end":
			back = r.Header.Get("X-Api-Key")
		}
	})
	headers := map[string]any{"Authorization": "Bearer x", "X-Api-Key": "k", "Cookie": "c=d", "Accept": "text/plain"}
	send(t, with(with(with(get(here+"/other?token=secret"), "headers", headers), "method", "POST"), "body", "b"))
	for name := range there {
		switch name {
		case "Accept", "Accept-Encoding", "Connection", "Content-Length", "Content-Type", "Idempotency-Key", "User-Agent":
		default:
			t.Errorf("%s went to another host: %s", name, there[name])
		}
	}
	if there.Get("Accept") != "text/plain" {
		t.Errorf("the other host got %v", there)
	}
	if send(t, with(get(here+"/same"), "headers", headers)); back != "k" {
		t.Errorf("the same host got the key %q", back)
	}
	refused(t, new(HTTP).Run(t.Context(), get(here+"/loop")), event.ClassToolFailed, "more than 5 redirects")
	if hops != 6 {
		t.Errorf("%d requests", hops)
	}
	refused(t, new(HTTP).Run(t.Context(), get(here+"/file")), event.ClassNetwork, "redirected to a file address")
	refused(t, new(HTTP).Run(t.Context(), get(here+"/metadata")), event.ClassAuth, "allow_private does not go as far")
}

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"http://a.example/x", "http://A.example:80/y", true},
		{"http://a.example", "https://a.example", true},
		{"https://a.example", "http://a.example", false},
		{"http://a.example:8080", "https://a.example", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example", "https://sub.a.example", false},
	} {
		a, _ := url.Parse(c.a)
		b, _ := url.Parse(c.b)
		if sameOrigin(a, b) != c.same {
			t.Errorf("%s → %s: %v", c.a, c.b, !c.same)
		}
	}
}

// Bodies have a limit that counts what comes out of decompression.
func TestHTTPBodyLimit(t *testing.T) {
	url := server(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 1<<20)
		out := io.Writer(w)
		n := 1 << 10
		switch r.URL.Path {
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			out = z
		case "/fits":
			n = 10
		}
		for range n {
			if _, err := out.Write(chunk); err != nil {
				return
			}
		}
	})
	for _, path := range []string{"/bomb", "/long"} {
		f := refused(t, new(HTTP).Run(t.Context(), get(url+path)), event.ClassToolFailed, "longer than 10485760 bytes")
		if f.Again == nil || *f.Again {
			t.Error("it would be tried again")
		}
	}
	if got := send(t, get(url+"/fits"))["body"].(string); len(got) != MaxBody {
		t.Errorf("%d bytes", len(got))
	}
}

// raw is a server that sends reply to each connection after the request, and
// then does what then says.
func raw(t *testing.T, reply string, then func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 64<<10))
			_, _ = io.WriteString(c, reply)
			then(c.(*net.TCPConn))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func TestHTTPBrokenServers(t *testing.T) {
	nothing := func(*net.TCPConn) {}
	wait := func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) } // until the other side gives up
	for name, c := range map[string]struct {
		url   string
		class string
		want  string
	}{
		"says nothing":         {raw(t, "", nothing), event.ClassNetwork, "EOF"},
		"hangs":                {raw(t, "", wait), event.ClassTimeout, "not done within 300ms"},
		"hangs in the headers": {raw(t, "HTTP/1.1 200 OK\r\nA: b\r\n", wait), event.ClassTimeout, "not done within 300ms"},
		"hangs in the body":    {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", wait), event.ClassTimeout, "not done within 300ms"},
		"drips": {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", func(c *net.TCPConn) {
			for {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}), event.ClassTimeout, "not done within 300ms"},
		"resets":          {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", func(c *net.TCPConn) { _ = c.SetLinger(0) }), event.ClassNetwork, ""},
		"too short":       {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", nothing), event.ClassNetwork, "unexpected EOF"},
		"two lengths":     {raw(t, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", nothing), event.ClassNetwork, "Content-Length"},
		"no HTTP":         {raw(t, "SSH-2.0-x\r\n\r\n", nothing), event.ClassNetwork, "malformed HTTP"},
		"endless headers": {raw(t, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 512<<10), nothing), event.ClassNetwork, "exceeded"},
		"broken gzip":     {raw(t, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", nothing), event.ClassNetwork, ""},
		"nobody there":    {"http://" + unused(t), event.ClassNetwork, "connection refused"},
		"no TLS":          {strings.Replace(raw(t, "HTTP/1.1 400 Bad Request\r\n\r\n", nothing), "http:", "https:", 1), event.ClassNetwork, "HTTPS client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := time.Minute // a slow machine has time to see what is wrong
			if c.class == event.ClassTimeout {
				timeout = 300 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			task := get(c.url + "/path?key=secret")
			task.Timeout = timeout
			f := refused(t, new(HTTP).Run(ctx, task), c.class, c.want)
			if strings.Contains(f.Message, "secret") {
				t.Errorf("the message tells the query: %s", f.Message)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		refused(t, new(HTTP).Run(ctx, get(raw(t, "", wait))), event.ClassCancelled)
	})
	t.Run("unknown certificate", func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains about us
		s.StartTLS()
		defer s.Close()
		refused(t, new(HTTP).Run(t.Context(), get(s.URL)), event.ClassNetwork, "certificate")
	})
}

// unused is an address nobody listens at.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
