package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wfd-dev/wfd/eventlog/durable"
)

// The catalog, catalog.db, is the list of segments. It changes when a segment
// begins and when one is sealed, never on the way of an append. Buckets:
//
//	m  "format" → u32be = 1, or 2 where something may be sealed;
//	   "ring" → which data keys: see ringOf
//	s  first seq u64be → segmentInfo
//	f  first seq u64be → filter of the runs of a sealed segment
//	d  first seq u64be → digest of a sealed segment's file
//	a  run, first version u64be → where an archive has these events
const (
	formatVersion = 1
	formatSealed  = 2 // of the catalog alone

	bucketMeta     = "m"
	bucketSegments = "s"
	bucketFilters  = "f"
	bucketDigests  = "d"
	bucketArchives = "a"
)

var (
	keyFormat = []byte("format")
	keyStart  = []byte("start")
	keyCommit = []byte("commit")
	keySeal   = []byte("seal")
	keyRing   = []byte("ring")
)

// segmentInfo is what the catalog knows of a segment, and what the segment
// itself holds in bucket m under "start" (not sealed) and "seal" (sealed).
type segmentInfo struct {
	sealed           bool
	last             Seq   // of a sealed segment
	minTime, maxTime int64 // of a sealed segment
	start            edge  // of the tree before the segment's first event
}

// CRC-32C u32 of the rest, sealed u8, last u64, min time i64, max time i64, edge.
func (i *segmentInfo) bytes() []byte {
	b := make([]byte, crcLen+1, 256)
	if i.sealed {
		b[crcLen] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(i.last))
	b = binary.BigEndian.AppendUint64(b, uint64(i.minTime))
	b = binary.BigEndian.AppendUint64(b, uint64(i.maxTime))
	b = i.start.appendTo(b)
	binary.BigEndian.PutUint32(b, checksum(b[crcLen:]))
	return b
}

func parseSegmentInfo(b []byte) (i segmentInfo, err error) {
	const fixed = crcLen + 1 + 24
	if len(b) < fixed || binary.BigEndian.Uint32(b) != checksum(b[crcLen:]) {
		return i, fmt.Errorf("entry of a segment: %w", errChecksum)
	}
	start, ok := parseEdge(b[fixed:])
	if !ok || b[crcLen] > 1 {
		return i, fmt.Errorf("entry of a segment: %w", errEncoding)
	}
	i.sealed, i.start = b[crcLen] == 1, start
	i.last = Seq(binary.BigEndian.Uint64(b[5:]))
	i.minTime = int64(binary.BigEndian.Uint64(b[13:]))
	i.maxTime = int64(binary.BigEndian.Uint64(b[21:]))
	return i, nil
}

// seqKey returns the key of a seq.
func seqKey(s Seq) []byte { return binary.BigEndian.AppendUint64(nil, uint64(s)) }

// nodeKey returns the key of a node in bucket h.
func nodeKey(level int, index uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(level)}, index)
}

var formatValue = []byte{0, 0, 0, formatVersion}

func checkFormat(name string, v []byte) error {
	switch {
	case len(v) != 4:
		return &CorruptError{File: name, What: "no format version"}
	case string(v) != string(formatValue):
		return fmt.Errorf("%s: %w: version %d, this build knows %d", name, ErrFormat, binary.BigEndian.Uint32(v), formatVersion)
	}
	return nil
}

const catalogName = "catalog.db"

// catalogMap is plenty: a segment's entry and filter take some 15 KiB, where runs are
// short 100 KiB. What outgrows it is mapped anew.
const catalogMap = 64 << 20

// createCatalog makes an empty catalog.
func createCatalog(dir string) error {
	path := filepath.Join(dir, catalogName)
	err := createStore(path+tmpSuffix, catalogName, func(tx storeTx) error {
		return tx.put(bucketMeta, keyFormat, formatValue)
	}, bucketMeta, bucketSegments, bucketFilters, bucketDigests, bucketArchives)
	if err != nil {
		return err
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// sealedFormat says that some of the log may be sealed: builds that know nothing of it
// refuse the log.
var sealedFormat = []byte{0, 0, 0, formatSealed}

// sealedBy returns whether the catalog says that some of the log may be sealed, and by
// which ring, as ringOf has it; nil if it does not say.
func sealedBy(catalog *store) (marked bool, ring []byte, err error) {
	err = catalog.view(func(tx storeTx) error {
		marked = bytes.Equal(tx.get(bucketMeta, keyFormat), sealedFormat)
		ring = bytes.Clone(tx.get(bucketMeta, keyRing))
		return nil
	})
	return marked, ring, err
}

// openCatalog opens the catalog, which must exist.
func openCatalog(dir string, readOnly bool) (*store, error) {
	s, err := openStore(filepath.Join(dir, catalogName), catalogName, readOnly, catalogMap)
	if err != nil {
		return nil, err
	}
	err = s.view(func(tx storeTx) error {
		v := tx.get(bucketMeta, keyFormat)
		if bytes.Equal(v, sealedFormat) {
			return nil
		}
		return checkFormat(catalogName, v)
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// catalogEntry is one segment as the catalog lists it.
type catalogEntry struct {
	first  Seq
	info   segmentInfo
	filter bloom     // nil unless sealed
	digest digestRow // zero unless sealed, and where a build without digests sealed it
}

// listCatalog returns all segments in order, and checks that they join.
func listCatalog(s *store) (list []catalogEntry, err error) {
	err = s.view(func(tx storeTx) error {
		c, ok := tx.cursor(bucketSegments)
		if !ok {
			return &CorruptError{File: catalogName, What: "no table of segments"}
		}
		next := Seq(1)
		for k, v := c.First(); k != nil; k, v = c.Next() {
			corrupt := func(what string, err error) error {
				return &CorruptError{File: catalogName, Seq: next, What: what, Err: err}
			}
			if len(k) != 8 {
				return corrupt("table of segments", errEncoding)
			}
			e := catalogEntry{first: Seq(binary.BigEndian.Uint64(k))}
			if e.info, err = parseSegmentInfo(v); err != nil {
				return corrupt("table of segments", err)
			}
			if n := len(list); n > 0 && !list[n-1].info.sealed {
				next = e.first // unsealed: its end is found in the segment
			}
			if e.first != next || e.info.start.size != uint64(e.first)-1 || e.info.sealed && e.info.last < e.first {
				return corrupt(fmt.Sprintf("table of segments goes on at seq %d", e.first), nil)
			}
			if e.info.sealed {
				if e.filter, err = parseBloom(tx.get(bucketFilters, k)); err != nil {
					return corrupt("filter of a segment", err)
				}
				if v := tx.get(bucketDigests, k); v != nil {
					if e.digest, err = parseDigestRow(v); err != nil {
						return corrupt("digest of a segment", err)
					}
				}
				next = e.info.last + 1
			}
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// updateCatalog changes the catalog beside what the writer and the keeper do, who answer
// for themselves. After a commit of unknown outcome the log stops: what is written over
// pages that the kernel may have dropped is damage.
func (d *DB) updateCatalog(fn func(storeTx) error) error {
	var refused error
	err := d.catalog.update(func(tx storeTx) error {
		refused = fn(tx)
		return refused
	})
	if err == nil || refused != nil || errors.Is(err, ErrFull) {
		return err
	}
	err = fmt.Errorf("%w: %w", ErrUnknown, err)
	d.stop(err)
	return err
}
