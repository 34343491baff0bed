package run

import (
	"fmt"

	"github.com/wfd-dev/wfd/projection/event"
)

// planMade begins the tasks of a plan: they are items of the visit, which are done in
// the order that their prerequisites allow.
func (s *State) planMade(p *event.PlanMade) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	if v.Attempt != p.Attempt || v.Status != NodeRunning && v.Held == nil || v.Each != nil {
		return fmt.Errorf("%w: attempt %d of %s is not under way", ErrHistory, p.Attempt, p.Node)
	}
	if len(p.Tasks) == 0 || len(p.Tasks) > maxItems {
		return fmt.Errorf("%w: %d tasks", ErrHistory, len(p.Tasks))
	}
	s.use(p.Usage)
	s.ended(p.Node, p.Visit, p.Attempt, p.Usage)
	s.moving()
	v.Each = &Each{Results: make([]event.Value, len(p.Tasks)), Plan: p}
	v.Status, v.Failure, v.Losses, v.Held = NodeRunning, nil, 0, nil
	s.node(p.Node).Failure = nil
	s.setStatus(v)
	return nil
}

// Ready returns the first task of a plan that may begin: not under way, not ended, not
// failed, and with all that it builds on; -1 if there is none. s is the state that the
// visit with this progress is of.
func (e *Each) Ready(s *State, node string) int {
	for i := range e.Plan.Tasks {
		if len(e.Results[i]) == 0 && s.Live[ItemName(node, i)] == nil && e.Failed(node, i) == nil && e.Built(i) {
			return i
		}
	}
	return -1
}

// Failed returns why a task of a plan failed, nil if it did not.
func (e *Each) Failed(node string, task int) *event.Failure {
	for i := range e.Failures {
		if e.Failures[i].Node == ItemName(node, task) {
			return &e.Failures[i]
		}
	}
	return nil
}

// Built reports whether all that a task of a plan builds on has been done.
func (e *Each) Built(task int) bool {
	for _, p := range e.Plan.Tasks[task].Prerequisites {
		if p < 0 || p >= len(e.Results) || len(e.Results[p]) == 0 {
			return false
		}
	}
	return true
}
