package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// DefaultMaxTokens is the longest answer where neither the node nor the agent says.
	DefaultMaxTokens = 1024

	// MaxPrompt is how long the system prompt and the messages may be together, in
	// bytes: beyond what any model reads, and within what a daemon can hold a
	// thousand times.
	MaxPrompt = 4 << 20
)

// Models is the runner of nodes that an agent does: it asks the agent's model.
type Models struct {
	Roster    *roster.Roster
	Providers map[string]model.Provider
	Accounts  map[string]Account // by provider, for agents that have none of their own
	Secrets   *secret.Store
	Tools     Tools // nil: there are none
}

// Account is where a provider's models are asked, and with which key.
type Account struct {
	BaseURL string // "" = the provider's own
	Key     string // "" = none
	KeyName string // the variable that it is looked for in
	// NeedsKey is set where nobody is answered without one.
	NeedsKey bool
}

// Run implements Runner.
func (m *Models) Run(ctx context.Context, t *Task) Answer {
	if t.Agent == nil {
		return m.nobody(t)
	}
	r, err := m.request(t)
	if err != nil {
		return *err
	}
	provider := m.Providers[t.Agent.Provider]
	if provider == nil {
		return final(event.ClassNotFound, "agent %s: there is no provider %q here", t.Agent.ID, t.Agent.Provider)
	}
	c := conversation{t: t, request: r, provider: provider, tools: m.Tools, secrets: m.Secrets, name: nameOf(t.Agent)}
	return c.hold(ctx)
}

// nobody says why there is no agent.
func (m *Models) nobody(t *Task) Answer {
	name, role := t.Def.Def.Text("agent"), t.Def.Def.Text("role")
	switch {
	case t.Turn != nil:
		name, role = t.Turn.Who.Agent, t.Turn.Who.Role
	case t.Part != nil:
		role = t.Part.Role
	case t.Kind == workflow.Plan && name == "" && role == "":
		role = workflow.PlannerRole
	}
	switch {
	case m.Roster == nil:
		return Unavailable(t.Kind).Run(context.Background(), t)
	case name != "":
		if _, err := m.Roster.Lookup(name); err != nil {
			return final(event.ClassNotFound, "%v: see wfd agent ls, or add %s.md to the directory of --agents", err, name)
		}
		return Fail(event.ClassUnavailable, "the agent %s came too late for this attempt", name)
	}
	return final(event.ClassNotFound, "nobody has the role %q: add an agent that has it to the directory of --agents", role)
}

// nameOf is how messages call an agent's model.
func nameOf(a *roster.Agent) string {
	if a.Model == "" {
		return a.Provider
	}
	return a.Provider + " " + a.Model
}

// request returns what is asked of the model, or the answer of a task that cannot be
// asked.
func (m *Models) request(t *Task) (*model.Request, *Answer) {
	a := t.Agent
	account := m.Accounts[a.Provider]
	r := &model.Request{
		BaseURL: account.BaseURL, APIKey: account.Key, Model: a.Model, System: a.System,
		Temperature: a.Temperature,
		Messages:    []model.Message{{From: model.User, Text: prompt(t)}},
	}
	if a.BaseURL != "" {
		r.BaseURL = a.BaseURL
	}
	if a.APIKey != "" {
		key, err := m.Secrets.Get(a.APIKey)
		if err != nil {
			no := final(event.ClassAuth, "agent %s: %v", a.ID, err)
			return nil, &no
		}
		r.APIKey = key
		t.Redact = m.Secrets.Redactor() // which knows the key by now
	}
	if r.APIKey == "" && r.BaseURL == "" && account.NeedsKey {
		no := final(event.ClassAuth, "agent %s: there is no API key for %s: set %s, or api_key in the agent's file", a.ID, a.Provider, account.KeyName)
		return nil, &no
	}
	r.MaxTokens = maxTokens(t)
	if x, ok := warmth(t.Def.Def.Fields["temperature"]); ok {
		r.Temperature = &x
	}
	if size := len(r.System) + len(r.Messages[0].Text); size > MaxPrompt {
		no := final(event.ClassInternal, "the prompt has %d bytes, the limit is %d", size, MaxPrompt)
		return nil, &no
	}
	return r, nil
}

