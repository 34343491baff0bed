package event

import (
	"time"

	"github.com/wfd-dev/wfd/eventlog"
)

// Payload is the typed content of one event.
type Payload interface {
	Kind() eventlog.Kind
	code(*coder)
}

// Time is a moment in Unix nanoseconds UTC; 0 means none. In JSON it is RFC 3339.
type Time int64

// At returns t as a Time.
func At(t time.Time) Time { return Time(t.UnixNano()) }

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// MarshalJSON writes RFC 3339 with nanoseconds.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(t.Std().Format(`"` + time.RFC3339Nano + `"`)), nil
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (t *Time) UnmarshalJSON(b []byte) error {
	var std time.Time
	if err := std.UnmarshalJSON(b); err != nil {
		return err
	}
	*t = At(std)
	return nil
}

// Failure says why an attempt, a node or a run failed.
type Failure struct {
	Class   string `json:"class"` // one of the Class constants
	Message string `json:"message"`
	Node    string `json:"node,omitempty"`
	Visit   int    `json:"visit,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
}

// Error makes a Failure an error.
func (f *Failure) Error() string { return f.Class + ": " + f.Message }

// Failure classes.
const (
	ClassTimeout       = "timeout"
	ClassNetwork       = "network"
	ClassRateLimit     = "rate_limit"
	ClassUnavailable   = "unavailable"
	ClassToolFailed    = "tool_failed"
	ClassInvalidOutput = "invalid_output"
	ClassBudget        = "budget"
	ClassAuth          = "auth"
	ClassNotFound      = "not_found"
	ClassCancelled     = "cancelled"
	ClassInternal      = "internal"
	ClassEnd           = "end" // the definition itself ended the run: end: failed
)

// KV is one key of a small ordered map.
type KV struct {
	Key   string
	Value Value
}

// DefinitionRegistered: a definition got a name and a version. It stands in the
// system stream "workflows".
type DefinitionRegistered struct {
	Name    string `json:"name"`
	Version int    `json:"version"` // of the name, from 1
	Hash    string `json:"hash"`    // hex SHA-256 of Definition
	// Definition is the canonical JSON; Source the text as it was handed in.
	Definition string `json:"definition"`
	Source     string `json:"source,omitempty"`
	// Origin is set if the definition came with runs of another log, where it has
	// this name and version: here it is found by its hash alone.
	Origin string `json:"origin,omitempty"`
	// Namespace is where the name stands for it.
	Namespace Namespace `json:"namespace,omitempty"`
}

// Parent names the node of another run that a run is the child of.
type Parent struct {
	Run   eventlog.RunID `json:"run"`
	Node  string         `json:"node"`
	Visit int            `json:"visit"`
	// Tool is the tool of an agent as which the run was called; "": the node ordered it.
	Tool string `json:"tool,omitempty"`
}

// RunCreated: a run exists and its entry nodes hold a token each.
type RunCreated struct {
	Workflow string            `json:"workflow"`
	Version  int               `json:"workflow_version,omitempty"`
	Hash     string            `json:"hash"`
	Input    Value             `json:"input"`
	Entry    []string          `json:"entry"`
	Labels   map[string]string `json:"labels,omitempty"`
	Env      map[string]string `json:"env,omitempty"` // allow-listed variables, as they were at creation
	Defaults []KV              `json:"-"`             // declared state with a default
	Parent   *Parent           `json:"parent,omitempty"`
	Depth    int               `json:"depth,omitempty"` // of nesting; 0 for a run without a parent
	Deadline Time              `json:"deadline,omitzero"`
	Key      string            `json:"key,omitempty"` // idempotency key of the command
	Budget   Value             `json:"budget,omitempty"`
	// Breakpoints are the places at which the run is paused, as they were written.
	Breakpoints []string `json:"breakpoints,omitempty"`
	// Limits are what the run may spend, of its definition and of Budget. nil: it began
	// before calls were reserved and charged, and goes on without.
	Limits    *Limits   `json:"limits,omitempty"`
	Namespace Namespace `json:"namespace,omitempty"`
}

// RunCompleted: the run ended well.
type RunCompleted struct {
	Output Value `json:"output"`
}

// RunFailed: the run ended; nodes still at work were skipped before.
type RunFailed struct {
	Failure
	Errors []Failure `json:"errors,omitempty"` // every cause, where there are several
}

// RunCancelled: a person or a parent ended the run.
type RunCancelled struct {
	Reason string `json:"reason,omitempty"`
	Key    string `json:"key,omitempty"`
}

// RunPaused: no node is started until the run is resumed. With Breakpoint the run
// came to one: before the visit begins or, with To, before the visit's edge to that
// node is taken.
type RunPaused struct {
	Reason     string `json:"reason,omitempty"`
	Key        string `json:"key,omitempty"`
	Breakpoint string `json:"breakpoint,omitempty"`
	Node       string `json:"node,omitempty"`
	Visit      int    `json:"visit,omitempty"`
	To         string `json:"to,omitempty"`
}

// RunResumed: a paused run goes on, or (Retry) a failed one tries its failed
// nodes again.
type RunResumed struct {
	Reason string `json:"reason,omitempty"`
	Retry  bool   `json:"retry,omitempty"`
	Key    string `json:"key,omitempty"`
	// Rebreak says that Breakpoints take the place of those that the run had.
	Rebreak     bool     `json:"rebreak,omitempty"`
	Breakpoints []string `json:"breakpoints,omitempty"`
}

// Wait is one thing a run waits for.
type Wait struct {
	Node  string `json:"node"`
	For   string `json:"for"` // input, signal, timer, retry
	Name  string `json:"name,omitempty"`
	Until Time   `json:"until,omitzero"`
}

// RunWaiting: nothing can proceed without an answer, a signal or a timer.
type RunWaiting struct {
	On []Wait `json:"on"` // the first few, soonest first
}

// RunRestored: the run goes on from its position after version To. With Node it is
// a failed run that is retried from just before that visit.
type RunRestored struct {
	To     eventlog.Version `json:"to"`
	Name   string           `json:"name,omitempty"` // of the checkpoint
	Pause  bool             `json:"pause,omitempty"`
	Key    string           `json:"key,omitempty"`
	Node   string           `json:"node,omitempty"`
	Visit  int              `json:"visit,omitempty"`
	Reason string           `json:"reason,omitempty"`
}

// RunForked: the run begins where another run stood after version At, with its
// results; what was under way there is begun anew. It is the run's first event.
type RunForked struct {
	From     eventlog.RunID    `json:"from"`
	At       eventlog.Version  `json:"at"`
	Workflow string            `json:"workflow"`
	Version  int               `json:"workflow_version,omitempty"`
	Hash     string            `json:"hash"`
	Input    Value             `json:"input,omitempty"` // none: that of the other run
	Labels   map[string]string `json:"labels,omitempty"`
	Env      map[string]string `json:"env,omitempty"`
	Deadline Time              `json:"deadline,omitzero"`
	Pause    bool              `json:"pause,omitempty"`
	Key      string            `json:"key,omitempty"`
	// Breakpoints are those of this run; the other run's are not taken over.
	Breakpoints []string `json:"breakpoints,omitempty"`
	// Anew names foreach nodes that were under way, and whose items may be others
	// here: all of them are done again.
	Anew []string `json:"anew,omitempty"`
	// Limits are what this run may spend; nil as in RunCreated.
	Limits *Limits `json:"limits,omitempty"`
	// Namespace is that of the other run.
	Namespace Namespace `json:"namespace,omitempty"`
}

// NodeScheduled: a visit of the node begins; it consumes every token that the
// node holds. For item i of a foreach the node is "node[i]" and no token is
// consumed.
type NodeScheduled struct {
	Node  string `json:"node"`
	Visit int    `json:"visit"`
	// Signal is what a wait node waits for from here on.
	Signal string `json:"signal,omitempty"`
}

// NodeStarted: an attempt was handed to a runner, or (Each) a foreach found that
// it has Items items.
type NodeStarted struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	Each    bool   `json:"-"`
	Items   int    `json:"items,omitempty"`
}

// NodeCompleted: the visit has its result. Exactly one per node and visit.
type NodeCompleted struct {
	Node    string   `json:"node"`
	Visit   int      `json:"visit"`
	Attempt int      `json:"attempt,omitempty"` // 0 for nodes without a runner
	Result  Value    `json:"result,omitempty"`
	Passes  string   `json:"passes,omitempty"`  // instead of Result: PassInput or PassInputs
	Set     []KV     `json:"-"`                 // state the answer itself sets, declared keys only, sorted
	Sets    int      `json:"-"`                 // how many state.set events follow for this visit
	Last    bool     `json:"-"`                 // no edge leaves the node
	Dropped []string `json:"dropped,omitempty"` // keys the answer set that are not declared
	Usage   *Usage   `json:"usage,omitempty"`
	Signal  string   `json:"signal,omitempty"` // the oldest signal of this name was consumed
	// Sandbox is the level that the attempt's program ran at; "": it had none, or the event
	// is of before that was told. So it is in NodeFailed.
	Sandbox string `json:"sandbox,omitempty"`
}

// What a node without a runner passes on as its result.
const (
	PassInput  = "input"  // what was delivered to it: one input as it is, several keyed by node
	PassInputs = "inputs" // what was delivered to it, keyed by node
)

// Reasons of NodeSkipped.
const (
	SkipRunEnded = "run ended"  // a failed run that is retried takes these up again
	SkipJoined   = "join fired" // a converge did not wait for it
)

// NodeFailed: an attempt, or a node without a runner, failed. Then says what
// follows.
type NodeFailed struct {
	Failure
	Then    string `json:"then"`         // one of the Then constants
	To      string `json:"to,omitempty"` // the node the failure goes to
	RetryAt Time   `json:"retry_at,omitzero"`
	Usage   *Usage `json:"usage,omitempty"`
	// Errors holds every cause, where there are several.
	Errors []Failure `json:"errors,omitempty"`
	// Checkpoint is how far the attempt had come, for the next one.
	Checkpoint Value  `json:"checkpoint,omitempty"`
	Sandbox    string `json:"sandbox,omitempty"`
}

// What follows a failure.
const (
	ThenRetry     = "retry"      // a further attempt
	ThenOnError   = "on_error"   // the node's on_error edge
	ThenOnTimeout = "on_timeout" // the node's on_timeout edge
	ThenConverge  = "converge"   // the nearest converge that every path reaches
	ThenPause     = "pause"      // the run is paused; resuming attempts the node again
	ThenRun       = "run"        // the run fails
	ThenForeach   = "foreach"    // the foreach fails once its open items have ended
	ThenContinue  = "continue"   // the foreach goes on; the item's result is the error
)

// Outcomes of EdgeTaken.
const (
	OutcomeAlways  = "always"  // unconditional
	OutcomeMet     = "met"     // its condition is met
	OutcomeDefault = "default" // no condition is met
	OutcomeError   = "error"   // the node failed: on_error
	OutcomeTimeout = "timeout" // its deadline passed: on_timeout
	OutcomeFailure = "failure" // the node failed, to the converge that gathers failures
)

// NodeRetried: a further attempt is due at At; 0 is at once.
type NodeRetried struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"` // the one that is due
	At      Time   `json:"at,omitzero"`
}

