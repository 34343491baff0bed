package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The examples of the API's documents work as they are printed, one after the other.
func TestAPIExamples(t *testing.T) {
	for _, name := range []string{"api.md", "workers.md"} {
		t.Run(name, func(t *testing.T) { runExamples(t, "../../docs/"+name) })
	}
}

func runExamples(t *testing.T, file string) {
	for _, tool := range []string{"bash", "curl", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script := "set -euo pipefail\n"
	for i, part := range strings.Split(string(doc), "```") {
		if code, ok := strings.CutPrefix(part, "bash\n"); ok && i%2 == 1 {
			script += code
		}
	}
	wfd, err := exec.LookPath("wfd")
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(wfd, "serve", "--data", t.TempDir(), "--addr", "127.0.0.1:0", "--log-level", "error")
	daemon.Stderr = os.Stderr
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		daemon.Process.Signal(os.Interrupt)
		if err := daemon.Wait(); err != nil {
			t.Errorf("the daemon: %v", err)
		}
	}()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	wait := "for i in $(seq 100); do curl -sf $WFD/readyz > /dev/null && break; sleep 0.05; done\n"
	cmd := exec.Command("bash", "-c", "export WFD="+strings.TrimSpace(url)+"\n"+wait+script)
	cmd.Dir = t.TempDir()
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}
