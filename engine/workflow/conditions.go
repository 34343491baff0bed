package workflow

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// maxCases bounds how many combinations of values are tried for a node, maxWork
// how many pairs of conditions are compared in all.
const (
	maxCases = 4096
	maxWork  = 500_000
)

// checkConditions tries the conditions of each node on every combination of
// values that can make a difference: the literals they compare with, and a value
// between, below and above each two. For conditions made of comparisons with
// literals these decide whether two can be met at once and whether none is.
func (c *compiler) checkConditions() {
	for _, n := range c.w.Nodes {
		if n.Conditional() {
			c.checkCases(n)
		}
	}
}

func (c *compiler) checkCases(n *Node) {
	var conds []*Edge
	hasDefault := false
	literals := map[string][]any{}
	decidable := true
	for _, e := range n.Out {
		hasDefault = hasDefault || e.Default
		if e.If == nil {
			continue
		}
		conds = append(conds, e)
		if t := e.If.Text(); t == "true" && e != n.Out[len(n.Out)-1] {
			c.warn(CodeShadowed, c.paths[e.Index], n.ID, "this edge is always taken: those after it never are", "")
			return
		}
		atoms, ok := e.If.Atoms()
		decidable = decidable && ok
		for _, a := range atoms {
			if a.Other != "" {
				decidable = false
			}
			v := a.Value
			if a.Op == "" {
				v = true
			}
			literals[a.Ref] = append(literals[a.Ref], v)
		}
	}
	if !decidable {
		return
	}
	refs := sortedKeys(literals)
	values := make([][]any, len(refs))
	total := 1
	for i, r := range refs {
		values[i] = c.w.candidates(r, literals[r])
		if total *= len(values[i]); total > maxCases {
			return
		}
	}
	if c.work += total * len(conds) * len(conds); c.work > maxWork {
		return
	}
	met := make([][]int, 0, total) // by case: the conditions that are met
	for k := range total {
		var m []int
		vars := caseVars{}
		vars.fill(refs, values, k)
		for i, e := range conds {
			if e.If.Eval(vars).Met {
				m = append(m, i)
			}
		}
		met = append(met, m)
	}
	c.reportOverlaps(n, conds, met, refs, values)
	if hasDefault {
		return
	}
	for k, m := range met {
		if len(m) == 0 {
			c.onNode(Warning, CodeGap, n.ID, fmt.Sprintf("no edge of %s is taken if %s: the run would fail there", n.ID, describe(refs, values, k)), "make one edge the default")
			return
		}
	}
}

func (c *compiler) reportOverlaps(n *Node, conds []*Edge, met [][]int, refs []string, values [][]any) {
	type pair struct{ a, b int }
	both := map[pair]int{}            // the first case of both
	alone := make([]bool, len(conds)) // met before all others in some case
	ever := make([]bool, len(conds))  // met in some case
	outside := map[pair]bool{}        // b met without a
	within := map[pair]bool{}         // a met without b
	for k, m := range met {
		in := map[int]bool{}
		for _, i := range m {
			in[i], ever[i] = true, true
		}
		if len(m) > 0 {
			alone[m[0]] = true
		}
		for a := range conds {
			for b := a + 1; b < len(conds); b++ {
				p := pair{a, b}
				switch {
				case in[a] && in[b]:
					if _, ok := both[p]; !ok {
						both[p] = k
					}
				case in[b]:
					outside[p] = true
				case in[a]:
					within[p] = true
				}
			}
		}
	}
	for i, e := range conds {
		switch {
		case len(refs) == 0:
		case !ever[i]:
			c.warn(CodeShadowed, source.Join(c.paths[e.Index], "if"), n.ID, "this edge is never taken: no value meets its condition", "")
		case !alone[i]:
			c.warn(CodeShadowed, source.Join(c.paths[e.Index], "if"), n.ID, "this edge is never taken: where its condition is met, so is an earlier one", "the first condition that is met decides")
		}
	}
	for a := range conds {
		for b := a + 1; b < len(conds); b++ {
			p := pair{a, b}
			k, ok := both[p]
			switch {
			case !ok, !alone[b]: // apart, or never taken anyway
				continue
			case !outside[p], !within[p]: // the narrower case first: an else-if
				continue
			case !shareKey(conds[a], conds[b]): // about different things: the order is meant
				continue
			}
			c.warn(CodeOverlap, source.Join(c.paths[conds[b].Index], "if"), n.ID,
				fmt.Sprintf("if %s, both this condition and `%s` are met", describe(refs, values, k), conds[a].If.Text()),
				fmt.Sprintf("the first edge wins and leads to %s", c.w.Nodes[conds[a].To].ID))
		}
	}
}

