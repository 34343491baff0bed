package run

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	if e.Erased {
		return s.applyErased(e)
	}
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return fmt.Errorf("run %s, version %d: %w", s.Run, e.Version, err)
	}
	return s.ApplyPayload(e, p)
}

// ApplyPayload is Apply for an event whose payload is decoded already.
func (s *State) ApplyPayload(e eventlog.Event, p event.Payload) error {
	s.Version = e.Version
	s.Seq = e.Seq
	s.Time = event.Time(e.Time)
	if err := s.apply(p); err != nil {
		return fmt.Errorf("run %s, version %d, %s: %w", s.Run, e.Version, event.KindName(e.Kind), err)
	}
	return nil
}

// applyErased keeps order and time of an event whose payload is gone.
func (s *State) applyErased(e eventlog.Event) error {
	return fmt.Errorf("run %s, version %d: its payload was erased: the run can be rebuilt up to version %d", s.Run, e.Version, s.Version)
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
		s.Status, s.Reason = Paused, p.Reason
		s.key(p.Key)
	case *event.RunResumed:
		s.resumed(p)
	case *event.RunWaiting:
		s.Status = Waiting
	case *event.RunRestored:
		return s.restored(p)
	case *event.RunForked:
		return s.forked(p)
	case *event.CheckpointCreated:
		s.mark(p)
		s.key(p.Key)
	case *event.CheckpointPruned, *event.ResultIgnored:
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
		s.setStatus(v)
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
	s.Status, s.Ended = st, s.Time
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
	s.Workflow, s.WFVer, s.Hash = p.Workflow, p.Version, p.Hash
	s.Input, s.Env, s.Labels, s.Parent, s.Depth = p.Input, p.Env, p.Labels, p.Parent, p.Depth
	s.Deadline, s.Budget, s.Key = p.Deadline, p.Budget, p.Key
	s.Last = p.Input
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

func (s *State) resumed(p *event.RunResumed) {
	s.Status, s.Reason = Running, ""
	s.key(p.Key)
	for _, v := range s.Live {
		v.Losses = 0
		if v.Then == event.ThenPause {
			v.Then, v.Tried, v.DueAt = event.ThenRetry, 0, s.Time
		}
	}
	if !p.Retry {
		return
	}
	s.Failure, s.Errors, s.Ended, s.Expired = nil, nil, 0, false
	if s.Deadline > s.Time {
		s.Timers = append(s.Timers, Timer{For: "run", At: s.Deadline})
	}
	halted, tokens := s.Halted, s.Tokens
	s.Halted, s.Tokens = nil, nil
	var again []*Visit
	for _, v := range halted {
		again = append(again, s.unfail(v)...)
	}
	for _, t := range tokens { // a failure that still waits at a converge is tried again too
		if t.Source != nil {
			again = append(again, s.unfail(t.Source)...)
		} else {
			s.Tokens = append(s.Tokens, t)
		}
	}
	for _, v := range again {
		// Two visits of one node wait at a converge behind a loop: only one can be
		// under way, and the later has superseded the other.
		if o := s.Live[v.Node]; o == nil || o.Visit < v.Visit {
			s.Live[v.Node] = v
			s.setStatus(v)
		}
	}
}

// unfail makes ready again what made v fail: v itself, or, where v only joined
// branches of which some failed, those branches; what had arrived well then
// waits at v again.
func (s *State) unfail(v *Visit) []*Visit {
	if v.Status == NodeCompleted {
		return []*Visit{v} // its edges are owed
	}
	if v.Attempt == 0 && (v.Then == event.ThenRun || v.Then == event.ThenConverge) {
		if again, found := s.unfailInputs(v); found {
			s.unconsume(v, false)
			return again
		}
	}
	if v.Stale {
		s.renew(v)
		return nil
	}
	if v.Then != "" { // what made it fail is not looked at again
		v.Status, v.Result = NodeScheduled, nil
	}
	if v.Status == NodeRunning {
		v.Status = NodeScheduled
	}
	if v.Signal != "" {
		v.Status = NodeWaiting
	}
	v.Failure, v.Errors, v.Then, v.Fired = nil, nil, "", ""
	v.Tried, v.Taken, v.RetryAt, v.Losses = 0, 0, 0, 0
	if v.Each != nil {
		v.Each.Failures = nil
	}
	return []*Visit{v}
}

// unfailInputs makes ready again what made the branches fail that v joined, if any
// did.
func (s *State) unfailInputs(v *Visit) (again []*Visit, found bool) {
	for i, t := range v.Inputs {
		if t.Source != nil {
			t.Source.Thread = s.before(v, i)
			again = append(again, s.unfail(t.Source)...)
			found = true
		}
	}
	return again, found
}

// unconsume gives back the tokens that v began with, those of branches that
// failed only if asked to.
func (s *State) unconsume(v *Visit, failed bool) {
	s.node(v.Node).Counted--
	for i, t := range v.Inputs {
		if t.Source != nil && !failed {
			continue
		}
		back := *t
		back.Thread = s.before(v, i)
		s.Tokens = append(s.Tokens, &back)
	}
}

func (s *State) scheduled(p *event.NodeScheduled) error {
	if s.Live[p.Node] != nil {
		return fmt.Errorf("%w: %s is under way", ErrHistory, p.Node)
	}
	n := s.node(p.Node)
	n.Visits, n.Status = p.Visit, NodeScheduled
	n.Failure = nil
	v := &Visit{Node: p.Node, Visit: p.Visit, Status: NodeScheduled, Signal: p.Signal, Epoch: s.Epoch}
	if p.Signal != "" {
		v.Status, n.Status = NodeWaiting, NodeWaiting
	}
	s.moving()
	if of, item, ok := ItemOf(p.Node); ok {
		parent := s.Live[of]
		if parent == nil || parent.Each == nil {
			return fmt.Errorf("%w: no foreach %s is under way", ErrHistory, of)
		}
		v.Item, v.Of, v.Thread = item+1, of, parent.Thread
		v.Attempt = parent.Each.open(item)
		s.Live[p.Node] = v
		return nil
	}
	n.Counted++
	if n.Kept != nil {
		v.Each, v.Result = n.Kept.Each, n.Kept.Result
		n.Kept = nil
	}
	var keep []*Token
	for _, t := range s.Tokens {
		if t.To == p.Node {
			v.Inputs = append(v.Inputs, t)
		} else {
			keep = append(keep, t)
		}
	}
	s.Tokens = keep
	if len(v.Inputs) == 0 {
		return fmt.Errorf("%w: no token waits at %s", ErrHistory, p.Node)
	}
	slices.SortStableFunc(v.Inputs, func(a, b *Token) int { return slices.Compare(a.Thread.Path, b.Thread.Path) })
	v.Thread = s.joined(v.Inputs)
	s.Live[p.Node] = v
	if s.alone(v) {
		if s.Forked {
			s.closeJournal(v.Thread)
		}
		v.Thread = Thread{}
	}
	return nil
}

// open notes that an item is under way, and returns the attempts it has had.
func (e *Each) open(item int) (attempts int) {
	e.Open++
	i := slices.IndexFunc(e.Again, func(r Redo) bool { return r.Item == item })
	if i < 0 {
		e.Next = item + 1
		return 0
	}
	attempts = e.Again[i].Attempt
	e.Again = slices.Delete(e.Again, i, i+1)
	return attempts
}

// items returns the items of a foreach that are under way, in their order.
func (s *State) items(of *Visit) []*Visit {
	var items []*Visit
	for _, v := range s.Live {
		if v.Of == of.Node {
			items = append(items, v)
		}
	}
	slices.SortFunc(items, func(a, b *Visit) int { return a.Item - b.Item })
	return items
}

// close notes that the items under way are given up, to be done again should the
// foreach go on.
func (e *Each) close(items []*Visit) {
	for _, v := range items {
		e.Open--
		e.Again = append(e.Again, Redo{v.Item - 1, v.Attempt})
	}
}

// visit returns the live visit of a node.
func (s *State) visit(node string, visit int) (*Visit, error) {
	v := s.Live[node]
	if v == nil || v.Visit != visit {
		return nil, fmt.Errorf("%w: visit %d of %s is not under way", ErrHistory, visit, node)
	}
	return v, nil
}

func (s *State) setStatus(v *Visit) { s.node(v.Node).Status = v.Status }

func (s *State) started(p *event.NodeStarted) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.Status, v.Attempt, v.RetryAt = NodeRunning, p.Attempt, 0
	v.Tried++
	if p.Each && v.Each == nil {
		v.Each = &Each{Results: make([]event.Value, p.Items)}
	}
	s.setStatus(v)
	s.moving()
	return nil
}

