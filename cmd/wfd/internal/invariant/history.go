// Package invariant holds the rules that no crash, fault or bug may break, once
// for all who look: the campaigns that kill the daemon, the simulator, and wfd
// check. A rule is checked on events alone, in the order of the log, so that it
// holds whatever the code that decided them believes.
package invariant

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// A History is what the rules keep of one run. The zero History is that of a run
// without events.
type History struct {
	// Keys counts, by idempotency key, the commands that carry it.
	Keys map[string]int
	// Wrong is what broke a rule.
	Wrong []error

	version   eventlog.Version
	time      int64
	ended     bool
	stopped   map[string]bool // at a breakpoint, before a node and visit or an edge of it
	completed map[visit]bool
	attempts  map[visit]int  // the latest attempt that began
	over      map[visit]int  // the latest attempt that has ended
	children  map[visit]bool // ordered; true once the end was told
	timers    map[timer]event.Time
	chats     map[visit]bool // that have ended
}

type visit struct {
	node  string
	visit int
}

type timer struct {
	visit
	purpose string
}

// Ended reports whether the run has come to its end.
func (h *History) Ended() bool { return h.ended }

// Version is that of the last event.
func (h *History) Version() eventlog.Version { return h.version }

// Add holds the run's next event against the rules.
func (h *History) Add(e eventlog.Event) error {
	b := e.Payload
	if e.Erased && len(b) == 0 {
		b = []byte{0x90} // nothing is left of it
	}
	p, err := event.Decode(e.Kind, b)
	if err != nil {
		return fmt.Errorf("event %d: %w", e.Seq, err)
	}
	h.AddPayload(e, p)
	return nil
}

// AddPayload is Add for an event whose payload is decoded.
func (h *History) AddPayload(e eventlog.Event, p event.Payload) {
	if h.Keys == nil {
		h.Keys, h.stopped, h.completed = map[string]int{}, map[string]bool{}, map[visit]bool{}
		h.attempts, h.over, h.children, h.timers = map[visit]int{}, map[visit]int{}, map[visit]bool{}, map[timer]event.Time{}
		h.chats = map[visit]bool{}
	}
	if e.Version != h.version+1 {
		h.bad(e, "follows version %d", h.version)
	}
	if e.Time < h.time {
		h.bad(e, "is earlier than the event before it")
	}
	h.version, h.time = e.Version, e.Time
	if h.ended && !e.Erased {
		h.afterEnd(e, p)
	}
	switch p := p.(type) {
	case *event.RunCreated:
		h.key(p.Key)
		h.deadline(p.Deadline)
	case *event.RunForked:
		h.key(p.Key)
		h.deadline(p.Deadline)
	case *event.SignalReceived:
		h.key(p.Key)
	case *event.InputReceived:
		h.key(p.Key)
	case *event.SecurityGranted:
		h.key(p.Key)
	case *event.SecurityDenied:
		h.key(p.Key)
	case *event.CheckpointCreated:
		h.key(p.Key)
	case *event.BudgetRaised:
		h.key(p.Key)
	case *event.RunPaused:
		h.key(p.Key)
		h.breakpoint(e, p)
	case *event.RunResumed:
		h.key(p.Key)
		h.ended = h.ended && !p.Retry
	case *event.RunRestored:
		h.key(p.Key)
		h.ended = false
	case *event.RunCompleted, *event.RunFailed:
		h.ended = true
	case *event.RunCancelled:
		h.key(p.Key)
		h.ended = true
	case *event.TimerSet:
		h.timers[timer{visit{p.Node, p.Visit}, p.For}] = p.At
	case *event.TimerFired:
		h.fired(e, p)
	case *event.NodeStarted:
		h.started(e, p)
	case *event.NodeCompleted:
		v := visit{p.Node, p.Visit}
		if h.completed[v] {
			h.bad(e, "%v completed twice", v)
		}
		h.completed[v] = true
		if !h.chats[v] {
			h.end(e, v, p.Attempt)
		}
	case *event.NodeFailed:
		v := visit{p.Node, p.Visit}
		if p.Class == event.ClassBudget && p.Attempt == h.over[v] {
			break // the next attempt cannot be paid: the node fails after the last one
		}
		if h.chats[v] {
			break
		}
		h.end(e, v, p.Attempt)
	case *event.ChatEnded: // and with it the node, which may be between two turns
		h.chats[visit{p.Node, p.Visit}] = true
	case *event.NodeLost:
		h.end(e, visit{p.Node, p.Visit}, p.Attempt)
	case *event.ChildStarted:
		v := visit{p.Node, p.Visit}
		if _, twice := h.children[v]; twice {
			h.bad(e, "%v ordered a second child run", v)
		}
		h.children[v] = false
	case *event.ChildEnded:
		v := visit{p.Node, p.Visit}
		if told, ordered := h.children[v]; told || !ordered {
			h.bad(e, "%v was told the end of a child run that it had none of, or twice", v)
		}
		h.children[v] = true
	}
}

