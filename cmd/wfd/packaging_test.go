package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The service manager is told when the daemon is ready, that it lives, and that it ends.
func TestServiceManager(t *testing.T) {
	wfd, err := exec.LookPath("wfd")
	if err != nil {
		t.Fatal(err)
	}
	// A socket's path is short.
	dir, err := os.MkdirTemp("", "wfd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetReadDeadline(time.Now().Add(30 * time.Second))
	heard := map[string]int{}
	await := func(want string) {
		t.Helper()
		for b := make([]byte, 256); heard[want] == 0; {
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("%s does not come, after %v: %v", want, heard, err)
			}
			heard[string(b[:n])]++
		}
	}
	daemon := exec.Command(wfd, "serve", "--data", filepath.Join(dir, "data"), "--addr", "127.0.0.1:0", "--log-level", "error")
	daemon.Env = append(os.Environ(), "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=300000")
	daemon.Stderr = os.Stderr
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	await("READY=1")
	heard["WATCHDOG=1"] = 0
	await("WATCHDOG=1")
	daemon.Process.Signal(os.Interrupt)
	await("STOPPING=1")
	if err := daemon.Wait(); err != nil {
		t.Error(err)
	}
}

const packaging = "../../docs/packaging/"

// The unit is one that systemd takes.
func TestUnit(t *testing.T) {
	wfd, err := exec.LookPath("wfd")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(packaging + "wfd.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Type=notify", "WatchdogSec=", "NoNewPrivileges=yes", "ProtectSystem=strict", "StateDirectory=wfd"} {
		if !bytes.Contains(unit, []byte("\n"+line)) {
			t.Errorf("the unit has no %s", line)
		}
	}
	started := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/wfd (.*)$`).FindSubmatch(unit)
	if started == nil {
		t.Fatal("the unit does not start /usr/bin/wfd")
	}
	if out, err := exec.Command(wfd, append(strings.Fields(string(started[1])), "--help")...).CombinedOutput(); err != nil {
		t.Errorf("wfd %s: %v\n%s", started[1], err, out)
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: the unit is not verified")
	}
	file := filepath.Join(t.TempDir(), "wfd.service")
	if err := os.WriteFile(file, bytes.ReplaceAll(unit, []byte("/usr/bin/wfd"), []byte(wfd)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", file).CombinedOutput(); err != nil || bytes.Contains(out, []byte("wfd.service:")) {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}

// The image's build names what is there: files, the target, the command that says whether
// the daemon is ready.
func TestContainerfile(t *testing.T) {
	text, err := os.ReadFile(packaging + "Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	for _, want := range []string{"golang:" + string(version[1]) + " AS build", "FROM scratch", "\nUSER 65532", "HEALTHCHECK", "\nRUN make build "} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the Containerfile has no %q", want)
		}
	}
	for _, m := range regexp.MustCompile(`CMD \["(?:/wfd", ")?(\w+)"\]`).FindAllSubmatch(text, -1) {
		a := &app{stdout: io.Discard, stderr: io.Discard}
		if c, _, err := a.root().Find([]string{string(m[1])}); err != nil || c.Name() != string(m[1]) {
			t.Errorf("the image calls wfd %s, which is no command", m[1])
		}
	}
}

// Two builds from two directories are the same, byte for byte. They share a cache of
// compiled packages; make reproducible compares two that share nothing.
func TestReproducible(t *testing.T) {
	list, err := exec.Command("git", "-C", "../..", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.go", "go.mod", "go.sum", "Makefile", "cmd", "examples", "engine", "projection").Output()
	if err != nil {
		t.Skip("this is no checkout of git")
	}
	sums := map[string]bool{}
	from := "../.."
	for _, name := range []string{"a", "elsewhere/b"} {
		dir := filepath.Join(t.TempDir(), name)
		for _, file := range strings.Split(strings.Trim(string(list), "\x00"), "\x00") {
			copyFile(t, filepath.Join(from, file), filepath.Join(dir, file))
		}
		from = dir // whatever becomes of the sources meanwhile
		cmd := exec.Command("make", "build", "VERSION=v0.0.1")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		binary := filepath.Join(dir, "bin", "wfd")
		b, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		sums[fmt.Sprintf("%x", sha256.Sum256(b))] = true
		if bytes.Contains(b, []byte(dir)) {
			t.Errorf("the binary names %s", dir)
		}
		out, err := exec.Command(binary, "version").Output()
		if err != nil || !strings.HasPrefix(string(out), "wfd v0.0.1 ") {
			t.Errorf("%s, %v", out, err)
		}
	}
	if len(sums) != 1 {
		t.Errorf("two builds differ: %v", sums)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		return // removed, and not committed yet
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
