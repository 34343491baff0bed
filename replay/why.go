package replay

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Explanation says how a run came to a visit, or why it did not.
type Explanation struct {
	Run      eventlog.RunID   `json:"run"`
	Workflow string           `json:"workflow"`
	Version  eventlog.Version `json:"version"` // the position that was looked at
	Status   run.Status       `json:"status"`  // of the run there
	Node     string           `json:"node"`
	Visit    int              `json:"visit"` // 0: not reached
	Input    event.Value      `json:"input"`
	// Steps are the visits that led there, oldest first; the last is the one asked
	// about. Where it was not reached, they lead to what kept it from being so.
	Steps []Step `json:"steps"`
	// Notes are what people did to the run on the way.
	Notes []Note `json:"notes,omitempty"`
	// Missing says, of a node that was not reached, why.
	Missing []Missing `json:"missing,omitempty"`
}

// Step is one visit of a node.
type Step struct {
	VisitKey
	// Run is the run that this one was forked from, where the visit began there: its
	// versions are of that run.
	Run       *eventlog.RunID  `json:"run,omitempty"`
	Version   eventlog.Version `json:"version"` // of the event that began it
	Seq       eventlog.Seq     `json:"seq"`
	Began     time.Time        `json:"began"`
	Ended     time.Time        `json:"ended,omitzero"`
	Status    run.NodeStatus   `json:"status"`
	Came      []Came           `json:"came"`               // over which edges; none: with the run
	Attempts  []Attempt        `json:"attempts,omitempty"` // of a runner
	Asked     string           `json:"asked,omitempty"`    // the question a person was asked
	Answer    *Given           `json:"answer,omitempty"`
	Signal    *Given           `json:"signal,omitempty"`
	Child     *Child           `json:"child,omitempty"`
	Items     int              `json:"items,omitempty"` // of a foreach, or tasks of a plan
	Fired     string           `json:"fired,omitempty"` // the purpose of its timer that fired
	Result    event.Value      `json:"result,omitempty"`
	Failure   *event.Failure   `json:"error,omitempty"`
	Then      string           `json:"then,omitempty"` // what followed the failure
	Skipped   string           `json:"skipped,omitempty"`
	SkippedBy string           `json:"skipped_by,omitempty"` // what it was given up for
	Sets      []Set            `json:"sets,omitempty"`
	Dropped   []string         `json:"dropped,omitempty"` // keys of an answer that are not declared
	Events    []eventlog.Seq   `json:"events"`

	chosen *event.AgentChosen // for the attempt that begins next
}

// Came is an edge that was taken to a step.
type Came struct {
	VisitKey                  // where it leaves
	Version  eventlog.Version `json:"version"`
	Outcome  string           `json:"outcome"`
	Failure  *event.Failure   `json:"error,omitempty"`
	Tested   []Tested         `json:"evaluated,omitempty"` // up to and including the one taken
}

// Tested is a condition as it was evaluated.
type Tested struct {
	To    string `json:"to"`
	If    string `json:"if"`
	Met   bool   `json:"met"`
	Reads []Read `json:"reads,omitempty"`
	Err   string `json:"error,omitempty"`
}

// Read is a value that a condition looked at, and where it is from.
type Read struct {
	event.Read
	From *VisitKey        `json:"from,omitempty"` // the visit that wrote it; nil: a default, the run's input, or By
	By   string           `json:"by,omitempty"`   // the person who set it
	Set  eventlog.Version `json:"set,omitempty"`  // by this event
	Seq  eventlog.Seq     `json:"seq,omitempty"`  // of that event
}

// Attempt is one attempt of a step.
type Attempt struct {
	Attempt int            `json:"attempt"`
	Agent   string         `json:"agent,omitempty"` // who did it
	Sandbox string         `json:"sandbox,omitempty"`
	Began   time.Time      `json:"began"`
	Ended   time.Time      `json:"ended,omitzero"`
	Outcome string         `json:"outcome"`           // running, completed, failed, lost; of a turn of a chat spoke, missed; of a plan planned
	Speaker string         `json:"speaker,omitempty"` // whose turn of a chat it was
	Failure *event.Failure `json:"error,omitempty"`
	Reason  string         `json:"reason,omitempty"`
	Again   time.Time      `json:"retry_at,omitzero"`
}

// Given is what came from outside: an answer, a signal.
type Given struct {
	Version eventlog.Version `json:"version"`
	Time    time.Time        `json:"time"`
	Actor   string           `json:"actor"`
	Name    string           `json:"name,omitempty"`
	Value   event.Value      `json:"value"`
}

// Child is a run that a step started.
type Child struct {
	Run     eventlog.RunID `json:"run"`
	Status  string         `json:"status,omitempty"`
	Failure *event.Failure `json:"error,omitempty"`
}

// Set is a key of the state that a step wrote.
type Set struct {
	Key     string           `json:"key"`
	Value   event.Value      `json:"value"`
	Version eventlog.Version `json:"version"`
}

