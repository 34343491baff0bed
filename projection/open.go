package projection

import (
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Timer is something of a run that is due at a time.
type Timer struct {
	Run     eventlog.RunID `json:"run"`
	Node    string         `json:"node,omitempty"`
	Visit   int            `json:"visit,omitempty"`
	For     string         `json:"for"` // wait, input, signal, run or retry
	At      event.Time     `json:"at"`
	Attempt int            `json:"attempt,omitempty"` // retry: the one that is due
}

// Input is a question that a run has put to a person and that is not answered.
type Input struct {
	Run       eventlog.RunID   `json:"run"`
	Node      string           `json:"node"`
	Visit     int              `json:"visit"`
	Namespace event.Namespace  `json:"namespace,omitempty"` // absent: the default one
	Workflow  string           `json:"workflow"`
	Prompt    string           `json:"prompt,omitempty"`
	Form      event.Value      `json:"form,omitempty"` // none if it is over 4 kB: read the event
	Assignee  string           `json:"assignee,omitempty"`
	Asked     event.Time       `json:"asked"`
	Due       event.Time       `json:"due,omitzero"` // when its timer fires
	Seq       eventlog.Seq     `json:"seq"`          // of the question's event
	Version   eventlog.Version `json:"version"`      // of the question's event
}

// maxForm is the largest form that the inbox keeps.
const maxForm = 4 << 10

// forRetry and forRun are purposes of timers that no timer.set announces: the
// next attempt of a node, and the deadline of the run.
const (
	forRetry = "retry"
	forRun   = "run"
)

type openKey struct {
	node  string
	visit int
	what  string // a timer's For; "" for an input
}

// An openSet is what is open of one run: its timers and its questions. Its
// Apply agrees with package run about what ends them.
type openSet struct {
	timers map[openKey]Timer
	inputs map[openKey]Input
	// halted are questions of a run that failed; a retry opens them again.
	halted map[openKey]Input
	// deadline is that of the run, and turns are the versions at which its timer
	// came or went, so that a restore can tell whether it was there.
	deadline event.Time
	turns    []eventlog.Version
}

// newOpenSet returns an empty set. Most stay so: its maps are made when there is
// something to put into them.
func newOpenSet() *openSet { return &openSet{} }

func put[V any](m *map[openKey]V, k openKey, v V) {
	if *m == nil {
		*m = map[openKey]V{}
	}
	(*m)[k] = v
}

func (s *openSet) empty() bool {
	return len(s.timers) == 0 && len(s.inputs) == 0 && len(s.halted) == 0 && s.deadline == 0
}

// concerns reports whether an event of kind k can change s.
func (s *openSet) concerns(k eventlog.Kind) bool {
	switch k {
	case event.KindRunCreated, event.KindRunForked, event.KindTimerSet, event.KindNodeRetried, event.KindInputRequested,
		event.KindSecurityRequested:
		return true
	case event.KindTimerFired, event.KindNodeStarted, event.KindNodeCompleted, event.KindNodeFailed, event.KindNodeSkipped,
		event.KindInputReceived, event.KindSecurityGranted, event.KindSecurityDenied, event.KindRunCompleted, event.KindRunFailed, event.KindRunCancelled, event.KindRunResumed,
		event.KindRunRestored:
		return !s.empty()
	}
	return false
}

func (s *openSet) apply(f *fact) error {
	if !s.concerns(f.Kind) {
		return nil
	}
	switch f.Kind {
	case event.KindRunCreated:
		return on(f, func(p *event.RunCreated) {
			s.deadline = p.Deadline
			s.runTimer(f, p.Deadline != 0)
		})
	case event.KindRunForked:
		return on(f, func(p *event.RunForked) {
			s.deadline = p.Deadline
			s.runTimer(f, p.Deadline != 0)
		})
	case event.KindTimerSet:
		return on(f, func(p *event.TimerSet) {
			if p.For == forRun {
				s.deadline = p.At
				s.runTimer(f, true)
			}
			s.set(Timer{Run: f.Run, Node: p.Node, Visit: p.Visit, For: p.For, At: p.At})
		})
	case event.KindNodeRetried:
		return on(f, func(p *event.NodeRetried) {
			if p.At != 0 { // 0 is at once
				s.set(Timer{Run: f.Run, Node: p.Node, Visit: p.Visit, For: forRetry, At: p.At, Attempt: p.Attempt})
			}
		})
	case event.KindTimerFired:
		return on(f, func(p *event.TimerFired) {
			if p.For == forRun {
				s.runTimer(f, false)
			}
			delete(s.timers, openKey{p.Node, p.Visit, p.For})
		})
	case event.KindNodeStarted:
		return on(f, func(p *event.NodeStarted) { delete(s.timers, openKey{p.Node, p.Visit, forRetry}) })
	case event.KindNodeCompleted:
		return on(f, func(p *event.NodeCompleted) { s.visitEnded(p.Node, p.Visit) })
	case event.KindNodeFailed:
		return on(f, func(p *event.NodeFailed) {
			if p.Then != event.ThenRetry && p.Then != event.ThenPause {
				s.visitEnded(p.Node, p.Visit)
			}
		})
	case event.KindNodeSkipped:
		return on(f, func(p *event.NodeSkipped) {
			k := openKey{node: p.Node, visit: p.Visit}
			if in, ok := s.inputs[k]; ok && p.Reason == event.SkipRunEnded && !strings.HasSuffix(p.Node, "]") {
				put(&s.halted, k, in)
			}
			s.visitEnded(p.Node, p.Visit)
		})
	case event.KindInputRequested:
		return on(f, func(p *event.InputRequested) {
			in := Input{
				Run: f.Run, Node: p.Node, Visit: p.Visit, Prompt: clip(p.Prompt, maxText), Assignee: clip(p.Assignee, maxLabel),
				Asked: event.Time(f.Time), Seq: f.Seq, Version: f.Version,
			}
			if len(p.Form) <= maxForm {
				in.Form = slices.Clone(p.Form)
			}
			put(&s.inputs, openKey{node: p.Node, visit: p.Visit}, in)
		})
	case event.KindSecurityRequested:
		return on(f, func(p *event.SecurityRequested) {
			put(&s.inputs, openKey{node: p.Node, visit: p.Visit}, Input{
				Run: f.Run, Node: p.Node, Visit: p.Visit, Prompt: clip(p.Question(), maxText), Form: event.ReviewForm,
				Asked: event.Time(f.Time), Seq: f.Seq, Version: f.Version,
			})
		})
	case event.KindInputReceived:
		return on(f, func(p *event.InputReceived) { delete(s.inputs, openKey{node: p.Node, visit: p.Visit}) })
	case event.KindSecurityGranted:
		return on(f, func(p *event.SecurityGranted) { delete(s.inputs, openKey{node: p.Node, visit: p.Visit}) })
	case event.KindSecurityDenied:
		return on(f, func(p *event.SecurityDenied) { delete(s.inputs, openKey{node: p.Node, visit: p.Visit}) })
	case event.KindRunFailed:
		for k, in := range s.inputs {
			put(&s.halted, k, in)
		}
		s.runEnded(f)
	case event.KindRunCompleted, event.KindRunCancelled:
		clear(s.halted)
		s.runEnded(f)
	case event.KindRunResumed:
		return on(f, func(p *event.RunResumed) {
			if !p.Retry {
				return
			}
			for k, in := range s.halted {
				put(&s.inputs, k, in)
			}
			clear(s.halted)
			s.runTimer(f, s.deadline > event.Time(f.Time))
		})
	case event.KindRunRestored:
		// Visits that were under way there begin anew, with timers and
		// questions of their own.
		return on(f, func(p *event.RunRestored) {
			was := s.runTimerAt(p.To)
			if p.Node != "" && s.deadline <= event.Time(f.Time) {
				was = false // a retry: a deadline that has passed no longer counts
			}
			clear(s.halted)
			s.runEnded(f)
			s.runTimer(f, was)
		})
	}
	return nil
}

// set opens a timer. One that is set twice has its later time.
func (s *openSet) set(t Timer) { put(&s.timers, openKey{t.Node, t.Visit, t.For}, t) }

// runTimer opens or closes the timer of the run's deadline.
func (s *openSet) runTimer(f *fact, open bool) {
	k := openKey{what: forRun}
	if _, is := s.timers[k]; is == open {
		return
	}
	if open {
		s.set(Timer{Run: f.Run, For: forRun, At: s.deadline})
	} else {
		delete(s.timers, k)
	}
	s.turns = append(s.turns, f.Version)
}

// runTimerAt reports whether the timer of the run's deadline was open after
// version v.
func (s *openSet) runTimerAt(v eventlog.Version) bool {
	n := 0
	for n < len(s.turns) && s.turns[n] <= v {
		n++
	}
	return n%2 == 1
}

func (s *openSet) visitEnded(node string, visit int) {
	for k := range s.timers {
		if k.node == node && k.visit == visit && visit != 0 {
			delete(s.timers, k)
		}
	}
	delete(s.inputs, openKey{node: node, visit: visit})
}

func (s *openSet) runEnded(f *fact) {
	s.runTimer(f, false)
	clear(s.timers)
	clear(s.inputs)
}
