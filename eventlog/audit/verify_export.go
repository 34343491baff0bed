package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
)

// Exported is what an export in JSON lines proves: that these events, in this
// order and with nothing between them, are part of what was signed for.
type Exported struct {
	Origin     string
	From, To   eventlog.Seq
	Events     uint64
	Disclosed  uint64 // events that came with their payload
	Views      uint64 // readings for people, which nothing vouches for unless Describe is given
	Checkpoint Checkpoint
}

// VerifyExportOptions for [VerifyExport].
type VerifyExportOptions struct {
	// Event is called for each event, in order. What it is told is proven only
	// once VerifyExport has returned without an error.
	Event func(eventlog.Event)
	// Describe, if it is given, must say of each event what the export says;
	// see [ExportOptions].
	Describe func(eventlog.Event) (kind string, data json.RawMessage, err error)
	// Announced is that of [VerifyOptions].
	Announced func(eventlog.Kind, []byte) *Rotation
}

// maxLine bounds a line of an export: the largest payload as base64 and once
// more as JSON that writes each byte in six, and what is around them.
const maxLine = eventlog.MaxPayload/3*4 + 6*eventlog.MaxPayload + 1<<20

// errLine is the answer to a line that is too long.
var errLine = fmt.Errorf("%w: a line of more than %d bytes", ErrFormat, maxLine)

// readLine returns the next line without its end, or io.EOF; a last line that
// has no end is an io.ErrUnexpectedEOF. The line is valid until the next call.
func readLine(r *bufio.Reader, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		part, err := r.ReadSlice('\n')
		if len(buf)+len(part) > maxLine {
			return buf, errLine
		}
		buf = append(buf, part...)
		switch {
		case err == nil:
			return buf[:len(buf)-1], nil
		case errors.Is(err, io.EOF) && len(buf) > 0:
			return buf, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return buf, err
		}
	}
}

// Lines are told apart by how they begin, which is certain: there is one form
// of each.
var (
	headerMark  = []byte(`{"format":`)
	closingMark = []byte(`{"end":`)
)

