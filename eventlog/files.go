package eventlog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wfd-dev/wfd/eventlog/durable"
	"github.com/wfd-dev/wfd/eventlog/pagecache"
)

// tmpSuffix ends the name of every file that is not complete.
const tmpSuffix = ".tmp"

// makeDir creates a directory and makes its name durable; it may exist.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil
		}
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

// fromDisk makes sure that what is read of a file from here on is what its disk
// has, and not what the kernel still holds of a process that was ended: writes that
// were not synced are, and pages that the kernel takes for clean since a sync of
// theirs failed are forgotten. Nobody may have the file mapped.
func fromDisk(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err = f.Sync(); err == nil {
		pagecache.Drop(f)
	}
	return errors.Join(err, f.Close())
}

// treeSize returns the bytes of the files under dir, which may be missing.
func treeSize(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			var fi fs.FileInfo
			if fi, err = e.Info(); err == nil {
				n += fi.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile, or never there
		}
		return err
	})
	return n, err
}

// removeTemporary removes what a crash left unfinished in dir.
func removeTemporary(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tmpSuffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return err
}

// outOfSpace reports whether err says that there is no space for a file that
// is still under its temporary name, where even a failed sync has done no harm:
// the file is thrown away.
func outOfSpace(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// beyondMeans reports whether err says that the process or the machine has no more files
// or memory: what the file holds was not seen, and is not damaged for all one knows.
func beyondMeans(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}
