package run

import (
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/projection/event"
)

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
	s.passed(p.Node, false)
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
		if p := parent.Each.Plan; p != nil {
			v.Role = p.Tasks[item].Role
		}
		s.Live[p.Node] = v
		return nil
	}
	n.Counted++
	if n.Kept != nil {
		v.Each, v.Chat, v.Result = n.Kept.Each, n.Kept.Chat, n.Kept.Result
		n.Kept = nil
	}
	s.claim(v)
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

// claim gives a visit that begins the tokens that wait at its node.
func (s *State) claim(v *Visit) {
	if len(s.Tokens) == 1 && s.Tokens[0].To == v.Node {
		v.Inputs, s.Tokens = s.Tokens[:1:1], nil
		return
	}
	var keep []*Token
	for _, t := range s.Tokens {
		if t.To == v.Node {
			v.Inputs = append(v.Inputs, t)
		} else {
			keep = append(keep, t)
		}
	}
	s.Tokens = keep
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

// maxItems is more than a foreach can have. A history from elsewhere may say anything.
const maxItems = 1 << 20

func (s *State) started(p *event.NodeStarted) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	v.Status, v.Attempt, v.RetryAt = NodeRunning, p.Attempt, 0
	v.Tried++
	if p.Each && v.Each == nil {
		if p.Items < 0 || p.Items > maxItems {
			return fmt.Errorf("%w: %d items", ErrHistory, p.Items)
		}
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
	s.ended(p.Node, p.Visit, p.Attempt, p.Usage)
	s.moving()
	s.dropTimers(v)
	s.consume(p.Signal)
	v.Status, v.Failure, v.Held = NodeCompleted, nil, nil
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
	if v.Chat == nil || v.Chat.Ended == nil { // else a turn may be under way, and what it used is told when it ends
		s.ended(p.Node, p.Visit, p.Attempt, p.Usage)
	}
	if o := s.Over; o != nil && o.Node == p.Node && o.Visit == p.Visit && o.Then == event.OnExceedFail {
		s.Over = nil
	}
	s.moving()
	f := p.Failure
	n := s.node(p.Node)
	n.Failure = &f
	v.Failure, v.Then, v.To, v.DueAt, v.Status = &f, p.Then, p.To, p.RetryAt, NodeFailed
	v.Errors, v.Losses, v.Held = p.Errors, 0, nil
	v.left(p.Checkpoint)
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

// left notes what an attempt that has ended leaves to the next one. One that leaves
// nothing leaves what it was given itself.
func (v *Visit) left(checkpoint event.Value) {
	if len(checkpoint) > 0 {
		v.Checkpoint = checkpoint
	}
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
	s.dropped(v)
	v.Ordered = false // a child run is cancelled: to go on is to order another
	v.Chat.reopen()
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
