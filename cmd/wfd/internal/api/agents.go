package api

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine/agent/roster"
)

// Agents are the agents of a daemon.
type Agents interface {
	Status(name string) (roster.Status, error)
	List(after, role string, limit int) (list []roster.Status, more bool)
}

type agentsInput struct {
	Paged
	Role string `query:"role" doc:"only agents with this role; letter case, - and _ alike"`
}

func (a *API) agents(h huma.API) {
	if a.o.Agents == nil {
		return
	}
	register(h, operation{method: "GET", path: "/v1/agents", id: "list-agents", tag: "agents",
		summary: "List the agents and what they do; system prompts are left out"},
		func(_ context.Context, in *agentsInput) (*answer[List[roster.Status]], error) {
			list, more := a.o.Agents.List(in.Cursor, in.Role, in.Limit)
			next := ""
			for i := range list {
				list[i].System, list[i].Expect = "", nil
				if more {
					next = list[i].ID
				}
			}
			if list == nil {
				list = []roster.Status{}
			}
			return listOf(list, next, nil)
		})
	register(h, operation{method: "GET", path: "/v1/agents/{name}", id: "get-agent", tag: "agents",
		summary: "An agent, and what it does"},
		func(_ context.Context, in *struct {
			Name string `path:"name" maxLength:"256" doc:"its name, or the words that begins with; letter case, - and _ alike"`
		}) (*answer[roster.Status], error) {
			s, err := a.o.Agents.Status(in.Name)
			switch {
			case errors.Is(err, roster.ErrNotFound):
				return nil, problem("not-found", err.Error(), "see the list of agents")
			case errors.Is(err, roster.ErrAmbiguous):
				return nil, problem("invalid", err.Error(), "give the whole name")
			}
			return &answer[roster.Status]{s}, err
		})
}
