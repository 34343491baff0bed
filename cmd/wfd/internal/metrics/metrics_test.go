package metrics

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatal(w.Code, err)
	}
	return string(b)
}

// TestCounts: what happened is what is said, under its name; an event of a kind that
// this build does not know is counted too.
func TestCounts(t *testing.T) {
	m := New("1.2.3")
	m.Appended([]eventlog.Record{{Kind: event.KindNodeCompleted}, {Kind: event.KindNodeCompleted}, {Kind: event.KindRunFailed}, {Kind: 60000}}, 3*time.Millisecond)
	m.Answered("start-run", 201, time.Millisecond)
	text := scrape(t, m)
	for _, want := range []string{
		`wfd_events_total{kind="node.completed"} 2`, `wfd_events_total{kind="run.failed"} 1`, `wfd_events_total{kind="unknown.255"} 1`,
		`wfd_append_seconds_count 1`, `wfd_http_requests_total{operation="start-run",status="201"} 1`, `wfd_build_info{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

// TestBoard: every metric that the dashboard and the alert rules ask for is one that
// there is, and what there is is on them.
func TestBoard(t *testing.T) {
	m := New("test")
	known := scrape(t, m) + "\n"
	for _, d := range described(m) {
		known += d + "\n"
	}
	names := regexp.MustCompile(`\bwfd_[a-z_]+\b`)
	asked := "wfd_build_info" // which is for joining
	for _, file := range []string{"dashboard.json", "alerts.yaml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "monitoring", file))
		if err != nil {
			t.Fatal(err)
		}
		found := names.FindAllString(string(b), -1)
		asked += string(b)
		if len(found) < 5 {
			t.Errorf("%s asks for %d metrics", file, len(found))
		}
		for _, name := range found {
			base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
			if !strings.Contains(known, base) {
				t.Errorf("%s asks for %s, which there is not", file, name)
			}
		}
	}
	for _, d := range described(m) {
		if name := names.FindString(d); !strings.Contains(asked, name) {
			t.Errorf("nobody looks at %s", name)
		}
	}
}

// described returns what is said only once there is something to say.
func described(m *Metrics) (names []string) {
	ch := make(chan *prometheus.Desc, 64)
	for _, c := range []prometheus.Collector{m, m.requests, m.times, m.appends} {
		c.Describe(ch)
	}
	close(ch)
	for d := range ch {
		names = append(names, d.String())
	}
	return names
}
