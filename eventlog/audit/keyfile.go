package audit

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// The files of a log's keys, in its data directory.
const (
	keyName   = "audit.key"      // the private key, one line
	nextName  = "audit.key.next" // the one after it, while it takes over
	pubName   = "audit.pub"      // the public key, one line
	chainName = "audit.keys"     // all rotations, as notes
)

// LoadKeys returns the public keys that the log in dir calls its own. Who
// verifies a log that somebody else holds brings keys of his own.
func LoadKeys(dir string) (*Keys, error) {
	k, _, err := readKeys(dir)
	return k, err
}

// readKeys also returns the chain as it is on disk.
func readKeys(dir string) (*Keys, []byte, error) {
	pub, err := os.ReadFile(filepath.Join(dir, pubName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w: the log has no public key yet: %w", ErrKey, err)
	}
	if err != nil {
		return nil, nil, err
	}
	k, err := ParseKeys(pub)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", pubName, err)
	}
	chain, err := os.ReadFile(filepath.Join(dir, chainName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	if k, err = k.Follow(chain); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", chainName, err)
	}
	return k, chain, nil
}

// current returns the key that signs now.
func (k *Keys) current() string {
	if n := len(k.chain); n > 0 {
		return k.chain[n-1].to.text
	}
	return k.given[0].text
}

// openKey returns the private key in dir and makes one if the log never had
// any. A rotation that was cut off behind the chain is finished; one that the
// chain does not have is for [Auditor.settle].
func openKey(dir string) (*signer, error) {
	path := filepath.Join(dir, keyName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createKey(dir); err != nil {
			return nil, err
		}
	}
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, pubName)); errors.Is(err, fs.ErrNotExist) {
		// The first start died between the two files.
		if err := durable.WriteFile(filepath.Join(dir, pubName), []byte(key.public+"\n"), 0o644); err != nil {
			return nil, err
		}
	}
	keys, _, err := readKeys(dir)
	if err != nil {
		return nil, err
	}
	next := filepath.Join(dir, nextName)
	if key.public != keys.current() {
		successor, err := readKey(next)
		if err != nil || successor.public != keys.current() {
			return nil, fmt.Errorf("%w: %s is not the private part of %s, which signs now: restore it from a backup", ErrKey, keyName, keyID(keys.current()))
		}
		if err := os.Rename(next, path); err != nil {
			return nil, err
		}
		key = successor
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(filepath.Join(dir, pubName)); err != nil || string(b) == key.public+"\n" {
		return key, err
	}
	return key, durable.WriteFile(filepath.Join(dir, pubName), []byte(key.public+"\n"), 0o644)
}

// createKey makes the first key of a log, and with it the log's ID.
func createKey(dir string) error {
	for _, name := range []string{pubName, chainName, journalName} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: there is a %s and no %s: restore it from a backup; or move %s, %s and %s away, and give the new public key to everyone who verifies this log", ErrKey, name, keyName, pubName, chainName, journalName)
		}
	}
	private, _, err := generateKey(originPrefix + strings.ToLower(rand.Text()))
	if err != nil {
		return err
	}
	// Dying behind this leaves a key without its public part, which the next
	// start writes.
	return durable.WriteFile(filepath.Join(dir, keyName), []byte(private+"\n"), 0o600)
}

// readKey reads a private key from a file that nobody else may read.
func readKey(path string) (*signer, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKey, path)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o, so that others can read it: chmod 600 it, and rotate it if anyone may have", ErrKey, path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := parseSigner(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKey, path, err)
	}
	return key, nil
}

// nextKey writes the key that is to follow.
func nextKey(dir, origin string) (*signer, error) {
	private, _, err := generateKey(origin)
	if err != nil {
		return nil, err
	}
	next, err := parseSigner(private)
	if err != nil {
		return nil, err
	}
	return next, durable.WriteFile(filepath.Join(dir, nextName), []byte(private+"\n"), 0o600)
}

// dropNext removes a next key that nothing leads to.
func dropNext(dir string) error {
	if err := os.Remove(filepath.Join(dir, nextName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(dir)
}

// lengthen returns the chain with the rotation from one key to the next.
func lengthen(chain []byte, number int, from, to *signer, at Checkpoint) ([]byte, error) {
	r := rotation{number: number, at: at}
	var err error
	if r.from, err = parseVerifier(from.public); err == nil {
		r.to, err = parseVerifier(to.public)
	}
	if err != nil {
		return nil, err
	}
	entry, err := signNote(r.text(), from, to)
	if err != nil {
		return nil, err
	}
	return append(append(chain[:len(chain):len(chain)], entry...), '\n'), nil
}
