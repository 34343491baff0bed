package eventlog

import (
	"encoding/binary"
	"fmt"
)

// runEntry is what a segment knows of one run: where its events lie, and where
// to look for earlier ones. In RAM for a segment that is open or not yet
// sealed, in bucket x afterwards.
type runEntry struct {
	prev  Seq      // first seq of the nearest earlier segment with events of this run, 0 if none
	first Version  // version of the run's first event in this segment
	time  int64    // of the run's last event in this segment
	offs  []uint32 // seq minus the segment's first seq, ascending; entry i is version first+i
}

func (e *runEntry) last() Version { return e.first + Version(len(e.offs)) - 1 }

// An entry of bucket x under the run's 16 bytes, integers as unsigned varints:
//
//	CRC-32C u32 of the rest and of the key, prev, first, time, count,
//	first offset, then the difference to the next, count-1 times

func (e *runEntry) appendTo(b []byte, run RunID) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(e.prev))
	b = binary.AppendUvarint(b, uint64(e.first))
	b = binary.AppendUvarint(b, uint64(e.time))
	b = binary.AppendUvarint(b, uint64(len(e.offs)))
	last := uint32(0)
	for _, o := range e.offs {
		b = binary.AppendUvarint(b, uint64(o-last))
		last = o
	}
	binary.BigEndian.PutUint32(b[start:], checksumUpdate(checksum(run[:]), b[start+crcLen:]))
	return b
}

// parseRunEntry decodes an entry. With offsets false it stops before them and
// returns their number in n alone: enough to know the run's version.
func parseRunEntry(b []byte, run RunID, offsets bool) (e runEntry, n int, err error) {
	if len(b) < crcLen || binary.BigEndian.Uint32(b) != checksumUpdate(checksum(run[:]), b[crcLen:]) {
		return e, 0, fmt.Errorf("index entry: %w", errChecksum)
	}
	b = b[crcLen:]
	bad := false
	next := func() uint64 {
		v, w := binary.Uvarint(b)
		if w <= 0 {
			bad = true
			return 0
		}
		b = b[w:]
		return v
	}
	e.prev, e.first, e.time = Seq(next()), Version(next()), int64(next())
	count := next()
	if bad || count == 0 || count > uint64(len(b)) || e.first == 0 || e.time <= 0 {
		return e, 0, fmt.Errorf("index entry: %w", errEncoding)
	}
	if !offsets {
		return e, int(count), nil
	}
	e.offs = make([]uint32, count)
	last := uint64(0)
	for i := range e.offs {
		d := next()
		if last += d; bad || last > 1<<32-1 || i > 0 && d == 0 {
			return e, 0, fmt.Errorf("index entry: %w", errEncoding)
		}
		e.offs[i] = uint32(last)
	}
	if len(b) != 0 {
		return e, 0, fmt.Errorf("index entry: %w", errEncoding)
	}
	return e, int(count), nil
}
