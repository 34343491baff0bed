package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// Prefix is what the environment variable of a secret begins with.
	Prefix = "WFD_SECRET_"

	// MinValue and MaxValue bound a secret's value, in bytes.
	MinValue = 4
	MaxValue = 64 << 10

	maxName = 128
	// maxFile bounds a file of secrets, maxSecrets what a file or a directory holds.
	maxFile    = 1 << 20
	maxSecrets = 1000

	// lookEvery is how often a file is looked at for changes.
	lookEvery = time.Second
)

// ErrUnknown: there is no secret of that name.
var ErrUnknown = errors.New("no such secret")

// Store finds secrets. It is safe for concurrent use; a nil Store has none. No error
// of it holds a value.
type Store struct {
	file string // of lines; "" = none
	dir  *os.Root

	mu     sync.Mutex
	lines  map[string]string // of file
	stamp  stamp             // of file as it was read
	looked time.Time
	known  map[string]string // by value: the name it is shown under
	redact *Redactor         // of known; nil: to be made
}

// stamp tells one state of a file from the next.
type stamp struct {
	size int64
	at   time.Time
}

// Open returns a store of what the environment holds and, unless path is "", of a
// file or a directory.
func Open(path string) (*Store, error) {
	s := &Store{known: map[string]string{}}
	for _, kv := range os.Environ() {
		if name, value, _ := strings.Cut(kv, "="); strings.HasPrefix(name, Prefix) {
			s.keep(strings.TrimPrefix(name, Prefix), value)
		}
	}
	if path == "" {
		return s, nil
	}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	if !fi.IsDir() {
		s.file = path
		return s, s.look(time.Now())
	}
	if fi.Mode()&fs.ModeSticky == 0 { // there nobody can replace another's file
		if err := private(path, fi, 0o022); err != nil {
			return nil, err
		}
	}
	if s.dir, err = os.OpenRoot(path); err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return s, s.readAll()
}

// Get returns a secret by name. What it returns is known to every Redactor from
// here on.
func (s *Store) Get(name string) (string, error) {
	value, err := s.find(name)
	if err != nil {
		return "", err
	}
	if !usable(value) {
		return "", fmt.Errorf("secret %s has %d bytes: a secret has %d to %d, blanks around it not counted", name, len(strings.TrimSpace(value)), MinValue, MaxValue)
	}
	s.keep(name, value)
	return value, nil
}

func (s *Store) find(name string) (string, error) {
	if !validName(name) {
		return "", fmt.Errorf("%w: %q is no name of a secret", ErrUnknown, name)
	}
	if s == nil {
		return "", unknown(name)
	}
	if v, ok := os.LookupEnv(Prefix + name); ok {
		return v, nil
	}
	switch {
	case s.dir != nil:
		return s.own(name)
	case s.file != "":
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.look(time.Now()); err != nil {
			return "", err
		}
		if v, ok := s.lines[name]; ok {
			return v, nil
		}
	}
	return "", unknown(name)
}

func unknown(name string) error {
	return fmt.Errorf("%w: %s: set %s%s, or give --secrets a file or a directory that has it", ErrUnknown, name, Prefix, name)
}

// Keep makes value a secret that is shown as name, without being found by it: an API
// key from a variable of its own, say.
func (s *Store) Keep(name, value string) {
	if s != nil {
		s.keep(name, value)
	}
}

func (s *Store) keep(name, value string) {
	if !usable(value) {
		return // never given out
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(name, value)
}

// keepLocked is keep with mu held.
func (s *Store) keepLocked(name, value string) {
	if old, ok := s.known[value]; ok && old <= name {
		return
	}
	s.known[value] = name
	s.redact = nil
}

// Redactor returns what takes out the values known by now.
func (s *Store) Redactor() *Redactor {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redact == nil {
		s.redact = newRedactor(s.known)
	}
	return s.redact
}

// look reads the file of lines if it has changed. Called with mu held, or before
// anybody else has the store.
func (s *Store) look(now time.Time) error {
	if s.lines != nil && now.Sub(s.looked) < lookEvery {
		return nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if s.lines != nil && s.stamp == (stamp{fi.Size(), fi.ModTime()}) {
		s.looked = now
		return nil
	}
	text, err := readPrivate(s.file, f, fi, maxFile)
	if err != nil {
		return err
	}
	lines, err := parse(s.file, text)
	if err != nil {
		return err
	}
	s.lines, s.stamp, s.looked = lines, stamp{fi.Size(), fi.ModTime()}, now
	for name, value := range lines {
		if usable(value) {
			s.keepLocked(name, value)
		}
	}
	return nil
}

// readAll makes the secrets of the directory known, whatever is used of them.
func (s *Store) readAll() error {
	d, err := s.dir.Open(".")
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	n := 0
	for _, name := range names {
		if !validName(name) {
			continue
		}
		if fi, err := s.dir.Stat(name); err != nil || fi.IsDir() {
			continue
		}
		if n++; n > maxSecrets {
			return fmt.Errorf("secrets: %s has more than %d files", s.dir.Name(), maxSecrets)
		}
		value, err := s.own(name)
		if err != nil {
			return err
		}
		s.keep(name, value)
	}
	return nil
}

// own returns the content of a secret's own file. A link that leads out of the
// directory is not followed.
func (s *Store) own(name string) (string, error) {
	f, err := s.dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", unknown(name)
	}
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	text, err := readPrivate(f.Name(), f, fi, MaxValue+2)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), nil
}

// readPrivate reads a file that is nobody else's business.
func readPrivate(name string, f io.Reader, fi fs.FileInfo, limit int64) (string, error) {
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("secrets: %s is no file", name)
	}
	if err := private(name, fi, 0o026); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", fmt.Errorf("secrets: %w", err)
	}
	if int64(len(b)) > limit {
		return "", fmt.Errorf("secrets: %s has more than %d bytes", name, limit)
	}
	return string(b), nil
}

// private refuses a file with any of the bits of bad.
func private(name string, fi fs.FileInfo, bad fs.FileMode) error {
	if m := fi.Mode().Perm(); m&bad != 0 {
		return fmt.Errorf("secrets: %s has mode %04o, so that others can get at it: chmod %04o %s", name, m, m&^(bad|0o001), name)
	}
	return nil
}

// usable reports whether a value can be told from ordinary text.
func usable(value string) bool {
	return len(strings.TrimSpace(value)) >= MinValue && len(value) <= MaxValue
}

func validName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, r := range s {
		if r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') {
			return false
		}
	}
	return true
}
