package workflow

import "sync/atomic"

// graph is what routing and joining need to know of a definition's shape. Nodes
// are numbers; a virtual root leads to every entry.
//
// A back edge is one whose target dominates its source. The loop of a head is
// the head and the nodes that reach one of its back edges without passing it.
// The graph is reducible if its other edges, the forward ones, form no cycle;
// only then is the join rule free of deadlocks.
type graph struct {
	n            int
	edges        [][2]int
	convergeKind func(int) bool
	out          [][]int // by node: edge numbers
	in           [][]int

	reachable     bitset // from the entries
	idom          []int  // immediate dominator; n = the root, -1 = unreachable
	back          []bool // by edge
	loops         map[int]bitset
	reach         []bitset                 // by node: what it reaches over forward edges, itself not counted
	knots         [][]int                  // groups of nodes that make the graph irreducible
	convergeAfter []int                    // by node
	blocking      []atomic.Pointer[bitset] // by node: who keeps it from starting, on demand
}

type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) add(i int)      { b[i/64] |= 1 << (i % 64) }

func (b bitset) union(o bitset) {
	for i := range b {
		b[i] |= o[i]
	}
}

func (b bitset) members(n int) []int {
	var m []int
	for i := range n {
		if b.has(i) {
			m = append(m, i)
		}
	}
	return m
}

// newGraph analyses the graph of n nodes. converge tells which of them join
// failures.
func newGraph(n int, edges [][2]int, entries []int, converge func(int) bool) *graph {
	g := &graph{n: n, edges: edges, convergeKind: converge, out: make([][]int, n), in: make([][]int, n), back: make([]bool, len(edges)), loops: map[int]bitset{}, blocking: make([]atomic.Pointer[bitset], n)}
	for i, e := range edges {
		g.out[e[0]] = append(g.out[e[0]], i)
		g.in[e[1]] = append(g.in[e[1]], i)
	}
	succ := func(v int) []int { return targets(g.out[v], g.edges, 1) }
	pred := func(v int) []int { return targets(g.in[v], g.edges, 0) }

	g.idom = dominators(n, entries, succ, pred)
	g.reachable = newBitset(n)
	for v, d := range g.idom {
		if d >= 0 {
			g.reachable.add(v)
		}
	}
	for i, e := range edges {
		if g.dominates(e[1], e[0]) {
			g.back[i] = true
			g.extendLoop(e[1], e[0])
		}
	}
	g.closeForward()

	var exits []int
	for v := range n {
		if len(g.out[v]) == 0 {
			exits = append(exits, v)
		}
	}
	after := dominators(n, exits, pred, succ)
	g.convergeAfter = make([]int, n)
	for v := range n {
		g.convergeAfter[v] = -1
		for d := after[v]; d >= 0 && d < n; d = after[d] {
			if converge(d) {
				g.convergeAfter[v] = d
				break
			}
		}
	}
	return g
}

func targets(ids []int, edges [][2]int, end int) []int {
	t := make([]int, len(ids))
	for i, e := range ids {
		t[i] = edges[e][end]
	}
	return t
}

// dominators returns the immediate dominator of each node (n for those directly
// below the virtual root, -1 for the unreachable), after Cooper, Harvey and
// Kennedy.
func dominators(n int, roots []int, succ, pred func(int) []int) []int {
	order := make([]int, 0, n+1) // postorder
	number := make([]int, n+1)
	for i := range number {
		number[i] = -1
	}
	type frame struct {
		v    int
		next []int
	}
	seen := newBitset(n)
	visit := func(root int) {
		if seen.has(root) {
			return
		}
		seen.add(root)
		stack := []frame{{root, succ(root)}}
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.next) == 0 {
				number[f.v] = len(order)
				order = append(order, f.v)
				stack = stack[:len(stack)-1]
				continue
			}
			w := f.next[0]
			f.next = f.next[1:]
			if !seen.has(w) {
				seen.add(w)
				stack = append(stack, frame{w, succ(w)})
			}
		}
	}
	isRoot := newBitset(n)
	for _, r := range roots {
		isRoot.add(r)
		visit(r)
	}
	number[n] = len(order)
	idom := make([]int, n+1)
	for i := range idom {
		idom[i] = -1
	}
	idom[n] = n
	intersect := func(a, b int) int {
		for a != b {
			for number[a] < number[b] {
				a = idom[a]
			}
			for number[b] < number[a] {
				b = idom[b]
			}
		}
		return a
	}
	for changed := true; changed; {
		changed = false
		for i := len(order) - 1; i >= 0; i-- {
			v, d := order[i], -1
			if isRoot.has(v) {
				d = n
			}
			for _, p := range pred(v) {
				switch {
				case idom[p] < 0:
				case d < 0:
					d = p
				default:
					d = intersect(p, d)
				}
			}
			if idom[v] != d {
				idom[v], changed = d, true
			}
		}
	}
	return idom[:n]
}

