package audit

import (
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
)

// What an audit can end in. All may be wrapped with the place.
var (
	// ErrDamaged: stored bytes are not as they were written, or do not agree
	// with each other.
	ErrDamaged = errors.New("damaged")
	// ErrTruncated: the log has fewer events than were signed for.
	ErrTruncated = errors.New("truncated")
	// ErrRewritten: the log's events are not those that were signed for.
	ErrRewritten = errors.New("rewritten")
	// ErrRestored: the log was restored from a copy, and what is asked of it
	// belongs to what was left behind, or came after.
	ErrRestored = errors.New("restored")
	// ErrForked: two signed statements contradict each other: whoever holds the
	// key has told two stories.
	ErrForked = errors.New("forked")
	// ErrSignature: what claims to be signed is not, or by no key that may.
	ErrSignature = errors.New("not signed by a trusted key")
	// ErrProof: a proof does not prove what it claims.
	ErrProof = errors.New("the proof does not hold")
	// ErrFormat: not a file of the form that is asked for.
	ErrFormat = errors.New("malformed")
	// ErrUnsigned: no signed checkpoint covers the events yet.
	ErrUnsigned = errors.New("not signed yet")
	// ErrKey: the private key is missing, open to others, or not the right one.
	ErrKey = errors.New("audit key")
	// ErrReadOnly: the auditor was opened for reading.
	ErrReadOnly = errors.New("audit is open for reading only")
)

// Problem is one thing that an audit found to be wrong, and where.
type Problem struct {
	Err  error          // the class, and a cause: ErrDamaged, ErrTruncated, ErrRewritten, ErrRestored, ErrForked, ErrSignature
	File string         // path within the data directory, if known
	From eventlog.Seq   // the first event that may be affected, if known
	To   eventlog.Seq   // the last one, if known
	Run  eventlog.RunID // the run affected, if known
	What string         // what is wrong, as a clause
}

func (p *Problem) Error() string {
	s := p.Err.Error()
	if p.File != "" {
		s += ": " + p.File
	}
	switch {
	case p.From != 0 && p.To > p.From:
		s += fmt.Sprintf(", seq %d to %d", p.From, p.To)
	case p.From != 0:
		s += fmt.Sprintf(", seq %d", p.From)
	}
	if !p.Run.IsZero() {
		s += ", run " + p.Run.String()
	}
	if p.What != "" {
		s += ": " + p.What
	}
	return s
}

func (p *Problem) Unwrap() error { return p.Err }

// Damaged returns what the log says of its own damage as a Problem.
func Damaged(err error) *Problem {
	var c *eventlog.CorruptError
	if !errors.As(err, &c) {
		return &Problem{Err: fmt.Errorf("%w: %w", ErrDamaged, err)}
	}
	p := &Problem{Err: ErrDamaged, File: c.File, From: c.Seq, Run: c.Run, What: c.What}
	if c.Err != nil {
		p.What += ": " + c.Err.Error()
	}
	return p
}
