package api

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/price"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Prices is a price list, in micro-dollars per million tokens.
type Prices struct {
	AsOf  string       `json:"as_of,omitempty" doc:"the day that the prices in the binary are of"`
	Items []price.Line `json:"items"`
}

func (a *API) costs(h huma.API) {
	const tag = "cost"
	register(h, operation{method: "GET", path: "/v1/prices", id: "list-prices", tag: tag,
		summary: "What models cost here, in micro-dollars per million tokens"},
		func(context.Context, *struct{}) (*answer[Prices], error) {
			b := a.o.Engine.Prices()
			return &answer[Prices]{Prices{AsOf: b.AsOf, Items: b.Lines()}}, nil
		})
	register(h, operation{method: "GET", path: "/v1/cost", id: "cost", tag: tag,
		summary: "What calls of models have cost, the dearest first"}, a.cost)
	register(h, operation{method: "GET", path: "/v1/workflows/{name}/estimate", id: "estimate-run", tag: tag,
		summary: "What a run of a workflow may cost; nothing is started"},
		func(ctx context.Context, in *struct {
			Name    string `path:"name" maxLength:"256"`
			Version int    `query:"version" minimum:"0" doc:"0: the newest"`
		}) (*answer[engine.Estimate], error) {
			e, err := a.o.Engine.EstimateRun(ctx, namespace(ctx), in.Name, in.Version, nil)
			return &answer[engine.Estimate]{e}, err
		})
	register(h, operation{method: "POST", path: "/v1/runs/{id}/budget", id: "budget-run", tag: tag,
		summary: "Give a run's budget other limits; it goes on if it is paused because it was used up"}, a.raise)
	register(h, operation{method: "GET", path: "/v1/budgets", id: "list-budgets", tag: tag,
		summary: "The budgets of workflows, agents and days, and what is spent of them"},
		func(ctx context.Context, in *Paged) (*answer[List[engine.Budget]], error) {
			list, err := a.o.Engine.Budgets(ctx, only(ctx))
			return pageOf(list, in, func(b engine.Budget) string { return b.Budget }, err)
		})
	register(h, operation{method: "POST", path: "/v1/budgets/{budget}", id: "set-budget", tag: tag,
		summary: "Give the budget of a workflow, an agent or every day other limits; runs go on that are paused because it was used up"}, a.setBudget)
}

// BudgetBody says what may be spent.
type BudgetBody struct {
	USD    event.Value `json:"usd,omitempty" doc:"US dollars, at most six decimals, as a number or a text; 0: no limit; absent: as it is"`
	Tokens *int64      `json:"tokens,omitempty" doc:"0: no limit; absent: as it is"`
	Reason string      `json:"reason,omitempty" maxLength:"4096"`
}

// micros reads the amount, nil if there is none.
func (b *BudgetBody) micros() (*event.Micros, error) {
	if len(b.USD) == 0 {
		if b.Tokens == nil {
			return nil, fmt.Errorf("%w: name usd, tokens or both", machine.ErrInvalid)
		}
		return nil, nil
	}
	v, err := b.USD.Any()
	if err != nil {
		return nil, err
	}
	m, err := event.AmountOf(v)
	if err != nil {
		return nil, fmt.Errorf("%w: usd: %w", machine.ErrInvalid, err)
	}
	return &m, nil
}

func (a *API) raise(ctx context.Context, in *commandInput[BudgetBody]) (*answer[engine.Run], error) {
	m, err := in.Body.micros()
	if err != nil {
		return nil, err
	}
	return a.do(ctx, in.OfRun, in.Keyed, machine.Raise{Micros: m, Tokens: in.Body.Tokens, Reason: in.Body.Reason})
}

func (a *API) setBudget(ctx context.Context, in *struct {
	Budget string `path:"budget" maxLength:"300" doc:"day, workflow:NAME or agent:NAME"`
	Keyed
	Body BudgetBody
}) (*answer[engine.Budget], error) {
	id, err := projection.ParseBudget(in.Budget)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", machine.ErrInvalid, err)
	}
	if id.Scope == event.ScopeOfWorkflow {
		id = event.OfWorkflow(namespace(ctx), id.Name)
	} else if p := whole(principal(ctx), "a budget of agents or days"); p != nil {
		return nil, p
	}
	m, err := in.Body.micros()
	if err != nil {
		return nil, err
	}
	b, err := a.o.Engine.SetBudget(ctx, id, m, in.Body.Tokens, in.Body.Reason, by(ctx, in.Keyed))
	return &answer[engine.Budget]{b}, err
}

type costInput struct {
	By    string `query:"by" enum:"run,workflow,agent,model,node,day" default:"workflow"`
	Since string `query:"since" doc:"the first day that is counted, as 2026-01-31, UTC; absent: all"`
}

func (a *API) cost(ctx context.Context, in *costInput) (*answer[engine.CostReport], error) {
	if in.Since != "" {
		if _, err := time.Parse(time.DateOnly, in.Since); err != nil {
			return nil, problem("invalid", fmt.Sprintf("since: %q is no day: want 2026-01-31", in.Since), "")
		}
	}
	r, err := a.o.Engine.Costs(ctx, only(ctx), in.By, in.Since)
	return &answer[engine.CostReport]{r}, err
}
