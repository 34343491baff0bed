package replay

import (
	"fmt"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Asked is what an attempt was given: what its node says, with the values that the run
// had. Where a secret went in, its name is.
type Asked struct {
	Run      eventlog.RunID   `json:"run"`
	At       eventlog.Version `json:"at" doc:"the version at which it began"`
	Node     string           `json:"node"`
	Visit    int              `json:"visit"`
	Attempt  int              `json:"attempt" doc:"0: it has not begun"`
	Prompt   string           `json:"prompt,omitempty"`
	Input    any              `json:"input,omitempty" doc:"what was delivered to the visit"`
	Settings map[string]any   `json:"settings,omitempty" doc:"everything else that the node says, evaluated"`
}

// AskedOf returns what an attempt of a visit was given, evaluated anew from the state as
// it began; visit 0 is the latest, and so is attempt 0. A visit or an attempt that there was not is
// run.ErrNotFound.
func AskedOf(log eventlog.Log, defs Definitions, id eventlog.RunID, node string, visit, attempt int) (Asked, error) {
	a, err := beginOf(log, id, node, visit, attempt)
	if err != nil {
		return Asked{}, err
	}
	s, err := run.Fold(log, id, a.At)
	if err != nil {
		return Asked{}, err
	}
	w, err := defs.ByHash(s.Hash)
	if err != nil {
		return Asked{}, err
	}
	v := s.Live[node]
	if v == nil || v.Visit != a.Visit {
		return Asked{}, fmt.Errorf("run %s: visit %d of node %s is not live at version %d, where it began", id, a.Visit, node, a.At)
	}
	given, err := machine.Evaluate(w, s, v, func(vars expr.Vars) expr.Vars { return namedSecrets{vars} })
	if err == nil {
		a.Input, err = given.Input.Any()
	}
	if err != nil {
		return Asked{}, fmt.Errorf("run %s, visit %d of node %s: %w", id, a.Visit, node, err)
	}
	a.Prompt, a.Settings = given.Prompt, given.Settings
	return a, nil
}

// namedSecrets has for every secret its name, as a definition writes it.
type namedSecrets struct{ expr.Vars }

// Var implements expr.Vars.
func (n namedSecrets) Var(name string) (any, bool) {
	if name == "secrets" {
		return secretNames{}, true
	}
	return n.Vars.Var(name)
}

type secretNames struct{}

// Get implements expr.Object.
func (secretNames) Get(key string) (any, bool) { return "${secrets." + key + "}", true }

// Keys implements expr.Object.
func (secretNames) Keys() []string { return nil }

// beginOf returns where an attempt began, or where none has, its visit.
func beginOf(log eventlog.Log, id eventlog.RunID, node string, visit, attempt int) (Asked, error) {
	a := Asked{Run: id, Node: node}
	for after := eventlog.Version(0); ; {
		events, err := log.ReadRun(id, after, page)
		if err != nil {
			return a, err
		}
		for _, e := range events {
			after = e.Version
			if e.Kind != event.KindNodeScheduled && e.Kind != event.KindNodeStarted || e.Erased && len(e.Payload) == 0 {
				continue
			}
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				return a, fmt.Errorf("event %d: %w", e.Seq, err)
			}
			of, no, begun := "", 0, 0
			switch p := p.(type) {
			case *event.NodeScheduled:
				of, no = p.Node, p.Visit
			case *event.NodeStarted:
				of, no, begun = p.Node, p.Visit, p.Attempt
			}
			if of == node && (visit == 0 || no == visit) && (attempt == 0 || begun == attempt) {
				a.At, a.Visit, a.Attempt = e.Version, no, begun
			}
		}
		if len(events) == 0 {
			break
		}
	}
	if a.At == 0 {
		what := fmt.Sprintf("has not come to a node %q", node)
		if visit > 0 {
			what += fmt.Sprintf(" in visit %d", visit)
		}
		if attempt > 0 {
			what += fmt.Sprintf(", attempt %d", attempt)
		}
		return a, fmt.Errorf("%w: run %s %s", run.ErrNotFound, id, what)
	}
	return a, nil
}