// VerifyExport verifies an export in JSON lines with nothing but public keys.
// It is safe on a file from anyone, and holds one line and the versions of the
// runs in memory. An export that went on after it broke off, behind a second
// header, is one export.
func VerifyExport(r io.Reader, keys *Keys, o VerifyExportOptions) (*Exported, error) {
	v := exportVerifier{keys: keys, o: o, said: announcements{}, runs: make(map[eventlog.RunID]eventlog.Version)}
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for n := 1; ; n++ {
		var err error
		if line, err = readLine(in, line); err == io.EOF {
			break
		}
		if err == nil {
			err = v.line(line)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if !v.closed {
		return nil, fmt.Errorf("%w: the export has no closing line: it broke off, or was cut", ErrFormat)
	}
	return &v.out, nil
}

type exportVerifier struct {
	keys   *Keys
	o      VerifyExportOptions
	out    Exported
	edge   edge
	runs   map[eventlog.RunID]eventlog.Version
	said   announcements
	opened bool // there was a header
	closed bool // there was a closing line: nothing follows it
}

func (v *exportVerifier) line(b []byte) error {
	switch {
	case v.closed:
		return fmt.Errorf("%w: there is more behind the closing line", ErrFormat)
	case bytes.HasPrefix(b, headerMark):
		return v.header(b)
	case !v.opened:
		return fmt.Errorf("%w: an export begins with its header", ErrFormat)
	case bytes.HasPrefix(b, closingMark):
		return v.closing(b)
	}
	return v.event(b)
}

func (v *exportVerifier) header(b []byte) error {
	var h headerLine
	if err := decode(b, &h); err != nil {
		return err
	}
	e := edge{size: uint64(h.From) - 1, nodes: h.Edge}
	if h.Format != exportFormat || h.From == 0 || h.Edge == nil || !e.sound() {
		return fmt.Errorf("%w: not the header of an export", ErrFormat)
	}
	if h.Origin != v.keys.origin {
		return fmt.Errorf("%w: an export of %.80q, the keys are of %s", ErrSignature, h.Origin, v.keys.origin)
	}
	if v.opened && (e.size != v.edge.size || e.root() != v.edge.root()) {
		return fmt.Errorf("%w: the export goes on at seq %d with another tree", ErrProof, h.From)
	}
	if !v.opened {
		v.edge, v.opened = e, true
		v.out = Exported{Origin: h.Origin, From: h.From, To: h.From - 1}
	}
	return nil
}

func (v *exportVerifier) event(b []byte) error {
	var l eventLine
	if err := decode(b, &l); err != nil {
		return err
	}
	e, err := l.Event()
	if err != nil {
		return err
	}
	if e.Seq != v.out.To+1 {
		return fmt.Errorf("%w: seq %d follows seq %d", ErrProof, e.Seq, v.out.To)
	}
	if eventlog.Leaf(e) != l.Leaf {
		return fmt.Errorf("%w: the leaf of seq %d is not that of the event", ErrProof, e.Seq)
	}
	if before, ok := v.runs[e.Run]; ok && e.Version != before+1 || !ok && v.out.From == 1 && e.Version != 1 {
		return fmt.Errorf("%w: version %d of run %v follows version %d", ErrProof, e.Version, e.Run, before)
	}
	if err := v.reading(e, l.View); err != nil {
		return err
	}
	v.runs[e.Run] = e.Version
	v.edge.add(l.Leaf, nil)
	v.out.To = e.Seq
	v.out.Events++
	if !e.Erased {
		v.out.Disclosed++
	}
	if v.o.Announced != nil {
		if r := v.o.Announced(e.Kind, e.Payload); r != nil {
			v.said.add(e.Seq, r)
		}
	}
	if v.o.Event != nil {
		v.o.Event(e)
	}
	return nil
}

// reading compares what the export says of e for people with what Describe says.
func (v *exportVerifier) reading(e eventlog.Event, given *reading) error {
	if given == nil {
		return nil
	}
	v.out.Views++
	if v.o.Describe == nil {
		return nil
	}
	kind, data, err := v.o.Describe(e)
	if err != nil {
		return fmt.Errorf("seq %d: %w", e.Seq, err)
	}
	want, err := encode(reading{kind, data})
	if err != nil {
		return err
	}
	got, err := encode(given)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: what seq %d is said to be is not what its payload says", ErrProof, e.Seq)
	}
	return nil
}

func (v *exportVerifier) closing(b []byte) error {
	var l closingLine
	if err := decode(b, &l); err != nil {
		return err
	}
	keys, err := v.keys.Follow([]byte(l.Keys))
	if err != nil {
		return err
	}
	c, err := OpenCheckpoint([]byte(l.Checkpoint), keys)
	if err != nil {
		return err
	}
	if l.End != v.out.To || v.out.Events == 0 {
		return fmt.Errorf("%w: the export ends at seq %d, its last event is %d", ErrProof, l.End, v.out.To)
	}
	if err := checkTree(l.Path, c.Size, c.Root, v.edge.size, v.edge.root()); err != nil {
		return err
	}
	if p := v.said.compare(keys, ""); len(p) > 0 {
		return p[0]
	}
	v.out.Checkpoint, v.closed = c, true
	return nil
}

// Resume reads an export that broke off, in either format, and returns the seq
// to go on from and the length of what is complete: whoever goes on cuts the
// file there first. It does not verify. If the export is complete, done is set.
func Resume(r io.Reader) (next eventlog.Seq, size int64, done bool, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		line, err = readLine(in, line)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return next, size, done, nil
		}
		if err != nil {
			return 0, 0, false, err
		}
		var l struct {
			From, Seq, End eventlog.Seq
			ID             string
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return 0, 0, false, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		switch {
		case l.From > 0:
			next = l.From
		case l.Seq > 0:
			next = l.Seq + 1
		case l.End > 0:
			next, done = l.End+1, true
		case l.ID != "":
			var seq eventlog.Seq
			if _, err := fmt.Sscan(l.ID[strings.LastIndexByte(l.ID, '/')+1:], &seq); err != nil {
				return 0, 0, false, fmt.Errorf("%w: %.40q is not an event's ID", ErrFormat, l.ID)
			}
			next = seq + 1
		}
		size += int64(len(line)) + 1
	}
}
