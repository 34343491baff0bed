package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Holder returns who holds a data directory, nil if nobody writes to it. It keeps
// nothing: by the time that it has returned somebody else may hold it.
func Holder(dir string) (*LockedError, error) {
	f, err := os.Open(filepath.Join(dir, "LOCK"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		e := &LockedError{Dir: dir}
		e.PID, e.Address = readLock(f)
		return e, nil
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil, syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
}
