package mcp

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/process"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/projection/event"
)

// endTime is how long a program has to end once its input is closed.
const endTime = 2 * time.Second

// lastTime is how long is waited for a program to have ended that has closed its output.
const lastTime = 300 * time.Millisecond

// transport returns the way to a server, and what ends it: that returns how its program
// has ended, if that ended before.
func (v *server) transport() (t sdk.Transport, end func() error, err error) {
	filled := func(m map[string]string) (map[string]string, error) {
		out := map[string]string{}
		for k, text := range m {
			value, err := fill(text, v.all.secrets.Get)
			if err != nil {
				f := v.failure(event.ClassAuth, "%v", err)
				f.Again = new(bool)
				return nil, f
			}
			out[k] = value
		}
		return out, nil
	}
	if v.config.URL != "" {
		headers, err := filled(v.config.Headers)
		if err != nil {
			return nil, nil, err
		}
		return &sdk.StreamableClientTransport{
			Endpoint: v.config.URL, MaxRetries: -1, MaxEventSize: maxMessage, DisableStandaloneSSE: true,
			HTTPClient: &http.Client{
				Transport: withHeaders{headers},
				// A redirect would carry the headers to somebody else.
				CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("the server redirects elsewhere") },
			},
		}, func() error { return nil }, nil
	}
	env, err := filled(v.config.Env)
	if err != nil {
		return nil, nil, err
	}
	return v.start(env)
}

// withHeaders adds headers to every request.
type withHeaders struct{ headers map[string]string }

func (h withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range h.headers {
		r.Header.Set(k, v)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// start starts a server's program.
func (v *server) start(env map[string]string) (sdk.Transport, func() error, error) {
	cmd := exec.CommandContext(v.all.ctx, v.config.Command[0], v.config.Command[1:]...)
	cmd.Dir = v.config.Dir
	for _, name := range agent.PassedEnv {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	for k, value := range env {
		cmd.Env = append(cmd.Env, k+"="+value)
	}
	box, tmp, err := v.box(cmd)
	if err != nil {
		return nil, nil, err
	}
	said := &lineLog{v: v}
	cmd.Stderr = said
	in, err := cmd.StdoutPipe() // ends as soon as the program does
	if err != nil {
		return nil, nil, v.failure(event.ClassUnavailable, "%v", err)
	}
	out, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, v.failure(event.ClassUnavailable, "%v", err)
	}
	cmd.WaitDelay = endTime
	begun := make(chan error, 1)
	ended := make(chan struct{})
	var status error
	v.all.wg.Go(func() {
		defer close(ended)
		status = box.Run(cmd, func(err error) { begun <- err })
		os.RemoveAll(tmp)
	})
	if err := <-begun; err != nil {
		f := v.failure(event.ClassUnavailable, "cannot start %s: %v", v.config.Command[0], err)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.delay(err)
		return nil, nil, f
	}
	end := func() error {
		select {
		case <-ended:
			return v.ended(status, said)
		case <-time.After(lastTime):
		}
		out.Close()
		select {
		case <-ended:
			return nil
		case <-time.After(endTime):
		}
		process.Signal(cmd, syscall.SIGTERM) // it has ended, or it ends; the next signal is final
		select {
		case <-ended:
		case <-time.After(endTime):
			process.Signal(cmd, syscall.SIGKILL)
			<-ended
		}
		return nil
	}
	return &sdk.IOTransport{Reader: in, Writer: out, MaxLineLength: maxMessage}, end, nil
}

// box returns where a server's program is run, and the directory that was made for it; "" if
// none was.
func (v *server) box(cmd *exec.Cmd) (box sandbox.Box, tmp string, err error) {
	if cmd.Dir != "" {
		if cmd.Dir, err = filepath.Abs(cmd.Dir); err != nil {
			return box, "", v.failure(event.ClassNotFound, "dir: %v", err)
		}
	}
	if box, err = v.all.policy.Box(v.config.Sandbox, cmd.Dir); err != nil {
		f := v.failure(event.ClassAuth, "%v", err)
		f.Again = new(bool)
		return box, "", f
	}
	if box.Level.Confines() {
		if tmp, err = os.MkdirTemp("", "wfd-mcp-"); err != nil {
			return box, "", v.failure(event.ClassUnavailable, "no directory for its program: %v", err)
		}
		cmd.Dir = cmp.Or(cmd.Dir, tmp)
		cmd.Env = box.Keep(cmd.Env, tmp)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.level = box.Level
	return box, tmp, nil
}

// ended says how a program has ended by itself, and what it said last.
func (v *server) ended(status error, said *lineLog) error {
	how := "exit status 0"
	if status != nil {
		how = status.Error()
	}
	if last := said.last(); last != "" {
		how += ": " + last
	}
	return fmt.Errorf("the program %s has ended: %s", v.config.Command[0], v.all.secrets.Redactor().Head(how, maxLine))
}

// lineLog writes what a program says on standard error to the daemon's log.
type lineLog struct {
	v    *server
	line []byte
	tail []string // the last lines, at most tailLines
}

// tailLines is how many of a program's last lines are told when it has ended.
const tailLines = 3

// last is what the program said last. It is called once the program has ended.
func (l *lineLog) last() string {
	lines := l.tail
	if len(l.line) > 0 {
		lines = append(lines, string(l.line))
	}
	return strings.Join(lines, " / ")
}

// maxLine is how long a line of the log may be; a longer one comes in pieces.
const maxLine = 4 << 10

func (l *lineLog) Write(p []byte) (int, error) {
	for _, c := range p {
		if c != '\n' {
			l.line = append(l.line, c)
		}
		if c == '\n' || len(l.line) == maxLine {
			l.v.all.slog.Info("an MCP server says", "server", l.v.config.Name, "line", string(l.line))
			if l.tail = append(l.tail, string(l.line)); len(l.tail) > tailLines {
				l.tail = l.tail[1:]
			}
			l.line = l.line[:0]
		}
	}
	return len(p), nil
}
