package audit_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
)

func leavesOf(t *testing.T, w *world) []audit.Leaf {
	t.Helper()
	var all []audit.Leaf
	for after := eventlog.Seq(0); ; {
		page, err := w.db.ReadFrom(after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all
		}
		for _, e := range page {
			all, after = append(all, audit.Leaf{Seq: e.Seq, Hash: eventlog.Leaf(e)}), e.Seq
		}
	}
}

// Any events of a log are proven together, by whoever has the public key; and no
// others, nor at another place.
func TestProveSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, size := range []int{1, 2, 3, 8, 255, 256, 257, 700, 1100} {
		for int(w.db.Head()) < size {
			w.fill(1)
		}
		if size == 700 {
			if _, err := w.a.Rotate(nil); err != nil {
				t.Fatal(err)
			}
		}
		all := leavesOf(t, w)
		keys := w.keys()
		sets := [][]audit.Leaf{all, all[:1], all[len(all)-1:], all[len(all)/2:]}
		for range 12 {
			var some []audit.Leaf
			for _, l := range all {
				if rand.IntN(1+rand.IntN(size)) == 0 {
					some = append(some, l)
				}
			}
			sets = append(sets, some)
		}
		for _, set := range sets {
			if len(set) == 0 {
				continue
			}
			p, err := w.a.ProveSet(set)
			if err != nil {
				t.Fatal(err)
			}
			c, err := audit.CheckSet(set, p, keys)
			if err != nil || c.Size != uint64(len(all)) {
				t.Fatalf("%d of %d events: %+v, %v", len(set), len(all), c, err)
			}
			if len(set) == len(all) && len(p.Path) > 0 || len(p.Path) > len(set)*12 {
				t.Errorf("%d hashes for %d of %d events", len(p.Path), len(set), len(all))
			}
			wrong := func(what string, set []audit.Leaf) {
				t.Helper()
				if _, err := audit.CheckSet(set, p, keys); err == nil {
					t.Errorf("%d of %d events, %s: they are proven", len(set), len(all), what)
				}
			}
			i := rand.IntN(len(set))
			other := slices.Clone(set)
			other[i].Hash[3] ^= 1
			wrong("one changed", other)
			wrong("one missing", slices.Delete(slices.Clone(set), i, i+1))
			other = slices.Clone(set)
			other[i].Seq += eventlog.Seq(len(all))
			wrong("one elsewhere", other)
			wrong("one more", append(slices.Clone(set), audit.Leaf{Seq: set[len(set)-1].Seq + 1}))
			wrong("one twice", append(slices.Clone(set), set[len(set)-1]))
			if len(set) > 1 {
				other = slices.Clone(set)
				other[0].Hash, other[1].Hash = other[1].Hash, other[0].Hash
				wrong("two swapped", other)
				other = slices.Clone(set)
				slices.Reverse(other)
				wrong("the other way round", other)
			}
			for range 3 {
				changed := *p
				changed.Path = slices.Clone(p.Path)
				switch n := len(changed.Path); rand.IntN(3) {
				case 0:
					changed.Path = append(changed.Path, [32]byte{})
				case 1:
					if n == 0 {
						continue
					}
					changed.Path = changed.Path[:n-1]
				default:
					if n == 0 {
						continue
					}
					changed.Path[rand.IntN(n)][0] ^= 1
				}
				if _, err := audit.CheckSet(set, &changed, keys); err == nil {
					t.Error("another path proves them, too")
				}
			}
		}
	}
	p, err := w.a.ProveSet(leavesOf(t, w)[:3])
	if err != nil {
		t.Fatal(err)
	}
	other := newWorld(t)
	if _, err := audit.CheckSet(leavesOf(t, w)[:3], p, other.keys()); err == nil {
		t.Error("another log's key proves them")
	}
	var again audit.SetProof
	b, err := json.Marshal(p)
	if err == nil {
		err = json.Unmarshal(b, &again)
	}
	if _, cerr := audit.CheckSet(leavesOf(t, w)[:3], &again, w.keys()); err != nil || cerr != nil {
		t.Error(err, cerr)
	}
	// What is not in the log is not proven.
	bad := leavesOf(t, w)[:3]
	bad[1].Hash[0] ^= 1
	if _, err := w.a.ProveSet(bad); has([]*audit.Problem{asProblem(err)}, audit.ErrRewritten) == nil {
		t.Errorf("events that are not in the log: %v", err)
	}
	for _, none := range [][]audit.Leaf{nil, {{Seq: 0}}, {{Seq: 5000}}, {{Seq: 2}, {Seq: 1}}} {
		if _, err := w.a.ProveSet(none); err == nil {
			t.Errorf("%v are proven", none)
		}
	}
}
