package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wfd-dev/wfd/eventlog/pagecache"
)

// fileSuffix is how the name of a backup ends that is one file.
const fileSuffix = ".tar.zst"

// Destination is where a backup is made. Close gives it up.
type Destination interface {
	// Have returns which files are there already, sorted.
	Have() []Sum
	// Receive reads what Send has written, and makes it a backup: if it ends in an
	// error, what was there before is there still.
	Receive(ctx context.Context, r io.Reader) (*Done, error)
	Close() error
}

// Done is a backup that was made.
type Done struct {
	Header
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`
	Copied int64 `json:"copied"` // bytes of files that were not there before
}

// ProblemError is what the sender had to say instead of a backup.
type ProblemError struct{ Text []byte }

func (e *ProblemError) Error() string { return string(e.Text) }

// ErrDestination: a backup cannot be made there.
var ErrDestination = errors.New("cannot make a backup there")

// OpenOptions for [Open].
type OpenOptions struct {
	// Failpoint is for tests; see [eventlog.Options].
	Failpoint func(point string) error
}

// Failpoints are the points at which [OpenOptions.Failpoint] is called.
var Failpoints = []string{
	"backup.before-object",   // the next file is complete under a temporary name
	"backup.before-manifest", // all files are there; they belong to no manifest yet
	"backup.after-manifest",  // the backup is the new one; files of the old one are there, too
	"backup.before-clean",    // some of those are gone
}

// Open returns the destination at path, and takes it for itself: a directory,
// which must be empty, or a backup, or not there yet; or a file, if the name ends
// in .tar.zst. What a backup that was interrupted has left there is made use of.
func Open(ctx context.Context, path string, o OpenOptions) (Destination, error) {
	if o.Failpoint == nil {
		o.Failpoint = func(string) error { return nil }
	}
	if _, err := os.Stat(filepath.Dir(filepath.Clean(path))); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDestination, err)
	}
	if strings.HasSuffix(path, fileSuffix) {
		return openFile(ctx, path, o)
	}
	return openDir(ctx, path, o)
}

// receive reads a stream of Send: file is called for each file, and the manifest
// returned. What it may hold is for the caller to judge.
func receive(ctx context.Context, r io.Reader, file func(name string, size int64, r io.Reader) error, manifest func(io.Reader) error) error {
	t := tar.NewReader(contextReader{ctx, r})
	for {
		h, err := t.Next()
		if err != nil {
			return fmt.Errorf("the stream broke off before it was complete: %w", noEOF(err))
		}
		switch {
		case h.Typeflag != tar.TypeReg:
			return fmt.Errorf("%w: %q is not a regular file", ErrFormat, h.Name)
		case h.Name == problemName:
			text, err := io.ReadAll(io.LimitReader(t, 1<<20))
			if err != nil {
				return err
			}
			return &ProblemError{text}
		case h.Name == manifestName:
			if err := manifest(t); err != nil {
				return err
			}
			if _, err := t.Next(); err != io.EOF {
				return fmt.Errorf("%w: there is more behind the manifest", ErrFormat)
			}
			return nil
		case !restorable(h.Name):
			return fmt.Errorf("%w: %.200q is not a file of a data directory", ErrFormat, h.Name)
		}
		if err := file(h.Name, h.Size, t); err != nil {
			return err
		}
	}
}

// flock takes the lock of a file, or says who cannot have it.
func flock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = errors.Join(fmt.Errorf("%w: another one is at work on %s", ErrDestination, path), f.Close())
		return nil, err
	}
	return f, nil
}

// writeNew writes a file of size bytes that must not exist, syncs it, and returns
// the sum of its content.
func writeNew(path string, size int64, r io.Reader) (Sum, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Sum{}, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Sync()
	}
	return sumOf(h), errors.Join(err, f.Close())
}

// sumFile reads a file from the disk, as far as that can be asked for.
func sumFile(ctx context.Context, path string) (Sum, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return Sum{}, 0, err
	}
	pagecache.Drop(f)
	h := sha256.New()
	n, err := io.Copy(h, contextReader{ctx, f})
	return sumOf(h), n, errors.Join(err, f.Close())
}
