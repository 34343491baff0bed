package machine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// vars are the variables of expressions as one visit sees them. Values are
// decoded when they are asked for.
type vars struct {
	w      *workflow.Workflow
	s      *run.State
	thread run.Thread
	result event.Value
	item   any
	isItem bool
	as     string
	// overlay holds state keys as they were before the visit's own writes.
	overlay map[string]event.Value
	given   map[string]any // of an item: input and result, decoded once for all items
}

// Given is what the task of a visit is given: what its node says, evaluated.
type Given struct {
	Input  event.Value // what was delivered to the visit; none: nothing
	Prompt string
	// Settings are by the names that they have in the definition; nil: there are none. They
	// may be those of other tasks too.
	Settings map[string]any
}

// Evaluate evaluates what a visit gives to its task. Its settings see the variables of
// the visit, with result as what was delivered to it, and what with adds to them.
func Evaluate(w *workflow.Workflow, s *run.State, v *run.Visit, with func(expr.Vars) expr.Vars) (Given, error) {
	n := NodeOf(w, v)
	if v.Item == 0 && n.Fixed != nil {
		in, err := v.Input(false, s.Input)
		return Given{Input: in, Prompt: n.Fixed.Prompt, Settings: n.Fixed.Settings}, err
	}
	d := decider{w: w, s: s}
	x, err := d.before(v)
	if err != nil {
		return Given{}, err
	}
	g := Given{Input: x.result}
	if n.Fixed != nil {
		g.Prompt, g.Settings = n.Fixed.Prompt, n.Fixed.Settings
		return g, nil
	}
	if len(n.Settings) > 0 {
		g.Settings = make(map[string]any, len(n.Settings))
	}
	vars := with(x)
	if n.Prompt != nil {
		p, err := n.Prompt.Eval(vars)
		if err != nil {
			return g, fmt.Errorf("prompt: %w", err)
		}
		g.Prompt = expr.Text(p)
	}
	for name, tmpl := range n.Settings {
		v, err := tmpl.Eval(vars)
		if err != nil {
			return g, fmt.Errorf("%s: %w", name, err)
		}
		g.Settings[name] = v
	}
	return g, nil
}

// before returns the variables a visit sees before it has a result.
func (d *decider) before(v *run.Visit) (*vars, error) {
	x := &vars{w: d.w, s: d.s, thread: v.Thread}
	of := v
	if v.Item > 0 {
		of = d.s.Live[v.Of]
		items, err := d.items(of)
		if err != nil {
			return nil, err
		}
		x.setItem(d.w.Node(v.Of), items[v.Item-1])
		if of.Given == nil {
			result, err := of.Input(false, d.s.Input)
			if err != nil {
				return nil, err
			}
			of.Given = &run.Given{Result: result, Decoded: map[string]any{}}
			for name, v := range map[string]event.Value{"input": d.s.Input, "result": result} {
				if a, ok := plain(v); ok {
					of.Given.Decoded[name] = a
				}
			}
		}
		x.result, x.given = of.Given.Result, of.Given.Decoded
		return x, nil
	}
	var err error
	x.result, err = of.Input(false, d.s.Input)
	return x, err
}

// after returns the variables seen by what follows a visit with this result.
func (d *decider) after(v *run.Visit, result event.Value) *vars {
	return &vars{w: d.w, s: d.s, thread: v.Thread, result: result}
}

func (x *vars) setItem(foreach *workflow.Node, item any) {
	x.item, x.isItem, x.as = item, true, foreach.Def.Text("as")
}

// Var implements expr.Vars.
func (x *vars) Var(name string) (any, bool) {
	if name == "input" || name == "result" {
		if x.given != nil {
			a, ok := x.given[name]
			return a, ok
		}
	}
	switch name {
	case "input":
		return plain(x.s.Input)
	case "result":
		return plain(x.result)
	case "state":
		return stateVars{x}, true
	case "nodes":
		return nodeVars{x}, true
	case "run":
		return runVars(x.s), true
	case "env":
		return stringMap(x.s.Env), true
	case "item":
		return x.item, x.isItem
	}
	if x.isItem && name == x.as {
		return x.item, true
	}
	return nil, false
}

func plain(v event.Value) (any, bool) {
	if len(v) == 0 {
		return nil, false
	}
	a, err := v.Any()
	return a, err == nil
}

type stateVars struct{ *vars }

func (x stateVars) Get(key string) (any, bool) { return plain(x.stored(key)) }

func (x stateVars) Keys() []string {
	keys := slices.Sorted(maps.Keys(x.s.VarsAt(x.thread)))
	return slices.DeleteFunc(keys, func(k string) bool { return len(x.stored(k)) == 0 })
}

// stored returns a state key as the visit sees it; none if unset.
func (x *vars) stored(key string) event.Value {
	if v, ok := x.overlay[key]; ok {
		return v
	}
	return x.s.VarAt(x.thread, key)
}

type nodeVars struct{ *vars }

// Get returns result and visits of a node that has completed, as far as this
// branch can know.
func (x nodeVars) Get(id string) (any, bool) {
	r := x.s.ResultAt(x.thread, id)
	if len(r) == 0 {
		return nil, false
	}
	return nodeVar{r, x.s.Nodes[id]}, true
}

func (x nodeVars) Keys() []string {
	var ids []string
	for id := range x.s.Nodes {
		if len(x.s.ResultAt(x.thread, id)) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

type nodeVar struct {
	result event.Value
	node   *run.Node
}

func (n nodeVar) Get(key string) (any, bool) {
	switch key {
	case "result":
		return plain(n.result)
	case "visits":
		return int64(n.node.Counted), true
	}
	return nil, false
}

func (nodeVar) Keys() []string { return []string{"result", "visits"} }

// runVars are the keys that the engine keeps; nothing else can set them.
func runVars(s *run.State) map[string]any {
	m := map[string]any{
		"id":       s.Run.String(),
		"workflow": s.Workflow,
		"version":  int64(s.WFVer),
		"created":  s.Created.Std().Format("2006-01-02T15:04:05.000Z07:00"),
		"labels":   stringMap(s.Labels),
		"tokens":   s.Usage.InputTokens + s.Usage.OutputTokens,
	}
	if s.Parent != nil {
		m["parent"] = s.Parent.Run.String()
	}
	return m
}

func stringMap(m map[string]string) map[string]any {
	a := make(map[string]any, len(m))
	for k, v := range m {
		a[k] = v
	}
	return a
}

// reads turns what a condition looked at into what an event holds.
func reads(rs []expr.Read) []event.Read {
	var out []event.Read
	for _, r := range rs {
		e := event.Read{Name: r.Name, Missing: r.Missing}
		if !r.Missing {
			v, err := event.ValueOf(r.Value)
			if err != nil || len(v) > maxRead {
				v = event.StringValue("(too large to repeat here)")
			}
			e.Value = v
		}
		out = append(out, e)
	}
	return out
}

// maxRead is how many bytes of one value an edge.taken repeats.
const maxRead = 1 << 10
