package machine

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A program is a random structured workflow together with what it must do: the
// slow twin interprets the blocks one after the other and counts visits, knowing
// nothing of tokens.
type program struct {
	rng   *rand.Rand
	nodes []string // lines of YAML
	edges []string
	next  int
	turns map[string]int // by deciding node: how many ways, or turns, it has
	loops map[string]bool
	keys  []string // nodes that append to state.seen
	wide  bool     // more kinds than actions
	joins int      // where forks meet: 0 at any node, 1 at a converge, 2 at an action
	loose bool     // how often nodes fire depends on who is first
	fails map[string]bool
}

// block is a piece of workflow with one way in and one way out.
type block interface {
	// emit writes nodes and edges and returns first and last node.
	emit(p *program) (first, last string)
	// walk counts the visits that running the block makes.
	walk(p *program, visits map[string]int)
}

func (p *program) id(prefix string) string {
	p.next++
	return fmt.Sprintf("%s%d", prefix, p.next)
}

func (p *program) node(id, spec string) {
	p.nodes = append(p.nodes, fmt.Sprintf("  %s: {%s}", id, spec))
}

func (p *program) edge(from, to, cond string) {
	if cond == "" {
		p.edges = append(p.edges, fmt.Sprintf("  - {from: %s, to: %s}", from, to))
		return
	}
	p.edges = append(p.edges, fmt.Sprintf("  - {from: %s, to: %s, if: %q}", from, to, cond))
}

const execSpec = "exec: {command: [x]}"

type action struct{ id string }

// specs are what an action may be in a wide program.
var specs = []string{
	"human: {prompt: x}, timeout: 1h",
	"wait: 5s",
	"wait: {signal: go}",
	"workflow: child",
	"foreach: {items: [1, 2, 3], max_parallel: 2, do: {exec: [x]}}",
	"foreach: {items: [1, 2], workflow: child}",
	"chat: {participants: [p, q], rounds: 2}, timeout: 1h",
	"plan: {goal: x, max_parallel: 2}",
}

func (a *action) emit(p *program) (string, string) {
	a.id = p.id("a")
	spec := execSpec
	if p.wide && p.rng.IntN(2) == 0 {
		spec = specs[p.rng.IntN(len(specs))]
	}
	if p.rng.IntN(3) == 0 {
		spec += fmt.Sprintf(", set: {seen: \"${['%s']}\", last: \"%s\"}", a.id, a.id)
		p.keys = append(p.keys, a.id)
	}
	p.node(a.id, spec)
	return a.id, a.id
}

func (a *action) walk(_ *program, n map[string]int) { n[a.id]++ }

type sequence struct{ parts []block }

func (s *sequence) emit(p *program) (first, last string) {
	for i, b := range s.parts {
		f, l := b.emit(p)
		if i == 0 {
			first = f
		} else {
			p.edge(last, f, "")
		}
		last = l
	}
	return first, last
}

func (s *sequence) walk(p *program, n map[string]int) {
	for _, b := range s.parts {
		b.walk(p, n)
	}
}

type fork struct {
	id, join string
	parts    []block
}

func (f *fork) emit(p *program) (string, string) {
	f.id, f.join = p.id("f"), p.id("j")
	if p.rng.IntN(2) == 0 {
		p.node(f.id, "parallel: {}")
	} else {
		p.node(f.id, execSpec)
	}
	for _, b := range f.parts {
		first, last := b.emit(p)
		p.edge(f.id, first, "")
		p.edge(last, f.join, "")
	}
	if p.joins == 1 || p.joins == 0 && p.rng.IntN(2) == 0 {
		p.node(f.join, "converge: {}")
	} else {
		p.node(f.join, execSpec)
	}
	return f.id, f.join
}

func (f *fork) walk(p *program, n map[string]int) {
	n[f.id]++
	for _, b := range f.parts {
		b.walk(p, n)
	}
	n[f.join]++
}

// race joins with the first branch, or with some.
type race struct{ fork }

func (r *race) emit(p *program) (string, string) {
	r.id, r.join, p.loose = p.id("f"), p.id("j"), true
	p.node(r.id, "parallel: {}")
	for _, b := range r.parts {
		first, last := b.emit(p)
		p.edge(r.id, first, "")
		p.edge(last, r.join, "")
	}
	join := []string{"join: any", "join: {quorum: 2}", "on_failure: fail_fast", "join: any, on_failure: continue"}
	p.node(r.join, "converge: {}, "+join[p.rng.IntN(len(join))])
	return r.id, r.join
}

// lenient is a fork of which one branch fails and is not missed.
type lenient struct {
	fork
	bad string
}

func (l *lenient) emit(p *program) (string, string) {
	first, last := l.fork.emit(p)
	l.bad = p.id("e")
	p.fails[l.bad] = true
	p.nodes = p.nodes[:len(p.nodes)-1] // the join
	p.node(l.bad, execSpec)
	p.node(last, "converge: {}, on_failure: continue")
	p.edge(first, l.bad, "")
	p.edge(l.bad, last, "")
	return first, last
}

// fallback is a node that fails, and what stands in for it.
type fallback struct {
	id, meet string
	other    block
}

