package machine

import (
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Imported marks that a run was taken over from another log.
type Imported struct{ Mark *event.RunImported }

func (c Imported) decide(d *decider) error {
	if d.s.Status == run.Pending {
		return refuse(d.s, "mark as imported")
	}
	mark := *c.Mark
	d.emit(&mark)
	return nil
}
