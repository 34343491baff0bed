package machine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Limits of a run.
const (
	MaxParallel = 100      // attempts of one run under way at once; the rest is queued
	MaxDepth    = 8        // child runs within child runs
	MaxLosses   = 20       // losses of one visit in a row before the run is paused
	MaxValue    = 64 << 10 // bytes of one state value
	MaxItems    = 100_000  // items of a foreach
	MaxResult   = 15 << 20 // bytes of one result
	MaxSignals  = 10_000   // signals of one name that wait to be consumed
)

// Meta says who gave a command, when and under which idempotency key.
type Meta struct {
	At    event.Time
	Actor string
	Key   string // "" = none
	// Choose says who does the next attempt of a visit, without the attempt's name; nil:
	// nobody is chosen. It is asked once for every attempt, and its answer is an
	// event: what is decided again later takes it from there.
	Choose func(n *workflow.Node, v *run.Visit) *event.AgentChosen
	// Meter says what calls of models may use, and whether budgets beyond the run allow
	// it; nil: nothing is reserved.
	Meter Meter
	// Room is where it is decided; nil: in memory of its own.
	Room *Room
}

// Command is something that happens to a run from outside.
type Command interface {
	decide(*decider) error
}

// Event is one decided event: its record for the log and its payload.
type Event struct {
	Record  eventlog.Record
	Payload event.Payload
	// Child, with a node.skipped, is the child run that nobody waits for any more.
	Child eventlog.RunID
}

// ErrRefused marks a command that the run's present state does not allow.
// Nothing was decided.
var ErrRefused = errors.New("not allowed now")

// ErrInvalid marks a command whose content is wrong: an answer that fails its
// form, an unknown node. Nothing was decided.
var ErrInvalid = errors.New("invalid")

// ErrNotFound marks a command that names something the run does not have.
var ErrNotFound = errors.New("not found")

// refuse returns an ErrRefused that names the run's status.
func refuse(s *run.State, what string) error {
	return fmt.Errorf("%w: cannot %s a run that is %s", ErrRefused, what, s.Status)
}

// Decide returns the events that follow from c on s, which runs w, and applies
// them to s. A command whose idempotency key the run has seen gives no events.
// On an error that is ErrRefused, ErrInvalid or ErrNotFound s is unchanged; any
// other error means that s must be dropped. s must also be dropped when the
// events could not be appended.
func Decide(w *workflow.Workflow, s *run.State, m Meta, c Command) ([]Event, error) {
	if s.HasKey(m.Key) {
		return nil, nil
	}
	r := m.Room
	if r == nil {
		r = &Room{events: make([]Event, 0, fewEvents)}
	}
	d := &r.decider
	*d = decider{
		w: w, s: s, at: max(m.At, s.Time, 1), actor: m.Actor, key: m.Key, cast: m.Choose, meter: m.Meter,
		events: r.events[len(r.events):], encoded: r.bytes,
	}
	d.todo = d.few[:0]
	if err := c.decide(d); err != nil {
		return nil, err
	}
	if d.err == nil {
		d.advance()
	}
	r.add(d)
	return d.events, d.err
}

// fewEvents is how many events most decisions have at the most.
const fewEvents = 5

// Bounds of one decision. What is owed beyond them is left to Continue, so that no
// run can decide more than one append can hold.
const (
	maxDecision      = 4096     // events
	maxDecisionBytes = 16 << 20 // of payloads
)

// Cut reports whether a decision reached its bounds: Continue may have more.
func Cut(events []Event) bool {
	if len(events) >= maxDecision {
		return true
	}
	n := 0
	for i := range events {
		n += len(events[i].Record.Payload)
	}
	return n >= maxDecisionBytes
}

// full reports whether the decision has reached its bounds.
func (d *decider) full() bool { return len(d.events) >= maxDecision || d.bytes >= maxDecisionBytes }

// A decider holds one decision under way.
type decider struct {
	w      *workflow.Workflow
	s      *run.State
	at     event.Time
	actor  string
	key    string
	cast   func(*workflow.Node, *run.Visit) *event.AgentChosen
	meter  Meter
	events []Event
	bytes  int // of the events' payloads
	// encoded is what the payloads are appended to.
	encoded []byte
	err     error // the fold refused an event: a bug, or a broken history

	todo []string  // visits to look at, keys of s.Live
	few  [4]string // where todo begins

	breaks []*workflow.Breakpoint // s.Breaks, once one had to be looked at
}