func (f *fallback) emit(p *program) (string, string) {
	f.id, f.meet = p.id("e"), p.id("m")
	p.fails[f.id] = true
	first, last := f.other.emit(p)
	p.node(f.id, execSpec+", on_error: "+first)
	p.node(f.meet, execSpec)
	p.edge(f.id, f.meet, "")
	p.edge(last, f.meet, "")
	return f.id, f.meet
}

func (f *fallback) walk(p *program, n map[string]int) {
	f.other.walk(p, n)
	n[f.meet]++
}

type choice struct {
	id, meet string
	parts    []block
}

func (c *choice) emit(p *program) (string, string) {
	c.id, c.meet = p.id("c"), p.id("m")
	p.node(c.id, execSpec)
	p.node(c.meet, execSpec)
	p.turns[c.id] = len(c.parts)
	for i, b := range c.parts {
		first, last := b.emit(p)
		if i == len(c.parts)-1 {
			p.edges = append(p.edges, fmt.Sprintf("  - {from: %s, to: %s, default: true}", c.id, first))
		} else {
			p.edge(c.id, first, fmt.Sprintf("result.v == %d", i))
		}
		p.edge(last, c.meet, "")
	}
	return c.id, c.meet
}

func (c *choice) walk(p *program, n map[string]int) {
	n[c.id]++
	c.parts[p.value(c.id, n[c.id])].walk(p, n)
	n[c.meet]++
}

// loop runs body, then its test, and again while the test says so; with repair
// the way back leads through another block.
type loop struct {
	head, test, out string
	body, repair    block
}

func (l *loop) emit(p *program) (string, string) {
	l.head, l.test = p.id("h"), p.id("t")
	p.node(l.head, execSpec)
	p.node(l.test, execSpec)
	p.turns[l.test], p.loops[l.test] = 2+p.rng.IntN(2), true
	first, last := l.body.emit(p)
	p.edge(l.head, first, "")
	p.edge(last, l.test, "")
	back := l.head
	if l.repair != nil {
		rf, rl := l.repair.emit(p)
		p.edge(rl, l.head, "")
		back = rf
	}
	l.out = p.id("o")
	p.node(l.out, execSpec)
	p.edge(l.test, back, fmt.Sprintf("result.v < %d", p.turns[l.test]-1))
	p.edges = append(p.edges, fmt.Sprintf("  - {from: %s, to: %s, default: true}", l.test, l.out))
	return l.head, l.out
}

func (l *loop) walk(p *program, n map[string]int) {
	for {
		n[l.head]++
		l.body.walk(p, n)
		n[l.test]++
		if p.value(l.test, n[l.test]) >= p.turns[l.test]-1 {
			break
		}
		if l.repair != nil {
			l.repair.walk(p, n)
		}
	}
	n[l.out]++
}

// value is what a deciding node answers at a visit.
func (p *program) value(id string, visit int) int {
	if p.turns[id] == 0 {
		return 0
	}
	return (visit - 1) % p.turns[id]
}

func (p *program) block(depth int) block {
	if p.wide && depth > 0 {
		switch p.rng.IntN(8) {
		case 0:
			return &fallback{other: p.block(depth - 1)}
		case 1:
			if p.joins == 0 {
				return &lenient{fork: fork{parts: p.blocks(depth-1, 2)}}
			}
		case 2:
			if p.joins == 0 {
				return &race{fork{parts: p.blocks(depth-1, 3)}}
			}
		}
	}
	switch k := p.rng.IntN(10); {
	case depth == 0 || k < 3:
		return &action{}
	case k < 5:
		return &sequence{p.blocks(depth-1, 2)}
	case k < 7:
		return &fork{parts: p.blocks(depth-1, 2+p.rng.IntN(2))}
	case k < 8:
		return &choice{parts: p.blocks(depth-1, 2+p.rng.IntN(2))}
	default:
		l := &loop{body: p.block(depth - 1)}
		if p.rng.IntN(2) == 0 {
			l.repair = p.block(depth - 1)
		}
		return l
	}
}

func (p *program) blocks(depth, n int) []block {
	bs := make([]block, n)
	for i := range bs {
		bs[i] = p.block(depth)
	}
	return bs
}

// newProgram returns a random workflow as YAML, and how often each node must
// complete.
func newProgram(seed uint64, depth int) (p *program, source string, visits map[string]int) {
	return (&program{rng: rand.New(rand.NewPCG(seed, 1))}).build(depth)
}

func (p *program) build(depth int) (_ *program, source string, visits map[string]int) {
	p.turns, p.loops, p.fails = map[string]int{}, map[string]bool{}, map[string]bool{}
	b := &sequence{[]block{&action{}, p.block(depth), p.block(depth)}}
	b.emit(p)
	visits = map[string]int{}
	b.walk(p, visits)
	source = "name: random\nstate:\n  seen: {type: array, reduce: append}\n  last: {type: string}\nnodes:\n" +
		strings.Join(p.nodes, "\n") + "\nedges:\n" + strings.Join(p.edges, "\n") + "\n"
	return p, source, visits
}
