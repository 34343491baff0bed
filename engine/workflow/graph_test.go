package workflow

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// structured grows a random graph of sequences, choices, parallel regions and
// loops, whose loops and their heads are known from how it was built.
type structured struct {
	t        *rapid.T
	edges    [][2]int
	converge map[int]bool
	loops    map[int][]int // head → nodes
	n        int
}

func (s *structured) node() int { s.n++; return s.n - 1 }

func (s *structured) link(from, to int) { s.edges = append(s.edges, [2]int{from, to}) }

// block adds a piece with one way in and one way out and returns both.
func (s *structured) block(depth int) (in, out int) {
	kind := 0
	if depth > 0 && s.n < 60 {
		kind = rapid.IntRange(0, 4).Draw(s.t, "kind")
	}
	switch kind {
	case 1: // sequence
		in, mid := s.block(depth - 1)
		next, out := s.block(depth - 1)
		s.link(mid, next)
		return in, out
	case 2, 3: // fork and join
		in, out := s.node(), -1
		var ends []int
		for range rapid.IntRange(2, 4).Draw(s.t, "branches") {
			a, b := s.block(depth - 1)
			s.link(in, a)
			ends = append(ends, b)
		}
		out = s.node()
		s.converge[out] = rapid.Bool().Draw(s.t, "converge")
		for _, e := range ends {
			s.link(e, out)
		}
		return in, out
	case 4: // loop with a repair step
		first := s.n
		in, out := s.block(depth - 1)
		head, tail := s.node(), s.node()
		s.link(head, in)
		s.link(out, tail)
		fix := s.node()
		s.link(tail, fix)
		s.link(fix, head)
		for v := first; v < s.n; v++ {
			s.loops[head] = append(s.loops[head], v)
		}
		return head, tail
	}
	v := s.node()
	return v, v
}

func TestGraphOfStructuredDefinitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &structured{t: t, converge: map[int]bool{}, loops: map[int][]int{}}
		in, _ := s.block(rapid.IntRange(0, 5).Draw(t, "depth"))
		g := newGraph(s.n, s.edges, []int{in}, func(v int) bool { return s.converge[v] })
		if len(g.knots) > 0 {
			t.Fatalf("knots %v in a structured graph %v", g.knots, s.edges)
		}
		if len(g.loops) != len(s.loops) {
			t.Fatalf("%d loops, want %d: %v", len(g.loops), len(s.loops), s.edges)
		}
		for head, want := range s.loops {
			if got := g.loops[head]; got == nil || !slices.Equal(got.members(s.n), want) {
				t.Fatalf("loop of %d: %v, want %v", head, got, want)
			}
		}
		compareWithTwin(t, g, in)
	})
}

func TestGraphOfAnyShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		var edges [][2]int
		for range rapid.IntRange(0, 24).Draw(t, "m") {
			edges = append(edges, [2]int{rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to")})
		}
		g := newGraph(n, edges, []int{0}, func(v int) bool { return v%3 == 1 })
		compareWithTwin(t, g, 0)
		// Reducible if and only if the forward edges among what is reachable have no cycle.
		slow := false
		for v := range n {
			if g.reachable.has(v) && slowReach(n, edges, v, v, func(e int) bool {
				return !slowDominates(n, edges, 0, edges[e][1], edges[e][0]) && g.reachable.has(edges[e][0])
			}) {
				slow = true
			}
		}
		knots := false
		for _, k := range g.knots {
			knots = knots || g.reachable.has(k[0])
		}
		if slow != knots {
			t.Fatalf("irreducible %v, want %v: %v", knots, slow, edges)
		}
	})
}

// compareWithTwin checks a graph against the definitions of its terms.
func compareWithTwin(t *rapid.T, g *graph, entry int) {
	dom := func(d, v int) bool { return slowDominates(g.n, g.edges, entry, d, v) }
	for i, e := range g.edges {
		if want := g.reachable.has(e[0]) && dom(e[1], e[0]); g.back[i] != want {
			t.Fatalf("edge %v: back %v, want %v in %v", e, g.back[i], want, g.edges)
		}
	}
	inLoop := func(head, v int) bool { // v reaches a back edge of head without passing head
		if v == head {
			return true
		}
		for i, e := range g.edges {
			if g.back[i] && e[1] == head && g.reachable.has(v) &&
				(v == e[0] || slowReach(g.n, g.edges, v, e[0], func(x int) bool { return g.edges[x][1] != head && g.edges[x][0] != head })) {
				return true
			}
		}
		return false
	}
	for from := range g.n {
		for to := range g.n {
			if from == to {
				continue
			}
			want := slowReach(g.n, g.edges, from, to, func(i int) bool { return !g.back[i] || !inLoop(g.edges[i][1], to) })
			if got := g.blocks(from, to); got != want {
				t.Fatalf("blocks(%d, %d) = %v, want %v in %v", from, to, got, want, g.edges)
			}
		}
		if got, want := g.convergeAfter[from], slowConverge(g, from); got != want && g.reachable.has(from) {
			t.Fatalf("converge after %d: %d, want %d in %v", from, got, want, g.edges)
		}
	}
}

