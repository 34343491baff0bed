package machine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Start creates the run.
type Start struct {
	Namespace event.Namespace
	Version   int // of the workflow's name
	Input     event.Value
	Labels    map[string]string
	Env       map[string]string // values of the variables the definition reads
	Parent    *event.Parent
	Depth     int
	// Budget takes the place of what the definition says of the same name: usd, tokens
	// and on_exceed; none: nothing.
	Budget event.Value
	// Metered says that calls of models are reserved and charged.
	Metered bool
	// Breakpoints are where the run is paused, see workflow.Breakpoint.
	Breakpoints []string
}

func (c Start) decide(d *decider) error {
	if d.s.Status != run.Pending {
		return refuse(d.s, "start")
	}
	input := c.Input
	if len(input) == 0 {
		input = event.MustValue(map[string]any{})
	}
	if err := d.checkInput(input); err != nil {
		return err
	}
	if _, err := d.breakpoints(c.Breakpoints); err != nil {
		return err
	}
	p := &event.RunCreated{
		Workflow: d.w.Name, Version: c.Version, Hash: d.w.Hash.String(), Input: input,
		Labels: c.Labels, Env: c.Env, Parent: c.Parent, Depth: c.Depth, Budget: c.Budget, Key: d.key,
		Breakpoints: c.Breakpoints, Namespace: c.Namespace,
	}
	if c.Metered {
		var err error
		if p.Limits, err = Limits(d.w, c.Budget); err != nil {
			return err
		}
	}
	for _, i := range d.w.Entry {
		p.Entry = append(p.Entry, d.w.Nodes[i].ID)
	}
	for _, k := range d.w.Keys {
		if k.Default != nil {
			v, err := event.ValueOf(k.Default)
			if err != nil {
				return fmt.Errorf("%w: default of state key %s: %w", ErrInvalid, k.Name, err)
			}
			p.Defaults = append(p.Defaults, event.KV{Key: k.Name, Value: v})
		}
	}
	if d.w.Timeout > 0 {
		p.Deadline = d.at + event.Time(d.w.Timeout)
	}
	d.emit(p)
	return nil
}

// Result is what a runner returns for one attempt: a value, or why there is none.
type Result struct {
	Node    string
	Visit   int
	Attempt int

	Value   event.Value
	Set     map[string]event.Value // state that the answer itself sets
	Usage   *event.Usage
	Failure *event.Failure // nil: it went well
	// Again says whether the runner knows a further attempt to make sense; nil
	// leaves it to the class.
	Again *bool
	After event.Time // not before then: what the other side asked for; 0 = nothing
	// Fenced: a result that no longer counts is refused, and not recorded as ignored.
	Fenced bool
	// Checkpoint, with a Failure, is how far the attempt had come.
	Checkpoint event.Value
	// Sandbox is the level that a program ran at; "": none ran.
	Sandbox string
}

func (c Result) decide(d *decider) error {
	v, err := d.counts(&c)
	if v != nil {
		d.accept(v, c)
		d.touch(v.Node)
	}
	return err
}

