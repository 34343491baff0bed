package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/eventlog/oneform"
)

// ErrFormat: not a backup, or not one of a form that this build knows.
var ErrFormat = errors.New("not a backup")

// Header is how a manifest begins: of what and when a backup is.
type Header struct {
	Format string       `json:"format"`
	Origin string       `json:"origin,omitempty"` // the name of the log; none if it has no key
	Head   eventlog.Seq `json:"head"`             // its last event
	Root   Hash         `json:"root"`             // of the tree over its events
	Made   time.Time    `json:"made"`
	// Checkpoint is the last signed note, which may be of fewer events than Head.
	Checkpoint string `json:"checkpoint,omitempty"`
}

const format = "wfd-backup-1"

// Signed returns how many events the checkpoint is of, 0 if there is none.
func (h *Header) Signed() uint64 {
	lines := strings.SplitN(h.Checkpoint, "\n", 3)
	if len(lines) < 3 {
		return 0
	}
	n, _ := strconv.ParseUint(lines[1], 10, 64) // verified where it counts
	return n
}

// Hash is a hash of the tree, in JSON as base64.
type Hash [32]byte

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(b []byte) error {
	return decodeSum(h[:], b, base64.StdEncoding.DecodeString)
}

// Sum is the SHA-256 of a file, in JSON as sha256sum(1) writes it.
type Sum [32]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Sum) UnmarshalText(b []byte) error { return decodeSum(s[:], b, hex.DecodeString) }

func decodeSum(dst, text []byte, decode func(string) ([]byte, error)) error {
	b, err := decode(string(text))
	if err != nil || len(b) != len(dst) {
		return fmt.Errorf("%.80q is not a hash", text)
	}
	copy(dst, b)
	return nil
}

// File is a file of a backup.
type File struct {
	Path string `json:"path"` // within the data directory, by slashes
	Size int64  `json:"size"`
	Sum  Sum    `json:"sha256"`
}

// closing is the last line of a manifest.
type closing struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	Sum   Sum   `json:"sha256"` // of all lines before
}

// Manifest says what a backup has. The files are in the order in which they are
// restored.
type Manifest struct {
	Header
	Files []File
	Bytes int64 // of all files
}

// Names of manifests and of an error, among the entries of a stream.
const (
	manifestName = "manifest"
	problemName  = "problem"
)

// Limits on a manifest that is read: its lines, and its files.
const (
	maxLine  = 64 << 10
	maxFiles = 20_000_000
)

// write writes the manifest.
func (m *Manifest) write(w io.Writer) error {
	h := sha256.New()
	buf := bufio.NewWriterSize(w, 64<<10)
	out := io.MultiWriter(buf, h)
	if err := oneform.Write(out, m.Header); err != nil {
		return err
	}
	end := closing{Files: len(m.Files)}
	for _, f := range m.Files {
		if err := oneform.Write(out, f); err != nil {
			return err
		}
		end.Bytes += f.Size
	}
	h.Sum(end.Sum[:0])
	if err := oneform.Write(buf, end); err != nil {
		return err
	}
	return buf.Flush()
}

// decode reads a line, and one that was written in another way is one in which a
// changed bit may hide.
func decode(line []byte, v any) error {
	if err := oneform.Decode(line, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// readManifest reads a manifest, and verifies that it is as it was written.
func readManifest(r io.Reader) (*Manifest, error) {
	m := &Manifest{}
	h := sha256.New()
	in := bufio.NewReaderSize(r, maxLine)
	bad := func(line int, err error) error { return fmt.Errorf("%s, line %d: %w", manifestName, line, err) }
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, bad(n, fmt.Errorf("%w: it ends early, or has a line of more than %d bytes", ErrFormat, maxLine))
		}
		switch {
		case n == 1:
			if err = decode(line, &m.Header); err == nil && (m.Format != format || m.Head == 0) {
				err = fmt.Errorf("%w: format %.40q, this build knows %q", ErrFormat, m.Format, format)
			}
		case bytes.HasPrefix(line, []byte(`{"files":`)):
			if err := m.end(line, Sum(h.Sum(nil))); err != nil {
				return nil, bad(n, err)
			}
			if _, err := in.ReadByte(); err != io.EOF {
				return nil, bad(n+1, fmt.Errorf("%w: there is more behind its last line", ErrFormat))
			}
			return m, nil
		default:
			err = m.file(line)
		}
		if err != nil {
			return nil, bad(n, err)
		}
		h.Write(line)
	}
}

func (m *Manifest) file(line []byte) error {
	var f File
	if err := decode(line, &f); err != nil {
		return err
	}
	if !restorable(f.Path) || f.Size < 0 {
		return fmt.Errorf("%w: %.200q is not a file of a data directory", ErrFormat, f.Path)
	}
	if len(m.Files) == maxFiles {
		return fmt.Errorf("%w: more than %d files", ErrFormat, maxFiles)
	}
	m.Files = append(m.Files, f)
	m.Bytes += f.Size
	return nil
}

func (m *Manifest) end(line []byte, sum Sum) error {
	var c closing
	if err := decode(line, &c); err != nil {
		return err
	}
	if c.Sum != sum || c.Files != len(m.Files) || c.Bytes != m.Bytes {
		return fmt.Errorf("%w: it is not as it was written", ErrFormat)
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if seen[f.Path] {
			return fmt.Errorf("%w: %s is in it twice", ErrFormat, f.Path)
		}
		seen[f.Path] = true
	}
	return nil
}

// Names of the files that are not of the log itself.
const keyName = "audit.key"

var auditNames = []string{"audit.pub", "audit.keys", "checkpoints.txt", "audit.past", keyName}

// restorable reports whether a path is one that a data directory has, so that
// nothing outside of it can be written, and nothing in it that is not known.
func restorable(path string) bool {
	for _, name := range append([]string{"catalog", crypt.File}, auditNames...) {
		if path == name {
			return true
		}
	}
	dir, name, _ := strings.Cut(path, "/")
	switch dir {
	case "log":
		base, piece, isTail := strings.Cut(name, ".tail/")
		if isTail {
			return digits(base, 20) && digits(piece, 20)
		}
		base, ok := strings.CutSuffix(name, ".db")
		return ok && digits(base, 20)
	case "blobs":
		return len(name) == 6+64 && name[2] == '/' && name[5] == '/' && lowerHex(name[6:]) && name[:2] == name[6:8] && name[3:5] == name[8:10]
	case "archives":
		return name != "" && len(name) <= 200 && strings.Trim(name, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") == "" && name[0] != '.'
	}
	return false
}

func digits(s string, n int) bool { return len(s) == n && strings.Trim(s, "0123456789") == "" }
func lowerHex(s string) bool      { return strings.Trim(s, "0123456789abcdef") == "" }
