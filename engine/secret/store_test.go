package secret

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // not subject to the umask
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, s *Store, name, want string) {
	t.Helper()
	if got, err := s.Get(name); err != nil || got != want {
		t.Errorf("%s = %q, %v; want %q", name, got, err, want)
	}
}

// Secrets come from the environment, from a file of lines, from a directory; the
// environment counts before either.
func TestSources(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Prefix+"FROM_ENV", "in the environment")
	t.Setenv(Prefix+"BOTH", "nearer")
	file := write(t, filepath.Join(dir, "secrets"), "\ufeff# keys\n\nexport PLAIN=a=b # c\r\nQUOTED=\"two\\nlines\"\nSINGLE = 'as \"it\" is'\nBOTH=farther\nEMPTY=\n", 0o600)
	s := open(t, file)
	get(t, s, "FROM_ENV", "in the environment")
	get(t, s, "BOTH", "nearer")
	get(t, s, "PLAIN", "a=b # c")
	get(t, s, "QUOTED", "two\nlines")
	get(t, s, "SINGLE", `as "it" is`)
	if _, err := s.Get("EMPTY"); err == nil || !strings.Contains(err.Error(), "EMPTY has 0 bytes") {
		t.Errorf("an empty one: %v", err)
	}

	sub := filepath.Join(dir, "d")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(sub, "my.key-1"), "with a line break\n", 0o440)
	write(t, filepath.Join(sub, "two"), "keeps one\n\n", 0o400)
	write(t, filepath.Join(sub, ".hidden"), "not a secret", 0o666)
	s = open(t, sub)
	get(t, s, "my.key-1", "with a line break")
	get(t, s, "two", "keeps one\n")
	if got := s.Redactor().Text("a line: with a line break"); strings.Contains(got, "with") {
		t.Errorf("a secret that nobody asked for is shown: %q", got)
	}
}

// What cannot be used is refused with its name, and no error holds a value.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Prefix+"SHORT", "abc")
	t.Setenv(Prefix+"LONG", strings.Repeat("x", MaxValue+1))
	s := open(t, "")
	for name, want := range map[string]string{
		"ABSENT": "set WFD_SECRET_ABSENT", "SHORT": "secret SHORT has 3 bytes", "LONG": "secret LONG has 65537 bytes",
		"": "no name", "../x": "no name", "a/b": "no name", ".x": "no name", "-x": "no name", strings.Repeat("n", 129): "no name",
	} {
		if v, err := s.Get(name); err == nil || !strings.Contains(err.Error(), want) || v != "" {
			t.Errorf("%q: %q, %v", name, v, err)
		}
	}
	if _, err := s.Get("ABSENT"); !errors.Is(err, ErrUnknown) {
		t.Errorf("not ErrUnknown: %v", err)
	}
	var none *Store
	if _, err := none.Get("ABSENT"); !errors.Is(err, ErrUnknown) || none.Redactor() != nil {
		t.Errorf("no store: %v", err)
	}

	const value = "pa55phrase"
	for text, want := range map[string]string{
		value + "\n":                         "line 1: want NAME=value",
		"A=1234\n\n" + value + " b=" + value: "line 3: what stands before the = is no name",
		"A=" + value + "\nA=" + value:        "line 2: A is there twice",
		"A=\"" + value:                       "line 1: the quotes of A are not closed",
		"A=\"" + value + "\\q\"":             "line 1: the quotes of A cannot be read",
	} {
		_, err := Open(write(t, filepath.Join(dir, "bad"), text, 0o600))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), value) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "nowhere")); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Open(write(t, filepath.Join(dir, "big"), strings.Repeat("#", maxFile+1), 0o600)); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("a large file: %v", err)
	}
}

// A file that others can read, or change, is not used.
func TestModes(t *testing.T) {
	for _, mode := range []os.FileMode{0o400, 0o600, 0o440, 0o640, 0o604, 0o606, 0o620, 0o660, 0o644} {
		ok := mode&0o026 == 0
		dir := t.TempDir()
		file := write(t, filepath.Join(dir, "lines"), "NAME=a value", mode)
		if _, err := Open(file); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "chmod") {
			t.Errorf("a file of mode %o: %v", mode, err)
		}
		if _, err := Open(dir); (err == nil) != ok {
			t.Errorf("a directory with a file of mode %o: %v", mode, err)
		}
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "mode 0777") {
		t.Errorf("a directory that anybody may write to: %v", err)
	}
}

// A link inside the directory is followed, as the ones that mounted secrets are; one
// that leads out of it is not.
func TestLinks(t *testing.T) {
	outside := write(t, filepath.Join(t.TempDir(), "outside"), "not for you", 0o600)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "..data"), "a value", 0o600)
	for name, to := range map[string]string{"in": "..data", "out": outside} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	get(t, s, "in", "a value")
	if v, err := s.Get("out"); err == nil {
		t.Errorf("a link out of the directory gives %q", v)
	}
}

// A secret can be changed under a running daemon; the old value stays one.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := write(t, filepath.Join(dir, "lines"), "KEY=the old value", 0o600)
		s := open(t, file)
		get(t, s, "KEY", "the old value")
		write(t, file, "KEY=the newer value", 0o600)
		time.Sleep(lookEvery)
		get(t, s, "KEY", "the newer value")
		if got := s.Redactor().Text("the old value, the newer value"); got != "[secret KEY], [secret KEY]" {
			t.Errorf("shown as %q", got)
		}
		write(t, file, "KEY", 0o600)
		time.Sleep(lookEvery)
		if v, err := s.Get("KEY"); err == nil {
			t.Errorf("a broken file gives %q", v)
		}
	})
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "KEY"), "the old value", 0o600)
	s := open(t, dir)
	write(t, file, "the newer value", 0o600)
	get(t, s, "KEY", "the newer value")
}

// A value that has no name here is kept out of sight all the same.
func TestKeep(t *testing.T) {
	s := open(t, "")
	s.Keep("OPENAI_API_KEY", "sk-12345")
	s.Keep("x", "abc") // too short to be told from text
	if got := s.Redactor().Text("sk-12345 abc"); got != "[secret OPENAI_API_KEY] abc" {
		t.Errorf("shown as %q", got)
	}
	if _, err := s.Get("OPENAI_API_KEY"); !errors.Is(err, ErrUnknown) {
		t.Errorf("it is found: %v", err)
	}
	for i := range 300 { // as many as come
		s.Keep(fmt.Sprint("N", i), fmt.Sprintf("value-%d-", i))
	}
	if got := s.Redactor().Text("value-299-"); got != "[secret N299]" {
		t.Errorf("shown as %q", got)
	}
}
