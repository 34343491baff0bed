package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// Seq is an event's place in the global order. It is dense and starts at 1;
// 0 means "before the first event".
type Seq uint64

// Version is an event's place in its run's own order. It is dense and starts
// at 1; 0 means "the run has no event yet".
type Version uint64

// Kind says what an event means. A number is never given a second meaning.
// The log stores kinds and does not interpret them; package
// projection/event owns the vocabulary.
type Kind uint16

// AppendID names one append, so that a caller whose append ended in an error
// can find out by reading whether it was stored: every event carries the ID of
// the append that wrote it.
type AppendID uint64

// RunID names a run, or a system stream: a ULID of 16 bytes. It is a name and
// nothing more; order is [Seq].
type RunID [16]byte

// System returns the ID of the system stream called name, which holds facts
// that belong to no run. Its first six bytes are zero, which no run's ID has.
// The name has at most ten bytes.
func System(name string) RunID {
	var id RunID
	if len(name) == 0 || len(name) > 10 {
		panic(fmt.Sprintf("eventlog: system stream name %q must have 1 to 10 bytes", name))
	}
	copy(id[6:], name)
	return id
}

// IsSystem reports whether id names a system stream.
func (id RunID) IsSystem() bool {
	return [6]byte(id[:6]) == [6]byte{} && id != RunID{}
}

// IsZero reports whether id is the zero RunID, which names nothing.
func (id RunID) IsZero() bool { return id == RunID{} }

// String returns the 26 characters of a run's ULID, or "system:name".
func (id RunID) String() string {
	if id.IsSystem() {
		n := len(id)
		for n > 6 && id[n-1] == 0 {
			n--
		}
		return "system:" + string(id[6:n])
	}
	return ulid.ULID(id).String()
}

// ParseRunID reads what [RunID.String] writes; a ULID in either letter case.
func ParseRunID(s string) (RunID, error) {
	if name, ok := strings.CutPrefix(s, "system:"); ok {
		if len(name) == 0 || len(name) > 10 {
			return RunID{}, fmt.Errorf("%q is not a system stream: its name must have 1 to 10 bytes", s)
		}
		return System(name), nil
	}
	id, err := ulid.ParseStrict(s)
	if err != nil {
		return RunID{}, fmt.Errorf("%q is not a run ID: want the 26 characters of a ULID", s)
	}
	if r := RunID(id); !r.IsZero() && !r.IsSystem() {
		return r, nil
	}
	return RunID{}, fmt.Errorf("%q is not a run ID: its time part is zero", s)
}

