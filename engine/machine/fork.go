package machine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Fork begins a run where another stood after a version, possibly with another
// definition, input or state. What the other run had completed there counts as
// completed here; what it had under way is begun anew.
type Fork struct {
	From    eventlog.RunID
	At      eventlog.Version
	Version int                    // of the workflow's name
	Input   event.Value            // none: that of the other run
	Set     map[string]event.Value // state as the fork begins
	Labels  map[string]string
	Env     map[string]string
	Pause   bool // begin paused, to be looked at first
	// Metered says that calls of models are reserved and charged, within Limits; none:
	// those of the definition.
	Metered bool
	Limits  *event.Limits
	// Breakpoints are where the fork is paused, see workflow.Breakpoint.
	Breakpoints []string
}

func (c Fork) decide(d *decider) error {
	if d.s.Status != run.Pending {
		return refuse(d.s, "fork into")
	}
	past, err := d.s.Other(c.From, c.At)
	if err != nil {
		return fmt.Errorf("%w: version %d of run %s: %w", ErrNotFound, c.At, c.From, err)
	}
	if past.Status.Terminal() || past.Status == run.Pending {
		return fmt.Errorf("%w: at version %d run %s is %s; fork it before", ErrRefused, c.At, c.From, past.Status)
	}
	if err := d.standsIn(past); err != nil {
		return err
	}
	if err := d.checkInput(c.Input); err != nil {
		return err
	}
	if err := d.checkEdits(c.Set); err != nil {
		return err
	}
	if _, err := d.breakpoints(c.Breakpoints); err != nil {
		return err
	}
	p := &event.RunForked{
		From: c.From, At: c.At, Workflow: d.w.Name, Version: c.Version, Hash: d.w.Hash.String(),
		Input: c.Input, Labels: c.Labels, Env: c.Env, Pause: c.Pause, Key: d.key,
		Breakpoints: c.Breakpoints, Anew: d.anew(past, c), Namespace: past.Namespace,
	}
	if d.w.Timeout > 0 {
		p.Deadline = d.at + event.Time(d.w.Timeout)
	}
	if p.Limits = c.Limits; c.Metered && p.Limits == nil {
		if p.Limits, err = Limits(d.w, nil); err != nil {
			return err
		}
	}
	d.emit(p)
	sets := maps.Clone(c.Set)
	if sets == nil {
		sets = map[string]event.Value{}
	}
	for _, k := range d.w.Keys { // keys that only the fork's definition has
		if _, set := sets[k.Name]; set || k.Default == nil || len(d.s.Vars[k.Name]) > 0 {
			continue
		}
		v, err := event.ValueOf(k.Default)
		if err != nil {
			return err
		}
		sets[k.Name] = v
	}
	d.edit(sets)
	if !c.Pause {
		d.touchAll()
	}
	return nil
}

// standsIn refuses a position that the fork's definition does not have: the nodes
// the run stands at must be there.
func (d *decider) standsIn(past *run.State) error {
	need := map[string]bool{}
	for _, t := range past.Tokens {
		need[t.To] = true
	}
	for _, v := range past.Live {
		if v.Item > 0 {
			need[v.Of] = true
		} else {
			need[v.Node] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(need)) {
		if d.w.Node(id) == nil {
			return fmt.Errorf("%w: the run stands at node %s, which %s does not have: fork it earlier", ErrInvalid, id, d.w.Name)
		}
	}
	return nil
}

// anew returns the foreach nodes under way in past whose items may be others in
// the fork, and the chats and plans that may be about something else. Which results belong to
// which items is known by their number alone, so that none can be kept.
func (d *decider) anew(past *run.State, c Fork) []string {
	var ids []string
	for _, id := range underWay(past, func(v *run.Visit) bool { return v.Each != nil || v.Chat != nil }) {
		if past.Hash != d.w.Hash.String() || touches(d.w.Node(id), c.Set, len(c.Input) > 0) != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// checkInput holds an input against the definition's schema; none is not looked
// at.
func (d *decider) checkInput(input event.Value) error {
	if d.w.Input == nil || len(input) == 0 {
		return nil
	}
	v, err := input.Any()
	if err == nil {
		err = d.w.Input.Validate(v)
	}
	if err != nil {
		return fmt.Errorf("%w: input of %s: %w", ErrInvalid, d.w.Name, err)
	}
	return nil
}
