package replay

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// How a run would go elsewhere.
const (
	WhatInput    = "input"    // it would not have begun: its input does not fit
	WhatFork     = "fork"     // it would not have begun where it was forked
	WhatDecision = "decision" // a condition would decide otherwise
	WhatGraph    = "graph"    // an edge leads elsewhere
	WhatExpect   = "expect"   // a result no longer fits
	WhatResult   = "result"   // a node has no recorded result
	WhatFailure  = "failure"  // a failure has other consequences
	WhatEnd      = "end"      // it ends otherwise
	WhatState    = "state"    // it ends with another output or state
	WhatUnknown  = "unknown"  // it cannot be played
)

// Outcome is what playing a run gave, where it is not the same.
type Outcome struct {
	Run    eventlog.RunID `json:"run"`
	What   string         `json:"what"`
	Reason string         `json:"reason"` // without values: what runs are grouped by
	Node   string         `json:"node,omitempty"`
	Visit  int            `json:"visit,omitempty"`
	Why    string         `json:"why"` // with the values
	// Status is how the recorded run stands, Played how it stands when played: a
	// status, or "stopped" where the recording reaches no further.
	Status run.Status `json:"status"`
	Played string     `json:"played"`
	// Missing names the visits that have no recorded result.
	Missing []VisitKey `json:"missing,omitempty"`
}

// outcomeOf tells how a played run differs from the recorded one; ok is false if
// it does not.
func outcomeOf(p *player) (o Outcome, ok bool) {
	o = Outcome{Run: p.s.Run, Status: p.rec.s.Status, Played: string(p.s.Status)}
	missing := p.missing()
	for _, v := range missing {
		o.Missing = append(o.Missing, VisitKey{v.Node, v.Visit})
	}
	if len(o.Missing) > 0 || p.lost != "" {
		o.Played = "stopped"
	}
	d, found := departure(p)
	switch {
	case found && (d.What != WhatGraph || len(o.Missing) == 0):
		o.What, o.Reason, o.Why, o.Node, o.Visit = d.What, d.Reason, d.Why, d.Node, d.Visit
	case len(o.Missing) > 0:
		k := o.Missing[0]
		o.What, o.Node, o.Visit = WhatResult, k.Node, k.Visit
		o.Reason = fmt.Sprintf("%s has no recorded result", k.Node)
		o.Why = fmt.Sprintf("visit %d of %s has no recorded result", k.Visit, k.Node)
		if a := missing[0].Attempt; a > 1 {
			o.Why = fmt.Sprintf("visit %d of %s has no recorded result of attempt %d", k.Visit, k.Node, a)
		}
	case p.lost != "":
		o.What, o.Reason, o.Why = WhatUnknown, "cannot be played to its end", p.lost
	case p.s.Status != p.rec.s.Status && (p.rec.s.Status.Terminal() || p.s.Status.Terminal()):
		o.What = WhatEnd
		o.Reason = fmt.Sprintf("is %s instead of %s", p.s.Status, p.rec.s.Status)
		o.Why = o.Reason
		if f := p.s.Failure; f != nil {
			o.Node, o.Visit = f.Node, f.Visit
			o.Why += ": " + f.Error()
		}
	default:
		why := unlikeEnd(p.rec.s, p.s)
		if why == "" {
			return o, false
		}
		o.What, o.Why = WhatState, why
		o.Reason, _, _ = strings.Cut(why, ":")
	}
	return o, true
}

// unlikeEnd compares how two runs that went the same way stand.
func unlikeEnd(rec, s *run.State) string {
	if !bytes.Equal(rec.Output, s.Output) {
		return fmt.Sprintf("has another output: %s instead of %s", shownValue(s.Output), shownValue(rec.Output))
	}
	vars := func(s *run.State) map[string]event.Value { return s.Vars }
	for _, k := range sortedKeys(vars(rec), vars(s)) {
		if !bytes.Equal(rec.Vars[k], s.Vars[k]) {
			return fmt.Sprintf("has another state.%s: %s instead of %s", k, shownValue(s.Vars[k]), shownValue(rec.Vars[k]))
		}
	}
	return ""
}

func shownValue(v event.Value) string {
	if len(v) == 0 {
		return shown(nil)
	}
	return shown([]byte(jsonOf(v)))
}

// departure returns the first place at which a played run went elsewhere.
func departure(p *player) (Outcome, bool) {
	rec := &p.rec.route
	next := map[VisitKey]int{}
	for _, e := range p.route.order {
		switch e := e.(type) {
		case *event.NodeFailed:
			if o, ok := p.failure(e); ok {
				return o, true
			}
		case *event.EdgeTaken:
			k := VisitKey{e.From, e.Visit}
			i := next[k]
			next[k]++
			var was *event.EdgeTaken
			if i < len(rec.edges[k]) {
				was = rec.edges[k][i]
			}
			if was != nil && was.To == e.To && sameWay(was.Outcome, e.Outcome) {
				continue
			}
			if was == nil && !rec.done[k] && rec.failed[k] == nil {
				continue // the recorded run has not come so far
			}
			return turned(e, was), true
		case *event.NodeScheduled:
			if k := (VisitKey{e.Node, e.Visit}); !rec.visits[k] && slices.ContainsFunc(p.w.Entry, func(i int) bool { return p.w.Nodes[i].ID == e.Node }) && e.Visit == 1 {
				return Outcome{What: WhatGraph, Node: e.Node, Visit: 1, Reason: "starts with " + e.Node, Why: "the run starts with " + e.Node}, true
			}
		}
	}
	return p.untaken()
}

