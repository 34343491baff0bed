package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminal reports whether f is a terminal from which this process may read: one in
// the background would be stopped for it.
func terminal(f *os.File) bool {
	pgrp, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && pgrp == unix.Getpgrp()
}

// byKey makes a terminal hand out keys as they are pressed, without showing them, and
// returns what makes it as it was. Control-C goes on to interrupt.
func byKey(f *os.File) (restore func()) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {} // no terminal: keys come with the next line
	}
	t := *was
	t.Lflag &^= unix.ICANON | unix.ECHO
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &t); err != nil {
		return func() {}
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, was) }
}
