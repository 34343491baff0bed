//go:build !linux

package process

import (
	"os/exec"
	"syscall"
)

// isolate gives cmd a process group and lets it be told to end as a whole.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return Signal(cmd, syscall.SIGTERM) }
}

// reap does nothing: here the process cannot be seen to have ended without
// giving up its number, so what it leaves behind lives on.
func reap(int) {}
