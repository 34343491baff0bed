package capsule

import (
	"errors"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

// Limits on a capsule, that is written or read.
const (
	MaxEvents = 1_000_000
	MaxRuns   = 100_000
	MaxBytes  = 1 << 30 // of its lines

	// maxLine bounds a line: the largest payload as base64 and what is around it; or
	// the proof, of which half the bound is far more than a million events need.
	maxLine = 2*eventlog.MaxPayload + 1<<20
)

// Errors of this package, besides those of packages audit and zseal.
var (
	// ErrFormat: not a capsule, or not one of a form that this build knows.
	ErrFormat = errors.New("not a capsule")
	// ErrTooLarge: a limit is passed.
	ErrTooLarge = errors.New("too large for a capsule")
	// ErrUnproven: a capsule without a proof, where one is asked for.
	ErrUnproven = errors.New("it carries no proof")
)

const format = "wfd-capsule-1"

// header is the first line.
type header struct {
	Format string         `json:"format"`
	Origin string         `json:"origin,omitempty"` // the name of the log; none without a proof
	Run    eventlog.RunID `json:"run"`
	Made   time.Time      `json:"made"`
	Runs   int            `json:"runs"` // with events in the capsule; the definitions are not one
	Events int            `json:"events"`
}

// line is an event.
type line struct {
	audit.Entry
	// Append says which events were appended together. No proof covers it.
	Append eventlog.AppendID `json:"append,string"`
	// Left is what is left of an erased payload. No proof covers it.
	Left []byte `json:"left,omitempty"`
}

func lineOf(e eventlog.Event) line {
	l := line{Entry: audit.EntryOf(e, false), Append: e.Append}
	if e.Erased {
		l.Left = e.Payload
	}
	return l
}

func (l *line) event() (eventlog.Event, error) {
	e, err := l.Entry.Event()
	if err != nil {
		return e, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if e.Append = l.Append; e.Append == 0 || len(l.Left) > 0 && !e.Erased {
		return e, fmt.Errorf("%w: not an event", ErrFormat)
	}
	if e.Erased {
		e.Payload = l.Left
	}
	return e, nil
}

// closing is the last line.
type closing struct {
	End   int             `json:"end"` // number of events
	Proof *audit.SetProof `json:"proof,omitempty"`
}
