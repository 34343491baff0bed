// Package daemon runs a wfd daemon for tests of what speaks to one.
package daemon

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Daemon is a process on a directory of its own.
type Daemon struct {
	URL   string
	Token string
	// binary is the daemon's, dir what is removed in the end.
	binary, dir string
	cmd         *exec.Cmd
}

// Start starts a daemon on a free port: the binary that WFD_TEST_BINARY names, as make
// race has it, or one that is built.
func Start() (*Daemon, error) {
	dir, err := os.MkdirTemp("", "wfd-client-test")
	if err != nil {
		return nil, err
	}
	d := &Daemon{dir: dir, Token: "s3cret", binary: os.Getenv("WFD_TEST_BINARY")}
	if d.binary == "" {
		d.binary = filepath.Join(dir, "wfd")
		if out, err := exec.Command("go", "build", "-o", d.binary, "github.com/wfd-dev/wfd/cmd/wfd").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	return d, d.run("127.0.0.1:0")
}

func (d *Daemon) run(addr string) error {
	d.cmd = exec.Command(d.binary, "serve", "--data", filepath.Join(d.dir, "data"), "--addr", addr, "--token", d.Token, "--log-level", "error")
	d.cmd.Stderr = os.Stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the daemon has no URL: %w", err)
	}
	d.URL = strings.TrimSpace(url)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get(d.URL + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("the daemon at %s is not ready", d.URL)
		}
	}
}

// Restart kills the daemon and starts it again at the same address.
func (d *Daemon) Restart() error {
	d.cmd.Process.Kill()
	d.cmd.Wait()
	return d.run(strings.TrimPrefix(d.URL, "http://"))
}

// Stop ends the daemon and removes its directory.
func (d *Daemon) Stop() error {
	defer os.RemoveAll(d.dir)
	d.cmd.Process.Signal(syscall.SIGTERM)
	return d.cmd.Wait()
}

// Main runs the tests of a package beside a daemon that the environment names.
func Main(run func() int) (code int) {
	d, err := Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := d.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "the daemon:", err)
			code = 1
		}
	}()
	os.Setenv("WFD_ADDR", d.URL)
	os.Setenv("WFD_TOKEN", d.Token)
	Running = d
	return run()
}

// Running is the daemon that Main started.
var Running *Daemon
