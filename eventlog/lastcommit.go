package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/wfd-dev/wfd/eventlog/boltfile"
	"github.com/wfd-dev/wfd/eventlog/crypt"
)

// A commit to the open segment waits for one sync, not for bbolt's two: see updateOnce. A
// power cut in the middle may leave its meta page on the disk, and of its pages none,
// some, or parts. bbolt would take what lies in their place for them: older pages, that
// may well look sound. So whoever opens the segment first settles what its last commit is.
//
//   - If log/synced says that it was synced, it counts. What is wrong with it is damage.
//   - If not, it has to prove itself: that it is all there, every chunk, every leaf and node
//     of the tree, and that what is there is that commit and no earlier one.
//   - If it cannot, and the one before it can, it was cut short, and nobody was told of
//     it: it is taken back.
//
// log/synced is written when a commit was synced, before it is acknowledged, and is not
// synced itself. A process that is killed leaves it as it was written: only the end of the
// machine can make a commit prove itself that was acknowledged, and only damage in that
// very commit, at that moment, can be taken for a commit that was cut short.

const syncedName = "synced"

func syncedPath(dir string) string { return filepath.Join(dir, logDir, syncedName) }

// syncedNote says that a commit is on the disk: CRC-32C u32 of the rest, the segment's
// first seq u64, the commit's number u64.
type syncedNote struct {
	first  Seq
	commit uint64
}

const syncedLen = crcLen + 16

func (n syncedNote) bytes() []byte {
	b := make([]byte, crcLen, syncedLen)
	b = binary.BigEndian.AppendUint64(b, uint64(n.first))
	b = binary.BigEndian.AppendUint64(b, n.commit)
	binary.BigEndian.PutUint32(b, checksum(b[crcLen:]))
	return b
}

