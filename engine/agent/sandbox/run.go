package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/process"
)

// word calls this binary as what begins a program.
const word = "__sandbox"

// Exit is how a program ended that did not end well.
type Exit syscall.WaitStatus

// Status returns what the system said.
func (e Exit) Status() syscall.WaitStatus { return syscall.WaitStatus(e) }

func (e Exit) Error() string {
	if s := e.Status(); s.Signaled() {
		return "signal: " + s.Signal().String()
	}
	return "exit status " + strconv.Itoa(e.Status().ExitStatus())
}

// Keep gives a program a directory of its own, which is where it keeps what it keeps at
// home or in /tmp if those are out of its reach. It returns the program's environment.
func (b *Box) Keep(env []string, dir string) []string {
	b.Own = append(b.Own, dir)
	if !b.Level.Confines() {
		return env
	}
	env = slices.DeleteFunc(env, func(v string) bool { return v == "HOME="+os.Getenv("HOME") })
	for _, name := range []string{"HOME", "TMPDIR"} {
		if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") }) {
			env = append(env, name+"="+dir)
		}
	}
	return env
}

// Box is where a program is run: its level, what it asks for, and directories that are
// its own.
type Box struct {
	Level  Level
	Ask    Ask
	Own    []string
	Policy Policy
}

// Box returns where a program is run that asks for a and works in dir; "": it has none. The
// error says why it cannot be run.
func (p Policy) Box(a Ask, dir string) (b Box, err error) {
	if dir != "" {
		a.Write = append(slices.Clone(a.Write), dir)
	}
	b = Box{Ask: a, Policy: p}
	b.Level, err = p.Grant(a)
	return b, err
}

// Run runs cmd in b, as process.RunBegun does. Its error is an Exit if the program ended
// otherwise than well, or why it was not begun.
func (b Box) Run(cmd *exec.Cmd, begun func(error)) error {
	if !b.shimmed() {
		return exitOf(process.RunBegun(cmd, begun))
	}
	path := cmd.Path
	r, w, err := os.Pipe()
	if err != nil {
		begun(err)
		return err
	}
	defer r.Close()
	args := append(b.args(cmd), "--")
	cmd.Path, cmd.Args = self, append(args, cmd.Args...)
	cmd.ExtraFiles = []*os.File{w} // 3 of the shim: what became of it, see tell
	isolate(cmd, b)
	err = process.RunBegun(cmd, func(err error) {
		w.Close()
		begun(err)
	})
	said, readErr := io.ReadAll(io.LimitReader(r, 4<<10))
	if cmd.ProcessState == nil || len(said) == 0 || readErr != nil {
		return exitOf(err)
	}
	kind, text := said[0], string(said[1:])
	n, _ := strconv.Atoi(text)
	switch kind {
	case saidExec:
		return &fs.PathError{Op: "exec", Path: path, Err: syscall.Errno(n)}
	case saidEnded:
		if s := syscall.WaitStatus(n); !s.Exited() || s.ExitStatus() != 0 {
			return Exit(s)
		}
		return err // it was told to end, perhaps, and ended well
	}
	return fmt.Errorf("the sandbox %s: %s", b.Level, text)
}

// shimmed reports whether it takes the shim to run a program so.
func (b Box) shimmed() bool {
	a := b.Ask
	return b.Level.Confines() || b.Level == Rlimits && (a.CPU > 0 || a.Memory > 0 || a.File > 0 || a.Processes > 0)
}

// exitOf makes the end of a process an Exit.
func exitOf(err error) error {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return Exit(e.Sys().(syscall.WaitStatus))
	}
	return err
}

// What the shim tells, before the text: that the program could not be executed (a number
// of an error), how it ended (a status), or why it was not tried.
const (
	saidExec  = 'x'
	saidEnded = 'e'
	saidWhy   = '!'
)

// args are those of the shim that begins cmd in b.
func (b Box) args(cmd *exec.Cmd) []string {
	args := []string{"wfd", word, string(b.Level), "x=" + cmd.Path, "d=" + cmd.Dir}
	if b.Ask.Network {
		args = append(args, "n=")
	}
	for name, v := range map[string]int64{"c": int64((b.Ask.CPU + time.Second - 1) / time.Second), "m": b.Ask.Memory, "f": b.Ask.File, "p": b.Ask.Processes} {
		if v > 0 {
			args = append(args, name+"="+strconv.FormatInt(v, 10))
		}
	}
	for _, path := range b.Ask.Read {
		args = append(args, "r="+path)
	}
	for _, path := range slices.Concat(b.Own, b.Ask.Write) {
		args = append(args, "w="+path)
	}
	for _, path := range b.programs(cmd) {
		args = append(args, "o="+path)
	}
	return args
}

// programs are what a program has to reach to be executed, and to execute others by name.
func (b Box) programs(cmd *exec.Cmd) []string {
	list := []string{cmd.Path}
	for _, v := range cmd.Env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			for _, dir := range filepath.SplitList(path) {
				// Who is given the root by PATH is given everything.
				if filepath.IsAbs(dir) && resolved(dir) != "/" && b.Policy.hidden(dir) == "" {
					list = append(list, dir)
				}
			}
		}
	}
	return list
}

// trial enters a level and nothing else.
func trial(l Level) error {
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Path, cmd.Dir = "", "/"
	return Box{Level: l}.Run(cmd, func(error) {})
}
