package roster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// Providers of models.
const (
	OpenAI    = "openai"
	Anthropic = "anthropic"
	Sim       = "sim"
)

// Agent is one agent. It does not change.
type Agent struct {
	ID          string `json:"id"` // the name of its file, in lower case
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Role        string `json:"role"`
	// "" and 0 below are left to Defaults, to the node, or to the provider.
	Provider    string   `json:"provider,omitempty"`
	Model       string   `json:"model,omitempty"`
	BaseURL     string   `json:"base_url,omitempty"`
	APIKey      string   `json:"api_key,omitempty"` // the name of a secret
	Temperature *float64 `json:"temperature,omitempty"`
	MaxTokens   int      `json:"max_tokens,omitempty"`
	MaxParallel int      `json:"max_parallel,omitempty"`
	Tools       []string `json:"tools,omitempty"`
	Own         []*Tool  `json:"own_tools,omitempty"`
	Budget      *Budget  `json:"budget,omitempty"`
	Expect      any      `json:"expect,omitempty"` // JSON Schema of its answers
	System      string   `json:"system"`           // the system prompt

	File    string `json:"file,omitempty"` // "" = built in, or made for a role
	Spawned bool   `json:"spawned,omitempty"`
	Hash    string `json:"hash"` // of all above but File
}

// Budget is what an agent may spend in all; 0 = no limit.
type Budget struct {
	MicroUSD int64 `json:"micro_usd,omitempty"`
	Tokens   int64 `json:"tokens,omitempty"`
}

// seal sets the hash.
func (a *Agent) seal() *Agent {
	plain := *a
	plain.File, plain.Hash = "", ""
	b, err := json.Marshal(plain)
	if err != nil {
		panic("roster: " + err.Error()) // plain values, as a parser made them
	}
	sum := sha256.Sum256(b)
	a.Hash = hex.EncodeToString(sum[:])
	return a
}

// same brings what names are compared by into one form.
func same(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == ' ' {
			return '-'
		}
		return r
	}, strings.ToLower(strings.TrimSpace(name)))
}

// generic returns an agent for a role, or a name, that nobody has.
func generic(id, role, provider string) *Agent {
	a := &Agent{
		ID: id, Name: id, Role: role, Provider: provider, Spawned: true,
		Description: "A generic agent for the role " + role,
		System:      "You have the role " + role + ". Do what is asked as somebody in this role would, and say so if you cannot.",
	}
	return a.seal()
}
