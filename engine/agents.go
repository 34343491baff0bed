package engine

import (
	"context"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Who does an attempt is decided together with its start: the machine asks, and the
// answer is an event of the same append. Choices count as work from the moment they
// are made, so that nodes and runs which are decided at the same time do not all
// choose the same agent; what becomes of them is known after the append.

const (
	topicAgents = "agents"
	// refreshEvery is how often the files of agents are looked at.
	refreshEvery = time.Second

	// roleOfConverge combines the branches of a converge that has a prompt and nobody
	// to do it.
	roleOfConverge = "orchestrator"
)

// choosing returns what a decision about a run of a workflow chooses agents by, and a
// function to be called once the decision is dispatched, or dropped.
func (e *Engine) choosing(workflowName string) (choose func(*workflow.Node, *run.Visit) *event.AgentChosen, done func()) {
	if e.opt.Agents == nil {
		return nil, func() {}
	}
	picks := e.opt.Agents.Begin()
	return func(n *workflow.Node, v *run.Visit) *event.AgentChosen {
		name, role := e.whoFor(n, v)
		if name == "" && role == "" {
			return nil
		}
		c, err := picks.Choose(name, role)
		switch {
		case err != nil:
			return nil // the attempt fails with the reason, see agent.Models
		case e.scripted(workflowName) && role == "" && c.File == "":
			return nil // the script answers in the place of somebody whom nobody has described
		}
		return &event.AgentChosen{Agent: c.ID, Role: c.Role, Candidates: c.Candidates, Provider: c.Provider, Model: c.Model, Hash: c.Hash}
	}, picks.End
}

// whoFor returns the agent, or the role, that an attempt of a visit is for; neither if
// no agent does it.
func (e *Engine) whoFor(n *workflow.Node, v *run.Visit) (name, role string) {
	name, role = n.Def.Text("agent"), n.Def.Text("role")
	switch {
	case n.Kind == workflow.Chat:
		return e.speaker(n, v)
	case v.Role != "":
		role = v.Role
	case name == "" && role == "" && n.Kind == workflow.Plan:
		role = workflow.PlannerRole
	case name == "" && role == "" && n.Kind == workflow.Converge && n.Runs:
		role = roleOfConverge
	}
	return name, role
}

// chosen returns the agent of a visit's present attempt, nil if there is none.
func (e *Engine) chosen(v *run.Visit) *roster.Agent {
	if e.opt.Agents == nil || v.Agent == nil || v.Agent.Attempt != v.Attempt {
		return nil
	}
	return e.opt.Agents.Version(v.Agent.Hash)
}

// keepAgents takes up changes of the agents' files until ctx ends.
func (e *Engine) keepAgents(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	unreadable := ""
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		_, problems, err := e.opt.Agents.Refresh()
		if err == nil {
			unreadable = ""
		} else if err.Error() != unreadable {
			unreadable = err.Error()
			e.slog.Error("cannot look at the agents; they stay as they are", "error", err)
		}
		for i := range problems {
			if problems[i].Severity == workflow.Error {
				e.slog.Error("an agent's file is wrong; the agent stays as it was", "problem", problems[i].String())
			}
		}
	}
}

// announce tells of an agent that came, went or changed.
func (e *Engine) announce(c roster.Change) {
	e.slog.Info("agent "+c.What, "agent", c.Agent.ID, "role", c.Agent.Role)
	e.bus.Ring(topicAgents, c.What+" "+c.Agent.ID)
}

// assign tells the roster of a task that is about to be queued.
func (s *scheduler) assign(j *job) {
	t := &j.task
	if t.Agent != nil {
		j.assigned = s.e.opt.Agents.Assign(t.Agent.ID, roster.Task{
			Run: t.Run.String(), Node: t.Node, Visit: t.Visit, Attempt: t.Attempt, State: roster.Queued, Since: s.e.opt.Now(),
		})
	}
}

// agentQueue is the queue of an agent that does only so many tasks at once.
func agentQueue(a *roster.Agent, n *workflow.Node) (queue string, limit int) {
	if a == nil || a.MaxParallel == 0 || n.Def.Queue != "" {
		return queueOf(n), 0
	}
	return "agent:" + a.ID, a.MaxParallel
}
