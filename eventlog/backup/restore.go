package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// ErrTarget: the directory to restore to cannot be made.
var ErrTarget = errors.New("cannot restore there")

// ErrKey: a log is to go on under its old key, and may not.
var ErrKey = errors.New("cannot go on as the same log")

// ErrUnproven: the events are not those that were signed for.
var ErrUnproven = errors.New("the events are not those that were signed for")

var errDamaged = errors.New("what was restored is damaged")

// RestoreOptions for [Restore].
type RestoreOptions struct {
	Until eventlog.Until
	// Same restores the log under its own name and key: for one that has moved, and
	// will never go on where it was. Without it, it becomes a log of its own; see
	// [audit.Restored].
	Same bool
	// Unproven restores a log, too, that is not what it was signed for.
	Unproven bool
	// Keys are whose signatures count; nil stands for those in the backup.
	Keys *audit.Keys
	// DataKeys open the log if it is encrypted.
	DataKeys crypt.Keys
	// Complete is called with the directory, whole and checked, before it gets its
	// name: what it does happens together with the restore, or not at all.
	Complete func(dir string, r *Restored) error
	// Failpoint is for tests; see [eventlog.Options].
	Failpoint func(point string) error
}

// RestoreFailpoints are the points at which [RestoreOptions.Failpoint] is called.
var RestoreFailpoints = []string{
	"restore.after-log",     // the events are there, under the temporary name
	"restore.before-rename", // everything is
	"restore.after-rename",
}

// Restored is a data directory that was restored.
type Restored struct {
	From Header             // of the backup
	To   eventlog.Assembled // where the restored log ends
	// Past are the logs that it goes on from, if it is a log of its own.
	Past []audit.Past
}

// Restore makes a data directory at dir of the backup at from, or of another data
// directory that no process has open for writing, which is left as it is. dir must
// not exist, or be empty. If it ends in an error, or in the middle, dir is as it was.
func Restore(ctx context.Context, from, dir string, o RestoreOptions) (_ *Restored, err error) {
	if o.Failpoint == nil {
		o.Failpoint = func(string) error { return nil }
	}
	src, err := openSource(ctx, from, o.DataKeys)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	if o.Until.Seq > src.header().Head {
		return nil, fmt.Errorf("%w: there is no event %d: the last one is %d", ErrTarget, o.Until.Seq, src.header().Head)
	}
	if err := free(dir); err != nil {
		return nil, err
	}
	// Dying from here on leaves a directory under a temporary name, which the next
	// restore to dir removes.
	tmp := filepath.Clean(dir) + ".restore" + tmpSuffix
	if err := remove(tmp); err != nil {
		return nil, err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	lock, err := flockDir(tmp)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	r := &restorer{ctx: ctx, src: src, dir: tmp, o: o}
	if err := r.restore(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	if err := syscall.Rename(tmp, dir); err != nil { // which, unlike os.Rename, replaces an empty directory
		return nil, errors.Join(fmt.Errorf("%w: rename %s to %s: %w", ErrTarget, tmp, dir, err), os.RemoveAll(tmp))
	}
	if err := durable.SyncDir(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, err
	}
	return &r.done, o.Failpoint("restore.after-rename")
}

// free checks that a directory can be made at dir, and renamed to it.
func free(dir string) error {
	parent, err := os.Stat(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrTarget, err)
	case len(entries) > 0:
		return fmt.Errorf("%w: %s is not empty: it has %s; restore to a new directory, and move that into place", ErrTarget, dir, entries[0].Name())
	case deviceOf(st) != deviceOf(parent):
		return fmt.Errorf("%w: a file system is mounted at %s: restore to a directory inside it", ErrTarget, dir)
	}
	return nil
}

func deviceOf(st fs.FileInfo) uint64 { return uint64(st.Sys().(*syscall.Stat_t).Dev) }

// remove removes what a restore left that did not come to its end.
func remove(tmp string) error {
	if _, err := os.Stat(tmp); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := flockDir(tmp)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(tmp), lock.Close())
}

// flockDir takes the lock of a directory, which a restore that is at work on it
// has. The lock on the file LOCK is the log's.
func flockDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: another restore is at work on %s", ErrTarget, path), f.Close())
	}
	return f, nil
}

type restorer struct {
	ctx  context.Context
	src  source
	dir  string // the temporary one
	o    RestoreOptions
	done Restored

	needed func(path string) bool // of the pieces of segments; nil before the catalog was read
	// Set by assemble.
	assembled bool
	failed    error
	blobs     map[string]bool // that the events refer to
}

func (r *restorer) restore() error {
	r.done.From = r.src.header()
	if err := r.src.each(r.ctx, r.wanted, r.file); err != nil {
		return err
	}
	if err := r.assemble(); err != nil {
		return err
	}
	if err := r.o.Failpoint("restore.after-log"); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return err
	}
	if err := r.identity(); err != nil {
		return err
	}
	if r.o.Complete != nil {
		if err := r.o.Complete(r.dir, &r.done); err != nil {
			return err
		}
	}
	// Directories of files were synced by whoever wrote into them last; these are
	// the names of those directories.
	err := filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return durable.SyncDir(path)
	})
	if err != nil {
		return err
	}
	return r.o.Failpoint("restore.before-rename")
}

