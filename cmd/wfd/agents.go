package main

import (
	"os"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
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

// accounts returns where models are asked by agents that have no account of their own.
func accounts(s *secret.Store) map[string]agent.Account {
	m := map[string]agent.Account{}
	for provider, prefix := range prefixes {
		a := agent.Account{BaseURL: strings.TrimRight(os.Getenv(prefix+"_BASE_URL"), "/"), Key: os.Getenv(prefix + "_API_KEY"), KeyName: prefix + "_API_KEY", NeedsKey: true}
		s.Keep(a.KeyName, a.Key)
		m[provider] = a
	}
	return m
}

// prefixes of the variables that providers' own programs read.
var prefixes = map[string]string{roster.OpenAI: "OPENAI", roster.Anthropic: "ANTHROPIC"}

// providerByKey returns the provider that the environment has a key for, or the
// address of a server that may need none.
func providerByKey() string {
	for _, provider := range []string{roster.OpenAI, roster.Anthropic} {
		if p := prefixes[provider]; os.Getenv(p+"_API_KEY") != "" || os.Getenv(p+"_BASE_URL") != "" {
			return provider
		}
	}
	return roster.Sim
}
