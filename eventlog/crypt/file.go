package crypt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// File is the name of a ring in its data directory, and Copy that of a copy, for one
// bit of it that is lost would be all that was sealed. Each is replaced by a rename.
// Where they differ, the file counts.
//
//	wfd-data-keys-1
//	key <name of the key that opens it>
//	write <number of the data key that seals, or 0>
//	names <key of names>
//	<number> <data key>          for each, in ascending order
//	sha256 <of the lines before, 64 hex digits>
//
// The keys are sealed with the operator's for the line that they are in, and in base64.
const (
	File = "data.keys"
	Copy = "data.keys.copy"

	fileHead = "wfd-data-keys-1"
)

// A KeyError says that a data directory is encrypted and that the key is not at hand.
type KeyError struct {
	Dir  string
	ID   string   // of the key that is needed
	Have []string // names of those that were given
}

func (e *KeyError) Error() string {
	s := fmt.Sprintf("%s is encrypted with key %s", e.Dir, e.ID)
	if len(e.Have) == 0 {
		return s + ": give the file with it by --key-file or WFD_KEY_FILE"
	}
	return s + ", and the key file has " + strings.Join(e.Have, ", ") + ": give the file with that key, or add the key to this one"
}

// A DamageError says that neither a ring nor its copy can be read.
type DamageError struct {
	File string
	What string
}

func (e *DamageError) Error() string { return e.File + ": " + e.What }

// Exists reports whether there is a ring in dir.
func Exists(dir string) bool {
	for _, name := range []string{File, Copy} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Load opens the ring of a data directory: a [*KeyError] says that keys do not have the
// key. Without a ring it returns one that seals nothing. mended says what was wrong with
// one of the two files, if the other one was good.
func Load(dir string, keys Keys) (r *Ring, mended string, err error) {
	r = &Ring{dir: dir}
	if !Exists(dir) {
		return r, "", nil
	}
	var damage *DamageError
	for _, name := range []string{File, Copy} {
		k, err := load(dir, name, keys)
		switch {
		case err == nil:
			r.keys.Store(k)
			if damage != nil {
				return r, damage.Error(), nil
			}
			return r, "", nil
		case !errors.As(err, new(*DamageError)):
			return nil, "", err
		case damage == nil:
			errors.As(err, &damage)
		}
	}
	return nil, "", damage
}

func load(dir, name string, keys Keys) (*dataKeys, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{name, "the file is missing"}
	}
	if err != nil {
		return nil, err
	}
	k, lines, err := parse(b)
	if err != nil {
		return nil, &DamageError{name, err.Error()}
	}
	key := keys.by(k.key.ID)
	if key == nil {
		return nil, &KeyError{dir, k.key.ID, keys.IDs()}
	}
	k.key = *key
	x := newExtended(&key.secret)
	for i, line := range lines {
		secret, err := unwrap(x, line)
		if err != nil {
			return nil, &DamageError{name, fmt.Sprintf("%s: %v", line.name, err)}
		}
		if i == 0 {
			k.names = secret
			continue
		}
		d := &k.list[i-1]
		d.secret, d.x = secret, newExtended(&secret)
	}
	return k, nil
}

// wrapped is a line with a key.
type wrapped struct {
	name   string
	sealed []byte
}

func (w wrapped) place() []byte { return []byte(fileHead + " " + w.name) }

func wrap(x *extended, name string, secret *[keySize]byte) string {
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	b := newGCM(x.derive(nonce[:12])).Seal(nonce[:], nonce[12:], secret[:], wrapped{name: name}.place())
	return name + " " + base64.StdEncoding.EncodeToString(b) + "\n"
}

func unwrap(x *extended, w wrapped) (secret [keySize]byte, err error) {
	if len(w.sealed) != nonceSize+keySize+tagSize {
		return secret, ErrSeal
	}
	b, err := newGCM(x.derive(w.sealed[:12])).Open(nil, w.sealed[12:nonceSize], w.sealed[nonceSize:], w.place())
	if err != nil {
		return secret, ErrSeal
	}
	return [keySize]byte(b), nil
}

var errFile = errors.New("not a file of data keys as it was written")

