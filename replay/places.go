package replay

import (
	"fmt"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// A namer names the events of a run, in order, by what they are and not by where
// they stand: the same event of the recorded run and of the played one has the
// same name, though one of them may have more events between.
type namer map[string]int

func (n namer) name(p event.Payload) string {
	k, _ := visitKey(p)
	of, attempt := "", 0
	switch p := p.(type) {
	case *event.NodeStarted:
		attempt = p.Attempt
	case *event.NodeFailed:
		attempt = p.Attempt
	case *event.NodeRetried:
		attempt = p.Attempt
	case *event.NodeLost:
		attempt = p.Attempt
	case *event.AgentChosen:
		attempt = p.Attempt
	case *event.ChatTurn:
		attempt = p.Attempt
	case *event.CostReserved:
		attempt, of = p.Attempt, fmt.Sprint(p.Turn)
	case *event.CostSettled:
		attempt, of = p.Attempt, fmt.Sprint(p.Turn)
	case *event.BudgetExceeded:
		attempt, of = p.Attempt, fmt.Sprint(p.Turn)
	case *event.PlanMade:
		attempt = p.Attempt
	case *event.EdgeTaken:
		of = p.To
	case *event.StateSet:
		of = p.Key
	case *event.TimerSet:
		of = p.For
	case *event.TimerFired:
		of = p.For
	}
	name := fmt.Sprintf("%d %s %d %d %s", p.Kind(), k.Node, k.Visit, attempt, of)
	n[name]++
	return fmt.Sprintf("%s %d", name, n[name])
}

// names returns the names of the recorded run's events, by version from 1.
func (rec *recording) names() ([]string, error) {
	n := namer{}
	var list []string
	for e, err := range history(rec.log, rec.s.Run) {
		if err != nil {
			return nil, err
		}
		p, err := payload(e)
		if err != nil {
			return nil, err
		}
		list = append(list, n.name(p))
	}
	return list, nil
}

// goesBack reports whether a command goes back to a position of the run's past.
func goesBack(c machine.Command) bool {
	switch c := c.(type) {
	case machine.Restore:
		return true
	case machine.Retry:
		return c.Node != ""
	}
	return false
}

// translated returns a command that goes back to the position of the played run
// that is the one the recorded run went back to; ok is false if there is none.
func (p *player) translated(c machine.Command) (_ machine.Command, ok bool) {
	switch c := c.(type) {
	case machine.Restore:
		c.To, ok = p.place(c.To)
		return c, ok
	case machine.Retry:
		if c.Node == "" {
			return c, true
		}
		c.To, ok = p.place(c.To)
		return c, ok
	}
	return c, true
}

// place returns the version of the played run at which it stood as the recorded one
// did after a version: that of the same event, or of the nearest before it.
func (p *player) place(v eventlog.Version) (eventlog.Version, bool) {
	for v = min(v, eventlog.Version(len(p.names))); v > 0; v-- {
		if at, ok := p.named[p.names[v-1]]; ok {
			return at, true
		}
	}
	return 0, false
}
