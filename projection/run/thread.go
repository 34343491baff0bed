package run

import (
	"bytes"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
)

// A Thread is the causal past of a token or a visit, as far as it is not shared
// by everything under way.
//
// Nodes of parallel branches must not see one another's writes in the order in
// which they happened to end: the same run would then take another path on
// another day. So while several branches are under way, what a completed visit
// wrote is kept as a journal entry, and every token carries the list of the
// entries it has seen. A node reads Base and the entries of its thread. Where
// branches meet their lists are joined in branch order. Once a single thread is
// left, its entries become the base again and the journal is empty. A run
// without parallel branches never has a journal.
type Thread struct {
	// Path places a branch among its siblings: at every fan-out the number of
	// the branch is added. Paths of threads under way differ.
	Path []int
	Seen []int // indexes into State.Journal, an order in which each is after what it has seen
}

// Entry is what one completed visit left behind.
type Entry struct {
	Node   string
	Visit  int
	Result event.Value
	Writes []Write
}

// Write is one write of a state key.
type Write struct {
	Key    string
	Value  event.Value // the operand, where Reduce is set
	Reduce string
}

func (t Thread) branch(i, of int) Thread {
	if of < 2 {
		return t
	}
	return Thread{Path: append(slices.Clone(t.Path), i), Seen: slices.Clip(t.Seen)}
}

// before returns the thread of input i of v as it is to go on with when v gives
// it back: its own while the journal is still the same, else what v has seen.
func (s *State) before(v *Visit, i int) Thread {
	if v.Epoch == s.Epoch {
		return v.Inputs[i].Thread
	}
	return v.Thread.branch(i, len(v.Inputs))
}

// threads calls f for every thread under way, those of tokens and visits, and of
// branches that have ended.
func (s *State) threads(f func(Thread)) {
	for _, v := range s.Live {
		if v.Item == 0 {
			f(v.Thread)
		}
	}
	for _, t := range s.Tokens {
		f(t.Thread)
	}
	for _, t := range s.Done {
		f(t)
	}
}

// joined returns the thread of a visit that consumes tokens, which are no longer
// in s.Tokens.
func (s *State) joined(tokens []*Token) Thread {
	switch len(tokens) {
	case 0:
		return Thread{}
	case 1:
		return tokens[0].Thread
	}
	ts := make([]Thread, len(tokens))
	for i, t := range tokens {
		ts[i] = t.Thread
	}
	out := merge(ts)
	// Where all branches of a fan-out have met, the place is that of the fan-out
	// again; else paths would grow with every turn of a loop.
	common := ts[0].Path
	for _, t := range ts[1:] {
		common = common[:prefix(common, t.Path)]
	}
	shared := false
	s.threads(func(t Thread) {
		if prefix(common, t.Path) == len(common) {
			shared = true
		}
	})
	if !shared {
		out.Path = slices.Clone(common)
	}
	return out
}

// merge joins threads in branch order. The result has the place of the first.
func merge(ts []Thread) Thread {
	slices.SortStableFunc(ts, func(a, b Thread) int { return slices.Compare(a.Path, b.Path) })
	seen := map[int]bool{}
	var list []int
	for _, t := range ts {
		for _, i := range t.Seen {
			if !seen[i] {
				seen[i] = true
				list = append(list, i)
			}
		}
	}
	return Thread{Path: ts[0].Path, Seen: list}
}

// ThreadOf returns what a visit sees that begins with tokens.
func ThreadOf(tokens []*Token) Thread {
	if len(tokens) == 0 {
		return Thread{}
	}
	ts := make([]Thread, len(tokens))
	for i, t := range tokens {
		ts[i] = t.Thread
	}
	return merge(ts)
}

func prefix(a, b []int) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// alone reports whether v is all that is under way and no branch has ended
// apart, so that what v sees is what everyone will see.
func (s *State) alone(v *Visit) bool {
	if len(s.Tokens) > 0 || len(s.Done) > 0 {
		return false
	}
	for _, o := range s.Live {
		if o != v && o.Item == 0 {
			return false
		}
	}
	return true
}

