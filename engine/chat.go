package engine

import (
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/run"
)

// speaker returns the agent, or the role, that has the next turn of a chat. Who has
// spoken for a participant goes on doing so.
func (e *Engine) speaker(n *workflow.Node, v *run.Visit) (name, role string) {
	p, _, _ := machine.NextTurn(n, v)
	if v.Chat != nil {
		if id := v.Chat.Agents[p.Name]; id != "" {
			if _, err := e.opt.Agents.Lookup(id); err == nil {
				return id, ""
			}
		}
	}
	if p.Role != "" {
		return "", p.Role
	}
	return e.opt.Agents.Means(p.Agent)
}

// turnOf returns what is known of the turn that an attempt of a visit is.
func turnOf(n *workflow.Node, v *run.Visit) *agent.Turn {
	who, round, _ := machine.NextTurn(n, v)
	t := &agent.Turn{Who: who, Spec: n.Chat, Round: round, Number: 1, Try: v.Attempt}
	if c := v.Chat; c != nil && len(c.Turns) > 0 {
		t.Said, t.Number = c.Turns, len(c.Turns)+1
		if last := c.Turns[len(c.Turns)-1].Attempt; last < v.Attempt {
			t.Try -= last // else the turns were taken in another visit
		}
	}
	return t
}
