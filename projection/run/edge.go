package run

import (
	"github.com/wfd-dev/wfd/projection/event"
)

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
		s.passed(p.From, true)
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
