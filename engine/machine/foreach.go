package machine

import (
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// items returns the list a foreach goes through. It follows from what the visit
// sees, so it is not in the log.
func (d *decider) items(v *run.Visit) ([]any, error) {
	if v.Items != nil {
		return v.Items, nil
	}
	if p := v.Each; p != nil && p.Plan != nil {
		for _, t := range p.Plan.Tasks {
			v.Items = append(v.Items, taskMap(t))
		}
		return v.Items, nil
	}
	x := d.after(v, nil)
	x.thread, x.overlay = v.Before()
	var err error
	if x.result, err = v.Input(false, d.s.Input); err != nil {
		return nil, err
	}
	a, err := d.w.Node(v.Node).Items.Eval(x)
	if err != nil {
		return nil, fmt.Errorf("items: %w", err)
	}
	list, ok := a.([]any)
	if !ok {
		return nil, fmt.Errorf("items: want a list, not %s", clip(text(a)))
	}
	if len(list) > MaxItems {
		return nil, fmt.Errorf("items: %d are more than %d", len(list), MaxItems)
	}
	if list == nil {
		list = []any{}
	}
	v.Items = list
	return list, nil
}

func (d *decider) carryForeach(n *workflow.Node, v *run.Visit) {
	items, err := d.items(v)
	if err != nil {
		d.fail(v, event.Failure{Class: event.ClassInternal, Message: err.Error()}, failing{final: true})
		return
	}
	if v.Status == run.NodeScheduled {
		d.emit(&event.NodeStarted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1, Each: true, Items: len(items)})
	}
	each := v.Each
	switch {
	case d.err != nil:
		return
	case len(each.Results) != len(items):
		d.err = fmt.Errorf("foreach %s, visit %d: %d items, but it began with %d", v.Node, v.Visit, len(items), len(each.Results))
		return
	case len(each.Failures) > 0:
		if each.Open == 0 {
			d.failForeach(v)
		}
		return
	case each.Ended == len(items):
		d.completeForeach(v)
		return
	}
	width := d.width(v)
	for d.err == nil && !d.stopped() && !d.full() && len(each.Failures) == 0 && each.Open < width && places(d.s) {
		item := each.Next
		if len(each.Again) > 0 {
			item = each.Again[0].Item
		} else if item >= len(items) {
			break
		}
		name := run.ItemName(v.Node, item)
		d.emit(&event.NodeScheduled{Node: name, Visit: v.Visit})
		if iv := d.s.Live[name]; iv != nil {
			d.look(iv)
		}
	}
	if each.Ended == len(items) && v.Status == run.NodeRunning {
		d.completeForeach(v)
	}
}

// width returns how many items of a foreach may be under way at once.
func (d *decider) width(v *run.Visit) int {
	if n := d.w.Node(v.Node).Def.Int("max_parallel"); n > 0 {
		return n
	}
	return MaxParallel
}

// failForeach fails a foreach with what its items failed with, in their order.
func (d *decider) failForeach(v *run.Visit) {
	why := slices.Clone(v.Each.Failures)
	slices.SortStableFunc(why, func(a, b event.Failure) int { return d.order(a.Node, b.Node) })
	f := why[0]
	if len(why) > 1 {
		f = several(fmt.Sprintf("%d items failed", len(why)), why)
	}
	d.fail(v, f, failing{final: true, errors: why})
}

func (d *decider) completeForeach(v *run.Visit) {
	results := make([]any, len(v.Each.Results))
	for i, r := range v.Each.Results {
		x, err := r.Any()
		if err != nil {
			d.err = err
			return
		}
		results[i] = x
	}
	r, err := event.ValueOf(results)
	if err != nil {
		d.err = err
		return
	}
	d.complete(v, outcome{result: r})
}

// itemSets returns what the answers of a foreach's items set, in the order of the
// items, one write a key.
func (d *decider) itemSets(v *run.Visit) ([]setting, error) {
	if v.Each == nil {
		return nil, nil
	}
	answers := slices.Clone(v.Each.Answers)
	slices.SortFunc(answers, func(a, b run.ItemAnswer) int { return a.Item - b.Item })
	var sets []setting
	for _, a := range answers {
		for _, kv := range a.Set {
			i := slices.IndexFunc(sets, func(s setting) bool { return s.key.Name == kv.Key })
			if i < 0 {
				sets = append(sets, setting{d.w.Key(kv.Key), kv.Value})
				continue
			}
			set := &sets[i]
			if set.key.Reduce == workflow.ReduceLast {
				set.operand = kv.Value
				continue
			}
			var err error
			if set.operand, err = run.Reduce(string(set.key.Reduce), set.operand, kv.Value); err != nil {
				return nil, fmt.Errorf("item %d: set %s: %w", a.Item, kv.Key, err)
			}
		}
	}
	return sets, nil
}
