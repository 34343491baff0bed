package machine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// breakpoints reads breakpoints for runs of d.w.
func (d *decider) breakpoints(specs []string) ([]*workflow.Breakpoint, error) {
	if len(specs) > workflow.MaxBreakpoints {
		return nil, fmt.Errorf("%w: %d breakpoints are more than %d", ErrInvalid, len(specs), workflow.MaxBreakpoints)
	}
	var list []*workflow.Breakpoint
	for _, spec := range specs {
		b, err := d.w.Breakpoint(spec)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		list = append(list, b)
	}
	return list, nil
}

// stopsAt pauses the run at place if a breakpoint says so that the run was not
// resumed at. Nothing of what is about to happen there has been decided, so that it
// follows once the run is resumed, from the state as it then is.
func (d *decider) stopsAt(place run.Place, hit func(*workflow.Breakpoint) (why string, ok bool)) bool {
	if len(d.s.Breaks) == 0 || slices.Contains(d.s.Passed, place) {
		return false
	}
	if d.breaks == nil {
		if d.breaks, d.err = d.breakpoints(d.s.Breaks); d.err != nil {
			return true // they were read before they came into an event
		}
	}
	for _, b := range d.breaks {
		if why, ok := hit(b); ok {
			d.emit(&event.RunPaused{
				Reason: "breakpoint " + b.Spec + ", before " + why, Breakpoint: b.Spec, Node: place.Node, Visit: place.Visit, To: place.To,
			})
			return true
		}
	}
	return false
}

// stopsBefore pauses the run if a breakpoint is at the next visit of n, which
// begins with tokens.
func (d *decider) stopsBefore(n *workflow.Node, tokens []*run.Token) bool {
	place := run.Place{Node: n.ID, Visit: d.visits(n.ID) + 1}
	return d.stopsAt(place, func(b *workflow.Breakpoint) (string, bool) {
		what := fmt.Sprintf("visit %d of %s", place.Visit, n.ID)
		switch {
		case b.Node == n.ID && (b.Visit == 0 || b.Visit == place.Visit):
			return what, true
		case b.If != nil:
			o := b.If.Eval(&vars{w: d.w, s: d.s, thread: run.ThreadOf(tokens)})
			if words := readsWords(reads(o.Reads)); len(words) > 0 {
				what += " (" + strings.Join(words, ", ") + ")"
			}
			return what, o.Met
		case b.Micros > 0:
			return what + " ($" + d.s.Spent.Micros.String() + " spent)", int64(d.s.Spent.Micros) >= b.Micros
		case b.Tokens > 0:
			used := d.s.Usage.InputTokens + d.s.Usage.OutputTokens
			return fmt.Sprintf("%s (%d tokens used)", what, used), used >= b.Tokens
		}
		return "", false
	})
}

// stopsOn pauses the run if a breakpoint is before the edge that p takes.
func (d *decider) stopsOn(p *event.EdgeTaken) bool {
	return d.stopsAt(run.Place{Node: p.From, Visit: p.Visit, To: p.To}, func(b *workflow.Breakpoint) (string, bool) {
		return fmt.Sprintf("%s#%d goes to %s", p.From, p.Visit, p.To), b.From != "" && b.From == p.From && b.To == p.To
	})
}

// take decides that an edge is taken, unless the run stops before it.
func (d *decider) take(p *event.EdgeTaken) bool {
	if d.stopsOn(p) {
		return false
	}
	d.emit(p)
	return true
}
