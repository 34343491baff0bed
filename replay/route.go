package replay

import (
	"github.com/wfd-dev/wfd/projection/event"
)

// route is where a run went: which visits it made, and which edges it took from
// each.
type route struct {
	edges  map[VisitKey][]*event.EdgeTaken
	visits map[VisitKey]bool
	failed map[VisitKey]*event.NodeFailed // the latest failure of a visit
	done   map[VisitKey]bool              // completed
	order  []event.Payload                // what of this came in which order
}

func newRoute() route {
	return route{
		edges: map[VisitKey][]*event.EdgeTaken{}, visits: map[VisitKey]bool{},
		failed: map[VisitKey]*event.NodeFailed{}, done: map[VisitKey]bool{},
	}
}

func (r *route) note(p event.Payload) {
	switch p := p.(type) {
	case *event.NodeScheduled:
		r.visits[VisitKey{p.Node, p.Visit}] = true
	case *event.EdgeTaken:
		k := VisitKey{p.From, p.Visit}
		r.edges[k] = append(r.edges[k], p)
	case *event.NodeFailed:
		r.failed[VisitKey{p.Node, p.Visit}] = p
	case *event.NodeCompleted:
		r.done[VisitKey{p.Node, p.Visit}] = true
		return
	default:
		return
	}
	r.order = append(r.order, p)
}