func (s *State) use(u *event.Usage) {
	if u != nil {
		s.Usage.InputTokens += u.InputTokens
		s.Usage.OutputTokens += u.OutputTokens
	}
}

func (s *State) completed(p *event.NodeCompleted) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	s.use(p.Usage)
	s.moving()
	s.dropTimers(v)
	s.consume(p.Signal)
	v.Status, v.Failure = NodeCompleted, nil
	n := s.node(p.Node)
	n.Status, n.Failure = NodeCompleted, nil
	n.Completed++
	if v.Item > 0 {
		delete(s.Live, p.Node)
		each := s.Live[v.Of].Each
		each.Open--
		each.Ended++
		each.Results[v.Item-1] = p.Result
		if len(p.Set) > 0 {
			each.Answers = append(each.Answers, ItemAnswer{v.Item - 1, p.Set})
		}
		return nil
	}
	v.Result = p.Result
	if p.Passes != "" {
		if v.Result, err = v.Input(p.Passes == event.PassInputs, s.Input); err != nil {
			return err
		}
	}
	if len(v.Result) == 0 {
		v.Result = event.Null
	}
	v.Answer, v.Sets, v.Last = p.Set, p.Sets, p.Last
	n.Result, s.Last = v.Result, v.Result
	v.Direct = !s.Forked && s.alone(v)
	if !v.Direct {
		s.openJournal()
		v.Entry = len(s.Journal)
		v.Thread.Seen = append(slices.Clip(v.Thread.Seen), v.Entry)
		s.Journal = append(s.Journal, Entry{Node: v.Node, Visit: v.Visit, Result: v.Result})
	}
	s.finish(v)
	return nil
}