// Note is what was done to a run as a whole.
type Note struct {
	Version eventlog.Version `json:"version"`
	Time    time.Time        `json:"time"`
	Kind    string           `json:"kind"`
	Actor   string           `json:"actor"`
	Reason  string           `json:"reason,omitempty"`
	To      eventlog.Version `json:"to,omitempty"` // of a restore
}

// Missing is one reason for a node not to have been reached.
type Missing struct {
	Node string    `json:"node"`
	From *VisitKey `json:"from,omitempty"` // the visit that did not lead there; nil: its node was not reached either
	Why  string    `json:"why"`
	// Tested is the condition of the edge to Node as it was last evaluated.
	Tested *Tested `json:"evaluated,omitempty"`
	Taken  string  `json:"taken,omitempty"` // the node that was gone to instead
}

// Why explains how a run came to a visit of a node; visit 0 is the latest. A node
// that was not reached is explained too; one that the run cannot have is
// run.ErrNotFound. No node stands for the one at which the run failed or else
// the one that came last.
func Why(log eventlog.Log, defs Definitions, id eventlog.RunID, node string, visit int, at Position) (Explanation, error) {
	moments, s, err := lineage(log, id, at)
	if err != nil {
		return Explanation{}, err
	}
	x := explainer{past: pastOf(moments), s: s}
	x.out = Explanation{Run: id, Workflow: s.Workflow, Version: s.Version, Status: s.Status, Input: s.Input, Steps: []Step{}}
	if x.wf, err = defs.ByHash(s.Hash); err != nil {
		x.wf = nil // what happened can be told without it
	}
	if node == "" {
		node, visit = x.last()
	}
	if err := x.explain(node, visit); err != nil {
		return Explanation{}, fmt.Errorf("run %s: %w", id, err)
	}
	return x.out, nil
}

type explainer struct {
	*past
	s   *run.State
	wf  *workflow.Workflow // nil: gone
	out Explanation
}

// last returns the visit at which the run failed, or else the latest to begin.
func (x *explainer) last() (string, int) {
	if f := x.s.Failure; f != nil && f.Node != "" {
		return f.Node, f.Visit
	}
	best, at := VisitKey{}, -1
	for k, t := range x.visits {
		if t.begin > at {
			best, at = k, t.begin
		}
	}
	return best.Node, best.Visit
}

func (x *explainer) explain(node string, visit int) error {
	x.out.Node = node
	latest := x.names[node]
	if visit == 0 {
		visit = latest
	}
	t := x.visits[VisitKey{node, visit}]
	switch {
	case t != nil:
		x.out.Visit = visit
		x.steps(VisitKey{node, visit})
	case latest > 0:
		return fmt.Errorf("%w: node %s has no visit %d here; its latest is %d", run.ErrNotFound, node, visit, latest)
	case x.wf == nil:
		return fmt.Errorf("%w: it has not come to a node %q, and its definition is gone", run.ErrNotFound, node)
	case x.wf.Node(node) == nil:
		return fmt.Errorf("%w: %s has no node %q", run.ErrNotFound, x.wf.Name, node)
	default:
		x.missing(node)
	}
	x.notes()
	return nil
}

// steps lists the ancestors of visits, and the visits, oldest first.
func (x *explainer) steps(of ...VisitKey) {
	seen := map[VisitKey]bool{}
	for len(of) > 0 {
		k := of[0]
		of = of[1:]
		t := x.visits[k]
		if t == nil || seen[k] {
			continue
		}
		seen[k] = true
		of = append(of, t.inputs...)
	}
	keys := slices.SortedFunc(maps.Keys(seen), func(a, b VisitKey) int { return x.visits[a].begin - x.visits[b].begin })
	for _, k := range keys {
		x.out.Steps = append(x.out.Steps, x.step(x.visits[k]))
	}
}

// notes lists what was done to the run before the last step began, or after it
// ended it.
func (x *explainer) notes() {
	for _, m := range x.moments {
		n := Note{Version: m.Version, Time: m.When(), Kind: event.KindName(m.Kind), Actor: m.Actor}
		switch p := m.p.(type) {
		case *event.RunPaused:
			n.Reason = p.Reason
		case *event.RunResumed:
			n.Reason = p.Reason
			if p.Retry {
				n.Reason = "retry" + prefixed(": ", p.Reason)
			}
		case *event.RunRestored:
			n.Reason, n.To = p.Name, p.To
			if p.Node != "" {
				n.Reason = fmt.Sprintf("retry from %s#%d%s", p.Node, p.Visit, prefixed(": ", p.Reason))
			}
		case *event.StateSet:
			if !isEdit(p) {
				continue
			}
			n.Reason = p.Key + " = " + shownValue(p.Value) // a person set it
		case *event.RunCancelled:
			n.Reason = p.Reason
		case *event.RunFailed:
			n.Reason = p.Error()
		default:
			continue
		}
		x.out.Notes = append(x.out.Notes, n)
	}
}

func prefixed(sep, s string) string {
	if s == "" {
		return ""
	}
	return sep + s
}