// NodeLost: whoever did the attempt is gone, or gave it back; it does not count
// against retry.max.
type NodeLost struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason,omitempty"`
	// Checkpoint is how far the attempt had come, for the next one.
	Checkpoint Value `json:"checkpoint,omitempty"`
}

// NodeSkipped: a visit that was under way, or tokens that waited, are given up.
// Visit is 0 where tokens waited.
type NodeSkipped struct {
	Node   string `json:"node"`
	Visit  int    `json:"visit,omitempty"`
	Reason string `json:"reason"`
}

// Read is a value that a condition looked at.
type Read struct {
	Name    string `json:"name"`
	Value   Value  `json:"value,omitempty"`
	Missing bool   `json:"missing,omitempty"`
}

// Eval is one condition as it was evaluated.
type Eval struct {
	To    string `json:"to"`
	If    string `json:"if"`
	Met   bool   `json:"met"`
	Reads []Read `json:"reads,omitempty"`
	Err   string `json:"error,omitempty"`
}

// EdgeTaken: a token moved from a node to the next. Of edges are taken from this
// visit in all; this is number Branch, from 0.
type EdgeTaken struct {
	From    string   `json:"from"`
	Visit   int      `json:"visit"`
	To      string   `json:"to"`
	Outcome string   `json:"outcome"` // always, met, default, error, timeout, failure
	Branch  int      `json:"branch,omitempty"`
	Of      int      `json:"of"`
	Evals   []Eval   `json:"evaluated,omitempty"` // up to and including the one taken
	Failure *Failure `json:"failure,omitempty"`   // outcomes error and failure
}

