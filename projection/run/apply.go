package run

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// ErrHistory marks an event that cannot follow the events before it.
var ErrHistory = errors.New("event does not fit its history")

// Apply folds the next event into s. An error means the history is broken or
// was written by a newer version; s must then be dropped.
func (s *State) Apply(e eventlog.Event) error {
	if e.Run != s.Run || e.Version != s.Version+1 {
		return fmt.Errorf("%w: run %s is at version %d, event is version %d of run %s", ErrHistory, s.Run, s.Version, e.Version, e.Run)
	}
	if e.Erased && len(e.Payload) == 0 {
		return fmt.Errorf("run %s, version %d: its payload was erased: the run can be rebuilt up to version %d", s.Run, e.Version, s.Version)
	}
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return fmt.Errorf("run %s, version %d: %w", s.Run, e.Version, err)
	}
	s.Erased, s.Archived = s.Erased || e.Erased, s.Archived || e.Archived
	return s.ApplyPayload(e, p)
}

// ApplyPayload is Apply for an event whose payload is decoded already.
func (s *State) ApplyPayload(e eventlog.Event, p event.Payload) (err error) {
	// A history from elsewhere may lead the fold to what is not there.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("run %s, version %d, %s: %w: %v", s.Run, e.Version, event.KindName(e.Kind), ErrHistory, r)
		}
	}()
	s.Version = e.Version
	s.Seq = e.Seq
	s.Time = event.Time(e.Time)
	if err := s.apply(p); err != nil {
		return fmt.Errorf("run %s, version %d, %s: %w", s.Run, e.Version, event.KindName(e.Kind), err)
	}
	return nil
}

func (s *State) apply(p event.Payload) error {
	switch p := p.(type) {
	case *event.RunCreated:
		return s.created(p)
	case *event.RunCompleted:
		s.Output = p.Output
		s.end(Completed)
	case *event.RunFailed:
		f := p.Failure
		s.Failure, s.Errors = &f, p.Errors
		for _, id := range s.LiveIDs() { // the visits that failed it
			s.Halted = append(s.Halted, s.Live[id])
			delete(s.Live, id)
		}
		s.end(Failed)
	case *event.RunCancelled:
		s.Reason = p.Reason
		s.end(Cancelled)
		s.key(p.Key)
	case *event.RunPaused:
		s.paused(p)
	case *event.RunResumed:
		s.resumed(p)
	case *event.RunWaiting:
		s.Status = Waiting
	case *event.RunRestored:
		return s.restored(p)
	case *event.RunImported:
		if !s.Status.Terminal() {
			s.Status, s.Reason, s.Over = Paused, p.Pause, nil
		}
	case *event.RunForked:
		return s.forked(p)
	case *event.CheckpointCreated:
		s.mark(p)
		s.key(p.Key)
	case *event.CheckpointPruned:
	case *event.ResultIgnored:
		s.late(p)
	case *event.CostReserved:
		s.reserved(p)
	case *event.CostSettled:
		s.settled(p)
	case *event.BudgetExceeded:
		// A run that is paused for a budget already stays so, whichever it came to last.
		s.Over = &Over{BudgetExceeded: *p, Told: s.Status == Paused && s.Over != nil && s.Over.Told}
	case *event.BudgetRaised:
		s.raised(p)
	default:
		return s.applyVisit(p)
	}
	return nil
}

