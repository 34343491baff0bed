package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
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

// Costs reports what calls have cost from a day on, of all runs or of those of one
// namespace, the dearest first; days in order. What runs had cost elsewhere that were imported is not in it.
func (e *Engine) Costs(ctx context.Context, only *event.Namespace, by, since string) (CostReport, error) {
	r := CostReport{By: by, Since: since, Items: []CostLine{}}
	sums := map[string]*projection.CostTotals{}
	each := func(k projection.CostKey, t projection.CostTotals) {
		if only != nil && k.Namespace != *only {
			return
		}
		name := ""
		switch by {
		case ByRun:
			name = k.Run.String()
		case ByWorkflow:
			name = labelOf(k.Namespace, k.Workflow)
		case ByAgent:
			name = k.Agent
		case ByModel:
			name = k.Model
		case ByNode:
			name = labelOf(k.Namespace, k.Workflow) + "/" + k.Node
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

// labelOf names a workflow among those of all namespaces: of the default one by its
// name, of others as team-a/NAME. It is for people to read; two may read the same.
func labelOf(n event.Namespace, name string) string {
	if n == "" {
		return name
	}
	return string(n) + "/" + name
}
