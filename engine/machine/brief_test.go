package machine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// since shows a time as the time since the epoch of transcripts.
func since(t event.Time) string { return "+" + t.Std().Sub(epoch).String() }

// value shows a value as JSON, cut short.
func value(v event.Value) string {
	if len(v) == 0 {
		return "none"
	}
	b, err := v.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	if len(b) > 120 {
		return fmt.Sprintf("%s… (%d bytes)", b[:40], len(v))
	}
	return string(b)
}

func kvs(list []event.KV) string {
	var out []string
	for _, kv := range list {
		out = append(out, kv.Key+"="+value(kv.Value))
	}
	return strings.Join(out, " ")
}

func visit(node string, visit, attempt int) string {
	s := node
	if visit > 0 {
		s += fmt.Sprintf("#%d", visit)
	}
	if attempt > 0 {
		s += fmt.Sprintf("@%d", attempt)
	}
	return s
}

func failed(f *event.Failure) string {
	msg := f.Message
	if len(msg) > 400 {
		msg = msg[:400] + "…"
	}
	return f.Class + ": " + msg
}

// A line is the words of one event; empty ones are left out.
type line []string

func (l *line) add(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func (l *line) opt(name, s string) {
	if s != "" {
		l.add("%s=%s", name, s)
	}
}

func (l *line) flag(name string, on bool) {
	if on {
		l.add("%s", name)
	}
}

func (l *line) left(checkpoint event.Value) {
	if len(checkpoint) > 0 {
		l.add("left=%s", value(checkpoint))
	}
}

func (l *line) errors(fs []event.Failure) {
	for i := range fs {
		l.add("[%s %s]", visit(fs[i].Node, fs[i].Visit, fs[i].Attempt), failed(&fs[i]))
	}
}

// brief shows an event in one line.
func brief(p event.Payload) string {
	l := line{event.KindName(p.Kind())}
	switch p := p.(type) {
	case *event.NodeScheduled:
		l.add("%s", visit(p.Node, p.Visit, 0))
		l.opt("signal", p.Signal)
	case *event.NodeStarted:
		l.add("%s", visit(p.Node, p.Visit, p.Attempt))
		if p.Each {
			l.add("items=%d", p.Items)
		}
	case *event.NodeCompleted:
		l.completed(p)
	case *event.NodeFailed:
		l.add("%s %s, then %s", visit(p.Node, p.Visit, p.Attempt), failed(&p.Failure), p.Then)
		l.opt("to", p.To)
		if p.RetryAt != 0 {
			l.add("at %s", since(p.RetryAt))
		}
		l.errors(p.Errors)
		l.left(p.Checkpoint)
	case *event.NodeRetried:
		l.add("%s", visit(p.Node, p.Visit, p.Attempt))
		if p.At != 0 {
			l.add("at %s", since(p.At))
		}
	case *event.NodeLost:
		l.add("%s %s", visit(p.Node, p.Visit, p.Attempt), p.Reason)
		l.left(p.Checkpoint)
	case *event.NodeSkipped:
		l.add("%s %s", visit(p.Node, p.Visit, 0), p.Reason)
	case *event.EdgeTaken:
		l.taken(p)
	case *event.StateSet:
		l.add("%s=%s", p.Key, value(p.Value))
		if p.Reduce != "" {
			l.add("(%s %s)", p.Reduce, value(p.Operand))
		}
		l.flag("merged", p.Merge)
		if p.Node != "" {
			l.add("by %s", visit(p.Node, p.Visit, 0))
		}
	case *event.TimerSet:
		l.add("%s %s at %s", visit(p.Node, p.Visit, 0), p.For, since(p.At))
	case *event.TimerFired:
		l.add("%s", strings.TrimSpace(visit(p.Node, p.Visit, 0)+" "+p.For))
	case *event.ResultIgnored:
		l.add("%s: %s", visit(p.Node, p.Visit, p.Attempt), p.Reason)
	default:
		l.others(p)
	}
	return strings.Join(l, " ")
}

func (l *line) completed(p *event.NodeCompleted) {
	l.add("%s", visit(p.Node, p.Visit, p.Attempt))
	if p.Passes != "" {
		l.add("passes %s", p.Passes)
	} else {
		l.add("%s", value(p.Result))
	}
	l.opt("set", kvs(p.Set))
	l.opt("dropped", strings.Join(p.Dropped, ","))
	if p.Usage != nil {
		l.add("tokens=%d,%d", p.Usage.InputTokens, p.Usage.OutputTokens)
	}
	l.opt("signal", p.Signal)
}

func (l *line) taken(p *event.EdgeTaken) {
	l.add("%s -> %s %s", visit(p.From, p.Visit, 0), p.To, p.Outcome)
	if p.Of > 1 {
		l.add("%d/%d", p.Branch+1, p.Of)
	}
	for _, e := range p.Evals {
		var reads []string
		for _, r := range e.Reads {
			if r.Missing {
				reads = append(reads, r.Name+" missing")
			} else {
				reads = append(reads, r.Name+"="+value(r.Value))
			}
		}
		if e.Err != "" {
			reads = append(reads, e.Err)
		}
		l.add("(%s? %t: %s)", e.If, e.Met, strings.Join(reads, ", "))
	}
	if p.Failure != nil {
		l.add("because %s", failed(p.Failure))
	}
}

// others shows the events of the run, of people and of child runs.
func (l *line) others(p event.Payload) {
	switch p := p.(type) {
	case *event.RunCreated:
		l.opt("input", value(p.Input))
		l.add("entry=%v", p.Entry)
		l.opt("state", kvs(p.Defaults))
		if p.Deadline != 0 {
			l.opt("deadline", since(p.Deadline))
		}
		l.opt("breakpoints", strings.Join(p.Breakpoints, " · "))
	case *event.RunCompleted:
		l.opt("output", value(p.Output))
	case *event.RunFailed:
		l.add("%s %s", visit(p.Node, p.Visit, p.Attempt), failed(&p.Failure))
		l.errors(p.Errors)
	case *event.RunCancelled:
		l.opt("reason", p.Reason)
	case *event.RunPaused:
		l.opt("reason", p.Reason)
		if p.Breakpoint != "" {
			l.add("at %s", visit(p.Node, p.Visit, 0))
			l.opt("to", p.To)
		}
	case *event.RunResumed:
		l.opt("reason", p.Reason)
		l.flag("retry", p.Retry)
		if p.Rebreak {
			l.add("breakpoints=%s", strings.Join(p.Breakpoints, " · "))
		}
	case *event.RunWaiting:
		for _, w := range p.On {
			l.add("%s for %s", w.Node, strings.TrimSpace(w.For+" "+w.Name))
			if w.Until != 0 {
				l.add("until %s", since(w.Until))
			}
		}
	case *event.RunRestored:
		l.add("to v%d", p.To)
		if p.Node != "" {
			l.add("from %s", visit(p.Node, p.Visit, 0))
		}
		l.flag("pause", p.Pause)
	case *event.SignalReceived:
		l.add("%s %s", p.Name, value(p.Value))
	case *event.InputRequested:
		l.add("%s %q", visit(p.Node, p.Visit, 0), p.Prompt)
		l.opt("assignee", p.Assignee)
		l.flag("with a form", len(p.Form) > 0)
	case *event.InputReceived:
		l.add("%s %s", visit(p.Node, p.Visit, 0), value(p.Value))
	case *event.SecurityRequested:
		l.add("%s %s", visit(p.Node, p.Visit, p.Attempt), value(p.Result))
		for _, kv := range p.Set {
			l.add("set=%s=%s", kv.Key, value(kv.Value))
		}
		l.add("held by %s: %s", p.Rule, p.Message)
	case *event.SecurityGranted:
		l.add("%s", visit(p.Node, p.Visit, p.Attempt))
		l.opt("because", p.Reason)
	case *event.SecurityDenied:
		l.add("%s", visit(p.Node, p.Visit, p.Attempt))
		l.opt("because", p.Reason)
	case *event.ChildStarted:
		l.add("%s %s input=%s", visit(p.Node, p.Visit, 0), p.Workflow, value(p.Input))
	case *event.ChildEnded:
		l.add("%s %s", visit(p.Node, p.Visit, 0), p.Status)
		if p.Failure != nil {
			_, msg, _ := strings.Cut(p.Failure.Message, ": ") // the child's ID is left out
			l.add("%s: %s", p.Failure.Class, msg)
		} else {
			l.add("%s", value(p.Output))
		}
	case *event.AgentChosen:
		l.add("%s %s", visit(p.Node, p.Visit, p.Attempt), p.Agent)
		l.opt("role", p.Role)
	case *event.ToolCalled:
		l.add("%s %s/%s", visit(p.Node, p.Visit, p.Attempt), p.Server, p.Tool)
	case *event.ChatTurn:
		l.add("%s round %d, %s", visit(p.Node, p.Visit, p.Attempt), p.Round, p.Speaker)
		if p.Missed != nil {
			l.add("missed it: %s", failed(p.Missed))
			return
		}
		l.add("%s", value(p.Message))
		l.opt("proposes", strings.TrimPrefix(value(p.Proposes), "none"))
		l.opt("vote", p.Vote)
		l.flag("as read", p.Read)
		if p.Proposal > 0 {
			l.add("on %d", p.Proposal)
		}
	case *event.PlanMade:
		l.add("%s %s:", visit(p.Node, p.Visit, p.Attempt), value(p.Goal))
		for i, t := range p.Tasks {
			l.add("%d %s by %s after %v", i, value(t.Description), t.Role, t.Prerequisites)
			l.opt("until", strings.TrimPrefix(value(t.Validation), "none"))
		}
	case *event.ChatEnded:
		l.add("%s %s after %d turns, %d rounds: %d of %d, %d%% %v", visit(p.Node, p.Visit, 0), p.Outcome, p.Turns, p.Rounds, p.Approve, p.Of, p.Percent, p.Votes)
		l.opt("reason", p.Reason)
	case *event.CheckpointCreated:
		l.add("v%d", p.At)
		l.opt("name", p.Name)
		l.flag("pinned", p.Pinned)
	default:
		l.add("%+v", p)
	}
}

// state shows where the run stands.
func (c *conversation) state() []string {
	s := c.s
	out := []string{string(s.Status)}
	if s.Reason != "" {
		out[0] += ": " + s.Reason
	}
	for _, k := range slices.Sorted(maps.Keys(s.Vars)) {
		out = append(out, k+" = "+value(s.Vars[k]))
	}
	for _, k := range slices.Sorted(maps.Keys(s.Signals)) {
		out = append(out, fmt.Sprintf("signal %s: %d wait", k, len(s.Signals[k])))
	}
	if s.Usage != (event.Usage{}) {
		out = append(out, fmt.Sprintf("tokens %d in, %d out", s.Usage.InputTokens, s.Usage.OutputTokens))
	}
	return out
}

// nodes shows every node's status, visits begun, counted and completed.
func (c *conversation) nodes() []string {
	ids := slices.Sorted(maps.Keys(c.s.Nodes))
	d := &decider{w: c.wf, s: c.s}
	slices.SortStableFunc(ids, d.order)
	var out []string
	for _, id := range ids {
		n := c.s.Nodes[id]
		out = append(out, strings.TrimRight(fmt.Sprintf("%s %s begun=%d counted=%d completed=%d %s", id, n.Status, n.Visits, n.Counted, n.Completed, resultOf(n)), " "))
	}
	return out
}

func resultOf(n *run.Node) string {
	if len(n.Result) == 0 {
		return ""
	}
	return value(n.Result)
}

// briefs shows the whole history.
func (h *history) briefs() string {
	var b strings.Builder
	for _, e := range h.events {
		if p, err := event.Decode(e.Kind, e.Payload); err == nil {
			fmt.Fprintf(&b, "v%d %s\n", e.Version, brief(p))
		}
	}
	return b.String()
}

// checkCompleted wants exactly one node.completed for every node and visit, and
// visits that are numbered without gaps.
func (h *history) checkCompleted() {
	h.t.Helper()
	done, begun := map[string]eventlog.Version{}, map[string]int{}
	for _, e := range h.events {
		p, err := event.Decode(e.Kind, e.Payload)
		if err != nil {
			h.t.Fatal(err)
		}
		switch p := p.(type) {
		case *event.NodeCompleted:
			id := visit(p.Node, p.Visit, 0)
			if v, twice := done[id]; twice {
				h.t.Fatalf("%s completed at version %d and at version %d:\n%s", id, v, e.Version, h.briefs())
			}
			done[id] = e.Version
		case *event.NodeScheduled:
			if _, _, item := run.ItemOf(p.Node); item {
				continue
			}
			if p.Visit != begun[p.Node]+1 {
				h.t.Fatalf("version %d: visit %d of %s begins after visit %d", e.Version, p.Visit, p.Node, begun[p.Node])
			}
			begun[p.Node] = p.Visit
		}
	}
}
