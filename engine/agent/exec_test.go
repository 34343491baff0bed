package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

func command(words ...any) *Task {
	return &Task{
		Run: eventlog.RunID{1}, Node: "n", Visit: 2, Attempt: 3, Kind: workflow.Exec,
		Settings: map[string]any{"command": words},
	}
}

func with(t *Task, name string, v any) *Task {
	t.Settings[name] = v
	return t
}

func sh(script string) *Task { return command("sh", "-c", script) }

func result(t *testing.T, task *Task) map[string]any {
	t.Helper()
	a := new(Exec).Run(t.Context(), task)
	if a.Failure != nil {
		t.Fatal(a.Failure)
	}
	return a.Result.(map[string]any)
}

// refused runs a task that is to fail and returns the failure.
func refused(t *testing.T, a Answer, class string, words ...string) *Failure {
	t.Helper()
	if a.Failure == nil {
		t.Fatalf("it went well: %v", a.Result)
	}
	if a.Failure.Class != class {
		t.Errorf("got %v, want the class %s", a.Failure, class)
	}
	for _, w := range words {
		if !strings.Contains(a.Failure.Message, w) {
			t.Errorf("%q does not say %q", a.Failure.Message, w)
		}
	}
	return a.Failure
}

func TestExecResult(t *testing.T) {
	got := result(t, with(sh(`cat; echo note >&2`), "stdin", map[string]any{"a": []any{int64(1), "x"}}))
	want := map[string]any{
		"stdout": `{"a":[1,"x"]}`, "stderr": "note\n", "exit_code": int64(0),
		"json": map[string]any{"a": []any{int64(1), "x"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	got = result(t, command("echo", "a", int64(3), true, "two words"))
	if _, has := got["json"]; has || got["stdout"] != "a 3 true two words\n" {
		t.Errorf("got %v", got)
	}
	if got := result(t, command("printf", `a\377b`))["stdout"]; got != "a\ufffdb" {
		t.Errorf("got %q", got)
	}
}

// Settings without anything to evaluate are those of the definition.
func TestExecLiteralSettings(t *testing.T) {
	task := sh("")
	task.Settings = nil
	task.Def = &workflow.Node{Def: &workflow.NodeDef{Fields: map[string]any{"command": []any{"echo", "hi"}}}}
	if got := result(t, task)["stdout"]; got != "hi\n" {
		t.Errorf("got %q", got)
	}
}

// No shell sees the words of a command.
func TestExecInjection(t *testing.T) {
	for _, word := range []string{"; touch pwned", "$(touch pwned)", "`touch pwned`", "a\ntouch pwned", "| touch pwned", "-n", "*", "$HOME", "'\"", "&& x"} {
		if got := result(t, command("printf", "%s", word))["stdout"]; got != word {
			t.Errorf("%q became %q", word, got)
		}
	}
	refused(t, new(Exec).Run(t.Context(), command("echo", "a\x00b")), event.ClassToolFailed, "NUL")
	refused(t, new(Exec).Run(t.Context(), command("echo", strings.Repeat("x", 4<<20))), event.ClassToolFailed, "argument list too long")
}

// A program gets a few variables, its node's own, and the name of its attempt.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("SECRET_OF_THE_DAEMON", "canary")
	t.Setenv("LD_PRELOAD", "/nonexistent.so")
	t.Setenv("LANG", "C")
	task := with(command("env"), "env", map[string]any{"OWN": "a b", "WFD_RUN": "forged"})
	names := map[string]string{}
	for line := range strings.Lines(result(t, task)["stdout"].(string)) {
		name, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		names[name] = v
	}
	for name, want := range map[string]string{
		"OWN": "a b", "LANG": "C", "WFD_RUN": task.Run.String(), "WFD_NODE": "n", "WFD_VISIT": "2", "WFD_ATTEMPT": "3",
		"WFD_IDEMPOTENCY_KEY": task.Run.String() + "/n/2", "PATH": os.Getenv("PATH"),
	} {
		if names[name] != want {
			t.Errorf("%s=%q, want %q", name, names[name], want)
		}
	}
	for name := range names {
		switch name {
		case "PATH", "HOME", "LANG", "OWN", "PWD":
		default:
			if !strings.HasPrefix(name, "WFD_") {
				t.Errorf("%s was passed on", name)
			}
		}
	}
	for _, env := range []any{map[string]any{"": "x"}, map[string]any{"a=b": "x"}, map[string]any{"a": "x\x00y"}, "x"} {
		refused(t, new(Exec).Run(t.Context(), with(command("env"), "env", env)), event.ClassToolFailed, "env: ")
	}
}

func TestExecDirectory(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	dir := strings.TrimSpace(result(t, sh(`pwd; mkdir -p a/b; touch a/b/c; chmod 500 a/b a`))["stdout"].(string))
	if filepath.Dir(dir) != tmp {
		t.Errorf("it ran in %s", dir)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("%s was left behind", left[0].Name())
	}

	own := t.TempDir()
	if err := os.WriteFile(filepath.Join(own, "script"), []byte("#!/bin/sh\npwd\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := result(t, with(command("./script"), "dir", own))["stdout"]; got != own+"\n" {
		t.Errorf("it ran in %q", got)
	}
	refused(t, new(Exec).Run(t.Context(), with(command("true"), "dir", own+"/none")), event.ClassNotFound, own+"/none")

	// Without a directory of its own, a task's program is found where the engine runs.
	t.Chdir(own)
	if got := result(t, command("./script"))["stdout"]; !strings.HasPrefix(got.(string), tmp) {
		t.Errorf("it ran in %q", got)
	}
}

func TestExecFailures(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"plain": "x", "bad": "#!/nonexistent/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "bad"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		task  *Task
		class string
		words []string
		again bool // left to the class
	}{
		"exit code":      {sh("echo some hint >&2; exit 3"), event.ClassToolFailed, []string{"sh: exit code 3: some hint"}, true},
		"quiet":          {command("false"), event.ClassToolFailed, []string{"false: exit code 1"}, true},
		"signal":         {sh("kill -SEGV $$"), event.ClassToolFailed, []string{"segmentation fault"}, true},
		"no program":     {command("no-such-program"), event.ClassNotFound, []string{"no program no-such-program in PATH"}, false},
		"no file":        {command("./none"), event.ClassNotFound, []string{"./none"}, false},
		"no interpreter": {command(filepath.Join(dir, "bad")), event.ClassNotFound, []string{"interpreter"}, false},
		"not executable": {command(filepath.Join(dir, "plain")), event.ClassToolFailed, []string{"permission denied"}, false},
		"no command":     {command(), event.ClassToolFailed, []string{"command: want a list"}, false},
		"empty name":     {command(""), event.ClassToolFailed, []string{"no name"}, false},
		"no text":        {command("echo", nil), event.ClassToolFailed, []string{"word 2"}, false},
		"an object":      {command("echo", map[string]any{}), event.ClassToolFailed, []string{"word 2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := refused(t, new(Exec).Run(t.Context(), c.task), c.class, c.words...)
			if (f.Again == nil) != c.again {
				t.Errorf("again: %v", f.Again)
			}
		})
	}
	f := refused(t, (&Exec{Disabled: true}).Run(t.Context(), command("true")), event.ClassAuth, "--no-exec")
	if f.Again == nil || *f.Again {
		t.Error("a disabled node would be tried again")
	}
}

// Too much output ends a program; of its errors the end is kept.
func TestExecOutputLimits(t *testing.T) {
	start := time.Now()
	refused(t, new(Exec).Run(t.Context(), command("yes")), event.ClassToolFailed, "more than 1048576 bytes")
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %s", d)
	}
	if got := result(t, sh(`head -c 1048576 /dev/zero | tr '\0' x`))["stdout"].(string); len(got) != MaxStdout {
		t.Errorf("%d bytes", len(got))
	}
	got := result(t, sh(`head -c 1000000 /dev/zero | tr '\0' x >&2; echo end >&2`))["stderr"].(string)
	note := fmt.Sprintf("[the first %d bytes are left out]\n", 1_000_004-MaxStderr)
	if !strings.HasPrefix(got, note) || !strings.HasSuffix(got, "xend\n") || len(got) != len(note)+MaxStderr {
		t.Errorf("%d bytes: %.60s…", len(got), got)
	}
	f := refused(t, new(Exec).Run(t.Context(), sh(`printf 'é%.0s' $(seq 5000) >&2; exit 1`)), event.ClassToolFailed, "exit code 1: …")
	if len(f.Message) > 2*stderrTail {
		t.Errorf("the message has %d bytes", len(f.Message))
	}
}

func alive(t *testing.T, pidFile string) bool {
	t.Helper()
	b, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil
}

func waitGone(t *testing.T, pidFile string) {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); alive(t, pidFile); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a process is left")
		}
	}
}

