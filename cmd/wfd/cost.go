package main

import (
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/projection/event"
)

func (a *app) cost() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what models cost",
	}
	cmd.AddCommand(a.costPrices())
	return cmd
}

func (a *app) costPrices() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prices",
		Short: "List what models cost, in US dollars per million tokens",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := a.connect(cmd.Context(), writes)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/prices"})
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
