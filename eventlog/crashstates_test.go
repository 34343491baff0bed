package eventlog_test

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/eventlogtest"
)

var states = flag.Int("states", 2000, "how many states of a disk after a power cut are made and looked at")

// A node is a file or a directory on the disk, and what was done to it in order. What
// was not synced when the power was cut may have happened in part: of the writes to a
// file any, each of them torn at 512 bytes; of the names in a directory the first ones.
type node struct {
	dir     bool
	changes []edit
	syncs   [][2]int // began, ended
}

// edit is a change of one node.
type edit struct {
	begin, end int
	data       []byte
	at         int64
	truncate   bool
	name       string // of a directory: in it
	child      *node  // that the name is from then on; nil: it is gone
	old        string // a name that goes with it, of a rename
}

// disk is what was recorded, by node.
type disk struct {
	root  *node
	nodes []*node
	acks  []struct {
		at int
		ack
	}
	points []int // moments worth a crash
}

// newDisk sorts what was recorded by file and directory.
func newDisk(t *testing.T, dir string, all []change) *disk {
	d := &disk{}
	named := map[string]*node{}
	position := map[*node]int64{} // where a file goes on that is written from its front
	add := func(path string, n *node) {
		named[path] = n
		d.nodes = append(d.nodes, n)
	}
	in := func(c *change, e edit) {
		parent := named[filepath.Dir(c.path)]
		if parent == nil {
			t.Fatalf("%s is in no known directory", c.path)
		}
		e.begin, e.end = c.begin, c.end
		parent.changes = append(parent.changes, e)
	}
	for i := range all {
		c := &all[i]
		n := named[c.path]
		d.points = append(d.points, c.begin)
		switch c.what {
		case acked:
			for _, a := range acksIn(string(c.data)) {
				d.acks = append(d.acks, struct {
					at int
					ack
				}{c.begin, a})
			}
		case madeDir:
			add(c.path, &node{dir: true})
			if c.path == dir {
				d.root = named[dir] // whoever begins a log has a place for it
			} else {
				in(c, edit{name: filepath.Base(c.path), child: named[c.path]})
			}
		case created:
			if n == nil {
				add(c.path, &node{})
				in(c, edit{name: filepath.Base(c.path), child: named[c.path]})
			}
		case renamed:
			if n == nil || filepath.Dir(c.path) != filepath.Dir(c.to) {
				t.Fatalf("a rename from %s to %s is not known here", c.path, c.to)
			}
			in(c, edit{name: filepath.Base(c.to), child: n, old: filepath.Base(c.path)})
			delete(named, c.path)
			named[c.to] = n
		case removed:
			in(c, edit{name: filepath.Base(c.path)})
			delete(named, c.path)
		case wrote, truncated:
			if n == nil {
				t.Fatalf("%s was not created", c.path)
			}
			if c.at < 0 {
				c.at = position[n]
				position[n] += int64(len(c.data))
			}
			n.changes = append(n.changes, edit{begin: c.begin, end: c.end, data: c.data, at: c.at, truncate: c.what == truncated})
		case synced:
			if n != nil { // or it is removed by now
				n.syncs = append(n.syncs, [2]int{c.begin, c.end})
			}
		}
	}
	for _, n := range d.nodes {
		slices.SortStableFunc(n.changes, func(a, b edit) int { return cmp.Compare(a.begin, b.begin) })
	}
	return d
}

// durable returns which of a node's changes up to a moment are on the disk for certain:
// those that had ended when a sync began that had ended by then.
func (n *node) durable(now int, lying bool) (done []edit, safe []bool) {
	synced := -1
	for _, s := range n.syncs {
		if s[1] <= now && !lying {
			synced = max(synced, s[0])
		}
	}
	for _, e := range n.changes {
		if e.begin <= now {
			done, safe = append(done, e), append(safe, e.end < synced)
		}
	}
	return done, safe
}

// crash makes the disk as it may be when the power is cut at a moment, in dir. How much
// of what was not synced is there, eager says: 0 nothing, 1 all, else what rng says. The
// files are put together in content, which may have those of the state before: their space
// is used again. It returns what it chose, as a name; a state that was seen is not made again.
func (d *disk) crash(dir string, now int, eager float64, lying bool, rng *rand.Rand, content map[*node][]byte, seen map[string]bool) (chosen string, err error) {
	var choice bytes.Buffer
	fmt.Fprint(&choice, now, ":")
	names := map[*node]map[string]*node{}
	for i, n := range d.nodes {
		done, safe := n.durable(now, lying)
		if n.dir {
			names[n] = map[string]*node{}
			for j, e := range done {
				if !safe[j] && rng.Float64() >= eager {
					fmt.Fprintf(&choice, " %d<%d", i, j)
					break // and none of the later ones
				}
				delete(names[n], e.old)
				if e.child == nil {
					delete(names[n], e.name)
				} else {
					names[n][e.name] = e.child
				}
			}
			continue
		}
		b := content[n][:0]
		for j, e := range done {
			from, to := int64(0), int64(len(e.data))
			if !safe[j] && rng.Float64() >= eager {
				fmt.Fprintf(&choice, " %d-%d", i, j)
				if to < 1024 || rng.IntN(3) > 0 {
					continue // dropped
				}
				cut := 512 * (1 + rng.Int64N(to/512-1+to%512/511)) // torn
				if from = cut; rng.IntN(2) == 0 {
					from, to = 0, cut
				}
				fmt.Fprintf(&choice, "(%d,%d)", from, to)
			}
			if e.truncate {
				b = resize(b, e.at)
				continue
			}
			b = resize(b, max(int64(len(b)), e.at+to))
			copy(b[e.at+from:], e.data[from:to])
		}
		content[n] = b
	}
	if seen[choice.String()] {
		return choice.String(), nil
	}
	return choice.String(), build(dir, d.root, names, content)
}