// wanted reports whether a file is to be restored. The files come in the order
// catalog, segments, blobs, the rest.
func (r *restorer) wanted(path string) bool {
	switch {
	case path == keyName:
		return r.o.Same
	case strings.HasPrefix(path, "log/"):
		return r.needed != nil && r.needed(path)
	case strings.HasPrefix(path, "blobs/"):
		return r.assemble() != nil || r.blobs[path] // file meets the error again
	}
	return true
}

// file restores a file.
func (r *restorer) file(f File, in io.Reader) error {
	if strings.HasPrefix(f.Path, "blobs/") {
		if err := r.assemble(); err != nil {
			return err
		}
	}
	path := filepath.Join(r.dir, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if _, err := writeNew(path, f.Size, in); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	if f.Path == "catalog" {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r.needed, err = eventlog.PiecesUntil(b, r.o.Until)
		return err
	}
	return nil
}

// assemble makes the log, once its pieces are there.
func (r *restorer) assemble() error {
	if r.assembled {
		return r.failed
	}
	r.assembled = true
	r.done.To, r.failed = eventlog.Assemble(r.dir, r.o.Until, r.o.DataKeys)
	var refs []string
	if r.failed == nil {
		refs, r.failed = eventlog.References(r.dir, r.o.DataKeys)
	}
	r.blobs = make(map[string]bool, len(refs))
	for _, name := range refs {
		r.blobs[name] = true
	}
	return r.failed
}

// check verifies what was restored: by the log's own checksums, by the root of the
// tree that the backup was made at, and by all that was signed for its events.
func (r *restorer) check() error {
	rep, unproven, err := r.verify()
	if err != nil {
		return err
	}
	if err := rep.Err(); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	from, to := &r.done.From, &r.done.To
	if rep.Root != to.Root || to.Head == from.Head && Hash(rep.Root) != from.Root || to.Head > from.Head {
		return &DamageError{manifestName, "the events that were restored are not those it is of", nil}
	}
	want := from.Head
	if r.o.Until.Seq != 0 {
		want = r.o.Until.Seq
	}
	if to.Head != want && r.o.Until.Time == 0 {
		return &DamageError{"log", fmt.Sprintf("its events end at seq %d", to.Head), nil}
	}
	if r.o.Unproven {
		return nil
	}
	return unproven
}

// verify checks the log that was restored. unproven says that it is sound, and not
// what was signed for; that it ends earlier is no matter.
func (r *restorer) verify() (rep *eventlog.CheckReport, unproven, err error) {
	if !audit.Signs(r.dir) && r.o.Keys == nil {
		rep, err = eventlog.Check(r.dir, eventlog.CheckOptions{Keys: r.o.DataKeys})
		return rep, nil, err
	}
	o := audit.VerifyOptions{DataKeys: r.o.DataKeys}
	if r.o.Keys != nil {
		o.Keys = []*audit.Keys{r.o.Keys}
	}
	found, err := audit.VerifyDir(r.dir, o)
	if err != nil {
		rep, e := eventlog.Check(r.dir, eventlog.CheckOptions{Keys: r.o.DataKeys})
		return rep, fmt.Errorf("%w: %w", ErrUnproven, err), e
	}
	if found.Log.Err() != nil { // these are among the problems
		return found.Log, nil, nil
	}
	for _, p := range found.Problems {
		if !errors.Is(p, audit.ErrTruncated) {
			return found.Log, fmt.Errorf("%w: %w", ErrUnproven, p), nil
		}
	}
	if r.o.Keys != nil && found.Signed.Size == 0 {
		return found.Log, fmt.Errorf("%w: nothing was", ErrUnproven), nil
	}
	return found.Log, nil, nil
}

// identity makes the restored log one of its own, or leaves it the one it was.
func (r *restorer) identity() error {
	if !r.o.Same {
		if err := audit.Restored(r.dir, uint64(r.done.To.Head), r.done.To.Root); err != nil {
			return err
		}
		past, err := audit.LoadPast(r.dir)
		r.done.Past = past
		return err
	}
	if r.done.To.Head != r.done.From.Head {
		return fmt.Errorf("%w: it would end at seq %d, and has events up to %d: what the key has signed for would be contradicted", ErrKey, r.done.To.Head, r.done.From.Head)
	}
	if _, err := os.Stat(filepath.Join(r.dir, keyName)); err != nil {
		return fmt.Errorf("%w: the private key is not in the backup: make it with the key, or restore without", ErrKey)
	}
	rep, err := audit.VerifyDir(r.dir, audit.VerifyOptions{DataKeys: r.o.DataKeys})
	if err == nil {
		err = rep.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	return nil
}