// sameWay reports whether two outcomes of edges mean the same. Whether a lone edge
// is called always or the default is a matter of writing.
func sameWay(a, b string) bool {
	plain := func(s string) bool {
		return s == event.OutcomeAlways || s == event.OutcomeDefault || s == event.OutcomeMet
	}
	return a == b || plain(a) && plain(b)
}

func turned(e, was *event.EdgeTaken) Outcome {
	o := Outcome{What: WhatGraph, Node: e.From, Visit: e.Visit}
	if len(e.Evals) > 0 || was != nil && len(was.Evals) > 0 {
		o.What = WhatDecision
	}
	instead := ""
	if was != nil {
		instead = " instead of " + was.To
	}
	o.Reason = fmt.Sprintf("%s goes to %s%s", e.From, e.To, instead)
	o.Why = fmt.Sprintf("%s#%d goes to %s%s", e.From, e.Visit, e.To, instead)
	if e.Failure != nil {
		o.Why += ": " + e.Failure.Error()
	}
	if why := evalsText(e.Evals); why != "" {
		o.Why += ": " + why
	}
	return o
}

func evalsText(evals []event.Eval) string {
	var parts []string
	for _, e := range evals {
		var reads []string
		for _, r := range e.Reads {
			if r.Missing {
				reads = append(reads, r.Name+" is missing")
			} else {
				reads = append(reads, r.Name+" = "+shownValue(r.Value))
			}
		}
		met := "is not met"
		if e.Met {
			met = "is met"
		}
		parts = append(parts, fmt.Sprintf("%s %s (%s)", e.If, met, strings.Join(reads, ", ")))
	}
	return strings.Join(parts, "; ")
}

// failure tells of a visit that failed and did not in the recording, or not so.
func (p *player) failure(e *event.NodeFailed) (Outcome, bool) {
	k := VisitKey{e.Node, e.Visit}
	was := p.rec.route.failed[k]
	o := Outcome{Node: e.Node, Visit: e.Visit}
	if p.rec.route.done[k] && was == nil {
		o.What, o.Reason = WhatFailure, e.Node+" fails"
		if e.Class == event.ClassInvalidOutput {
			o.What, o.Reason = WhatExpect, "the result of "+e.Node+" no longer fits"
		}
		o.Why = fmt.Sprintf("%s, visit %d: %s", o.Reason, e.Visit, e.Error())
		return o, true
	}
	return o, false
}

// untaken returns the first edge that the recorded run took and the played one,
// which came as far, did not.
func (p *player) untaken() (Outcome, bool) {
	for _, e := range p.rec.route.order {
		e, ok := e.(*event.EdgeTaken)
		if !ok {
			continue
		}
		k := VisitKey{e.From, e.Visit}
		if !p.route.visits[k] || len(p.route.edges[k]) >= len(p.rec.route.edges[k]) || len(p.route.edges[k]) > 0 {
			continue
		}
		if !p.route.done[k] && p.route.failed[k] == nil {
			continue
		}
		o := Outcome{What: WhatGraph, Node: e.From, Visit: e.Visit, Reason: fmt.Sprintf("%s no longer goes to %s", e.From, e.To)}
		o.Why = fmt.Sprintf("%s#%d no longer goes to %s", e.From, e.Visit, e.To)
		if f := p.route.failed[k]; f != nil {
			o.What, o.Reason = WhatFailure, fmt.Sprintf("a failure of %s no longer goes to %s", e.From, e.To)
			o.Why += ": " + f.Error()
		}
		if n := p.w.Node(e.From); n != nil && n.Conditional() {
			o.What = WhatDecision
			if f := p.s.Failure; f != nil && f.Node == e.From {
				o.Why += ": " + f.Message
			}
		}
		return o, true
	}
	return Outcome{}, false
}

// changedNodes names the nodes of both definitions whose work is another: their
// recorded results are taken as they are.
func changedNodes(old, w *workflow.Workflow) []string {
	var ids []string
	for _, n := range w.Nodes {
		o := old.Node(n.ID)
		if o == nil || !o.Runs && !n.Runs {
			continue
		}
		if o.Kind != n.Kind || jsonOf(o.Def.Fields) != jsonOf(n.Def.Fields) {
			ids = append(ids, n.ID)
		}
	}
	return ids
}
