package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// MaxStdout is how much a program may write to its standard output; more
	// fails the attempt, since a result cut short would be taken for a whole one.
	MaxStdout = 1 << 20

	// MaxStderr is how much of the end of a program's standard error is kept.
	MaxStderr = 64 << 10

	// stderrTail is how much of the end of standard error a failure tells.
	stderrTail = 2 << 10

	// execGrace is how long a program that is told to end has for that, and how
	// long its output may stay open after it.
	execGrace = time.Second
)

// Exec is the runner of exec nodes: it runs a program, never a shell.
type Exec struct {
	Disabled bool // every attempt fails: --no-exec
	Policy   sandbox.Policy
}

// PassedEnv are the variables a program inherits.
var PassedEnv = []string{"PATH", "HOME", "LANG"}

// errTooMuch ends a program that writes more than MaxStdout.
var errTooMuch = errors.New("too much output")

// Run implements Runner.
func (x *Exec) Run(ctx context.Context, t *Task) Answer {
	if x.Disabled {
		return final(event.ClassAuth, "exec nodes are turned off here (--no-exec)")
	}
	argv, err := argvOf(t.setting("command"))
	if err != nil {
		return final(event.ClassToolFailed, "command: %v", err)
	}
	env, err := envOf(t)
	if err != nil {
		return final(event.ClassToolFailed, "env: %v", err)
	}
	stdin, err := textOf(t.setting("stdin"))
	if err != nil {
		return final(event.ClassToolFailed, "stdin: %v", err)
	}
	dir, err := textOf(t.setting("dir"))
	if err != nil {
		return final(event.ClassToolFailed, "dir: %v", err)
	}
	path, err := program(argv[0], dir)
	if err != nil {
		return cannotStart(argv[0], err)
	}
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return final(event.ClassNotFound, "dir: %v", err)
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return final(event.ClassNotFound, "dir: there is no directory %s", dir)
		}
	}
	box, err := x.Policy.Box(SandboxAsk(t.setting("sandbox")), dir)
	if err != nil {
		return final(event.ClassAuth, "%s: %v", argv[0], err)
	}
	if dir == "" || box.Level.Confines() {
		tmp, err := os.MkdirTemp("", "wfd-exec-")
		if err != nil {
			return Fail(event.ClassUnavailable, "no working directory: %v", err)
		}
		defer removeAll(tmp)
		dir = cmp.Or(dir, tmp)
		env = box.Keep(env, tmp)
	}
	a := x.run(ctx, t, box, path, argv, env, stdin, dir)
	a.Sandbox = string(box.Level)
	return a
}

// run runs a program that may be run.
func (x *Exec) run(ctx context.Context, t *Task, box sandbox.Box, path string, argv, env []string, stdin, dir string) Answer {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stdout := &head{limit: MaxStdout, over: func() { stop(errTooMuch) }}
	stderr := &tail{limit: MaxStderr}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, stdout, stderr
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	cmd.WaitDelay = execGrace
	if err := box.Run(cmd, func(error) {}); err != nil {
		return execFailed(ctx, t, argv[0], err, stderr)
	}
	return Answer{Result: execResult(stdout.String(), stderr.text(t.Redact))}
}

func execResult(stdout, stderr string) map[string]any {
	r := map[string]any{"stdout": stdout, "stderr": stderr, "exit_code": int64(0)}
	if v, err := event.DecodeJSON([]byte(stdout)); err == nil {
		r["json"] = v
	}
	return r
}

