package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// fileDigest says what a whole file was when it was written for the last time.
// A sealed segment is not written to any more: it is replaced as a whole, or not
// at all. So every bit of it can be told by its digest, those included that no
// checksum of an event or a node covers.
type fileDigest struct {
	sum  [32]byte // SHA-256
	size int64
}

// digestOf reads the file at path.
func digestOf(path string) (fd fileDigest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return fd, err
	}
	h := sha256.New()
	fd.size, err = io.Copy(h, f)
	h.Sum(fd.sum[:0])
	return fd, errors.Join(err, f.Close())
}

// digestRow is what the catalog knows of a sealed segment's file.
type digestRow struct {
	now fileDigest
	// next is the digest of the file that is about to take its place, while a
	// rewrite is between its first and its last step; zero otherwise.
	next fileDigest
}

const digestLen = hashLen + 8

// CRC-32C u32 of the rest, SHA-256, size u64; once more while there is a next.
func (r *digestRow) bytes() []byte {
	b := make([]byte, crcLen, crcLen+2*digestLen)
	for _, d := range []fileDigest{r.now, r.next} {
		if d != (fileDigest{}) {
			b = binary.BigEndian.AppendUint64(append(b, d.sum[:]...), uint64(d.size))
		}
	}
	binary.BigEndian.PutUint32(b, checksum(b[crcLen:]))
	return b
}

func parseDigestRow(b []byte) (r digestRow, err error) {
	n := len(b) - crcLen
	if n != digestLen && n != 2*digestLen || binary.BigEndian.Uint32(b) != checksum(b[crcLen:]) {
		return r, fmt.Errorf("digest of a segment: %w", errChecksum)
	}
	parse := func(b []byte) (d fileDigest) {
		copy(d.sum[:], b)
		d.size = int64(binary.BigEndian.Uint64(b[hashLen:]))
		return d
	}
	r.now = parse(b[crcLen:])
	if n > digestLen {
		r.next = parse(b[crcLen+digestLen:])
	}
	return r, nil
}

// settleDigest makes the catalog say what the file of a sealed segment is: after
// a crash in the middle of a rewrite, the old file or the new one; and for a
// segment that a build without digests sealed, what it is now. A file that is
// neither is an error, and what the catalog says stays as it is. The caller holds
// sealing.
func (d *DB) settleDigest(s *segment) error {
	s.mu.RLock()
	settled := s.digested
	s.mu.RUnlock()
	if settled {
		return nil
	}
	row, err := d.digestRow(s)
	if err != nil {
		return err
	}
	is, err := digestOf(s.path)
	if err != nil {
		return err
	}
	if row.now != (fileDigest{}) && is != row.now && is != row.next {
		return &CorruptError{File: s.name, What: "the file is not as it was sealed"}
	}
	if err := d.putDigest(s, digestRow{now: is}); err != nil {
		return err
	}
	s.mu.Lock()
	s.digested = true
	s.mu.Unlock()
	return nil
}

func (d *DB) digestRow(s *segment) (row digestRow, err error) {
	err = d.catalog.view(func(tx storeTx) (err error) {
		if v := tx.get(bucketDigests, seqKey(s.first)); v != nil {
			row, err = parseDigestRow(v)
		}
		return err
	})
	return row, err
}

func (d *DB) putDigest(s *segment, row digestRow) error {
	return d.updateCatalog(func(tx storeTx) error { return tx.put(bucketDigests, seqKey(s.first), row.bytes()) })
}
