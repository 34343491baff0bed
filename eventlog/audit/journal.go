package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// A file of notes is one note after the other, each followed by an empty line:
//
//	text, an empty line, signature lines, an empty line
//
// No text has an empty line of its own.

var blank = []byte("\n\n")

// splitNotes returns the notes of a file and what follows the last of them.
func splitNotes(b []byte) (notes [][]byte, rest []byte) {
	for {
		text := bytes.Index(b, blank)
		if text < 0 {
			return notes, b
		}
		sigs := bytes.Index(b[text+2:], blank)
		if sigs < 0 {
			return notes, b
		}
		end := text + 2 + sigs + 1
		notes, b = append(notes, b[:end:end]), b[end+1:]
	}
}

// journal is the file of all signed checkpoints, in the order of their sizes.
// It is written behind its end and nowhere else.
type journal struct {
	dir  string
	size int64 // of the entries; an append that failed may have left more
}

const journalName = "checkpoints.txt"

// tornMax is more than an entry has: what is longer behind the last complete
// one is not the rest of an append.
const tornMax = 4096

// openJournal returns the journal in dir and its notes.
func openJournal(dir string) (*journal, [][]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	notes, rest := splitNotes(b)
	if len(rest) > tornMax {
		return nil, nil, &Problem{Err: ErrDamaged, File: journalName, What: fmt.Sprintf("%d bytes at the end are not an entry", len(rest))}
	}
	return &journal{dir: dir, size: int64(len(b) - len(rest))}, notes, nil
}

// append makes note durable behind the others.
func (j *journal) append(note []byte) (err error) {
	path := filepath.Join(j.dir, journalName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < j.size {
		return &Problem{Err: ErrDamaged, File: journalName, What: fmt.Sprintf("the file has %d bytes, it had %d", st.Size(), j.size)}
	}
	// What lies behind the entries is of an append that failed, or that a crash
	// cut off: nobody was told of it. Writing it anew, and not syncing it again,
	// is what makes it durable after a failed sync.
	if err := f.Truncate(j.size); err != nil {
		return err
	}
	entry := append(bytes.Clone(note), '\n')
	if _, err := f.WriteAt(entry, j.size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if j.size == 0 {
		if err := durable.SyncDir(j.dir); err != nil {
			return err
		}
	}
	j.size += int64(len(entry))
	return nil
}
