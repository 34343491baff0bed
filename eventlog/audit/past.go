package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// A log that was restored from a copy is a log of its own: with the name and the
// key of the one it was copied from it could contradict what that has signed
// since. What it stands on is not forgotten: audit.past has, for each log whose
// first events these are, its public keys and all that it had signed, so that the
// events are still held against it, and so that everyone can see what was left
// behind.

// Past is a log that another one goes on from.
type Past struct {
	Origin string   // of the earlier log
	Size   uint64   // its events that the later one begins with
	Root   [32]byte // of the tree over them
	// Signed is the largest size that the earlier log is known to have been
	// signed for. What lies between Size and Signed was left behind.
	Signed uint64
}

const pastName = "audit.past"

// pastDoc is a line of audit.past, the oldest log first.
type pastDoc struct {
	Format      string `json:"format"`
	Origin      string `json:"origin"`
	Size        uint64 `json:"size"`
	Root        hash   `json:"root"`
	Public      string `json:"public"`      // audit.pub
	Keys        string `json:"keys"`        // audit.keys
	Checkpoints string `json:"checkpoints"` // checkpoints.txt
}

const pastFormat = "wfd-past-1"

// past is a Past with what it has to say.
type past struct {
	pastDoc
	keys  *Keys
	notes [][]byte
}

