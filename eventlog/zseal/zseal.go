// Package zseal compresses files with zstd and seals them: behind the compressed
// data stands the SHA-256 of all that is before it, so that a changed bit is found
// wherever it is, those included that decoders do not look at.
//
// The seal is a skippable frame, which other tools pass over: zstd -dc reads such a
// file. On disk, numbers little-endian, as zstd has them:
//
//	one or more zstd frames
//	magic u32 = 0x184D2A57, length u32 = 32, SHA-256 of all bytes before the magic
//
// This format is frozen.
package zseal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
)

// ErrDamaged: the file is not as it was written, or not one of this package.
var ErrDamaged = errors.New("the file is damaged, cut off, or of another form")

const (
	magic   = 0x184D2A57
	sealLen = 8 + sha256.Size

	// maxWindow bounds the memory of a reader, whatever the file asks for.
	maxWindow = 8 << 20
)

// Writer compresses what is written to it.
type Writer struct {
	zw  *zstd.Encoder
	out io.Writer
	sum hash.Hash
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) (*Writer, error) {
	s := &Writer{out: w, sum: sha256.New()}
	var err error
	s.zw, err = zstd.NewWriter(io.MultiWriter(w, s.sum), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxWindow))
	return s, err
}

// Write implements [io.Writer].
func (s *Writer) Write(b []byte) (int, error) { return s.zw.Write(b) }

// Close writes the seal. It does not close the writer below.
func (s *Writer) Close() error {
	if err := s.zw.Close(); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint32(b, sha256.Size)
	_, err := s.out.Write(s.sum.Sum(b))
	return err
}

// Abort gives the Writer up: the file gets no seal.
func (s *Writer) Abort() { s.zw.Reset(nil) }

// Reader reads what a Writer wrote. What it returns is known to be whole only
// once it has returned [io.EOF].
type Reader struct {
	zr   *zstd.Decoder
	held *withoutSeal
	left int64
	err  error
}

// NewReader returns a Reader of r that ends in an error where there are more than
// limit bytes. Close it.
func NewReader(r io.Reader, limit int64) (*Reader, error) {
	s := &Reader{held: &withoutSeal{r: r, sum: sha256.New()}, left: limit}
	var err error
	s.zr, err = zstd.NewReader(s.held, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	return s, err
}

// Read implements [io.Reader].
func (s *Reader) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.zr.Read(b)
	if s.left -= int64(n); s.left < 0 {
		err = fmt.Errorf("%w: it unpacks to more than is allowed", ErrDamaged)
		n = 0
	}
	switch {
	case err == nil:
		return n, nil
	case s.held.err != nil && s.held.err != io.EOF:
		err = s.held.err // of the reader below
	case err == io.EOF:
		err = s.held.verify()
	case !errors.Is(err, ErrDamaged):
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	s.err = err
	return n, err
}

// Close releases what the Reader holds.
func (s *Reader) Close() { s.zr.Close() }

// withoutSeal passes on all but the last sealLen bytes, and sums them up.
type withoutSeal struct {
	r    io.Reader
	sum  hash.Hash
	buf  []byte // read and not passed on
	err  error  // of r
	full [64 << 10]byte
}

func (w *withoutSeal) Read(b []byte) (int, error) {
	for len(w.buf) <= sealLen && w.err == nil {
		w.buf = append(w.full[:0], w.buf...)
		var n int
		n, w.err = w.r.Read(w.full[len(w.buf):])
		w.buf = w.full[:len(w.buf)+n]
	}
	n := copy(b, w.buf[:max(0, len(w.buf)-sealLen)])
	if n == 0 && len(b) > 0 {
		return 0, w.err
	}
	w.sum.Write(b[:n])
	w.buf = w.buf[n:]
	return n, nil
}

// verify returns io.EOF if what was held back is the seal.
func (w *withoutSeal) verify() error {
	want := binary.LittleEndian.AppendUint32(nil, magic)
	want = binary.LittleEndian.AppendUint32(want, sha256.Size)
	if w.err != io.EOF || !bytes.Equal(w.buf, w.sum.Sum(want)) {
		return fmt.Errorf("%w: its seal does not match", ErrDamaged)
	}
	return io.EOF
}
