package machine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// checkEdits returns why a person cannot set these keys of the state.
func (d *decider) checkEdits(set map[string]event.Value) error {
	for _, k := range slices.Sorted(maps.Keys(set)) {
		key := d.w.Key(k)
		if key == nil {
			return fmt.Errorf("%w: %s declares no state key %q%s", ErrInvalid, d.w.Name, k, d.nearKey(k))
		}
		plain := *key
		plain.Reduce = workflow.ReduceLast // an edit is what it says
		if _, err := reduced(setting{&plain, set[k]}, nil); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

func (d *decider) nearKey(name string) string {
	keys := make([]string, len(d.w.Keys))
	for i, k := range d.w.Keys {
		keys[i] = k.Name
	}
	if near := expr.Closest(name, keys); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// checkItems refuses to set what the items of a foreach under way follow from: which
// results belong to which items is known by their number alone.
func (d *decider) checkItems(set map[string]event.Value) error {
	for _, id := range foreachUnderWay(d.s) {
		if ref := touches(d.w.Node(id), set, false); ref != "" {
			return fmt.Errorf("%w: foreach %s is under way over items that follow from %s: fork the run to change it", ErrRefused, id, ref)
		}
	}
	return nil
}

// foreachUnderWay returns the foreach nodes that have results of some items, sorted.
func foreachUnderWay(s *run.State) []string {
	return underWay(s, func(v *run.Visit) bool { return v.Each != nil && v.Each.Plan == nil })
}

// underWay returns the nodes that have begun, and not ended, what is done in parts,
// sorted.
func underWay(s *run.State, parts func(*run.Visit) bool) []string {
	var ids []string
	for id, v := range s.Live {
		if parts(v) && v.Status != run.NodeCompleted {
			ids = append(ids, id)
		}
	}
	for id, n := range s.Nodes {
		if n.Kept != nil && parts(n.Kept) && s.Live[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// touches returns what the items of a foreach, what a chat is about, or the tasks of a
// plan follow from that an edit changes, "" if nothing.
func touches(n *workflow.Node, set map[string]event.Value, input bool) string {
	from := n.Items
	switch {
	case (n.Kind == workflow.Chat || n.Kind == workflow.Plan) && input:
		return "input" // which the agents may have been told of
	case n.Kind == workflow.Plan:
		from = n.Settings["goal"]
	case n.Kind == workflow.Chat && n.Prompt == nil:
		return ""
	case n.Kind == workflow.Chat:
		from = n.Prompt
	case from == nil:
		return "its definition"
	}
	for _, ref := range from.Refs() {
		steps := strings.Split(ref, ".")
		switch {
		case steps[0] == "state" && len(steps) == 1 && len(set) > 0:
			return ref
		case steps[0] == "state" && len(steps) > 1:
			if _, ok := set[steps[1]]; ok {
				return ref
			}
		case input && (steps[0] == "input" || steps[0] == "result"): // what starts with the run gets its input
			return ref
		}
	}
	return ""
}

// edit decides state that a person sets, once what completed visits still owe is
// set: that follows from the state as it was.
func (d *decider) edit(set map[string]event.Value) {
	if len(set) == 0 {
		return
	}
	ids := d.s.LiveIDs()
	slices.SortStableFunc(ids, d.order)
	for _, id := range ids {
		if v := d.s.Live[id]; v != nil && v.Status == run.NodeCompleted && d.err == nil {
			d.setOwed(d.node(v), v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		d.emit(&event.StateSet{Key: k, Value: set[k]})
	}
}
