package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/access"
)

// public are the operations that nobody has to say who he is for.
var public = map[string]bool{"livez": true, "readyz": true}

// scopes has the operations that need each scope. One that is nowhere here cannot
// be registered: what nobody has thought about is not let out.
var scopes = byOperation(map[access.Scope][]string{
	access.Read: {
		"get-run", "list-runs", "list-children", "get-state", "get-tree", "run-events", "all-events", "list-checkpoints",
		"list-questions", "list-timers", "get-totals", "list-workflows", "get-workflow", "list-versions", "get-schema",
		"replay-run", "why", "verify-run", "diff-runs", "what-if", "get-capsule", "usage", "list-prices",
		"list-agents", "get-agent", "list-workers", "dev-state",
		"audit-head", "audit-proof", "audit-consistency", "audit-keys", "audit-export", "audit-log",
	},
	access.Run: {"start-run", "signal-run", "answer-run"},
	access.Operate: {
		"register-workflow", "pause-run", "resume-run", "cancel-run", "retry-run", "fork-run", "create-checkpoint", "restore-run", "compact",
	},
	access.Worker: {"poll-tasks", "heartbeat-task", "complete-task", "fail-task", "release-task"},
	access.Admin:  {"list-tokens", "create-token", "revoke-token", "audit-rotate", "backup", "import-capsule", "erase"},
})

func byOperation(groups map[access.Scope][]string) map[string]access.Scope {
	m := map[string]access.Scope{}
	for scope, ids := range groups {
		for _, id := range ids {
			m[id] = scope
		}
	}
	return m
}

// lets returns what lets those on to an operation who may, before anything of the
// request is read.
func lets(id string) huma.Middlewares {
	if public[id] {
		return nil
	}
	need, ok := scopes[id]
	if !ok {
		panic(fmt.Sprintf("api: operation %s needs a scope: see scopes.go", id))
	}
	return huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
		who, _ := c.Context().Value(principalKey{}).(access.Principal)
		if who.Scopes.Allow(need) {
			next(c)
			return
		}
		p := problem("not-allowed", fmt.Sprintf("%s needs the scope %s; %s has %s", id, need, who.Actor, who.Scopes),
			"an administrator makes tokens: wfd token create NAME --scope "+string(need))
		c.SetHeader("Content-Type", p.ContentType(""))
		c.SetStatus(p.Status)
		strictJSON.Marshal(c.BodyWriter(), p) // a client that has gone needs no answer
	}}
}

type principalKey struct{}

// as returns a context for requests of somebody.
func as(ctx context.Context, who access.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, who)
}

// WithActor returns a context for requests that come from within the process: they
// are made by actor, who has the data directory and so may do everything.
func WithActor(ctx context.Context, actor string) context.Context {
	return as(ctx, access.Principal{Actor: actor, Scopes: access.Scopes{access.Admin}})
}
