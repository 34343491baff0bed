package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
)

// The tree is that of RFC 6962 over the global order: the event with Seq s is
// leaf s-1. Levels count from the leaves, which are level 0; node (l, i) spans
// the leaves [i<<l, (i+1)<<l).

// hashLen is the size of every hash of the tree.
const hashLen = sha256.Size

// Prefixes of RFC 6962 that keep a leaf from passing for an inner node.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// storedLevels are the levels whose nodes are kept on disk: 1/256 hash per
// event is enough to recompute any part of the tree from 256 events, or from
// 256 nodes of the level below.
var storedLevels = [...]int{8, 16}

// isStored reports whether the nodes of a level are kept on disk.
func isStored(level int) bool { return slices.Contains(storedLevels[:], level) }

// blockLevel is the lowest stored level; a block is the leaves under one node
// of it.
const (
	blockLevel = 8
	blockSize  = 1 << blockLevel
)

// PayloadHash returns SHA-256(salt ‖ payload): what the event's leaf commits
// to in the payload's place. The salt has a fixed length, so plain
// concatenation is unambiguous, and it stays secret with the payload: once
// both are erased, the hash says nothing about a guessable payload.
func (e Event) PayloadHash() [32]byte {
	if e.Erased {
		return e.Hash
	}
	return payloadHash(&e.Salt, e.Payload)
}

func payloadHash(salt *[16]byte, payload []byte) (h [32]byte) {
	if len(payload) <= 1024 {
		var buf [16 + 1024]byte
		b := append(append(buf[:0], salt[:]...), payload...)
		return sha256.Sum256(b)
	}
	d := sha256.New()
	d.Write(salt[:])
	d.Write(payload)
	d.Sum(h[:0])
	return h
}

// Leaf returns the hash of e's leaf:
//
//	SHA-256(0x00 ‖ run ‖ version u64 ‖ kind u16 ‖ time i64 ‖ len(actor) u16 ‖ actor ‖ payload hash)
//
// with big-endian numbers. The seq is the leaf's index and the append ID is a
// detail of delivery, so neither is part of it.
func Leaf(e Event) [32]byte {
	return leafHash(&e.Run, e.Version, e.Kind, e.Time, e.Actor, e.PayloadHash())
}

func leafHash(run *RunID, v Version, k Kind, t int64, actor string, payload [32]byte) [32]byte {
	var buf [1 + 16 + 8 + 2 + 8 + 2 + MaxActor + hashLen]byte
	b := append(buf[:0], leafPrefix)
	b = append(b, run[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(v))
	b = binary.BigEndian.AppendUint16(b, uint16(k))
	b = binary.BigEndian.AppendUint64(b, uint64(t))
	b = binary.BigEndian.AppendUint16(b, uint16(len(actor)))
	b = append(b, actor...)
	b = append(b, payload[:]...)
	return sha256.Sum256(b)
}

func nodeHash(left, right *[32]byte) [32]byte {
	var buf [1 + 2*hashLen]byte
	buf[0] = nodePrefix
	copy(buf[1:], left[:])
	copy(buf[1+hashLen:], right[:])
	return sha256.Sum256(buf[:])
}

// edge is the right edge of the tree: the roots of the complete subtrees that
// make up its first size leaves, one for each bit set in size. It is a value:
// a copy is a point to return to.
type edge struct {
	size uint64
	node [64][32]byte // node[l] is set where bit l of size is
}

// add appends the complete subtree h of the given level; size must be a
// multiple of what it spans. Every node thus completed, h itself included, is
// handed to done if it is not nil.
func (e *edge) add(level int, h [32]byte, done func(level int, index uint64, h [32]byte)) {
	for l := level; ; l++ {
		if done != nil {
			done(l, e.size>>l, h)
		}
		if e.size>>l&1 == 0 {
			e.node[l] = h
			break
		}
		h = nodeHash(&e.node[l], &h)
		e.node[l] = [32]byte{} // so that equal edges compare equal
	}
	e.size += 1 << level
}

// root returns the tree's root; that of the empty tree is SHA-256 of nothing.
func (e *edge) root() [32]byte {
	if e.size == 0 {
		return sha256.Sum256(nil)
	}
	l := bits.TrailingZeros64(e.size)
	h := e.node[l]
	for l++; e.size>>l != 0; l++ {
		if e.size>>l&1 == 1 {
			h = nodeHash(&e.node[l], &h)
		}
	}
	return h
}

// appendTo encodes e: size u64be, then its nodes from the highest level down.
func (e *edge) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, e.size)
	for l := 63; l >= 0; l-- {
		if e.size>>l&1 == 1 {
			b = append(b, e.node[l][:]...)
		}
	}
	return b
}

// parseEdge is the inverse of appendTo.
func parseEdge(b []byte) (e edge, ok bool) {
	if len(b) < 8 {
		return e, false
	}
	e.size = binary.BigEndian.Uint64(b)
	if b = b[8:]; len(b) != bits.OnesCount64(e.size)*hashLen {
		return e, false
	}
	for l := 63; l >= 0; l-- {
		if e.size>>l&1 == 1 {
			b = b[copy(e.node[l][:], b):]
		}
	}
	return e, true
}
