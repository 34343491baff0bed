package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wfd-dev/wfd/engine/agent/sandbox"
)

// The main goroutine keeps the main thread. The log's writer ends the thread it is
// locked to, and under the race detector a process does not end whose main thread
// has.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"wfd": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("XDG_DATA_HOME", "")
			e.Setenv("XDG_CONFIG_HOME", "")
			for _, v := range []string{"OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"} {
				e.Setenv(v, "")
			}
			e.Setenv("WFD_DATA", filepath.Join(e.WorkDir, "data"))
			e.Setenv("NPM", filepath.Join(testDir, npmDir))
			e.Setenv("TEMPLATES", filepath.Join(testDir, "../../../shared/templates"))
			e.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second longer
			e.Values[daemonKey{}] = map[string]*daemon{}
			return os.MkdirAll(home, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "capture": capture, "daemon": startDaemon, "end": killDaemon,
			"await": await, "size": size, "raw": raw, "flip": flip, "forge": forge, "forge-archive": forgeArchive, "sleep": sleep,
			"echo-server": echoServer, "leaks": leaks, "model-server": modelServer, "tinyllm": tinyllm,
			"serving": serving,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "tinyllm":
				return hasTinyllm(), nil
			case "npm":
				return hasNpm(), nil
			case "sandbox":
				return sandbox.Can(sandbox.Full) == nil, nil
			case "root":
				return os.Getuid() == 0, nil
			case "daemonless":
				c, err := net.Dial("tcp", defaultAddr)
				if err == nil {
					c.Close()
				}
				return err != nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// code N command... runs a command that must exit with N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	have := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		have = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if have != want {
		ts.Fatalf("exit code %d, want %d", have, want)
	}
}

// capture NAME command... sets a variable to the last line of a command's output.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: capture NAME command...")
	}
	ts.Check(ts.Exec(args[1], args[2:]...))
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	first, _, _ := strings.Cut(lines[len(lines)-1], "\t")
	ts.Setenv(args[0], first)
}

type daemonKey struct{}

type daemon struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan error
}

// daemon NAME serve|dev flags... starts a daemon on a free port and waits until it
// is ready; NAME is set to its URL.
func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: daemon NAME serve|dev flags...")
	}
	path, err := exec.LookPath("wfd")
	ts.Check(err)
	d := &daemon{cmd: exec.Command(path, append(args[1:], "--addr", "127.0.0.1:0")...), log: &bytes.Buffer{}, done: make(chan error, 1)}
	d.cmd.Dir, d.cmd.Stderr = ts.Getenv("WORK"), d.log
	for _, v := range []string{
		"HOME", "PATH", "WFD_DATA", "WFD_TOKEN", "WFD_REPLIES", "WFD_ALLOW_ENV", "WFD_SECRET_PLANTED", "OPENAI_BASE_URL", "OPENAI_API_KEY", "COLOR", "ECHO", "TMPDIR", "GORACE",
	} {
		d.cmd.Env = append(d.cmd.Env, v+"="+ts.Getenv(v))
	}
	out, err := d.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(d.cmd.Start())
	ts.Defer(func() { d.cmd.Process.Kill() })
	url, err := bufio.NewReader(out).ReadString('\n')
	url = strings.TrimSpace(url)
	go func() { d.done <- d.cmd.Wait() }()
	if err != nil {
		<-d.done
		ts.Fatalf("no URL: %v\n%s", err, d.log)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get(url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				break
			}
		}
		if time.Now().After(end) {
			ts.Fatalf("the daemon is not ready\n%s", d.log)
		}
	}
	ts.Value(daemonKey{}).(map[string]*daemon)[args[0]] = d
	ts.Setenv(args[0], url)
	ts.Setenv("PID", strconv.Itoa(d.cmd.Process.Pid))
}

// serving NAME command... starts a program that prints its URL on its first line, and
// ends it with the script; NAME is set to the URL.
func serving(ts *testscript.TestScript, neg bool, args []string) {
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	log := &bytes.Buffer{}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir, cmd.Stderr = ts.Getenv("WORK"), log
	cmd.Env = []string{"HOME=" + ts.Getenv("HOME"), "PATH=" + ts.Getenv("PATH"), "GORACE=" + ts.Getenv("GORACE")}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		ts.Logf("%s: %s", args[0], log)
	})
	url, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimSpace(url))
}