// When its time is over, or it is cancelled, a program ends with all that it
// started, whether it listens or not.
func TestExecEndsAsGroup(t *testing.T) {
	for name, script := range map[string]string{
		"plain":   `sleep 60 & echo $! > "$P"; wait`,
		"deaf":    `trap '' TERM; (trap '' TERM; sleep 60) & echo $! > "$P"; while :; do sleep 1; done`,
		"outputs": `(while :; do echo x; sleep 0.01; done) & echo $! > "$P"; sleep 60`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pid := filepath.Join(t.TempDir(), "pid")
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			task := with(sh(script), "env", map[string]any{"P": pid})
			task.Timeout = 300 * time.Millisecond
			refused(t, new(Exec).Run(ctx, task), event.ClassTimeout, "sh: not done within 300ms")
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("it took %s", d)
			}
			waitGone(t, pid)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		refused(t, new(Exec).Run(ctx, command("sleep", "60")), event.ClassCancelled)
		refused(t, new(Exec).Run(ctx, command("true")), event.ClassCancelled)
	})
	t.Run("told first", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		refused(t, new(Exec).Run(ctx, sh(`trap 'echo cleaned up >&2; exit 0' TERM; while :; do sleep 0.01; done`)), event.ClassTimeout, "cleaned up")
	})
}

