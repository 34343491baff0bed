package machine

import (
	"fmt"
	"slices"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// advance takes the run as far as it goes without the outside world.
func (d *decider) advance() {
	if d.s.Status == run.Pending {
		return
	}
	d.settleOwed()
	for d.err == nil && !d.stopped() && !d.full() {
		switch {
		case d.exceeds():
			d.overdrawn()
		case d.s.Expired:
			d.failRun(event.Failure{Class: event.ClassTimeout, Message: fmt.Sprintf("the run passed its timeout of %s", d.w.Timeout)}, nil)
		case len(d.todo) > 0:
			id := d.todo[0]
			d.todo = d.todo[1:]
			if v := d.s.Live[id]; v != nil {
				d.look(v)
			}
		case d.startNode():
		case d.startQueued():
		case len(d.s.Live) == 0 && len(d.s.Tokens) == 0:
			d.completeRun()
		default:
			d.wait()
			return
		}
	}
}

// stopped reports whether nothing more may be decided.
func (d *decider) stopped() bool { return d.s.Status.Terminal() || d.s.Status == run.Paused }

// look settles a visit that has ended, or carries one that has begun further.
func (d *decider) look(v *run.Visit) {
	n := d.node(v)
	if n == nil {
		d.err = fmt.Errorf("node %s is not in the definition %s of run %s", v.Node, d.w.Hash, d.s.Run)
		return
	}
	switch v.Status {
	case run.NodeCompleted:
		d.settle(n, v)
	case run.NodeFailed:
		d.passOn(n, v)
	case run.NodeScheduled, run.NodeRunning, run.NodeWaiting:
		d.carry(n, v)
	}
}

// startNode schedules one node whose tokens are complete. It reports whether it
// decided anything.
func (d *decider) startNode() bool {
	if len(d.s.Tokens) == 0 {
		return false
	}
	var few [8]int
	at := few[:0] // nodes that hold tokens, in the definition's order
	for _, t := range d.s.Tokens {
		n := d.w.Node(t.To)
		if n == nil {
			d.err = fmt.Errorf("node %s is not in the definition %s of run %s", t.To, d.w.Hash, d.s.Run)
			return true
		}
		if i, found := slices.BinarySearch(at, n.Index); !found {
			at = slices.Insert(at, i, n.Index)
		}
	}
	for _, i := range at {
		if d.ready(d.w.Nodes[i], at) {
			d.schedule(d.w.Nodes[i])
			return true
		}
	}
	if len(d.s.Live) == 0 {
		// The join rule does not deadlock on reducible graphs. Should it ever, the
		// first in order goes on: a run must not stand still for ever.
		d.schedule(d.w.Nodes[at[0]])
		return true
	}
	return false
}

// ready reports whether node n may start: whether its join fires. at lists the
// nodes that hold tokens.
func (d *decider) ready(n *workflow.Node, at []int) bool {
	if d.s.Live[n.ID] != nil {
		return false
	}
	if n.Kind == workflow.Converge {
		tokens := d.s.TokensAt(n.ID)
		failed := len(failures(tokens))
		if need := needs(n); need > 0 && len(tokens)-failed >= need || n.OnFailure == workflow.FailFast && failed > 0 {
			return true
		}
	}
	for _, o := range at {
		if d.w.Blocks(o, n.Index) {
			return false
		}
	}
	for _, v := range d.s.Live {
		if v.Item == 0 && d.w.Blocks(d.w.Node(v.Node).Index, n.Index) {
			return false
		}
	}
	return true
}

// needs returns how many branches that went well make converge n fire early; 0 if
// it waits for all.
func needs(n *workflow.Node) int {
	switch n.Join.Mode {
	case workflow.JoinAny:
		return 1
	case workflow.JoinQuorum:
		return n.Join.N
	}
	return 0
}

// failures returns the tokens of branches that failed.
func failures(tokens []*run.Token) []*run.Token {
	var failed []*run.Token
	for _, t := range tokens {
		if t.Source != nil {
			failed = append(failed, t)
		}
	}
	return failed
}

// schedule begins a visit of n with all tokens it holds. What a converge no
// longer waits for is given up first, unless it will fail: should that fail the
// run, a retry takes up the other branches too, see passOn.
func (d *decider) schedule(n *workflow.Node) {
	var few [4]*run.Token
	tokens := d.s.AppendTokensAt(few[:0], n.ID)
	if d.stopsBefore(n, tokens) {
		return
	}
	if n.Kind == workflow.Converge {
		failed, need := len(failures(tokens)), needs(n)
		if n.OnFailure != workflow.FailFast || failed == 0 || need > 0 && len(tokens)-failed >= need {
			d.giveUp(n)
		}
	}
	for _, kv := range d.s.Merged(tokens) {
		d.emit(&event.StateSet{Node: n.ID, Key: kv.Key, Value: kv.Value, Merge: true})
	}
	p := &event.NodeScheduled{Node: n.ID, Visit: d.visits(n.ID) + 1}
	if n.Kind == workflow.Wait {
		p.Signal = n.Def.Text("signal")
	}
	d.emit(p)
	d.touch(n.ID)
}

func (d *decider) visits(id string) int {
	if k := d.s.Nodes[id]; k != nil {
		return k.Visits
	}
	return 0
}

// giveUp skips what could still reach n: a join that fires early does not wait.
// Tokens go first: without the visits behind them, the nodes that hold them could
// start.
func (d *decider) giveUp(n *workflow.Node) {
	var at []string
	for _, t := range d.s.Tokens {
		if d.w.Blocks(d.w.Node(t.To).Index, n.Index) && !slices.Contains(at, t.To) {
			at = append(at, t.To)
		}
	}
	slices.SortFunc(at, d.order)
	for _, id := range at {
		d.emit(&event.NodeSkipped{Node: id, Reason: event.SkipJoined})
	}
	var ids []string
	for id, v := range d.s.Live {
		if v.Item == 0 && d.w.Blocks(d.w.Node(id).Index, n.Index) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, d.order)
	for _, id := range ids {
		d.skip(id, event.SkipJoined)
	}
}

// skip gives up a visit; a foreach with its items.
func (d *decider) skip(id, reason string) {
	d.skipOne(d.s.Live[id], reason)
	d.skipOrphans()
}

// skipForeach is the reason why items are given up.
const skipForeach = "foreach given up"

// skipOrphans gives up the items of a foreach that was given up.
func (d *decider) skipOrphans() {
	var ids []string
	for id, v := range d.s.Live {
		if v.Item > 0 && d.s.Live[v.Of] == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, d.order)
	for _, id := range ids {
		d.skipOne(d.s.Live[id], skipForeach)
	}
}

func (d *decider) skipOne(v *run.Visit, reason string) {
	ordered := v.Ordered
	if n := d.node(v); n != nil && n.Kind == workflow.Chat && (v.Chat == nil || v.Chat.Ended == nil) {
		d.endChat(n, v, event.ChatCancelled, reason)
	}
	d.emit(&event.NodeSkipped{Node: v.Node, Visit: v.Visit, Reason: reason})
	if ordered && d.err == nil {
		d.events[len(d.events)-1].Child = v.Child
	}
}

// skipLive gives up every visit under way that has neither ended nor failed the run.
func (d *decider) skipLive(reason string) {
	ids := d.s.LiveIDs()
	slices.SortStableFunc(ids, d.order)
	for _, id := range ids {
		v := d.s.Live[id]
		if v == nil || v.Item > 0 || v.Status == run.NodeCompleted || v.Then == event.ThenRun {
			continue
		}
		d.skip(id, reason)
	}
}

// startQueued starts the attempts that are due, and those that waited for one of
// the run's MaxParallel places.
func (d *decider) startQueued() bool {
	if !places(d.s) {
		return false
	}
	var ids []string
	for id, v := range d.s.Live {
		if d.queued(v) {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, d.order)
	decided := len(d.events)
	for _, id := range ids {
		if d.stopped() || d.err != nil || !places(d.s) {
			break
		}
		if v := d.s.Live[id]; v != nil {
			d.look(v)
		}
	}
	return len(d.events) > decided
}

// queued reports whether v waits for nothing but a place.
func (d *decider) queued(v *run.Visit) bool {
	switch each := v.Each; {
	case v.Status == run.NodeScheduled:
		return v.RetryAt <= d.at
	case v.Status == run.NodeRunning && each != nil && each.Plan != nil:
		return each.Open < d.width(v) && each.Ready(d.s, v.Node) >= 0
	case v.Status == run.NodeRunning && each != nil && len(each.Failures) == 0:
		return each.Next < len(each.Results) && each.Open < d.width(v)
	}
	return false
}

// places reports whether one more attempt may run.
func places(s *run.State) bool {
	if len(s.Live) <= MaxParallel {
		return true
	}
	n := 0
	for _, v := range s.Live {
		if v.Status == run.NodeRunning && v.Each == nil {
			n++
		}
	}
	return n < MaxParallel
}

// wait notes that nothing can proceed without an answer, a signal or a timer.
func (d *decider) wait() {
	if d.s.Status != run.Running {
		return
	}
	var on []event.Wait
	for _, v := range d.s.Live {
		switch {
		case v.Each != nil:
			continue
		case v.Status == run.NodeScheduled && v.RetryAt > 0 && v.Short == nil:
			on = append(on, event.Wait{Node: v.Node, For: "retry", Until: v.RetryAt})
		case v.Status != run.NodeWaiting:
			return
		default:
			on = append(on, d.waitOf(v))
		}
	}
	if len(on) == 0 {
		return
	}
	slices.SortFunc(on, func(a, b event.Wait) int {
		switch {
		case a.Until != b.Until && a.Until != 0 && (b.Until == 0 || a.Until < b.Until):
			return -1
		case a.Until != b.Until && b.Until != 0:
			return 1
		}
		return d.order(a.Node, b.Node)
	})
	d.emit(&event.RunWaiting{On: on[:min(len(on), maxWaits)]})
}

// maxWaits is how many of the things it waits for a run.waiting names.
const maxWaits = 5

func (d *decider) waitOf(v *run.Visit) event.Wait {
	w := event.Wait{Node: v.Node, For: "input"}
	if v.Signal != "" {
		w.For, w.Name = "signal", v.Signal
	} else if d.node(v).Kind == workflow.Wait {
		w.For = "timer"
	}
	for _, t := range d.s.Timers {
		if t.Node == v.Node && t.Visit == v.Visit {
			w.Until = t.At
		}
	}
	return w
}

// completeRun ends the run well.
func (d *decider) completeRun() {
	for _, kv := range d.s.Merged(nil) {
		d.emit(&event.StateSet{Key: kv.Key, Value: kv.Value, Merge: true})
	}
	out := d.s.LastResult()
	if d.w.Output != nil {
		x := &vars{w: d.w, s: d.s, thread: d.s.EndThread(), result: out}
		v, err := evaluate(d.w.Output, x, MaxResult)
		if err != nil {
			d.failRun(event.Failure{Class: event.ClassInvalidOutput, Message: "output of the run: " + err.Error()}, nil)
			return
		}
		out = v
	}
	d.emit(&event.RunCompleted{Output: out})
}

// failRun ends the run: what is still under way is given up.
func (d *decider) failRun(f event.Failure, all []event.Failure) {
	d.skipLive(event.SkipRunEnded)
	d.emit(&event.RunFailed{Failure: f, Errors: all})
}
