package machine

import (
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Prune takes the automatic checkpoints before version Below off the run's list.
// Those that are named or pinned stay, and so does every event: a restore to any
// version remains possible.
type Prune struct{ Below eventlog.Version }

func (c Prune) decide(d *decider) error {
	if d.s.Status == run.Pending {
		return refuse(d.s, "prune")
	}
	if c.Below > d.s.Version {
		c.Below = d.s.Version
	}
	d.emit(&event.CheckpointPruned{Below: c.Below})
	return nil
}