// VarAt returns the value of a state key as thread t sees it; none if unset.
func (s *State) VarAt(t Thread, key string) event.Value {
	if !s.Forked {
		return s.Vars[key]
	}
	v := s.Base[key]
	for _, i := range t.Seen {
		for _, w := range s.Journal[i].Writes {
			if w.Key == key {
				v = w.apply(v)
			}
		}
	}
	return v
}

// VarsAt returns the state as thread t sees it.
func (s *State) VarsAt(t Thread) map[string]event.Value {
	if !s.Forked {
		return s.Vars
	}
	m := maps.Clone(s.Base)
	if m == nil {
		m = Map[event.Value]{} // an empty one does not survive a snapshot
	}
	for _, i := range t.Seen {
		for _, w := range s.Journal[i].Writes {
			m[w.Key] = w.apply(m[w.Key])
		}
	}
	return m
}

// ResultAt returns the latest result of a node as thread t sees it; none if
// there is none.
func (s *State) ResultAt(t Thread, node string) event.Value {
	n := s.Nodes[node]
	if n == nil {
		return nil
	}
	if !s.Forked {
		return n.Result
	}
	for i := len(t.Seen) - 1; i >= 0; i-- {
		if e := &s.Journal[t.Seen[i]]; e.Node == node {
			return e.Result
		}
	}
	return n.Seen
}

func (w Write) apply(old event.Value) event.Value {
	if w.Reduce == "" {
		return w.Value
	}
	v, err := Reduce(w.Reduce, old, w.Value)
	if err != nil {
		return old // the decider refuses such a write; a log that has one keeps what was
	}
	return v
}

// openJournal starts a journal: what was written so far is the base.
func (s *State) openJournal() {
	if s.Forked {
		return
	}
	s.Forked, s.Base = true, maps.Clone(s.Vars)
	for _, n := range s.Nodes {
		n.Seen = n.Result
	}
}

// closeJournal ends the journal: what thread t sees is what there is.
func (s *State) closeJournal(t Thread) {
	for _, i := range t.Seen {
		e := &s.Journal[i]
		s.node(e.Node).Result = e.Result
	}
	s.Forked, s.Journal, s.Base = false, nil, nil
	s.Epoch++
	for _, n := range s.Nodes {
		n.Seen = nil
	}
}

// Merged returns the writes still owed before the branches that meet in tokens
// (nil: all branches of the run, at its end) count as one: the keys whose value
// in branch order is not the one readers see now, with that value, sorted. It
// returns nil where other branches are still under way.
func (s *State) Merged(tokens []*Token) []event.KV {
	if !s.Forked {
		return nil
	}
	var t Thread
	if tokens == nil {
		if len(s.Done) > 0 {
			t = merge(slices.Clone(s.Done))
		}
	} else {
		if !s.soleThread(tokens) {
			return nil
		}
		t = ThreadOf(tokens)
	}
	want := s.VarsAt(t)
	var kvs []event.KV
	for _, k := range slices.Sorted(maps.Keys(s.Vars)) {
		if !bytes.Equal(want[k], s.Vars[k]) {
			kvs = append(kvs, event.KV{Key: k, Value: want[k]})
		}
	}
	return kvs
}

// soleThread reports whether tokens are all that is under way.
func (s *State) soleThread(tokens []*Token) bool {
	if len(s.Done) > 0 || len(s.Tokens) != len(tokens) {
		return false
	}
	for _, v := range s.Live {
		if v.Item == 0 {
			return false
		}
	}
	return true
}

// EndThread returns what an expression at the end of the run sees: every branch.
func (s *State) EndThread() Thread {
	if len(s.Done) == 0 {
		return Thread{}
	}
	return merge(slices.Clone(s.Done))
}

// LastResult returns the result of the node that came last, in branch order
// where several branches ended apart.
func (s *State) LastResult() event.Value {
	if t := s.EndThread(); len(t.Seen) > 0 {
		return s.Journal[t.Seen[len(t.Seen)-1]].Result
	}
	return s.Last
}

// Before returns the thread of a visit without its own writes, and the values
// of the keys it has already written past the journal as they were before.
func (v *Visit) Before() (Thread, map[string]event.Value) {
	if v.Direct || v.Status != NodeCompleted {
		return v.Thread, v.Old
	}
	t := v.Thread
	t.Seen = t.Seen[:len(t.Seen)-1]
	return t, nil
}