// MarshalText and UnmarshalText let a RunID stand in JSON as its string.
func (id RunID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *RunID) UnmarshalText(b []byte) error {
	v, err := ParseRunID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// Event is one fact, as it is read back from the log.
type Event struct {
	Seq     Seq
	Run     RunID
	Version Version
	// Time is when it happened, in Unix nanoseconds UTC, stamped by the
	// producer; never before the run's previous event.
	Time  int64
	Kind  Kind
	Actor string // who caused it; at most MaxActor bytes
	// Payload is the producer's own encoding. Where Erased is set, the payload
	// was erased and this is what was left in its place, by the producer's rules;
	// nil if nothing was. What is left is not what the leaf commits to.
	Payload []byte
	Erased  bool
	// Archived: the payload was erased from the log, and comes from an archive.
	Archived bool
	Append   AppendID
	Salt     [16]byte // hides the payload behind its hash in the Merkle leaf
	// Hash is the salted hash of an erased payload, zero while the payload is
	// there; see [Event.PayloadHash].
	Hash [32]byte
}

// When returns Time as a time.Time in UTC.
func (e Event) When() time.Time { return time.Unix(0, e.Time).UTC() }

// Record is an event as its producer hands it in: what the log does not itself
// assign.
type Record struct {
	Time    int64 // Unix nanoseconds UTC, > 0, not before the run's last event
	Kind    Kind  // > 0
	Actor   string
	Payload []byte
}

// Append is one atomic append: all its records are stored, next to each other
// in the global order, or none is.
type Append struct {
	ID      AppendID // chosen by the caller at random, not 0
	Run     RunID
	Expect  Version // the version of the run these records were decided on
	Records []Record
}

// Limits on what one append may hold; more is refused with ErrTooLarge before
// anything is written.
const (
	MaxActor   = 256
	MaxPayload = 16 << 20 // bytes of one record's payload
	MaxRecords = 16384    // records of one append
	MaxAppend  = 64 << 20 // bytes of one append, all payloads together
	// BlobOver is the payload size above which it is kept in a file of its
	// own: a large bbolt value makes every later commit in its leaf slow.
	BlobOver = 64 << 10
	// PageBytes is the byte budget of one page of ReadRun or ReadFrom.
	PageBytes = 4 << 20
)

// Errors of a Log. All may be wrapped with the place they arose at.
var (
	// ErrConflict: the run is not at the expected version. Nothing was stored.
	ErrConflict = errors.New("run has moved on")
	// ErrTooLarge: a limit above was passed. Nothing was stored.
	ErrTooLarge = errors.New("too large")
	// ErrInvalid: the append breaks a rule of Record or Append. Nothing was stored.
	ErrInvalid = errors.New("invalid append")
	// ErrFull: the disk is full. Nothing was stored; the log goes on and
	// accepts again when there is space.
	ErrFull = errors.New("disk full")
	// ErrUnknown: the outcome of this append is not known; it may or may not be
	// stored. The log accepts nothing more; only a fresh start decides.
	ErrUnknown = errors.New("outcome unknown")
	// ErrStopped: the log has stopped after an append of unknown outcome.
	// This append was not stored.
	ErrStopped = errors.New("log has stopped")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrLocked: another process holds the data directory.
	ErrLocked = errors.New("data directory is in use")
	// ErrReadOnly: the log was opened for reading only. Nothing was stored.
	ErrReadOnly = errors.New("log is open for reading only")
	// ErrFormat: the directory was written in a format this build does not know.
	ErrFormat = errors.New("unknown format")
)

// CorruptError says that stored bytes are not what was written, and where.
type CorruptError struct {
	File string // path within the data directory
	Seq  Seq    // the first event affected, if known
	Run  RunID  // the run affected, if known
	What string // what is wrong, as a clause
	Err  error  // cause, may be nil
}

func (e *CorruptError) Error() string {
	s := "corrupt: " + e.File
	if e.Seq != 0 {
		s += fmt.Sprintf(", seq %d", e.Seq)
	}
	if !e.Run.IsZero() {
		s += ", run " + e.Run.String()
	}
	s += ": " + e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *CorruptError) Unwrap() error { return e.Err }

// Log is an append-only log of events with one global order. All methods may be
// called concurrently. Nothing in it is particular to one store: eventlogtest
// holds the suite every implementation passes.
type Log interface {
	// Append stores a.Records if the run is at a.Expect, and returns the Seq of
	// the first of them once all are on disk. The slices of a belong to the log
	// until it returns. Giving up on the wait through ctx does not undo the
	// append: the error is then ErrUnknown (and the log goes on).
	Append(ctx context.Context, a Append) (Seq, error)

	// Version returns the version of the run's last durable event, 0 for a run
	// without events.
	Version(run RunID) (Version, error)

	// ReadRun returns up to limit events of run with Version > after, in order.
	// Where a payload was erased and an archive has it, it comes from there;
	// ReadFrom returns what is in the log itself. A page ends early where its byte budget (about 4 MiB, never less than one
	// event) is spent: only an empty page means the end of the run.
	ReadRun(run RunID, after Version, limit int) ([]Event, error)

	// ReadFrom returns up to limit durable events with Seq > after, in order,
	// paged as ReadRun: only an empty page means the head.
	ReadFrom(after Seq, limit int) ([]Event, error)

	// Head returns the last durable Seq, 0 for an empty log.
	Head() Seq

	// Close waits for appends under way, then releases everything. Later calls
	// return ErrClosed.
	Close() error
}
