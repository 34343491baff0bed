package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

func (a *app) cost() *cobra.Command {
	var by, since string
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what calls of models have cost",
		Example: `  wfd cost --by agent
  wfd cost --by day --since 168h
  wfd cost --by run --since 2026-11-01 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			q := url.Values{"by": {by}}
			if since != "" {
				t, err := sinceTime(since)
				if err != nil {
					return err
				}
				q.Set("since", t.UTC().Format(time.DateOnly))
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/cost", Query: q})
			if err != nil || a.output != "table" {
				return firstOf(err, func() error { return a.printJSON(raw) })
			}
			var r engine.CostReport
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			t := a.text()
			t.row(strings.ToUpper(r.By), "CALLS", "INPUT", "OUTPUT", "USD")
			for _, l := range r.Items {
				t.row(cmp.Or(l.Name, "(none)"), strconv.FormatInt(l.Calls, 10), strconv.FormatInt(l.Input, 10), strconv.FormatInt(l.Output, 10), l.Micros.String())
			}
			t.row("total", strconv.FormatInt(r.Total.Calls, 10), strconv.FormatInt(r.Total.Input, 10), strconv.FormatInt(r.Total.Output, 10), r.Total.Micros.String())
			if r.Total.Unpriced > 0 {
				a.note("%d tokens are of models without a known price: see wfd cost prices", r.Total.Unpriced)
			}
			return t.flush()
		},
	}
	cmd.Flags().StringVar(&by, "by", "workflow", "run, workflow, agent, model, node or day")
	cmd.Flags().StringVar(&since, "since", "", "from that day on, UTC: 2026-01-31, or how long ago: 168h")
	cmd.AddCommand(a.costPrices())
	a.engine.register(cmd)
	return cmd
}

func (a *app) budget() *cobra.Command {
	var usd, reason string
	var tokens int64
	var c changing
	cmd := &cobra.Command{
		Use:   "budget [RUN | day | workflow:NAME | agent:NAME]",
		Short: "Show budgets, or give one other limits: what is paused because it was used up goes on",
		Long: `Without an argument, the budgets of workflows, agents and days are shown; with one and
no limit, that one. A run's budget is its own; those of workflows, agents and days are of
all runs together. 0 is no limit.`,
		Example: `  wfd budget RUN --usd 2.50
  wfd budget RUN --tokens 500000
  wfd budget day --usd 20
  wfd budget agent:writer --usd 0`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			body := map[string]any{}
			if cmd.Flags().Changed("usd") {
				body["usd"] = usd
			}
			if cmd.Flags().Changed("tokens") {
				body["tokens"] = tokens
			}
			if len(args) == 0 && len(body) > 0 {
				return usagef("name a run, day, workflow:NAME or agent:NAME")
			}
			if reason != "" {
				body["reason"] = reason
			}
			beyond := len(args) == 0
			if len(args) == 1 {
				_, notBeyond := projection.ParseBudget(args[0])
				beyond = notBeyond == nil
			}
			limited := body["usd"] != nil || body["tokens"] != nil
			if !beyond && limited {
				return a.give(cmd.Context(), args[0], "budget", body, &c)
			}
			need := reads
			if limited {
				need = writes
			}
			s, err := a.connect(cmd.Context(), need)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			switch {
			case !beyond:
				raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(args[0])})
				if err != nil {
					return err
				}
				c, err := costOf(raw)
				if err != nil {
					return err
				}
				raw, err = json.Marshal(c)
				return firstOf(err, func() error { return a.print(raw, func(t *text) { showCost(t, c, true) }) })
			case limited:
				raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/budgets/" + url.PathEscape(args[0]), In: body})
				return firstOf(err, func() error { return a.printBudget(raw) })
			}
			raw, err := allOf(cmd.Context(), s, "/v1/budgets")
			if err != nil {
				return err
			}
			if len(args) == 1 {
				if raw, err = budgetIn(raw, args[0]); err != nil {
					return err
				}
				return a.printBudget(raw)
			}
			return a.printList(raw, func(t *text) {
				if list := answerOf[client.List[engine.Budget]](t, raw); t.err == nil {
					showBudgets(t, list.Items...)
				}
			})
		},
	}
	cmd.Flags().StringVar(&usd, "usd", "", "US dollars, at most six decimals; 0 = no limit")
	cmd.Flags().Int64Var(&tokens, "tokens", 0, "tokens, in and out; 0 = no limit")
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}

// budgetIn returns the budget of a name among those of a list.
func budgetIn(raw json.RawMessage, name string) (json.RawMessage, error) {
	var list client.List[json.RawMessage]
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "-")) }
	for _, item := range list.Items {
		var b engine.Budget
		if err := json.Unmarshal(item, &b); err != nil {
			return nil, err
		}
		scope, _, _ := strings.Cut(b.Budget, ":")
		if plain(b.Budget) == plain(name) || scope == name { // a day's has its date
			return item, nil
		}
	}
	return nil, &coded{exitNotFound, fmt.Errorf("%s has no budget\nhint: --usd and --tokens give it one", name)}
}

func (a *app) printBudget(raw json.RawMessage) error {
	return a.print(raw, func(t *text) {
		var b engine.Budget
		if t.err = json.Unmarshal(raw, &b); t.err == nil {
			showBudgets(t, b)
		}
	})
}

func showBudgets(t *text, list ...engine.Budget) {
	t.row("BUDGET", "LIMIT", "SPENT", "RESERVED")
	for _, b := range list {
		limit := cmp.Or(amounts(b.Limits, event.Spend{Tokens: b.Limits.Tokens, Micros: b.Limits.Micros}), "none")
		t.row(b.Budget, limit, amounts(b.Limits, b.Spent), amounts(b.Limits, b.Reserved))
	}
}

// amounts names the parts of an amount that limits bound.
func amounts(l event.Limits, s event.Spend) string {
	var parts []string
	if l.Micros > 0 {
		parts = append(parts, s.Micros.String()+" USD")
	}
	if l.Tokens > 0 {
		parts = append(parts, strconv.FormatInt(s.Tokens, 10)+" tokens")
	}
	return strings.Join(parts, ", ")
}

// costOf reads what a run has spent.
func costOf(raw []byte) (*engine.Cost, error) {
	var r struct {
		Cost engine.Cost `json:"cost"`
	}
	err := json.Unmarshal(raw, &r)
	return &r.Cost, err
}

// showCost shows what a run has spent, and what its budget leaves: of one that has
// neither nothing, unless that is what was asked for.
func showCost(t *text, c *engine.Cost, asked bool) {
	both := event.Limits{Micros: 1, Tokens: 1}
	if asked || !c.Spent.IsZero() || c.Limits != nil {
		t.row("spent", amounts(both, c.Spent))
	}
	if asked && !c.Reserved.IsZero() {
		t.row("reserved", amounts(both, c.Reserved))
	}
	switch l := c.Limits; {
	case l != nil:
		t.row("budget", amounts(*l, event.Spend{Tokens: l.Tokens, Micros: l.Micros})+", of which are left "+amounts(*l, *c.Left))
	case asked:
		t.row("budget", "none of its own")
	}
}

// showEstimate shows what a run may cost.
func (a *app) showEstimate(raw []byte) error {
	if a.output != "table" {
		return a.printJSON(raw)
	}
	var e engine.Estimate
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	both := event.Limits{Micros: 1, Tokens: 1}
	t := a.text()
	t.row("workflow", e.Workflow+" v"+strconv.Itoa(e.Version))
	if !e.Limits.None() {
		t.row("budget", amounts(e.Limits, event.Spend{Tokens: e.Limits.Tokens, Micros: e.Limits.Micros}))
	}
	t.row("once", amounts(both, e.Once))
	t.row("worst", amounts(both, e.Worst))
	if r := e.Recorded; r != nil {
		t.row("recorded", fmt.Sprintf("%s, at most %s (%d runs)", amounts(both, r.Median), amounts(both, r.Most), r.Runs))
	}
	for _, n := range e.Nodes {
		t.row("node "+n.Node, fmt.Sprintf("%s a call, at most %d calls", amounts(both, n.One), n.Calls))
	}
	if len(e.Unpriced) > 0 {
		a.note("models without a known price are counted in tokens alone: see wfd cost prices")
	}
	if len(e.Partly) > 0 {
		a.note("not counted: %s", strings.Join(e.Partly, "; "))
	}
	return t.flush()
}

func (a *app) costPrices() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prices",
		Short: "List what models cost, in US dollars per million tokens",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			raw, err := a.prices(cmd.Context())
			if err != nil {
				return err
			}
			return a.printList(raw, func(t *text) {
				var list api.Prices
				if t.err = json.Unmarshal(raw, &list); t.err != nil {
					return
				}
				t.row("MODEL", "INPUT", "CACHED", "OUTPUT", "WHEN")
				for _, l := range list.Items {
					when := ""
					if l.Long != nil {
						when = "up to " + strconv.FormatInt(l.Above, 10) + " tokens of input"
					}
					t.row(priceRow(l.Model, l.Price, when)...)
					if l.Long != nil {
						t.row(priceRow(l.Model, *l.Long, "beyond")...)
					}
				}
				a.note("US dollars per million tokens; those of the binary are as of %s", list.AsOf)
			})
		},
	}
	a.engine.register(cmd)
	return cmd
}

func priceRow(model string, p event.Price, when string) []string {
	return []string{model, p.Input.String(), p.Cached.String(), p.Output.String(), when}
}

// prices returns what models cost, by the daemon or the directory at hand; where there is
// neither, it is as any daemon would have it that was begun like this.
func (a *app) prices(ctx context.Context) (raw json.RawMessage, err error) {
	s, err := a.connect(ctx, reads)
	if c := (*coded)(nil); errors.As(err, &c) && c.code == exitNotFound {
		book, err := readPrices(a.engine.prices)
		if err != nil {
			return nil, err
		}
		return json.Marshal(api.Prices{AsOf: book.AsOf, Items: book.Lines()})
	}
	if err != nil {
		return nil, err
	}
	defer closeInto(s, &err)
	raw, _, err = s.Do(ctx, client.Request{Path: "/v1/prices"})
	return raw, err
}