// counts returns the visit that a result is for; none if it no longer counts, which is
// recorded, or the error.
func (d *decider) counts(c *Result) (*run.Visit, error) {
	v := d.s.Live[c.Node]
	reason := ""
	switch {
	case d.s.Status.Terminal():
		reason = "the run is " + string(d.s.Status)
	case v == nil || v.Visit != c.Visit:
		reason = "the visit has ended"
	case !d.node(v).Runs:
		reason = "the node has no runner"
	case v.Each != nil:
		reason = "the plan is made"
	case v.Status != run.NodeRunning || v.Attempt != c.Attempt:
		reason = "another attempt counts"
	}
	switch {
	case reason == "":
		return v, nil
	case c.Fenced:
		return nil, fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	d.emit(&event.ResultIgnored{Node: c.Node, Visit: c.Visit, Attempt: c.Attempt, Reason: reason, Usage: c.Usage})
	return nil, nil
}

// accept takes the result of a visit's attempt.
func (d *decider) accept(v *run.Visit, c Result) {
	if n := d.node(v); n.Kind == workflow.Chat {
		d.takeTurn(n, v, c)
	} else if n.Kind == workflow.Plan {
		d.takePlan(n, v, c)
	} else if c.Failure != nil {
		d.fail(v, *c.Failure, failing{usage: c.Usage, again: c.Again, after: c.After, checkpoint: c.Checkpoint, sandbox: c.Sandbox})
	} else {
		d.complete(v, outcome{result: c.Value, answer: c.Set, usage: c.Usage, sandbox: c.Sandbox})
	}
}

// Note records that an attempt which is under way had a tool called. Its name is that
// of the attempt: once another attempt counts, it is refused, and who gave it may stop.
type Note struct{ Call event.ToolCalled }

func (c Note) decide(d *decider) error {
	v := d.s.Live[c.Call.Node]
	if d.s.Status.Terminal() || v == nil || v.Visit != c.Call.Visit || v.Status != run.NodeRunning || v.Attempt != c.Call.Attempt || !d.node(v).Runs || v.Each != nil {
		return fmt.Errorf("%w: attempt %d of visit %d of node %s is not under way", ErrRefused, c.Call.Attempt, c.Call.Visit, c.Call.Node)
	}
	d.emit(&c.Call)
	return nil
}

// Signal is a message for the run.
type Signal struct {
	Name  string
	Value event.Value
}

func (c Signal) decide(d *decider) error {
	if d.s.Status.Terminal() || d.s.Status == run.Pending {
		return refuse(d.s, "signal")
	}
	if c.Name == "" || len(c.Name) > 128 {
		return fmt.Errorf("%w: a signal's name has 1 to 128 bytes", ErrInvalid)
	}
	if len(d.s.Signals[c.Name]) >= MaxSignals {
		return fmt.Errorf("%w: %d signals %q wait already", ErrRefused, MaxSignals, c.Name)
	}
	v := c.Value
	if len(v) == 0 {
		v = event.Null
	}
	d.emit(&event.SignalReceived{Name: c.Name, Value: v, Key: d.key})
	for id, v := range d.s.Live {
		if v.Signal == c.Name {
			d.touch(id)
		}
	}
	slices.SortFunc(d.todo, d.order) // the first of them has it
	return nil
}

// Answer answers a question: that of a human node, or whether a result that is held may
// be used.
type Answer struct {
	Node  string // "" = the only question that is open
	Visit int    // 0 = the present one
	Value event.Value
}

func (c Answer) decide(d *decider) error {
	if d.s.Status.Terminal() || d.s.Status == run.Pending {
		return refuse(d.s, "answer")
	}
	var open []string
	for _, id := range d.s.LiveIDs() {
		if d.s.Live[id].Asks() {
			open = append(open, id)
		}
	}
	id := c.Node
	if id == "" {
		if len(open) == 0 {
			return fmt.Errorf("%w: no question of the run is open", ErrRefused)
		}
		if len(open) != 1 {
			return fmt.Errorf("%w: %d questions are open (%s): name the node", ErrInvalid, len(open), strings.Join(open, ", "))
		}
		id = open[0]
	}
	v := d.s.Live[id]
	if !slices.Contains(open, id) || (c.Visit != 0 && v.Visit != c.Visit) {
		if d.s.Nodes[id] == nil && d.w.Node(id) == nil {
			return fmt.Errorf("%w: the run has no node %q", ErrNotFound, id)
		}
		return fmt.Errorf("%w: node %s does not wait for an answer", ErrRefused, id)
	}
	val := c.Value
	if len(val) == 0 {
		val = event.Null
	}
	if v.Held != nil {
		return d.review(v, val)
	}
	if err := d.fits(v, val); err != nil {
		return fmt.Errorf("%w: answer to %s: %w", ErrInvalid, id, err)
	}
	d.emit(&event.InputReceived{Node: id, Visit: v.Visit, Value: val, Key: d.key})
	d.touch(id)
	return nil
}

// fits returns why a human node cannot go on with an answer. Who gives one that
// does not fit is told, and the question stays open.
func (d *decider) fits(v *run.Visit, answer event.Value) error {
	n := d.node(v)
	if n.Form != nil {
		x, err := answer.Any()
		if err == nil {
			err = n.Form.Validate(x)
		}
		if err != nil {
			return err
		}
	}
	if err := d.check(n, answer); err != nil {
		return err
	}
	_, err := d.sets(n, v, answer, nil)
	return err
}

// Pause stops the run from starting nodes; what is under way may end.
type Pause struct{ Reason string }

func (c Pause) decide(d *decider) error {
	if d.s.Status != run.Running && d.s.Status != run.Waiting {
		return refuse(d.s, "pause")
	}
	d.emit(&event.RunPaused{Reason: c.Reason, Key: d.key})
	return nil
}

// Resume lets a paused run go on: past the breakpoint that it came to, once.
type Resume struct {
	Reason string
	Set    map[string]event.Value // state as the run goes on
	// Rebreak puts Breakpoints in the place of those that the run has.
	Rebreak     bool
	Breakpoints []string
}

func (c Resume) decide(d *decider) error {
	if d.s.Status != run.Paused {
		return refuse(d.s, "resume")
	}
	if err := d.checkEdits(c.Set); err != nil {
		return err
	}
	if err := d.checkItems(c.Set); err != nil {
		return err
	}
	if _, err := d.breakpoints(c.Breakpoints); err != nil {
		return err
	}
	d.emit(&event.RunResumed{Reason: c.Reason, Key: d.key, Rebreak: c.Rebreak, Breakpoints: c.Breakpoints})
	d.edit(c.Set)
	d.fire()
	d.touchAll()
	return nil
}

// Cancel ends the run.
type Cancel struct{ Reason string }

func (c Cancel) decide(d *decider) error {
	if d.s.Status.Terminal() && d.s.Status != run.Failed || d.s.Status == run.Pending {
		return refuse(d.s, "cancel")
	}
	d.skipLive(event.SkipRunEnded)
	d.emit(&event.RunCancelled{Reason: c.Reason, Key: d.key})
	return nil
}

// Retry lets a failed run try again what failed; with Node it goes on from just
// before that visit, which is after version To.
type Retry struct {
	Reason string
	Node   string
	Visit  int
	To     eventlog.Version
}

func (c Retry) decide(d *decider) error {
	if d.s.Status != run.Failed {
		return refuse(d.s, "retry")
	}
	if d.s.Parent != nil {
		return fmt.Errorf("%w: its parent %s has taken note of the failure: retry that", ErrRefused, d.s.Parent.Run)
	}
	if c.Node != "" {
		return d.goBack(&event.RunRestored{To: c.To, Node: c.Node, Visit: c.Visit, Reason: c.Reason, Key: d.key})
	}
	d.emit(&event.RunResumed{Reason: c.Reason, Retry: true, Key: d.key})
	d.touchAll()
	return nil
}

// Wake fires the timers that are due and, as every command does, starts the
// attempts that are.
type Wake struct{}

func (Wake) decide(d *decider) error {
	if d.s.Status.Terminal() || d.s.Status == run.Paused || d.s.Status == run.Pending {
		return nil
	}
	d.fire()
	for id, v := range d.s.Live {
		if v.Fired != "" {
			d.touch(id)
		}
	}
	slices.SortFunc(d.todo, d.order)
	return nil
}

// fire fires the timers that are due, soonest first.
func (d *decider) fire() {
	var due []run.Timer
	for _, t := range d.s.Timers {
		if rings(d.s, t, d.at) {
			due = append(due, t)
		}
	}
	slices.SortStableFunc(due, func(a, b run.Timer) int { return int(max(-1, min(1, a.At-b.At))) })
	for _, t := range due {
		d.emit(&event.TimerFired{Node: t.Node, Visit: t.Visit, For: t.For})
	}
}

// Rings reports whether Wake would fire a timer at a time.
func Rings(s *run.State, at event.Time) bool {
	return slices.ContainsFunc(s.Timers, func(t run.Timer) bool { return rings(s, t, max(at, s.Time)) })
}

// rings reports whether a timer that ticks is due.
func rings(s *run.State, t run.Timer, at event.Time) bool { return t.At <= at && ticks(s, t) }

// ticks reports whether a timer is of the run, or of a visit under way. Those of visits
// that were given up because the run ended are kept for when it is retried; in a history
// that was cut there the run has not ended.
func ticks(s *run.State, t run.Timer) bool {
	v := s.Live[t.Node]
	return t.Node == "" || v != nil && v.Visit == t.Visit
}

// ChildEnded reports the end of a child run.
type ChildEnded struct {
	Node    string
	Visit   int
	Child   eventlog.RunID
	Status  run.Status
	Output  event.Value
	Failure *event.Failure
}

func (c ChildEnded) decide(d *decider) error {
	v := d.s.Live[c.Node]
	if d.s.Status.Terminal() || v == nil || v.Visit != c.Visit || !v.Ordered || v.Child != c.Child {
		return nil // told twice, or given up since
	}
	p := &event.ChildEnded{Node: c.Node, Visit: c.Visit, Child: c.Child, Status: string(c.Status), Output: c.Output}
	if c.Status != run.Completed {
		f := event.Failure{Class: event.ClassCancelled, Message: "child run was cancelled"}
		if c.Failure != nil {
			f = event.Failure{Class: c.Failure.Class, Message: fmt.Sprintf("child run %s: %s", c.Child, c.Failure.Message)}
		}
		f.Node, f.Visit = c.Node, c.Visit
		p.Failure = &f
	}
	d.emit(p)
	d.touch(c.Node)
	return nil
}

// Checkpoint names or pins a position.
type Checkpoint struct {
	Name   string
	To     eventlog.Version // 0 = here
	Pinned bool
}

func (c Checkpoint) decide(d *decider) error {
	if d.s.Status == run.Pending {
		return refuse(d.s, "checkpoint")
	}
	to := c.To
	if to == 0 {
		to = d.s.Version
	}
	if to > d.s.Version {
		return fmt.Errorf("%w: the run has no version %d; it is at %d", ErrNotFound, to, d.s.Version)
	}
	if len(c.Name) > 256 {
		return fmt.Errorf("%w: a checkpoint's name has at most 256 bytes", ErrInvalid)
	}
	if c.Name == "" && !c.Pinned {
		return fmt.Errorf("%w: a checkpoint needs a name or a pin", ErrInvalid)
	}
	d.emit(&event.CheckpointCreated{At: to, Name: c.Name, Pinned: c.Pinned, Key: d.key})
	return nil
}

// Restore goes back to the position after a version and continues from there.
type Restore struct {
	To    eventlog.Version
	Name  string
	Pause bool
}

func (c Restore) decide(d *decider) error {
	if d.s.Status == run.Pending || d.s.Status == run.Cancelled {
		return refuse(d.s, "restore")
	}
	if d.s.Status.Terminal() && d.s.Parent != nil {
		return fmt.Errorf("%w: its parent %s has taken note of its end: restore that", ErrRefused, d.s.Parent.Run)
	}
	return d.goBack(&event.RunRestored{To: c.To, Name: c.Name, Pause: c.Pause, Key: d.key})
}

// goBack decides p, if the run can go on from there.
func (d *decider) goBack(p *event.RunRestored) error {
	if p.To == 0 || p.To > d.s.Version {
		return fmt.Errorf("%w: the run has no version %d; it is at %d", ErrNotFound, p.To, d.s.Version)
	}
	if d.s.Past == nil {
		return errors.New("a restore needs the run's past, which this state was not given")
	}
	past, err := d.s.Past(p.To)
	if err != nil {
		return err
	}
	if past.Status.Terminal() {
		return fmt.Errorf("%w: at version %d the run had ended (%s)", ErrRefused, p.To, past.Status)
	}
	if p.Node != "" {
		if n := past.Nodes[p.Node]; len(past.TokensAt(p.Node)) == 0 || n != nil && n.Visits >= p.Visit {
			return fmt.Errorf("%w: visit %d of node %s does not begin after version %d", ErrInvalid, p.Visit, p.Node, p.To)
		}
	} else if t := past.Timer("", 0, "run"); t != nil && t.At <= d.at {
		return fmt.Errorf("%w: the run's timeout of %s passed at %s, so that it would fail at once: fork it, or retry it from a node once it has failed",
			ErrRefused, d.w.Timeout, t.At.Std().Format(time.RFC3339))
	}
	d.skipLive(event.SkipRunEnded)
	d.emit(p)
	if !p.Pause {
		d.touchAll()
	}
	return nil
}

// Recover ends the attempts that were lost, to a crash or by whoever did them, and
// starts them again.
type Recover struct {
	Reason string
	// Keep says which attempts are still under way elsewhere; nil: none.
	Keep func(v *run.Visit) bool
	// Checkpoints says, by node, how far the attempts had come.
	Checkpoints map[string]event.Value
}

func (c Recover) decide(d *decider) error {
	if d.s.Status.Terminal() || d.s.Status == run.Pending {
		return nil
	}
	d.settleOwed()
	ids := slices.SortedFunc(maps.Keys(d.s.Live), d.order)
	for _, id := range ids {
		v := d.s.Live[id]
		n := d.node(v)
		if v.Status != run.NodeRunning || !n.Runs || v.Each != nil || (c.Keep != nil && c.Keep(v)) {
			continue
		}
		d.emit(&event.NodeLost{Node: id, Visit: v.Visit, Attempt: v.Attempt, Reason: c.Reason, Checkpoint: c.Checkpoints[id]})
		if v.Losses >= MaxLosses && d.s.Status != run.Paused {
			d.emit(&event.RunPaused{Reason: fmt.Sprintf("attempts of node %s were lost %d times in a row", id, v.Losses)})
		}
	}
	d.touchAll()
	return nil
}

// Continue decides what is still owed: after a start, nothing; on a prefix of a
// history, the rest of the decision that was cut, in the same order (but attempts
// that wait for one of MaxParallel places, or for a budget, may start sooner). What a person decided
// is known from the event that says so: a cut before a run.cancelled or a
// run.restored, among the visits given up for it, leaves the run without them.
type Continue struct{}

func (Continue) decide(d *decider) error {
	d.settleOwed()
	if d.s.Status != run.Pending {
		d.touchAll()
	}
	return nil
}