func shareKey(a, b *Edge) bool {
	for _, r := range a.If.Refs() {
		if slices.Contains(b.If.Refs(), r) {
			return true
		}
	}
	return false
}

// candidates are the values of a reference that can make a difference.
func (w *Workflow) candidates(ref string, literals []any) []any {
	var numbers []float64
	var texts []string
	bools, others := false, []any{}
	for _, l := range literals {
		switch l := l.(type) {
		case bool:
			bools = true
		case int64:
			numbers = append(numbers, float64(l))
		case float64:
			numbers = append(numbers, l)
		case string:
			texts = append(texts, l)
		default:
			others = append(others, l)
		}
	}
	var vals []any
	if bools {
		vals = append(vals, true, false)
	}
	sort.Strings(texts)
	for i, t := range texts {
		if i == 0 || texts[i-1] != t {
			vals = append(vals, t)
		}
	}
	if len(texts) > 0 {
		vals = append(vals, otherText(texts))
	}
	if len(numbers) > 0 {
		whole := false
		if k := w.Key(strings.TrimPrefix(ref, "state.")); k != nil && k.Type == "integer" {
			whole = true
		}
		sort.Float64s(numbers)
		vals = append(vals, numbers[0]-1)
		for i, x := range numbers {
			if i > 0 {
				switch mid := (numbers[i-1] + x) / 2; {
				case x == numbers[i-1]:
					continue
				case !whole || math.Floor(mid) > numbers[i-1] && math.Floor(mid) < x:
					if whole {
						mid = math.Floor(mid)
					}
					vals = append(vals, mid)
				}
			}
			vals = append(vals, x)
		}
		vals = append(vals, numbers[len(numbers)-1]+1)
	}
	return append(vals, others...)
}

// otherText is a text that is none of texts.
func otherText(texts []string) string {
	s := "anything else"
	for _, t := range texts {
		if t == s {
			s += "!"
		}
	}
	return s
}

// caseVars are the variables of one case.
type caseVars map[string]any

func (v caseVars) Var(name string) (any, bool) {
	x, ok := v[name]
	return x, ok
}

func (v caseVars) fill(refs []string, values [][]any, k int) {
	for i, r := range refs {
		x := values[i][k%len(values[i])]
		k /= len(values[i])
		steps := strings.Split(r, ".")
		m := map[string]any(v)
		for _, s := range steps[:len(steps)-1] {
			next, ok := m[s].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[s] = next
			}
			m = next
		}
		if _, taken := m[steps[len(steps)-1]]; !taken {
			m[steps[len(steps)-1]] = x
		}
	}
}

// describe words a case: "score = 0.5 and approved = false".
func describe(refs []string, values [][]any, k int) string {
	var parts []string
	for i, r := range refs {
		x := values[i][k%len(values[i])]
		k /= len(values[i])
		s := expr.Text(x)
		if t, ok := x.(string); ok {
			s = fmt.Sprintf("%q", t)
			if strings.HasPrefix(t, "anything else") {
				s = t
			}
		}
		parts = append(parts, strings.TrimPrefix(r, "state.")+" = "+s)
	}
	return list(parts, "and")
}
