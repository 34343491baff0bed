package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// failing is what is known about a failure besides its class and message.
type failing struct {
	usage  *event.Usage
	errors []event.Failure
	final  bool       // no further attempt makes sense
	pause  bool       // a person is to look, whatever the definition says
	again  *bool      // what the runner says about a further attempt
	after  event.Time // not before then

	checkpoint event.Value // how far the attempt had come
	sandbox    string      // the level that its program ran at
}

// fail records that an attempt, or a node without a runner, failed, and what
// follows.
func (d *decider) fail(v *run.Visit, f event.Failure, how failing) {
	n := d.node(v)
	f.Node, f.Visit, f.Attempt = v.Node, v.Visit, v.Attempt
	p := &event.NodeFailed{Failure: f, Usage: how.usage, Errors: how.errors, Checkpoint: how.checkpoint, Sandbox: how.sandbox}
	edge := n.OnError
	p.Then = event.ThenOnError
	if f.Class == event.ClassTimeout && n.OnTimeout != nil {
		edge, p.Then = n.OnTimeout, event.ThenOnTimeout
	}
	conv := -1
	if v.Item == 0 {
		conv = d.w.ConvergeAfter(n.Index)
	}
	switch {
	case how.pause:
		p.Then = event.ThenPause
	case !how.final && v.Tried < n.Retry.Max && retryable(n, f.Class, how.again):
		p.Then, p.RetryAt = event.ThenRetry, max(d.backoff(n, v), how.after)
	case v.Item == 0 && edge != nil:
		p.To = d.w.Nodes[edge.To].ID
	case !how.final && d.pauses(n, v, f.Class, conv):
		p.Then = event.ThenPause
	case v.Item > 0:
		p.Then = event.ThenForeach
		if of := d.w.Node(v.Of); of.Kind == workflow.Foreach && of.OnFailure == workflow.FailContinue {
			p.Then = event.ThenContinue
		}
	case conv >= 0:
		p.Then, p.To = event.ThenConverge, d.w.Nodes[conv].ID
	default:
		p.Then = event.ThenRun
	}
	of := v.Of
	d.emit(p)
	if of != "" {
		d.touch(of)
	}
}

// retryable reports whether a failure of this class is worth a further attempt.
func retryable(n *workflow.Node, class string, hint *bool) bool {
	if hint != nil {
		return *hint
	}
	switch class {
	case event.ClassTimeout, event.ClassNetwork, event.ClassRateLimit, event.ClassUnavailable, event.ClassInvalidOutput:
		return true
	case event.ClassToolFailed:
		return n.Def.Retry != nil // a tool's own failure repeats itself unless the author knows better
	}
	return false
}

// pauses reports whether the run is paused for a person to look after the last
// attempt, rather than failed.
func (d *decider) pauses(n *workflow.Node, v *run.Visit, class string, conv int) bool {
	switch n.Retry.Then {
	case "pause":
		return true
	case "fail":
		return false
	}
	if conv >= 0 && d.w.Nodes[conv].OnFailure != workflow.FailWait || v.Item > 0 && d.w.Node(v.Of).OnFailure != workflow.FailWait {
		return false // the converge, or the foreach, was told what to do about failures
	}
	switch class {
	case event.ClassNetwork, event.ClassUnavailable, event.ClassRateLimit:
		return true
	}
	return false
}

// backoff returns when the next attempt is due: the base, doubled for every
// attempt that failed, bounded, and spread by a fifth either way so that many
// runs do not come back at once. The spread follows from the attempt's name.
func (d *decider) backoff(n *workflow.Node, v *run.Visit) event.Time {
	delay := n.Retry.Backoff
	for i := 1; i < v.Tried && delay < n.Retry.MaxBackoff; i++ {
		delay *= 2
	}
	delay = min(delay, n.Retry.MaxBackoff)
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d/%d", d.s.Run, v.Node, v.Visit, v.Attempt))
	spread := float64(binary.BigEndian.Uint32(h[:4])) / (1 << 32) // 0 to 1
	delay = time.Duration(float64(delay) * (0.8 + 0.4*spread))
	if over := delay - n.Retry.MaxBackoff; over > 0 {
		delay -= 2 * over // spread below the bound
	}
	return d.at + event.Time(delay)
}

// passOn decides what follows a failure.
func (d *decider) passOn(n *workflow.Node, v *run.Visit) {
	take := func(outcome string) {
		p := &event.EdgeTaken{From: v.Node, Visit: v.Visit, To: v.To, Outcome: outcome, Of: 1, Failure: v.Failure}
		if d.stopsOn(p) {
			return
		}
		if n.Kind == workflow.Converge {
			d.giveUp(n)
		}
		d.emit(p)
	}
	if c := v.Chat; n.Kind == workflow.Chat && v.Then != event.ThenRetry && v.Then != event.ThenPause && (c == nil || c.Ended == nil) {
		d.endChat(n, v, event.ChatFailed, "")
	}
	switch v.Then {
	case event.ThenRetry:
		at := v.DueAt
		if at <= d.at {
			at = 0 // at once: a time is left to Wake
		}
		d.emit(&event.NodeRetried{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1, At: at})
		d.touchNext(v.Node)
	case event.ThenOnError:
		take(event.OutcomeError)
	case event.ThenOnTimeout:
		take(event.OutcomeTimeout)
	case event.ThenConverge:
		take(event.OutcomeFailure)
	case event.ThenPause:
		d.emit(&event.RunPaused{Reason: fmt.Sprintf("node %s failed %d times, last with %s", v.Node, v.Tried, v.Failure.Error())})
	case event.ThenRun:
		d.failRun(*v.Failure, v.Errors)
	}
}
