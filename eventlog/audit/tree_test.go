package audit_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
	"golang.org/x/mod/sumdb/tlog"
)

// counting counts what is read of a tree.
type counting struct {
	eventlog.Tree
	leaves, nodes int
}

func (c *counting) Leaves(after eventlog.Seq, n int) ([][32]byte, error) {
	h, err := c.Tree.Leaves(after, n)
	c.leaves += len(h)
	return h, err
}

func (c *counting) Nodes(level int, from uint64, n int) ([][32]byte, error) {
	h, err := c.Tree.Nodes(level, from, n)
	c.nodes += len(h)
	return h, err
}

// The hashes that tlog stores are those that the log serves, and roots and
// proofs at many sizes are tlog's, with the log open, in segments, and reopened.
func TestHashReaderAgainstTlog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var stored []tlog.Hash
	twin := tlog.HashReaderFunc(func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			out[i] = stored[x]
		}
		return out, nil
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for size := int64(0); size < 1500; {
		n := 1 + rng.IntN(120)
		w.fill(n)
		leaves, err := w.db.Leaves(eventlog.Seq(size), n)
		if err != nil || len(leaves) != n {
			t.Fatal(len(leaves), err)
		}
		for _, h := range leaves {
			hs, err := tlog.StoredHashesForRecordHash(size, h, twin)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, hs...)
			size++
		}
		if rng.IntN(4) == 0 {
			w.reopen()
		}
		some := make([]int64, 0, 100)
		for range cap(some) {
			some = append(some, rng.Int64N(int64(len(stored))))
		}
		r := audit.HashReader(w.db)
		got, err := r.ReadHashes(some)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range got {
			if h != stored[some[i]] {
				level, n := tlog.SplitStoredHashIndex(some[i])
				t.Fatalf("at size %d node %d of level %d differs", size, n, level)
			}
		}
		for range 10 {
			at := 1 + rng.Int64N(size)
			root, err := tlog.TreeHash(at, r)
			if want, _ := tlog.TreeHash(at, twin); err != nil || root != want {
				t.Fatalf("root at %d: %v", at, err)
			}
			i := rng.Int64N(at)
			p, err := tlog.ProveRecord(at, i, r)
			if err != nil || tlog.CheckRecord(p, at, root, i, stored[tlog.StoredHashIndex(0, i)]) != nil {
				t.Fatalf("record %d at %d: %v", i, at, err)
			}
			old := 1 + rng.Int64N(at)
			oldRoot, _ := tlog.TreeHash(old, twin)
			q, err := tlog.ProveTree(at, old, r)
			if err != nil || tlog.CheckTree(q, at, root, old, oldRoot) != nil {
				t.Fatalf("tree of %d in %d: %v", old, at, err)
			}
		}
		if _, err := r.ReadHashes([]int64{tlog.StoredHashIndex(0, size)}); err == nil {
			t.Fatal("a leaf past the head was served")
		}
	}
	if s := w.db.Stats(); s.Segments < 5 {
		t.Errorf("only %d segments", s.Segments)
	}
}

// deep is a large tree. Its hashes are made up as they are asked for, and true
// above one leaf and at the right edge, which is what a proof of that leaf needs.
type deep struct{ size, leafAt uint64 }

func (d deep) leaf(i uint64) [32]byte {
	return [32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24), 1}
}

func (d deep) TreeHead() (uint64, [32]byte) { return d.size, [32]byte{} }

func (d deep) Leaves(after eventlog.Seq, n int) (out [][32]byte, err error) {
	for i := uint64(after); i < min(uint64(after)+uint64(n), d.size); i++ {
		out = append(out, d.leaf(i))
	}
	return out, nil
}

func (d deep) Nodes(level int, from uint64, n int) (out [][32]byte, err error) {
	for i := from; i < min(from+uint64(n), d.size>>level); i++ {
		h := [32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(level)}
		if d.leafAt>>level == i {
			below, _ := d.Leaves(eventlog.Seq(i<<8), 256)
			if level == 16 {
				below, _ = d.Nodes(8, i<<8, 256)
			}
			h = eventlogtest.Root(below)
		}
		out = append(out, h)
	}
	return out, nil
}

// A proof in a log of ten million events reads two blocks of each kind, and no more.
func TestProofReadsLittle(t *testing.T) {
	t.Parallel()
	const size, at = 10_000_000, 5_123_456
	c := &counting{Tree: deep{size, at}}
	r := audit.HashReader(c)
	p, err := tlog.ProveRecord(size, at, r)
	if err != nil || len(p) < 20 {
		t.Fatal(len(p), err)
	}
	if c.leaves > 2*256 || c.nodes > 2*256+256 {
		t.Errorf("%d leaves and %d nodes were read", c.leaves, c.nodes)
	}
	root, err := tlog.TreeHash(size, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckRecord(p, size, root, at, deep{}.leaf(at)); err != nil {
		t.Error(err)
	}
}

// Proofs are made while the log grows and rotates.
func TestProveWhileAppending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(300)
	keys := w.keys()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			w.fill(20)
		}
	}()
	for i := 0; ; i++ {
		head := w.db.Head()
		doc, err := w.a.Prove(1+eventlog.Seq(i*37)%head, i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.CheckProof(doc, keys); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 {
			if _, _, err := w.a.Sign(); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-done:
			w.close()
			want(t, verify(t, w.dir, audit.VerifyOptions{Keys: []*audit.Keys{keys}}))
			return
		case <-time.After(time.Millisecond):
		}
	}
}
