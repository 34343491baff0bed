package capsule

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/oneform"
	"github.com/wfd-dev/wfd/eventlog/zseal"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Capsule is a run that was taken out of a log.
type Capsule struct {
	Origin string // the name of the log; "" if it is not proven
	Run    eventlog.RunID
	Made   time.Time
	// Runs are those with events in it: the run itself first.
	Runs []eventlog.RunID
	// Checkpoint is what all events were signed for by; zero if they are not proven.
	Checkpoint audit.Checkpoint
	// Key is the public key that the capsule says is its log's.
	Key string
	// Pinned is set if it was verified with keys that did not come with it.
	Pinned bool

	log *Log
}

// Proven reports whether the events were proven to be of one log.
func (c *Capsule) Proven() bool { return c.Origin != "" }

// Log returns the events as a log for reading: with their seqs and versions, and
// the gaps that the events of others leave.
func (c *Capsule) Log() *Log { return c.log }

// Read reads a capsule and verifies its proof: with keys, or, if they are nil, with
// those that it brings, which shows that it is whole and not whose it is. Of a
// capsule without a proof, which keys do not let pass, it verifies the form alone.
func Read(r io.Reader, keys *audit.Keys) (*Capsule, error) {
	zr, err := zseal.NewReader(r, MaxBytes)
	if err != nil {
		return nil, err
	}
	defer zr.Close()
	p := &reader{in: bufio.NewReaderSize(zr, 64<<10), c: &Capsule{}}
	if err := p.read(); err != nil {
		if p.lines > 0 {
			err = fmt.Errorf("line %d: %w", p.lines, err)
		}
		return nil, err
	}
	if err := p.verify(keys); err != nil {
		return nil, err
	}
	return p.c, nil
}

type reader struct {
	in     *bufio.Reader
	lines  int
	buf    []byte
	header header
	end    closing
	c      *Capsule

	events []eventlog.Event
	group  eventlog.RunID // whose events come one after the other
	last   eventlog.Event // of the group
	seen   map[eventlog.RunID]bool
}

func (p *reader) read() error {
	b, err := p.line()
	if err != nil {
		return err
	}
	if err := oneform.Decode(b, &p.header); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	h := &p.header
	switch {
	case h.Format != format:
		return fmt.Errorf("%w: format %.40q, this build knows %q", ErrFormat, h.Format, format)
	case h.Events < 1 || h.Runs < 1 || h.Runs > h.Events || h.Run.IsZero() || h.Run.IsSystem():
		return fmt.Errorf("%w: not the header of one", ErrFormat)
	case h.Events > MaxEvents || h.Runs > MaxRuns:
		return fmt.Errorf("%w: %d events of %d runs, limits %d and %d", ErrTooLarge, h.Events, h.Runs, MaxEvents, MaxRuns)
	}
	p.seen = make(map[eventlog.RunID]bool)
	for {
		if b, err = p.line(); err != nil {
			return err
		}
		if bytes.HasPrefix(b, []byte(`{"end":`)) {
			return p.closing(b)
		}
		if err := p.event(b); err != nil {
			return err
		}
	}
}

// line returns the next line, valid until the next call.
func (p *reader) line() ([]byte, error) {
	p.buf = p.buf[:0]
	p.lines++
	for {
		part, err := p.in.ReadSlice('\n')
		if len(p.buf)+len(part) > maxLine {
			return nil, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLarge, maxLine)
		}
		p.buf = append(p.buf, part...)
		switch {
		case err == nil:
			return p.buf, nil
		case err == io.EOF:
			return nil, fmt.Errorf("%w: it ends early", ErrFormat)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// event takes the next event: the definitions first, then run after run, each in
// its order from the first event on.
func (p *reader) event(b []byte) error {
	if len(p.events) == p.header.Events {
		return fmt.Errorf("%w: more events than it says", ErrFormat)
	}
	var l line
	if err := oneform.Decode(b, &l); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	e, err := l.event()
	if err != nil {
		return err
	}
	if e.Run != p.group {
		if p.seen[e.Run] {
			return fmt.Errorf("%w: events of run %s are apart", ErrFormat, e.Run)
		}
		p.seen[e.Run], p.group, p.last = true, e.Run, eventlog.Event{}
		if e.Run != projection.Workflows {
			p.c.Runs = append(p.c.Runs, e.Run)
		}
	}
	isDefinition := e.Run == projection.Workflows
	switch {
	case e.Run.IsSystem() && (!isDefinition || e.Kind != event.KindDefinitionRegistered):
		return fmt.Errorf("%w: an event of %s is not of a run", ErrFormat, e.Run)
	case len(p.c.Runs) > p.header.Runs || len(p.c.Runs) > 0 && p.c.Runs[0] != p.header.Run || isDefinition && len(p.c.Runs) > 0:
		return fmt.Errorf("%w: events of run %s come where others are to", ErrFormat, e.Run)
	case e.Seq <= p.last.Seq, isDefinition && e.Version <= p.last.Version, !isDefinition && (e.Version != p.last.Version+1 || e.Time < p.last.Time):
		return fmt.Errorf("%w: version %d of run %s, seq %d, follows version %d, seq %d", ErrFormat, e.Version, e.Run, e.Seq, p.last.Version, p.last.Seq)
	}
	p.last = e
	p.events = append(p.events, e)
	return nil
}

func (p *reader) closing(b []byte) error {
	if err := oneform.Decode(b, &p.end); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if p.end.End != p.header.Events || len(p.events) != p.header.Events || len(p.c.Runs) != p.header.Runs {
		return fmt.Errorf("%w: it has %d events of %d runs, and says %d of %d", ErrFormat, len(p.events), len(p.c.Runs), p.header.Events, p.header.Runs)
	}
	if (p.end.Proof == nil) != (p.header.Origin == "") {
		return fmt.Errorf("%w: a proof without a log, or a log without a proof", ErrFormat)
	}
	if _, err := p.in.ReadByte(); err == nil {
		return fmt.Errorf("%w: there is more behind its last line", ErrFormat)
	} else if err != io.EOF {
		return err // the seal does not match
	}
	return nil
}

// verify verifies the proof, and makes the log.
func (p *reader) verify(keys *audit.Keys) error {
	slices.SortFunc(p.events, func(a, b eventlog.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	leaves := make([]audit.Leaf, len(p.events))
	for i, e := range p.events {
		leaves[i] = audit.Leaf{Seq: e.Seq, Hash: eventlog.Leaf(e)}
		if i > 0 && leaves[i-1].Seq == e.Seq {
			return fmt.Errorf("%w: seq %d is there twice", ErrFormat, e.Seq)
		}
	}
	c := p.c
	c.Run, c.Made, c.log = p.header.Run, p.header.Made, newLog(p.events)
	if err := c.log.forks(c.Runs); err != nil {
		return err
	}
	proof := p.end.Proof
	if proof == nil {
		if keys != nil {
			return ErrUnproven
		}
		return nil
	}
	c.Key, c.Pinned = proof.Key, keys != nil
	if keys == nil {
		var err error
		if keys, err = audit.ParseKeys([]byte(proof.Key)); err != nil {
			return err
		}
	}
	var err error
	if c.Checkpoint, err = audit.CheckSet(leaves, proof, keys); err != nil {
		return err
	}
	if c.Origin = p.header.Origin; c.Origin != c.Checkpoint.Origin {
		return fmt.Errorf("%w: it says that it is of %.80q, and is signed by %s", audit.ErrProof, c.Origin, c.Checkpoint.Origin)
	}
	return nil
}
