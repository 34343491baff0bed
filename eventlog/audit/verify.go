package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// Checker verifies what a log knows of itself, and tells of each event.
// [*eventlog.DB] does; [Dir] does for a directory that nobody has open.
type Checker interface {
	Check(eventlog.CheckOptions) (*eventlog.CheckReport, error)
}

// Dir is a data directory that is not open.
type Dir string

// Check implements [Checker].
func (d Dir) Check(o eventlog.CheckOptions) (*eventlog.CheckReport, error) {
	return eventlog.Check(string(d), o)
}

// VerifyOptions for [VerifyDir] and for the methods of [Auditor].
type VerifyOptions struct {
	// Keys are whose signatures count: the log's, and those of the logs that it
	// was restored from. None stands for those in the data directory itself,
	// which says nothing about a log that was replaced together with its keys.
	Keys []*Keys
	// DataKeys open a log that is encrypted.
	DataKeys crypt.Keys
	// Checkpoints are signed notes that were kept elsewhere.
	Checkpoints [][]byte
	// State is a file that says how far the log was verified. It is written
	// when nothing was found to be wrong, and read by VerifyNew alone.
	State string
	// Announced reads an event as one that announces a rotation of the key, nil if
	// it is another: see [Auditor.Rotate]. What is announced is compared with the
	// keys. Nil stands for a verifier who cannot read payloads.
	Announced func(eventlog.Kind, []byte) *Rotation
	// Progress is called now and then with the number of events verified.
	Progress func(events uint64)
}

// Report is what was verified.
type Report struct {
	Origin      string
	From        eventlog.Seq // the first event that was looked at
	Head        eventlog.Seq // the last event of the log
	Events      uint64       // that were looked at
	Root        [32]byte     // of the tree over all events, as it was computed
	Checkpoints int          // signed ones that were compared
	Signed      Checkpoint   // the last of them that the log agrees with
	Past        []Past       // the logs that it was restored from, the oldest first
	// Log is what the log's own check found, whose problems are among these. VerifyNew
	// makes none.
	Log *eventlog.CheckReport
	// Problems are what is wrong, up to eventlog.MaxProblems.
	Problems []*Problem
}

// Err returns the first problem, nil if there is none.
func (r *Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return r.Problems[0]
}

