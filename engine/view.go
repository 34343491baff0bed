package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Run is a run as people and programs outside see it.
type Run struct {
	ID eventlog.RunID `json:"id"`
	// Namespace is absent of a run of the default one.
	Namespace event.Namespace   `json:"namespace,omitempty"`
	Workflow  string            `json:"workflow"`
	WFVer     int               `json:"workflow_version,omitempty"`
	Hash      string            `json:"hash"`
	Status    run.Status        `json:"status"`
	Why       string            `json:"why"` // what it waits for, or why it ended, in one sentence
	Created   event.Time        `json:"created"`
	Updated   event.Time        `json:"updated"`
	Ended     event.Time        `json:"ended,omitzero"`
	Deadline  event.Time        `json:"deadline,omitzero"`
	Seq       eventlog.Seq      `json:"seq"`
	Version   eventlog.Version  `json:"version"`
	Labels    map[string]string `json:"labels,omitempty"`
	Parent    *event.Parent     `json:"parent,omitempty"`
	Forked    *Origin           `json:"forked,omitempty"`
	Input     event.Value       `json:"input"`
	Output    event.Value       `json:"output"`
	Error     *event.Failure    `json:"error"`
	Errors    []event.Failure   `json:"errors,omitempty"`
	Waits     []event.Wait      `json:"waits,omitempty"`
	Usage     event.Usage       `json:"usage"`
	Cost      *Cost             `json:"cost,omitempty" doc:"of its own calls; those of its child runs are with them"`
	// Breakpoints are those of the run, and Breakpoint what it was about to do at the
	// one that it is paused at.
	Breakpoints []string    `json:"breakpoints,omitempty"`
	Breakpoint  *Breakpoint `json:"breakpoint,omitempty"`
	// Content says where what the run did is, if not in the log: projection's
	// ErasedArchived, or "erased".
	Content string `json:"content,omitempty"`
	// OnlyPeople is set on a run that only somebody outside will move: a person or,
	// where none can reach the engine, a worker.
	OnlyPeople bool `json:"idle,omitempty" doc:"only somebody outside will move it: a person, or a worker that cannot reach this process"`
}

// Breakpoint is a place before which a run is paused.
type Breakpoint struct {
	Node  string `json:"node"`
	Visit int    `json:"visit"`
	To    string `json:"to,omitempty"` // the visit's edge to this node; absent: the visit itself
}

// Origin is where a forked run branched off.
type Origin struct {
	Run     eventlog.RunID   `json:"run"`
	Version eventlog.Version `json:"version"`
}

func (e *Engine) viewOf(s *run.State, w *workflow.Workflow) Run {
	r := e.briefOf(s, w)
	r.Why, r.Waits = e.why(s, w)
	return r
}

// briefOf is viewOf without what has to be put into words.
func (e *Engine) briefOf(s *run.State, w *workflow.Workflow) Run {
	r := Run{
		ID: s.Run, Namespace: s.Namespace, Workflow: s.Workflow, WFVer: s.WFVer, Hash: s.Hash, Status: s.Status,
		Created: s.Created, Updated: s.Time, Ended: s.Ended, Deadline: s.Deadline, Seq: s.Seq, Version: s.Version,
		Labels: maps.Clone(s.Labels), Parent: s.Parent, Input: s.Input, Output: s.Output,
		Error: s.Failure, Errors: s.Errors, Usage: s.Usage, Cost: costOf(s),
	}
	if len(r.Output) == 0 {
		r.Output = event.Null
	}
	if o := s.Origin; o != nil {
		r.Forked = &Origin{o.Run, o.At}
	}
	switch {
	case s.Erased:
		r.Content = projection.ErasedByPerson
	case s.Archived:
		r.Content = projection.ErasedArchived
	}
	r.Breakpoints = slices.Clone(s.Breaks)
	if b := s.Break; b != nil {
		r.Breakpoint = &Breakpoint{b.Node, b.Visit, b.To}
	}
	r.OnlyPeople = e.onlyPeople(s, w)
	return r
}

// glance is as much of viewOf as is seen without work.
func (e *Engine) glance(s *run.State, w *workflow.Workflow) Run {
	return Run{ID: s.Run, Version: s.Version, Status: s.Status, OnlyPeople: e.onlyPeople(s, w)}
}

// onlyPeople reports whether only somebody outside will move a run.
func (e *Engine) onlyPeople(s *run.State, w *workflow.Workflow) bool {
	if s.Status != run.Waiting && (s.Status != run.Running || !e.awaitsWorkers(s, w)) {
		return false
	}
	_, timed := machine.Due(s)
	return !timed
}