// applyVisit folds what happens to visits and to what they wait for.
func (s *State) applyVisit(p event.Payload) error {
	switch p := p.(type) {
	case *event.NodeScheduled:
		return s.scheduled(p)
	case *event.AgentChosen:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Agent, s.node(p.Node).Agent = p, p.Agent
	case *event.ToolCalled:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Calls = p.Call
	case *event.ChatTurn:
		return s.chatTurn(p)
	case *event.ChatEnded:
		return s.chatEnded(p)
	case *event.PlanMade:
		return s.planMade(p)
	case *event.NodeStarted:
		return s.started(p)
	case *event.NodeCompleted:
		return s.completed(p)
	case *event.NodeFailed:
		return s.failed(p)
	case *event.NodeRetried:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.RetryAt, v.Status, v.Then = p.At, NodeScheduled, ""
		s.setStatus(v)
	case *event.NodeLost:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Status = NodeScheduled
		v.Tried--
		v.Losses++
		v.left(p.Checkpoint)
		s.setStatus(v)
		s.gone(v)
		s.ended(p.Node, p.Visit, p.Attempt, nil)
	case *event.NodeSkipped:
		return s.skipped(p)
	case *event.EdgeTaken:
		return s.taken(p)
	case *event.StateSet:
		return s.set(p)
	case *event.TimerSet:
		return s.timerSet(p)
	case *event.TimerFired:
		return s.timerFired(p)
	case *event.SignalReceived:
		s.Signals[p.Name] = append(s.Signals[p.Name], p.Value)
		s.key(p.Key)
		s.moving()
	case *event.InputRequested:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Status, v.Asked, v.Result = NodeWaiting, true, nil
		s.setStatus(v)
	case *event.InputReceived:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Result = p.Value
		s.key(p.Key)
		s.moving()
	case *event.SecurityRequested:
		return s.held(p)
	case *event.SecurityGranted:
		s.key(p.Key)
		return s.reviewed(&p.Review, p.Reason, Granted)
	case *event.SecurityDenied:
		s.key(p.Key)
		return s.reviewed(&p.Review, p.Reason, Denied)
	case *event.ChildStarted:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Child, v.Ordered, v.Status = p.Child, true, NodeRunning
		s.setStatus(v)
	case *event.ChildEnded:
		v, err := s.visit(p.Node, p.Visit)
		if err != nil {
			return err
		}
		v.Result, v.Failure, v.Ordered = p.Output, p.Failure, false
		if v.Failure == nil && len(v.Result) == 0 {
			v.Result = event.Null
		}
		s.moving()
	default:
		return fmt.Errorf("%w: %T", ErrHistory, p)
	}
	return nil
}

func (s *State) key(k string) {
	if k == "" {
		return
	}
	if len(s.Keys) >= MaxKeys {
		s.Keys = slices.Delete(s.Keys, 0, len(s.Keys)-MaxKeys+1)
	}
	s.Keys = append(s.Keys, k)
}

// moving ends the waiting of a run.
func (s *State) moving() {
	if s.Status == Waiting {
		s.Status = Running
	}
}

func (s *State) end(st Status) {
	s.Status, s.Ended, s.Break, s.Over = st, s.Time, nil, nil
	if st != Failed {
		clear(s.Live)
		s.Tokens, s.Done, s.Halted = nil, nil, nil
		s.Forked, s.Journal, s.Base = false, nil, nil
	}
	s.Timers = nil
}

func (s *State) created(p *event.RunCreated) error {
	if s.Status != Pending {
		return fmt.Errorf("%w: the run exists", ErrHistory)
	}
	s.Status, s.Created = Running, s.Time
	s.Namespace, s.Workflow, s.WFVer, s.Hash = p.Namespace, p.Workflow, p.Version, p.Hash
	s.Input, s.Env, s.Labels, s.Parent, s.Depth = p.Input, p.Env, p.Labels, p.Parent, p.Depth
	s.Deadline, s.Budget, s.Key = p.Deadline, p.Budget, p.Key
	s.Last, s.Breaks, s.Limits = p.Input, p.Breakpoints, p.Limits
	for _, kv := range p.Defaults {
		s.Vars[kv.Key] = kv.Value
	}
	for i, id := range p.Entry {
		s.Tokens = append(s.Tokens, &Token{To: id, Thread: Thread{}.branch(i, len(p.Entry)), Result: p.Input})
	}
	if p.Deadline != 0 {
		s.Timers = append(s.Timers, Timer{For: "run", At: p.Deadline})
	}
	return nil
}

func (s *State) mark(p *event.CheckpointCreated) {
	for i := range s.Marks {
		if m := &s.Marks[i]; m.At == p.At && (m.Name == p.Name || p.Name == "") {
			m.Pinned = p.Pinned
			return
		}
	}
	s.Marks = append(s.Marks, Mark{At: p.At, Name: p.Name, Pinned: p.Pinned, Time: s.Time})
}
