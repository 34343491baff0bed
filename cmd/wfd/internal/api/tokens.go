package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/access"
)

type createTokenInput struct {
	Body struct {
		Name    string   `json:"name" minLength:"1" maxLength:"64" doc:"of whoever is to have it: the actor of what is done with it"`
		Scopes  []string `json:"scopes" minItems:"1" maxItems:"8" doc:"read, run, operate, worker, admin"`
		Expires Span     `json:"expires,omitempty" doc:"after which time it is good for nothing; absent: never"`
		Reason  string   `json:"reason,omitempty" maxLength:"1024" doc:"why; it stays in the audit trail"`
	}
}

// NewToken is a token with what makes it one.
type NewToken struct {
	access.Token
	Text string `json:"token" doc:"the token itself: it is not shown again"`
}

type revokeTokenInput struct {
	Name string `path:"name" maxLength:"64" doc:"ID or name of a token"`
	Body *ReasonBody
}

func (a *API) tokens(h huma.API) {
	const tag = "access"
	register(h, operation{method: "POST", path: "/v1/tokens", id: "create-token", tag: tag, status: 201,
		summary: "Make a token; the answer is the only place where it is ever seen"},
		func(ctx context.Context, in *createTokenInput) (*answer[NewToken], error) {
			b := in.Body
			t, text, err := a.o.Engine.CreateToken(ctx, access.Spec{Name: b.Name, Scopes: b.Scopes, Life: time.Duration(b.Expires), Reason: b.Reason}, by(ctx, Keyed{}).Actor)
			return answered(NewToken{t, text}, err)
		})
	register(h, operation{method: "GET", path: "/v1/tokens", id: "list-tokens", tag: tag,
		summary: "List the tokens that were made, the newest first"},
		func(context.Context, *struct{}) (*answer[List[access.Token]], error) {
			list, err := a.o.Engine.ListTokens()
			return listOf(list, "", err)
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