// StateSet: a key of the run's state has Value from here on. Where a reducer
// made it, Operand is what was written.
type StateSet struct {
	Node    string `json:"node,omitempty"`
	Visit   int    `json:"visit,omitempty"`
	Key     string `json:"key"`
	Value   Value  `json:"value"`
	Reduce  string `json:"reduce,omitempty"`
	Operand Value  `json:"operand,omitempty"`
	// Merge marks the value that parallel writers leave once they have met, in
	// branch order.
	Merge bool `json:"merge,omitempty"`
}

// TimerSet: something is due at At. For is "wait", "input", "signal" or "run".
type TimerSet struct {
	Node  string `json:"node,omitempty"`
	Visit int    `json:"visit,omitempty"`
	For   string `json:"for"`
	At    Time   `json:"at"`
}

// TimerFired: its time has come. It names its timer by node, visit and For.
type TimerFired struct {
	Node  string `json:"node,omitempty"`
	Visit int    `json:"visit,omitempty"`
	For   string `json:"for"`
}

// SignalReceived: a message for the run came in.
type SignalReceived struct {
	Name  string `json:"name"`
	Value Value  `json:"value"`
	Key   string `json:"key,omitempty"`
}

// InputRequested: a person is asked.
type InputRequested struct {
	Node     string `json:"node"`
	Visit    int    `json:"visit"`
	Prompt   string `json:"prompt,omitempty"`
	Form     Value  `json:"form,omitempty"` // JSON Schema
	Assignee string `json:"assignee,omitempty"`
}