// slowReach reports whether a path of at least one admitted edge leads from a to b.
func slowReach(n int, edges [][2]int, a, b int, admit func(edge int) bool) bool {
	seen := map[int]bool{}
	queue := []int{a}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		for i, e := range edges {
			if e[0] != v || !admit(i) {
				continue
			}
			if e[1] == b {
				return true
			}
			if !seen[e[1]] {
				seen[e[1]] = true
				queue = append(queue, e[1])
			}
		}
	}
	return false
}

// slowDominates: without d, no path leads from the entry to v.
func slowDominates(n int, edges [][2]int, entry, d, v int) bool {
	all := func(int) bool { return true }
	if v != entry && !slowReach(n, edges, entry, v, all) {
		return false
	}
	if d == v || d == entry {
		return true
	}
	return v != entry && !slowReach(n, edges, entry, v, func(i int) bool { return edges[i][0] != d && edges[i][1] != d })
}

// slowConverge: of the converges without which no exit can be reached, the one
// that no other stands before.
func slowConverge(g *graph, from int) int {
	exit := func(v int, without int) bool {
		if len(g.out[v]) == 0 {
			return true
		}
		for x := range g.n {
			if x != without && len(g.out[x]) == 0 && slowReach(g.n, g.edges, v, x, func(i int) bool { return g.edges[i][1] != without && g.edges[i][0] != without }) {
				return true
			}
		}
		return false
	}
	if !exit(from, -1) {
		return -1
	}
	var on []int
	for c := range g.n {
		if c != from && g.convergeKind(c) && !exit(from, c) {
			on = append(on, c)
		}
	}
	for _, c := range on {
		first := true
		for _, o := range on {
			if o != c && !slowReach(g.n, g.edges, from, o, func(i int) bool { return g.edges[i][1] != c && g.edges[i][0] != c }) {
				continue
			} else if o != c {
				first = false
			}
		}
		if first {
			return c
		}
	}
	return -1
}

func TestJoinRuleOnKnownShapes(t *testing.T) {
	w := compiled(t, `
name: shapes
nodes:
  in: {agent: x}
  a: {agent: x, needs: [in]}
  check: {decision: {}, needs: [a]}
  fix: {agent: x, max_visits: 3}
  b: {agent: x, needs: [in], on_error: mend}
  mend: {agent: x}
  join: {converge: {}, needs: [b, mend]}
  after: {agent: x, needs: [join]}
edges:
  - {from: check, to: fix, if: input.bad}
  - {from: check, to: join, default: true}
  - {from: fix, to: a}
`)
	blocks := func(from, to string) bool { return w.Blocks(w.Node(from).Index, w.Node(to).Index) }
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"fix", "join", true}, {"check", "join", true}, {"a", "join", true}, {"mend", "join", true}, {"b", "join", true}, {"after", "join", false},
		{"fix", "a", false},   // the loop's own back edge does not hold its head up
		{"check", "a", false}, // nor anything else inside the loop
		{"b", "a", false}, {"in", "a", true}, {"join", "join", false}, {"fix", "after", true}, {"a", "b", false},
	} {
		if got := blocks(c.from, c.to); got != c.want {
			t.Errorf("%s blocks %s: %v", c.from, c.to, got)
		}
	}
	for id, want := range map[string]string{"a": "join", "fix": "join", "in": "join", "b": "join", "join": "", "after": ""} {
		got := ""
		if i := w.ConvergeAfter(w.Node(id).Index); i >= 0 {
			got = w.Nodes[i].ID
		}
		if got != want {
			t.Errorf("converge after %s: %q, want %q", id, got, want)
		}
	}
	for _, e := range w.Edges {
		if want := w.Nodes[e.From].ID == "fix"; e.Back != want {
			t.Errorf("edge %s → %s: back %v", w.Nodes[e.From].ID, w.Nodes[e.To].ID, e.Back)
		}
	}
}

func TestLargeGraphsAreAnalysedQuickly(t *testing.T) {
	for _, shape := range []string{"chain", "fan", "ladder"} {
		text := "name: big\nnodes:\n"
		for i := range MaxNodes {
			text += fmt.Sprintf("  n%d: {agent: x", i)
			switch {
			case i == 0:
			case shape == "chain":
				text += fmt.Sprintf(", needs: [n%d]", i-1)
			case shape == "fan":
				text += ", needs: [n0]"
			default: // each of four after each of the four before
				text += ", needs: ["
				for j := range 4 {
					if k := (i-1)/4*4 - 3 + j; k >= 0 {
						text += fmt.Sprintf("n%d, ", k)
					}
				}
				text += "]"
			}
			text += "}\n"
		}
		var w *Workflow
		within(t, shape, func() {
			var problems Problems
			if w, problems = Load("big.yaml", []byte(text)); w == nil {
				t.Fatal(shape, len(problems), problems[0])
			}
		})
		within(t, shape+" blocks", func() {
			for i := range 100 {
				w.Blocks(0, i*19)
			}
		})
	}
}
