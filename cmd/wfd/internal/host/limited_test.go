package host

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

// short is a listener that has no file for a connection while few is set, unless somebody
// has given one up.
type short struct {
	net.Listener
	few   atomic.Bool
	spare func() bool // whether the file in reserve is held
}

func (s *short) Accept() (net.Conn, error) {
	if s.few.Load() && s.spare() {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return s.Listener.Accept()
}

func (s *short) SetDeadline(t time.Time) error { return s.Listener.(*net.TCPListener).SetDeadline(t) }

// Whoever comes when there is no file for him is told so and turned away; the log tells it
// once; and as soon as there are files again everybody is served.
func TestTurnedAway(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var log bytes.Buffer
	s := &short{Listener: tcp}
	l := newLimited(s, 2, true, slog.New(slog.NewTextHandler(locked{&mu, &log}, nil)))
	s.spare = func() bool { return l.spare != nil }
	served := make(chan error, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") })}
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-served
	}()

	ask := func() (status int, body, again string) {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Post("http://"+tcp.Addr().String()+"/", "text/plain", strings.NewReader(strings.Repeat("x", 1000)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header.Get("Retry-After")
	}
	refused := func(why string) {
		t.Helper()
		status, body, again := ask()
		var p api.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil || status != 429 || again == "" || !p.OfType("busy") || !strings.Contains(p.Detail, why) {
			t.Errorf("%d %s, Retry-After %q, %v: want busy because of %q", status, body, again, err, why)
		}
	}
	again := func() { // once it is noticed that there is room
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if status, body, _ := ask(); status == 200 && body == "served" {
				return
			} else if time.Now().After(end) {
				t.Fatal("nobody is served though there is room again: ", status, body)
			}
		}
	}
	again()
	s.few.Store(true)
	for range 5 { // the server is in Accept with the first one, which the file in reserve was not held for
		if status, _, _ := ask(); status != 200 {
			break
		}
	}
	refused("too many open files")
	refused("too many open files")
	s.few.Store(false)
	again()

	// Two who hold the places, and say nothing.
	var held []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	for len(l.places) < 2 {
		time.Sleep(time.Millisecond)
	}
	refused("there are 2 connections already")
	refused("there are 2 connections already")
	held[0].Close()
	again()
	held[1].Close()
	again()

	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(log.String(), "turned away"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, log.String())
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