// readSynced returns what log/synced says, nothing if that makes no sense.
func readSynced(dir string) (n syncedNote, err error) {
	b, err := os.ReadFile(syncedPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if len(b) != syncedLen || binary.BigEndian.Uint32(b) != checksum(b[crcLen:]) {
		return n, err
	}
	return syncedNote{Seq(binary.BigEndian.Uint64(b[crcLen:])), binary.BigEndian.Uint64(b[crcLen+8:])}, nil
}

// noteSynced notes that a commit to s is on the disk. If that fails, nobody knows
// whether it is: a file system that goes down in the middle of a sync (ext4 is one, when it
// is told to) may let it return as if all was well, and fails the next write.
func (d *DB) noteSynced(s *segment, commit uint64) error {
	n := syncedNote{s.first, commit}
	_, err := d.synced.WriteAt(n.bytes(), 0)
	if err == nil || outOfSpace(err) {
		return nil // without the note the next start has to prove the commit
	}
	return fmt.Errorf("%s: %w", syncedName, err)
}

// openSynced opens log/synced, and notes the last commit to s, which is on the disk by now.
func (d *DB) openSynced(s *segment) (err error) {
	if d.synced, err = os.OpenFile(syncedPath(d.dir), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if !s.signed {
		return d.synced.Truncate(0)
	}
	return s.view(func(tx storeTx) error { return d.noteSynced(s, tx.id()) })
}

// settled says what was found out about the last commit of a segment.
type settled struct {
	tookBack bool          // it was cut short
	older    *CorruptError // the file is older than what was acknowledged; nil if it is not
}

// report tells the operator what was found out about the segment of that name.
func (f settled) report(log *slog.Logger, name string) {
	if f.tookBack {
		log.Warn("the last commit was cut short when the machine went down, and nobody was told of it: it is taken back", "file", name)
	}
	if f.older != nil {
		log.Error("events that were acknowledged are gone: the file is an older copy", "file", name, "error", f.older)
	}
}

// settle makes sure that the last commit of the open segment, which is not open yet, is
// one that was made as a whole. What is to be taken back is taken out of the file; with
// readOnly, of a copy, which s is read from.
func (s *segment) settle(dir string, readOnly bool) (found settled, err error) {
	s.signed = false
	note, err := readSynced(dir)
	if err != nil {
		return found, err
	}
	last, err := s.meta()
	if err != nil {
		return found, nil // who opens it says what is wrong
	}
	if note.first == s.first && note.commit == last.Tx {
		s.signed = true
		return found, nil
	}
	if !readOnly {
		if err := fromDisk(s.path); err != nil {
			return found, fmt.Errorf("%s: %w", s.name, err)
		}
		if last, err = s.meta(); err != nil {
			return found, nil
		}
	}
	if note.first == s.first && note.commit > last.Tx {
		gone := &CorruptError{File: s.name, What: fmt.Sprintf("commit %d was acknowledged, and the file ends with commit %d", note.commit, last.Tx)}
		if !last.Both {
			return found, gone // its meta page is damaged, and what it refers to is there
		}
		found.older = gone
	}
	if !last.Both {
		return found, nil // the other was cut short: there is no other commit to look at
	}
	err = s.prove(s.path)
	switch {
	case err == nil:
		s.signed = true
		return found, nil
	case beyondMeans(err), errors.Is(err, crypt.ErrNoDataKey):
		return found, err
	case errors.Is(err, syscall.EIO), errors.Is(err, errUnsigned):
		return found, nil // the disk does not say what is there; or it was bbolt's own commit
	}
	copied, err := s.copyBefore(last)
	defer func() {
		if !s.copied {
			os.Remove(copied)
		}
	}()
	if err != nil {
		return found, err
	}
	if s.prove(copied) != nil {
		return found, nil // so it is damage, and not of this commit alone
	}
	s.signed, found.tookBack = true, true
	if readOnly {
		s.path, s.copied = copied, true
		return found, nil
	}
	return found, s.takeBack(last)
}

// meta reads the meta pages of the segment's file.
func (s *segment) meta() (boltfile.Meta, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return boltfile.Meta{}, err
	}
	defer f.Close()
	return boltfile.ReadMeta(f, pageSize)
}

// copyBefore returns the path of a copy of the segment's file without the last commit.
func (s *segment) copyBefore(last boltfile.Meta) (path string, err error) {
	from, err := os.Open(s.path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.CreateTemp("", "wfd-segment-*.db")
	if err != nil {
		return "", err
	}
	if _, err = io.Copy(to, from); err == nil {
		err = last.TakeBack(to)
	}
	return to.Name(), errors.Join(err, to.Close())
}

// takeBack takes the last commit out of the file. Dying here leaves a meta page that is
// not valid at worst, and so no such commit either.
func (s *segment) takeBack(last boltfile.Meta) error {
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = last.TakeBack(f); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// proof is what a commit has to show that may have been cut short.
type proof struct {
	nodes int   // of the tree, that are to be stored
	err   error // the first that is not
}

// node wants a node of the tree as it is stored, if it is one that is.
func (p *proof) node(tx storeTx, level int, index uint64, h [32]byte) {
	if !isStored(level) {
		return
	}
	p.nodes++
	if p.err == nil && !bytes.Equal(tx.get(bucketNodes, nodeKey(level, index)), h[:]) {
		p.err = fmt.Errorf("node %d of level %d is not that of the events", index, level)
	}
}

// end wants of a segment that was scanned that nothing of its tree is missing, or left over.
func (p *proof) end(tx storeTx) error {
	nodes := 0
	if c, ok := tx.cursor(bucketNodes); ok {
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			nodes++
		}
	}
	if p.err == nil && nodes != p.nodes {
		p.err = fmt.Errorf("%d nodes of the tree, where %d belong", nodes, p.nodes)
	}
	return p.err
}

// sign has a commit say which one it is.
func sign(tx storeTx) error { return tx.put(bucketMeta, keyCommit, signature(tx)) }

func signature(tx storeTx) []byte { return binary.BigEndian.AppendUint64(nil, tx.id()) }

// errUnsigned: somebody who does not sign, and syncs twice, has committed after a commit
// that is signed: an older build of this program, or another one. It was not cut short:
// then the signature would be this commit's or that of one before the last, in a page that
// was not yet written over. Of the last commit no page ever is.
var errUnsigned = errors.New("the last commit is not signed")

// checkSignature wants what is in a segment to be of the commit whose meta page it has.
func checkSignature(tx storeTx) error {
	commit := tx.get(bucketMeta, keyCommit)
	switch {
	case bytes.Equal(commit, signature(tx)):
		return nil
	case len(commit) == 8 && binary.BigEndian.Uint64(commit) == tx.id()-1:
		return errUnsigned
	}
	return fmt.Errorf("what is there is of commit %x, the meta page of commit %d", commit, tx.id())
}

// prove reads all of the segment's content from the file at path.
func (s *segment) prove(path string) error {
	if err := checkFile(path, true); err != nil {
		return err
	}
	p := newSegment("", s.ring, s.first, s.start)
	p.name, p.path, p.signed = s.name, path, true
	e := s.start
	return errors.Join(p.scanBy(scanner{edge: &e, all: &proof{}}), p.close())
}
