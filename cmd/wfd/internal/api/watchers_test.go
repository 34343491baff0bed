package api

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// pipes is a listener whose connections hold nothing: a client that does not read stops
// whoever writes to it at once.
type pipes chan net.Conn

func (l pipes) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l pipes) Close() error {
	close(l) // the server does so once
	return nil
}
func (l pipes) Addr() net.Addr { return &net.TCPAddr{} }

// watcher is a client that follows a run.
type watcher struct {
	conn  net.Conn
	lines *bufio.Reader
	last  string   // Last-Event-ID to come back with
	kinds []string // that it has read
}

func (l pipes) watch(t *testing.T, id, last string) *watcher {
	here, there := net.Pipe()
	l <- there
	w := &watcher{conn: here, lines: bufio.NewReaderSize(here, 16), last: last}
	head := "GET /v1/runs/" + id + "/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
	if last != "" {
		head += "Last-Event-ID: " + last + "\r\n"
	}
	if _, err := here.Write([]byte(head + "\r\n")); err != nil {
		t.Fatal(err)
	}
	return w
}

// read reads until an event of a kind is whole, and reports whether it came.
func (w *watcher) read(kind string) bool {
	id := ""
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			return false
		}
		line = strings.TrimSpace(line)
		if s, ok := strings.CutPrefix(line, "id: "); ok {
			id = s
		} else if s, ok := strings.CutPrefix(line, "event: "); ok {
			w.kinds = append(w.kinds, s)
		} else if strings.HasPrefix(line, "data: ") {
			if w.last = id; w.kinds[len(w.kinds)-1] == kind {
				return true
			}
		}
	}
}

// TestThousandWatchers: a run goes on at once however many watch it, and whoever does not
// read is dropped; he comes back, and misses nothing.
func TestThousandWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 50
		log := &moody{Log: eventlogtest.NewMemory(), next: make(chan struct{})}
		views, err := projection.Open(filepath.Join(t.TempDir(), "views"), log, projection.Options{})
		if err != nil {
			t.Fatal(err)
		}
		e := engine.New(log, views, engine.Options{})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := New(Options{Engine: e, Log: log, Views: views, Commit: log.commit, Hosts: func() []string { return []string{"localhost"} }})
		l := make(pipes)
		server := &http.Server{Handler: a}
		go server.Serve(l)
		defer func() {
			a.Drain()
			server.Close()
			e.Stop()
			if err := views.Close(); err != nil {
				t.Error(err)
			}
		}()
		wf, _, err := Compile("ask.yaml", []byte("name: ask\nnodes:\n  a: {human: {prompt: Go on?}}\n  b: {needs: [a], end: completed}\n"), false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Register(t.Context(), wf, "", "test"); err != nil {
			t.Fatal(err)
		}
		r, _, err := e.StartRun(t.Context(), engine.StartRequest{Workflow: "ask"}, engine.By{Actor: "test"})
		if err != nil {
			t.Fatal(err)
		}
		var ended atomic.Int32
		var lazy []*watcher
		for i := range maxStreams {
			w := l.watch(t, r.ID.String(), "")
			if i < slow {
				if !w.read("run.created") {
					t.Fatal("the first event did not come")
				}
				lazy = append(lazy, w) // and never reads again
				continue
			}
			go func() {
				if w.read("run.completed") {
					ended.Add(1)
				}
				w.conn.Close()
			}()
		}
		synctest.Wait()
		if n := len(a.streams); n != maxStreams {
			t.Fatalf("%d streams are open", n)
		}
		began := time.Now()
		if r, err = e.Do(t.Context(), r.ID, machine.Answer{Value: event.MustValue("yes")}, engine.By{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		if r, err = e.Await(t.Context(), r.ID, engine.Settled); err != nil || r.Status != run.Completed {
			t.Fatalf("%+v, %v", r, err)
		}
		synctest.Wait()
		if n := ended.Load(); n != maxStreams-slow || time.Since(began) >= streamWrite {
			t.Errorf("%d watchers saw the end after %s", n, time.Since(began))
		}
		time.Sleep(streamWrite + time.Second)
		synctest.Wait()
		if n := len(a.streams); n != 0 {
			t.Errorf("%d streams are still open", n)
		}
		whole := l.watch(t, r.ID.String(), "")
		if !whole.read("run.completed") {
			t.Fatal("there is no whole history")
		}
		whole.conn.Close()
		for _, w := range lazy {
			again := l.watch(t, r.ID.String(), w.last)
			if !again.read("run.completed") || fmt.Sprint(slices.Concat(w.kinds, again.kinds)) != fmt.Sprint(whole.kinds) {
				t.Fatalf("%v, and then %v", w.kinds, again.kinds)
			}
			again.conn.Close()
			w.conn.Close()
		}
	})
}
