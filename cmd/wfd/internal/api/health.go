package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/eventlog"
)

// maxBehind is how many events the views may be behind the log before the
// daemon calls itself not ready: what a few seconds of folding make good.
const maxBehind = 1 << 16

// Health says how the daemon is.
type Health struct {
	Service string       `json:"service" doc:"wfd"`
	Version string       `json:"version"`
	Status  string       `json:"status" doc:"ok, or why not"`
	Head    eventlog.Seq `json:"head" doc:"the last event of the log"`
	Applied eventlog.Seq `json:"applied" doc:"the last event that the views have seen"`
}

type healthOutput struct {
	Status int
	Body   Health
}

func (a *API) health(h huma.API) {
	register(h, operation{method: "GET", path: "/livez", id: "livez", tag: "health",
		summary: "Whether the process is alive; no token needed"},
		func(context.Context, *struct{}) (*healthOutput, error) { return a.look(nil), nil })
	register(h, operation{method: "GET", path: "/readyz", id: "readyz", tag: "health",
		summary: "Whether the daemon takes commands; no token needed"},
		func(context.Context, *struct{}) (*healthOutput, error) { return a.look(a.unready()), nil })
}

func (a *API) look(err error) *healthOutput {
	out := &healthOutput{http.StatusOK, Health{Service: "wfd", Version: a.o.Version, Status: "ok", Head: a.o.Log.Head(), Applied: a.o.Views.Applied()}}
	if err != nil {
		out.Status, out.Body.Status = http.StatusServiceUnavailable, err.Error()
	}
	return out
}

// unready returns why the daemon is not ready.
func (a *API) unready() error {
	if err := a.o.Ready(); err != nil {
		return err
	}
	if err := a.o.Engine.Failed(); err != nil {
		return fmt.Errorf("the engine has failed: %w", err)
	}
	select {
	case <-a.o.Engine.Stopped():
		return fmt.Errorf("the engine has stopped")
	default:
	}
	if head, applied := a.o.Log.Head(), a.o.Views.Applied(); head > applied+maxBehind {
		return fmt.Errorf("the views are %d events behind the log", head-applied)
	}
	return nil
}