// resize returns b with a length of n, what is new of it zero.
func resize(b []byte, n int64) []byte {
	had := len(b)
	if n <= int64(had) {
		return b[:n]
	}
	b = slices.Grow(b, int(n)-had)[:n]
	clear(b[had:])
	return b
}

// build makes a directory with what is in it.
func build(dir string, n *node, names map[*node]map[string]*node, content map[*node][]byte) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(names[n])) {
		child, path := names[n][name], filepath.Join(dir, name)
		var err error
		if child.dir {
			err = build(path, child, names, content)
		} else {
			err = writeSparse(path, content[child])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeSparse writes a file without its pages of zeros.
func writeSparse(path string, b []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(len(b))); err != nil {
		return err
	}
	var zeros [4096]byte
	from := 0 // where the pages begin that are not yet written
	for at := 0; at < len(b); at += len(zeros) {
		page := b[at:min(at+len(zeros), len(b))]
		if !bytes.Equal(page, zeros[:len(page)]) {
			continue
		}
		if err := writeAt(f, b[from:at], from); err != nil {
			return err
		}
		from = at + len(page)
	}
	return writeAt(f, b[from:], from)
}

func writeAt(f *os.File, b []byte, at int) error {
	if len(b) == 0 {
		return nil
	}
	_, err := f.WriteAt(b, int64(at))
	return err
}

// look opens what a crash left, and returns what is wrong with it.
func (d *disk) look(dir string, now int, deep bool) error {
	l, err := openLog(dir, eventlog.Options{SegmentSize: tiny})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	events, err := eventlogtest.All(l, 1000)
	if err != nil {
		l.Close()
		return fmt.Errorf("read: %w", err)
	}
	if err := l.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	var acks []ack
	for _, a := range d.acks {
		if a.at <= now {
			acks = append(acks, a.ack)
		}
	}
	if err := missing(events, acks); err != nil {
		return err
	}
	if deep {
		rep, err := checkLog(dir, eventlog.CheckOptions{})
		if err == nil {
			err = rep.Err()
		}
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	return nil
}

// onMemory is a directory on a file system without a disk, if there is one: what is
// looked at is made up, and need not be written anywhere.
func onMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "wfd-crash-states")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// What a power cut may leave, in every order and part that the syncs allow: writes that
// came out of order, not at all or torn, and names without files. Whatever it is, the
// log opens, is whole, and has what was acknowledged. On a disk that says it syncs and
// does not, the same test finds losses.
func TestCrashStates(t *testing.T) {
	processes(t)
	seed := cmp.Or(*seed, rand.Uint64())
	t.Logf("seed %d (-seed=%d -states=%d repeats it)", seed, seed, *states)
	dir := filepath.Join(t.TempDir(), "data")
	d := newDisk(t, dir, record(t, dir))
	if d.root == nil || len(d.acks) < 36 {
		t.Fatalf("%d acknowledgements were recorded", len(d.acks))
	}
	const workers = 2
	try := func(worker, n int, lying bool) (distinct int, err error) {
		rng := rand.New(rand.NewPCG(seed, uint64(worker)))
		root := onMemory(t)
		seen := map[string]bool{}
		content := map[*node][]byte{}
		for i := 0; len(seen) < n && i < 20*n; i++ {
			// In turn everywhere, and everywhere with none, all and some of what may be missing.
			now := d.points[(i*workers+worker)%len(d.points)]
			eager := []float64{0, 1, 0.5, 0.9, rng.Float64()}[i%5]
			at := filepath.Join(root, fmt.Sprint("state", i))
			chosen, err := d.crash(at, now, eager, lying, rng, content, seen)
			if err != nil {
				return len(seen), err
			}
			if !seen[chosen] {
				seen[chosen] = true
				if err := d.look(at, now, i%16 == 0); err != nil {
					return len(seen), fmt.Errorf("state %d, %s: %w", i, chosen, err)
				}
			}
			if err := os.RemoveAll(at); err != nil {
				return len(seen), err
			}
		}
		return len(seen), nil
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := 0
	for w := range workers {
		wg.Go(func() {
			n, err := try(w, *states/workers, false)
			mu.Lock()
			defer mu.Unlock()
			all += n
			if err != nil {
				t.Errorf("worker %d: %v", w, err)
			}
		})
	}
	wg.Wait()
	if all < *states/2 {
		t.Errorf("only %d different states", all)
	}
	t.Logf("%d different states of %d changes, %d acknowledgements", all, len(d.points), len(d.acks))
	if n, err := try(workers, 500, true); err == nil {
		t.Errorf("%d states of a disk that lies about its syncs, and nothing is missing", n)
	}
}
