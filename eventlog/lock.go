package eventlog

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// LockedError says which process holds the data directory. It Is [ErrLocked].
type LockedError struct {
	Dir     string
	PID     int    // 0 if not known, or if only readers hold it
	Address string // where that process can be reached, if it said so
}

func (e *LockedError) Error() string {
	s := fmt.Sprintf("data directory %s is in use", e.Dir)
	if e.PID != 0 {
		s += fmt.Sprintf(" by process %d", e.PID)
	}
	if e.Address != "" {
		s += " at " + e.Address
	}
	return s
}

// Is makes a LockedError match [ErrLocked].
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// dirLock is the lock on a data directory: flock on its file LOCK, exclusive
// for the writer and shared among readers. The file's first line is the
// writer's process ID, its second the address that it can be reached at.
//
// A flock is on the inode, not on the name: whoever renames the directory and
// puts another in its place would let a second writer in, so check compares
// both.
type dirLock struct {
	dir  string
	file *os.File
	stat os.FileInfo // of dir
	// unclean: the last writer did not give the lock up, it was ended.
	unclean bool
}

func lockDir(dir string, shared bool) (*dirLock, error) {
	path := filepath.Join(dir, "LOCK")
	flag, how := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if shared && errors.Is(err, os.ErrPermission) {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			e := &LockedError{Dir: dir}
			e.PID, e.Address = readLock(f)
			return nil, e
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	l := &dirLock{dir: dir, file: f}
	if !shared {
		pid, _ := readLock(f)
		l.unclean = pid != 0
	}
	if l.stat, err = os.Stat(dir); err == nil {
		if err = l.check(); err == nil && !shared {
			err = l.write("")
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return l, nil
}

func readLock(f *os.File) (pid int, address string) {
	sc := bufio.NewScanner(f)
	if sc.Scan() {
		pid, _ = strconv.Atoi(sc.Text())
	}
	if sc.Scan() {
		address = sc.Text()
	}
	return pid, address
}

func (l *dirLock) write(address string) error {
	text := fmt.Sprintf("%d\n%s\n", os.Getpid(), strings.ReplaceAll(address, "\n", " "))
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// check reports an error if the directory or its lock file is no longer the
// one that was locked.
func (l *dirLock) check() error {
	dir, err := os.Stat(l.dir)
	if err != nil {
		return err
	}
	mine, err := l.file.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(filepath.Join(l.dir, "LOCK"))
	if err != nil {
		return err
	}
	if !os.SameFile(dir, l.stat) || !os.SameFile(mine, now) {
		return fmt.Errorf("%s was replaced while it was in use", l.dir)
	}
	return nil
}

// close gives the lock up. An exclusive holder empties the file first, so that
// what is left of it names nobody, unless it leaves something that the next one
// must not take on trust.
func (l *dirLock) close(shared bool) error {
	if !shared && !l.unclean {
		l.file.Truncate(0) // the lock is what counts: a stale name does no harm
	}
	// Closing is not enough: a child that is being forked at this moment has the
	// file open too, until it executes its program.
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