// What a program leaves behind does not keep its task from ending, nor live on.
func TestExecLeavesNothingBehind(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	start := time.Now()
	got := result(t, with(sh(`sleep 60 & echo $! > "$P"; echo done`), "env", map[string]any{"P": pid}))
	if got["stdout"] != "done\n" {
		t.Errorf("got %v", got)
	}
	waitGone(t, pid)
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestExecNoCore(t *testing.T) {
	if got := result(t, sh(`sleep 0.1; ulimit -c`))["stdout"]; got != "0\n" {
		t.Errorf("core files of %q blocks", got)
	}
}

func TestExecConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := new(Exec).Run(t.Context(), command("echo", fmt.Sprint(i)))
			if a.Failure != nil || a.Result.(map[string]any)["stdout"] != fmt.Sprintln(i) {
				t.Errorf("%d: %v, %v", i, a.Result, a.Failure)
			}
		})
	}
	wg.Wait()
}

// A program runs in the sandbox that its node asks for, or does not; the answer says in
// which. What it has at home and in /tmp otherwise is in a directory of its own.
func TestExecSandbox(t *testing.T) {
	if err := sandbox.Can(sandbox.Full); err != nil {
		t.Skipf("this machine has no sandbox full: %v", err)
	}
	own, other := t.TempDir(), t.TempDir()
	full := map[string]any{"level": "full"}
	a := new(Exec).Run(t.Context(), with(with(sh(`echo x > mine && echo y > "$TMPDIR/z" && cd && pwd && ! echo x > `+other+`/y`), "sandbox", full), "dir", own))
	if a.Failure != nil || a.Sandbox != "full" {
		t.Fatalf("%+v, %v", a, a.Failure)
	}
	home := strings.TrimSpace(a.Result.(map[string]any)["stdout"].(string))
	if _, err := os.Stat(home); home == own || !os.IsNotExist(err) {
		t.Errorf("it was at home in %s, which is left: %v", home, err)
	}
	if b, err := os.ReadFile(own + "/mine"); string(b) != "x\n" {
		t.Errorf("%q, %v", b, err)
	}
	a = new(Exec).Run(t.Context(), with(sh("exit 4"), "sandbox", full))
	if refused(t, a, event.ClassToolFailed, "exit code 4"); a.Sandbox != "full" {
		t.Errorf("a failure in the sandbox %q", a.Sandbox)
	}
	trapped := with(sh(`trap 'echo cleaned up >&2; exit 0' TERM; while :; do sleep 0.01; done`), "sandbox", full)
	for timeout := 500 * time.Millisecond; ; timeout *= 4 {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		a = new(Exec).Run(ctx, trapped)
		cancel()
		if timeout > 30*time.Second || a.Failure == nil || strings.Contains(a.Failure.Message, "cleaned up") {
			break // else it had not yet begun, on a slow machine
		}
	}
	refused(t, a, event.ClassTimeout, "cleaned up")

	hidden := &Exec{Policy: sandbox.Policy{Hidden: []string{own}}}
	a = hidden.Run(t.Context(), with(with(command("true"), "sandbox", full), "dir", own))
	if f := refused(t, a, event.ClassAuth, own); f.Again == nil || *f.Again || a.Sandbox != "" {
		t.Errorf("%+v", a)
	}
	if a := hidden.Run(t.Context(), with(command("true"), "dir", own)); a.Failure != nil || a.Sandbox != "rlimits" {
		t.Errorf("%+v", a)
	}
}