// emit decides p: applies it and keeps it.
func (d *decider) emit(p event.Payload) {
	if d.err != nil {
		return
	}
	e := eventlog.Event{Run: d.s.Run, Version: d.s.Version + 1, Time: int64(d.at), Kind: p.Kind(), Actor: d.actor, Seq: d.s.Seq}
	if d.err = d.s.ApplyPayload(e, p); d.err != nil {
		return
	}
	n := len(d.encoded)
	d.encoded = event.Append(d.encoded, p)
	r := eventlog.Record{Time: e.Time, Kind: e.Kind, Actor: e.Actor, Payload: d.encoded[n:len(d.encoded):len(d.encoded)]}
	d.events = append(d.events, Event{Record: r, Payload: p})
	d.bytes += len(r.Payload)
	if owed := d.s.Owed(); owed != nil {
		d.emit(owed) // what ended a call is followed by what it cost
	}
}

// touch puts a visit on the list of those to look at.
func (d *decider) touch(id string) { d.todo = append(d.todo, id) }

// touchNext puts a visit before all others on the list: what has changed while it
// was looked at goes on before the next, as it would for [Continue].
func (d *decider) touchNext(id string) { d.todo = slices.Insert(d.todo, 0, id) }

// touchAll puts every visit on the list, in the order of the definition, but for
// those whose next attempt has a time: they are started last, see startQueued.
func (d *decider) touchAll() {
	if !d.stopped() {
		d.skipOrphans() // should the list be of a run that was cut there
	}
	ids := slices.DeleteFunc(d.s.LiveIDs(), func(id string) bool { return d.s.Live[id].RetryAt != 0 })
	slices.SortStableFunc(ids, d.order)
	d.todo = append(d.todo, ids...)
}

// order compares the keys of visits by the definition's order, items by number
// and before their foreach: what has begun goes on before more is begun.
func (d *decider) order(a, b string) int {
	an, ai := d.place(a)
	bn, bi := d.place(b)
	if an != bn {
		return an - bn
	}
	return cmp.Compare(ai, bi)
}

func (d *decider) place(id string) (node, item int) {
	item = math.MaxInt
	if of, i, ok := run.ItemOf(id); ok {
		id, item = of, i
	}
	if n := d.w.Node(id); n != nil {
		return n.Index, item
	}
	return len(d.w.Nodes), item
}

// node returns the definition of a visit's node; of an item, what is done for it.
func (d *decider) node(v *run.Visit) *workflow.Node { return NodeOf(d.w, v) }

// NodeOf returns the definition of a visit's node; of a foreach's item, that of
// what is done for it.
func NodeOf(w *workflow.Workflow, v *run.Visit) *workflow.Node {
	if v.Item == 0 {
		return w.Node(v.Node)
	}
	if n := w.Node(v.Of); n != nil {
		if n.Do != nil {
			return n.Do
		}
		return n
	}
	return nil
}

// Due returns when the run next has to be looked at again without anything
// having happened to it; ok is false if never.
func Due(s *run.State) (at event.Time, ok bool) {
	if s.Status.Terminal() || s.Status == run.Paused {
		return 0, false
	}
	see := func(t event.Time) {
		if t != 0 && (!ok || t < at) {
			at, ok = t, true
		}
	}
	for _, t := range s.Timers {
		if ticks(s, t) {
			see(t.At)
		}
	}
	if !places(s) {
		return at, ok // an attempt that is due is started by the end of another
	}
	for _, v := range s.Live {
		if v.Status == run.NodeScheduled && v.Short == nil {
			see(v.RetryAt)
		}
	}
	return at, ok
}

// duration reads a duration as definitions write it, or a number of seconds.
func duration(v any) (time.Duration, error) {
	switch v := v.(type) {
	case int64:
		return duration(float64(v))
	case float64:
		if v >= 0 && v <= maxWait.Seconds() {
			return time.Duration(v * float64(time.Second)), nil
		}
	case string:
		return workflow.ParseDuration(v)
	}
	return 0, fmt.Errorf("%s is no duration", clip(text(v)))
}

// maxWait bounds what a wait node may wait, as durations in definitions are
// bounded: times stay within what a nanosecond count holds.
const maxWait = 100 * 365 * 24 * time.Hour
