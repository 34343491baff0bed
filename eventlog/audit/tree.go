package audit

import (
	"fmt"
	"math/bits"

	"github.com/wfd-dev/wfd/eventlog"
	"golang.org/x/mod/sumdb/tlog"
)

// This file is the only one that knows golang.org/x/mod/sumdb/tlog. Sizes are
// tlog's int64 at its border and uint64 everywhere else; [parseCheckpoint] lets
// no size in that does not fit.

// Levels of the nodes that the log stores, and how many nodes of one of them
// (or leaves) lie under a node of the next. They are part of the log's format.
const (
	lowLevel  = 8
	highLevel = 16
	fanout    = 256
)

// HashReader serves the hashes of a log's tree to package tlog: stored nodes
// as they are, the others computed from at most 256 leaves or stored nodes
// each. Nothing is kept between calls.
func HashReader(t eventlog.Tree) tlog.HashReader { return hashReader{t} }

type hashReader struct{ tree eventlog.Tree }

// ReadHashes implements [tlog.HashReader].
func (r hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	// The hashes of one proof come from few blocks: each is read once.
	c := hashCache{tree: r.tree, blocks: make(map[blockID][][32]byte)}
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		level, n := tlog.SplitStoredHashIndex(x)
		h, err := c.node(level, uint64(n))
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// blockID names fanout hashes of one level that lie next to each other.
type blockID struct {
	level int
	index uint64
}

type hashCache struct {
	tree   eventlog.Tree
	blocks map[blockID][][32]byte
}

// node returns the hash of node n of level.
func (c *hashCache) node(level int, n uint64) (tlog.Hash, error) {
	base := 0
	for _, l := range []int{lowLevel, highLevel} {
		if level >= l {
			base = l
		}
	}
	first, count := n<<(level-base), uint64(1)<<(level-base)
	hashes := make([]tlog.Hash, 0, count)
	for i := first; i < first+count; {
		b, err := c.block(blockID{base, i / fanout})
		if err != nil {
			return tlog.Hash{}, err
		}
		from, to := i%fanout, min(i%fanout+first+count-i, fanout)
		if to > uint64(len(b)) {
			return tlog.Hash{}, fmt.Errorf("node %d of level %d is not complete yet", n, level)
		}
		for _, h := range b[from:to] {
			hashes = append(hashes, h)
		}
		i += to - from
	}
	for ; len(hashes) > 1; hashes = hashes[:len(hashes)/2] {
		for i := range len(hashes) / 2 {
			hashes[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0], nil
}

func (c *hashCache) block(id blockID) (b [][32]byte, err error) {
	if b, ok := c.blocks[id]; ok {
		return b, nil
	}
	if id.level == 0 {
		b, err = c.tree.Leaves(eventlog.Seq(id.index*fanout), fanout)
	} else {
		b, err = c.tree.Nodes(id.level, id.index*fanout, fanout)
	}
	c.blocks[id] = b
	return b, err
}

// proveRecord returns the path from leaf index to the root of the tree of size.
func proveRecord(t eventlog.Tree, size, index uint64) ([]hash, error) {
	p, err := tlog.ProveRecord(int64(size), int64(index), HashReader(t))
	return fromTlog(p), err
}

func checkRecord(path []hash, size uint64, root [32]byte, index uint64, leaf [32]byte) error {
	if err := tlog.CheckRecord(toTlog(path), int64(size), root, int64(index), leaf); err != nil {
		return fmt.Errorf("%w: the path does not lead from the event to the checkpoint", ErrProof)
	}
	return nil
}

// rootAt returns the root of the tree of size.
func rootAt(t eventlog.Tree, size uint64) ([32]byte, error) {
	h, err := tlog.TreeHash(int64(size), HashReader(t))
	return h, err
}

// proveTree returns the proof that the tree of size begins with that of old.
func proveTree(t eventlog.Tree, size, old uint64) ([]hash, error) {
	if old == 0 || old == size {
		return []hash{}, nil
	}
	p, err := tlog.ProveTree(int64(size), int64(old), HashReader(t))
	return fromTlog(p), err
}

func checkTree(path []hash, size uint64, root [32]byte, old uint64, oldRoot [32]byte) error {
	var err error
	switch {
	case old > size:
		err = fmt.Errorf("size %d comes after %d", old, size)
	case old == 0:
		if len(path) != 0 || oldRoot != new(edge).root() {
			err = fmt.Errorf("not the empty tree")
		}
	default:
		err = tlog.CheckTree(toTlog(path), int64(size), root, int64(old), oldRoot)
	}
	if err != nil {
		return fmt.Errorf("%w: the tree of %d events is not the beginning of the tree of %d", ErrProof, old, size)
	}
	return nil
}

// joined returns the node over two.
func joined(left, right hash) hash { return hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right))) }

func fromTlog(p []tlog.Hash) []hash {
	out := make([]hash, len(p))
	for i, h := range p {
		out[i] = hash(h)
	}
	return out
}

func toTlog(p []hash) []tlog.Hash {
	out := make([]tlog.Hash, len(p))
	for i, h := range p {
		out[i] = tlog.Hash(h)
	}
	return out
}

// edge is the right edge of a tree: the roots of the complete subtrees that
// make up its size leaves, from the largest to the smallest, one for each bit
// set in size. It is what it takes to go on from there.
type edge struct {
	size  uint64
	nodes []hash
}

// edgeAt reads the edge of the tree when it had size leaves.
func edgeAt(t eventlog.Tree, size uint64) (edge, error) {
	e := edge{size: size}
	c := hashCache{tree: t, blocks: make(map[blockID][][32]byte)}
	for l := bits.Len64(size) - 1; l >= 0; l-- {
		if size>>l&1 == 1 {
			h, err := c.node(l, size>>l-1)
			if err != nil {
				return edge{}, err
			}
			e.nodes = append(e.nodes, hash(h))
		}
	}
	return e, nil
}

// sound reports whether e has the nodes that its size asks for.
func (e *edge) sound() bool { return len(e.nodes) == bits.OnesCount64(e.size) }

// add appends a leaf. Every stored node that it completes is handed to done,
// if that is not nil.
func (e *edge) add(leaf [32]byte, done func(level int, h [32]byte)) {
	h := tlog.Hash(leaf)
	for l := 0; e.size>>l&1 == 1; l++ {
		last := len(e.nodes) - 1
		h = tlog.NodeHash(tlog.Hash(e.nodes[last]), h)
		e.nodes = e.nodes[:last]
		if done != nil && (l+1 == lowLevel || l+1 == highLevel) {
			done(l+1, h)
		}
	}
	e.nodes = append(e.nodes, hash(h))
	e.size++
}

// root returns the root of the tree.
func (e *edge) root() [32]byte {
	if len(e.nodes) == 0 {
		h, _ := tlog.TreeHash(0, nil) // of the empty tree: reads nothing
		return h
	}
	h := tlog.Hash(e.nodes[len(e.nodes)-1])
	for i := len(e.nodes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(tlog.Hash(e.nodes[i]), h)
	}
	return h
}