// dominates reports whether every path to v passes d.
func (g *graph) dominates(d, v int) bool {
	if !g.reachable.has(v) {
		return false
	}
	for v != d && v < g.n {
		v = g.idom[v]
	}
	return v == d
}

// extendLoop adds to the loop of head what reaches source without passing head.
func (g *graph) extendLoop(head, source int) {
	loop, ok := g.loops[head]
	if !ok {
		loop = newBitset(g.n)
		loop.add(head)
		g.loops[head] = loop
	}
	stack := []int{source}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if loop.has(v) || !g.reachable.has(v) {
			continue
		}
		loop.add(v)
		for _, e := range g.in[v] {
			stack = append(stack, g.edges[e][0])
		}
	}
}

// closeForward computes what each node reaches over forward edges, and the knots
// that remain if these are cyclic.
func (g *graph) closeForward() {
	g.reach = make([]bitset, g.n)
	left := make([]int, g.n) // forward edges not yet followed
	var ready []int
	for v := range g.n {
		g.reach[v] = newBitset(g.n)
		for _, e := range g.out[v] {
			if !g.back[e] {
				left[v]++
			}
		}
		if left[v] == 0 {
			ready = append(ready, v)
		}
	}
	done := newBitset(g.n)
	for len(ready) > 0 {
		v := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		done.add(v)
		for _, e := range g.in[v] {
			if g.back[e] {
				continue
			}
			u := g.edges[e][0]
			g.reach[u].union(g.reach[v])
			g.reach[u].add(v)
			if left[u]--; left[u] == 0 {
				ready = append(ready, u)
			}
		}
	}
	g.knots = g.cycles(func(v int) bool { return !done.has(v) })
}

// cycles returns the strongly connected groups of more than one node among those
// that in admits, over forward edges, each in node order.
func (g *graph) cycles(in func(int) bool) [][]int {
	index, low, onStack := make([]int, g.n), make([]int, g.n), newBitset(g.n)
	var stack []int
	var groups [][]int
	count := 0
	type frame struct{ v, next int }
	for root := range g.n {
		if !in(root) || index[root] != 0 {
			continue
		}
		frames := []frame{{root, 0}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if f.next == 0 {
				count++
				index[f.v], low[f.v] = count, count
				stack = append(stack, f.v)
				onStack.add(f.v)
			}
			if f.next < len(g.out[f.v]) {
				e := g.out[f.v][f.next]
				f.next++
				if w := g.edges[e][1]; !g.back[e] && in(w) {
					if index[w] == 0 {
						frames = append(frames, frame{w, 0})
					} else if onStack.has(w) {
						low[f.v] = min(low[f.v], index[w])
					}
				}
				continue
			}
			v := f.v
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				p := frames[len(frames)-1].v
				low[p] = min(low[p], low[v])
			}
			if low[v] != index[v] {
				continue
			}
			group := newBitset(g.n)
			size := 0
			for {
				w := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				onStack[w/64] &^= 1 << (w % 64)
				group.add(w)
				size++
				if w == v {
					break
				}
			}
			if size > 1 {
				groups = append(groups, group.members(g.n))
			}
		}
	}
	return groups
}

// blocks reports whether from can still reach to over forward edges, or over
// back edges of loops that do not contain to.
func (g *graph) blocks(from, to int) bool {
	row := g.blocking[to].Load()
	if row == nil {
		b := newBitset(g.n)
		stack := []int{to}
		for len(stack) > 0 {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for _, e := range g.in[v] {
				u := g.edges[e][0]
				if b.has(u) || g.back[e] && g.loops[g.edges[e][1]].has(to) {
					continue
				}
				b.add(u)
				stack = append(stack, u)
			}
		}
		row = &b
		g.blocking[to].Store(row)
	}
	return row.has(from)
}

// concurrent reports whether a and b may be live at once because a fork leads
// to each by a branch of its own. forks are the nodes that take all their edges.
func (g *graph) concurrent(a, b int, forks [][]int) bool {
	if a == b || g.reach[a].has(b) || g.reach[b].has(a) {
		return false
	}
	to := func(start, v int) bool { return start == v || g.reach[start].has(v) }
	for _, branches := range forks {
		onlyA, onlyB := false, false
		for _, s := range branches {
			ra, rb := to(s, a), to(s, b)
			onlyA = onlyA || ra && !rb
			onlyB = onlyB || rb && !ra
		}
		if onlyA && onlyB {
			return true
		}
	}
	return false
}
