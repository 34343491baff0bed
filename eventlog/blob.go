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

	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// blobs keeps large payloads in files named by their SHA-256, under
// blobs/ab/cd/abcd…: each is written once, before the event that refers to it,
// and shared by every event with the same payload. One that is sealed has a name that
// cannot be told without the key, so that nobody can look whether a payload is there.
type blobs struct {
	dir  string // the data directory
	ring *crypt.Ring
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

// sealedName returns the name of a blob that is sealed; the ring is encrypted.
func (b *blobs) sealedName(sum *[32]byte) string {
	tag := b.ring.Tag("blob", sum[:])
	return blobName(&tag)
}

// names returns the names that a blob may have, in the order in which it is looked for.
func (b *blobs) names(sum *[32]byte) []string {
	if !b.ring.Encrypted() {
		return []string{blobName(sum)}
	}
	return []string{b.sealedName(sum), blobName(sum)}
}

// blobPlace is what a blob is sealed for.
func blobPlace(name string) []byte { return []byte("blob " + filepath.Base(name)) }

// store makes p durable and returns its reference.
func (b *blobs) store(p []byte) (blobRef, error) {
	ref := blobRef{size: uint64(len(p)), sum: sha256.Sum256(p)}
	series := b.ring.Series()
	name := blobName(&ref.sum)
	if series != nil {
		name = b.sealedName(&ref.sum)
	}
	path := filepath.Join(b.dir, name)
	if err := b.makeDirs(filepath.Dir(path)); err != nil {
		return ref, err
	}
	if old, err := b.read(name, series != nil); err == nil && bytes.Equal(old, p) {
		// It may be from a process that died before it synced the name.
		return ref, b.syncFile(path)
	}
	if series != nil {
		p = series.Box(blobPlace(name), p)
	}
	return ref, b.write(path, p)
}

// settled returns when every append that was storing blobs has ended.
func (b *blobs) settled() {
	b.referring.Lock()
	defer b.referring.Unlock()
}

// read returns the content of a blob's file, unchecked unless it is sealed.
func (b *blobs) read(name string, sealed bool) ([]byte, error) {
	p, err := os.ReadFile(filepath.Join(b.dir, name))
	if err == nil && sealed {
		p, err = b.ring.Open(blobPlace(name), p)
	}
	return p, err
}

// write makes a file of bytes, in the place of one that is there.
func (b *blobs) write(path string, p []byte) error {
	if err := b.opts.fail("blob.before-write"); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.%d%s", path, b.seq.Add(1), tmpSuffix)
	if err := writeFile(tmp, p); err != nil {
		os.Remove(tmp)
		return err
	}
	// Dying here leaves a temporary file, which Sweep removes.
	if err := b.opts.fail("blob.before-rename"); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	// Dying here leaves a blob nobody refers to, which Sweep removes.
	return b.opts.fail("blob.after-rename")
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
		if err := durable.SyncDir(filepath.Dir(d)); err != nil {
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
	return errors.Join(f.Sync(), f.Close(), durable.SyncDir(filepath.Dir(path)))
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
	if !b.ring.Encrypted() {
		return b.loadAs(blobName(&ref.sum), false, ref)
	}
	p, err := b.loadAs(b.sealedName(&ref.sum), true, ref)
	if errors.Is(err, fs.ErrNotExist) {
		p, err = b.loadAs(blobName(&ref.sum), false, ref)
	}
	if errors.Is(err, fs.ErrNotExist) { // it may have been sealed between the two
		p, err = b.loadAs(b.sealedName(&ref.sum), true, ref)
	}
	return p, err
}

func (b *blobs) loadAs(name string, sealed bool, ref *blobRef) ([]byte, error) {
	size := int64(ref.size)
	if sealed {
		size += crypt.Overhead
	}
	corrupt := func(what string, err error) error {
		return &CorruptError{File: name, What: what, Err: err}
	}
	path := filepath.Join(b.dir, name)
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, corrupt("the file is missing", err)
	case err == nil && (!st.Mode().IsRegular() || st.Size() != size):
		return nil, corrupt(fmt.Sprintf("the file has %d bytes, not %d", st.Size(), size), nil)
	case err != nil:
		return nil, err
	}
	p, err := b.read(name, sealed)
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
