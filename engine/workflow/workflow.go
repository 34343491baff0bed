package workflow

import (
	"slices"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/expr"
)

// Workflow is a definition made ready to run: its graph analysed, its
// expressions compiled. It is immutable and safe for concurrent use.
type Workflow struct {
	Name string
	Hash Hash // of the definition's canonical form: its identity
	Def  *Definition

	Nodes []*Node // by Node.Index, in declared order
	Edges []*Edge // by Edge.Index: `edges` in declared order, then those of `needs`, then on_error and on_timeout
	Entry []int   // nodes that start with the run, in declared order

	Keys    []StateKey // declared state, in declared order
	Input   *Schema    // nil: any input
	Output  *expr.Template
	Timeout time.Duration // of a run; 0 = none
	EnvRefs []string      // names under env. that any expression reads, sorted

	byID  map[string]int
	graph *graph
	asks  sync.Map // of *Node: *Asks
}

// Node returns the node called id, nil if there is none.
func (w *Workflow) Node(id string) *Node {
	if i, ok := w.byID[id]; ok {
		return w.Nodes[i]
	}
	return nil
}

// Key returns the declared state key called name, nil if there is none.
func (w *Workflow) Key(name string) *StateKey {
	for i := range w.Keys {
		if w.Keys[i].Name == name {
			return &w.Keys[i]
		}
	}
	return nil
}

// HasChildren reports whether runs of w may have child runs that its nodes start.
func (w *Workflow) HasChildren() bool {
	return slices.ContainsFunc(w.Nodes, func(n *Node) bool {
		return n.Kind == Sub || n.Kind == Foreach && n.Do == nil || n.Do != nil && n.Do.Kind == Sub
	})
}

// Blocks reports whether a live node from keeps node to from starting: whether
// from can still reach to over forward edges, or over back edges of loops that
// do not contain to (the join rule). A node does not block itself.
func (w *Workflow) Blocks(from, to int) bool { return from != to && w.graph.blocks(from, to) }

// ConvergeAfter returns the nearest converge node that every path from node n
// reaches, -1 if there is none. Failures that nobody handles go there.
func (w *Workflow) ConvergeAfter(n int) int { return w.graph.convergeAfter[n] }

// Loops reports whether node n is in a loop.
func (w *Workflow) Loops(n int) bool {
	for _, loop := range w.graph.loops {
		if loop.has(n) {
			return true
		}
	}
	return false
}

// Kind is what a node does.
type Kind string

// Kinds. The strings are those of definitions.
const (
	Agent    Kind = "agent"
	HTTP     Kind = "http"
	Exec     Kind = "exec"
	Worker   Kind = "worker"
	Tool     Kind = "tool"
	Decision Kind = "decision"
	Parallel Kind = "parallel"
	Converge Kind = "converge"
	Human    Kind = "human"
	Sub      Kind = "workflow"
	Foreach  Kind = "foreach"
	Wait     Kind = "wait"
	Chat     Kind = "chat"
	Plan     Kind = "plan"
	End      Kind = "end"
)

// IsAction reports whether a node of kind k is done by a runner, in attempts
// with retries and a timeout.
func (k Kind) IsAction() bool {
	switch k {
	case Agent, HTTP, Exec, Worker, Tool:
		return true
	}
	return false
}

// Fixed is a prompt and settings that do not depend on the run.
type Fixed struct {
	Prompt   string
	Settings map[string]any
}

