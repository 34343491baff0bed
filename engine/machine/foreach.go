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
	case each.Failure != nil:
		if each.Open == 0 {
			d.fail(v, *each.Failure, failing{final: true, errors: []event.Failure{*each.Failure}})
		}
		return
	case each.Ended == len(items):
		d.completeForeach(v)
		return
	}
	width := n.Def.Int("max_parallel")
	if width <= 0 {
		width = MaxParallel
	}
	for d.err == nil && !d.stopped() && each.Failure == nil && each.Open < width && d.places() {
		item := each.Next
		if len(each.Again) > 0 {
			item = each.Again[0]
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
