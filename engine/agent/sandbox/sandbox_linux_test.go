package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe" {
		probe(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// probe tries what a program should not be able to do, and says what it could.
func probe(args []string) {
	outside, tcp, sock, victim := args[0], args[1], args[2], args[3]
	pid, _ := strconv.Atoi(victim)
	dial := func(network, addr string) error {
		c, err := net.DialTimeout(network, addr, 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
	for _, p := range []struct {
		what string
		try  func() error
	}{
		{"read", func() error { _, err := os.ReadFile(outside + "/secret"); return err }},
		{"list", func() error { _, err := os.ReadDir(outside); return err }},
		{"shadow", func() error { _, err := os.ReadFile("/etc/shadow"); return err }},
		{"write", func() error { return os.WriteFile(outside+"/new", nil, 0o600) }},
		{"empty", func() error { return os.Truncate(outside+"/secret", 0) }},
		{"chmod", func() error { return os.Chmod(outside+"/secret", 0o644) }},
		{"tcp", func() error { return dial("tcp", tcp) }},
		{"udp", func() error { return dial("udp", tcp) }},
		{"socket", func() error { return dial("unix", sock) }},
		{"signal", func() error { return unix.Kill(pid, 0) }},
		{"limits", func() error { return unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)) }},
		{"environment", func() error { _, err := os.ReadFile("/proc/" + victim + "/environ"); return err }},
		{"ptrace", func() error {
			runtime.LockOSThread()
			if err := unix.PtraceSeize(pid); err != nil {
				return err
			}
			return nil
		}},
		{"namespace", func() error { return unix.Unshare(unix.CLONE_NEWUTS) }},
		{"own", func() error { return os.WriteFile("mine", []byte("x"), 0o600) }},
		{"device", func() error { return os.WriteFile("/dev/null", []byte("x"), 0) }},
		{"program", func() error { return exec.Command("sh", "-c", "cat mine; : > a; rm a; mkdir b").Run() }},
	} {
		if err := p.try(); err != nil {
			fmt.Println(p.what, "refused:", err)
		} else {
			fmt.Println(p.what, "done")
		}
	}
	var core unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	h, caps := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	_ = unix.Capget(&h, &caps[0])
	fmt.Println("core", core.Max, "rights", caps[0].Permitted|caps[1].Permitted)
}

// needs skips a test where the kernel cannot run programs at a level.
func needs(t *testing.T, l Level) {
	if err := Can(l); err != nil {
		t.Skipf("this machine has no sandbox %s: %v", l, err)
	}
}

// run runs this binary, or another program, in a box, and returns what it wrote.
func run(t *testing.T, b Box, dir string, argv ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), path, argv[1:]...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &out, &out, time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	b.Own = append(b.Own, dir)
	err = b.Run(cmd, func(error) {})
	return out.String(), err
}

