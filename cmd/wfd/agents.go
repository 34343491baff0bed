package main

import (
	"os"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/workflow"
)

// Models of agents that name none, where --model does not say otherwise.
const (
	defaultOpenAI    = "gpt-4.1-mini"
	defaultAnthropic = "claude-haiku-4-5"
)

// roster returns the agents: the built-in ones and those of --agents.
func (a *app) roster() (*roster.Roster, error) {
	e := &a.engine
	d := roster.Defaults{Provider: e.provider, Models: map[string]string{roster.OpenAI: defaultOpenAI, roster.Anthropic: defaultAnthropic}}
	switch e.provider {
	case "":
		d.Provider = providerByKey()
	case roster.OpenAI, roster.Anthropic, roster.Sim:
	default:
		return nil, usagef("--provider %q: want openai, anthropic or sim", e.provider)
	}
	for _, m := range e.models {
		provider, model, ok := strings.Cut(m, "=")
		if !ok {
			provider, model = d.Provider, m
		}
		if model == "" || d.Models[provider] == "" {
			return nil, usagef("--model %q: want a model, or openai=MODEL or anthropic=MODEL", m)
		}
		d.Models[provider] = model
	}
	// With nothing configured at all, everything can be tried.
	standIn := d.Provider == roster.Sim && e.agents == ""
	r, problems, err := roster.New(roster.Options{Dir: e.agents, Defaults: d, StandIn: standIn, NoSpawn: e.noSpawn})
	if err != nil {
		return nil, usagef("%w", err)
	}
	for i := range problems {
		if problems[i].Severity == workflow.Warning { // notes are about what others use
			a.note("%s", problems[i].String())
		}
	}
	return r, nil
}

// providerByKey returns the provider that the environment has a key for, or the
// address of a server that may need none.
func providerByKey() string {
	for _, p := range []struct{ provider, prefix string }{{roster.OpenAI, "OPENAI"}, {roster.Anthropic, "ANTHROPIC"}} {
		if os.Getenv(p.prefix+"_API_KEY") != "" || os.Getenv(p.prefix+"_BASE_URL") != "" {
			return p.provider
		}
	}
	return roster.Sim
}
