package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The examples of docs/audit.md work as they are printed, one after the other.
func TestAuditExamples(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	doc, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "set -euo pipefail\nwfd run ./one.yaml --wait >/dev/null\n"
	for i, part := range strings.Split(string(doc), "```") {
		if code, ok := strings.CutPrefix(part, "bash\n"); ok && i%2 == 1 {
			script += code
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "one.yaml"), []byte("name: one\nnodes:\n  end: {end: completed}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bash, "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "WFD_DATA="+filepath.Join(dir, "data"), "HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ok: ") != 5 {
		t.Errorf("%v\n%s", err, out)
	}
}