// awaitsWorkers reports whether a run waits for workers that cannot reach this engine,
// and for nothing that happens here.
func (e *Engine) awaitsWorkers(s *run.State, w *workflow.Workflow) bool {
	if !e.opt.NoWorkers {
		return false
	}
	found := false
	for _, v := range s.Live {
		switch {
		case v.Status == run.NodeRunning && v.Each == nil && e.remote(w, machine.NodeOf(w, v)):
			found = true
		case v.Ordered || v.Status == run.NodeRunning && v.Each == nil:
			return false
		}
	}
	return found
}

// raising is the command that gives a budget other limits.
func raising(id event.BudgetID) string {
	name := id.String()
	switch of, rest, _ := strings.Cut(name, ":"); of {
	case "run":
		name = rest
	case "day":
		name = of
	}
	return "wfd budget " + name
}

// maxNamed is how many of the things it waits for a sentence names.
const maxNamed = 3

// why says in one sentence what a run does or waits for, or why it ended.
func (e *Engine) why(s *run.State, w *workflow.Workflow) (string, []event.Wait) {
	switch s.Status {
	case run.Completed:
		return "It has completed.", nil
	case run.Cancelled:
		return sentence("It was cancelled", s.Reason), nil
	case run.Failed:
		if s.Failure == nil {
			return "It has failed.", nil
		}
		at := ""
		if s.Failure.Node != "" {
			at = " at node " + s.Failure.Node
		}
		return sentence("It failed"+at, s.Failure.Error()), nil
	case run.Paused:
		if o := s.Over; o != nil {
			why := sentence("It is paused", s.Reason) + " "
			if !o.Told && o.Budget != s.OwnBudget() { // it was paused for something else before it came to the budget
				return why + sentence("Meanwhile "+o.BudgetExceeded.Why(), "") + " Raise that budget, and then resume it to go on: " + raising(o.Budget) + ", wfd resume " + s.Run.String() + ".", nil
			}
			return why + "Raise the budget to go on: " + raising(o.Budget) + ".", nil
		}
		return sentence("It is paused", s.Reason) + " Resume it to go on.", nil
	}
	var parts []string
	var waits []event.Wait
	ids := slices.SortedFunc(maps.Keys(s.Live), run.Compare)
	working := 0
	for _, id := range ids {
		v := s.Live[id]
		if v.Each != nil {
			what := "items"
			if v.Each.Plan != nil {
				what = "tasks"
			}
			parts = append(parts, fmt.Sprintf("node %s has %d of %d %s done", id, v.Each.Ended, len(v.Each.Results), what))
			continue
		}
		part, wait, ok := e.whyRemote(s, w, v)
		if !ok {
			part, wait, ok = e.whyHere(s, w, v)
		}
		if !ok {
			part, wait = whyVisit(s, w, v)
		}
		parts = append(parts, part)
		if wait.For != "" {
			waits = append(waits, wait)
		} else {
			working++
		}
	}
	rest := more(len(parts))
	parts = parts[:min(len(parts), maxNamed)]
	if len(parts) == 0 {
		return "It is about to go on.", nil
	}
	verb := "It waits: "
	if working > 0 {
		verb = "It is at work: "
	}
	return verb + strings.Join(parts, "; ") + rest + ".", waits
}

// whyHere says why an attempt that the log has as begun does not run: it waits for its
// turn in its queue, or nobody works on the directory. ok is false of any other.
func (e *Engine) whyHere(s *run.State, w *workflow.Workflow, v *run.Visit) (why string, wait event.Wait, ok bool) {
	if e.sched == nil || v.Status != run.NodeRunning {
		return "", wait, false
	}
	wait = event.Wait{Node: v.Node, For: "queue", Name: queueOf(machine.NodeOf(w, v))}
	if !e.started.Load() {
		return fmt.Sprintf("node %s is to be done (attempt %d), and no daemon works on this directory: run wfd serve on it", v.Node, v.Attempt), wait, true
	}
	e.sched.mu.Lock()
	defer e.sched.mu.Unlock()
	j := e.sched.jobs[attempt{s.Run, v.Node, v.Visit}]
	if j == nil || j.ctx.begun() || j.task.Attempt != v.Attempt {
		return "", event.Wait{}, false
	}
	q := e.sched.queues[j.queue]
	wait.Name = q.name
	return fmt.Sprintf("node %s waits for a place in queue %s, all %d of which are taken", v.Node, q.name, q.limit), wait, true
}