func (r *Report) problem(p *Problem) {
	if len(r.Problems) < eventlog.MaxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// VerifyDir verifies the whole log in dir, which no process has open for
// writing: what [eventlog.Check] does, and that the events are those that were
// signed for, at every signed checkpoint. The error says that it could not be
// verified; what was found is in the report.
func VerifyDir(dir string, o VerifyOptions) (*Report, error) { return VerifyBy(Dir(dir), dir, o) }

// VerifyBy is [VerifyDir] with a check of the log that is the caller's.
func VerifyBy(log Checker, dir string, o VerifyOptions) (*Report, error) {
	s, err := readSigned(dir)
	if err != nil {
		return nil, err
	}
	return verify(dir, s, log, o)
}

// Signs reports whether the log in dir has signed anything, or is said to have.
func Signs(dir string) bool {
	for _, name := range []string{pubName, chainName, journalName, pastName} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Verify is [VerifyDir] on the open log, up to its head.
func (a *Auditor) Verify(o VerifyOptions) (*Report, error) {
	s, err := a.history()
	if err != nil {
		return nil, err
	}
	return verify(a.dir, s, a.db, o)
}

func verify(dir string, s signed, log Checker, o VerifyOptions) (*Report, error) {
	t, err := trusted(dir, o.Keys)
	if err != nil {
		return nil, err
	}
	f := fold{report: t.report(1), progress: o.Progress, hear: o.Announced, said: announcements{}}
	f.due = s.open(&t, o.Checkpoints, Checkpoint{}, f.report)
	f.compare() // with a checkpoint of no events
	checked, err := log.Check(eventlog.CheckOptions{Keys: o.DataKeys, Event: func(e eventlog.CheckedEvent) {
		f.event(e.File, e.Seq, e.Leaf)
		f.heard(e.Seq, e.Kind, e.Payload)
	}})
	if err != nil {
		return nil, err
	}
	f.report.Log = checked
	for _, p := range checked.Problems {
		f.report.problem(Damaged(p))
	}
	f.finish()
	t.unknown(f.report)
	t.announced(dir, f.said, f.report)
	return f.report, f.keep(o.State)
}

// signed are the entries of checkpoints.txt.
type signed struct {
	notes [][]byte
	rest  []byte // behind the last complete one
}

func readSigned(dir string) (s signed, err error) {
	b, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil && !os.IsNotExist(err) {
		return s, err
	}
	s.notes, s.rest = splitNotes(b)
	return s, nil
}

// find returns the checkpoint of a size and its note.
func (s *signed) find(size uint64, keys *Keys) (Checkpoint, string, error) {
	for _, n := range s.notes {
		if c, err := unsignedCheckpoint(n); err == nil && c.Size == size {
			c, err := OpenCheckpoint(n, keys)
			return c, string(n), err
		}
	}
	return Checkpoint{}, "", fmt.Errorf("%w: there is no checkpoint of %d events", ErrUnsigned, size)
}

// unsignedCheckpoint returns what a note says, whoever has signed it.
func unsignedCheckpoint(n []byte) (Checkpoint, error) {
	text, _, _ := bytes.Cut(n, blank)
	return parseCheckpoint(string(text) + "\n")
}

// statement is a signed checkpoint that the log is to be compared with.
type statement struct {
	Checkpoint
	note []byte // nil for that in a rotation of keys
}

// open verifies all signatures above the size of done and returns the
// checkpoints in ascending order, one of each size. What is not signed, out of
// order or contradictory goes to the report.
func (s *signed) open(t *trust, more [][]byte, done Checkpoint, r *Report) (due []statement) {
	due = s.own(t, done, r)
	for i, n := range more {
		d, err := t.kept(n)
		place := fmt.Sprintf("checkpoint %d of those kept elsewhere", i+1)
		var p *Problem
		switch {
		case errors.As(err, &p):
			p.What = place + ": " + p.What
			r.problem(p)
		case err != nil:
			r.problem(&Problem{Err: err, File: journalName, What: place})
		default:
			due = append(due, d)
		}
	}
	for i := range t.past {
		due = append(due, t.past[i].statements(done.Size, r)...)
	}
	if done.Size > 0 {
		due = append(due, statement{done, nil})
	}
	slices.SortStableFunc(due, func(a, b statement) int { return cmp.Compare(a.Size, b.Size) })
	return slices.CompactFunc(due, func(a, b statement) bool {
		if a.Size == b.Size && a.Root != b.Root {
			r.problem(&Problem{Err: ErrForked, File: journalName, To: eventlog.Seq(a.Size), What: fmt.Sprintf("two signed checkpoints of %d events have different roots", a.Size)})
		}
		return a.Size == b.Size
	})
}

// own opens the entries of checkpoints.txt and the rotations of the log's key.
func (s *signed) own(t *trust, done Checkpoint, r *Report) (due []statement) {
	if t.own == nil {
		return nil
	}
	last := uint64(0)
	for i, n := range s.notes {
		c, err := unsignedCheckpoint(n)
		if err == nil && c.Size < last {
			r.problem(&Problem{Err: ErrDamaged, File: journalName, What: fmt.Sprintf("entry %d, of size %d, follows one of size %d", i+1, c.Size, last)})
		}
		last = max(last, c.Size)
		if err == nil && c.Size <= done.Size && done.Size != 0 && (c.Size != done.Size || c.Root == done.Root) {
			continue
		}
		if c, err = OpenCheckpoint(n, t.own); err != nil {
			r.problem(&Problem{Err: err, File: journalName, What: fmt.Sprintf("entry %d", i+1)})
		} else {
			due = append(due, statement{c, n})
		}
	}
	if len(s.rest) > 0 {
		r.problem(&Problem{Err: ErrDamaged, File: journalName, What: fmt.Sprintf("the %d bytes at the end are not a whole entry; if a crash left them, a start of the daemon and a new checkpoint replace them", len(s.rest))})
	}
	for _, c := range t.own.rotations() {
		due = append(due, statement{c, nil})
	}
	return due
}

// fold computes the tree over a log's events and compares it with what was
// signed, as it goes.
type fold struct {
	report   *Report
	due      []statement // ascending; those before next are compared
	next     int
	progress func(uint64)
	nodes    func(level int, h [32]byte) // is handed the stored nodes; may be nil

	edge   edge
	lost   bool         // events are missing: no root can be computed any more
	last   eventlog.Seq // that was seen, and its file
	file   string
	good   uint64 // the last size at which the log agrees with a statement
	since  string // file with the first event after good
	differ bool   // it does not agree with a later one: nor will those after it

	hear func(eventlog.Kind, []byte) *Rotation // may be nil
	said announcements

	note  []byte // the last signed note that the log agrees with
	state edge   // at its size
}

// event takes the next event of the log.
func (f *fold) event(file string, seq eventlog.Seq, leaf [32]byte) {
	f.last, f.file = seq, file
	f.report.Events++
	if f.progress != nil && f.report.Events%(1<<16) == 0 {
		f.progress(f.report.Events)
	}
	if f.lost = f.lost || uint64(seq) != f.edge.size+1; f.lost {
		return
	}
	if f.edge.size == f.good {
		f.since = file
	}
	f.edge.add(leaf, f.nodes)
	f.compare()
}

// heard takes up an event that announces a rotation.
func (f *fold) heard(seq eventlog.Seq, kind eventlog.Kind, payload []byte) {
	if f.hear == nil {
		return
	}
	if r := f.hear(kind, payload); r != nil {
		f.said.add(seq, r)
	}
}

// compare compares the tree with the statement of its size, if there is one.
func (f *fold) compare() {
	if f.next == len(f.due) || f.due[f.next].Size != f.edge.size {
		return
	}
	d := f.due[f.next]
	f.next++
	f.report.Checkpoints++
	switch {
	case f.differ:
	case f.edge.root() == d.Root:
		f.good, f.report.Signed = d.Size, d.Checkpoint
		if d.note != nil {
			f.note, f.state = d.note, edge{f.edge.size, slices.Clone(f.edge.nodes)}
		}
	default:
		f.differ = true
		files := f.since
		if files != f.file {
			files += " to " + f.file
		}
		f.report.problem(&Problem{
			Err: ErrRewritten, File: files, From: eventlog.Seq(f.good) + 1, To: eventlog.Seq(d.Size),
			What: fmt.Sprintf("the events are not those that were signed for at size %d", d.Size),
		})
	}
}

// finish compares the end of the log with what is left to compare.
func (f *fold) finish() {
	f.report.Head = f.last
	if !f.lost {
		f.report.Head = eventlog.Seq(f.edge.size)
	}
	if !f.lost && f.edge.sound() {
		f.report.Root = f.edge.root()
	}
	longest := uint64(0)
	if n := len(f.due); n > 0 {
		longest = f.due[n-1].Size
	}
	if head := uint64(f.report.Head); longest > head {
		f.report.problem(&Problem{
			Err: ErrTruncated, File: f.file, From: eventlog.Seq(head) + 1, To: eventlog.Seq(longest),
			What: "these events were signed for and are not in the log",
		})
	}
}