// consume takes the oldest signal of a name.
func (s *State) consume(name string) {
	if len(s.Signals[name]) > 1 {
		s.Signals[name] = s.Signals[name][1:]
	} else {
		delete(s.Signals, name)
	}
}

// finish ends a completed visit that owes nothing more.
func (s *State) finish(v *Visit) {
	if v.Status != NodeCompleted || !v.Last || v.SetDone < v.Sets {
		return
	}
	delete(s.Live, v.Node)
	if !v.Direct {
		s.Done = append(s.Done, v.Thread)
	}
}

func (s *State) failed(p *event.NodeFailed) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	s.use(p.Usage)
	s.moving()
	f := p.Failure
	n := s.node(p.Node)
	n.Failure = &f
	v.Failure, v.Then, v.To, v.DueAt, v.Status = &f, p.Then, p.To, p.RetryAt, NodeFailed
	v.Errors, v.Losses = p.Errors, 0
	n.Status = NodeFailed
	if p.Then != event.ThenRetry && p.Then != event.ThenPause {
		s.dropTimers(v)
	}
	if v.Signal != "" && p.Class == event.ClassInvalidOutput { // the signal was not as expected
		s.consume(v.Signal)
	}
	if p.Then == event.ThenForeach || p.Then == event.ThenContinue {
		return s.itemFailed(v, p)
	}
	return nil
}

func (s *State) itemFailed(v *Visit, p *event.NodeFailed) error {
	parent := s.Live[v.Of]
	if v.Item == 0 || parent == nil || parent.Each == nil {
		return fmt.Errorf("%w: %s is no item of a foreach", ErrHistory, v.Node)
	}
	delete(s.Live, v.Node)
	each := parent.Each
	each.Open--
	if p.Then == event.ThenContinue {
		r, err := failureValue(&p.Failure)
		each.Results[v.Item-1] = r
		each.Ended++
		return err
	}
	each.Failures = append(each.Failures, p.Failure)
	each.Again = append(each.Again, Redo{v.Item - 1, v.Attempt})
	return nil
}

func (s *State) skipped(p *event.NodeSkipped) error {
	if p.Visit == 0 {
		s.Tokens = slices.DeleteFunc(s.Tokens, func(t *Token) bool { return t.To == p.Node })
		return nil
	}
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	delete(s.Live, p.Node)
	v.Ordered = false // a child run is cancelled: to go on is to order another
	s.node(p.Node).Status = NodeSkipped
	if v.Item > 0 {
		return nil // its foreach was given up before
	}
	if v.Each != nil {
		v.Each.close(s.items(v))
	}
	if p.Reason == event.SkipRunEnded {
		s.Halted = append(s.Halted, v)
		return nil
	}
	s.dropTimers(v)
	return nil
}

