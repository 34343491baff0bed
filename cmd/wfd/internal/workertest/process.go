package workertest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is the worker: a command and all that it starts.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	said  *tail
}

// startProcess starts the worker's command.
func startProcess(command string, env []string, log io.Writer) (*process, error) {
	p := &process{cmd: exec.Command("sh", "-c", command), ended: make(chan struct{}), said: &tail{to: log}}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.WaitDelay = time.Second // for what it leaves behind and that holds its output
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("the worker cannot be started: %w", err)
	}
	go func() {
		p.cmd.Wait() // how it ends is for the checks to say
		close(p.ended)
	}()
	return p, nil
}

// signal sends a signal to the worker and all that it has started, as a service manager
// does, and a terminal.
func (p *process) signal(s syscall.Signal) { syscall.Kill(-p.cmd.Process.Pid, s) }

// kill ends the worker and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// gone reports whether the worker has ended.
func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// ends waits for the worker's end.
func (p *process) ends(ctx context.Context, within time.Duration) bool {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.ended:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// tail keeps the end of what a worker writes.
type tail struct {
	to io.Writer // nil: nowhere else

	mu  sync.Mutex
	buf []byte
}

const tailSize = 2 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf = append(t.buf, b...); len(t.buf) > tailSize {
		t.buf = bytes.Clone(t.buf[len(t.buf)-tailSize:])
	}
	if t.to != nil {
		t.to.Write(b)
	}
	return len(b), nil
}

// last returns the last lines that were written.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(t.buf), "�")), "\n")
	return strings.Join(lines[max(0, len(lines)-4):], "\n")
}
