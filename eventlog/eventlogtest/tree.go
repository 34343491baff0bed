package eventlogtest

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
)

// Root returns the root of the RFC 6962 tree over leaves, by its definition.
func Root(leaves [][32]byte) [32]byte {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	l, r := Root(leaves[:k]), Root(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

// leaves returns the leaves of all events. The caller holds mu.
func (m *Memory) leaves() [][32]byte {
	leaves := make([][32]byte, len(m.events))
	for i, e := range m.events {
		leaves[i] = eventlog.Leaf(e)
	}
	return leaves
}

// TreeHead implements [eventlog.Tree].
func (m *Memory) TreeHead() (size uint64, root [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.events)), Root(m.leaves())
}

// Leaves implements [eventlog.Tree].
func (m *Memory) Leaves(after eventlog.Seq, n int) ([][32]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, eventlog.ErrClosed
	}
	if n < 0 || n > eventlog.MaxHashes {
		return nil, fmt.Errorf("%d leaves at once", n)
	}
	all := m.leaves()
	from := min(after, eventlog.Seq(len(all)))
	return all[from:min(from+eventlog.Seq(n), eventlog.Seq(len(all)))], nil
}

// Nodes implements [eventlog.Tree].
func (m *Memory) Nodes(level int, from uint64, n int) (nodes [][32]byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, eventlog.ErrClosed
	}
	if level != 8 && level != 16 || n < 0 || n > eventlog.MaxHashes {
		return nil, fmt.Errorf("%d nodes of level %d", n, level)
	}
	all := m.leaves()
	for i := from; i < from+uint64(n) && (i+1)<<level <= uint64(len(all)); i++ {
		nodes = append(nodes, Root(all[i<<level:(i+1)<<level]))
	}
	return nodes, nil
}

func testTree(t *testing.T, l eventlog.Log) {
	tree, ok := l.(eventlog.Tree)
	if !ok {
		t.Skip("the log does not offer its tree")
	}
	if size, root := tree.TreeHead(); size != 0 || root != Root(nil) {
		t.Errorf("head of the empty tree: %d, %x", size, root)
	}
	if leaves, err := tree.Leaves(0, 10); len(leaves) != 0 || err != nil {
		t.Errorf("leaves of the empty tree: %d, %v", len(leaves), err)
	}
	var want [][32]byte
	for n := range 27 {
		recs := make([]eventlog.Record, 1+n*3%40)
		for i := range recs {
			recs[i] = Rec(int64(n), fmt.Sprint(n, i))
		}
		recs[0].Payload = make([]byte, n*eventlog.BlobOver/20)
		run := RunNo(n%4 + 1)
		v, err := l.Version(run)
		if err != nil {
			t.Fatal(err)
		}
		first := mustAppend(t, l, run, v, recs...)
		events, err := l.ReadFrom(first-1, len(recs))
		if err != nil || len(events) != len(recs) {
			t.Fatal(len(events), err)
		}
		for _, e := range events {
			want = append(want, eventlog.Leaf(e))
		}
		if size, root := tree.TreeHead(); size != uint64(len(want)) || root != Root(want) {
			t.Fatalf("tree head at %d: %d, %x", len(want), size, root)
		}
	}
	if len(want) < 2*256+1 {
		t.Fatal("too few events for the test")
	}
	for _, c := range []struct{ after, n int }{{0, len(want)}, {0, 1}, {255, 2}, {300, 0}, {17, 256}, {len(want) - 1, 5}, {len(want), 5}, {len(want) + 9, 5}} {
		got, err := tree.Leaves(eventlog.Seq(c.after), c.n)
		if n := max(0, min(c.n, len(want)-c.after)); err != nil || len(got) != n || n > 0 && Root(got) != Root(want[c.after:c.after+n]) {
			t.Errorf("%d leaves after %d: %d, %v", c.n, c.after, len(got), err)
		}
	}
	for from := range 4 {
		got, err := tree.Nodes(8, uint64(from), 10)
		if n := max(0, len(want)/256-from); err != nil || len(got) != n || n > 0 && got[0] != Root(want[from*256:(from+1)*256]) {
			t.Errorf("nodes from %d: %d, %v", from, len(got), err)
		}
	}
	if got, err := tree.Nodes(16, 0, 10); len(got) != 0 || err != nil {
		t.Errorf("nodes of level 16: %d, %v", len(got), err)
	}
	if _, err := tree.Nodes(7, 0, 1); err == nil {
		t.Error("nodes of level 7 were given")
	}
	if _, err := tree.Leaves(0, eventlog.MaxHashes+1); err == nil {
		t.Error("more leaves than allowed were given")
	}
}
