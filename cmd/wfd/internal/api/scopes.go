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

// reach is what of the log an operation is about.
type reach int

const (
	shared reach = iota + 1 // nothing that is of one namespace more than of another
	ofRun                   // the run that its path names, of the request's namespace
	within                  // what its handler looks up in the request's namespace
	theirs                  // everything, or what is of the namespace that was named: see only
	theLog                  // the log as a whole: not for those who are kept to a namespace
)

// about has the operations by what they are about. One that is nowhere here cannot be
// registered either.
var about = byOperation(map[reach][]string{
	shared: {"get-schema", "list-prices", "list-agents", "get-agent", "list-queues", "audit-head", "audit-consistency", "audit-keys"},
	ofRun: {
		"get-run", "get-trace", "asked", "list-children", "get-state", "get-tree", "run-events", "list-checkpoints", "replay-run", "why", "verify-run", "diff-runs",
		"get-capsule", "signal-run", "answer-run", "pause-run", "resume-run", "cancel-run", "retry-run", "budget-run", "fork-run",
		"create-checkpoint", "restore-run",
	},
	within: {
		"list-runs", "list-questions", "list-timers", "get-totals", "list-workflows", "get-workflow", "list-versions", "what-if", "estimate-run",
		"list-workers", "whoami", "start-run", "register-workflow", "set-budget",
		"poll-tasks", "heartbeat-task", "complete-task", "fail-task", "release-task",
		"list-schedules", "get-schedule", "create-schedule", "pause-schedule", "resume-schedule", "backfill-schedule", "delete-schedule",
		"list-hooks-in", "get-hook-in", "create-hook-in", "pause-hook-in", "resume-hook-in", "delete-hook-in",
		"list-hooks-out", "get-hook-out", "create-hook-out", "pause-hook-out", "resume-hook-out", "delete-hook-out",
	},
	theirs: {"all-events", "cost", "list-budgets", "audit-proof", "audit-log"},
	theLog: {
		"dev-state", "usage", "audit-export", "compact", "list-tokens", "create-token", "revoke-token", "audit-rotate", "backup", "import-capsule", "erase",
		"encryption", "encryption-rotate", "encryption-stop",
	},
})

// scopes has the operations that need each scope. One that is nowhere here cannot
// be registered: what nobody has thought about is not let out.
var scopes = byOperation(map[access.Scope][]string{
	access.Read: {
		"get-run", "get-trace", "list-runs", "list-children", "get-state", "get-tree", "run-events", "all-events", "list-checkpoints",
		"list-questions", "list-timers", "get-totals", "list-workflows", "get-workflow", "list-versions", "get-schema",
		"replay-run", "why", "asked", "verify-run", "diff-runs", "what-if", "get-capsule", "usage", "list-prices", "cost", "estimate-run", "list-budgets",
		"list-schedules", "get-schedule", "list-hooks-in", "get-hook-in", "list-hooks-out", "get-hook-out",
		"list-agents", "get-agent", "list-workers", "list-queues", "dev-state", "whoami",
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
		"encryption", "encryption-rotate", "encryption-stop",
	},
})

func byOperation[T comparable](groups map[T][]string) map[string]T {
	m := map[string]T{}
	for rule, ids := range groups {
		for _, id := range ids {
			m[id] = rule
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
	if ok && about[id] == 0 {
		panic(fmt.Sprintf("api: it is not said what operation %s is about: see scopes.go", id))
	}
	return need, !ok
}

// gate lets those on to an operation who may, before anything of the request is read,
// and counts what became of it.
func (a *API) gate(c huma.Context, next func(huma.Context)) {
	began, id := time.Now(), c.Operation().OperationID
	if p := a.refusal(c, id); p == nil {
		next(c)
	} else {
		c.SetHeader("Content-Type", p.ContentType(""))
		c.SetStatus(p.Status)
		strictJSON.Marshal(c.BodyWriter(), p) // a client that has gone needs no answer
	}
	if a.o.Metrics != nil {
		a.o.Metrics.Answered(id, c.Status(), time.Since(began))
	}
}

// refusal returns why a request is not let on to an operation, nil if it is.
func (a *API) refusal(c huma.Context, id string) *Problem {
	need, free := needs(id)
	if free {
		return nil
	}
	who := principal(c.Context())
	if !who.Scopes.Allow(need) {
		return problem("not-allowed", fmt.Sprintf("%s needs the scope %s; %s has %s", id, need, who.Actor, who.Scopes),
			"an administrator makes tokens: wfd token create NAME --scope "+string(need))
	}
	switch about[id] {
	case theLog:
		return whole(who, id)
	case ofRun:
		run, err := OfRun{c.Param("id")}.id()
		if err == nil {
			err = a.reaches(c.Context(), run)
		}
		if err != nil {
			return AsProblem(err)
		}
	}
	return nil
}

// metrics says how the daemon does, to whoever may read all of it.
func (a *API) metrics(w http.ResponseWriter, r *http.Request) {
	who := principal(r.Context())
	if !who.Scopes.Allow(access.Read) {
		writeProblem(w, problem("not-allowed", fmt.Sprintf("metrics need the scope read; %s has %s", who.Actor, who.Scopes), ""))
		return
	}
	if p := whole(who, "metrics"); p != nil {
		writeProblem(w, p)
		return
	}
	a.o.Metrics.Handler().ServeHTTP(w, r)
}

type principalKey struct{}

// principal returns who makes a request.
func principal(ctx context.Context) access.Principal {
	who, _ := ctx.Value(principalKey{}).(access.Principal)
	return who
}

// as returns a context for requests of somebody.
func as(ctx context.Context, who access.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, who)
}

// WithActor returns a context for requests that come from within the process: they
// are made by actor, who has the data directory and so may do everything.
func WithActor(ctx context.Context, actor string) context.Context {
	return as(ctx, access.Principal{Actor: actor, Scopes: access.Scopes{access.Admin}})
}