func (s *State) dropTimers(v *Visit) {
	s.Timers = slices.DeleteFunc(s.Timers, func(t Timer) bool { return t.Node == v.Node && t.Visit == v.Visit })
}

func (s *State) timerSet(p *event.TimerSet) error {
	s.Timers = append(s.Timers, Timer{p.Node, p.Visit, p.For, p.At})
	if p.Node == "" {
		return nil
	}
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.Status = NodeWaiting
	s.setStatus(v)
	return nil
}

func (s *State) timerFired(p *event.TimerFired) error {
	s.Timers = slices.DeleteFunc(s.Timers, func(t Timer) bool {
		return t.Node == p.Node && t.Visit == p.Visit && t.For == p.For
	})
	s.moving()
	if p.Node == "" {
		s.Expired = true
		return nil
	}
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.Fired = p.For
	return nil
}

func (s *State) taken(p *event.EdgeTaken) error {
	v, err := s.visit(p.From, p.Visit)
	if err != nil {
		return err
	}
	t := &Token{To: p.To, From: p.From, Visit: p.Visit, Thread: v.Thread.branch(p.Branch, p.Of), Result: v.Result, Failure: p.Failure}
	if p.Outcome == event.OutcomeFailure {
		t.Source = v
	}
	if p.Failure != nil {
		if t.Result, err = failureValue(p.Failure); err != nil {
			return err
		}
	}
	v.Taken++
	if v.Taken == p.Of {
		delete(s.Live, p.From)
	}
	s.Tokens = append(s.Tokens, t)
	return nil
}

// failureValue is what a node reads as the result of a branch that failed.
func failureValue(f *event.Failure) (event.Value, error) {
	return event.ValueOf(map[string]any{"error": map[string]any{"class": f.Class, "message": f.Message, "node": f.Node}})
}

func (s *State) set(p *event.StateSet) error {
	old := s.Vars[p.Key]
	if len(p.Value) == 0 {
		delete(s.Vars, p.Key)
	} else {
		s.Vars[p.Key] = p.Value
	}
	if p.Merge {
		return nil
	}
	if p.Node == "" {
		s.edit(p.Key, p.Value)
		return nil
	}
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.SetDone++
	if v.Direct {
		if v.Old == nil {
			v.Old = Map[event.Value]{}
		}
		v.Old[p.Key] = old
	} else {
		w := Write{Key: p.Key, Value: p.Value, Reduce: p.Reduce}
		if p.Reduce != "" {
			w.Value = p.Operand
		}
		e := &s.Journal[v.Entry]
		e.Writes = append(e.Writes, w)
	}
	s.finish(v)
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

// Input returns what was delivered to a visit: the result of the one node
// before it as it is, or those of several keyed by node; keyed in any case if
// so asked. A node that starts with the run has the run's input.
func (v *Visit) Input(keyed bool, input event.Value) (event.Value, error) {
	if len(v.Inputs) == 0 || (len(v.Inputs) == 1 && v.Inputs[0].From == "") {
		return input, nil
	}
	if len(v.Inputs) == 1 && !keyed {
		return v.Inputs[0].Result, nil
	}
	m := make(map[string]any, len(v.Inputs))
	for _, t := range v.Inputs {
		if t.From == "" {
			continue
		}
		x, err := t.Result.Any()
		if err != nil {
			return nil, err
		}
		m[t.From] = x
	}
	return event.ValueOf(m)
}

// ItemName is the node ID of item i, from 0, of a foreach.
func ItemName(node string, i int) string { return fmt.Sprintf("%s[%d]", node, i) }

// ItemOf splits what ItemName made.
func ItemOf(id string) (node string, i int, ok bool) {
	if !strings.HasSuffix(id, "]") {
		return "", 0, false
	}
	at := strings.LastIndexByte(id, '[')
	if at < 1 {
		return "", 0, false
	}
	for _, c := range id[at+1 : len(id)-1] {
		if c < '0' || c > '9' || i > 1<<40 {
			return "", 0, false
		}
		i = i*10 + int(c-'0')
	}
	return id[:at], i, len(id)-1 > at+1
}