func warmth(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	}
	return 0, false
}

// prompt returns what the agent is told: the node's prompt; what was delivered to the
// node, unless the prompt itself takes from the run what it needs; and why the last
// attempt was refused.
func prompt(t *Task) string {
	var parts []string
	switch {
	case t.Turn != nil:
		parts = append(parts, t.Turn.opening())
	case t.Part != nil:
		parts = append(parts, t.Part.prompt())
	case t.Kind == workflow.Plan:
		parts = append(parts, planning(expr.Text(t.Settings["goal"]), t.Def.Plan))
	}
	if t.Prompt != "" {
		parts = append(parts, t.Prompt)
	}
	if own(told(t)) && t.Part == nil {
		x, _ := t.Input.Any() // as in a template, what cannot be read is not there
		if in := inputText(x); in != "" {
			if len(parts) > 0 {
				in = "Input: " + in
			}
			parts = append(parts, in)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "Execute task")
	}
	if t.Turn != nil {
		parts = append(parts, t.Turn.task())
	}
	if f := t.Before; f != nil && f.Class == event.ClassInvalidOutput {
		parts = append(parts, fmt.Sprintf("Your last answer was refused: %s. Give the whole answer again, without this fault.", strings.TrimRight(f.Message, ".")))
	}
	return strings.Join(parts, "\n\n")
}

// told is what the definition tells the agent; nil: nothing.
func told(t *Task) *expr.Template {
	if t.Kind == workflow.Plan {
		return t.Def.Settings["goal"]
	}
	return t.Def.Prompt
}

// own reports whether a prompt is the same for every run.
func own(p *expr.Template) bool {
	if p == nil {
		return true
	}
	_, literal := p.Literal()
	return literal
}

// inputText returns what was delivered as people read it: texts as they are, those of
// several nodes as a section each; other values as JSON; "" for nothing.
func inputText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any:
		if len(v) == 0 {
			return ""
		}
		if s, ok := v["text"].(string); ok && len(v) == 1 {
			return s
		}
		if sections := sectionsOf(v); sections != "" {
			return sections
		}
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return expr.Text(v)
	}
	return string(b)
}

// sectionsOf returns the results of several nodes, keyed by node, as a section each;
// "" if v is something else.
func sectionsOf(v map[string]any) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(v)) {
		r, ok := v[id].(map[string]any)
		if !ok {
			return ""
		}
		if _, ok := r["text"].(string); !ok {
			return ""
		}
		fmt.Fprintf(&b, "\n\n## %s\n\n%s", id, inputText(r))
	}
	return b.String()
}

// conversation is what is said between a task and its model.
type conversation struct {
	t        *Task
	request  *model.Request
	provider model.Provider
	tools    Tools
	secrets  *secret.Store
	name     string
	shape    shape
	usage    event.Usage
	spent    bool // usage counts
}

// hold asks until there is an answer.
func (c *conversation) hold(ctx context.Context) Answer {
	c.shape = shapeOf(c.t)
	if c.shape.schema != nil {
		c.request.Schema = c.shape.schema
		c.request.System = strings.TrimSpace(c.request.System + "\n\n" + instruction(c.shape.schema))
		c.request.Example = c.example
	}
	set, err := toolsetOf(ctx, c.tools, c.t)
	if err != nil {
		return toolError(ctx, c.t, "tools", err)
	}
	c.request.Tools = set.tools
	w := &worker{t: c.t, tools: c.tools, secrets: c.secrets}
	for round := 1; ; round++ {
		if round > 1 && c.t.Reserve != nil {
			if err := c.t.Reserve(ctx, round-1, int64(c.size()), int64(c.request.MaxTokens), c.used()); err != nil {
				return c.done(toolError(ctx, c.t, c.name, err))
			}
		}
		c.doing(roster.Thinking)
		a, err := c.ask(ctx)
		switch {
		case err != nil:
			return c.failed(ctx, err)
		case a.Stop != model.Calls || len(a.Calls) == 0:
			return c.done(c.shape.answer(c.t, &a))
		case round > MaxRounds:
			return c.done(final(event.ClassInvalidOutput, "%s: after %d rounds of tools there is no answer", c.name, MaxRounds))
		}
		results, err := set.callAll(ctx, w, a.Calls)
		if err != nil {
			return c.done(toolError(ctx, c.t, "tools", err))
		}
		c.request.Messages = append(c.request.Messages,
			model.Message{From: model.Assistant, Text: a.Text, Calls: a.Calls}, model.Message{From: model.User, Results: results})
		if size := c.size(); size > MaxPrompt {
			return c.done(final(event.ClassInternal, "with what its tools said the prompt has %d bytes, the limit is %d", size, MaxPrompt))
		}
	}
}

