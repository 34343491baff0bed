package eventlog

import (
	"encoding/binary"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The edge's root is the tree hash of golang.org/x/mod/sumdb/tlog at every
// size, and the nodes it reports are tlog's.
func TestEdgeAgainstTlog(t *testing.T) {
	const n = 70_000 // past the first node of level 16
	var e edge
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			out[i] = stored[x]
		}
		return out, nil
	})
	nodes := make(map[[2]uint64][32]byte)
	for i := range uint64(n) {
		data := binary.BigEndian.AppendUint64(nil, i)
		hs, err := tlog.StoredHashes(int64(i), data, read)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hs...)
		e.add(0, [32]byte(tlog.RecordHash(data)), func(level int, index uint64, h [32]byte) {
			if level == 8 || level == 16 {
				nodes[[2]uint64{uint64(level), index}] = h
			}
		})
		if i < 600 || i%1111 == 0 {
			want, err := tlog.TreeHash(int64(i+1), read)
			if err != nil || [32]byte(want) != e.root() {
				t.Fatalf("root at size %d differs, %v", i+1, err)
			}
			back, ok := parseEdge(e.appendTo(nil))
			if !ok || back != e {
				t.Fatalf("edge of size %d does not come back", i+1)
			}
		}
	}
	if len(nodes) != n/256+n/65536 {
		t.Errorf("%d nodes", len(nodes))
	}
	for k, h := range nodes {
		if want := stored[tlog.StoredHashIndex(int(k[0]), int64(k[1]))]; [32]byte(want) != h {
			t.Errorf("node %v differs", k)
		}
	}
	// An edge built from whole blocks is the same.
	var b edge
	for i := range uint64(n / 256) {
		b.add(8, nodes[[2]uint64{8, i}], nil)
	}
	want, _ := tlog.TreeHash(n/256*256, read)
	if b.root() != [32]byte(want) {
		t.Error("root from blocks differs")
	}
	if (&edge{}).root() != [32]byte{0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55} {
		t.Error("root of the empty tree")
	}
}
