package crash

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build returns the binary that WFD_TEST_BINARY names, as make race has it, or compiles
// one, once.
var build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("WFD_TEST_BINARY"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "wfd-crash")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "wfd")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/wfd-dev/wfd/cmd/wfd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil && bin != os.Getenv("WFD_TEST_BINARY") {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// daemon is a wfd process and what it says.
type daemon struct {
	t    testing.TB
	dir  string
	addr string
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{} // closed once the process has ended
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startDaemon starts wfd on dir and waits until it is ready. A failpoint, as
// name:N, kills it at the Nth hit; it may do so before it is ready.
func startDaemon(t testing.TB, dir, replies, failpoint string) *daemon {
	t.Helper()
	var env []string
	if failpoint != "" {
		env = []string{"WFD_FAILPOINT=" + failpoint}
	}
	d := launch(t, dir, replies, env, nil)
	if !d.up() && failpoint == "" {
		d.kill()
		t.Fatalf("the daemon did not come up:\n%s", d.log)
	}
	return d
}

// launch starts wfd on dir, by way of another program if wrap names one.
func launch(t testing.TB, dir, replies string, env, wrap []string) *daemon {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: dir, addr: freeAddr(t), log: &bytes.Buffer{}, done: make(chan struct{})}
	args := append(wrap[:len(wrap):len(wrap)], bin, "serve", "--data", dir, "--addr", d.addr, "--replies", replies)
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.Stderr = d.log
	d.cmd.WaitDelay = 5 * time.Second // a tracer holds the output a little longer
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.cmd.Wait()
		close(d.done)
	}()
	t.Cleanup(d.kill)
	return d
}

// up waits until the daemon is ready, and reports whether it came to that: it may end
// before.
func (d *daemon) up() bool {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && !d.ended(); {
		if d.ready() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

func (d *daemon) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.addr+"/readyz", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// kill ends the process as a crash would, and waits for it.
func (d *daemon) kill() {
	d.cmd.Process.Signal(syscall.SIGKILL)
	<-d.done
}

// check runs wfd check on a directory that nobody holds.
func check(t testing.TB, dir string) error {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin, "check", "--data", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("wfd check: %w\n%s", err, out)
	}
	return nil
}