func (v visit) String() string { return fmt.Sprintf("visit %d of %s", v.visit, v.node) }

func (h *History) bad(e eventlog.Event, format string, args ...any) {
	h.Wrong = append(h.Wrong, fmt.Errorf("version %d, %s: %s", e.Version, event.KindName(e.Kind), fmt.Sprintf(format, args...)))
}

func (h *History) key(k string) {
	if k != "" {
		h.Keys[k]++
	}
}

func (h *History) deadline(at event.Time) {
	if at != 0 {
		h.timers[timer{purpose: "run"}] = at
	}
}

// afterEnd says what may follow the end of a run: what came too late, what it had
// used, a cancel of what failed, more money for it, a name for a position, and a person
// who goes on from somewhere.
func (h *History) afterEnd(e eventlog.Event, p event.Payload) {
	switch p := p.(type) {
	case *event.ResultIgnored, *event.RunCancelled, *event.RunRestored, *event.CheckpointCreated, *event.CheckpointPruned, *event.RunImported, *event.NodeSkipped, *event.CostSettled, *event.BudgetRaised:
	case *event.RunResumed:
		if !p.Retry {
			h.bad(e, "after the end of the run")
		}
	default:
		h.bad(e, "after the end of the run")
	}
}

func (h *History) breakpoint(e eventlog.Event, p *event.RunPaused) {
	place := fmt.Sprintf("%v %s", visit{p.Node, p.Visit}, p.To)
	if p.Breakpoint != "" && h.stopped[place] {
		h.bad(e, "stopped twice before %s", place)
	}
	h.stopped[place] = true
}

// fired: no timer fires before its time, nor twice for one that was set. What a
// restore brings back was set before it.
func (h *History) fired(e eventlog.Event, p *event.TimerFired) {
	t := timer{visit{p.Node, p.Visit}, p.For}
	at, set := h.timers[t]
	switch {
	case !set:
		h.bad(e, "the timer %q of %v was not set, or has fired", p.For, t.visit)
	case event.Time(e.Time) < at:
		h.bad(e, "the timer %q of %v fires at %d, before its time %d", p.For, t.visit, e.Time, at)
	}
	delete(h.timers, t)
}

func (h *History) started(e eventlog.Event, p *event.NodeStarted) {
	v := visit{p.Node, p.Visit}
	if h.completed[v] {
		h.bad(e, "%v is done again after it completed", v)
	}
	if p.Each {
		return
	}
	if p.Attempt <= h.attempts[v] {
		h.bad(e, "attempt %d of %v begins after attempt %d", p.Attempt, v, h.attempts[v])
	}
	h.attempts[v] = p.Attempt
}

// end: an attempt ends once.
func (h *History) end(e eventlog.Event, v visit, attempt int) {
	if attempt == 0 {
		return
	}
	if attempt <= h.over[v] {
		h.bad(e, "attempt %d of %v has ended twice", attempt, v)
	}
	h.over[v] = attempt
}
