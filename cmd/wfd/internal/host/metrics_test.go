package host

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

// TestMetrics: what a run has done is in the metrics of its daemon, which only those see
// who may read.
func TestMetrics(t *testing.T) {
	h, err := Open(Options{Dir: t.TempDir(), Logger: quiet(), Metrics: true, Auth: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func(inside bool, method, path, body string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if inside {
			r = r.WithContext(api.WithActor(t.Context(), "cli:ann"))
		}
		w := httptest.NewRecorder()
		h.API.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if status, body := ask(true, "POST", "/v1/workflows", "name: one\nnodes: {a: {end: completed}}\n"); status >= 300 {
		t.Fatal(status, body)
	}
	if status, body := ask(true, "POST", "/v1/workflows/one/runs?wait=10s", `{}`); status >= 300 {
		t.Fatal(status, body)
	}
	if status, body := ask(false, "GET", "/metrics", ""); status != 401 {
		t.Errorf("without a token: %d %s", status, body)
	}
	status, body := ask(true, "GET", "/metrics", "")
	for _, want := range []string{
		`wfd_events_total{kind="run.completed"} 1`, `wfd_runs{status="completed"} 1`, "wfd_views_behind_events", "wfd_failed 0",
		`wfd_http_requests_total{operation="start-run",status="201"} 1`, `wfd_http_requests_total{operation="none",status="401"} 1`,
	} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, %s is missing", status, want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}
