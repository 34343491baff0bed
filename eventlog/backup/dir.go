package backup

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// Names in the directory of a backup.
const (
	objectsName    = "objects"
	unfinishedName = "unfinished"
	lockName       = "LOCK"
	tmpSuffix      = ".tmp"
)

const unfinishedText = "A backup is being made here, or did not come to its end. If there is a manifest, what it names is a whole backup.\n"

// objectName returns the path of a file within the directory of a backup.
func objectName(sum Sum) string {
	h := sum.String()
	return filepath.Join(objectsName, h[:2], h)
}

// dir is a Destination that is a directory.
type dir struct {
	path  string
	lock  *os.File
	o     OpenOptions
	sound map[Sum]int64 // objects that were there and are as their names say, with their sizes
	fresh map[Sum]int64 // objects that were received
	keep  map[Sum]bool  // objects of the backup that is there
	files map[string]File
}

func openDir(ctx context.Context, path string, o OpenOptions) (_ *dir, err error) {
	if err := os.Mkdir(path, 0o700); err == nil {
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %w", ErrDestination, err)
	}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		return nil, fmt.Errorf("%w: %s is a file: a backup is a directory, or a file whose name ends in %s", ErrDestination, path, fileSuffix)
	}
	if err := vacant(path); err != nil {
		return nil, err
	}
	d := &dir{path: path, o: o, sound: map[Sum]int64{}, fresh: map[Sum]int64{}, keep: map[Sum]bool{}, files: map[string]File{}}
	if d.lock, err = flock(filepath.Join(path, lockName)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if m, err := loadManifest(path); err == nil {
		for _, f := range m.Files {
			d.keep[f.Sum] = true
		}
	} // one that is damaged names nothing that is worth keeping
	if err := os.WriteFile(filepath.Join(path, unfinishedName), []byte(unfinishedText), 0o600); err != nil {
		return nil, err
	}
	if err := durable.SyncDir(path); err != nil {
		return nil, err
	}
	return d, d.scan(ctx)
}

// vacant checks that nothing but a backup is in a directory.
func vacant(path string) error {
	if Is(path) {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDestination, err)
	}
	for _, e := range entries {
		if e.Name() != lockName {
			return fmt.Errorf("%w: %s is neither empty nor a backup: it has %s", ErrDestination, path, e.Name())
		}
	}
	return nil
}

func loadManifest(path string) (*Manifest, error) {
	f, err := os.Open(filepath.Join(path, manifestName))
	if err != nil {
		return nil, err
	}
	m, err := readManifest(f)
	return m, errors.Join(err, f.Close())
}

// scan reads the objects that are there: one that is not as its name says will be
// copied again. What a crash left under a temporary name goes.
func (d *dir) scan(ctx context.Context) error {
	return eachObject(d.path, func(name string, sum Sum, ok bool) error {
		path := filepath.Join(d.path, name)
		if !ok {
			return os.Remove(path)
		}
		is, size, err := sumFile(ctx, path)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err == nil && is == sum {
			d.sound[sum] = size
		}
		return nil
	})
}

// eachObject calls fn for every file under objects/; ok says that its name is that
// of an object, and in its place.
func eachObject(path string, fn func(name string, sum Sum, ok bool) error) error {
	return filepath.WalkDir(filepath.Join(path, objectsName), func(at string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if e.IsDir() {
			return nil
		}
		name, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		var sum Sum
		n, err := hex.Decode(sum[:], []byte(e.Name()[:min(len(e.Name()), 64)]))
		return fn(name, sum, err == nil && n == len(sum) && name == objectName(sum) && e.Type().IsRegular())
	})
}

// Have implements [Destination].
func (d *dir) Have() []Sum {
	return slices.SortedFunc(maps.Keys(d.sound), func(a, b Sum) int { return bytes.Compare(a[:], b[:]) })
}

// Close implements [Destination].
func (d *dir) Close() error { return d.lock.Close() }

// Receive implements [Destination].
func (d *dir) Receive(ctx context.Context, r io.Reader) (*Done, error) {
	var m *Manifest
	err := receive(ctx, r, d.object, func(r io.Reader) (err error) {
		m, err = d.manifest(r)
		return err
	})
	if err == nil {
		err = d.complete(ctx, m)
	}
	if err != nil {
		return nil, errors.Join(err, d.undo())
	}
	// Dying here leaves the new manifest under its temporary name: the old backup
	// is the backup.
	if err := os.Rename(d.in(manifestName+tmpSuffix), d.in(manifestName)); err != nil {
		return nil, errors.Join(err, d.undo())
	}
	if err := durable.SyncDir(d.path); err != nil {
		return nil, err
	}
	if err := d.o.Failpoint("backup.after-manifest"); err != nil {
		return nil, err
	}
	// From here on the backup is the new one. What only the old one had is removed;
	// dying in between leaves some of it, and the mark that says so.
	if err := d.clean(m); err != nil {
		return nil, fmt.Errorf("the backup is made; what it does not need any more could not be removed: %w", err)
	}
	done := &Done{Header: m.Header, Files: len(m.Files), Bytes: m.Bytes}
	for _, size := range d.fresh {
		done.Copied += size
	}
	return done, nil
}

func (d *dir) in(name string) string { return filepath.Join(d.path, name) }

