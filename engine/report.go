package engine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// What costs are reported by.
const (
	ByRun      = "run"
	ByWorkflow = "workflow"
	ByAgent    = "agent"
	ByModel    = "model"
	ByNode     = "node" // workflow/node
	ByDay      = "day"
)

// CostReport is what calls of models have cost.
type CostReport struct {
	By    string                `json:"by"`
	Since string                `json:"since,omitempty" doc:"the first day that is counted, UTC; absent: all"`
	Total projection.CostTotals `json:"total"`
	Items []CostLine            `json:"items"`
}

// CostLine is one line of a CostReport.
type CostLine struct {
	Name string `json:"name" doc:"\"\" where none is known: nobody was chosen, or the model was not told"`
	projection.CostTotals
}

// Costs reports what calls have cost from a day on, the dearest first; days in order.
// What runs had cost elsewhere that were imported is not in it.
func (e *Engine) Costs(ctx context.Context, by, since string) (CostReport, error) {
	r := CostReport{By: by, Since: since, Items: []CostLine{}}
	sums := map[string]*projection.CostTotals{}
	each := func(k projection.CostKey, t projection.CostTotals) {
		name := ""
		switch by {
		case ByRun:
			name = k.Run.String()
		case ByWorkflow:
			name = k.Workflow
		case ByAgent:
			name = k.Agent
		case ByModel:
			name = k.Model
		case ByNode:
			name = k.Workflow + "/" + k.Node
		case ByDay:
			name = k.Day
		}
		if sums[name] == nil {
			sums[name] = &projection.CostTotals{}
		}
		sums[name].Add(t)
		r.Total.Add(t)
	}
	costs := e.views.Costs
	switch by {
	case ByRun:
		costs = e.views.RunCosts
	case ByWorkflow, ByAgent, ByModel, ByNode, ByDay:
	default:
		return r, fmt.Errorf("%w: costs are reported by run, workflow, agent, model, node or day, not by %q", machine.ErrInvalid, clip(by))
	}
	if err := costs(ctx, since, each); err != nil {
		return r, err
	}
	for name, t := range sums {
		r.Items = append(r.Items, CostLine{name, *t})
	}
	slices.SortFunc(r.Items, func(a, b CostLine) int {
		if by == ByDay {
			return strings.Compare(a.Name, b.Name)
		}
		return cmp.Or(cmp.Compare(b.Micros, a.Micros), cmp.Compare(b.Input+b.Output, a.Input+a.Output), strings.Compare(a.Name, b.Name))
	})
	return r, nil
}

// Estimate is what a run of a workflow may cost, before it is started.
type Estimate struct {
	Workflow string       `json:"workflow"`
	Version  int          `json:"workflow_version"`
	Limits   event.Limits `json:"limits" doc:"of its budget"`
	// Worst is what it costs if every node is visited and attempted as often as it may
	// be and every answer is as long as it may be; prompts are counted without what
	// comes into them. Child runs, and calls of models after the use of tools, are not in
	// it.
	Worst event.Spend `json:"worst"`
	// Once is the same for one attempt of one visit of each node.
	Once     event.Spend    `json:"once"`
	Nodes    []EstimateNode `json:"nodes"`
	Unpriced []string       `json:"unpriced,omitempty" doc:"models without a known price: only their tokens are counted"`
	// Partly names nodes that are counted in part: by their child runs, or items.
	Partly []string `json:"partly,omitempty" doc:"nodes whose child runs, or items beyond the first, are not counted"`
	// Recorded is what runs of the workflow have cost, nil if there are none.
	Recorded *Recorded `json:"recorded,omitempty"`
}

// EstimateNode is one node of an Estimate.
type EstimateNode struct {
	Node  string      `json:"node"`
	Agent string      `json:"agent,omitempty"`
	Model string      `json:"model,omitempty"`
	Calls int64       `json:"calls" doc:"at most"`
	One   event.Spend `json:"one" doc:"what one call may use"`
}

// Recorded is what runs that completed have cost.
type Recorded struct {
	Runs   int         `json:"runs" doc:"the newest, at most 200"`
	Median event.Spend `json:"median"`
	Most   event.Spend `json:"most"`
}

// maxRecorded is how many runs an estimate looks at.
const maxRecorded = 200

// EstimateRun says what a run of a workflow may cost. Nothing is started.
func (e *Engine) EstimateRun(ctx context.Context, name string, version int, budget event.Value) (Estimate, error) {
	reg, wf, err := e.defs.find(ctx, name, version)
	if err != nil {
		return Estimate{}, err
	}
	lim, err := machine.Limits(wf, budget)
	if err != nil {
		return Estimate{}, err
	}
	out := Estimate{Workflow: reg.Name, Version: reg.Version, Limits: *lim, Nodes: []EstimateNode{}}
	choose, done := e.choosing()
	defer done()
	unpriced := map[string]bool{}
	for _, n := range wf.Nodes {
		do := n
		if n.Kind == workflow.Foreach && n.Do != nil {
			do = n.Do
			out.Partly = append(out.Partly, n.ID)
		}
		if n.Kind == workflow.Sub || n.Kind == workflow.Foreach && n.Do == nil {
			out.Partly = append(out.Partly, n.ID)
		}
		if !machine.CallsModel(do) {
			continue
		}
		t := &agent.Task{Kind: do.Kind, Def: do, Asks: wf.Asks(do)}
		if choose != nil {
			if c := choose(do, &run.Visit{}); c != nil {
				t.Agent = e.opt.Agents.Version(c.Hash)
			}
		}
		if do.Prompt != nil {
			t.Prompt = do.Def.Text("prompt")
		}
		chars, output := agent.Size(t)
		need := e.need(t.Agent, chars, output)
		calls := int64(do.Retry.Max)
		if do.Kind == workflow.Chat {
			calls *= int64(do.Chat.Rounds * len(do.Chat.Participants))
		}
		if wf.Loops(n.Index) {
			calls *= int64(n.MaxVisits)
		}
		out.Nodes = append(out.Nodes, EstimateNode{Node: n.ID, Agent: need.Agent, Model: need.Model, Calls: calls, One: need.Spend()})
		out.Once = out.Once.Add(need.Spend())
		for range calls {
			out.Worst = out.Worst.Add(need.Spend())
		}
		if need.Price == nil {
			unpriced[need.Model] = true
		}
	}
	out.Unpriced = slices.Sorted(maps.Keys(unpriced))
	out.Recorded, err = e.recorded(ctx, reg.Name)
	return out, err
}

func (e *Engine) recorded(ctx context.Context, name string) (*Recorded, error) {
	rows, _, err := e.views.Runs(ctx, projection.Filter{Workflow: name, Status: run.Completed}, "", maxRecorded)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var tokens []int64
	var micros []event.Micros
	for i := range rows {
		tokens, micros = append(tokens, rows[i].Spent.Tokens), append(micros, rows[i].Spent.Micros)
	}
	slices.Sort(tokens)
	slices.Sort(micros)
	mid, last := len(rows)/2, len(rows)-1
	return &Recorded{
		Runs:   len(rows),
		Median: event.Spend{Tokens: tokens[mid], Micros: micros[mid]},
		Most:   event.Spend{Tokens: tokens[last], Micros: micros[last]},
	}, nil
}
