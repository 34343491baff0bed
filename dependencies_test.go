package wfd_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/wfd-dev/wfd/"

// layers says which parts of the module a part may import. Parts are named by
// the longest matching prefix.
var layers = map[string][]string{
	"eventlog":        {"eventlog"},
	"projection":      {"projection", "eventlog"},
	"engine/workflow": {"engine/workflow"},
	"engine/machine":  {"engine/machine", "engine/workflow", "projection", "eventlog"},
	"engine":          {"engine", "engine/workflow", "engine/machine", "projection", "eventlog"},
	"replay":          {"replay", "engine/workflow", "engine/machine", "projection", "eventlog"},
	"client":          {"client"}, // what others import: the standard library, nothing of the engine
	"cmd/wfd":         {"cmd/wfd", "client", "engine", "engine/workflow", "engine/machine", "replay", "projection", "eventlog", "examples"},
	"examples":        {},
}

// homes says in which parts a foreign library may be imported, so that
// replacing it does not ripple.
var homes = map[string][]string{
	"go.etcd.io/bbolt":                {"eventlog", "projection"},
	"github.com/vmihailenco/msgpack":  {"projection"},
	"cel.dev/cel-go":                  {"engine/workflow/expr"},
	"github.com/ThreeDotsLabs":        {"engine/bus"},
	"github.com/santhosh-tekuri":      {"engine/workflow"},
	"github.com/danielgtaylor/huma":   {"cmd/wfd/internal/api"},
	"github.com/coreos/go-systemd":    {"cmd/wfd/internal/host"},
	"github.com/spf13/cobra":          {"cmd/wfd"},
	"code.dny.dev/ssrf":               {"engine/agent"},
	"github.com/robfig/cron":          {"engine/trigger"},
	"github.com/coreos/go-oidc":       {"cmd/wfd/internal/oidc"},
	"github.com/go-jose":              {"cmd/wfd/internal/oidc"},
	"github.com/prometheus":           {"cmd/wfd/internal/metrics"},
	"go.opentelemetry.io":             {"cmd/wfd/internal/otlp"},
	"golang.org/x/mod/sumdb":          {"eventlog"},
	"github.com/klauspost/compress":   {"eventlog"},
	"github.com/openai":               {"engine/agent/openai"},
	"github.com/anthropics":           {"engine/agent/anthropic"},
	"github.com/modelcontextprotocol": {"engine/agent/mcp", "cmd/wfd/internal/mcpserver"},
	"github.com/evanw/esbuild":        {"cmd/wfd/internal/ui/bundle"},
}

// Dependencies go one way: cmd/wfd → engine, replay → projection → eventlog.
// engine and replay never import each other; machine and workflow are pure and
// shared.
func TestDependencyDirection(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		seen++
		for _, imp := range p.Imports {
			if to, ok := strings.CutPrefix(imp, module); ok {
				if !allowed(layers[longest(layers, from)], to) {
					t.Errorf("%s imports %s: dependencies go cmd/wfd → engine, replay → projection → eventlog", from, to)
				}
				continue
			}
			if home := longest(homes, imp); home != "" && !allowed(homes[home], from) {
				t.Errorf("%s imports %s, whose place is %s", from, imp, strings.Join(homes[home], ", "))
			}
		}
	}
	if seen < 10 {
		t.Fatalf("found %d packages: is the module still called %s?", seen, module)
	}
}

// longest returns the longest key that is a path prefix of path.
func longest(m map[string][]string, path string) string {
	best := ""
	for k := range m {
		if within(path, k) && len(k) > len(best) {
			best = k
		}
	}
	return best
}

// allowed reports whether path belongs to one of parts: to the part itself, not to
// a more special one.
func allowed(parts []string, path string) bool {
	own := longest(layers, path)
	for _, p := range parts {
		if p == own || (within(path, p) && layers[p] == nil) {
			return true
		}
	}
	return false
}

func within(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
