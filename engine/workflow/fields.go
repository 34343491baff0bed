package workflow

import "time"

// form is what a field may hold.
type form uint8

const (
	special  form = iota // read by a function of its own
	aText                // text with ${…}
	aWord                // text without
	aTree                // any value, its text with ${…}
	aTexts               // a list of text with ${…}
	aTextMap             // an object of text with ${…}
	aWords               // a list of text without
	aCount               // a whole number, at least min
	aNumber              // a number from min to max
	aMoney               // an amount in dollars from min to max, in millionths
	aBool
	aSpan   // a duration
	aWait   // a duration or ${…}
	aSchema // a JSON Schema
	aNodeID
	aChoice // one of choices
)

// field is one field of definitions. The tables below are what the parser, the
// JSON Schema and the messages know of them.
type field struct {
	name     string
	form     form
	doc      string
	required bool
	min, max float64
	choices  []string
}

var topFields = []field{
	{name: "name", form: aWord, required: true, doc: "What the workflow is called. Versions of one name follow one another."},
	{name: "description", form: aWord, doc: "What the workflow is for."},
	{name: "input", form: aSchema, doc: "JSON Schema of the run's input."},
	{name: "state", doc: "The keys of the run's state."},
	{name: "budget", doc: "What a run may spend."},
	{name: "timeout", form: aSpan, doc: "How long a run may take, pauses included: 90s, 1h, 2d."},
	{name: "entry", form: aNodeID, doc: "The first node. Without it every node without incoming edges starts with the run."},
	{name: "nodes", required: true, doc: "The nodes, by id."},
	{name: "edges", doc: "The edges, in the order their conditions are tried."},
	{name: "output", form: aTree, doc: "The run's output. Without it, the last result."},
	{name: "metadata", doc: "Anything; kept, not interpreted."},
}

var keyFields = []field{
	{name: "type", form: aChoice, choices: []string{"string", "number", "integer", "boolean", "array", "object", "null"}, doc: "The JSON type of the value."},
	{name: "default", form: aTree, doc: "The value at the start of a run."},
	{name: "reduce", form: aChoice, choices: []string{"append", "sum", "min", "max", "merge", "union", "and", "or"}, doc: "How the writes of parallel nodes become one value. Without it the last in branch order wins."},
	{name: "description", form: aWord, doc: "What the key is for."},
}

var budgetFields = []field{
	{name: "usd", form: aMoney, min: 0, max: MaxUSD, doc: "US dollars, in at most six decimals."},
	{name: "tokens", form: aCount, min: 1, max: MaxTokens, doc: "Tokens, in and out."},
	{name: "on_exceed", form: aChoice, choices: []string{"pause", "fail"}, doc: "What happens to the run then."},
}

var edgeFields = []field{
	{name: "from", form: aNodeID, required: true, doc: "The node the edge leaves."},
	{name: "to", form: aNodeID, required: true, doc: "The node the edge leads to."},
	{name: "if", form: special, doc: "A condition in CEL. Without one the edge is taken always."},
	{name: "default", form: aBool, doc: "Taken when no condition is met."},
}

var retryFields = []field{
	{name: "max", form: aCount, min: 1, max: MaxAttempts, doc: "Attempts in all."},
	{name: "backoff", form: aSpan, doc: "The wait before the second attempt; it doubles from there."},
	{name: "max_backoff", form: aSpan, doc: "The longest wait."},
	{name: "then", form: aChoice, choices: []string{"pause", "fail"}, doc: "What happens after the last attempt. Without it the class of the error decides."},
}

var commonFields = []field{
	{name: "type", form: special, doc: "What the node does, if no key names it."},
	{name: "name", form: aWord, doc: "What people call the node."},
	{name: "description", form: aWord, doc: "What the node is for."},
	{name: "needs", form: special, doc: "Nodes that lead here unconditionally."},
	{name: "set", form: special, doc: "Keys of the state set from the node's result."},
	{name: "expect", form: aSchema, doc: "JSON Schema of the result."},
	{name: "retry", form: special, doc: "How often a failed attempt is repeated."},
	{name: "timeout", form: aSpan, doc: "How long one attempt, or the wait, may take."},
	{name: "max_visits", form: aCount, min: 1, max: MaxVisitLimit, doc: "How often a run may come here. It bounds loops."},
	{name: "on_error", form: aNodeID, doc: "The node to go to when this one failed for good."},
	{name: "on_timeout", form: aNodeID, doc: "The node to go to when the deadline passed."},
	{name: "join", form: special, doc: "When a converge starts: all, any or {quorum: n}."},
	{name: "on_failure", form: aChoice, choices: []string{"wait", "fail_fast", "continue"}, doc: "What a converge does about failed branches, a foreach about failed items and a plan about failed tasks (wait or continue)."},
	{name: "priority", form: aCount, min: -1000, max: 1000, doc: "Higher runs first when there is a queue."},
	{name: "queue", form: aWord, doc: "The queue its runner takes tasks from."},
}