// object takes in a file.
func (d *dir) object(name string, size int64, r io.Reader) error {
	tmp := d.in(filepath.Join(objectsName, "next"+tmpSuffix))
	if err := os.MkdirAll(filepath.Dir(tmp), 0o700); err != nil {
		return err
	}
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	sum, err := writeNew(tmp, size, r)
	if err == nil {
		err = d.o.Failpoint("backup.before-object")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", name, err), os.Remove(tmp))
	}
	path := d.in(objectName(sum))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	d.fresh[sum], d.files[name] = size, File{name, size, sum}
	return nil
}

// manifest takes in the manifest, under a temporary name.
func (d *dir) manifest(r io.Reader) (*Manifest, error) {
	tmp := d.in(manifestName + tmpSuffix)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(f, r); err == nil {
		err = f.Sync()
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m, err := readManifest(f)
	return m, errors.Join(err, f.Close())
}

// complete checks that all files of the manifest are there, and reads again those
// that were received.
func (d *dir) complete(ctx context.Context, m *Manifest) error {
	for _, f := range m.Files {
		if got, ok := d.files[f.Path]; ok && got != f {
			return fmt.Errorf("%s has %d bytes with sum %s; the manifest says %d with %s", f.Path, got.Size, got.Sum, f.Size, f.Sum)
		} else if size, there := d.sound[f.Sum]; !ok && (!there || size != f.Size) {
			return fmt.Errorf("%s is in the manifest and was not sent", f.Path)
		}
	}
	dirs := map[string]bool{d.in(objectsName): true, d.path: true}
	for sum, size := range d.fresh {
		path := d.in(objectName(sum))
		is, n, err := sumFile(ctx, path)
		if err != nil {
			return err
		}
		if is != sum || n != size {
			return fmt.Errorf("%s: what is read is not what was written: the disk is not to be trusted", path)
		}
		dirs[filepath.Dir(path)] = true
	}
	for path := range dirs {
		if err := durable.SyncDir(path); err != nil {
			return err
		}
	}
	return d.o.Failpoint("backup.before-manifest")
}

// undo removes what was received: it is of no backup.
func (d *dir) undo() error {
	var errs []error
	for sum := range d.fresh {
		if _, there := d.sound[sum]; !there && !d.keep[sum] {
			errs = append(errs, os.Remove(d.in(objectName(sum))))
		}
	}
	left := []string{manifestName + tmpSuffix}
	if _, err := os.Stat(d.in(manifestName)); err == nil {
		left = append(left, unfinishedName)
	} // else the mark says that this is to be a backup
	for _, name := range left {
		if err := os.Remove(d.in(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// clean removes what the manifest does not name, and then the mark.
func (d *dir) clean(m *Manifest) error {
	named := make(map[Sum]bool, len(m.Files))
	for _, f := range m.Files {
		named[f.Sum] = true
	}
	err := eachObject(d.path, func(name string, sum Sum, ok bool) error {
		if ok && named[sum] {
			return nil
		}
		if err := os.Remove(d.in(name)); err != nil {
			return err
		}
		return d.o.Failpoint("backup.before-clean")
	})
	if err == nil {
		err = os.Remove(d.in(unfinishedName))
	}
	if err == nil {
		err = durable.SyncDir(d.path)
	}
	return err
}

// dirSource is a backup in a directory.
type dirSource struct {
	path string
	m    *Manifest
}

func (s *dirSource) header() Header { return s.m.Header }
func (s *dirSource) close() error   { return nil }

func (s *dirSource) each(ctx context.Context, want func(string) bool, fn func(File, io.Reader) error) error {
	for _, f := range s.m.Files {
		if !want(f.Path) {
			continue
		}
		in, err := os.Open(filepath.Join(s.path, objectName(f.Sum)))
		if err != nil {
			return &DamageError{f.Path, "it cannot be read", err}
		}
		err = compared(f, contextReader{ctx, in}, fn)
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
	}
	return nil
}

// verifyDir names every file of the directory that is not as the manifest says.
func verifyDir(ctx context.Context, path string, r *Report) error {
	m, err := loadManifest(path)
	if err != nil {
		return r.manifest(err)
	}
	r.of(m)
	named := make(map[Sum]bool, len(m.Files))
	for _, f := range m.Files {
		named[f.Sum] = true
		name := objectName(f.Sum)
		is, size, err := sumFile(ctx, filepath.Join(path, name))
		if err == nil && r.kept(f.Path) {
			r.small[f.Path], err = os.ReadFile(filepath.Join(path, name))
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			r.problem(f.Path, name+" is missing")
		case err != nil:
			r.problem(f.Path, name+" cannot be read: "+err.Error())
		case size != f.Size:
			r.problem(f.Path, fmt.Sprintf("%s has %d bytes, not %d", name, size, f.Size))
		case is != f.Sum:
			r.problem(f.Path, name+" is not as it was written")
		}
	}
	_, err = os.Stat(filepath.Join(path, unfinishedName))
	unfinished := err == nil
	return filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		var sum Sum
		n, err := hex.Decode(sum[:], []byte(e.Name()[:min(len(e.Name()), 64)]))
		object := err == nil && n == len(sum) && name == objectName(sum)
		switch {
		case object && named[sum], name == manifestName, name == lockName, name == unfinishedName:
		case unfinished && (object || strings.HasSuffix(name, tmpSuffix)):
			r.Unfinished = append(r.Unfinished, name)
		default:
			r.problem(name, "it is not of this backup")
		}
		return nil
	})
}
