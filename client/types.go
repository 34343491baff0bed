package client

import (
	"encoding/json"
	"time"
)

// Run is a run as the API answers it.
type Run struct {
	ID          string            `json:"id"`
	Namespace   string            `json:"namespace"` // "": the default one
	Workflow    string            `json:"workflow"`
	Version     int               `json:"workflow_version"`
	Hash        string            `json:"hash"`
	Status      string            `json:"status"`
	Why         string            `json:"why"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
	Ended       time.Time         `json:"ended"`
	Deadline    time.Time         `json:"deadline"`
	Seq         uint64            `json:"seq"`
	At          uint64            `json:"version"`
	Labels      map[string]string `json:"labels"`
	Parent      *Parent           `json:"parent"`
	Input       json.RawMessage   `json:"input"`
	Output      json.RawMessage   `json:"output"`
	Error       *Failure          `json:"error"`
	Errors      []Failure         `json:"errors"`
	Waits       []Wait            `json:"waits"`
	Usage       Usage             `json:"usage"`
	Idle        bool              `json:"idle"`
	Breakpoints []string          `json:"breakpoints"`
	Content     string            `json:"content"`
	// Breakpoint is set on a run that is paused at one.
	Breakpoint *Breakpoint `json:"breakpoint"`

	// Raw is the run as it came, with what this type has no field for. The methods of
	// Client set it.
	Raw json.RawMessage `json:"-"`
}

// Breakpoint is what a run is about to do.
type Breakpoint struct {
	Node  string `json:"node"`
	Visit int    `json:"visit"`
	To    string `json:"to"`
}

// Terminal reports whether the run has ended.
func (r *Run) Terminal() bool {
	return r.Status == "completed" || r.Status == "failed" || r.Status == "cancelled"
}

// Settled reports whether the run has ended or is paused.
func (r *Run) Settled() bool { return r.Terminal() || r.Status == "paused" }

// Parent is the node of another run that a run was started by.
type Parent struct {
	Run   string `json:"run"`
	Node  string `json:"node"`
	Visit int    `json:"visit"`
}

// Failure says why something failed.
type Failure struct {
	Class   string `json:"class"`
	Message string `json:"message"`
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
}

// Wait is one thing a run waits for.
type Wait struct {
	Node  string    `json:"node"`
	For   string    `json:"for"`
	Name  string    `json:"name"`
	Until time.Time `json:"until"`
}

// Usage is what was consumed.
type Usage struct {
	Input  int64 `json:"input_tokens"`
	Output int64 `json:"output_tokens"`
}

// Row is a run as lists show it.
type Row struct {
	ID        string            `json:"id"`
	Workflow  string            `json:"workflow"`
	Status    string            `json:"status"`
	Created   time.Time         `json:"created"`
	Updated   time.Time         `json:"updated"`
	Ended     time.Time         `json:"ended"`
	Completed int               `json:"completed"`
	Failures  int               `json:"failures"`
	Labels    map[string]string `json:"labels"`
	Waits     []Wait            `json:"waits"`
	Reason    string            `json:"reason"`
	Failure   *Failure          `json:"failure"`
	Erased    string            `json:"erased"`
	Damaged   uint64            `json:"damaged"` // seq at which the log has lost an event of it
	Why       string            `json:"why"`
}

// State is a run's state.
type State struct {
	Run     string                     `json:"run"`
	Seq     uint64                     `json:"seq"`
	Version uint64                     `json:"version"`
	Status  string                     `json:"status"`
	State   map[string]json.RawMessage `json:"state"`
	Nodes   map[string]Node            `json:"nodes"`
	Output  json.RawMessage            `json:"output"`
	Error   *Failure                   `json:"error"`
}

// Node is a node of a State.
type Node struct {
	Status  string          `json:"status"`
	Visits  int             `json:"visits"`
	Attempt int             `json:"attempt"`
	Result  json.RawMessage `json:"result"`
	Error   *Failure        `json:"error"`
	Child   string          `json:"child"`
}

// Event is an event of the log.
type Event struct {
	Seq     uint64          `json:"seq"`
	Run     string          `json:"run"`
	Version uint64          `json:"version"`
	Time    time.Time       `json:"time"`
	Kind    string          `json:"kind"`
	Actor   string          `json:"actor"`
	Data    json.RawMessage `json:"data"`
	Erased  bool            `json:"erased"`
}

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next_cursor"`
}

// Checkpoint is a position that a run can be restored to.
type Checkpoint struct {
	At      uint64    `json:"at"`
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	Visit   int       `json:"visit"`
	Name    string    `json:"name"`
	Pinned  bool      `json:"pinned"`
	Current bool      `json:"current"`
}

// Input is a question that waits for an answer.
type Input struct {
	Run      string          `json:"run"`
	Node     string          `json:"node"`
	Visit    int             `json:"visit"`
	Workflow string          `json:"workflow"`
	Prompt   string          `json:"prompt"`
	Form     json.RawMessage `json:"form"`
	Assignee string          `json:"assignee"`
	Asked    time.Time       `json:"asked"`
	Due      time.Time       `json:"due"`
}

// Worker is a worker that has polled lately.
type Worker struct {
	Name     string     `json:"name"`
	State    string     `json:"state"`
	Queues   []string   `json:"queues"`
	Handlers []string   `json:"handlers"`
	Seen     time.Time  `json:"seen"`
	Tasks    []HeldTask `json:"tasks"`
}

// HeldTask is a task that a worker holds.
type HeldTask struct {
	ID       string    `json:"id"`
	Run      string    `json:"run"`
	Node     string    `json:"node"`
	Visit    int       `json:"visit"`
	Attempt  int       `json:"attempt"`
	Since    time.Time `json:"since"`
	Progress string    `json:"progress"`
}

// Definition is a registered version of a workflow.
type Definition struct {
	Name       string          `json:"name"`
	Version    int             `json:"version"`
	Hash       string          `json:"hash"`
	Registered time.Time       `json:"registered"`
	JSON       json.RawMessage `json:"definition"`
	Source     string          `json:"source"`
}
