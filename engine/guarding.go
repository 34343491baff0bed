package engine

import (
	"context"
	"fmt"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/guard"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Guard looks at what comes into runs from outside, and at what is answered.
type Guard interface {
	// Check returns what is found in c. It is called from many goroutines at once, and on
	// the way of the run concerned: it must not wait.
	Check(c guard.Content) []guard.Finding
}

// BlockedError refuses what a rule does not let into a run.
type BlockedError struct {
	What string // a guard's word for it
	guard.Finding
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("the %s was blocked by rule %s of the guard%s", e.What, e.Rule, e.because())
}

func (e *BlockedError) because() string {
	if e.Message == "" {
		return ""
	}
	return ": " + e.Message
}

// Unwrap says that it is the command's content that is wrong.
func (e *BlockedError) Unwrap() error { return machine.ErrInvalid }

// screened is what a command brings into a run, from whom, and how findings name it.
type screened struct {
	content guard.Content
	about   event.Finding
	actor   string
}

// screen has the guard look at what a command brings into a run, before it is decided.
// It returns the command that is to be decided in its place. What is found is on disk by
// then: if we crash before what follows from it is, it is found again.
func (e *Engine) screen(l *loaded, c machine.Command, actor string) (machine.Command, error) {
	if e.opt.Guard == nil {
		return c, nil
	}
	given := func(what, name string, values ...event.Value) error {
		return e.screenGiven(l, screened{
			guard.Content{What: what, Workflow: l.wf.Name}, event.Finding{What: what, Workflow: l.wf.Name, Name: name}, actor,
		}, values)
	}
	switch cmd := c.(type) {
	case machine.Result:
		return e.screenResult(l, cmd, actor)
	case machine.Start:
		if cmd.Parent != nil || l.state.Status != run.Pending {
			return c, nil // what a child run is given comes from within
		}
		return c, given(guard.Input, "", cmd.Input)
	case machine.Fork:
		if l.state.Status != run.Pending {
			return c, nil
		}
		return c, given(guard.Input, "", append(valuesOf(cmd.Set), cmd.Input)...)
	case machine.Resume:
		return c, given(guard.Input, "", valuesOf(cmd.Set)...)
	case machine.Signal:
		return c, given(guard.Signal, cmd.Name, event.StringValue(cmd.Name), cmd.Value)
	case machine.Answer:
		return c, given(guard.Answer, "", cmd.Value)
	}
	return c, nil
}

func valuesOf(set map[string]event.Value) []event.Value {
	var list []event.Value
	for _, v := range set { // in any order: what is found does not depend on it
		list = append(list, v)
	}
	return list
}

// screenGiven has the guard look at what somebody gives a run.
func (e *Engine) screenGiven(l *loaded, x screened, values []event.Value) error {
	if l.state.Status != run.Pending {
		x.about.Of = l.id
	}
	for _, v := range values {
		if len(v) == 0 {
			continue
		}
		a, err := v.Any()
		if err != nil {
			return fmt.Errorf("%w: %w", machine.ErrInvalid, err)
		}
		x.content.Values = append(x.content.Values, a)
	}
	worst, err := e.check(x, true)
	if err == nil && worst != nil && worst.Then == guard.Block {
		return &BlockedError{x.content.What, *worst}
	}
	return err
}

// screenResult has the guard look at what became of an attempt. A result that is
// blocked, and a message, do not come into the log.
func (e *Engine) screenResult(l *loaded, c machine.Result, actor string) (machine.Command, error) {
	s := l.state
	v := s.Live[c.Node]
	if s.Status.Terminal() || v == nil || v.Visit != c.Visit || v.Attempt != c.Attempt || v.Status != run.NodeRunning {
		return c, nil // nothing of it is kept
	}
	t := bare(s, l.wf, v)
	x := ofAttempt(&t, "", actor)
	for _, v := range append(valuesOf(c.Set), c.Value, c.Checkpoint) {
		if len(v) == 0 {
			continue
		}
		a, err := v.Any()
		if err != nil {
			return c, nil // the machine says what is wrong with it
		}
		x.content.Values = append(x.content.Values, a)
	}
	if c.Failure != nil {
		x.content.Values = append(x.content.Values, c.Failure.Message)
	}
	worst, err := e.check(x, c.Failure == nil)
	switch {
	case err != nil:
		return nil, err
	case worst == nil || worst.Then == guard.Warn:
	case c.Failure != nil: // nobody is asked about a message; it goes
		f := *c.Failure
		f.Message = "[blocked by rule " + worst.Rule + "]"
		c.Failure, c.Checkpoint = &f, nil
	case worst.Then == guard.Ask:
		return machine.Hold{Result: c, Rule: worst.Rule, Message: worst.Message}, nil
	default:
		blocked := BlockedError{"result", *worst}
		c.Value, c.Set, c.Again = nil, nil, new(bool)
		c.Failure = &event.Failure{Class: event.ClassInvalidOutput, Message: blocked.Error()}
	}
	return c, nil
}

// ofAttempt names what comes of an attempt, or of a tool that it called.
func ofAttempt(t *agent.Task, tool, actor string) screened {
	what := guard.Agent
	switch {
	case tool != "":
		what = guard.Tool
	case t.Kind == workflow.HTTP:
		what = guard.HTTP
	case t.Kind == workflow.Exec:
		what = guard.Exec
	case t.Kind == workflow.Tool:
		what = guard.Tool
	case t.Kind == workflow.Worker:
		what = guard.Worker
	}
	return screened{
		guard.Content{What: what, Workflow: t.Workflow},
		event.Finding{What: what, Workflow: t.Workflow, Of: t.Run, Node: t.Node, Visit: t.Visit, Attempt: t.Attempt, Name: tool},
		actor,
	}
}

// screenTool returns what has the guard look at what a tool says to an attempt, before
// that is recorded and the attempt goes on from it; nil if there is no guard. The error
// is why it must not. Nobody can be asked in the midst of an attempt, which makes it a
// no. What a tool node is told is its result, of which there is more to say than that it
// is blocked: that is said when it is handed in.
func (e *Engine) screenTool(t *agent.Task) func(ctx context.Context, tool string, said ...any) error {
	if e.opt.Guard == nil {
		return nil
	}
	return func(ctx context.Context, tool string, said ...any) error {
		x := ofAttempt(t, tool, runnerOf(t))
		x.content.Values = said
		if t.Kind == workflow.Tool {
			found := e.opt.Guard.Check(x.content)
			if g := guard.Gravest(found); g < 0 || found[g].Then != guard.Block {
				return nil
			}
		}
		worst, err := e.check(x, false)
		if err == nil && worst != nil && worst.Then != guard.Warn {
			err = &BlockedError{"answer", *worst}
		}
		return err
	}
}

// check has the guard look at x and records what it finds. It returns the finding that
// decides, nil if there is none. One that has somebody asked is recorded by the run, or
// as blocked where nobody can be.
func (e *Engine) check(x screened, asks bool) (*guard.Finding, error) {
	found := e.opt.Guard.Check(x.content)
	worst := guard.Gravest(found)
	if worst < 0 {
		return nil, nil
	}
	for i, f := range found {
		about := x.about
		about.Rule, about.Message = f.Rule, f.Message
		var p event.Payload
		switch {
		case i == worst && (f.Then == guard.Block || f.Then == guard.Ask && !asks):
			if about.What == guard.Signal {
				about.Name = "" // whoever gave it chose that, too
			}
			p = &event.SecurityBlocked{Finding: about}
		case f.Then == guard.Warn && found[worst].Then == guard.Warn:
			p = &event.SecurityWarned{Finding: about}
		}
		e.slog.Warn("a rule of the guard found something", "rule", f.Rule, "then", string(f.Then), "what", about.What, "workflow", about.Workflow,
			"run", about.Of.String(), "node", about.Node)
		if p == nil {
			continue
		}
		if err := e.recordFinding(p, x.actor); err != nil {
			return nil, fmt.Errorf("recording what a guard found: %w", err)
		}
	}
	return &found[worst], nil
}

// recordFinding appends what a guard found to the system stream of that.
func (e *Engine) recordFinding(p event.Payload, actor string) error {
	e.guarding.Lock()
	defer e.guarding.Unlock()
	_, err := appendFact(context.Background(), e.log, event.Security, p, actor, e.now())
	return e.stored(err)
}