// readPast returns the logs that the one in dir goes on from, the oldest first.
func readPast(dir string) (list []past, err error) {
	b, err := os.ReadFile(filepath.Join(dir, pastName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range bytes.Lines(b) {
		p, err := parsePast(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return nil, &Problem{Err: fmt.Errorf("%w: %w", ErrDamaged, err), File: pastName, What: fmt.Sprintf("line %d", len(list)+1)}
		}
		list = append(list, p)
	}
	return list, nil
}

func parsePast(line []byte) (p past, err error) {
	if err := decode(line, &p.pastDoc); err != nil {
		return p, err
	}
	if p.keys, err = ParseKeys([]byte(p.Public)); err != nil {
		return p, err
	}
	if p.keys, err = p.keys.Follow([]byte(p.Keys)); err != nil {
		return p, err
	}
	if p.Format != pastFormat || p.keys.origin != p.Origin {
		return p, fmt.Errorf("%w: not a log that was restored", ErrFormat)
	}
	p.notes, _ = splitNotes([]byte(p.Checkpoints)) // what a crash cut off was never said
	return p, nil
}

// summary returns p as others see it.
func (p *past) summary() Past {
	s := Past{Origin: p.Origin, Size: p.Size, Root: p.Root}
	for _, n := range p.notes {
		if c, err := OpenCheckpoint(n, p.keys); err == nil {
			s.Signed = max(s.Signed, c.Size)
		}
	}
	return s
}

// statements returns what p says about events that the later log has, beyond the
// first from of them. A checkpoint that it never signed goes to the report.
func (p *past) statements(from uint64, r *Report) (due []statement) {
	if p.Size > from {
		due = append(due, statement{Checkpoint{p.Origin, p.Size, p.Root}, nil})
	}
	for i, n := range p.notes {
		c, err := OpenCheckpoint(n, p.keys)
		if err != nil {
			r.problem(&Problem{Err: err, File: pastName, What: fmt.Sprintf("entry %d of the checkpoints of %s", i+1, p.Origin)})
		} else if c.Size <= p.Size && c.Size > from {
			due = append(due, statement{c, nil})
		}
	}
	return due
}

// trust is whose signatures count for the log in a directory.
type trust struct {
	own  *Keys // nil: the verifier knows a log that this one goes on from, and not this one
	past []past
}

// trusted returns who is trusted for the log in dir: the keys that are given, led
// along the chains in dir; without any, those in dir.
func trusted(dir string, given []*Keys) (t trust, err error) {
	if t.past, err = readPast(dir); err != nil {
		return t, err
	}
	if len(given) == 0 {
		t.own, err = LoadKeys(dir)
		return t, err
	}
	chain, err := os.ReadFile(filepath.Join(dir, chainName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	for _, k := range given {
		switch p := t.of(k.origin); {
		case p != nil:
			p.keys, err = k.Follow([]byte(p.Keys))
		case t.own == nil:
			t.own, err = k.Follow(chain)
		default:
			err = fmt.Errorf("%w: the keys of %s and of %s are not of one log", ErrSignature, t.own.origin, k.origin)
		}
		if err != nil {
			return t, err
		}
	}
	return t, nil
}

// of returns the log with that name among those that the log goes on from, nil if
// it is none of them.
func (t *trust) of(origin string) *past {
	for i := range t.past {
		if t.past[i].Origin == origin {
			return &t.past[i]
		}
	}
	return nil
}

// origin returns the name of the log, or of the latest one before it that the
// verifier knows.
func (t *trust) origin() string {
	if t.own != nil {
		return t.own.origin
	}
	return t.past[len(t.past)-1].Origin
}

// report begins the report of a verification.
func (t *trust) report(from eventlog.Seq) *Report {
	r := &Report{Origin: t.origin(), From: from}
	for i := range t.past {
		r.Past = append(r.Past, t.past[i].summary())
	}
	return r
}

// kept opens a checkpoint that was kept elsewhere; one of events that were left
// behind is a problem.
func (t *trust) kept(n []byte) (statement, error) {
	keys, p := t.own, (*past)(nil)
	if c, err := unsignedCheckpoint(n); err == nil {
		if p = t.of(c.Origin); p != nil {
			keys = p.keys
		}
	}
	if keys == nil {
		return statement{}, fmt.Errorf("%w: not of %s", ErrSignature, t.origin())
	}
	c, err := OpenCheckpoint(n, keys)
	if err == nil && p != nil && c.Size > p.Size {
		err = p.leftBehind(c)
	}
	return statement{c, n}, err
}

// unknown reports that the verifier cannot tell who vouches for the events after
// the restore.
func (t *trust) unknown(r *Report) {
	if t.own == nil {
		p := &t.past[len(t.past)-1]
		r.problem(&Problem{
			Err: ErrRestored, From: eventlog.Seq(p.Size) + 1, To: r.Head,
			What: fmt.Sprintf("%s was restored at %d events and goes on as another log, whose key is not given: nothing is proven of what follows", p.Origin, p.Size),
		})
	}
}

// announced reports rotations that events tell of and the log's keys do not.
func (t *trust) announced(dir string, said announcements, r *Report) {
	if t.own != nil {
		for _, p := range said.compare(t.own, pendingKey(dir)) {
			r.problem(p)
		}
	}
}

// leftBehind is what to say of a checkpoint that p signed for events that the
// later log does not have.
func (p *past) leftBehind(c Checkpoint) *Problem {
	return &Problem{
		Err: ErrRestored, From: eventlog.Seq(p.Size) + 1, To: eventlog.Seq(c.Size),
		What: fmt.Sprintf("%s was restored at %d events: it is behind the checkpoint of %d events, which belongs to what was left behind", p.Origin, p.Size, c.Size),
	}
}

// LoadPast returns the logs that the one in dir goes on from, the oldest first.
func LoadPast(dir string) ([]Past, error) {
	list, err := readPast(dir)
	if err != nil {
		return nil, err
	}
	out := make([]Past, len(list))
	for i := range list {
		out[i] = list[i].summary()
	}
	return out, nil
}

// Restored makes the log in dir, which has size events with the given root and is
// a copy of another, a log of its own: what the other was signed for goes to
// audit.past. The next start makes a key. A log that was never signed has nothing
// to keep.
func Restored(dir string, size uint64, root [32]byte) error {
	list, err := readPast(dir)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, p := range list {
		if p.Size >= size {
			p.Size, p.Root = size, root // it was a log restored from this one that went on
		}
		if err := writeLine(&out, p.pastDoc); err != nil {
			return err
		}
	}
	var read [3][]byte
	for i, name := range []string{pubName, chainName, journalName} {
		if read[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(read[0]) > 0 {
		keys, err := ParseKeys(read[0])
		if err != nil {
			return fmt.Errorf("%s: %w", pubName, err)
		}
		doc := pastDoc{pastFormat, keys.origin, size, root, string(read[0]), string(read[1]), string(read[2])}
		line, err := encode(doc)
		if err == nil {
			_, err = parsePast(line) // what cannot be read later is not written
		}
		if err == nil {
			err = writeLine(&out, doc)
		}
		if err != nil {
			return err
		}
	}
	if out.Len() == 0 {
		return nil
	}
	if err := durable.WriteFile(filepath.Join(dir, pastName), out.Bytes(), 0o600); err != nil {
		return err
	}
	// Dying here leaves a log that is both: who restores it begins anew.
	for _, name := range []string{keyName, nextName, pubName, chainName, journalName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return durable.SyncDir(dir)
}

// Copy is what an auditor keeps of a log, for a backup: the files by name.
type Copy struct {
	Checkpoint Checkpoint // the last one
	Note       []byte     // of Checkpoint; nil if there is none
	Files      map[string][]byte
}

// Copy signs the log as it is now, if this auditor may, and returns what was
// signed so far, at one moment. The private key comes along if withKey is set.
func (a *Auditor) Copy(withKey bool) (Copy, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, _, err := a.sign(); err != nil && !errors.Is(err, ErrReadOnly) {
		return Copy{}, err
	}
	return a.copy(withKey)
}

// CopyUnsigned is Copy without a new checkpoint: of a log that is not what it was
// signed for.
func (a *Auditor) CopyUnsigned(withKey bool) (Copy, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.copy(withKey)
}

// copy reads the files. The caller holds mu, so that none of them is changed.
func (a *Auditor) copy(withKey bool) (Copy, error) {
	if withKey && a.failed != nil {
		return Copy{}, a.failed // which key it is, only a fresh start decides
	}
	c := Copy{Checkpoint: a.last, Note: a.note, Files: map[string][]byte{}}
	names := []string{pubName, chainName, journalName, pastName}
	if withKey {
		names = append(names, keyName)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(a.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return c, err
		}
		if name == journalName {
			b = b[:min(int64(len(b)), a.journal.size)] // without what a crash cut off
		}
		c.Files[name] = b
	}
	return c, nil
}
