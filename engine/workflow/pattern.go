package workflow

import (
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Params are a pattern's parameters: text, numbers, or lists of text (also
// written as text with commas).
type Params map[string]any

// pattern is one of the library.
type pattern struct {
	name, doc string
	spellings []string
	params    []string
	build     func(*builder)
}

var patterns = []pattern{
	{"review-refine", "Generate, review, and refine until the score is good enough.", []string{"review", "refine", "review-and-refine"},
		[]string{"name", "generator", "critic", "refiner", "validator", "iterations", "score"}, reviewRefine},
	{"parallel-analysis", "Several analysts at once, and one who combines.", []string{"parallel", "analysis"},
		[]string{"name", "analysts", "converger"}, parallelAnalysis},
	{"sequential-planning", "A chain of planners, each with the plan of the one before.", []string{"sequential", "sequential-plan", "planning"},
		[]string{"name", "planners"}, sequentialPlanning},
	{"consensus", "Rounds of votes until enough agree, then an action.", []string{"consensus-building"},
		[]string{"name", "participants", "actor", "threshold", "rounds"}, consensus},
}

// PatternNames are the names Pattern knows.
func PatternNames() []string {
	var names []string
	for _, p := range patterns {
		names = append(names, p.name)
	}
	return names
}

// Pattern builds a definition of the library. Any letter case, - and _ are alike
// in its name. Parameters left out have defaults; those that name agents stand
// for a role then.
//
//   - review-refine: generator, critic, refiner (the generator), validator (none),
//     iterations (3), score (0.8)
//   - parallel-analysis: analysts (a list), converger
//   - sequential-planning: planners (a list)
//   - consensus: participants (a list), actor, threshold (0.75), rounds (10)
//
// Each takes name, and its runs take {"task": "…"} as input.
func Pattern(name string, params Params) (*Definition, error) {
	folded := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(strings.TrimSpace(name)))
	for i := range patterns {
		p := &patterns[i]
		match := p.name == folded
		for _, s := range p.spellings {
			match = match || s == folded
		}
		if !match {
			continue
		}
		for _, k := range sortedKeys(params) {
			known := false
			for _, n := range p.params {
				known = known || n == k
			}
			if !known {
				return nil, fmt.Errorf("pattern %s has no parameter %q; it takes %s", p.name, source.Clip(k), list(p.params, "and"))
			}
		}
		b := &builder{params: params, def: &Definition{Description: p.doc, src: source.NewFile("", "")}}
		b.def.Name = b.text("name", p.name)
		b.def.Input = map[string]any{"type": "object", "required": []any{"task"}, "properties": map[string]any{"task": map[string]any{"type": "string"}}}
		if p.build(b); b.err != nil {
			return nil, fmt.Errorf("pattern %s: %w", p.name, b.err)
		}
		return b.def.settled()
	}
	hint := ""
	if near := expr.Closest(folded, PatternNames()); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return nil, fmt.Errorf("there is no pattern %q, but %s%s", source.Clip(name), list(PatternNames(), "and"), hint)
}

// settled reads the definition back from its own text, so that what was built is
// held to the same rules as what was written.
func (d *Definition) settled() (*Definition, error) {
	text, err := d.YAML()
	if err != nil {
		return nil, err
	}
	w, problems := Load("", text)
	if w == nil {
		return nil, problems
	}
	return w.Def, nil
}

