package machine

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// carry takes a visit that has begun as far as it goes.
func (d *decider) carry(n *workflow.Node, v *run.Visit) {
	if v.Status == run.NodeScheduled && !d.admit(n, v) {
		return
	}
	if v.Held != nil {
		d.carryHeld(v)
		return
	}
	if v.Item > 0 && n.Kind == workflow.Foreach { // an item that is a child run
		d.carryChild(n, v)
		return
	}
	switch n.Kind {
	case workflow.Decision, workflow.Parallel:
		d.complete(v, outcome{passes: event.PassInput})
	case workflow.End:
		d.complete(v, outcome{passes: event.PassInput})
	case workflow.Converge:
		if n.Runs {
			d.attempt(v)
		} else {
			d.complete(v, outcome{passes: event.PassInputs})
		}
	case workflow.Human:
		d.carryHuman(n, v)
	case workflow.Wait:
		d.carryWait(n, v)
	case workflow.Sub:
		d.carryChild(n, v)
	case workflow.Foreach:
		d.carryForeach(n, v)
	case workflow.Chat:
		d.carryChat(n, v)
	case workflow.Plan:
		d.carryPlan(n, v)
	default:
		d.attempt(v)
	}
	d.again(v)
}

// again looks at v once more if it has ended.
func (d *decider) again(v *run.Visit) {
	if v.Status == run.NodeCompleted || v.Status == run.NodeFailed {
		d.touchNext(v.Node)
	}
}

// admit fails a visit that must not begin: its loop is exhausted, or the
// branches it joins have failed.
func (d *decider) admit(n *workflow.Node, v *run.Visit) bool {
	if v.Item > 0 || v.Attempt > 0 || v.Each != nil {
		return true
	}
	if k := d.s.Nodes[n.ID]; k.Counted > n.MaxVisits {
		d.fail(v, event.Failure{Class: event.ClassInternal, Message: fmt.Sprintf("loop limit: visited more often than max_visits = %d", n.MaxVisits)}, failing{final: true})
		d.again(v)
		return false
	}
	if n.Kind != workflow.Converge {
		return true
	}
	failed := failures(v.Inputs)
	ok := len(v.Inputs) - len(failed)
	var msg string
	switch need := needs(n); {
	case need > 0 && ok >= need:
		return true
	case need > 0:
		msg = fmt.Sprintf("%d of the %d branches it needs arrived", ok, need)
	case len(failed) == 0 || n.OnFailure == workflow.FailContinue:
		return true
	default:
		msg = fmt.Sprintf("%d of %d branches failed", len(failed), len(v.Inputs))
	}
	var why []event.Failure
	for _, t := range failed {
		why = append(why, causes(t)...)
	}
	d.fail(v, several(msg, why), failing{final: true, errors: why})
	d.again(v)
	return false
}

// several returns one failure for what failed together: its class is the first's.
func several(msg string, why []event.Failure) event.Failure {
	f := event.Failure{Class: event.ClassInvalidOutput, Message: msg}
	sep := ": "
	for i := range why {
		if i == 0 {
			f.Class = why[i].Class
		}
		f.Message += sep + why[i].Node + ": " + why[i].Error()
		sep = "; "
	}
	return f
}

// causes returns why a branch failed.
func causes(t *run.Token) []event.Failure {
	if len(t.Source.Errors) > 0 {
		return t.Source.Errors
	}
	return []event.Failure{*t.Failure}
}

// attempt hands the visit to its runner, if it is due and there is a place.
func (d *decider) attempt(v *run.Visit) {
	if v.Status == run.NodeScheduled && v.RetryAt <= d.at && places(d.s) {
		d.assign(v)
		if !d.affords(v) {
			return
		}
		d.emit(&event.NodeStarted{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt + 1})
	}
}

// assign has somebody chosen for a visit's next attempt, unless that was done before
// the history was cut.
func (d *decider) assign(v *run.Visit) {
	if d.cast == nil || v.Agent != nil && v.Agent.Attempt == v.Attempt+1 {
		return
	}
	if p := d.cast(d.node(v), v); p != nil {
		p.Node, p.Visit, p.Attempt = v.Node, v.Visit, v.Attempt+1
		d.emit(p)
	}
}

