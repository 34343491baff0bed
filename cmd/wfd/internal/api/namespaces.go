package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// NamespaceHeader names the namespace that a request is about.
const NamespaceHeader = "Wfd-Namespace"

// A place is where in the log a request is.
type place struct {
	namespace event.Namespace
	// named says that the namespace was asked for, or is all that whoever asks may see:
	// what is of the whole log is then cut down to it.
	named bool
}

type placeKey struct{}

// placed returns the context of a request that who makes in the namespace that it
// names, if it names one.
func placed(ctx context.Context, who access.Principal, names []string) (context.Context, *Problem) {
	if len(names) > 1 {
		return nil, problem("invalid", fmt.Sprintf("%s is there %d times", NamespaceHeader, len(names)), "a request is about one namespace")
	}
	var p place
	if len(names) == 1 && names[0] != "" {
		n, err := event.ParseNamespace(names[0])
		if err != nil {
			return nil, problem("invalid", err.Error(), "")
		}
		p = place{n, true}
	}
	if who.Only != nil {
		if p.named && p.namespace != *who.Only {
			return nil, problem("not-allowed", fmt.Sprintf("%s is kept to namespace %s", who.Actor, who.Only), "leave the namespace out")
		}
		p = place{*who.Only, true}
	}
	return context.WithValue(ctx, placeKey{}, p), nil
}

// namespace returns the namespace that a request is about.
func namespace(ctx context.Context) event.Namespace { return placeOf(ctx).namespace }

// only returns the namespace that what is of the whole log is cut down to; nil: none.
func only(ctx context.Context) *event.Namespace {
	if p := placeOf(ctx); p.named {
		return &p.namespace
	}
	return nil
}

func placeOf(ctx context.Context) place {
	p, _ := ctx.Value(placeKey{}).(place)
	return p
}

// reaches returns why a request is not about a run. One of another namespace is as one
// that is not there.
func (a *API) reaches(ctx context.Context, id eventlog.RunID) error {
	if a.o.Engine == nil { // a capsule: who has it has all of it
		return nil
	}
	p := placeOf(ctx)
	n, err := a.o.Engine.NamespaceOf(id)
	switch {
	case err == nil && n == p.namespace:
		return nil
	case err != nil && !p.named && (id.IsSystem() || !errors.Is(err, engine.ErrNotFound)):
		return nil // it is damaged, say, and whoever looks for it says how
	}
	return noRun(id.String())
}

// noRun is the answer to whoever names a run that is not there, or not for him.
func noRun(id string) *Problem {
	return problem("not-found", "there is no run "+id, "see the list of runs; --namespace names another namespace than default")
}

// existing returns the ID of a run that a request names, and that it may be about.
func (a *API) existing(ctx context.Context, name string) (eventlog.RunID, error) {
	id, err := OfRun{name}.existing(a.o.Log)
	if err == nil {
		err = a.reaches(ctx, id)
	}
	return id, err
}

// sight returns which events a request may be about; nil: all.
func (a *API) sight(ctx context.Context) func(eventlog.Event) bool {
	n := only(ctx)
	if n == nil {
		return nil
	}
	return func(e eventlog.Event) bool {
		if e.Run == projection.Workflows {
			p, err := event.Decode(e.Kind, e.Payload)
			d, ok := p.(*event.DefinitionRegistered)
			return err == nil && ok && !e.Erased && d.Namespace == *n
		}
		if e.Run == event.Triggers {
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil || e.Erased {
				return false
			}
			id, err := event.TriggerOf(p)
			return err == nil && event.TriggerID(id).Namespace() == *n
		}
		of, err := a.o.Engine.NamespaceOf(e.Run)
		return err == nil && of == *n
	}
}

// whole refuses what is about the whole log to whoever is kept to a namespace.
func whole(who access.Principal, id string) *Problem {
	if who.Only == nil {
		return nil
	}
	return problem("not-allowed", fmt.Sprintf("%s is about the whole log; %s is kept to namespace %s", id, who.Actor, who.Only),
		"an administrator makes tokens for all namespaces: wfd token create NAME without --namespace")
}

// enter has a request be of who makes it, in the namespace that it names.
func (a *API) enter(w http.ResponseWriter, r *http.Request, who access.Principal) (*http.Request, bool) {
	ctx, p := placed(as(r.Context(), who), who, r.Header.Values(NamespaceHeader))
	if p != nil {
		writeProblem(w, p)
		return nil, false
	}
	return r.WithContext(ctx), true
}