type builder struct {
	params Params
	def    *Definition
	err    error
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

func (b *builder) text(name, other string) string {
	v, ok := b.params[name]
	if !ok || v == "" || v == nil {
		return other
	}
	return expr.Text(v)
}

func (b *builder) list(name string) []string {
	var l []string
	switch v := b.params[name].(type) {
	case []any:
		for _, x := range v {
			l = append(l, expr.Text(x))
		}
	case []string:
		l = append(l, v...)
	case string:
		for _, s := range strings.Split(v, ",") {
			if s = strings.TrimSpace(s); s != "" {
				l = append(l, s)
			}
		}
	}
	return l
}

func (b *builder) number(name string, other, low, high float64) any {
	v, err := source.Number(b.text(name, expr.Text(other)))
	f, ok := v.(float64)
	if i, whole := v.(int64); whole {
		f, ok = float64(i), true
	}
	if err != nil || !ok || f < low || f > high {
		b.fail("%s must be a number from %v to %v", name, low, high)
		return other
	}
	return v
}

func (b *builder) count(name string, other int64, high float64) int64 {
	i, ok := b.number(name, float64(other), 1, high).(int64)
	if !ok {
		i = other
		if b.text(name, "") != "" {
			b.fail("%s must be a whole number", name)
		}
	}
	return i
}

// agent adds an agent node; who is an agent's name, role what stands in for it.
func (b *builder) agent(id, who, role, prompt string, set ...SetDef) *NodeDef {
	n := b.node(id, Agent, set...)
	n.Fields["prompt"] = prompt
	if who != "" {
		n.Fields["agent"] = who
	} else {
		n.Fields["role"] = role
	}
	return n
}

func (b *builder) node(id string, k Kind, set ...SetDef) *NodeDef {
	n := &NodeDef{ID: id, Kind: k, Fields: map[string]any{}, Set: set}
	b.def.Nodes = append(b.def.Nodes, n)
	return n
}

func (b *builder) edge(from, to, cond string) {
	b.def.Edges = append(b.def.Edges, EdgeDef{From: from, To: to, If: cond, Default: cond == "default"})
	if e := &b.def.Edges[len(b.def.Edges)-1]; e.Default {
		e.If = ""
	}
}

func (b *builder) key(name, typ string, value any) {
	b.def.State = append(b.def.State, KeyDef{Name: name, Type: typ, Default: value})
}

func reviewRefine(b *builder) {
	generator := b.text("generator", "")
	iterations := b.count("iterations", 3, 1000)
	score := expr.Text(b.number("score", 0.8, 0, 1))
	b.key("draft", "", nil)
	b.key("review_score", "number", int64(0))
	b.key("refinement_needed", "boolean", true)
	b.key("iteration_count", "integer", int64(0))
	b.agent("generate", generator, "writer", "${input.task}", SetDef{"draft", "${result}"})
	review := b.agent("review", b.text("critic", ""), "critic",
		"Task: ${input.task}\n\nReview this and give a score from 0 to 1:\n\n${state.draft}",
		SetDef{"review_score", "${result.score}"}, SetDef{"refinement_needed", "${result.score < " + score + "}"})
	review.Expect = map[string]any{"type": "object", "required": []any{"score"}, "properties": map[string]any{"score": map[string]any{"type": "number"}}}
	review.MaxVisits = int(iterations) + 1
	b.node("check", Decision)
	b.agent("refine", b.text("refiner", generator), "writer",
		"Task: ${input.task}\n\nImprove this:\n\n${state.draft}\n\nThe review said:\n\n${nodes.review.result}",
		SetDef{"draft", "${result}"}, SetDef{"iteration_count", "${state.iteration_count + 1}"})
	end := "done"
	if v := b.text("validator", ""); v != "" {
		end = "validate"
		b.agent("validate", v, "critic", "Task: ${input.task}\n\nCheck the final version:\n\n${state.draft}")
		b.edge("validate", "done", "")
	}
	b.node("done", End).Fields["end"] = "completed"
	b.edge("generate", "review", "")
	b.edge("review", "check", "")
	b.edge("check", end, "refinement_needed == false")
	b.edge("check", "refine", fmt.Sprintf("iteration_count < %d", iterations))
	b.edge("check", end, "default")
	b.edge("refine", "review", "")
	b.def.Output, b.def.HasOutput = "${state.draft}", true
}

func parallelAnalysis(b *builder) {
	analysts := b.list("analysts")
	if len(analysts) == 0 {
		b.fail("analysts must name at least one agent")
		return
	}
	b.node("start", Parallel)
	for i, a := range analysts {
		id, key := fmt.Sprintf("agent_%d", i+1), fmt.Sprintf("agent_%d_result", i+1)
		b.key(key, "", nil)
		b.agent(id, a, "", "Analyse: ${input.task}", SetDef{key, "${result}"})
		b.edge("start", id, "")
	}
	b.key("synthesis_result", "", nil)
	c := b.node("synthesis", Converge, SetDef{"synthesis_result", "${result}"})
	c.Fields["prompt"] = "Combine these analyses of: ${input.task}"
	if who := b.text("converger", ""); who != "" {
		c.Fields["agent"] = who
	} else {
		c.Fields["role"] = "orchestrator"
	}
	for i := range analysts {
		b.edge(fmt.Sprintf("agent_%d", i+1), "synthesis", "")
	}
	b.def.Output, b.def.HasOutput = "${state.synthesis_result}", true
}

func sequentialPlanning(b *builder) {
	planners := b.list("planners")
	if len(planners) == 0 {
		b.fail("planners must name at least one agent")
		return
	}
	b.key("plan", "", nil)
	for i, p := range planners {
		id, prompt := fmt.Sprintf("plan_%d", i+1), "Plan: ${input.task}"
		if i > 0 {
			prompt += fmt.Sprintf("\n\nThe plan so far:\n\n${nodes.plan_%d.result}", i)
			b.edge(fmt.Sprintf("plan_%d", i), id, "")
		}
		b.agent(id, p, "", prompt, SetDef{"plan", "${result}"})
	}
	b.def.Output, b.def.HasOutput = "${state.plan}", true
}

func consensus(b *builder) {
	people := b.list("participants")
	if len(people) == 0 {
		b.fail("participants must name at least one agent")
		return
	}
	threshold := b.number("threshold", DefaultThreshold, 0, 1)
	rounds := b.count("rounds", DefaultRounds, MaxRounds)
	b.key("round_count", "integer", int64(0))
	b.key("consensus_reached", "boolean", false)
	b.key("votes", "object", map[string]any{})
	b.def.Entry = "discuss"
	who := make([]any, len(people))
	for i, p := range people {
		who[i] = p
	}
	discuss := b.node("discuss", Chat, SetDef{"votes", "${result.votes}"}, SetDef{"round_count", "${result.rounds}"}, SetDef{"consensus_reached", "${result.consensus}"})
	for k, v := range map[string]any{"participants": who, "mode": string(Consensus), "rounds": rounds, "threshold": threshold, "prompt": "${input.task}"} {
		discuss.Fields[k] = v
	}
	b.node("check", Decision)
	b.edge("discuss", "check", "")
	b.edge("check", "act", "consensus_reached")
	b.edge("check", "undecided", "default")
	b.agent("act", b.text("actor", ""), "executor", "Task: ${input.task}\n\nWhat was said:\n\n${nodes.discuss.result.text}\n\nThe votes: ${state.votes}. Do what was agreed.")
	b.agent("undecided", b.text("actor", ""), "executor", "Task: ${input.task}\n\nWhat was said:\n\n${nodes.discuss.result.text}\n\nThe votes: ${state.votes}. There is no agreement: decide, and say why.")
}
