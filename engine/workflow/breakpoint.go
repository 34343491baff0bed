package workflow

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// MaxBreakpoints is how many breakpoints a run may have.
const MaxBreakpoints = 64

// A Breakpoint is a place at which a run is paused before it goes on, for a person
// to look at it:
//
//	node=review             before any visit of node review begins
//	node=review#2           before its second
//	edge=review->draft      before the edge is taken
//	if=state.score < 0.5    before any visit begins while the condition is met
//	cost=0.10               before any visit begins once the run has spent 0.10 dollars
//	tokens=5000             before any visit begins once it has used 5,000 tokens
type Breakpoint struct {
	Spec     string          // as written
	Node     string          // "": not at a node
	Visit    int             // of Node; 0: any
	From, To string          // "": not at an edge
	If       *expr.Condition // nil: no condition
	Micros   int64           // spent, in millionths of a dollar; 0: not at an amount
	Tokens   int64           // used; 0: not at a number
}

var errBreakpoint = errors.New("want node=NODE, node=NODE#VISIT, edge=FROM->TO, if=CONDITION, cost=DOLLARS or tokens=NUMBER")

var breakpointScope = expr.Scope{Vars: []string{"input", "state", "nodes", "run"}, Refused: map[string]string{
	"result":  "a breakpoint is before a node, which has no result yet: nodes.<id>.result is that of another",
	"env":     "a breakpoint sees the run: input, state, nodes and run",
	"item":    noItem,
	"secrets": noSecret,
}}

// Breakpoint reads a breakpoint for runs of w. The error says what it names that w
// does not have.
func (w *Workflow) Breakpoint(spec string) (*Breakpoint, error) {
	b := &Breakpoint{Spec: strings.TrimSpace(spec)}
	kind, rest, ok := strings.Cut(b.Spec, "=")
	kind, rest = strings.TrimSpace(kind), strings.TrimSpace(rest)
	var err error
	switch {
	case !ok || rest == "":
		err = errBreakpoint
	case kind == "node":
		err = w.breakAtNode(b, rest)
	case kind == "edge":
		err = w.breakAtEdge(b, rest)
	case kind == "if":
		err = w.breakIf(b, rest)
	case kind == "cost":
		usd, e := strconv.ParseFloat(strings.TrimPrefix(rest, "$"), 64)
		if b.Micros = int64(math.Round(min(usd, 1e9) * 1e6)); e != nil || !(usd > 0) || b.Micros == 0 {
			err = errors.New("an amount is a number of dollars, at least a millionth: cost=0.10")
		}
	case kind == "tokens":
		if b.Tokens, err = strconv.ParseInt(rest, 10, 64); err != nil || b.Tokens < 1 {
			err = errors.New("want a number of tokens, from 1: tokens=5000")
		}
	default:
		err = errBreakpoint
	}
	if err != nil {
		return nil, fmt.Errorf("breakpoint %q: %w", source.Clip(b.Spec), err)
	}
	return b, nil
}

func (w *Workflow) breakAtNode(b *Breakpoint, text string) error {
	node, visit, numbered := strings.Cut(text, "#")
	if numbered {
		n, err := strconv.Atoi(visit)
		if err != nil || n < 1 {
			return fmt.Errorf("a visit is a number from 1: node=%s#2", source.Clip(node))
		}
		b.Visit = n
	}
	b.Node = node
	return w.hasNode(node)
}

func (w *Workflow) hasNode(id string) error {
	if w.Node(id) != nil {
		return nil
	}
	if of, _, item := strings.Cut(id, "["); item && w.Node(of) != nil {
		return fmt.Errorf("%s is an item, which begins with its foreach: break at %s", source.Clip(id), of)
	}
	return fmt.Errorf("%s has no node %q%s", w.Name, source.Clip(id), didYouMean(w.Near(id)))
}

// Near returns the node whose ID is nearest to one that does not exist, "" if none
// is near enough to be meant.
func (w *Workflow) Near(id string) string {
	ids := make([]string, len(w.Nodes))
	for i, n := range w.Nodes {
		ids[i] = n.ID
	}
	return expr.Closest(id, ids)
}

// didYouMean asks whether a name that is near was meant.
func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return "; did you mean " + near + "?"
}

func (w *Workflow) breakAtEdge(b *Breakpoint, text string) error {
	from, to, ok := strings.Cut(text, "->")
	if !ok {
		return errors.New("an edge is FROM->TO: edge=review->draft")
	}
	b.From, b.To = strings.TrimSpace(from), strings.TrimSpace(to)
	if err := w.hasNode(b.From); err != nil {
		return err
	}
	if err := w.hasNode(b.To); err != nil {
		return err
	}
	var leads []string
	for _, e := range w.Edges {
		if w.Nodes[e.From].ID != b.From {
			continue
		}
		if to := w.Nodes[e.To].ID; to == b.To {
			return nil
		} else if !slices.Contains(leads, to) {
			leads = append(leads, to)
		}
	}
	if len(leads) == 0 {
		return fmt.Errorf("no edge leaves %s", b.From)
	}
	return fmt.Errorf("no edge leads from %s to %s, only to %s", b.From, b.To, strings.Join(leads, ", "))
}

func (w *Workflow) breakIf(b *Breakpoint, text string) error {
	var err error
	if b.If, err = expr.CompileCondition(text, breakpointScope); err != nil {
		return err
	}
	for _, ref := range b.If.Refs() { // one that names nothing would never be met
		steps := strings.Split(ref, ".")
		switch {
		case len(steps) < 2:
		case steps[0] == "state" && w.Key(steps[1]) == nil:
			keys := make([]string, len(w.Keys))
			for i, k := range w.Keys {
				keys[i] = k.Name
			}
			return fmt.Errorf("%s declares no state key %q%s", w.Name, source.Clip(steps[1]), didYouMean(expr.Closest(steps[1], keys)))
		case steps[0] == "nodes":
			if err := w.hasNode(steps[1]); err != nil {
				return err
			}
		}
	}
	return nil
}
