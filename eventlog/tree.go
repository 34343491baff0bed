package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Tree is what a [Log] may offer besides: the hashes of its Merkle tree, enough
// to compute any other node from at most 256 of them. It speaks of durable
// events only, so what it once said of a place stays true.
type Tree interface {
	// TreeHead returns the size and the root of the tree.
	TreeHead() (size uint64, root [32]byte)

	// Leaves returns the leaves of up to n events with Seq > after, in order;
	// fewer at the head. They are computed from the events as they are stored.
	// n is at most [MaxHashes].
	Leaves(after Seq, n int) ([][32]byte, error)

	// Nodes returns up to n nodes of level 8 or 16 from index from on, in
	// order; fewer where the tree has no more that are complete. They are as
	// they were stored when their last leaf was. n is at most [MaxHashes].
	Nodes(level int, from uint64, n int) ([][32]byte, error)
}

// MaxHashes bounds what one call of [Tree] returns, and with it the length of a
// transaction.
const MaxHashes = 4096

var _ Tree = (*DB)(nil)

// errHashes is the answer to a question that Tree does not allow.
var errHashes = fmt.Errorf("hashes of the tree: want level 8 or 16 and at most %d", MaxHashes)

// Leaves implements [Tree].
func (d *DB) Leaves(after Seq, n int) ([][32]byte, error) {
	if n < 0 || n > MaxHashes {
		return nil, errHashes
	}
	head := d.Head() // before the segments, as in ReadFrom
	segs, err := d.readable()
	if err != nil || after >= head {
		return nil, err
	}
	to := after + min(Seq(n), head-after)
	leaves := make([][32]byte, 0, to-after)
	for after < to {
		i := segmentOf(segs, after+1)
		if i < 0 {
			return nil, &CorruptError{File: catalogName, Seq: after + 1, What: "no segment holds the event"}
		}
		last := to
		if i+1 < len(segs) {
			last = min(last, segs[i+1].first-1)
		}
		if leaves, err = segs[i].leaves(leaves, after+1, last); err != nil {
			return nil, err
		}
		after = last
	}
	return leaves, nil
}

// leaves appends the leaves of the events seq to last to dst.
func (s *segment) leaves(dst [][32]byte, seq, last Seq) ([][32]byte, error) {
	var rec record
	err := s.view(func(tx storeTx) error {
		c, ok := tx.cursor(bucketChunks)
		if !ok {
			return errors.New("no bucket of chunks")
		}
		for k, v := c.Seek(seqKey(seq)); seq <= last; k, v = c.Next() {
			ck, err := chunkAt(s.ring, k, v, seq)
			if err != nil {
				return err
			}
			for ; seq <= min(last, ck.last()); seq++ {
				if err := ck.parse(int(seq-ck.first), &rec); err != nil {
					return err
				}
				dst = append(dst, rec.leaf())
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.corrupt(seq, RunID{}, "events", err)
	}
	return dst, nil
}

// Nodes implements [Tree].
func (d *DB) Nodes(level int, from uint64, n int) ([][32]byte, error) {
	if !isStored(level) || n < 0 || n > MaxHashes {
		return nil, errHashes
	}
	have := uint64(d.Head()) >> level
	segs, err := d.readable()
	if err != nil || from >= have {
		return nil, err
	}
	to := from + min(uint64(n), have-from)
	nodes := make([][32]byte, 0, to-from)
	for from < to {
		// A node is in the segment with its last leaf.
		i := segmentOf(segs, Seq((from+1)<<level))
		last := to
		if i >= 0 && i+1 < len(segs) {
			last = min(last, uint64(segs[i+1].first-1)>>level)
		}
		if i < 0 || last <= from {
			return nil, &CorruptError{File: catalogName, Seq: Seq(from<<level) + 1, What: "no segment holds the tree node"}
		}
		if nodes, err = segs[i].nodes(nodes, level, from, last); err != nil {
			return nil, err
		}
		from = last
	}
	return nodes, nil
}

// nodes appends the nodes from up to but without to of level to dst.
func (s *segment) nodes(dst [][32]byte, level int, from, to uint64) ([][32]byte, error) {
	err := s.view(func(tx storeTx) error {
		c, ok := tx.cursor(bucketNodes)
		if !ok {
			return errors.New("no bucket of tree nodes")
		}
		for k, v := c.Seek(nodeKey(level, from)); from < to; k, v = c.Next() {
			if len(k) != 9 || int(k[0]) != level || binary.BigEndian.Uint64(k[1:]) != from || len(v) != hashLen {
				return fmt.Errorf("node %d of level %d is missing", from, level)
			}
			dst = append(dst, [32]byte(v))
			from++
		}
		return nil
	})
	if err != nil {
		return nil, s.corrupt(Seq(from<<level)+1, RunID{}, "tree", err)
	}
	return dst, nil
}

// FileOf returns the path within the data directory of the segment with the
// event, or with the place where it would be.
func (d *DB) FileOf(seq Seq) string {
	segs := *d.segs.Load()
	if i := segmentOf(segs, seq); i >= 0 {
		return segs[i].name
	}
	return catalogName
}
