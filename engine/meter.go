package engine

import (
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/ledger"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// meter says what the calls of one run may use while a batch of its commands is
// decided, and has it granted.
type meter struct {
	e      *Engine
	l      *loaded
	at     event.Time     // of the decision
	grants []*ledger.Hold // of the batch
	// tasks are what was measured: those attempts that begin with the batch are not
	// made a second time.
	tasks map[attempt]*agent.Task
	need  event.Need // of a worker, as it was last told
}

// Need implements machine.Meter. An attempt whose settings cannot be evaluated fails
// without a call, and needs nothing.
func (m *meter) Need(n *workflow.Node, v *run.Visit, id event.CallID) *event.Need {
	if n.Kind == workflow.Worker {
		m.need = workerNeed(n)
		return &m.need
	}
	task := bare(m.l.state, m.l.wf, v)
	t := &task
	t.Attempt = id.Attempt
	if v.Agent != nil && v.Agent.Attempt == id.Attempt && m.e.opt.Agents != nil {
		t.Agent = m.e.opt.Agents.Version(v.Agent.Hash)
	}
	m.e.describe(t, m.l.state, m.l.wf, v)
	if m.e.evaluate(t, m.l.state, m.l.wf, v) != nil {
		return nil
	}
	if m.tasks == nil {
		m.tasks = map[attempt]*agent.Task{}
	}
	m.tasks[attempt{t.Run, t.Node, t.Visit}] = t
	chars, output := agent.Size(t)
	need := m.e.need(t.Agent, chars, output)
	return &need
}

// workerNeed returns what the definition says that an attempt of a worker's may use;
// nothing where it does not say.
func workerNeed(n *workflow.Node) event.Need {
	need := event.Need{Output: int64(n.Def.Int("max_tokens"))}
	if usd := n.Def.Fields["max_usd"]; usd != nil {
		micros, _ := workflow.Micros(usd) // the definition was checked
		need.Micros = event.Micros(micros)
	}
	return need
}

// measured returns the task of an attempt as it was measured in this batch, nil if it
// was not.
func (m *meter) measured(s *run.State, v *run.Visit) *agent.Task {
	if t := m.tasks[attempt{s.Run, v.Node, v.Visit}]; t != nil && t.Attempt == v.Attempt {
		return t
	}
	return nil
}

// need returns what a call of an agent's model may use.
func (e *Engine) need(a *roster.Agent, chars, output int64) event.Need {
	model := ""
	if a != nil {
		model = a.Model
	}
	need := event.NewNeed(chars, output, nil)
	if p := e.opt.Prices.Price(model, need.Input); p != nil {
		need = event.NewNeed(chars, output, p)
	}
	need.Model = model
	if a != nil {
		need.Agent = a.ID
	}
	return need
}

// Grant implements machine.Meter.
func (m *meter) Grant(n *event.Need) machine.Grant {
	said, g, err := m.e.ledger.grant(m.l.state, m.l.wf, n, max(m.at, m.l.state.Time))
	if err != nil {
		m.e.slog.Error("what budgets allow is not known; this is tried again", "run", m.l.id.String(), "error", err)
		m.e.clock.arm(m.l.id, m.e.now()+event.Time(wakeAgain), true)
		return machine.Grant{Wait: &run.Short{Need: n.Spend()}}
	}
	if g != nil {
		m.grants = append(m.grants, g)
	}
	return said
}

// priced returns usage with the model and the price that it is charged at. Usage that no
// call can have is none: whoever reported it is not to be believed.
func (e *Engine) priced(u *event.Usage, a *roster.Agent) *event.Usage {
	if u == nil {
		return nil
	}
	if err := u.Check(); err != nil {
		e.slog.Warn("usage was reported that cannot be", "error", err)
		return nil
	}
	priced := *u
	if priced.Model == "" && a != nil {
		priced.Model = a.Model
	}
	priced.Price = e.opt.Prices.Price(priced.Model, priced.InputTokens)
	return &priced
}
