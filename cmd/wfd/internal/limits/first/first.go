// Package first ends the process before anything else is initialized if it may open so few
// files that it gets nowhere.
//
// Packages that others wrote open files as they are initialized, which is before main, and
// where the runtime of Go gets no file to wait with it ends the process with a stack trace.
// Packages are initialized in the order of their names, of those whose imports are done: one
// that imports next to nothing comes before them.
package first

import "syscall"

// Files is how many files every command needs: standard input and output, what the runtime
// waits with, and those of a data directory.
const Files = 16

// ExitCode is what a command ends with for want of something that the system does not let
// it have.
const ExitCode = 7

func init() {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur >= Files {
		return
	}
	n := string([]byte{'0' + byte(l.Cur/10), '0' + byte(l.Cur%10)})
	if l.Cur < 10 {
		n = n[1:]
	}
	// Nobody is left to be told that this cannot be written.
	_, _ = syscall.Write(2, []byte("wfd: only "+n+" files may be open at once (RLIMIT_NOFILE); a command needs at least 16\n"+
		"hint: ulimit -n 4096, or LimitNOFILE=4096 in the unit\n"))
	syscall.Exit(ExitCode)
}
