package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// Problem is a file of a backup that is not as it should be.
type Problem struct {
	File string `json:"file"`
	What string `json:"what"`
}

func (p Problem) String() string { return p.File + ": " + p.What }

// maxProblems is where a report stops listing them.
const maxProblems = 1000

// Report is what was found in a backup.
type Report struct {
	Header
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	Problems []Problem `json:"problems"`
	// Unfinished are files that a later backup left which did not come to its end.
	// They do no harm, and the next one removes them.
	Unfinished []string `json:"unfinished,omitempty"`

	small map[string][]byte // what it takes to tell who signed
}

// kept reports whether the content of a file is kept.
func (r *Report) kept(name string) bool {
	return r.small != nil && (name == "audit.pub" || name == "audit.keys")
}

// keep returns a reader that keeps what it reads, if the file is to be kept.
func (r *Report) keep(name string, in io.Reader) io.Reader {
	if !r.kept(name) {
		return in
	}
	return io.TeeReader(in, writerFunc(func(b []byte) {
		if len(r.small[name])+len(b) <= maxSmall {
			r.small[name] = append(r.small[name], b...)
		}
	}))
}

// maxSmall is more than the files have that are kept.
const maxSmall = 16 << 20

type writerFunc func([]byte)

func (w writerFunc) Write(b []byte) (int, error) { w(b); return len(b), nil }

func (r *Report) problem(file, what string) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{file, what})
	}
}

func (r *Report) of(m *Manifest) { r.Header, r.Files, r.Bytes = m.Header, len(m.Files), m.Bytes }

// manifest reports what is wrong with the manifest: without one nothing else can
// be said. That there is none is an error.
func (r *Report) manifest(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it has no manifest: it was not completed", ErrFormat)
	}
	r.problem(manifestName, err.Error())
	return nil
}

// DamageError says that a file of a backup is not as it was written.
type DamageError struct {
	File string
	What string
	Err  error // cause, may be nil
}

func (e *DamageError) Error() string {
	s := fmt.Sprintf("the backup is damaged: %s: %s", e.File, e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *DamageError) Unwrap() error { return e.Err }

// Is reports whether there is a backup at path, whole or not, rather than a data
// directory.
func Is(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		return false
	}
	if st.Mode().IsRegular() {
		return true
	}
	for _, name := range []string{manifestName, unfinishedName} {
		if _, err := os.Stat(filepath.Join(path, name)); err == nil {
			return true
		}
	}
	return false
}

// Verify reads the whole backup at path and names every file of it that is
// damaged, missing, cut off or not of it. The error says that it could not be read,
// or that it is none.
//
// keys are whose signature counts. With them it is restored to a temporary
// directory, and every event verified against what was signed; without, the head
// that the manifest names must be what the key in the backup has signed for, and
// that the files have these events is for a restore to find out. dataKeys open the log,
// where it is restored and encrypted.
func Verify(ctx context.Context, path string, keys *audit.Keys, dataKeys crypt.Keys) (*Report, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	r := &Report{Problems: []Problem{}, small: map[string][]byte{}}
	if st.IsDir() {
		err = verifyDir(ctx, path, r)
	} else {
		err = verifyFile(ctx, path, r)
	}
	if err == nil && len(r.Problems) == 0 && r.Checkpoint != "" {
		r.signed(keys)
	}
	if err == nil && len(r.Problems) == 0 && keys != nil {
		err = r.events(ctx, path, RestoreOptions{Keys: keys, DataKeys: dataKeys})
	}
	return r, err
}

// events verifies the events of the backup.
func (r *Report) events(ctx context.Context, path string, o RestoreOptions) (err error) {
	dir, err := os.MkdirTemp("", "wfd-verify-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	_, err = Restore(ctx, path, filepath.Join(dir, "data"), o)
	var damage *DamageError
	switch {
	case errors.As(err, &damage):
		r.problem(damage.File, err.Error())
	case errors.Is(err, ErrUnproven), errors.Is(err, errDamaged):
		r.problem("log", err.Error())
	default:
		return err
	}
	return nil
}

// signed checks that the head of the backup is what was signed for.
func (r *Report) signed(keys *audit.Keys) {
	var err error
	if keys == nil {
		if keys, err = audit.ParseKeys(r.small["audit.pub"]); err != nil {
			r.problem("audit.pub", err.Error())
			return
		}
	}
	if keys, err = keys.Follow(r.small["audit.keys"]); err != nil {
		r.problem("audit.keys", err.Error())
		return
	}
	c, err := audit.OpenCheckpoint([]byte(r.Checkpoint), keys)
	if err != nil {
		r.problem(manifestName, "its checkpoint: "+err.Error())
	} else if c.Size == uint64(r.Head) && c.Root != r.Root || c.Origin != r.Origin {
		r.problem(manifestName, "its head is not what was signed for")
	}
}

// source is what can be restored.
type source interface {
	header() Header
	// each hands out those files that are wanted, in order. What fn does not read
	// is read after it: a file that is not as it was written ends it in a
	// *DamageError.
	each(ctx context.Context, want func(path string) bool, fn func(File, io.Reader) error) error
	close() error
}

// openSource opens a backup, or a data directory, for which it needs the data keys if it is
// encrypted.
func openSource(ctx context.Context, path string, keys crypt.Keys) (source, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(path, "catalog.db")); st.IsDir() && err == nil {
		return openData(path, keys)
	}
	if st.IsDir() {
		m, err := loadManifest(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: it has no manifest: it was not completed", ErrFormat)
		}
		return &dirSource{path, m}, err
	}
	r := &Report{}
	m, err := scanFile(ctx, path, r)
	switch {
	case err != nil:
		return nil, err
	case len(r.Problems) > 0:
		return nil, &DamageError{r.Problems[0].File, r.Problems[0].What, nil}
	}
	return &fileSource{path, m}, nil
}

// compared calls fn with the content of a file and compares all of it with what
// the manifest says. The zero Sum is not known.
func compared(f File, in io.Reader, fn func(File, io.Reader) error) error {
	h := sha256.New()
	n := counter(0)
	in = io.TeeReader(in, io.MultiWriter(h, &n))
	if err := fn(f, in); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return &DamageError{f.Path, "it cannot be read", err}
	}
	if f.Sum != (Sum{}) && sumOf(h) != f.Sum || int64(n) != f.Size {
		return &DamageError{f.Path, "it is not as it was written", nil}
	}
	return nil
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }
