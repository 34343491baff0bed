package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// An archive holds the payloads and salts of events whose records keep no more
// than a rest of them, each run's in frames of its own, so that one run is read
// without the others and goes without them. It is named by the SHA-256 of the
// whole file, so every bit of it is checked. Numbers in frames and table are
// unsigned varints, those at the end u64 big-endian:
//
//	"wfdarch1", or "wfdarch2" if the frames are sealed
//	frames, each zstd, and sealed for its row in the table but offset and length: per event version, salt 16, length, payload
//	table, zstd: number of frames; per frame run 16, first version, number of events, offset, length, length unpacked
//	offset of the table, length of the table, and what it begins with
const (
	archiveMagic  = "wfdarch1"
	archiveSealed = "wfdarch2"
)

const (
	archiveTail = 8 + 8 + len(archiveMagic)
	// frameBytes is what a frame grows to before the next one begins. A page of
	// ReadRun unpacks one frame or a few.
	frameBytes = 1 << 20
	// maxFrame is what a frame may unpack to: one payload goes beyond frameBytes.
	maxFrame = frameBytes + MaxPayload + 64
	// maxTable bounds the table of an archive, packed and unpacked.
	maxTable = 64 << 20
)

// frame is where an archive has a part of a run.
type frame struct {
	run    RunID
	first  Version // the events have dense versions from here on
	count  int
	offset int64
	length int64
	raw    int64 // length when unpacked
}

// archived is the content of one event in a frame.
type archived struct {
	salt    [16]byte
	payload []byte
}

var (
	packer, _   = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedBetterCompression)) // nil options do not fail
	unpacker, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxTable))
)

// archiveWriter writes an archive to a file.
type archiveWriter struct {
	w      io.Writer
	ring   *crypt.Ring
	magic  string
	at     int64
	frames []frame
	open   frame // being collected
	raw    []byte
	packed []byte
}

func newArchiveWriter(w io.Writer, ring *crypt.Ring) (*archiveWriter, error) {
	a := &archiveWriter{w: w, ring: ring, magic: archiveMagic}
	if ring.Seals() {
		a.magic = archiveSealed
	}
	return a, a.write([]byte(a.magic))
}

func (a *archiveWriter) write(b []byte) error {
	n, err := a.w.Write(b)
	a.at += int64(n)
	return err
}

// add adds an event, whose payload and salt are there.
func (a *archiveWriter) add(e *Event) error {
	if a.open.count > 0 && (a.open.run != e.Run || e.Version != a.open.first+Version(a.open.count) || len(a.raw) >= frameBytes) {
		if err := a.flush(); err != nil {
			return err
		}
	}
	if a.open.count == 0 {
		a.open.run, a.open.first = e.Run, e.Version
	}
	a.raw = binary.AppendUvarint(a.raw, uint64(e.Version))
	a.raw = append(a.raw, e.Salt[:]...)
	a.raw = binary.AppendUvarint(a.raw, uint64(len(e.Payload)))
	a.raw = append(a.raw, e.Payload...)
	a.open.count++
	return nil
}

func (a *archiveWriter) flush() error {
	if a.open.count == 0 {
		return nil
	}
	a.packed = packer.EncodeAll(a.raw, a.packed[:0])
	f := a.open
	f.raw = int64(len(a.raw))
	a.open, a.raw = frame{}, a.raw[:0]
	return a.copy(f, a.packed)
}

// copy adds a frame that is packed already.
func (a *archiveWriter) copy(f frame, packed []byte) error {
	if a.magic == archiveSealed {
		series := a.ring.Series()
		if series == nil {
			return errors.New("encryption was turned off while an archive was written")
		}
		packed = series.Box(f.place(), packed)
	}
	f.offset, f.length = a.at, int64(len(packed))
	a.frames = append(a.frames, f)
	return a.write(packed)
}

// finish writes the table.
func (a *archiveWriter) finish() error {
	if err := a.flush(); err != nil {
		return err
	}
	t := binary.AppendUvarint(nil, uint64(len(a.frames)))
	for i := range a.frames {
		f := &a.frames[i]
		t = append(t, f.run[:]...)
		for _, n := range []uint64{uint64(f.first), uint64(f.count), uint64(f.offset), uint64(f.length), uint64(f.raw)} {
			t = binary.AppendUvarint(t, n)
		}
	}
	offset := a.at
	t = packer.EncodeAll(t, nil)
	if err := a.write(t); err != nil {
		return err
	}
	tail := binary.BigEndian.AppendUint64(nil, uint64(offset))
	tail = binary.BigEndian.AppendUint64(tail, uint64(len(t)))
	return a.write(append(tail, a.magic...))
}

// place is what a frame is sealed for.
func (f *frame) place() []byte {
	b := append([]byte("archive "), f.run[:]...)
	for _, n := range []uint64{uint64(f.first), uint64(f.count), uint64(f.raw)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

var errArchive = errors.New("not an archive of this format")

// readTable reads the frames of an archive.
func readTable(f io.ReaderAt, size int64) ([]frame, error) {
	if size < int64(len(archiveMagic)+archiveTail) {
		return nil, errArchive
	}
	head, tail := make([]byte, len(archiveMagic)), make([]byte, archiveTail)
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(tail, size-int64(archiveTail)); err != nil {
		return nil, err
	}
	offset, length := int64(binary.BigEndian.Uint64(tail)), int64(binary.BigEndian.Uint64(tail[8:]))
	if magic := string(head); magic != archiveMagic && magic != archiveSealed || string(tail[16:]) != magic || offset < 0 || length < 0 || length > maxTable ||
		offset+length != size-int64(archiveTail) {
		return nil, errArchive
	}
	packed := make([]byte, length)
	if _, err := f.ReadAt(packed, offset); err != nil {
		return nil, err
	}
	t, err := unpacker.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errArchive, err)
	}
	d := varints{b: t}
	n := d.next()
	if n > uint64(len(t)) {
		return nil, errArchive
	}
	frames := make([]frame, n)
	for i := range frames {
		fr := &frames[i]
		copy(fr.run[:], d.take(len(fr.run)))
		fr.first, fr.count = Version(d.next()), int(d.next())
		fr.offset, fr.length, fr.raw = int64(d.next()), int64(d.next()), int64(d.next())
		if fr.first == 0 || fr.count <= 0 || fr.offset < 0 || fr.length < 0 || fr.offset+fr.length > offset || fr.raw <= 0 || fr.raw > maxFrame {
			d.bad = true
		}
	}
	if d.bad || len(d.b) != 0 {
		return nil, errArchive
	}
	return frames, nil
}

// readPacked returns a frame as it was packed.
func readPacked(f io.ReaderAt, ring *crypt.Ring, fr frame) ([]byte, error) {
	magic, packed := make([]byte, len(archiveMagic)), make([]byte, fr.length)
	if _, err := f.ReadAt(magic, 0); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(packed, fr.offset); err != nil || string(magic) != archiveSealed {
		return packed, err
	}
	return ring.Open(fr.place(), packed)
}

// readFrame returns the events of a frame, the first of which is fr.first.
func readFrame(f io.ReaderAt, ring *crypt.Ring, fr frame) ([]archived, error) {
	packed, err := readPacked(f, ring, fr)
	if err != nil {
		return nil, err
	}
	raw, err := unpacker.DecodeAll(packed, make([]byte, 0, fr.raw))
	if err != nil {
		return nil, err
	}
	d := varints{b: raw}
	events := make([]archived, 0, min(fr.count, len(raw)))
	for i := range fr.count {
		if v := d.next(); d.bad || Version(v) != fr.first+Version(i) {
			return nil, errArchive
		}
		var a archived
		copy(a.salt[:], d.take(len(a.salt)))
		a.payload = d.take(int(min(d.next(), uint64(len(raw)))))
		events = append(events, a)
	}
	if d.bad || len(d.b) != 0 || int64(len(raw)) != fr.raw {
		return nil, errArchive
	}
	return events, nil
}

// varints reads numbers and bytes from the front of b; after the first failure
// it is bad and returns zero values.
type varints struct {
	b   []byte
	bad bool
}

func (d *varints) next() uint64 {
	n, w := binary.Uvarint(d.b)
	if w <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *varints) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.bad = nil, true
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

// openArchive opens a file and reads its table.
func openArchive(path string) (*os.File, []frame, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	var frames []frame
	if err == nil {
		frames, err = readTable(f, fi.Size())
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, frames, nil
}
