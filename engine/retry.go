package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// RetryFrom lets a failed run go on in place from just before a visit of a node:
// what had completed before is not done again, what came after stays in the
// history and counts no more. Visit 0 is the latest that led to where the run
// stands.
func (e *Engine) RetryFrom(ctx context.Context, id eventlog.RunID, node string, visit int, reason string, by By) (Run, error) {
	var wf *workflow.Workflow
	var origin *run.Origin
	allowed := false
	err := e.look(ctx, id, func(s *run.State, w *workflow.Workflow) {
		wf, origin = w, s.Origin
		allowed = s.Status == run.Failed && s.Parent == nil
	})
	if err != nil {
		return Run{}, err
	}
	c := machine.Retry{Reason: reason, Node: node, Visit: visit}
	if allowed { // else the machine says why not, or that it was done
		if c.Visit, c.To, err = e.beginning(ctx, id, wf, origin, node, visit); err != nil {
			return Run{}, err
		}
	}
	return e.Do(ctx, id, c, by)
}

// beginning returns the version after which a visit of a node began, and the
// visit's number.
func (e *Engine) beginning(ctx context.Context, id eventlog.RunID, wf *workflow.Workflow, origin *run.Origin, node string, visit int) (int, eventlog.Version, error) {
	if of, _, item := run.ItemOf(node); item && wf.Node(of) != nil {
		return 0, 0, fmt.Errorf("%w: %s is an item, which is done again with its foreach: retry from %s", machine.ErrInvalid, node, of)
	}
	visits, err := projection.Visits(e.log, id)
	if err != nil {
		return 0, 0, err
	}
	var numbers []int
	for _, v := range slices.Backward(visits) {
		if v.Node == node && (v.Visit == visit || visit == 0 && !v.Behind) {
			return v.Visit, v.Begins - 1, nil
		}
		if v.Node == node {
			numbers = append(numbers, v.Visit)
		}
	}
	switch {
	case wf.Node(node) == nil:
		return 0, 0, e.unknownNode(ctx, id, wf, node)
	case len(numbers) == 0 && origin != nil:
		return 0, 0, fmt.Errorf("%w: the run has not come to node %s since it was forked from run %s at version %d: for a visit before that, fork run %s earlier",
			machine.ErrNotFound, node, origin.Run, origin.At, origin.Run)
	case len(numbers) == 0:
		return 0, 0, fmt.Errorf("%w: the run has not come to node %s; it has come to %s", machine.ErrNotFound, node, visited(visits))
	}
	slices.Sort(numbers)
	return 0, 0, fmt.Errorf("%w: node %s has no visit %d; it has %s", machine.ErrNotFound, node, visit, ranges(numbers))
}

// unknownNode says that a definition has no such node, and which may be meant.
func (e *Engine) unknownNode(ctx context.Context, id eventlog.RunID, wf *workflow.Workflow, node string) error {
	hint := ""
	if near := wf.Near(node); near != "" {
		hint = "; did you mean " + near + "?"
	} else if of, err := e.withinChild(ctx, id, node); err != nil {
		return err
	} else if of != "" {
		hint = "; a child run of node " + of + " has: retry from " + of + ", which starts another"
	}
	return fmt.Errorf("%w: %s has no node %q%s", machine.ErrNotFound, wf.Name, node, hint)
}

// withinChild returns the node of a run that had a child run with a node of a
// name, "" if there is none.
func (e *Engine) withinChild(ctx context.Context, id eventlog.RunID, node string) (string, error) {
	n, err := e.NamespaceOf(id)
	if err != nil {
		return "", err
	}
	seen := map[asked]bool{}
	of := ""
	err = e.eachEvent(id, 0, func(ev eventlog.Event) (bool, error) {
		if ev.Kind != event.KindChildStarted || ev.Erased {
			return true, nil
		}
		p, err := event.Decode(ev.Kind, ev.Payload)
		if err != nil {
			return false, err
		}
		c := p.(*event.ChildStarted)
		key := asked{n, c.Workflow, c.Version}
		if seen[key] {
			return true, nil
		}
		seen[key] = true
		_, wf, err := e.defs.find(ctx, n, c.Workflow, c.Version)
		switch {
		case errors.Is(err, ErrNotFound), errors.Is(err, projection.ErrAmbiguous):
			return true, nil
		case err != nil:
			return false, err
		case wf.Node(node) != nil:
			of = c.Node
			if foreach, _, item := run.ItemOf(of); item {
				of = foreach
			}
		}
		return of == "", nil
	})
	return of, err
}

// maxVisited is how many nodes a message names.
const maxVisited = 20

// visited names the nodes that a run has come to.
func visited(visits []projection.Visit) string {
	var names []string
	for _, v := range visits {
		if !slices.Contains(names, v.Node) {
			names = append(names, v.Node)
		}
	}
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > maxVisited:
		return fmt.Sprintf("%s and %d others", strings.Join(names[:maxVisited], ", "), len(names)-maxVisited)
	}
	return strings.Join(names, ", ")
}

// ranges names visits by their numbers, which are sorted.
func ranges(n []int) string {
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if i == j {
			parts = append(parts, fmt.Sprint(n[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d to %d", n[i], n[j]))
		}
		i = j + 1
	}
	what := "visits "
	if len(n) == 1 {
		what = "visit "
	}
	return what + strings.Join(parts, ", ")
}

// Root returns the run at the top of those that a run is under, and the place in
// it that the run belongs to; ok is false for a run without a parent.
func (e *Engine) Root(ctx context.Context, id eventlog.RunID) (place event.Parent, ok bool, err error) {
	for range machine.MaxDepth + 1 {
		var parent *event.Parent
		if err := e.look(ctx, cmp.Or(place.Run, id), func(s *run.State, _ *workflow.Workflow) { parent = s.Parent }); err != nil {
			return place, false, err
		}
		if parent == nil {
			break
		}
		place, ok = *parent, true
	}
	if of, _, item := run.ItemOf(place.Node); item {
		place.Node = of
	}
	return place, ok, nil
}