func (d *decider) carryHuman(n *workflow.Node, v *run.Visit) {
	switch {
	case len(v.Result) > 0:
		d.complete(v, outcome{result: v.Result})
		return
	case v.Fired != "":
		d.fail(v, event.Failure{Class: event.ClassTimeout, Message: fmt.Sprintf("no answer within %s", n.Timeout)}, failing{final: true})
		return
	}
	if v.Status == run.NodeScheduled {
		p := &event.InputRequested{Node: v.Node, Visit: v.Visit, Assignee: n.Def.Text("assignee")}
		if n.Prompt != nil {
			x, err := d.eval(n.Prompt, v, MaxValue)
			if err != nil {
				d.fail(v, event.Failure{Class: event.ClassInternal, Message: "prompt: " + err.Error()}, failing{final: true})
				return
			}
			p.Prompt = text(x)
		}
		if form, ok := n.Def.Fields["form"]; ok {
			f, err := event.ValueOf(form)
			if err != nil {
				d.fail(v, event.Failure{Class: event.ClassInternal, Message: "form: " + err.Error()}, failing{final: true})
				return
			}
			p.Form = f
		}
		d.emit(p)
	}
	d.deadline(n, v, "input")
}

// deadline sets the timer of a wait that has a timeout, once.
func (d *decider) deadline(n *workflow.Node, v *run.Visit, purpose string) {
	if n.Timeout > 0 && d.s.Timer(v.Node, v.Visit, purpose) == nil {
		d.emit(&event.TimerSet{Node: v.Node, Visit: v.Visit, For: purpose, At: d.at + event.Time(n.Timeout)})
	}
}

func (d *decider) carryWait(n *workflow.Node, v *run.Visit) {
	if v.Signal != "" {
		switch {
		case len(d.s.Signals[v.Signal]) > 0:
			d.complete(v, outcome{result: d.s.Signals[v.Signal][0], signal: v.Signal})
		case v.Fired != "":
			d.fail(v, event.Failure{Class: event.ClassTimeout, Message: fmt.Sprintf("no signal %q within %s", v.Signal, n.Timeout)}, failing{final: true})
		default:
			d.deadline(n, v, "signal")
		}
		return
	}
	switch {
	case v.Fired != "":
		d.complete(v, outcome{passes: event.PassInput})
	case d.s.Timer(v.Node, v.Visit, "wait") == nil:
		at, err := d.until(n, v)
		if err != nil {
			d.fail(v, event.Failure{Class: event.ClassInternal, Message: err.Error()}, failing{final: true})
			return
		}
		if at <= d.at {
			d.complete(v, outcome{passes: event.PassInput})
			return
		}
		d.emit(&event.TimerSet{Node: v.Node, Visit: v.Visit, For: "wait", At: at})
	}
}

// until returns when a wait node's time has come.
func (d *decider) until(n *workflow.Node, v *run.Visit) (event.Time, error) {
	x, err := d.before(v)
	if err != nil {
		return 0, err
	}
	if n.WaitFor != nil {
		a, err := n.WaitFor.Eval(x)
		if err != nil {
			return 0, fmt.Errorf("wait for: %w", err)
		}
		dur, err := duration(a)
		if err != nil {
			return 0, fmt.Errorf("wait for: %w", err)
		}
		return d.at + event.Time(dur), nil
	}
	if n.WaitTill == nil {
		return d.at, nil
	}
	a, err := n.WaitTill.Eval(x)
	if err != nil {
		return 0, fmt.Errorf("wait until: %w", err)
	}
	s, _ := a.(string)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("wait until: %q is not a time of RFC 3339", clip(text(a)))
	}
	if t.After(d.at.Std().Add(maxWait)) {
		return 0, fmt.Errorf("wait until: %s is more than 100 years away", s)
	}
	if t.Before(d.at.Std()) {
		return d.at, nil
	}
	return event.At(t), nil
}

func (d *decider) carryChild(n *workflow.Node, v *run.Visit) {
	switch {
	case v.Ordered: // under way
	case v.Failure != nil && v.Status == run.NodeRunning:
		d.fail(v, *v.Failure, failing{final: true})
	case len(v.Result) > 0:
		d.complete(v, outcome{result: v.Result})
	case v.Status == run.NodeScheduled && places(d.s):
		if d.s.Depth+1 > MaxDepth {
			d.fail(v, event.Failure{Class: event.ClassInternal, Message: fmt.Sprintf("child runs are nested deeper than %d", MaxDepth)}, failing{final: true})
			return
		}
		input, err := d.childInput(n, v)
		if err != nil {
			d.fail(v, event.Failure{Class: event.ClassInternal, Message: "input of the child run: " + err.Error()}, failing{final: true})
			return
		}
		d.emit(&event.ChildStarted{Node: v.Node, Visit: v.Visit, Child: d.childID(v), Workflow: n.Def.Text("workflow"), Version: n.Def.Int("version"), Input: input})
	}
}

func (d *decider) childInput(n *workflow.Node, v *run.Visit) (event.Value, error) {
	if n.Child != nil {
		return d.eval(n.Child, v, MaxResult)
	}
	x, err := d.before(v)
	if err != nil {
		return nil, err
	}
	if x.isItem {
		return event.ValueOf(x.item)
	}
	return x.result, nil
}