// WhyOf says in one sentence why a run stands where its row has it. A run that is at work,
// or will try something again, is asked itself.
func (e *Engine) WhyOf(ctx context.Context, r *projection.Row) string {
	switch {
	case r.Damaged > 0:
		return fmt.Sprintf("The log has lost what it did at event %d or after, and it takes no commands: wfd check names the place.", r.Damaged)
	case r.Status == run.Waiting && len(r.Waits) > 0 && !slices.ContainsFunc(r.Waits, retries):
		var parts []string
		for _, w := range r.Waits[:min(len(r.Waits), maxNamed)] {
			parts = append(parts, waitText(w))
		}
		return "It waits: " + strings.Join(parts, "; ") + more(len(r.Waits)) + "."
	case r.Status == run.Running || r.Status == run.Waiting:
		why := ""
		// Whoever lists runs is not to wait for one that is busy.
		_ = e.look(ctx, r.ID, func(s *run.State, w *workflow.Workflow) { why, _ = e.why(s, w) })
		return why
	}
	// The rest is said by what the row has.
	why, _ := e.why(&run.State{Status: r.Status, Reason: r.Reason, Failure: r.Failure}, nil)
	return why
}

// waitText says what a run waits for, as its row has it.
func waitText(w event.Wait) string {
	until := ""
	if w.Until > 0 {
		until = " until " + clock(w.Until)
	}
	switch w.For {
	case "signal":
		return fmt.Sprintf("node %s waits for the signal %q%s", w.Node, w.Name, until)
	case "input":
		return fmt.Sprintf("node %s waits for the answer%s", w.Node, until)
	}
	return fmt.Sprintf("node %s waits%s", w.Node, until)
}

// retries reports whether a run waits for its next attempt: its row does not have what
// became of the one before.
func retries(w event.Wait) bool { return w.For == "retry" }

// more counts what a sentence does not name.
func more(n int) string {
	if n <= maxNamed {
		return ""
	}
	return fmt.Sprintf(", and %d more", n-maxNamed)
}

func sentence(what, why string) string {
	if why == "" {
		return what + "."
	}
	return what + ": " + strings.TrimSuffix(why, ".") + "."
}

func whyVisit(s *run.State, w *workflow.Workflow, v *run.Visit) (string, event.Wait) {
	until := ""
	wait := event.Wait{Node: v.Node}
	for _, t := range s.Timers {
		if t.Node == v.Node && t.Visit == v.Visit {
			wait.Until = t.At
			until = " until " + clock(t.At)
		}
	}
	switch {
	case v.Ordered:
		return fmt.Sprintf("node %s waits for its child run %s", v.Node, v.Child), event.Wait{}
	case v.Status == run.NodeScheduled && v.Short != nil:
		return fmt.Sprintf("node %s %s", v.Node, v.Short.Why()), event.Wait{}
	case v.Status == run.NodeScheduled && v.RetryAt > 0:
		wait.For, wait.Until = "retry", v.RetryAt
		msg := ""
		if n := s.Nodes[v.Node]; n != nil && n.Failure != nil {
			msg = " after " + n.Failure.Error()
		}
		return fmt.Sprintf("node %s is tried again at %s (attempt %d)%s", v.Node, clock(v.RetryAt), v.Attempt+1, msg), wait
	case v.Status == run.NodeScheduled:
		return fmt.Sprintf("node %s is queued, since %d others of this run are at work", v.Node, machine.MaxParallel), event.Wait{}
	case v.Status == run.NodeRunning && machine.NodeOf(w, v).Kind == workflow.Chat:
		who, round, _ := machine.NextTurn(machine.NodeOf(w, v), v)
		return fmt.Sprintf("node %s is in round %d: it is the turn of %s%s", v.Node, round, who.Name, until), event.Wait{}
	case v.Status == run.NodeRunning:
		return fmt.Sprintf("node %s runs (attempt %d)", v.Node, v.Attempt), event.Wait{}
	case v.Held != nil:
		wait.For = "input"
		return fmt.Sprintf("node %s waits for a review of its result, which rule %s holds", v.Node, v.Held.Rule), wait
	case v.Signal != "":
		wait.For, wait.Name = "signal", v.Signal
		return fmt.Sprintf("node %s waits for the signal %q%s", v.Node, v.Signal, until), wait
	case v.Asked:
		wait.For = "input"
		who := ""
		if n := machine.NodeOf(w, v); n != nil && n.Def.Text("assignee") != "" {
			who = " of " + n.Def.Text("assignee")
		}
		return fmt.Sprintf("node %s waits for the answer%s%s", v.Node, who, until), wait
	}
	wait.For = "timer"
	return fmt.Sprintf("node %s waits%s", v.Node, until), wait
}

func clock(t event.Time) string { return t.Std().Format(time.RFC3339) }
