// Package process runs programs as groups that end as a whole: when they are told to,
// and, where the system allows, when whoever started them dies.
package process

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Run starts cmd as a process group of its own and waits for it. What is left of the
// group when its first process ends is killed.
func Run(cmd *exec.Cmd) error {
	return RunBegun(cmd, func(error) {})
}

// RunBegun is Run; begun is called once the program is started, or could not be.
func RunBegun(cmd *exec.Cmd, begun func(error)) error {
	// The kernel sends the death signal when the thread that started the program
	// ends, so this thread stays ours until the program has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	isolate(cmd)
	err := cmd.Start()
	begun(err)
	if err != nil {
		return err
	}
	reap(cmd.Process.Pid)
	err = cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it ended well; something it left behind had its output open
	}
	return err
}

// Signal sends a signal to the group that cmd leads.
func Signal(cmd *exec.Cmd, sig syscall.Signal) error {
	err := syscall.Kill(-cmd.Process.Pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}