// parse reads what format writes, without opening the keys.
func parse(b []byte) (k *dataKeys, keys []wrapped, err error) {
	text, sum, ok := strings.Cut(string(b), "sha256 ")
	if h := sha256.Sum256([]byte(text)); !ok || sum != hex.EncodeToString(h[:])+"\n" {
		return nil, nil, errFile
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 4 {
		return nil, nil, errFile
	}
	if lines[0] != fileHead {
		return nil, nil, fmt.Errorf("%w: it begins with %q, this build knows %s", errFile, lines[0], fileHead)
	}
	k = &dataKeys{}
	k.key.ID, _ = strings.CutPrefix(lines[1], "key ")
	write, isWrite := strings.CutPrefix(lines[2], "write ")
	n, err := strconv.ParseUint(write, 10, 32)
	if err != nil || !isWrite || len(k.key.ID) != 16 {
		return nil, nil, errFile
	}
	k.write = uint32(n)
	for i, line := range lines[3:] {
		name, sealed, _ := strings.Cut(line, " ")
		w := wrapped{name: name}
		if w.sealed, err = base64.StdEncoding.DecodeString(sealed); err != nil {
			return nil, nil, errFile
		}
		keys = append(keys, w)
		if i == 0 {
			if name != "names" {
				return nil, nil, errFile
			}
			continue
		}
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil || n == 0 || len(k.list) > 0 && uint32(n) <= k.list[len(k.list)-1].number {
			return nil, nil, errFile
		}
		k.list = append(k.list, dataKey{number: uint32(n)})
	}
	if k.write != 0 && k.by(k.write) == nil {
		return nil, nil, errFile
	}
	return k, keys, nil
}

func (k *dataKeys) format() []byte {
	x := newExtended(&k.key.secret)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nkey %s\nwrite %d\n", fileHead, k.key.ID, k.write)
	b.WriteString(wrap(x, "names", &k.names))
	for i := range k.list {
		b.WriteString(wrap(x, strconv.FormatUint(uint64(k.list[i].number), 10), &k.list[i].secret))
	}
	fmt.Fprintf(&b, "sha256 %x\n", sha256.Sum256([]byte(b.String())))
	return []byte(b.String())
}

// Begin makes the ring of a directory that is not encrypted, with a first data key,
// under the first of keys.
func (r *Ring) Begin(keys Keys) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := &dataKeys{key: keys[0]}
	rand.Read(k.names[:])
	return r.replace(k.with())
}

// Rotate puts the data keys under the first of keys, and adds a new one, which seals
// what is written from then on.
func (r *Ring) Rotate(keys Keys) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.now().with()
	k.key = keys[0]
	return r.replace(k)
}

// Stop makes what is written from now on be stored as it is.
func (r *Ring) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := *r.now()
	k.write = 0
	return r.replace(&k)
}

// Forget drops the data keys but the current one, when nothing is sealed with them any
// more; if there is no current one, the ring goes altogether.
func (r *Ring) Forget() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := *r.now()
	if k.write != 0 {
		k.list = []dataKey{*k.by(k.write)}
		return r.replace(&k)
	}
	// The copy goes first: a file without it is mended, a copy without the file, too.
	for _, name := range []string{Copy, File} {
		if err := os.Remove(filepath.Join(r.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := durable.SyncDir(r.dir); err != nil {
		return err
	}
	r.keys.Store(nil)
	return nil
}

// Mend writes the copy as the file is, or both if the file is not good.
func (r *Ring) Mend() error {
	if r.now() == nil {
		return nil
	}
	file, err := os.ReadFile(filepath.Join(r.dir, File))
	copied, _ := os.ReadFile(filepath.Join(r.dir, Copy))
	if err == nil {
		_, _, err = parse(file)
	}
	if err == nil && !slices.Equal(file, copied) {
		return write(r.dir, Copy, file)
	}
	if err != nil {
		return write(r.dir, File, copied) // which Load has opened
	}
	return nil
}

// replace writes the ring: the copy first, so that no data key comes into use that only
// one of them has. Dying in between leaves the ring as it was, with a copy that the
// next start makes the same.
func (r *Ring) replace(k *dataKeys) error {
	b := k.format()
	for _, name := range []string{Copy, File} {
		if err := write(r.dir, name, b); err != nil {
			return err
		}
	}
	r.keys.Store(k)
	return nil
}

func write(dir, name string, b []byte) error {
	return durable.WriteFile(filepath.Join(dir, name), b, 0o600)
}