func (c *conversation) doing(what string) {
	if c.t.Doing != nil {
		c.t.Doing(what)
	}
}

// size is how much the model has to read, in bytes.
func (c *conversation) size() int {
	n := len(c.request.System)
	for _, m := range c.request.Messages {
		n += len(m.Text)
		for _, call := range m.Calls {
			n += len(call.Arguments)
		}
		for _, r := range m.Results {
			n += len(r.Text)
		}
	}
	return n
}

// ask makes one request, shows what comes, and counts what it used.
func (c *conversation) ask(ctx context.Context) (model.Answer, error) {
	var show func(string)
	clean := c.t.Redact.Stream()
	if c.t.Show != nil {
		show = func(piece string) {
			if s := clean.Add(piece); s != "" {
				c.t.Show(s)
			}
		}
	}
	a, err := c.provider.Ask(ctx, c.request, show)
	if show != nil {
		if s := clean.End(); s != "" {
			c.t.Show(s)
		}
	}
	c.count(&a, err)
	return a, err
}

// count adds what a request used. Where the provider does not say, it is estimated, so
// that budgets hold all the same.
func (c *conversation) count(a *model.Answer, err error) {
	u := a.Usage
	if u == nil {
		if err != nil && a.Text == "" {
			return // it did not begin
		}
		u = &event.Usage{InputTokens: tokens(c.size()), OutputTokens: tokens(len(a.Text))}
	}
	c.spent = true
	c.usage.InputTokens += u.InputTokens
	c.usage.OutputTokens += u.OutputTokens
	c.usage.CachedTokens += u.CachedTokens
	c.usage.Model = c.request.Model
	if c.usage.Model == "" {
		c.usage.Model = u.Model
	}
}

// tokens is about how many tokens a text of n bytes has.
func tokens(n int) int64 { return int64(n)/3 + 1 }

// used is what was used so far, nil if nothing was.
func (c *conversation) used() *event.Usage {
	if !c.spent {
		return nil
	}
	u := c.usage
	return &u
}

// done returns an answer with what was used.
func (c *conversation) done(a Answer) Answer {
	a.Usage = c.used()
	return a
}

// failed is the answer where the model gave none.
func (c *conversation) failed(ctx context.Context, err error) Answer {
	var e *model.Error
	if ctx.Err() != nil || !errors.As(err, &e) {
		if ctx.Err() == nil {
			return c.done(Fail(event.ClassInternal, "%s: %v", c.name, err))
		}
		return c.done(interrupted(ctx, c.t, c.name))
	}
	a := Fail(e.Class, "%s: %s", c.name, c.t.Redact.Head(e.Message, maxExcerpt))
	a.Failure.Again, a.Failure.After = e.Again, e.After
	return c.done(a)
}

// example returns an answer that the definition has a use for, another one in each
// visit.
func (c *conversation) example() map[string]any {
	switch {
	case c.t.Turn != nil:
		return c.t.Turn.example()
	case c.t.Kind == workflow.Plan:
		return examplePlan
	}
	cases := c.t.asks().Cases
	if len(cases) == 0 {
		return nil
	}
	return cases[(max(c.t.Visit, 1)-1)%len(cases)]
}

// asks returns what the definition asks of the answer.
func (t *Task) asks() *workflow.Asks {
	if t.Asks == nil {
		return &workflow.Asks{}
	}
	return t.Asks
}