// npmDir is where foreign programs are, if they are installed.
const npmDir = "../../testdata/npm"

func hasNpm() bool {
	_, err := exec.LookPath("node")
	_, missing := os.Stat(filepath.Join(testDir, npmDir, "node_modules", "@modelcontextprotocol", "sdk"))
	return err == nil && missing == nil
}

// end NAME KILL|TERM [code] signals a daemon and waits for its end.
func killDaemon(ts *testscript.TestScript, neg bool, args []string) {
	d := ts.Value(daemonKey{}).(map[string]*daemon)[args[0]]
	sig := map[string]syscall.Signal{"KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}[args[1]]
	ts.Check(d.cmd.Process.Signal(sig))
	select {
	case <-d.done:
	case <-time.After(15 * time.Second):
		ts.Fatalf("the daemon does not end\n%s", d.log)
	}
	ts.Logf("daemon: %s", d.log)
	if have := d.cmd.ProcessState.ExitCode(); len(args) > 2 && strconv.Itoa(have) != args[2] {
		ts.Fatalf("the daemon ended with %d, want %s", have, args[2])
	}
}

// await TEXT command... repeats a command until its output has a text.
func await(ts *testscript.TestScript, neg bool, args []string) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%q does not come: %v", args[0], err)
		}
	}
}

// size FILE N makes a file of N bytes that begins like a definition.
func size(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := append([]byte("name: big\n# "), bytes.Repeat([]byte("x"), n)...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// raw FILE TEXT writes a file with Go escapes in its text.
func raw(ts *testscript.TestScript, neg bool, args []string) {
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(args[1], `"`, `\"`) + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(s), 0o644))
}

// flip FILE TEXT changes a byte of the first place that has TEXT.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	i := bytes.Index(b, []byte(args[1]))
	if i < 0 {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	for ; i >= 0; i = bytes.Index(b, []byte(args[1])) {
		b[i] ^= 0x20
	}
	ts.Check(os.WriteFile(name, b, 0o600))
}

func sleep(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

// echo-server starts a server that answers with what it was sent, and sets ECHO to
// its URL. Below /refuse it does so with status 400, after many of them.
func echoServer(ts *testscript.TestScript, neg bool, args []string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said, err := httputil.DumpRequest(r, true)
		if err != nil {
			return
		}
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.Header().Set("Location", r.URL.String())
		if strings.HasPrefix(r.URL.Path, "/refuse") {
			w.WriteHeader(http.StatusBadRequest)
			said = []byte(strings.Repeat(r.URL.Query().Get("q")+" "+r.Header.Get("X-Other"), 20)) // the message is cut within one
		} else if r.Header.Get("Content-Type") == "application/json" {
			said = append(append([]byte(`{"body":`), said[bytes.Index(said, []byte("\r\n\r\n"))+4:]...), `,"url":`+strconv.Quote(r.URL.String())+`}`...)
		}
		w.Write(said)
	}))
	ts.Defer(s.Close)
	ts.Setenv("ECHO", s.URL)
	ts.Setenv("WFD_ALLOW_ENV", "ECHO")
	ts.Setenv("WFD_SECRET_PLANTED", "pl4nted/s3cret+value")
}

// leaks VALUE... fails if a value is in the data directory or in a daemon's log, as it
// is, or encoded.
func leaks(ts *testscript.TestScript, neg bool, args []string) {
	var forms []string
	for _, v := range args {
		b := []byte(v)
		forms = append(forms, v, url.QueryEscape(v), url.PathEscape(v), strings.Trim(strconv.Quote(v), `"`), hex.EncodeToString(b),
			base64.StdEncoding.EncodeToString(b), base64.StdEncoding.EncodeToString(append([]byte("user:"), b...)), v[:12], v[len(v)-10:])
	}
	look := func(where string, b []byte) {
		for _, f := range forms {
			if bytes.Contains(b, []byte(f)) {
				ts.Fatalf("%s holds %q", where, f)
			}
		}
	}
	files, size := 0, 0
	ts.Check(filepath.WalkDir(ts.Getenv("WFD_DATA"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		files++
		size += len(b)
		return err
	}))
	for name, d := range ts.Value(daemonKey{}).(map[string]*daemon) {
		look("the log of "+name, d.log.Bytes())
	}
	ts.Logf("looked through %d files with %d bytes", files, size)
	if size < 100_000 {
		ts.Fatalf("the data directory has %d bytes: is this all?", size)
	}
}
