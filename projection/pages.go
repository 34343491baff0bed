package projection

import (
	"errors"
	"io"
	"os"

	"github.com/wfd-dev/wfd/eventlog/boltfile"
)

// Before bbolt maps a file it is looked at with plain reads: the meta pages, the
// length and the list of free pages always, every page while the file is small
// enough that nobody notices.

// walkBelow is the size up to which a file is read whole when it is opened.
const walkBelow = 64 << 20

// checkFile returns damage if bbolt had better not open the file. A file that
// is missing or empty is sound: it will be created.
func checkFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	m, err := readHead(f)
	if err != nil {
		return err
	}
	depth := boltfile.Leaves
	if info.Size() > walkBelow {
		depth = boltfile.Head
	}
	if err := m.Check(f, info.Size(), depth); err != nil {
		return damaged("%v", err)
	}
	return nil
}

// checkFreeHead looks at the head of the list of free pages.
func checkFreeHead(r io.ReaderAt) error {
	m, err := readHead(r)
	if err != nil {
		return err
	}
	if err := m.CheckFreelistHead(r); err != nil {
		return damaged("%v", err)
	}
	return nil
}

// readHead reads the meta pages. The list of free pages is part of our files:
// without it bbolt reads every page when it opens one.
func readHead(r io.ReaderAt) (boltfile.Meta, error) {
	m, err := boltfile.ReadMeta(r, 0)
	switch {
	case errors.Is(err, boltfile.ErrMeta):
		return m, damaged("it has no valid head")
	case err != nil:
		return m, damaged("%v", err)
	case m.Freelist == boltfile.NoFreelist:
		return m, damaged("it has no list of free pages")
	}
	return m, nil
}
