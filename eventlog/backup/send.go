package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

// ErrEmpty: the log has no event, so that there is nothing to back up.
var ErrEmpty = errors.New("the log has no event yet: there is nothing to back up")

// Source is a data directory that is open.
type Source struct {
	Log *eventlog.DB
	// Copy returns what the log was signed for, after signing it as it is now if
	// that is possible; nil if there is nobody who signs.
	Copy func() (audit.Copy, error)
}

// Options for [Send].
type Options struct {
	// Have are files that the other side has, sorted: they are left out.
	Have []Sum
	// Now is when the backup is made.
	Now time.Time
	// Problem returns an error as the other side is to read it.
	Problem func(error) []byte
}

// Send writes the files of a data directory as a tar to w, with the manifest as
// the last entry, while the log goes on. An error other than one of w is told to
// the other side, too, as an entry of its own: what came before it is no backup.
func Send(ctx context.Context, w io.Writer, src Source, o Options) error {
	out := &remembering{w: w}
	s := &sender{ctx: ctx, tar: tar.NewWriter(out), o: o}
	err := s.send(src)
	if err != nil && out.err == nil && o.Problem != nil {
		b := o.Problem(err)
		err = errors.Join(err, s.entry(problemName, int64(len(b)), bytes.NewReader(b), io.Discard))
	}
	if err != nil {
		return err
	}
	return s.tar.Close()
}

// remembering is a writer that knows whether it failed.
type remembering struct {
	w   io.Writer
	err error
}

func (r *remembering) Write(b []byte) (int, error) {
	n, err := r.w.Write(b)
	r.err = err
	return n, err
}

type sender struct {
	ctx      context.Context
	tar      *tar.Writer
	o        Options
	manifest Manifest
}

func (s *sender) send(src Source) error {
	size, root := src.Log.TreeHead()
	s.manifest.Header = Header{Format: format, Made: s.o.Now.UTC().Truncate(time.Second)}
	var signed audit.Copy
	if src.Copy != nil {
		var err error
		if signed, err = src.Copy(); err != nil {
			return err
		}
		if c := signed.Checkpoint; signed.Note != nil {
			s.manifest.Origin, s.manifest.Checkpoint = c.Origin, string(signed.Note)
			if head, _ := src.Log.TreeHead(); c.Size >= size && c.Size <= head {
				size, root = c.Size, c.Root // the moment that was signed
			}
		}
	}
	if size == 0 {
		return ErrEmpty
	}
	s.manifest.Head, s.manifest.Root = eventlog.Seq(size), Hash(root)
	sn, err := src.Log.Snapshot(size, root)
	if err != nil {
		return err
	}
	defer sn.Close()
	if err := sn.Each(s.piece); err != nil {
		return err
	}
	for _, name := range auditNames {
		b, ok := signed.Files[name]
		if !ok {
			continue
		}
		p := eventlog.Piece{Name: name, Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
		if err := s.piece(p); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := s.manifest.write(&b); err != nil {
		return err
	}
	return s.entry(manifestName, int64(b.Len()), &b, io.Discard)
}

// piece sends a file, unless the other side has it.
func (s *sender) piece(p eventlog.Piece) (err error) {
	f := File{Path: p.Name, Size: p.Size}
	if !restorable(f.Path) {
		return fmt.Errorf("%q is not a name that a backup can have", f.Path)
	}
	known := p.Sum
	if known == nil && len(s.o.Have) > 0 {
		if known, err = s.sumUp(p); err != nil {
			return err
		}
	}
	if known != nil && s.has(*known) {
		f.Sum = *known
		s.manifest.Files = append(s.manifest.Files, f)
		return nil
	}
	r, err := p.Open()
	if err != nil {
		return err
	}
	h := sha256.New()
	err = errors.Join(s.entry(p.Name, p.Size, r, h), r.Close())
	if err != nil {
		return err
	}
	if f.Sum = sumOf(h); known != nil && f.Sum != *known {
		return &eventlog.CorruptError{File: p.Name, What: "the content does not match its hash"}
	}
	s.manifest.Files = append(s.manifest.Files, f)
	return nil
}

func (s *sender) has(sum Sum) bool {
	_, ok := slices.BinarySearchFunc(s.o.Have, sum, func(a, b Sum) int { return bytes.Compare(a[:], b[:]) })
	return ok
}

func (s *sender) sumUp(p eventlog.Piece) (*[32]byte, error) {
	r, err := p.Open()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(h, contextReader{s.ctx, r})
	sum := [32]byte(sumOf(h))
	return &sum, errors.Join(err, r.Close())
}

func sumOf(h hash.Hash) Sum { return Sum(h.Sum(nil)) }

// entry writes an entry of the tar with size bytes of r, which are written to h,
// too. Where r has fewer, the entry is filled up, so that others can follow.
func (s *sender) entry(name string, size int64, r io.Reader, h io.Writer) error {
	err := s.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: s.manifest.Made, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	n, err := io.CopyN(io.MultiWriter(s.tar, h), contextReader{s.ctx, r}, size)
	if err != nil {
		_, fill := io.CopyN(s.tar, zeros{}, size-n)
		return errors.Join(fmt.Errorf("%s: %w", name, noEOF(err)), fill)
	}
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// contextReader ends where its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