// InputReceived: the person answered.
type InputReceived struct {
	Node  string `json:"node"`
	Visit int    `json:"visit"`
	Value Value  `json:"value"`
	Key   string `json:"key,omitempty"`
}

// ChildStarted: a child run was ordered. Its ID follows from the parent's, the
// node and the visit, so that ordering it twice creates it once.
type ChildStarted struct {
	Node     string         `json:"node"`
	Visit    int            `json:"visit"`
	Child    eventlog.RunID `json:"child"`
	Workflow string         `json:"workflow"`
	Version  int            `json:"workflow_version,omitempty"` // 0: the newest when it starts
	Input    Value          `json:"input"`
}

// ChildEnded: the child run is terminal.
type ChildEnded struct {
	Node    string         `json:"node"`
	Visit   int            `json:"visit"`
	Child   eventlog.RunID `json:"child"`
	Status  string         `json:"status"`
	Output  Value          `json:"output,omitempty"`
	Failure *Failure       `json:"failure,omitempty"`
}

// CheckpointCreated: a position was named or pinned.
type CheckpointCreated struct {
	At     eventlog.Version `json:"at"`
	Name   string           `json:"name,omitempty"`
	Pinned bool             `json:"pinned,omitempty"`
	Key    string           `json:"key,omitempty"`
}

// CheckpointPruned: automatic checkpoints below a version are no longer listed.
type CheckpointPruned struct {
	Below eventlog.Version `json:"below"`
}

// AgentChosen: who does the attempt that begins next. It stands before the
// attempt's node.started.
type AgentChosen struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	Agent   string `json:"agent"`
	// Role is what the node asked for, "" if it named the agent; then there were
	// Candidates agents that have it.
	Role       string `json:"role,omitempty"`
	Candidates int    `json:"candidates,omitempty"`
	Provider   string `json:"provider"`
	Model      string `json:"model,omitempty"`
	Hash       string `json:"hash"` // of the agent's definition, hex
}

// ToolCalled: an attempt that is under way has had a tool called. It changes nothing by
// itself.
type ToolCalled struct {
	Node      string   `json:"node"`
	Visit     int      `json:"visit"`
	Attempt   int      `json:"attempt"`
	Call      int      `json:"call"` // of the attempt, from 1
	Server    string   `json:"server"`
	Tool      string   `json:"tool"`
	Arguments Value    `json:"arguments"`
	Result    Value    `json:"result,omitempty"`
	Failure   *Failure `json:"error,omitempty"`
	Took      int64    `json:"took_ns"` // how long, in nanoseconds
	// Sandbox is the level that the server's program runs at; "": it is no program.
	Sandbox string `json:"sandbox,omitempty"`
}

// ResultIgnored: a result came that no longer counts.
type ResultIgnored struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason"`
	Usage   *Usage `json:"usage,omitempty"`
}

// Scopes of PayloadErased.
const (
	// ScopeRun: a person had all content of whole runs erased.
	ScopeRun = "run"
	// ScopePayload: a person had the content of single events erased.
	ScopePayload = "payload"
	// ScopeRetention: the payloads of ended runs were moved to an archive, or
	// dropped, as a policy says.
	ScopeRetention = "retention"
)

// PayloadErased: the payloads of events are gone from the log, but for what
// Redact leaves of them. It stands in the system stream "erasures", and before
// anything is erased: a crash in between is made good by the next start.
type PayloadErased struct {
	Scope   string       `json:"scope"`
	Reason  string       `json:"reason"`
	Archive string       `json:"archive,omitempty"` // hex name of the archive that has the payloads
	Targets []ErasedSpan `json:"targets"`
	Key     string       `json:"key,omitempty"` // idempotency key of the command
}

// ErasedSpan is a part of one run whose payloads are gone.
type ErasedSpan struct {
	Run   eventlog.RunID   `json:"run"`
	From  eventlog.Version `json:"from"`
	To    eventlog.Version `json:"to"`
	Bytes int64            `json:"bytes"` // of all payloads of the run that are left
	// Digest is the hex SHA-256 of what is left of these events, in order: for
	// each its version u64 and its length u32, big-endian, and its bytes.
	Digest string `json:"digest"`
}

// Rest says how much of an erased payload is left.
func (p *PayloadErased) Rest() Rest {
	if p.Scope == ScopeRetention {
		return RestText
	}
	return RestNames
}
