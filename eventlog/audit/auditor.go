package audit

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/wfd-dev/wfd/eventlog"
)

// Log is what is audited: a log that offers its tree and can look after itself.
// [*eventlog.DB] is one.
type Log interface {
	eventlog.Tree
	Checker

	ReadFrom(after eventlog.Seq, limit int) ([]eventlog.Event, error)
	ReadRun(run eventlog.RunID, after eventlog.Version, limit int) ([]eventlog.Event, error)

	// FileOf names the file with the event, for messages.
	FileOf(seq eventlog.Seq) string
}

var _ Log = (*eventlog.DB)(nil)

// Auditor speaks for one log: it signs checkpoints and makes proofs from them.
// All methods may be called at the same time, and while the log is appended to;
// none of them is on the way of an append. Its cursor is the size of the last
// checkpoint: signed ≤ durable.
type Auditor struct {
	dir      string
	db       Log
	log      *slog.Logger
	readOnly bool

	mu      sync.Mutex
	key     *signer // nil if readOnly
	keys    *Keys
	chain   []byte // audit.keys
	past    []past // the logs that this one goes on from; not changed
	journal *journal
	last    Checkpoint // the last entry of the journal
	note    []byte     // of last; nil if there is none
	failed  error      // a rotation was cut off: only a fresh start decides
}

// Options for [Open].
type Options struct {
	// ReadOnly neither makes a key nor signs: proofs are made from the
	// checkpoints there are.
	ReadOnly bool
	// Announced returns what was announced of the rotation to a public key, nil if
	// nothing was: see [Auditor.Rotate]. Nil: rotations are not announced.
	Announced func(to string) (*Rotation, error)
	// Logger receives what an operator should know; nil discards it.
	Logger *slog.Logger
}

// Open returns the auditor of the log db, which lies in dir. Unless it is for
// reading only, the caller must hold the log for writing; the first start makes
// the key and the log's ID.
func Open(dir string, db Log, o Options) (*Auditor, error) {
	a := &Auditor{dir: dir, db: db, log: o.Logger, readOnly: o.ReadOnly}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if !o.ReadOnly {
		if a.key, err = openKey(dir); err != nil {
			return nil, err
		}
	}
	if a.keys, a.chain, err = readKeys(dir); err != nil {
		return nil, err
	}
	if a.past, err = readPast(dir); err != nil {
		return nil, err
	}
	j, notes, err := openJournal(dir)
	if err != nil {
		return nil, err
	}
	a.journal = j
	if st, err := os.Stat(filepath.Join(dir, journalName)); err == nil && st.Size() > j.size {
		a.log.Warn("the last entry of the checkpoints is incomplete, as a crash leaves it: the next one replaces it", "file", journalName, "at", j.size)
	}
	if n := len(notes); n > 0 {
		a.note = notes[n-1]
		if a.last, err = OpenCheckpoint(a.note, a.keys); err != nil {
			return nil, fmt.Errorf("%s: the last entry: %w", journalName, err)
		}
	}
	if !o.ReadOnly {
		if err := a.settle(o.Announced); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Origin returns the log's name: "wfd.dev/" and its ID.
func (a *Auditor) Origin() string { return a.keys.origin }

// PublicKey returns the key that signs now, as it is to be given to those who
// verify.
func (a *Auditor) PublicKey() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keys.current()
}

// Keys returns the public keys of the log.
func (a *Auditor) Keys() *Keys {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keys
}

// Last returns the last signed checkpoint and its note; the note is nil if
// there is none.
func (a *Auditor) Last() (Checkpoint, []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last, a.note
}

// Sign signs the log as it is now and returns the checkpoint, durable in
// checkpoints.txt, and its note. It returns the last one if nothing was
// appended since. It signs only what goes on from all that was signed before:
// a log that was cut or rewritten is an error that Is [ErrTruncated] or
// [ErrRewritten].
func (a *Auditor) Sign() (Checkpoint, []byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sign()
}

// sign is Sign. The caller holds mu.
func (a *Auditor) sign() (Checkpoint, []byte, error) {
	c, err := a.present()
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if a.note != nil && c.Size == a.last.Size {
		return a.last, a.note, nil
	}
	note, err := signCheckpoint(c, a.key)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	// Dying here loses a signature that nobody has seen.
	if err := a.journal.append(note); err != nil {
		return Checkpoint{}, nil, err
	}
	a.last, a.note = c, note
	return c, note, nil
}

// present returns the log as it is now, unsigned, if it goes on from what was
// signed. The caller holds mu.
func (a *Auditor) present() (c Checkpoint, err error) {
	if a.readOnly {
		return c, ErrReadOnly
	}
	if a.failed != nil {
		return c, a.failed
	}
	c.Origin = a.keys.origin
	c.Size, c.Root = a.db.TreeHead()
	signed := a.keys.rotations()
	for i := range a.past {
		signed = append(signed, Checkpoint{a.past[i].Origin, a.past[i].Size, a.past[i].Root})
	}
	if a.note != nil {
		signed = append(signed, a.last)
	}
	for _, s := range signed {
		if err := a.goesOn(c, s); err != nil {
			return c, err
		}
	}
	return c, nil
}

// goesOn checks that the log, which is at c, begins as it was signed at s.
func (a *Auditor) goesOn(c, s Checkpoint) error {
	if c.Size < s.Size {
		return &Problem{Err: ErrTruncated, File: a.db.FileOf(eventlog.Seq(c.Size)), From: eventlog.Seq(c.Size) + 1, To: eventlog.Seq(s.Size), What: "these events were signed for and are not in the log"}
	}
	path, err := proveTree(a.db, c.Size, s.Size)
	if err != nil {
		return err
	}
	if err := checkTree(path, c.Size, c.Root, s.Size, s.Root); err != nil {
		return &Problem{Err: fmt.Errorf("%w: %w", ErrRewritten, err), From: 1, To: eventlog.Seq(s.Size)}
	}
	return nil
}

// covering returns a signed checkpoint of at least size events: the last one,
// or a new one if that is too short and this auditor may sign.
func (a *Auditor) covering(size uint64) (c Checkpoint, note []byte, chain string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.note == nil || a.last.Size < size {
		if _, _, err := a.sign(); err != nil && !errors.Is(err, ErrReadOnly) {
			return c, nil, "", err
		}
	}
	if a.note == nil || a.last.Size < size {
		return c, nil, "", fmt.Errorf("%w: the log is signed up to seq %d, not to %d", ErrUnsigned, a.last.Size, size)
	}
	return a.last, a.note, string(a.chain), nil
}

// chainText returns the rotations so far.
func (a *Auditor) chainText() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return string(a.chain)
}

// history returns all that was signed.
func (a *Auditor) history() (signed, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return readSigned(a.dir)
}

// WriteCheckpoints copies checkpoints.txt, for keeping elsewhere: without a
// copy out of the owner's reach nobody can tell that a log was replaced whole.
func (a *Auditor) WriteCheckpoints(w io.Writer) error {
	s, err := a.history()
	if err != nil {
		return err
	}
	for _, n := range s.notes {
		if _, err := w.Write(append(n[:len(n):len(n)], '\n')); err != nil {
			return err
		}
	}
	return nil
}
