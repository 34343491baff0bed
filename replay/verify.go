package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Verdict is what verifying a run found.
type Verdict struct {
	Run      eventlog.RunID   `json:"run"`
	Workflow string           `json:"workflow,omitempty"`
	OK       bool             `json:"ok"`
	Version  eventlog.Version `json:"version"`  // of the last event there is
	Verified eventlog.Version `json:"verified"` // up to here every event follows from the facts
	// NotFrom is the first version that cannot be verified, and Why says why; 0: all can.
	NotFrom    eventlog.Version `json:"not_verifiable_from,omitempty"`
	Why        string           `json:"why,omitempty"`
	Difference *Difference      `json:"difference,omitempty"` // nil: none
}

// Difference is the first event that does not follow from what is before it.
type Difference struct {
	Version eventlog.Version `json:"version"`
	Seq     eventlog.Seq     `json:"seq"`  // 0: the event is missing
	Fact    eventlog.Version `json:"fact"` // the event that stands for the command
	Why     string           `json:"why"`  // in one sentence
	// Recorded is the event there is, Decided the one that follows; nil: none.
	Recorded json.RawMessage `json:"recorded,omitempty"`
	Decided  json.RawMessage `json:"decided,omitempty"`
}

// Verify decides every decision of a run again and compares what it gives, byte
// for byte, with the events. An error is one of reading the log, or
// run.ErrNotFound; a history that is wrong is a Difference.
//
// It proves that what was decided follows from the facts: results, answers,
// signals, the times of timers, who was chosen for an attempt, what tools it called.
// That the facts are those that were recorded is the log's to prove.
func Verify(log eventlog.Log, defs Definitions, id eventlog.RunID) (Verdict, error) {
	last, err := log.Version(id)
	if err != nil {
		return Verdict{}, err
	}
	if last == 0 {
		return Verdict{}, fmt.Errorf("%w: run %s", run.ErrNotFound, id)
	}
	v := verifier{defs: defs, s: newState(log, id), verdict: Verdict{Run: id, OK: true, Version: last}}
	for group, err := range appends(log, id) {
		if err != nil {
			return v.verdict, err
		}
		if !v.append(group) {
			break
		}
	}
	v.verdict.Workflow = v.s.Workflow
	return v.verdict, nil
}

type verifier struct {
	defs    Definitions
	wf      *workflow.Workflow
	s       *run.State // after the events verified so far
	cut     bool       // the rest of a decision is still to follow
	verdict Verdict
}

// append verifies one append, which holds one decision or several. It reports
// whether to go on.
func (v *verifier) append(group []eventlog.Event) bool {
	events := make([]entry, 0, len(group))
	for _, e := range group {
		p, err := whole(e)
		if errors.Is(err, ErrErased) {
			// What is before it in the append may be whole decisions, or cut ones:
			// the append is verified or it is not.
			return v.stop(group[0].Version, err.Error())
		}
		if err != nil {
			return v.differ(Difference{Version: e.Version, Seq: e.Seq, Fact: group[0].Version, Why: err.Error()})
		}
		events = append(events, entry{e, p})
	}
	if hash, ok := definitionOf(events[0].p); ok && v.wf == nil {
		wf, err := v.defs.ByHash(hash)
		if err != nil {
			return v.stop(group[0].Version, err.Error())
		}
		v.wf = wf
	}
	for len(events) > 0 {
		n := v.decision(events)
		if n == 0 {
			return false
		}
		events = events[n:]
	}
	return true
}

// definitionOf returns the hash of the definition that a run begins with.
func definitionOf(p event.Payload) (hash string, ok bool) {
	switch p := p.(type) {
	case *event.RunCreated:
		return p.Hash, true
	case *event.RunForked:
		return p.Hash, true
	}
	return "", false
}

