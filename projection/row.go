package projection

import (
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Bounds on what a row keeps, so that a list of rows stays small whatever the
// runs hold. The run's own events have everything.
const (
	maxText   = 1 << 10 // bytes of an error, a reason, a prompt
	maxOutput = 256     // bytes of an output; a larger one is told by its size alone
	maxLabels = 64
	maxLabel  = 256 // bytes of a label's key, and of its value; others are not listed
	maxWaits  = 8
	maxMarks  = 64 // the newest named and pinned checkpoints
)

// Row is what lists and headers show of a run.
type Row struct {
	ID              eventlog.RunID    `json:"id"`
	Namespace       event.Namespace   `json:"namespace,omitempty"` // absent: the default one
	Workflow        string            `json:"workflow"`
	WorkflowVersion int               `json:"workflow_version,omitempty"`
	Hash            string            `json:"hash"`
	Status          run.Status        `json:"status"`
	Created         event.Time        `json:"created"`
	Updated         event.Time        `json:"updated"`
	Ended           event.Time        `json:"ended,omitzero"`
	Deadline        event.Time        `json:"deadline,omitzero"`
	CreatedSeq      eventlog.Seq      `json:"created_seq"` // the order of lists
	Seq             eventlog.Seq      `json:"seq"`         // of the run's last event
	Version         eventlog.Version  `json:"version"`     // of the run's last event
	Labels          map[string]string `json:"labels,omitempty"`
	Parent          *event.Parent     `json:"parent,omitempty"`
	Depth           int               `json:"depth,omitempty"`
	From            eventlog.RunID    `json:"forked_from,omitzero"` // the run it branched off
	Completed       int               `json:"completed"`            // visits of nodes that completed
	Failures        int               `json:"failures"`             // attempts that failed
	Waits           []event.Wait      `json:"waits,omitempty"`      // while it waits
	Reason          string            `json:"reason,omitempty"`     // why it is paused or cancelled
	Failure         *event.Failure    `json:"failure,omitempty"`    // why it failed
	Output          event.Value       `json:"output,omitempty"`     // of a completed run, if it is small
	OutputSize      int               `json:"output_size,omitempty"`
	Marks           []Mark            `json:"checkpoints,omitempty"`
	Spent           event.Spend       `json:"spent"`
	Over            event.BudgetID    `json:"over,omitzero"`    // a budget that is used up, while it is paused for it
	Bytes           int64             `json:"bytes"`            // of the payloads of its events, archived ones not counted
	Erased          string            `json:"erased,omitempty"` // what was done with its payloads: one of the Erased constants
	// Damaged is where the log has lost an event of the run, or is first known to have:
	// the row is that of the events before.
	Damaged eventlog.Seq `json:"damaged,omitempty"`
}

// What was done with the payloads of a run, in the order in which the later takes
// the place of the earlier.
const (
	ErasedArchived = "archived" // they are in an archive, and read from there
	ErasedDropped  = "dropped"  // retention has dropped them
	ErasedInPart   = "in part"  // a person had some of them erased
	ErasedByPerson = "erased"   // a person had them erased
)

// Mark is a named or pinned checkpoint.
type Mark struct {
	At     eventlog.Version `json:"at"`
	Name   string           `json:"name,omitempty"`
	Pinned bool             `json:"pinned,omitempty"`
	Time   event.Time       `json:"time"` // when it was named or pinned
}

// Apply folds the run's next event into r. It follows package run in every
// field they share and looks into no payload it has no need of.
func (r *Row) Apply(e eventlog.Event) error { return r.apply(&fact{Event: e}) }

func (r *Row) apply(f *fact) error {
	if r.Version == 0 {
		r.ID, r.Status, r.CreatedSeq, r.Created = f.Run, run.Pending, f.Seq, event.Time(f.Time)
	}
	if f.Run != r.ID || f.Version != r.Version+1 {
		return fmt.Errorf("%w: run %s is at version %d", run.ErrHistory, r.ID, r.Version)
	}
	r.Seq, r.Version, r.Updated = f.Seq, f.Version, event.Time(f.Time)
	r.Bytes += int64(len(f.Payload))
	switch f.Kind {
	case event.KindRunCreated:
		return on(f, r.created)
	case event.KindRunForked:
		return on(f, func(p *event.RunForked) {
			r.created(&event.RunCreated{Workflow: p.Workflow, Version: p.Version, Hash: p.Hash, Labels: p.Labels, Deadline: p.Deadline, Namespace: p.Namespace})
			r.From = p.From
			if p.Pause {
				r.Status, r.Reason = run.Paused, "forked, and to be looked at first"
			}
		})
	case event.KindRunCompleted:
		return on(f, func(p *event.RunCompleted) {
			r.end(run.Completed)
			if r.OutputSize = len(p.Output); r.OutputSize <= maxOutput {
				r.Output = slices.Clone(p.Output)
			}
		})
	case event.KindRunFailed:
		return on(f, func(p *event.RunFailed) {
			r.end(run.Failed)
			fail := p.Failure
			fail.Message = clip(fail.Message, maxText)
			r.Failure = &fail
		})
	case event.KindRunCancelled:
		return on(f, func(p *event.RunCancelled) {
			r.end(run.Cancelled)
			r.Reason = clip(p.Reason, maxText)
		})
	case event.KindRunPaused:
		return on(f, func(p *event.RunPaused) { r.Status, r.Reason = run.Paused, clip(p.Reason, maxText) })
	case event.KindRunImported:
		return on(f, func(p *event.RunImported) {
			if !r.Status.Terminal() {
				r.Status, r.Reason, r.Over = run.Paused, clip(p.Pause, maxText), event.BudgetID{}
			}
		})
	case event.KindRunResumed:
		return on(f, func(p *event.RunResumed) {
			r.Status, r.Reason, r.Over = run.Running, "", event.BudgetID{}
			if p.Retry {
				r.Failure, r.Ended = nil, 0
			}
		})
	case event.KindCostSettled:
		return on(f, func(p *event.CostSettled) { r.Spent = r.Spent.Add(p.Charged()) })
	case event.KindBudgetExceeded:
		return on(f, func(p *event.BudgetExceeded) {
			if p.Then == event.OnExceedPause {
				r.Over = p.Budget
			}
		})
	case event.KindBudgetRaised:
		return on(f, func(p *event.BudgetRaised) {
			if r.Status == run.Paused && r.Over == p.Budget {
				r.Status, r.Reason, r.Over = run.Running, "", event.BudgetID{}
			}
		})
	case event.KindRunWaiting:
		return on(f, func(p *event.RunWaiting) {
			r.Status = run.Waiting
			r.Waits = slices.Clone(p.On[:min(len(p.On), maxWaits)])
		})
	case event.KindRunRestored:
		return on(f, r.restored)
	case event.KindCheckpointCreated:
		return on(f, r.mark)
	case event.KindNodeCompleted:
		r.Completed++
		r.moving()
	case event.KindNodeFailed:
		r.Failures++
		r.moving()
	case event.KindNodeScheduled, event.KindNodeStarted, event.KindTimerFired, event.KindSignalReceived,
		event.KindInputReceived, event.KindChildEnded, event.KindChatTurn, event.KindPlanMade,
		event.KindSecurityGranted, event.KindSecurityDenied:
		r.moving()
	case event.KindNodeRetried, event.KindNodeLost, event.KindNodeSkipped, event.KindEdgeTaken, event.KindStateSet,
		event.KindTimerSet, event.KindInputRequested, event.KindChildStarted, event.KindCheckpointPruned,
		event.KindAgentChosen, event.KindToolCalled, event.KindResultIgnored, event.KindChatEnded,
		event.KindCostReserved, event.KindSecurityRequested:
	default:
		return fmt.Errorf("%w: kind %d", event.ErrUnknown, f.Kind)
	}
	return nil
}

func (r *Row) created(p *event.RunCreated) {
	r.Status = run.Running
	r.Namespace, r.Workflow, r.WorkflowVersion, r.Hash = p.Namespace, p.Workflow, p.Version, p.Hash
	r.Parent, r.Depth, r.Deadline = p.Parent, p.Depth, p.Deadline
	for _, k := range sortedKeys(p.Labels) {
		if v := p.Labels[k]; len(k) <= maxLabel && len(v) <= maxLabel && len(r.Labels) < maxLabels {
			if r.Labels == nil {
				r.Labels = make(map[string]string)
			}
			r.Labels[k] = v
		}
	}
}

// sortedKeys are those of a map that is empty more often than not.
func sortedKeys(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}

// erased takes out of the row what an erasure takes out of the run's events. A row
// that is folded from what is left of them is the same afterwards.
func (r *Row) erased(p *event.PayloadErased, t *event.ErasedSpan) {
	how := map[string]string{event.ScopeRun: ErasedByPerson, event.ScopePayload: ErasedInPart, event.ScopeRetention: ErasedDropped}[p.Scope]
	if p.Archive != "" {
		how = ErasedArchived
	}
	if r.Erased != ErasedByPerson {
		r.Erased = how
	}
	r.Bytes = t.Bytes
	r.Output, r.OutputSize = nil, 0
	if p.Rest() >= event.RestText {
		return
	}
	r.Labels = nil
	if r.Reason != "" {
		r.Reason = event.ErasedText
	}
	if f := r.Failure; f != nil {
		gone := *f
		gone.Message = event.ErasedText
		r.Failure = &gone
	}
}

func (r *Row) restored(p *event.RunRestored) {
	r.Status, r.Reason = run.Running, ""
	if p.Pause {
		r.Status, r.Reason = run.Paused, "restored to a checkpoint"
	}
	r.Ended, r.Failure, r.Output, r.OutputSize, r.Waits, r.Over = 0, nil, nil, 0, nil, event.BudgetID{}
}

// moving ends the waiting of a run.
func (r *Row) moving() {
	if r.Status == run.Waiting {
		r.Status = run.Running
	}
	r.Waits = nil
}

func (r *Row) end(s run.Status) {
	r.Status, r.Ended, r.Waits, r.Over = s, r.Updated, nil, event.BudgetID{}
}

func (r *Row) mark(p *event.CheckpointCreated) {
	r.Marks = addMark(r.Marks, p, r.Updated)
	if n := len(r.Marks) - maxMarks; n > 0 {
		r.Marks = slices.Delete(r.Marks, 0, n)
	}
}

// addMark names or pins a position; a position may have several names.
func addMark(marks []Mark, p *event.CheckpointCreated, at event.Time) []Mark {
	for i := range marks {
		if m := &marks[i]; m.At == p.At && (m.Name == p.Name || p.Name == "") {
			m.Pinned = p.Pinned
			return marks
		}
	}
	return append(marks, Mark{At: p.At, Name: p.Name, Pinned: p.Pinned, Time: at})
}

// clip cuts s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