// kindSpec describes a kind of node.
type kindSpec struct {
	kind   Kind
	doc    string
	short  string // the field a bare value stands for
	fields []field
	oneOf  []string // at least one of these is needed
}

var kinds = []kindSpec{
	{kind: Agent, short: "agent", doc: "Asks an agent.", oneOf: []string{"agent", "role"}, fields: []field{
		{name: "agent", form: aWord, doc: "The agent's name."},
		{name: "role", form: aWord, doc: "The role; the engine picks an agent that has it."},
		{name: "prompt", form: aText, doc: "What the agent is asked."},
		{name: "max_tokens", form: aCount, min: 1, doc: "The longest answer."},
		{name: "temperature", form: aNumber, min: 0, max: 2, doc: "How free the answer may be."},
		{name: "tools", form: aWords, doc: "Tools the agent may use."},
		{name: "outputs", form: special, doc: "Keys of the state its answer sets."},
	}},
	{kind: HTTP, short: "url", doc: "Makes an HTTP request.", fields: []field{
		{name: "method", form: aWord, doc: "GET if left out."},
		{name: "url", form: aText, required: true, doc: "Where to."},
		{name: "headers", form: aTextMap, doc: "Request headers."},
		{name: "body", form: aTree, doc: "Text, or a value sent as JSON."},
		{name: "allow_private", form: aBool, doc: "Allow private and loopback addresses."},
	}},
	{kind: Exec, short: "command", doc: "Runs a program.", fields: []field{
		{name: "command", form: aTexts, required: true, doc: "The program and its arguments. There is no shell."},
		{name: "env", form: aTextMap, doc: "Environment variables."},
		{name: "dir", form: aText, doc: "Working directory; a fresh one if left out."},
		{name: "stdin", form: aTree, doc: "Standard input: text, or a value as JSON."},
		{name: "sandbox", form: special, doc: "What the program is kept from: none, rlimits, landlock or full; or an object."},
	}},
	{kind: Worker, short: "worker", doc: "Hands a task to a remote worker.", fields: []field{
		{name: "worker", form: aWord, required: true, doc: "The handler's name."},
		{name: "input", form: aTree, doc: "What the handler gets."},
		{name: "max_tokens", form: aCount, min: 1, max: MaxTokens, doc: "What an attempt may use of a model, in and out: it is reserved before the task is offered."},
		{name: "max_usd", form: aMoney, min: 0, max: MaxUSD, doc: "What that may cost, in dollars."},
	}},
	{kind: Tool, short: "tool", doc: "Calls a tool.", fields: []field{
		{name: "tool", form: aWord, required: true, doc: "The tool's name."},
		{name: "server", form: aWord, doc: "The MCP server that has it."},
		{name: "arguments", form: aTree, doc: "The tool's arguments."},
	}},
	{kind: Decision, doc: "Chooses one edge by condition."},
	{kind: Parallel, doc: "Starts all its branches."},
	{kind: Converge, doc: "Joins branches.", fields: []field{
		{name: "agent", form: aWord, doc: "The agent that combines the inputs."},
		{name: "role", form: aWord, doc: "The role that combines the inputs."},
		{name: "prompt", form: aText, doc: "How to combine them. Without it they are kept by node."},
	}},
	{kind: Human, short: "prompt", doc: "Asks a person.", fields: []field{
		{name: "prompt", form: aText, doc: "The question."},
		{name: "form", form: aSchema, doc: "JSON Schema of the answer."},
		{name: "assignee", form: aWord, doc: "Who is asked."},
	}},
	{kind: Sub, short: "workflow", doc: "Runs another workflow.", fields: []field{
		{name: "workflow", form: aWord, required: true, doc: "Its name."},
		{name: "input", form: aTree, doc: "Its input."},
		{name: "version", form: aCount, min: 1, doc: "Its version; the newest if left out."},
	}},
	{kind: Foreach, short: "items", doc: "Does one thing for each item of a list.", oneOf: []string{"do", "workflow"}, fields: []field{
		{name: "items", form: aTree, required: true, doc: "The list."},
		{name: "as", form: aWord, doc: "A name for the item, beside `item`."},
		{name: "do", form: special, doc: "The node done for each item."},
		{name: "workflow", form: aWord, doc: "The workflow run for each item."},
		{name: "input", form: aTree, doc: "That workflow's input; the item if left out."},
		{name: "version", form: aCount, min: 1, doc: "That workflow's version."},
		{name: "max_parallel", form: aCount, min: 1, max: 10_000, doc: "How many at once."},
	}},
	{kind: Wait, short: "for", doc: "Waits for a time or a signal.", oneOf: []string{"for", "until", "signal"}, fields: []field{
		{name: "for", form: aWait, doc: "How long: 5s, 2d."},
		{name: "until", form: aText, doc: "A time, RFC 3339."},
		{name: "signal", form: aWord, doc: "A signal's name."},
	}},
	{kind: Chat, short: "participants", doc: "A conversation of agents.", fields: []field{
		{name: "participants", form: special, required: true, doc: "Agents or roles; as objects, with a name and a priority."},
		{name: "mode", form: aChoice, choices: []string{string(RoundRobin), string(ByPriority), string(Consensus), string(Debate)}, doc: "Who speaks when, and what they are asked to do; round_robin if left out."},
		{name: "rounds", form: aCount, min: 1, max: MaxRounds, doc: "The most rounds; in each everybody speaks once. 10 if left out."},
		{name: "threshold", form: aNumber, min: 0, max: 1, doc: "The share of the participants that is agreement, in two decimals; 0.75 if left out."},
		{name: "turn_timeout", form: aSpan, doc: "How long one turn may take; who has not answered by then misses it. 5m if left out."},
		{name: "max_tokens", form: aCount, min: 1, doc: "The longest turn."},
		{name: "temperature", form: aNumber, min: 0, max: 2, doc: "How free a turn may be."},
		{name: "prompt", form: aText, doc: "What it is about."},
	}},
	{kind: Plan, short: "goal", doc: "Breaks a goal into tasks and does them.", fields: []field{
		{name: "goal", form: aText, required: true, doc: "What is to be reached."},
		{name: "agent", form: aWord, doc: "The agent that plans."},
		{name: "role", form: aWord, doc: "The role that plans; planner if left out."},
		{name: "roles", form: aWords, doc: "The roles that tasks may be for; any if left out."},
		{name: "max_parallel", form: aCount, min: 1, max: MaxTasks, doc: "How many tasks at once."},
		{name: "max_tokens", form: aCount, min: 1, doc: "The longest answer, of the plan and of each task."},
		{name: "temperature", form: aNumber, min: 0, max: 2, doc: "How free the answers may be."},
	}},
	{kind: End, short: "end", doc: "Ends a branch or the run.", fields: []field{
		{name: "end", form: aChoice, required: true, choices: []string{"completed", "failed"}, doc: "failed ends the run, completed this branch."},
		{name: "message", form: aText, doc: "Why."},
	}},
}

func specOf(k Kind) *kindSpec {
	for i := range kinds {
		if kinds[i].kind == k {
			return &kinds[i]
		}
	}
	return nil
}

func (s *kindSpec) field(name string) *field { return find(s.fields, name) }

func find(fields []field, name string) *field {
	for i := range fields {
		if fields[i].name == name {
			return &fields[i]
		}
	}
	return nil
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i := range kinds {
		names[i] = string(kinds[i].kind)
	}
	return names
}

func fieldNames(tables ...[]field) []string {
	var names []string
	for _, t := range tables {
		for _, f := range t {
			names = append(names, f.name)
		}
	}
	return names
}

// Defaults of nodes.
const (
	DefaultMaxVisits  = 100
	DefaultAttempts   = 3
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = 60 * time.Second
	DefaultTimeout    = 300 * time.Second // of an attempt
)
