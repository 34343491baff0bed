package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

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
		"replay-run", "why", "asked", "verify-run", "diff-runs", "what-if", "get-capsule", "usage", "list-prices", "cost", "estimate-run", "list-budgets",
		"list-schedules", "get-schedule", "list-hooks-in", "get-hook-in", "list-hooks-out", "get-hook-out",
		"list-agents", "get-agent", "list-workers", "list-queues", "dev-state",
		"audit-head", "audit-proof", "audit-consistency", "audit-keys", "audit-export", "audit-log",
	},
	access.Run: {"start-run", "signal-run", "answer-run"},
	access.Operate: {
		"register-workflow", "pause-run", "resume-run", "cancel-run", "retry-run", "budget-run", "set-budget", "fork-run", "create-checkpoint", "restore-run", "compact",
		"create-schedule", "pause-schedule", "resume-schedule", "backfill-schedule", "delete-schedule",
	},
	access.Worker: {"poll-tasks", "heartbeat-task", "complete-task", "fail-task", "release-task"},
	access.Admin: {
		"create-hook-in", "pause-hook-in", "resume-hook-in", "delete-hook-in", "create-hook-out", "pause-hook-out", "resume-hook-out", "delete-hook-out",
		"list-tokens", "create-token", "revoke-token", "audit-rotate", "backup", "import-capsule", "erase",
	},
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

// needs returns the scope that an operation needs; public ones need none.
func needs(id string) (need access.Scope, free bool) {
	need, ok := scopes[id]
	if !ok && !public[id] {
		panic(fmt.Sprintf("api: operation %s needs a scope: see scopes.go", id))
	}
	return need, !ok
}

// gate lets those on to an operation who may, before anything of the request is read,
// and counts what became of it.
func (a *API) gate(c huma.Context, next func(huma.Context)) {
	began, id := time.Now(), c.Operation().OperationID
	who, _ := c.Context().Value(principalKey{}).(access.Principal)
	if need, free := needs(id); free || who.Scopes.Allow(need) {
		next(c)
	} else {
		p := problem("not-allowed", fmt.Sprintf("%s needs the scope %s; %s has %s", id, need, who.Actor, who.Scopes),
			"an administrator makes tokens: wfd token create NAME --scope "+string(need))
		c.SetHeader("Content-Type", p.ContentType(""))
		c.SetStatus(p.Status)
		strictJSON.Marshal(c.BodyWriter(), p) // a client that has gone needs no answer
	}
	if a.o.Metrics != nil {
		a.o.Metrics.Answered(id, c.Status(), time.Since(began))
	}
}

// metrics says how the daemon does, to whoever may read.
func (a *API) metrics(w http.ResponseWriter, r *http.Request) {
	who, _ := r.Context().Value(principalKey{}).(access.Principal)
	if !who.Scopes.Allow(access.Read) {
		writeProblem(w, problem("not-allowed", fmt.Sprintf("metrics need the scope read; %s has %s", who.Actor, who.Scopes), ""))
		return
	}
	a.o.Metrics.Handler().ServeHTTP(w, r)
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
