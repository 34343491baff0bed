package projection

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/wfd-dev/wfd/eventlog"
)

// errUntrusted marks a file that is sound and does not belong to this log or
// this build.
var errUntrusted = errors.New("views are of another making")

func isUntrusted(err error) bool { return isDamage(err) || errors.Is(err, errUntrusted) }

// openFile opens the file that is there if its rows belong to this log.
func (v *Views) openFile() error {
	size, err := fileSize(v.path())
	if err != nil {
		return err
	}
	s, err := openStore(v.path(), v.ring())
	if err != nil {
		return err
	}
	var m meta
	err = s.view(func(r *reader) (err error) {
		m, err = r.readMeta()
		return err
	})
	if err == nil {
		err = v.belongs(m)
	}
	if err == nil && size <= walkBelow {
		err = s.checkSums(allBuckets())
	}
	if err != nil {
		s.abandon()
		return err
	}
	v.store = s
	v.applied.Store(m.cursor)
	return nil
}

// belongs compares a file's head with the log: the event at its cursor must be
// the one it has folded.
func (v *Views) belongs(m meta) error {
	if m.signature != signature() {
		return fmt.Errorf("%w: %q, not %q", errUntrusted, m.signature, signature())
	}
	if m.cursor == 0 {
		return nil
	}
	if head := uint64(v.log.Head()); m.cursor > head {
		return fmt.Errorf("%w: they stand at %d, the log ends at %d", errUntrusted, m.cursor, head)
	}
	at, err := v.log.ReadFrom(eventlog.Seq(m.cursor-1), 1)
	if hole, ok := holeAt(err, eventlog.Seq(m.cursor)); ok {
		at, err = []eventlog.Event{hole}, nil
	}
	if err != nil {
		return err
	}
	if len(at) == 0 || fingerprint(at[0]) != m.print {
		return fmt.Errorf("%w: event %d of the log is not the one they have seen", errUntrusted, m.cursor)
	}
	return nil
}

// fingerprint tells an event from any other, in whatever log it is; it is the
// same after the event's payload was erased.
func fingerprint(e eventlog.Event) uint64 {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.Seq))
	b = append(b, e.Run[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Version))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Append))
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:])
}

// create makes an empty file.
func (v *Views) create() error {
	// Dirty first: a file without a marker is not trusted, and one half made
	// does not pass the checks when it is opened.
	if err := writeMarker(v.dir, v.ring().Seals(), false); err != nil {
		return err
	}
	s, err := openStore(v.path(), v.ring())
	if err != nil {
		return err
	}
	if err := s.init(allBuckets(), signature()); err != nil {
		s.abandon()
		return err
	}
	v.clean, v.store = false, s
	v.applied.Store(0)
	return nil
}

const discardedSuffix = ".discarded"

// discard puts the file aside and begins a new one. Of an encrypted log nothing is put
// aside: it may be from before.
func (v *Views) discard(reason string) error {
	v.opt.Logger.Warn("views are built anew from the log", "reason", reason, "events", v.log.Head())
	if v.ring().Encrypted() {
		if err := os.Remove(v.path()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := v.removeDiscarded(); err != nil {
			return err
		}
		return v.create()
	}
	if err := os.Rename(v.path(), v.path()+discardedSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return v.create()
}

// repair replaces the file after damage was met in s. The rows are then those of
// an empty log until the next catch-up.
func (v *Views) repair(s *store, cause error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.store == nil {
		return ErrClosed
	}
	if v.store != s {
		return nil // someone else has
	}
	s.abandon()
	if err := v.discard(cause.Error()); err != nil {
		return errors.Join(cause, err)
	}
	return nil
}

// fileSize returns the bytes of the file, 0 if there is none.
func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
