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
	"slices"
	"strings"
)

// Key is an operator's key. It encrypts data keys and nothing else.
type Key struct {
	// ID names it: it follows from the key, and says nothing about it.
	ID     string
	secret [keySize]byte
}

// Keys are those of a key file, in its order. The first one is for what is written;
// all of them open what is there.
type Keys []Key

// keyPrefix begins a line of a key file. What follows it is the key in base64.
const keyPrefix = "wfd-key-1:"

// NewKey makes a random key.
func NewKey() Key {
	var k Key
	rand.Read(k.secret[:]) // never fails: it crashes the program instead
	k.ID = k.id()
	return k
}

func (k *Key) id() string {
	h := sha256.New()
	h.Write([]byte("wfd-key-1 id\x00"))
	h.Write(k.secret[:])
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Line returns the key as a line of a key file.
func (k *Key) Line() string { return keyPrefix + base64.StdEncoding.EncodeToString(k.secret[:]) }

// ErrKeyFile: a key file cannot be used.
var ErrKeyFile = errors.New("key file")

// LoadKeys reads a key file: a key a line, empty lines and comments with # apart. Only
// its owner may be able to read it.
func LoadKeys(path string) (Keys, error) {
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if p := st.Mode().Perm() & (fs.ModePerm &^ 0o700); p != 0 {
		return nil, fmt.Errorf("%w: %s can be read by others (mode %04o): chmod 600 %s", ErrKeyFile, path, st.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	keys, err := ParseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
	}
	return keys, nil
}

// ParseKeys reads the content of a key file. Its errors show nothing of it.
func ParseKeys(text string) (Keys, error) {
	var keys Keys
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := parseKey(line)
		if err == nil && keys.by(k.ID) != nil {
			err = fmt.Errorf("key %s is there twice", k.ID)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key: wfd key new makes one")
	}
	return keys, nil
}

func parseKey(line string) (k Key, err error) {
	text, ok := strings.CutPrefix(line, keyPrefix)
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) != keySize {
		return k, fmt.Errorf("not a key: want %s and 32 bytes in base64, as wfd key new prints it", keyPrefix)
	}
	copy(k.secret[:], b)
	k.ID = k.id()
	return k, nil
}

func (ks Keys) by(id string) *Key {
	i := slices.IndexFunc(ks, func(k Key) bool { return k.ID == id })
	if i < 0 {
		return nil
	}
	return &ks[i]
}

// IDs returns the names of the keys, in order.
func (ks Keys) IDs() []string {
	ids := make([]string, len(ks))
	for i := range ks {
		ids[i] = ks[i].ID
	}
	return ids
}
