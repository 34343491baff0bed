package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/durable"
)

// Rotation is the passing on of a log's voice from one key to the next.
type Rotation struct {
	Number   int    // from 1
	From, To string // public keys
	At       uint64 // how many events the old key may sign for; the new one may for these and more
}

// Rotate makes a new key, signed off by the present one at the present size. A
// verifier who knows an old key follows audit.keys to the new one.
//
// The rotation is announced before it is carried out, by a caller who writes
// into the log itself that the key changes, who changes it, and why: what the
// chain says beside the log, the log says too. Once announce has returned nil
// the rotation comes to be, whatever happens; its error means that nothing was
// written, unless it Is [eventlog.ErrUnknown]. A nil announce tells nobody.
//
// After an error that does not undo the rotation, nothing more is signed until
// the auditor is opened anew.
func (a *Auditor) Rotate(announce func(Rotation) error) (r Rotation, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at, err := a.present()
	if err != nil {
		return r, err
	}
	next, err := nextKey(a.dir, a.keys.origin)
	if err != nil {
		return r, errors.Join(err, dropNext(a.dir))
	}
	r = Rotation{Number: len(a.keys.chain) + 1, From: a.key.public, To: next.public, At: at.Size}
	// Dying here leaves a key that nothing leads to: the next start removes it.
	if announce != nil {
		err = announce(r)
	}
	switch {
	case errors.Is(err, eventlog.ErrUnknown):
		// The key stays: the next start finds out whether it was announced.
		a.failed = fmt.Errorf("%w: whether a rotation was announced is not known: %w", ErrKey, err)
		return r, a.failed
	case err != nil:
		return r, errors.Join(err, dropNext(a.dir))
	}
	// Dying here leaves a rotation that was announced, beside its key: the next
	// start carries it out, before it signs anything ([Auditor.settle]).
	return r, a.pass(next, at)
}

// pass carries out the rotation to the next key, which is on disk. The caller
// holds mu, or has the auditor for himself.
func (a *Auditor) pass(next *signer, at Checkpoint) error {
	chain, err := lengthen(a.chain, len(a.keys.chain)+1, a.key, next, at)
	if err == nil {
		err = durable.WriteFile(filepath.Join(a.dir, chainName), chain, 0o644)
	}
	if err == nil {
		// Dying here leaves the next key beside the old one, and a chain that
		// ends in it: the next start puts it in its place ([openKey]).
		err = os.Rename(filepath.Join(a.dir, nextName), filepath.Join(a.dir, keyName))
	}
	if err == nil {
		err = durable.SyncDir(a.dir)
	}
	if err == nil {
		err = durable.WriteFile(filepath.Join(a.dir, pubName), []byte(next.public+"\n"), 0o644)
	}
	var keys *Keys
	if err == nil {
		keys, chain, err = readKeys(a.dir)
	}
	if err != nil {
		a.failed = fmt.Errorf("%w: a rotation was cut off: %w", ErrKey, err)
		return a.failed
	}
	a.key, a.keys, a.chain = next, keys, chain
	return nil
}

// settle carries out a rotation that was announced and cut off before the chain
// had it, and removes a next key that was not announced. A key that was announced
// and is gone cannot be gone on with: the old one signs on, verification says so,
// and another rotation of the same number takes the place of that one.
func (a *Auditor) settle(announced func(to string) (*Rotation, error)) error {
	path := filepath.Join(a.dir, nextName)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	next, err := readKey(path)
	if err != nil {
		return fmt.Errorf("%w; it was to sign after %s: move it away if it is lost", err, keyName)
	}
	var r *Rotation
	if announced != nil {
		if r, err = announced(next.public); err != nil {
			return err
		}
	}
	if r == nil {
		return dropNext(a.dir)
	}
	size, _ := a.db.TreeHead()
	if r.Number != len(a.keys.chain)+1 || r.From != a.key.public || r.At > size || r.At < a.last.Size {
		return fmt.Errorf("%w: rotation %d to %s was announced and does not go on from %s: move %s away, and rotate again", ErrKey, r.Number, keyID(r.To), keyID(a.key.public), nextName)
	}
	at := Checkpoint{Origin: a.keys.origin, Size: r.At}
	if at.Root, err = rootAt(a.db, r.At); err != nil {
		return err
	}
	a.log.Info("a rotation of the key that was cut off is carried out", "to", r.To)
	return a.pass(next, at)
}

// An announcement is a rotation as the log itself tells of it.
type announcement struct {
	Rotation
	seq eventlog.Seq
}

// announcements are the last ones of each number: one whose key was lost is
// followed by another.
type announcements map[int]announcement

func (s announcements) add(seq eventlog.Seq, r *Rotation) { s[r.Number] = announcement{*r, seq} }

// compare reports what was announced of k's log and is not in the chain that k was
// led along. Whoever takes a rotation out of audit.keys, so that a stolen key goes
// on counting, leaves the event. A rotation without one was made before they were
// announced. The one to the pending key is carried out by the next start.
func (s announcements) compare(k *Keys, pending string) (list []*Problem) {
	for _, number := range slices.Sorted(maps.Keys(s)) {
		x := s[number]
		if to, err := parseVerifier(x.To); err == nil && to.Name() != k.origin {
			continue // it was of the log that this one was restored from
		}
		what := fmt.Sprintf("the event says that key %s was replaced by %s at size %d", keyID(x.From), keyID(x.To), x.At)
		switch {
		case number > 0 && number <= len(k.chain):
			r := k.chain[number-1]
			if r.from.text == x.From && r.to.text == x.To && r.at.Size == x.At {
				continue
			}
			what += fmt.Sprintf("; the rotation that is signed replaces %s by %s at size %d", keyID(r.from.text), keyID(r.to.text), r.at.Size)
		case number == len(k.chain)+1 && pending == x.To:
			continue
		default:
			what += ", and no such rotation is signed: " + chainName + " was cut, or the next key was lost"
		}
		list = append(list, &Problem{Err: ErrSignature, From: x.seq, What: what})
	}
	return list
}

// pendingKey returns the public part of a next key in dir, "" if there is none.
func pendingKey(dir string) string {
	next, err := readKey(filepath.Join(dir, nextName))
	if err != nil {
		return ""
	}
	return next.public
}
