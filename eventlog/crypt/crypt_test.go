package crypt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The vectors are those of the specification of XAES-256-GCM.
func TestVectors(t *testing.T) {
	for _, v := range []struct {
		key         byte
		place, want string
	}{
		{1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		key := [keySize]byte(bytes.Repeat([]byte{v.key}, keySize))
		s := Series{Header: [HeaderSize]byte([]byte("\x00\x00\x00\x00ABCDEFGHIJKLMNOPQRSTUVWX"))}
		s.derive(&dataKey{x: newExtended(&key)})
		if got := hex.EncodeToString(s.Seal(nil, 0, []byte(v.place), []byte("XAES-256-GCM"))); got != v.want {
			t.Errorf("key %d: %s, want %s", v.key, got, v.want)
		}
	}
}

func begin(t *testing.T) (dir string, keys Keys, r *Ring) {
	t.Helper()
	dir, keys = t.TempDir(), Keys{NewKey()}
	r, mended, err := Load(dir, keys)
	if err != nil || mended != "" || r.Encrypted() || r.Seals() || r.Series() != nil {
		t.Fatalf("a directory without a ring: %v, %q", err, mended)
	}
	if got := r.Seal([]byte("p"), []byte("plain")); string(got) != "plain" {
		t.Fatalf("sealed without a key: %q", got)
	}
	if err := r.Begin(keys); err != nil {
		t.Fatal(err)
	}
	return dir, keys, r
}

func TestSealedValuesOpenInTheirPlace(t *testing.T) {
	_, keys, r := begin(t)
	value := []byte("what was said")
	sealed := r.Seal([]byte("here"), value)
	if bytes.Contains(sealed, value) || len(sealed) != len(value)+Overhead || DataKeyOf(sealed) != 1 {
		t.Fatalf("sealed as %q", sealed)
	}
	if got, err := r.Open([]byte("here"), sealed); err != nil || string(got) != string(value) {
		t.Fatalf("opened as %q, %v", got, err)
	}
	if _, err := r.Open([]byte("there"), sealed); !errors.Is(err, ErrSeal) {
		t.Errorf("in another place: %v", err)
	}
	for i := range 8 * len(sealed) {
		b := bytes.Clone(sealed)
		b[i/8] ^= 1 << (i % 8)
		if _, err := r.Open([]byte("here"), b); !errors.Is(err, ErrSeal) && !errors.Is(err, ErrNoDataKey) {
			t.Fatalf("bit %d changed: %v", i, err)
		}
	}
	for n := range len(sealed) {
		if _, err := r.Open([]byte("here"), sealed[:n]); err == nil {
			t.Fatalf("cut to %d bytes, it opens", n)
		}
	}
	if bytes.Equal(sealed, r.Seal([]byte("here"), value)) {
		t.Error("the same value was sealed twice to the same bytes")
	}
	s := r.Series()
	a, b := s.Seal(nil, 0, nil, value), s.Seal(nil, 1, nil, value)
	if bytes.Equal(a, b) {
		t.Error("two values of a series are sealed alike")
	}
	if _, err := s.Open(0, nil, b); !errors.Is(err, ErrSeal) {
		t.Errorf("the second value in the place of the first: %v", err)
	}
	b[0] ^= 1
	if hint := s.Hint(1, b); len(hint) != len(value) || hint[0] != value[0]^1 || !bytes.Equal(hint[1:], value[1:]) {
		t.Errorf("of a value with one changed bit is read %q", hint)
	}
	tag := r.Tag("label", []byte("a"), []byte("bc"))
	if tag == r.Tag("label", []byte("ab"), []byte("c")) || tag == r.Tag("blob", []byte("a"), []byte("bc")) {
		t.Error("two contents have a tag")
	}
	if err := r.Rotate(keys); err != nil || tag != r.Tag("label", []byte("a"), []byte("bc")) {
		t.Errorf("a tag is another after a rotation (%v)", err)
	}
}

func TestKeysOfARing(t *testing.T) {
	dir, old, r := begin(t)
	place, sealed := []byte("p"), r.Seal([]byte("p"), []byte("first"))
	read := func(keys Keys, want string) {
		t.Helper()
		r, mended, err := Load(dir, keys)
		if err != nil || mended != "" {
			t.Fatal(err, mended)
		}
		if b, err := r.Open(place, sealed); err != nil || string(b) != want {
			t.Fatalf("opened as %q, %v", b, err)
		}
	}
	read(old, "first")
	var ke *KeyError
	if _, _, err := Load(dir, nil); !errors.As(err, &ke) || ke.ID != old[0].ID || !strings.Contains(err.Error(), "--key-file") {
		t.Fatalf("without a key: %v", err)
	}
	next := Keys{NewKey(), old[0]}
	if _, _, err := Load(dir, next[:1]); !errors.As(err, &ke) || !strings.Contains(err.Error(), next[0].ID) {
		t.Fatalf("with another key: %v", err)
	}
	read(next, "first")
	if err := r.Rotate(next); err != nil {
		t.Fatal(err)
	}
	read(next[:1], "first")
	if _, _, err := Load(dir, old); !errors.As(err, &ke) {
		t.Fatalf("with the old key after a rotation: %v", err)
	}
	if s, ok := r.Status(); !ok || s.Write != 2 || s.Key != next[0].ID || fmt.Sprint(s.DataKeys) != "[1 2]" {
		t.Fatalf("after a rotation: %+v", s)
	}
	sealed = r.Seal(place, []byte("second"))
	if err := r.Forget(); err != nil {
		t.Fatal(err)
	}
	read(next, "second")
	if err := r.Stop(); err != nil || r.Seals() || !r.Encrypted() {
		t.Fatal("stopped", err)
	}
	read(next, "second")
	if err := r.Forget(); err != nil || r.Encrypted() || Exists(dir) {
		t.Fatal("forgotten", err)
	}
}

// Every write of a rotation is lost, one at a time; what is left opens with the old key or
// the new one, and everything that was sealed opens with it.
func TestRotationIsAtomic(t *testing.T) {
	dir, old, r := begin(t)
	sealed := r.Seal(nil, []byte("kept"))
	was := files(t, dir)
	next := Keys{NewKey()}
	if err := r.Rotate(next); err != nil {
		t.Fatal(err)
	}
	is := files(t, dir)
	for _, state := range []map[string][]byte{
		was, is,
		{File: was[File], Copy: is[Copy]},                               // died after the copy
		{File: was[File], Copy: was[Copy], Copy + ".tmp": is[File][:9]}, // died in it
		{File: was[File], Copy: is[Copy], File + ".tmp": nil},
	} {
		dir := t.TempDir()
		for name, b := range state {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		opened := 0
		for _, keys := range []Keys{old, next} {
			r, _, err := Load(dir, keys)
			if errors.As(err, new(*KeyError)) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if b, err := r.Open(nil, sealed); err != nil || string(b) != "kept" {
				t.Fatalf("%q, %v", b, err)
			}
			opened++
			if err := r.Mend(); err != nil {
				t.Fatal(err)
			}
			if f := files(t, dir); !bytes.Equal(f[File], f[Copy]) {
				t.Error("the copy is not as the file")
			}
		}
		if opened != 1 {
			t.Errorf("%d of the two keys open it", opened)
		}
	}
}

func TestDamagedRing(t *testing.T) {
	dir, keys, r := begin(t)
	sealed := r.Seal(nil, []byte("kept"))
	good := files(t, dir)
	set := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(good[File]) {
		b := bytes.Clone(good[File])
		b[i] ^= 1 << (i % 8)
		set(File, b)
		r, mended, err := Load(dir, keys)
		if err != nil || !strings.Contains(mended, File) {
			t.Fatalf("byte %d: %v, %q", i, err, mended)
		}
		if b, err := r.Open(nil, sealed); err != nil || string(b) != "kept" {
			t.Fatal(err)
		}
		if i%40 == 0 {
			set(Copy, b)
			if _, _, err := Load(dir, keys); !errors.As(err, new(*DamageError)) {
				t.Fatalf("both damaged: %v", err)
			}
			set(Copy, good[Copy])
		}
		if err := r.Mend(); err != nil || !bytes.Equal(files(t, dir)[File], good[File]) {
			t.Fatalf("not mended: %v", err)
		}
	}
	if err := os.Remove(filepath.Join(dir, File)); err != nil {
		t.Fatal(err)
	}
	if r, mended, err := Load(dir, keys); err != nil || mended == "" || r.Mend() != nil {
		t.Fatal("the file is missing", err)
	}
	if f := files(t, dir); !bytes.Equal(f[File], good[File]) {
		t.Error("not made again")
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	m := map[string][]byte{}
	for _, name := range []string{File, Copy} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		m[name] = b
	}
	return m
}

func TestKeyFiles(t *testing.T) {
	a, b := NewKey(), NewKey()
	path := filepath.Join(t.TempDir(), "keys")
	try := func(text string, mode os.FileMode) (Keys, error) {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return LoadKeys(path)
	}
	keys, err := try("# made today\n"+a.Line()+"\n\n  "+b.Line()+"\n", 0o600)
	if err != nil || fmt.Sprint(keys.IDs()) != fmt.Sprint([]string{a.ID, b.ID}) || keys[0] != a {
		t.Fatalf("%v, %v", keys.IDs(), err)
	}
	for _, bad := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{a.Line(), 0o640, "chmod 600"},
		{a.Line(), 0o604, "chmod 600"},
		{"# nothing\n", 0o600, "it has no key"},
		{a.Line() + "\n" + a.Line(), 0o600, "line 2"},
		{a.Line()[:30], 0o600, "line 1: not a key"},
		{a.Line() + "A", 0o600, "not a key"},
		{strings.TrimPrefix(a.Line(), keyPrefix), 0o600, "not a key"},
	} {
		_, err := try(bad.text, bad.mode)
		if !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%q with mode %o: %v, want %q", bad.text, bad.mode, err, bad.want)
		}
		if err != nil && strings.Contains(err.Error(), a.Line()[12:30]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	if _, err := LoadKeys(filepath.Dir(path)); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a directory: %v", err)
	}
}
