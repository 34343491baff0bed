package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/access"
)

type createTokenInput struct {
	Body struct {
		Name    string   `json:"name" minLength:"1" maxLength:"64" doc:"of whoever is to have it: the actor of what is done with it"`
		Scopes  []string `json:"scopes" minItems:"1" maxItems:"8" doc:"read, run, operate, worker, admin"`
		Expires *Span    `json:"expires,omitempty" doc:"after which time it is good for nothing; absent: never"`
		Reason  string   `json:"reason,omitempty" maxLength:"1024" doc:"why; it stays in the audit trail"`
		// Namespace keeps the token to one.
		Namespace string `json:"namespace,omitempty" maxLength:"63" doc:"all that it is good for; absent: every namespace"`
	}
}

// NewToken is a token with what makes it one.
type NewToken struct {
	access.Token
	Text string `json:"token" doc:"the token itself: it is not shown again"`
}

// Whoami is who makes a request, and where it is.
type Whoami struct {
	Actor     string        `json:"actor" doc:"of the events that it causes"`
	Scopes    access.Scopes `json:"scopes"`
	Namespace string        `json:"namespace" doc:"what the request is about"`
	// Namespaces are those that it could be about instead.
	Namespaces []string `json:"namespaces" doc:"those with runs, of whoever is kept to none"`
}

type revokeTokenInput struct {
	Name string `path:"name" maxLength:"64" doc:"ID or name of a token"`
	Body *ReasonBody
}

func (a *API) tokens(h huma.API) {
	const tag = "access"
	register(h, operation{method: "GET", path: "/v1/whoami", id: "whoami", tag: tag,
		summary: "Who makes this request, what he may do, and in which namespace"}, a.whoami)
	register(h, operation{method: "POST", path: "/v1/tokens", id: "create-token", tag: tag, status: 201,
		summary: "Make a token; the answer is the only place where it is ever seen"},
		func(ctx context.Context, in *createTokenInput) (*answer[NewToken], error) {
			b := in.Body
			life := time.Duration(0)
			if b.Expires != nil {
				if life = time.Duration(*b.Expires); life <= 0 { // which is not for ever
					return nil, problem("invalid", fmt.Sprintf("expires: %s is no time to live", life), "leave it out for a token that never expires")
				}
			}
			t, text, err := a.o.Engine.CreateToken(ctx, access.Spec{Name: b.Name, Scopes: b.Scopes, Life: life, Reason: b.Reason, Namespace: b.Namespace}, by(ctx, Keyed{}).Actor)
			return answered(NewToken{t, text}, err)
		})
	register(h, operation{method: "GET", path: "/v1/tokens", id: "list-tokens", tag: tag,
		summary: "List the tokens that were made, the newest first"},
		func(_ context.Context, in *Paged) (*answer[List[access.Token]], error) {
			list, err := a.o.Engine.ListTokens()
			return pageOf(list, in, func(t access.Token) string { return t.ID }, err)
		})
	register(h, operation{method: "POST", path: "/v1/tokens/{name}/revoke", id: "revoke-token", tag: tag,
		summary: "Let a token be good for nothing from now on"},
		func(ctx context.Context, in *revokeTokenInput) (*answer[access.Token], error) {
			reason := ""
			if in.Body != nil {
				reason = in.Body.Reason
			}
			t, err := a.o.Engine.RevokeToken(ctx, in.Name, reason, by(ctx, Keyed{}).Actor)
			return answered(t, err)
		})
}

func (a *API) whoami(ctx context.Context, _ *struct{}) (*answer[Whoami], error) {
	who := principal(ctx)
	me := Whoami{Actor: who.Actor, Scopes: who.Scopes, Namespace: namespace(ctx).String(), Namespaces: []string{}}
	if who.Only == nil {
		all, err := a.o.Views.AllTotals(ctx)
		if err != nil {
			return nil, err
		}
		for n := range all {
			me.Namespaces = append(me.Namespaces, n.String())
		}
		slices.Sort(me.Namespaces)
	}
	return &answer[Whoami]{me}, nil
}