// childID names a child run after its parent, node, visit and attempt, so that
// ordering it a second time, after a crash, orders the same one.
func (d *decider) childID(v *run.Visit) eventlog.RunID {
	h := sha256.New()
	h.Write(d.s.Run[:])
	fmt.Fprintf(h, "%s\x00%d\x00%d", v.Node, v.Visit, d.s.Version)
	var id eventlog.RunID
	copy(id[:], h.Sum(nil))
	ms := uint64(d.at) / uint64(time.Millisecond)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], ms)
	copy(id[:6], b[2:])
	return id
}

// outcome is how a visit ended well.
type outcome struct {
	result event.Value
	passes string
	answer map[string]event.Value
	usage  *event.Usage
	signal string

	sandbox string // the level that its program ran at
}

// complete ends a visit. A result that does not fit what the definition expects
// fails the attempt instead.
func (d *decider) complete(v *run.Visit, o outcome) {
	n := d.node(v)
	p := &event.NodeCompleted{Node: v.Node, Visit: v.Visit, Result: o.result, Passes: o.passes, Usage: o.usage, Signal: o.signal, Sandbox: o.sandbox}
	tried := n.Runs && n.Kind != workflow.Chat && n.Kind != workflow.Plan // of those the parts were
	if tried {
		p.Attempt = v.Attempt
	}
	if o.passes == "" && len(p.Result) == 0 {
		p.Result = event.Null
	}
	if err := d.check(n, p.Result); err != nil {
		d.fail(v, event.Failure{Class: event.ClassInvalidOutput, Message: err.Error()}, failing{usage: o.usage, final: !tried, sandbox: o.sandbox})
		return
	}
	var set []string
	if len(o.answer) > 0 {
		set = slices.Sorted(maps.Keys(o.answer))
	}
	for _, k := range set {
		if d.w.Key(k) == nil {
			p.Dropped = append(p.Dropped, k)
			continue
		}
		p.Set = append(p.Set, event.KV{Key: k, Value: o.answer[k]})
	}
	sets, err := d.writes(n, v, p)
	if err != nil {
		d.fail(v, event.Failure{Class: event.ClassInvalidOutput, Message: err.Error()}, failing{usage: o.usage, final: !tried, sandbox: o.sandbox})
		return
	}
	p.Sets = sets
	p.Last = v.Item == 0 && len(n.Out) == 0 && !(n.Kind == workflow.End && n.Def.Text("end") == "failed")
	d.emit(p)
	if v.Item > 0 {
		d.touch(v.Of)
	}
}

// writes returns how many state keys a visit sets that completes with p, or why
// one of them cannot be. What an item sets is set by its foreach, once all have
// ended, but an answer that cannot be set fails the item that gave it.
func (d *decider) writes(n *workflow.Node, v *run.Visit, p *event.NodeCompleted) (int, error) {
	if v.Item > 0 {
		for _, kv := range p.Set {
			if _, err := reduced(setting{d.w.Key(kv.Key), kv.Value}, nil); err != nil {
				return 0, err
			}
		}
		return 0, nil
	}
	result := p.Result
	if p.Passes != "" {
		var err error
		if result, err = v.Input(p.Passes == event.PassInputs, d.s.Input); err != nil {
			return 0, err
		}
	}
	sets, err := d.sets(n, v, result, p.Set)
	return len(sets), err
}

// check holds a result against the definition's expect and the size limit.
func (d *decider) check(n *workflow.Node, r event.Value) error {
	if len(r) > MaxResult {
		return fmt.Errorf("the result has %d bytes, more than %d", len(r), MaxResult)
	}
	if n.Expect == nil || len(r) == 0 {
		return nil
	}
	x, err := r.Any()
	if err != nil {
		return err
	}
	if err := n.Expect.Validate(x); err != nil {
		return fmt.Errorf("the result is not as expected: %w", err)
	}
	return nil
}

// eval evaluates a setting as visit v sees it before it has a result.
func (d *decider) eval(t *expr.Template, v *run.Visit, limit int) (event.Value, error) {
	x, err := d.before(v)
	if err != nil {
		return nil, err
	}
	return evaluate(t, x, limit)
}

func evaluate(t *expr.Template, x expr.Vars, limit int) (event.Value, error) {
	a, err := t.Eval(x)
	if err != nil {
		return nil, err
	}
	v, err := event.ValueOf(a)
	if err == nil && len(v) > limit {
		err = fmt.Errorf("the value has %d bytes, more than %d", len(v), limit)
	}
	return v, err
}

// text returns a value as people read it.
func text(a any) string {
	if v, ok := a.(event.Value); ok {
		x, err := v.Any()
		if err != nil {
			return ""
		}
		a = x
	}
	if s, ok := a.(string); ok {
		return s
	}
	return expr.Text(a)
}
