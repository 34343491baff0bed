package api

import (
	"context"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/price"
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
}
