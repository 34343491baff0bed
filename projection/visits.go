package projection

import (
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Visit is a visit of a node that a run has begun.
type Visit struct {
	Node   string
	Visit  int
	Begins eventlog.Version // of its node.scheduled
	// Behind is set where a restore went back behind its beginning: it did not lead
	// to where the run stands.
	Behind bool
}

// Visits lists the visits that a run has begun itself, in their order; those of
// the run that it was forked from are not among them, nor are the items of a
// foreach, which are part of its visit. It reads the run's events.
func Visits(log eventlog.Log, id eventlog.RunID) ([]Visit, error) {
	type turn struct{ at, to eventlog.Version } // a restore
	var visits []Visit
	var turns []turn
	line := eventlog.Version(0) // of the newest event
	for {
		page, err := log.ReadRun(id, line, pageEvents)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			line = e.Version
			f := &fact{Event: e}
			switch e.Kind {
			case event.KindNodeScheduled:
				err = on(f, func(p *event.NodeScheduled) {
					if _, _, item := run.ItemOf(p.Node); !item && p.Node != "" { // "": it was erased
						visits = append(visits, Visit{Node: p.Node, Visit: p.Visit, Begins: e.Version, Behind: true})
					}
				})
			case event.KindRunRestored:
				err = on(f, func(p *event.RunRestored) { turns = append(turns, turn{e.Version, p.To}) })
			}
			if err != nil {
				return nil, err
			}
		}
	}
	// Back along the line that led to where the run stands: each restore on it leads
	// to the position that it went back to.
	for i, t := len(visits)-1, len(turns)-1; i >= 0; t-- {
		for t >= 0 && turns[t].at > line {
			t--
		}
		from := eventlog.Version(0)
		if t >= 0 {
			from = turns[t].at
		}
		for ; i >= 0 && visits[i].Begins > from; i-- {
			visits[i].Behind = visits[i].Begins > line
		}
		if t >= 0 {
			line = turns[t].to
		}
	}
	return visits, nil
}
