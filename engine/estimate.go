package engine

import (
	"context"
	"math"
	"math/bits"
	"slices"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Estimate is what a run of a workflow may cost, before it is started.
type Estimate struct {
	Workflow string       `json:"workflow"`
	Version  int          `json:"workflow_version"`
	Limits   event.Limits `json:"limits" doc:"of its budget"`
	// Worst is what it costs if every node is visited and attempted as often as it may
	// be and every answer is as long as it may be, child runs included; prompts are
	// counted without what comes into them.
	Worst event.Spend `json:"worst"`
	// Once is the same for one call of each node.
	Once     event.Spend    `json:"once"`
	Nodes    []EstimateNode `json:"nodes"`
	Unpriced []string       `json:"unpriced,omitempty" doc:"models without a known price: only their tokens are counted"`
	// Partly says of nodes what is not counted, since nobody knows it yet.
	Partly []string `json:"partly,omitempty" doc:"nodes that are counted in part, and what is not counted"`
	// Recorded is what runs of the workflow have cost, nil if there are none.
	Recorded *Recorded `json:"recorded,omitempty"`
}

// EstimateNode is one node of an Estimate.
type EstimateNode struct {
	Node  string      `json:"node" doc:"one of a child run stands behind the node that starts it: review/critic"`
	Agent string      `json:"agent,omitempty"`
	Model string      `json:"model,omitempty"`
	Calls int64       `json:"calls" doc:"at most"`
	One   event.Spend `json:"one" doc:"what one call may use"`
}

// Recorded is what runs that completed have cost.
type Recorded struct {
	Runs   int         `json:"runs" doc:"the newest, at most 200"`
	Median event.Spend `json:"median"`
	Most   event.Spend `json:"most"`
}

// maxRecorded is how many runs an estimate looks at.
const maxRecorded = 200

// maxEstimated is how many nodes an estimate lists, and how many child runs it follows.
// Child runs within child runs can be of very many.
const maxEstimated = 1000

// EstimateRun says what a run of a workflow may cost. Nothing is started.
func (e *Engine) EstimateRun(ctx context.Context, n event.Namespace, name string, version int, budget event.Value) (Estimate, error) {
	reg, wf, err := e.defs.find(ctx, n, name, version)
	if err != nil {
		return Estimate{}, err
	}
	lim, err := machine.Limits(wf, budget)
	if err != nil {
		return Estimate{}, err
	}
	x := &estimator{ctx: ctx, e: e, namespace: n, out: Estimate{Workflow: reg.Name, Version: reg.Version, Limits: *lim, Nodes: []EstimateNode{}}}
	choose, done := e.choosing(wf.Name)
	defer done()
	x.choose = choose
	x.run(reg, wf, "", 1)
	slices.Sort(x.out.Unpriced)
	x.out.Recorded, err = e.recorded(ctx, n, reg.Name)
	return x.out, err
}

// estimator adds up what a run, and those under it, may cost.
type estimator struct {
	ctx       context.Context
	e         *Engine
	choose    func(*workflow.Node, *run.Visit) *event.AgentChosen
	namespace event.Namespace
	under     []string // hashes of the definitions that are being counted
	runs      int      // of child runs that were followed
	out       Estimate
}

// run counts so many runs of a definition; within says whose child runs they are.
func (x *estimator) run(reg Registered, wf *workflow.Workflow, within string, times int64) {
	x.under = append(x.under, reg.Hash)
	for _, n := range wf.Nodes {
		x.node(wf, n, within+n.ID, times)
	}
	x.under = x.under[:len(x.under)-1]
}

// node counts a node of so many runs.
func (x *estimator) node(wf *workflow.Workflow, n *workflow.Node, name string, times int64) {
	if wf.Loops(n.Index) {
		times = product(times, int64(n.MaxVisits))
	}
	do, child := n, n.Kind == workflow.Sub
	if n.Kind == workflow.Foreach {
		if n.Do != nil {
			do = n.Do
		}
		child = n.Do == nil || do.Kind == workflow.Sub
		items, known := int64(1), false
		if l, ok := n.Items.Literal(); ok {
			if l, ok := l.([]any); ok {
				items, known = int64(len(l)), true
			}
		}
		if times = product(times, items); !known && (child || machine.Spends(do)) {
			x.partly(name, "items beyond the first")
		}
	}
	switch {
	case child:
		x.child(do, name, times)
	case do.Kind == workflow.Worker:
		need := workerNeed(do)
		if !need.Spend().IsZero() {
			x.calls(name, &need, product(times, int64(do.Retry.Max)))
		}
	case machine.CallsModel(do):
		x.model(wf, do, name, times)
	}
}

// child counts the child runs of a node.
func (x *estimator) child(n *workflow.Node, name string, times int64) {
	reg, wf, err := x.e.defs.find(x.ctx, x.namespace, n.Def.Text("workflow"), n.Def.Int("version"))
	switch {
	case err != nil:
		x.partly(name, "child runs: there is no such workflow yet")
	case slices.Contains(x.under, reg.Hash) || len(x.under) > machine.MaxDepth || len(x.out.Nodes) >= maxEstimated || x.runs >= maxEstimated:
		x.partly(name, "child runs within child runs")
	default:
		x.runs++
		x.run(reg, wf, name+"/", times)
	}
}

// model counts the calls of a node that a model does.
func (x *estimator) model(wf *workflow.Workflow, n *workflow.Node, name string, times int64) {
	t := &agent.Task{Kind: n.Kind, Def: n, Asks: wf.Asks(n)}
	if x.choose != nil {
		if c := x.choose(n, &run.Visit{}); c != nil {
			t.Agent = x.e.opt.Agents.Version(c.Hash)
		}
	}
	if n.Prompt != nil {
		t.Prompt = n.Def.Text("prompt")
	}
	chars, output := agent.Size(t)
	need := x.e.need(t.Agent, chars, output)
	calls := int64(n.Retry.Max)
	switch n.Kind {
	case workflow.Chat:
		calls *= int64(n.Chat.Rounds * len(n.Chat.Participants))
	case workflow.Plan:
		calls *= 1 + workflow.MaxTasks
		x.partly(name, "who does the tasks, and what the plan says")
	}
	if agent.UsesTools(t) {
		calls *= 1 + agent.MaxRounds
		x.partly(name, "what tools say")
	}
	x.calls(name, &need, product(times, calls))
	if need.Price == nil && !slices.Contains(x.out.Unpriced, need.Model) {
		x.out.Unpriced = append(x.out.Unpriced, need.Model)
	}
}

// calls counts so many calls.
func (x *estimator) calls(name string, need *event.Need, times int64) {
	one := need.Spend()
	x.out.Nodes = append(x.out.Nodes, EstimateNode{Node: name, Agent: need.Agent, Model: need.Model, Calls: times, One: one})
	x.out.Once = x.out.Once.Add(one)
	x.out.Worst = x.out.Worst.Add(event.Spend{Tokens: product(one.Tokens, times), Micros: event.Micros(product(int64(one.Micros), times))})
}

func (x *estimator) partly(name, what string) {
	if len(x.out.Partly) < maxEstimated {
		x.out.Partly = append(x.out.Partly, name+": "+what)
	}
}

// product is a times b, or the largest number where that is beyond it; neither is
// negative.
func product(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi > 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(lo)
}

func (e *Engine) recorded(ctx context.Context, n event.Namespace, name string) (*Recorded, error) {
	rows, _, err := e.views.Runs(ctx, projection.Filter{Namespace: n, Workflow: name, Status: run.Completed}, "", maxRecorded)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var tokens []int64
	var micros []event.Micros
	for i := range rows {
		tokens, micros = append(tokens, rows[i].Spent.Tokens), append(micros, rows[i].Spent.Micros)
	}
	slices.Sort(tokens)
	slices.Sort(micros)
	mid, last := len(rows)/2, len(rows)-1
	return &Recorded{
		Runs:   len(rows),
		Median: event.Spend{Tokens: tokens[mid], Micros: micros[mid]},
		Most:   event.Spend{Tokens: tokens[last], Micros: micros[last]},
	}, nil
}