// decision verifies the decision that events begin with and returns how many
// events it has; 0: it found a difference.
func (v *verifier) decision(events []entry) int {
	first := events[0]
	fact := Difference{Version: first.Version, Seq: first.Seq, Fact: first.Version, Recorded: viewOf(first.Event)}
	if v.wf == nil {
		fact.Why = "a run begins with run.created or run.forked"
		v.differ(fact)
		return 0
	}
	meta, cmd, err := commandOf(v.s, events, v.cut)
	if err != nil {
		fact.Why = err.Error()
		v.differ(fact)
		return 0
	}
	then := ahead{v.s, events}
	meta.Choose, meta.Meter = then.choose, metered{then}
	at := v.s.Version
	decided, err := machine.Decide(v.wf, v.s, meta, cmd)
	if err != nil {
		fact.Why = fmt.Sprintf("%s is refused here: %v", nameOf(cmd), err)
		v.differ(fact)
		return 0
	}
	if len(decided) == 0 {
		fact.Why = nameOf(cmd) + " changes nothing here"
		v.differ(fact)
		return 0
	}
	for i, d := range decided {
		d := asEvent(d, first.Run, at+eventlog.Version(i+1))
		if i >= len(events) {
			v.differ(Difference{
				Version: d.Version, Fact: first.Version, Decided: viewOf(d),
				Why: fmt.Sprintf("%s should follow and is missing", event.KindName(d.Kind)),
			})
			return 0
		}
		if why := unlike(events[i].Event, d); why != "" {
			v.differ(Difference{
				Version: events[i].Version, Seq: events[i].Seq, Fact: first.Version,
				Recorded: viewOf(events[i].Event), Decided: viewOf(d), Why: why,
			})
			return 0
		}
	}
	if _, rest := cmd.(machine.Continue); rest || machine.Cut(decided) {
		v.cut = machine.Cut(decided)
	}
	v.verdict.Verified = events[len(decided)-1].Version
	v.s.Seq = events[len(decided)-1].Seq
	return len(decided)
}

// asEvent returns a decided event as the log would hold it.
func asEvent(d machine.Event, id eventlog.RunID, version eventlog.Version) eventlog.Event {
	r := d.Record
	return eventlog.Event{Run: id, Version: version, Time: r.Time, Kind: r.Kind, Actor: r.Actor, Payload: r.Payload}
}

// unlike says how a recorded event differs from the decided one, "" if it does not.
func unlike(rec, dec eventlog.Event) string {
	kind := event.KindName(rec.Kind)
	switch {
	case rec.Run != dec.Run || rec.Version != dec.Version:
		return fmt.Sprintf("the event is version %d of run %s, where version %d of run %s stands", rec.Version, rec.Run, dec.Version, dec.Run)
	case rec.Kind != dec.Kind:
		return fmt.Sprintf("the log has %s where %s follows", kind, event.KindName(dec.Kind))
	case !bytes.Equal(rec.Payload, dec.Payload):
		return fmt.Sprintf("%s: %s", kind, unlikeData(rec, dec))
	case rec.Time != dec.Time:
		return fmt.Sprintf("%s: time is %s, and %s follows", kind, jsonOf(event.Time(rec.Time)), jsonOf(event.Time(dec.Time)))
	case rec.Actor != dec.Actor:
		return fmt.Sprintf("%s: the actor is %q, and %q follows", kind, rec.Actor, dec.Actor)
	}
	return ""
}

// unlikeData names the first field, in the order of names, in which two payloads differ.
func unlikeData(rec, dec eventlog.Event) string {
	a, b := fields(rec), fields(dec)
	for _, k := range sortedKeys(a, b) {
		if !bytes.Equal(a[k], b[k]) {
			return fmt.Sprintf("%s is %s, and %s follows", k, shown(a[k]), shown(b[k]))
		}
	}
	return "its bytes differ from those that follow"
}

func fields(e eventlog.Event) map[string]json.RawMessage {
	p, err := event.Decode(e.Kind, e.Payload)
	if err != nil {
		return nil
	}
	m := map[string]json.RawMessage{}
	if json.Unmarshal([]byte(jsonOf(p)), &m) != nil {
		return nil
	}
	return m
}

func (v *verifier) stop(from eventlog.Version, why string) bool {
	v.verdict.NotFrom, v.verdict.Why = from, why
	return false
}

func (v *verifier) differ(d Difference) bool {
	v.verdict.OK, v.verdict.Difference = false, &d
	return false
}

// nameOf names a command as people know it.
func nameOf(c machine.Command) string {
	switch c.(type) {
	case machine.Start:
		return "the start"
	case machine.Result:
		return "the result"
	case machine.Note:
		return "the call of a tool"
	case machine.Wake:
		return "waking the run"
	case machine.Recover:
		return "the loss"
	case machine.Settle:
		return "the settlement"
	case machine.Reserve:
		return "the reservation"
	case machine.Raise:
		return "the raised budget"
	case machine.ChildEnded:
		return "the end of the child run"
	}
	return "the " + strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", c), "machine."))
}