// Node is one node of a Workflow. Of the fields after OnFailure only those of
// its kind are set.
type Node struct {
	Index int
	ID    string
	Kind  Kind
	Def   *NodeDef

	Out       []*Edge // routing edges (conditional, default, unconditional) in declared order
	In        []*Edge // every edge that ends here, by Edge.Index
	OnError   *Edge   // nil: none
	OnTimeout *Edge   // nil: none

	Set       []SetExpr // in the definition's order
	Expect    *Schema   // of the result; nil: any
	Retry     Retry
	Timeout   time.Duration // of one attempt; of the whole for human, wait and chat
	MaxVisits int

	Join      Join
	OnFailure OnFailure

	// Runs reports whether the node needs a runner: actions, a chat, whose attempts are
	// turns, a plan, which has to be made, and a converge with a prompt.
	Runs bool

	Prompt *expr.Template // agent, human, converge
	// Settings holds the kind's other fields under their names in the definition
	// (http: url, headers, body, …; exec: command, env, …; worker: worker, input;
	// agent: agent, role, max_tokens, …), those without ${…} as literal templates.
	// Which are plain words and numbers, Def.Text and Def.Int return.
	Settings map[string]*expr.Template
	// Fixed is what every task of the node is given, if neither Prompt nor Settings has a
	// ${…}; nil otherwise.
	Fixed *Fixed

	Form     *Schema        // human
	Child    *expr.Template // workflow and foreach over a workflow: the child's input
	Items    *expr.Template // foreach: the list
	Do       *Node          // foreach: the node done for each item, plan: for each task; its Index is -1
	WaitFor  *expr.Template // wait: a duration, as a string of Go's form or a number of seconds
	WaitTill *expr.Template // wait: a time, RFC 3339
	Message  *expr.Template // end
	Chat     *ChatSpec      // chat
	Plan     *PlanSpec      // plan
}

// Conditional reports whether the node's routing looks at conditions: it then
// takes exactly one edge. Otherwise it takes all.
func (n *Node) Conditional() bool {
	for _, e := range n.Out {
		if e.If != nil {
			return true
		}
	}
	return false
}

// EdgeRole says when an edge is taken.
type EdgeRole uint8

// Edge roles.
const (
	Route     EdgeRole = iota // when the node completed
	OnError                   // when it failed for good
	OnTimeout                 // when its deadline passed
)

// Edge is one edge of a Workflow.
type Edge struct {
	Index    int
	From, To int // node indexes
	Role     EdgeRole
	If       *expr.Condition // nil: unconditional
	Default  bool            // taken when no condition is met; also a lone unconditional edge beside conditional ones
	Back     bool            // its target dominates its source: it closes a loop
}

// SetExpr sets a state key from the node's result.
type SetExpr struct {
	Key   string
	Value *expr.Template
}

// StateKey is a declared key of a run's state.
type StateKey struct {
	Name    string
	Type    string // JSON Schema type name, "" = any
	Default any    // nil: unset until written
	Reduce  Reduce
}

// Reduce says how several writes of a key become one value. The zero value
// lets the last in branch order win.
type Reduce string

// Reducers.
const (
	ReduceLast   Reduce = ""
	ReduceAppend Reduce = "append" // list + list; a value that is no list counts as a list of it
	ReduceSum    Reduce = "sum"
	ReduceMin    Reduce = "min"
	ReduceMax    Reduce = "max"
	ReduceMerge  Reduce = "merge" // object, right over left, top level
	ReduceUnion  Reduce = "union" // list without what is there already
	ReduceAnd    Reduce = "and"
	ReduceOr     Reduce = "or"
)

// Retry says how often and how soon a node is attempted again.
type Retry struct {
	Max        int           // attempts in all, at least 1
	Backoff    time.Duration // before the second attempt; doubles from there
	MaxBackoff time.Duration
	Then       string // after the last: "" by class, "pause" or "fail"
}

// JoinMode says when a converge node fires.
type JoinMode string

// Join modes.
const (
	JoinAll    JoinMode = "all"
	JoinAny    JoinMode = "any"
	JoinQuorum JoinMode = "quorum"
)

// Join is a converge node's join policy.
type Join struct {
	Mode JoinMode
	N    int // quorum
}

// OnFailure says what a converge node does about branches that failed.
type OnFailure string

// Failure policies.
const (
	FailWait     OnFailure = "wait"
	FailFast     OnFailure = "fail_fast"
	FailContinue OnFailure = "continue"
)

// Hash is a SHA-256.
type Hash [32]byte
