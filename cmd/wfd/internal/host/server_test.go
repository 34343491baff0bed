package host

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, _, err := Listen(Door{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	return l, "http://" + l.Addr().String()
}

// get returns the status and body of a GET; 0 if nobody answers.
func get(url string) (int, string) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func awaitStatus(t *testing.T, url string, want int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		have, body := get(url)
		if have == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %d %s, want %d", url, have, body, want)
		}
	}
}

// An orderly end does not wait for streams and long polls, and leaves a directory
// that opens again.
func TestStop(t *testing.T) {
	dir := t.TempDir()
	h, err := Open(Options{Dir: dir, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, url := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, l) }()
	awaitStatus(t, url+"/readyz", 200)
	req, _ := http.NewRequest("GET", url+"/v1/events", nil)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	began := time.Now()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > drainTime/2 {
		t.Errorf("the end took %s", took)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the stream was torn off: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	h, err = Open(Options{Dir: dir, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// When the disk leaves the outcome of a commit unknown, nothing more is taken,
// readiness is red, reads go on for a while, and the server ends with ErrFailed.
func TestFailure(t *testing.T) {
	dir := t.TempDir()
	var broken atomic.Bool
	log, err := eventlog.Open(dir, eventlog.Options{Failpoint: func(point string) error {
		if broken.Load() && point == "commit.after" {
			return errors.New("input/output error")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	views, err := projection.Open(filepath.Join(dir, "views"), log, projection.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{slog: quiet()}
	h.on(log, views, Options{Dir: dir, Logger: quiet()})
	l, url := listen(t)
	served := make(chan error, 1)
	go func() { served <- h.Serve(t.Context(), l) }()
	awaitStatus(t, url+"/readyz", 200)
	broken.Store(true)
	resp, err := http.Post(url+"/v1/workflows", "application/yaml", strings.NewReader("name: a\nnodes: {a: {end: completed}}"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 503 || !strings.Contains(string(body), "outcome-unknown") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if status, body := get(url + "/readyz"); status != 503 {
		t.Errorf("readyz: %d %s", status, body)
	}
	if status, body := get(url + "/v1/runs"); status != 200 {
		t.Errorf("a read: %d %s", status, body)
	}
	if err := <-served; !errors.Is(err, ErrFailed) {
		t.Errorf("it ended with %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
}
