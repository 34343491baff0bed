package projection

import (
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// KeepCheckpoints is how many automatic checkpoints of a run are listed unless
// configured otherwise.
const KeepCheckpoints = 10

// Checkpoint is a position of a run that it can be restored to: the run as it
// stood after its event At.
type Checkpoint struct {
	At      eventlog.Version `json:"at"`
	Seq     eventlog.Seq     `json:"seq"`
	Time    event.Time       `json:"time"`
	Node    string           `json:"node,omitempty"` // that completed there
	Visit   int              `json:"visit,omitempty"`
	Name    string           `json:"name,omitempty"`
	Pinned  bool             `json:"pinned,omitempty"`
	Current bool             `json:"current,omitempty"` // the newest on the line the run is on
}

// Checkpoints lists the checkpoints of a run, newest first: the last keep of
// those that each completed node leaves, and all that were named or pinned. It
// reads the run's events.
func Checkpoints(log eventlog.Log, run eventlog.RunID, keep int) ([]Checkpoint, error) {
	var (
		auto  []Checkpoint // oldest first
		marks []Mark
		line  eventlog.Version // of the newest position on the run's line
		pos   = map[eventlog.Version]Checkpoint{}
		below eventlog.Version
	)
	for after := eventlog.Version(0); ; {
		page, err := log.ReadRun(run, after, pageEvents)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Version
			f := &fact{Event: e}
			here := Checkpoint{At: e.Version, Seq: e.Seq, Time: event.Time(e.Time)}
			switch e.Kind {
			case event.KindNodeCompleted:
				err = on(f, func(p *event.NodeCompleted) { here.Node, here.Visit = p.Node, p.Visit })
				auto = append(auto, here)
				line = e.Version
			case event.KindRunRestored:
				err = on(f, func(p *event.RunRestored) { line = p.To })
			case event.KindCheckpointCreated:
				err = on(f, func(p *event.CheckpointCreated) { marks = addMark(marks, p, event.Time(e.Time)) })
			case event.KindCheckpointPruned:
				err = on(f, func(p *event.CheckpointPruned) { below = max(below, p.Below) })
			}
			if err != nil {
				return nil, err
			}
		}
	}
	marks = slices.DeleteFunc(marks, func(m Mark) bool { return m.Name == "" && !m.Pinned })
	for _, c := range auto {
		pos[c.At] = c
	}
	var list []Checkpoint
	for _, m := range marks {
		c, ok := pos[m.At]
		if !ok {
			at, err := log.ReadRun(run, m.At-1, 1)
			if err != nil {
				return nil, err
			}
			if m.At == 0 || len(at) == 0 {
				continue // a position the run does not have
			}
			c = Checkpoint{At: m.At, Seq: at[0].Seq, Time: event.Time(at[0].Time)}
		}
		c.Name, c.Pinned = m.Name, m.Pinned
		list = append(list, c)
	}
	auto = auto[max(0, len(auto)-max(keep, 0)):]
	for _, c := range auto {
		if c.At >= below && !slices.ContainsFunc(marks, func(m Mark) bool { return m.At == c.At }) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b Checkpoint) int { return int(b.At) - int(a.At) })
	for i := range list {
		if list[i].At <= line {
			list[i].Current = true
			break
		}
	}
	return list, nil
}
