package audit

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
)

// Leaf is an event's place in the tree and its hash there.
type Leaf struct {
	Seq  eventlog.Seq
	Hash [32]byte
}

// SetProof proves that several events are in the log, each at its place. It is much
// smaller than a proof for each: of a subtree without any of the events it has the
// root, and of one with some, what it has of the two halves, the left one first.
type SetProof struct {
	Checkpoint string `json:"checkpoint"` // the signed note
	Path       []hash `json:"path"`
	Keys       string `json:"keys,omitempty"` // the rotations of the log's key
	Key        string `json:"key"`            // the log's public key; who verifies has one from elsewhere
}

// ProveSet returns the proof that the events with these leaves, which are in the
// order of their seqs, are in the log. It signs the log first if they are not
// covered.
func (a *Auditor) ProveSet(leaves []Leaf) (*SetProof, error) {
	if err := inOrder(leaves); err != nil {
		return nil, err
	}
	c, note, chain, err := a.covering(uint64(leaves[len(leaves)-1].Seq))
	if err != nil {
		return nil, err
	}
	p := &setProver{cache: hashCache{tree: a.db, blocks: make(map[blockID][][32]byte)}, path: []hash{}}
	if err := p.prove(0, c.Size, leaves); err != nil {
		return nil, err
	}
	// A proof is not given away untried: it would speak against the log later.
	proof := &SetProof{Checkpoint: string(note), Path: p.path, Keys: chain, Key: a.PublicKey()}
	if root, err := rootOfSet(leaves, c.Size, p.path); err != nil || root != c.Root {
		return nil, &Problem{Err: ErrRewritten, From: leaves[0].Seq, To: leaves[len(leaves)-1].Seq, What: fmt.Sprintf("the events do not lead to the checkpoint of %d events", c.Size)}
	}
	return proof, nil
}

// CheckSet verifies a proof of ProveSet, with nothing but public keys, and returns
// the checkpoint that the events are signed for by. It is safe on a proof from
// anyone.
func CheckSet(leaves []Leaf, p *SetProof, keys *Keys) (Checkpoint, error) {
	keys, err := keys.Follow([]byte(p.Keys))
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := OpenCheckpoint([]byte(p.Checkpoint), keys)
	if err != nil {
		return c, err
	}
	if err := inOrder(leaves); err != nil {
		return c, err
	}
	root, err := rootOfSet(leaves, c.Size, p.Path)
	if err != nil {
		return c, err
	}
	if root != c.Root {
		return c, fmt.Errorf("%w: the events do not lead to the checkpoint of %d events", ErrProof, c.Size)
	}
	return c, nil
}

func inOrder(leaves []Leaf) error {
	if len(leaves) == 0 || leaves[0].Seq == 0 || !slices.IsSortedFunc(leaves, func(a, b Leaf) int { return cmp.Compare(a.Seq, b.Seq) }) {
		return fmt.Errorf("%w: not events in the order of their seqs", ErrProof)
	}
	for i := 1; i < len(leaves); i++ {
		if leaves[i].Seq == leaves[i-1].Seq {
			return fmt.Errorf("%w: seq %d is there twice", ErrProof, leaves[i].Seq)
		}
	}
	return nil
}

// halves cuts the tree over the leaves from lo up to but without hi in two, as RFC
// 6962 does, and the events of it with it.
func halves(lo, hi uint64, leaves []Leaf) (mid uint64, left, right []Leaf) {
	mid = lo + 1<<(bits.Len64(hi-lo-1)-1)
	n, _ := slices.BinarySearchFunc(leaves, mid, func(l Leaf, at uint64) int { return cmp.Compare(uint64(l.Seq)-1, at) })
	return mid, leaves[:n], leaves[n:]
}

// setProver walks a tree of which some leaves are known.
type setProver struct {
	cache hashCache
	path  []hash
}

// maxBlocks bounds the blocks of hashes that a prover keeps: it goes from left to
// right, and does not come back.
const maxBlocks = 256

func (p *setProver) prove(lo, hi uint64, leaves []Leaf) error {
	if len(leaves) == 0 {
		h, err := p.root(lo, hi)
		p.path = append(p.path, h)
		return err
	}
	if hi-lo == 1 {
		return nil
	}
	mid, left, right := halves(lo, hi, leaves)
	if err := p.prove(lo, mid, left); err != nil {
		return err
	}
	return p.prove(mid, hi, right)
}

// root returns the root of the tree over the leaves from lo up to but without hi.
func (p *setProver) root(lo, hi uint64) (hash, error) {
	if len(p.cache.blocks) > maxBlocks {
		clear(p.cache.blocks)
	}
	if n := hi - lo; n&(n-1) == 0 {
		l := bits.TrailingZeros64(n)
		h, err := p.cache.node(l, lo>>l)
		return hash(h), err
	}
	mid, _, _ := halves(lo, hi, nil)
	left, err := p.root(lo, mid)
	if err != nil {
		return left, err
	}
	right, err := p.root(mid, hi)
	return joined(left, right), err
}

// rootOfSet returns the root of a tree of size, from leaves and a path, of which
// nothing may be left over.
func rootOfSet(leaves []Leaf, size uint64, path []hash) ([32]byte, error) {
	if last := uint64(leaves[len(leaves)-1].Seq); last > size {
		return [32]byte{}, fmt.Errorf("%w: seq %d is not among the %d events of the checkpoint", ErrProof, last, size)
	}
	w := setWalk{path: path}
	root := w.root(0, size, leaves)
	if w.short || len(w.path) > 0 {
		return [32]byte{}, fmt.Errorf("%w: the path is not that of these events", ErrProof)
	}
	return root, nil
}

type setWalk struct {
	path  []hash
	short bool
}

func (w *setWalk) root(lo, hi uint64, leaves []Leaf) hash {
	switch {
	case w.short:
		return hash{}
	case len(leaves) == 0:
		if w.short = len(w.path) == 0; w.short {
			return hash{}
		}
		h := w.path[0]
		w.path = w.path[1:]
		return h
	case hi-lo == 1:
		return hash(leaves[0].Hash)
	}
	mid, left, right := halves(lo, hi, leaves)
	l := w.root(lo, mid, left)
	return joined(l, w.root(mid, hi, right))
}
