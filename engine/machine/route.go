package machine

import (
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// settle decides what a completed visit still owes: state, then edges.
func (d *decider) settle(n *workflow.Node, v *run.Visit) {
	d.setOwed(n, v)
	switch {
	case d.err != nil || v.Last:
	case n.Kind == workflow.End:
		msg := "ended by node " + n.ID
		if n.Message != nil {
			if m, err := n.Message.Eval(d.after(v, v.Result)); err == nil {
				msg = text(m)
			}
		}
		d.failRun(event.Failure{Class: event.ClassEnd, Message: msg, Node: n.ID, Visit: v.Visit}, nil)
	case n.Conditional():
		d.choose(n, v)
	default:
		for i := v.Taken; i < len(n.Out); i++ {
			if !d.take(&event.EdgeTaken{
				From: v.Node, Visit: v.Visit, To: d.w.Nodes[n.Out[i].To].ID,
				Outcome: event.OutcomeAlways, Branch: i, Of: len(n.Out),
			}) {
				return
			}
		}
	}
}

// setOwed decides the state that a completed visit still owes.
func (d *decider) setOwed(n *workflow.Node, v *run.Visit) {
	if v.SetDone == v.Sets {
		return
	}
	sets, err := d.sets(n, v, v.Result, v.Answer)
	if err != nil || len(sets) != v.Sets {
		d.err = fmt.Errorf("node %s, visit %d: state it sets has changed since it completed: %v", v.Node, v.Visit, err)
		return
	}
	for _, set := range sets[v.SetDone:] {
		d.setState(v, set)
	}
}

// choose takes the first edge whose condition is met, else the default. With
// neither the run fails, saying what was looked at.
func (d *decider) choose(n *workflow.Node, v *run.Visit) {
	x := d.after(v, v.Result)
	p := &event.EdgeTaken{From: v.Node, Visit: v.Visit, Of: 1}
	var def *workflow.Edge
	for _, e := range n.Out {
		if e.If == nil {
			def = e
			continue
		}
		o := e.If.Eval(x)
		to := d.w.Nodes[e.To].ID
		p.Evals = append(p.Evals, event.Eval{To: to, If: e.If.Text(), Met: o.Met, Reads: reads(o.Reads), Err: o.Err})
		if o.Met {
			p.To, p.Outcome = to, event.OutcomeMet
			d.take(p)
			return
		}
	}
	if def != nil {
		p.To, p.Outcome = d.w.Nodes[def.To].ID, event.OutcomeDefault
		d.take(p)
		return
	}
	f := event.Failure{Class: event.ClassInvalidOutput, Message: "no condition is met: " + explain(p.Evals), Node: v.Node, Visit: v.Visit}
	if n.OnError != nil {
		p.To, p.Outcome, p.Failure = d.w.Nodes[n.OnError.To].ID, event.OutcomeError, &f
		d.take(p)
		return
	}
	d.failRun(f, nil)
}

// explain says what each condition read.
func explain(evals []event.Eval) string {
	var parts []string
	for _, e := range evals {
		why := readsWords(e.Reads)
		if e.Err != "" {
			why = append(why, e.Err)
		}
		parts = append(parts, fmt.Sprintf("to %s if %s (%s)", e.To, e.If, strings.Join(why, ", ")))
	}
	return strings.Join(parts, "; ")
}

func readsWords(rs []event.Read) []string {
	var words []string
	for _, r := range rs {
		if r.Missing {
			words = append(words, r.Name+" is missing")
		} else {
			b, _ := r.Value.MarshalJSON()
			words = append(words, fmt.Sprintf("%s = %s", r.Name, b))
		}
	}
	return words
}

// A setting is one state key that a completed visit sets.
type setting struct {
	key     *workflow.StateKey
	operand event.Value
}

// sets returns what a visit with this result sets: what its answer says, then
// what the definition says, which wins. State is read as it was before.
func (d *decider) sets(n *workflow.Node, v *run.Visit, result event.Value, answer []event.KV) ([]setting, error) {
	if len(answer)+len(n.Set) == 0 && v.Each == nil {
		return nil, nil
	}
	var sets []setting
	for _, kv := range answer {
		if !definesKey(n, kv.Key) {
			sets = append(sets, setting{d.w.Key(kv.Key), kv.Value})
		}
	}
	x := d.after(v, result)
	x.thread, x.overlay = v.Before()
	items, err := d.itemSets(v)
	if err != nil {
		return nil, err
	}
	for _, s := range items {
		if !definesKey(n, s.key.Name) {
			sets = append(sets, s)
		}
	}
	for _, s := range n.Set {
		op, err := evaluate(s.Value, x, MaxValue)
		if err != nil {
			return nil, fmt.Errorf("set %s: %w", s.Key, err)
		}
		sets = append(sets, setting{d.w.Key(s.Key), op})
	}
	for _, s := range sets {
		if _, err := reduced(s, x.stored(s.key.Name)); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func definesKey(n *workflow.Node, key string) bool {
	for _, s := range n.Set {
		if s.Key == key {
			return true
		}
	}
	return false
}

// reduced returns the value of a key after a write, if it is one the key may have.
func reduced(s setting, old event.Value) (event.Value, error) {
	val := s.operand
	if s.key.Reduce != workflow.ReduceLast {
		var err error
		if val, err = run.Reduce(string(s.key.Reduce), old, s.operand); err != nil {
			return nil, fmt.Errorf("set %s: %w", s.key.Name, err)
		}
	}
	if len(val) > MaxValue {
		return nil, fmt.Errorf("set %s: the value has %d bytes, more than %d: keep large data in results", s.key.Name, len(val), MaxValue)
	}
	if s.key.Type != "" {
		x, err := val.Any()
		if err != nil {
			return nil, err
		}
		if !isType(x, s.key.Type) {
			return nil, fmt.Errorf("set %s: %s is not of type %s", s.key.Name, clip(text(x)), s.key.Type)
		}
	}
	return val, nil
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// isType reports whether a value is of a type of JSON Schema. Null is of every
// type: it unsets.
func isType(v any, t string) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return t == "boolean"
	case int64:
		return t == "integer" || t == "number"
	case float64:
		return t == "number" || (t == "integer" && v == float64(int64(v)))
	case string:
		return t == "string"
	case []any:
		return t == "array"
	}
	return t == "object"
}

// setState writes a key. That the key may have the value was found with the state
// as the visit sees it; what other branches have written meanwhile cannot refuse
// it, or the run would depend on which of them came first.
func (d *decider) setState(v *run.Visit, s setting) {
	p := &event.StateSet{Node: v.Node, Visit: v.Visit, Key: s.key.Name, Value: s.operand}
	if s.key.Reduce != workflow.ReduceLast {
		p.Reduce, p.Operand = string(s.key.Reduce), s.operand
		old := d.s.Vars[s.key.Name]
		var err error
		if p.Value, err = run.Reduce(p.Reduce, old, s.operand); err != nil {
			p.Value = old // until the branches meet
		}
	}
	d.emit(p)
}
