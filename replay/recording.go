package replay

import (
	"errors"
	"fmt"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A recording is what came to a run from outside, in order, and where it went.
type recording struct {
	log   eventlog.Log
	s     *run.State // as it stands at its end
	facts []fact
	route route
	// What the run had set its own clock for.
	timers  map[run.Timer]bool
	retries map[attemptKey]event.Time
	chosen  map[attemptKey]*event.AgentChosen
	stops   map[run.Place]bool // where it was paused at a breakpoint
	calls   calls
	ready   map[VisitKey]event.Time // when the next attempt of a visit could first begin
}

// fact is something from outside, as the command it stands for.
type fact struct {
	meta machine.Meta
	cmd  machine.Command
	at   eventlog.Version
	// invalid is set on a result that the definition of the time did not accept, so
	// that its value is not known.
	invalid bool
	// late is set on a result that no longer counted: what it used was charged.
	late bool
}

type attemptKey struct {
	VisitKey
	attempt int
}

// errUnplayable: the run's results cannot be played through a definition.
var errUnplayable = errors.New("cannot be played")

// recordingOf reads a run. old is its definition, nil if that is gone.
func recordingOf(log eventlog.Log, id eventlog.RunID, defs Definitions) (*recording, error) {
	rec := &recording{
		log: log, s: newState(log, id), route: newRoute(), timers: map[run.Timer]bool{}, retries: map[attemptKey]event.Time{},
		chosen: map[attemptKey]*event.AgentChosen{}, stops: map[run.Place]bool{}, calls: calls{}, ready: map[VisitKey]event.Time{},
	}
	var old *workflow.Workflow
	var group []entry
	for events, err := range appends(log, id) {
		if err != nil {
			return nil, err
		}
		group = group[:0]
		for _, e := range events {
			p, err := whole(e)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errUnplayable, err)
			}
			group = append(group, entry{e, p})
		}
		for i := range group {
			if hash, ok := definitionOf(group[i].p); ok {
				if old, err = defs.ByHash(hash); err != nil && !errors.Is(err, ErrNoDefinition) {
					return nil, err
				}
			}
			if err := rec.note(old, group[i:], follows(group[:i], group[i].p)); err != nil {
				return nil, err
			}
		}
	}
	return rec, nil
}

// choose returns who did an attempt, nil if nobody was chosen for it.
func (rec *recording) choose(_ *workflow.Node, v *run.Visit) *event.AgentChosen {
	p := rec.chosen[attemptKey{VisitKey{v.Node, v.Visit}, v.Attempt + 1}]
	if p == nil {
		return nil
	}
	again := *p
	return &again
}

// follows reports whether a run.paused is what a failure, a loss or a budget led to,
// which the append has before it; or a node.failed what a budget did.
func follows(before []entry, p event.Payload) bool {
	switch p.(type) {
	case *event.NodeFailed:
		if len(before) == 0 {
			return false
		}
		_, ok := before[len(before)-1].p.(*event.BudgetExceeded)
		return ok
	case *event.RunPaused:
	default:
		return false
	}
	for i := len(before) - 1; i >= 0; i-- {
		switch b := before[i].p.(type) {
		case *event.CostSettled:
			continue
		case *event.NodeLost, *event.BudgetExceeded:
			return true
		case *event.NodeFailed:
			return b.Then == event.ThenPause
		}
		break
	}
	return false
}

// note takes the first of the events of an append into the recording; the rest
// says how a command ended that shows only later.
func (rec *recording) note(old *workflow.Workflow, events []entry, derived bool) error {
	e := events[0]
	if !derived && outside(rec.s, e.p) {
		meta, cmd, err := commandOf(rec.s, events, false)
		if err != nil {
			return fmt.Errorf("%w: version %d: %w", errUnplayable, e.Version, err)
		}
		f := fact{meta: meta, cmd: cmd, at: e.Version}
		_, f.late = e.p.(*event.ResultIgnored)
		if p, ok := e.p.(*event.NodeFailed); ok {
			if r, ok := cmd.(machine.Result); ok {
				f.cmd = rec.hint(old, r, p)
			}
			f.invalid = p.Class == event.ClassInvalidOutput
		}
		rec.facts = append(rec.facts, f)
	}
	if id, ok := heardOf(e.p); ok && id.Turn == 0 && rec.ready[VisitKey{id.Node, id.Visit}] < event.Time(e.Time) { // it waited
		rec.facts = append(rec.facts, fact{meta: machine.Meta{At: event.Time(e.Time), Actor: e.Actor}, cmd: machine.Continue{}, at: e.Version})
	}
	if err := rec.s.ApplyPayload(e.Event, e.p); err != nil {
		return fmt.Errorf("%w: %w", errUnplayable, err)
	}
	rec.route.note(e.p)
	rec.calls.note(rec.s, e.p)
	switch p := e.p.(type) {
	case *event.NodeScheduled:
		rec.ready[VisitKey{p.Node, p.Visit}] = event.Time(e.Time)
	case *event.NodeLost:
		rec.ready[VisitKey{p.Node, p.Visit}] = event.Time(e.Time)
	case *event.ChatTurn:
		rec.ready[VisitKey{p.Node, p.Visit}] = event.Time(e.Time)
	case *event.TimerSet:
		rec.timers[run.Timer{Node: p.Node, Visit: p.Visit, For: p.For, At: p.At}] = true
	case *event.RunPaused:
		if p.Breakpoint != "" {
			rec.stops[run.Place{Node: p.Node, Visit: p.Visit, To: p.To}] = true
		}
	case *event.NodeRetried:
		rec.retries[attemptKey{VisitKey{p.Node, p.Visit}, p.Attempt}] = p.At
		rec.ready[VisitKey{p.Node, p.Visit}] = max(p.At, event.Time(e.Time))
	case *event.AgentChosen:
		rec.chosen[attemptKey{VisitKey{p.Node, p.Visit}, p.Attempt}] = p
	case *event.RunCreated:
		rec.timers[run.Timer{For: "run", At: p.Deadline}] = true
	case *event.RunForked:
		rec.timers[run.Timer{For: "run", At: p.Deadline}] = true
	}
	return nil
}

// heardOf returns which call an event says of what budgets said.
func heardOf(p event.Payload) (id event.CallID, ok bool) {
	switch p := p.(type) {
	case *event.CostReserved:
		return p.CallID, true
	case *event.BudgetExceeded:
		return p.CallID, true
	}
	return id, false
}

// hint takes from a failure what a runner must have said about a further attempt:
// nothing, unless the definition of the time alone does not explain what followed.
func (rec *recording) hint(old *workflow.Workflow, r machine.Result, p *event.NodeFailed) machine.Result {
	if p.Then == event.ThenRetry {
		return r // it made sense, and would again
	}
	r.Again = nil
	v := rec.s.Live[p.Node]
	if old == nil || v == nil {
		return r
	}
	if n := machine.NodeOf(old, v); n != nil && v.Tried < n.Retry.Max {
		no := false
		r.Again = &no
	}
	return r
}
