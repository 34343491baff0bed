package machine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Hold is a Result about which somebody is to be asked before it counts. The run keeps
// it with the question; see Answer. One that the definition does not expect fails at
// once: nobody has to read it.
type Hold struct {
	Result  Result
	Rule    string // of the guard, that asks
	Message string // of the rule
}

func (c Hold) decide(d *decider) error {
	v, err := d.counts(&c.Result)
	if v == nil {
		return err
	}
	if d.check(d.node(v), c.Result.Value) != nil {
		d.accept(v, c.Result)
		d.touch(v.Node)
		return nil
	}
	p := &event.SecurityRequested{
		Review: event.Review{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Rule: c.Rule}, Message: c.Message,
		Result: c.Result.Value, Usage: c.Result.Usage, Sandbox: c.Result.Sandbox,
	}
	for _, k := range slices.Sorted(maps.Keys(c.Result.Set)) {
		p.Set = append(p.Set, event.KV{Key: k, Value: c.Result.Set[k]})
	}
	d.emit(p)
	return nil
}

// review decides what an answer says about a result that is held.
func (d *decider) review(v *run.Visit, answer event.Value) error {
	approved, reason, err := verdict(answer)
	if err != nil {
		return fmt.Errorf("%w: review of %s: %w", ErrInvalid, v.Node, err)
	}
	r := event.Review{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Rule: v.Held.Rule}
	if approved {
		d.emit(&event.SecurityGranted{Review: r, Reason: reason, Key: d.key})
	} else {
		d.emit(&event.SecurityDenied{Review: r, Reason: reason, Key: d.key})
	}
	d.touch(v.Node)
	return nil
}

// maxReason bounds what is said about a review, in bytes.
const maxReason = 4 << 10

// verdict reads an answer to event.ReviewForm; true and false do as well.
func verdict(answer event.Value) (approved bool, reason string, err error) {
	x, err := answer.Any()
	if err != nil {
		return false, "", err
	}
	if b, ok := x.(bool); ok {
		return b, "", nil
	}
	m, ok := x.(map[string]any)
	approved, said := m["approved"].(bool)
	for k, f := range m {
		switch s, isText := f.(string); {
		case k == "reason" && isText && len(s) <= maxReason:
			reason = s
		case k != "approved":
			ok = false
		}
	}
	if !ok || !said {
		return false, "", fmt.Errorf(`want {"approved": true} or {"approved": false}, with a "reason" of up to %d bytes if there is one`, maxReason)
	}
	return approved, reason, nil
}

// carryHeld goes on with a visit whose result is held, once somebody has said something.
func (d *decider) carryHeld(v *run.Visit) {
	h := v.Held
	c := Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt}
	switch h.Verdict {
	case run.Unreviewed:
		return
	case run.Granted:
		c.Value = h.Result
		if len(h.Set) > 0 {
			c.Set = make(map[string]event.Value, len(h.Set))
			for _, kv := range h.Set {
				c.Set[kv.Key] = kv.Value
			}
		}
	case run.Denied:
		f := event.Failure{Class: event.ClassInvalidOutput, Message: "the result was denied in a review, see rule " + h.Rule}
		if h.Reason != "" {
			f.Message += ": " + h.Reason
		}
		c.Failure, c.Again = &f, new(bool)
	}
	d.accept(v, c)
	d.touchNext(v.Node)
}
