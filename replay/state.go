package replay

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// page is how many events are read at once.
const page = 1024

// State returns a run as it stood at a position. A run, or a position, that
// does not exist is run.ErrNotFound.
func State(log eventlog.Log, id eventlog.RunID, at Position) (*run.State, error) {
	version := run.Newest
	switch {
	case at.Node != "":
		var err error
		if version, err = endOf(log, id, at.Node, at.Visit); err != nil {
			return nil, err
		}
	case at.Version != 0:
		version = at.Version
	case at.Seq != 0:
		return stateAtSeq(log, id, at.Seq)
	}
	s, err := run.Fold(log, id, version)
	if err == nil && s.Version == 0 {
		return nil, fmt.Errorf("%w: run %s", run.ErrNotFound, id)
	}
	return s, err
}

func stateAtSeq(log eventlog.Log, id eventlog.RunID, seq eventlog.Seq) (*run.State, error) {
	if head := log.Head(); seq > head {
		return nil, fmt.Errorf("%w: event %d: the log ends at %d", run.ErrNotFound, seq, head)
	}
	s, err := run.FoldWhile(log, id, func(e eventlog.Event) bool { return e.Seq <= seq })
	if err != nil || s.Version > 0 {
		return s, err
	}
	first, err := log.ReadRun(id, 0, 1)
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return nil, fmt.Errorf("%w: run %s", run.ErrNotFound, id)
	}
	return nil, fmt.Errorf("%w: run %s began later, with event %d", run.ErrNotFound, id, first[0].Seq)
}

// endOf returns the version at which a visit had ended, and what it set was set.
func endOf(log eventlog.Log, id eventlog.RunID, node string, visit int) (eventlog.Version, error) {
	var end, after eventlog.Version
	known := false
	for {
		events, err := log.ReadRun(id, after, page)
		if err != nil {
			return 0, err
		}
		for _, e := range events {
			after = e.Version
			n, v, what, err := visitOf(e)
			if err != nil {
				return 0, err
			}
			mine := n == node && v == visit
			known = known || n == node
			switch {
			case mine && what == visitEnds:
				end = e.Version
			case end != 0 && mine && what == visitCosts:
			case end != 0 && !(mine && what == visitSets):
				return end, nil
			case end != 0:
				end = e.Version
			}
		}
		if len(events) == 0 {
			break
		}
	}
	switch {
	case end != 0:
		return end, nil
	case after == 0:
		return 0, fmt.Errorf("%w: run %s", run.ErrNotFound, id)
	case !known:
		return 0, fmt.Errorf("%w: run %s has not come to a node %q", run.ErrNotFound, id, node)
	}
	return 0, fmt.Errorf("%w: visit %d of node %s in run %s has not ended", run.ErrNotFound, visit, node, id)
}

// What an event means for the visit it is about.
const (
	visitGoesOn = iota
	visitSets
	visitCosts // stands between the end and what is set
	visitEnds
)

func visitOf(e eventlog.Event) (node string, visit, what int, err error) {
	switch e.Kind {
	case event.KindNodeScheduled, event.KindNodeCompleted, event.KindNodeFailed, event.KindNodeSkipped, event.KindStateSet, event.KindCostSettled:
	default:
		return "", 0, visitGoesOn, nil
	}
	if e.Erased && len(e.Payload) == 0 {
		return "", 0, visitGoesOn, nil // it no longer says what it was about
	}
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return "", 0, visitGoesOn, fmt.Errorf("event %d: %w", e.Seq, err)
	}
	switch p := p.(type) {
	case *event.NodeScheduled:
		return p.Node, p.Visit, visitGoesOn, nil
	case *event.NodeCompleted:
		return p.Node, p.Visit, visitEnds, nil
	case *event.NodeSkipped:
		return p.Node, p.Visit, visitEnds, nil
	case *event.NodeFailed:
		if p.Then == event.ThenRetry || p.Then == event.ThenPause {
			return p.Node, p.Visit, visitGoesOn, nil
		}
		return p.Node, p.Visit, visitEnds, nil
	case *event.StateSet:
		return p.Node, p.Visit, visitSets, nil
	case *event.CostSettled:
		return p.Node, p.Visit, visitCosts, nil
	}
	return "", 0, visitGoesOn, nil
}