// probed runs the probe in a box and returns what came of each attempt.
func probed(t *testing.T, b Box, given string) map[string]string {
	t.Helper()
	outside, dir := t.TempDir(), t.TempDir()
	if given != "" {
		b.Ask.Read = append(b.Ask.Read, outside)
	}
	if err := os.WriteFile(outside+"/secret", []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	sock, err := net.Listen("unix", outside+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer victim.Wait()
	defer victim.Process.Kill()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := run(t, b, dir, self, "probe", outside, tcp.Addr().String(), outside+"/s", strconv.Itoa(victim.Process.Pid))
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	for line := range strings.Lines(out) {
		what, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[what] = rest
	}
	if len(got) < 18 {
		t.Fatalf("the probe was cut off: %s", out)
	}
	return got
}

// What a program at landlock and at full is kept from it can do without, and what it is
// for it can do.
func TestSandbox(t *testing.T) {
	control := probed(t, Box{Level: None}, "")
	forbidden := map[Level][]string{
		Landlock: {"read", "list", "shadow", "write", "empty", "tcp", "udp", "socket", "limits", "environment", "ptrace", "namespace"},
	}
	forbidden[Full] = append(forbidden[Landlock], "chmod", "signal")
	for _, l := range []Level{Landlock, Full} {
		t.Run(string(l), func(t *testing.T) {
			needs(t, l)
			got := probed(t, Box{Level: l}, "")
			for _, what := range forbidden[l] {
				switch {
				case !strings.HasPrefix(got[what], "refused"):
					t.Errorf("%s: %s", what, got[what])
				case control[what] != "done" && os.Geteuid() == 0:
					t.Errorf("%s fails without a sandbox: %s", what, control[what])
				}
			}
			for _, what := range []string{"own", "device", "program"} {
				if got[what] != "done" {
					t.Errorf("%s: %s", what, got[what])
				}
			}
			if got["core"] != "0 rights 0" {
				t.Errorf("core %s", got["core"])
			}
		})
	}
}

// What is asked for is given, and no more.
func TestSandboxGives(t *testing.T) {
	for _, l := range []Level{Landlock, Full} {
		t.Run(string(l), func(t *testing.T) {
			needs(t, l)
			got := probed(t, Box{Level: l, Ask: Ask{Network: true}}, "read")
			for what, want := range map[string]string{"read": "done", "list": "done", "tcp": "done", "udp": "done", "write": "refused", "empty": "refused", "socket": "refused"} {
				if !strings.HasPrefix(got[what], want) {
					t.Errorf("%s: %s, want it %s", what, got[what], want)
				}
			}
		})
	}
}

// At full a process that leaves its group and session ends with its program all the same;
// without, it lives on.
func TestSandboxOrphan(t *testing.T) {
	for l, dies := range map[Level]bool{None: false, Full: true} {
		t.Run(string(l), func(t *testing.T) {
			needs(t, l)
			dir := t.TempDir()
			// The fifo has a writer for as long as the orphan lives.
			if err := unix.Mkfifo(dir+"/alive", 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := os.OpenFile(dir+"/alive", os.O_RDONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			out, err := run(t, Box{Level: l}, dir, "sh", "-c", `exec 3>alive; setsid sh -c 'echo $$ > pid; exec sleep 600' >/dev/null 2>&1 & while ! test -s pid; do sleep 0.01; done`)
			if err != nil {
				t.Fatal(err, out)
			}
			if !dies {
				b, _ := os.ReadFile(dir + "/pid")
				pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
				if err := unix.Kill(pid, unix.SIGKILL); err != nil {
					t.Errorf("the control's orphan: %v", err)
				}
			}
			r.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := r.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the orphan lives: %v", err)
			}
		})
	}
}

// How a program ends, and that it could not be begun, is told as without a sandbox.
func TestSandboxEnds(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("#!/nonexistent/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, l := range levels {
		t.Run(string(l), func(t *testing.T) {
			needs(t, l)
			b := Box{Level: l, Ask: Ask{CPU: time.Hour}} // so that rlimits has a shim
			for script, want := range map[string]string{"exit 0": "", "exit 7": "exit status 7", "kill -SEGV $$": "signal: segmentation fault", "kill -9 $$": "signal: killed"} {
				_, err := run(t, b, t.TempDir(), "sh", "-c", script)
				if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
					t.Errorf("%s: %v", script, err)
				}
			}
			var pe *os.PathError
			if _, err := run(t, b, t.TempDir(), bad); !errors.As(err, &pe) || !errors.Is(err, os.ErrNotExist) {
				t.Errorf("without an interpreter: %v", err)
			}
		})
	}
}

// The limits that are asked for are those of the program.
func TestSandboxLimits(t *testing.T) {
	b := Box{Level: Rlimits, Ask: Ask{CPU: 7 * time.Second, Memory: 1 << 30, File: 1 << 20, Processes: 4000}}
	for _, l := range []Level{Rlimits, Landlock, Full} {
		t.Run(string(l), func(t *testing.T) {
			needs(t, l)
			b.Level = l
			out, err := run(t, b, t.TempDir(), "sh", "-c", "ulimit -t; ulimit -d; ulimit -f; ulimit -c; head -c 2000000 /dev/zero > big")
			if want := "7\n1048576\n2048\n0\n"; !strings.HasPrefix(out, want) || err == nil {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
}

// Everyday programs run at full.
func TestSandboxPrograms(t *testing.T) {
	t.Setenv("PATH", "/usr/local/bin:/usr/bin:/bin")
	needs(t, Full)
	for _, argv := range [][]string{
		{"bash", "-c", `cat <(echo $((6*7))) && echo x | sort > out && test -w . && cd "$TMPDIR" && mktemp`},
		{"python3", "-c", `import json, os, subprocess, tempfile, multiprocessing, ssl; tempfile.TemporaryFile(); print(subprocess.run(["uname"]).returncode, os.cpu_count(), 42)`},
		{"node", "-e", `require("fs").writeFileSync("x", "y"); console.log(require("child_process").execFileSync("echo", ["42"]).toString(), require("os").cpus().length)`},
		{"git", "init", "-q", "."},
	} {
		t.Run(argv[0], func(t *testing.T) {
			if out, err := run(t, Box{Level: Full}, t.TempDir(), argv...); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// A program gets the level that it is to have, one that may take its place, or none.
func TestGrant(t *testing.T) {
	no := errors.New("not here")
	upTo := func(most Level) func(Level) error {
		return func(l Level) error {
			if l.rank() > most.rank() {
				return no
			}
			return nil
		}
	}
	for _, c := range []struct {
		policy string
		ask    Ask
		most   Level
		want   Level // "": refused
	}{
		{"", Ask{}, Full, Rlimits},
		{"", Ask{}, None, None},
		{"", Ask{Level: Full}, Full, Full},
		{"", Ask{Level: Full}, Landlock, ""},
		{"", Ask{Level: Full, Least: Rlimits}, Landlock, Landlock},
		{"", Ask{Level: None}, Full, None},
		{"full", Ask{}, Full, Full},
		{"full", Ask{}, Landlock, ""},
		{"full", Ask{Level: None}, Full, Full},
		{"full:landlock", Ask{}, Landlock, Landlock},
		{"full:landlock", Ask{}, Rlimits, ""},
		{"full:landlock", Ask{Level: None}, Full, Landlock},
		{"full:landlock", Ask{Level: Full, Least: None}, Landlock, Landlock},
	} {
		var p Policy
		if c.policy != "" {
			var err error
			if p, err = ParsePolicy(c.policy); err != nil {
				t.Fatal(err)
			}
		}
		got, err := p.grant(c.ask, upTo(c.most))
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, no) {
			t.Errorf("%q, asked for %+v, of at most %s: %q, %v; want %q", c.policy, c.ask, c.most, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "all", "landlock:full", "full:", "full:none:none"} {
		if p, err := ParsePolicy(bad); err == nil {
			t.Errorf("%q is %+v", bad, p)
		}
	}
	dir := t.TempDir()
	for path, fine := range map[string]bool{"/": false, filepath.Dir(dir): false, dir: false, dir + "/log": false, dir + "x": true, "x": false} {
		if _, err := (Policy{Hidden: []string{dir}}).grant(Ask{Level: Landlock, Write: []string{path}}, upTo(Full)); (err == nil) != fine {
			t.Errorf("%s: %v", path, err)
		}
	}
}
