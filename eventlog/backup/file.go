package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog/durable"
	"github.com/wfd-dev/wfd/eventlog/pagecache"
	"github.com/wfd-dev/wfd/eventlog/zseal"
)

// file is a Destination that is one file.
type file struct {
	path string
	tmp  *os.File // locked
	o    OpenOptions
	done bool
}

func openFile(_ context.Context, path string, o OpenOptions) (*file, error) {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrDestination, path)
	}
	// What a crash left under the temporary name is overwritten.
	tmp, err := flock(path + tmpSuffix)
	if err != nil {
		return nil, err
	}
	if err := tmp.Truncate(0); err != nil {
		return nil, errors.Join(err, tmp.Close())
	}
	return &file{path: path, tmp: tmp, o: o}, nil
}

// Have implements [Destination].
func (*file) Have() []Sum { return nil }

// Close implements [Destination].
func (d *file) Close() error {
	var err error
	if !d.done {
		err = os.Remove(d.tmp.Name()) // before the lock is given up
	}
	return errors.Join(err, d.tmp.Close())
}

// Receive implements [Destination].
func (d *file) Receive(ctx context.Context, r io.Reader) (*Done, error) {
	zw, err := zseal.NewWriter(d.tmp)
	if err != nil {
		return nil, err
	}
	in := io.TeeReader(r, zw)
	discard := func(_ string, _ int64, r io.Reader) error {
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
		return d.o.Failpoint("backup.before-object")
	}
	err = receive(ctx, in, discard, func(r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if err == nil {
		_, err = io.Copy(io.Discard, in) // what a tar ends with
	}
	if err != nil {
		zw.Abort()
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	if err := d.tmp.Sync(); err != nil {
		return nil, err
	}
	var rep Report
	if err := verifyFile(ctx, d.tmp.Name(), &rep); err != nil {
		return nil, err
	}
	if len(rep.Problems) > 0 {
		return nil, fmt.Errorf("what is read is not what was written: %s", rep.Problems[0])
	}
	if err := d.o.Failpoint("backup.before-manifest"); err != nil {
		return nil, err
	}
	// Dying here leaves the file under its temporary name: what was at path before
	// is there still.
	if err := os.Rename(d.tmp.Name(), d.path); err != nil {
		return nil, err
	}
	d.done = true
	if err := durable.SyncDir(filepath.Dir(d.path)); err != nil {
		return nil, err
	}
	return &Done{Header: rep.Header, Files: rep.Files, Bytes: rep.Bytes, Copied: rep.Bytes}, d.o.Failpoint("backup.after-manifest")
}

// fileSource is a backup in one file, of which the manifest, which is at its end,
// was read.
type fileSource struct {
	path string
	m    *Manifest
}

func (s *fileSource) header() Header { return s.m.Header }
func (s *fileSource) close() error   { return nil }

func (s *fileSource) each(ctx context.Context, want func(string) bool, fn func(File, io.Reader) error) error {
	i := 0
	return readFile(ctx, s.path, func(name string, size int64, r io.Reader) error {
		if i == len(s.m.Files) || s.m.Files[i].Path != name {
			return &DamageError{name, "it is not where the manifest says", nil}
		}
		if i++; !want(name) {
			return nil
		}
		return compared(s.m.Files[i-1], r, fn)
	}, func(io.Reader) error { return nil })
}

// readFile reads the entries of a file.
func readFile(ctx context.Context, path string, each func(string, int64, io.Reader) error, manifest func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	pagecache.Drop(f)
	zr, err := zseal.NewReader(f, math.MaxInt64)
	if err != nil {
		return err
	}
	defer zr.Close()
	if err := receive(ctx, zr, each, manifest); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, zr)
	return err
}

// verifyFile names the files of a backup in one file that are not as the manifest
// says. Where it is damaged, nothing can be said of what follows.
func verifyFile(ctx context.Context, path string, r *Report) error {
	_, err := scanFile(ctx, path, r)
	return err
}

// scanFile is verifyFile, and returns the manifest, if it is sound.
func scanFile(ctx context.Context, path string, r *Report) (m *Manifest, err error) {
	have := map[string]File{}
	var order []string
	last := ""
	err = readFile(ctx, path, func(name string, size int64, in io.Reader) error {
		last = name
		h := sha256.New()
		if _, err := io.Copy(h, r.keep(name, in)); err != nil {
			return err
		}
		if _, twice := have[name]; twice {
			r.problem(name, "it is there twice")
		}
		have[name] = File{name, size, sumOf(h)}
		order = append(order, name)
		return nil
	}, func(in io.Reader) (err error) {
		last = manifestName
		m, err = readManifest(in)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return nil, err
	case err != nil && m == nil && last == manifestName:
		return nil, r.manifest(err)
	case err != nil:
		r.problem(last, fmt.Sprintf("the file cannot be read on from here: %v", err))
	}
	if m == nil {
		return nil, nil
	}
	r.of(m)
	for _, f := range m.Files {
		got, ok := have[f.Path]
		switch {
		case !ok:
			r.problem(f.Path, "it is missing")
		case got.Size != f.Size:
			r.problem(f.Path, fmt.Sprintf("it has %d bytes, not %d", got.Size, f.Size))
		case got.Sum != f.Sum:
			r.problem(f.Path, "it is not as it was written")
		}
		delete(have, f.Path)
	}
	for _, name := range order {
		if _, left := have[name]; left {
			r.problem(name, "it is not of this backup")
		}
	}
	return m, nil
}
