package eventlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// blobs keeps large payloads in files named by their SHA-256, under
// blobs/ab/cd/abcd…: each is written once, before the event that refers to it,
// and shared by every event with the same payload.
type blobs struct {
	dir  string // the data directory
	opts *Options
	seq  atomic.Uint64 // makes temporary names unique

	// referring is held shared from before a blob is stored, or found to be
	// there, until its event is durable: Sweep excludes that.
	referring sync.RWMutex

	mu   sync.Mutex
	dirs map[string]bool // directories whose name is known to be durable
}

// blobName returns the path of a blob within the data directory.
func blobName(sum *[32]byte) string {
	h := hex.EncodeToString(sum[:])
	return filepath.Join("blobs", h[:2], h[2:4], h)
}

// store makes p durable and returns its reference.
func (b *blobs) store(p []byte) (blobRef, error) {
	ref := blobRef{size: uint64(len(p)), sum: sha256.Sum256(p)}
	path := filepath.Join(b.dir, blobName(&ref.sum))
	if err := b.makeDirs(filepath.Dir(path)); err != nil {
		return ref, err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, p) {
		// It may be from a process that died before it synced the name.
		return ref, b.syncFile(path)
	}
	if err := b.opts.fail("blob.before-write"); err != nil {
		return ref, err
	}
	tmp := fmt.Sprintf("%s.%d%s", path, b.seq.Add(1), tmpSuffix)
	if err := writeFile(tmp, p); err != nil {
		os.Remove(tmp)
		return ref, err
	}
	// Dying here leaves a temporary file, which Sweep removes.
	if err := b.opts.fail("blob.before-rename"); err != nil {
		return ref, err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return ref, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return ref, err
	}
	// Dying here leaves a blob nobody refers to, which Sweep removes.
	return ref, b.opts.fail("blob.after-rename")
}

// makeDirs makes a blob's two directories durable.
func (b *blobs) makeDirs(dir string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dirs[dir] {
		return nil
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := makeDir(d); err != nil {
			return err
		}
		// It may be from a process that died before it synced the name.
		if err := syncDir(filepath.Dir(d)); err != nil {
			return err
		}
	}
	if b.dirs == nil {
		b.dirs = make(map[string]bool)
	}
	b.dirs[dir] = true
	return nil
}

func (b *blobs) syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
}

func writeFile(path string, p []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// load reads a blob and verifies it.
func (b *blobs) load(ref *blobRef) ([]byte, error) {
	name := blobName(&ref.sum)
	corrupt := func(what string, err error) error {
		return &CorruptError{File: name, What: what, Err: err}
	}
	path := filepath.Join(b.dir, name)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, corrupt("the file is missing", err)
	case err == nil && (!st.Mode().IsRegular() || st.Size() != int64(ref.size)):
		return nil, corrupt(fmt.Sprintf("the file has %d bytes, not %d", st.Size(), ref.size), nil)
	case err != nil:
		return nil, err
	}
	p, err := os.ReadFile(path)
	if beyondMeans(err) {
		return nil, err
	}
	if err != nil {
		return nil, corrupt("the file cannot be read", err)
	}
	if sha256.Sum256(p) != ref.sum {
		return nil, corrupt("the content does not match its hash", nil)
	}
	return p, nil
}
