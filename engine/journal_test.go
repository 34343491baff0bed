package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// What fails, and what stops, is in the daemon's log with its run and node; the rest is
// for those who debug.
func TestJournal(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo:  {"a node failed", "a run failed"},
		slog.LevelDebug: {"run.created", "node.started", "a node failed", "a run failed"},
		slog.LevelError: nil,
	} {
		var out bytes.Buffer
		s := openShop(t, Options{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))})
		register(t, s.Engine, `{name: broken, nodes: {a: {exec: {command: ["true"]}}}}`)
		id := start(t, s.Engine, "broken", nil).ID
		await(t, s.Engine, id, Settled)
		s.Stop()
		lines := 0
		for _, line := range strings.Split(out.String(), "\n") {
			if !strings.Contains(line, "workflow=broken") {
				continue
			}
			if lines++; !strings.Contains(line, "run="+id.String()) || strings.Contains(line, "a node") && !strings.Contains(line, "node=a") {
				t.Errorf("%s", line)
			}
		}
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("at %s nothing says %q:\n%s", level, w, out.String())
			}
		}
		if want == nil && lines > 0 {
			t.Errorf("at %s:\n%s", level, out.String())
		}
	}
}
