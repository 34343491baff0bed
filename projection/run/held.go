package run

import (
	"fmt"

	"github.com/wfd-dev/wfd/projection/event"
)

// Held is the result of an attempt about which somebody is asked before it counts. The
// attempt is over, and charged.
type Held struct {
	Rule    string // of the guard, that asks
	Result  event.Value
	Set     []event.KV
	Verdict Verdict
	Reason  string // of the verdict
}

// Verdict is what somebody says about a result that is held.
type Verdict string

// Verdicts.
const (
	Unreviewed Verdict = ""
	Granted    Verdict = "granted"
	Denied     Verdict = "denied"
)

// Asks reports whether a visit waits for somebody's answer.
func (v *Visit) Asks() bool {
	if v.Held != nil {
		return v.Held.Verdict == Unreviewed
	}
	return v.Status == NodeWaiting && v.Asked && len(v.Result) == 0
}

func (s *State) held(p *event.SecurityRequested) error {
	v, err := s.visit(p.Node, p.Visit)
	if err != nil {
		return err
	}
	if v.Attempt != p.Attempt || v.Status != NodeRunning {
		return fmt.Errorf("%w: attempt %d of %s is not under way", ErrHistory, p.Attempt, p.Node)
	}
	s.use(p.Usage)
	s.ended(p.Node, p.Visit, p.Attempt, p.Usage)
	v.Held = &Held{Rule: p.Rule, Result: p.Result, Set: p.Set}
	v.Status, v.Losses = NodeWaiting, 0
	s.setStatus(v)
	return nil
}

func (s *State) reviewed(r *event.Review, reason string, verdict Verdict) error {
	v, err := s.visit(r.Node, r.Visit)
	if err != nil {
		return err
	}
	if v.Held == nil || v.Attempt != r.Attempt {
		return fmt.Errorf("%w: no result of attempt %d of %s is held", ErrHistory, r.Attempt, r.Node)
	}
	v.Held.Verdict, v.Held.Reason = verdict, reason
	s.moving()
	return nil
}