func execFailed(ctx context.Context, t *Task, name string, err error, stderr *tail) Answer {
	var exit sandbox.Exit
	said := ""
	if s := strings.TrimSpace(stderr.text(t.Redact)); s != "" {
		if len(s) > stderrTail {
			s = "…" + strings.TrimLeftFunc(s[len(s)-stderrTail:], func(r rune) bool { return r == utf8.RuneError })
		}
		said = ": " + s
	}
	switch {
	case errors.Is(context.Cause(ctx), errTooMuch):
		return final(event.ClassToolFailed, "%s wrote more than %d bytes to its standard output", name, MaxStdout)
	case ctx.Err() != nil:
		a := interrupted(ctx, t, name)
		a.Failure.Message += said
		return a
	case !errors.As(err, &exit):
		return cannotStart(name, err)
	case exit.Status().Exited():
		return Fail(event.ClassToolFailed, "%s: exit code %d%s", name, exit.Status().ExitStatus(), said)
	}
	return Fail(event.ClassToolFailed, "%s: %v%s", name, exit, said)
}

func cannotStart(name string, err error) Answer {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return final(event.ClassNotFound, "there is no program %s in PATH", name)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return final(event.ClassNotFound, "cannot start %s: it, or the interpreter it names, is not there", name)
	case errors.Is(err, fs.ErrPermission):
		return final(event.ClassToolFailed, "cannot start %s: %v (is it executable?)", name, err)
	case errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.ENOEXEC), errors.Is(err, exec.ErrDot):
		return final(event.ClassToolFailed, "cannot start %s: %v", name, err)
	case errors.Is(err, syscall.EAGAIN):
		return Fail(event.ClassUnavailable, "cannot start %s: no more processes and threads may be made (pids.max, ulimit -u): %v", name, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return Fail(event.ClassUnavailable, "cannot start %s: no more files may be opened (ulimit -n): %v", name, err)
	case errors.Is(err, syscall.ENOMEM):
		return Fail(event.ClassUnavailable, "cannot start %s: there is no memory for it: %v", name, err)
	}
	return Fail(event.ClassUnavailable, "cannot start %s: %v", name, err)
}

// argvOf returns a command's words. Numbers and booleans are written out; there
// is no splitting, quoting or expansion of any kind.
func argvOf(command any) ([]string, error) {
	list, ok := command.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("want a list: the program, then its arguments")
	}
	argv := make([]string, len(list))
	for i, v := range list {
		switch v.(type) {
		case nil, []any, map[string]any:
			return nil, fmt.Errorf("word %d is no text", i+1)
		}
		s, err := textOf(v)
		if err != nil {
			return nil, err
		}
		if strings.ContainsRune(s, 0) {
			return nil, fmt.Errorf("word %d contains a NUL character", i+1)
		}
		argv[i] = s
	}
	if argv[0] == "" {
		return nil, errors.New("the program has no name")
	}
	return argv, nil
}

// envOf returns the environment of a task's program.
func envOf(t *Task) ([]string, error) {
	env := map[string]string{}
	for _, name := range PassedEnv {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	switch own := t.setting("env").(type) {
	case nil:
	case map[string]any:
		for name, v := range own {
			s, err := textOf(v)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(s, 0) {
				return nil, fmt.Errorf("%s cannot be set: a name has no =, and nothing contains NUL", strconv.Quote(name))
			}
			env[name] = s
		}
	default:
		return nil, errors.New("want an object")
	}
	env["WFD_RUN"] = t.Run.String()
	env["WFD_NODE"] = t.Node
	env["WFD_VISIT"] = strconv.Itoa(t.Visit)
	env["WFD_ATTEMPT"] = strconv.Itoa(t.Attempt)
	env["WFD_IDEMPOTENCY_KEY"] = t.Key()
	if t.Traceparent != "" {
		env["TRACEPARENT"] = t.Traceparent
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}

// textOf returns a setting as text: text as it is, nothing as "", other values
// as JSON.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// program finds what a command names: without a slash in PATH, else in dir, or
// where the engine runs if the task has no directory of its own.
func program(name, dir string) (string, error) {
	if !strings.ContainsRune(name, filepath.Separator) {
		return exec.LookPath(name)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return filepath.Abs(name)
}

// removeAll removes a working directory, also what the program made read-only.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir) // what is left now is in the temporary directory, for whoever cleans that
}
