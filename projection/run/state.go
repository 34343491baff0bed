package run

import (
	"maps"
	"slices"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Status is where a run stands.
type Status string

// Run statuses.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Waiting   Status = "waiting" // nothing can proceed without an answer, a signal or a timer
	Paused    Status = "paused"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Terminal reports whether a run in status s has ended.
func (s Status) Terminal() bool { return s == Completed || s == Failed || s == Cancelled }

// NodeStatus is where the latest visit of a node stands.
type NodeStatus string

// Node statuses.
const (
	NodeScheduled NodeStatus = "scheduled"
	NodeRunning   NodeStatus = "running"
	NodeWaiting   NodeStatus = "waiting"
	NodeCompleted NodeStatus = "completed"
	NodeFailed    NodeStatus = "failed"
	NodeSkipped   NodeStatus = "skipped"
)

// State is one run as the fold of its events. It is not safe for concurrent use.
//
// Every field follows from the events alone; [State.Apply] is the only way it
// changes.
type State struct {
	Run     eventlog.RunID
	Seq     eventlog.Seq     // of the last event applied
	Version eventlog.Version // of the last event applied
	Time    event.Time       // of the last event applied

	Status    Status
	Namespace event.Namespace
	Workflow  string
	WFVer     int
	Hash      string
	Input     event.Value
	Env       Map[string]
	Labels    Map[string]
	Parent    *event.Parent
	Origin    *Origin // of a fork
	Depth     int
	Key       string // idempotency key of the command that started it
	Deadline  event.Time
	Budget    event.Value // that it was started with, as it was written
	Created   event.Time
	Ended     event.Time
	Output    event.Value // of a completed run
	Last      event.Value // the last result, which is the output unless the definition says otherwise
	Failure   *event.Failure
	Errors    []event.Failure
	Reason    string // why it is paused or cancelled
	Usage     event.Usage

	// Vars is the run's state as a reader sees it: every write, in log order,
	// and in branch order once parallel branches have met.
	Vars Map[event.Value]

	Nodes  Map[*Node]  // every node that was ever scheduled, by ID
	Live   Map[*Visit] // visits under way, by node ID: one per node; items of a foreach by "node[i]"
	Tokens []*Token    // tokens that wait at a node, in log order
	Halted []*Visit    // of a failed run: what a retry takes up again

	Timers  []Timer
	Signals Map[[]event.Value] // received and not consumed, oldest first
	Marks   []Mark             // named and pinned checkpoints, oldest first
	Keys    []string           // idempotency keys of the last MaxKeys commands, oldest first
	Expired bool               // its own deadline has passed
	// Erased: what an event of it said is gone, and a rest of it was folded.
	// Archived: some events came from an archive.
	Erased, Archived bool

	Breaks []string // breakpoints, as they were written
	Break  *Place   // paused at one: what the run was about to do
	Passed []Place  // where it was resumed at one, and has not done it yet

	// Parallel branches: see thread.go.
	Journal []Entry
	Forked  bool             // a journal is open: several branches are under way
	Base    Map[event.Value] // Forked: Vars before the journal began
	Epoch   int              // journals closed so far
	Done    []Thread         // branches that ended without meeting the others

	// Money: see cost.go.
	Limits *event.Limits // nil: its calls are neither reserved nor charged
	Spent  event.Spend
	Holds  []Hold // calls not settled, in log order
	Gone   []event.CallID
	Over   *Over // a budget that was used up, until the run goes on

	// Past returns the fold of this run's events up to and including version v.
	// It is needed only to apply a run.restored, and is not part of the state.
	Past func(v eventlog.Version) (*State, error) `msgpack:"-"`
	// Other does the same for another run; it is needed only to apply a run.forked.
	Other func(id eventlog.RunID, v eventlog.Version) (*State, error) `msgpack:"-"`
}

// MaxKeys is how many idempotency keys of commands a run remembers.
const MaxKeys = 256

// Node is what is kept of a node across its visits.
type Node struct {
	Status    NodeStatus
	Visits    int         // number of the latest visit; never rolls back
	Counted   int         // visits that count against max_visits; rolls back with a restore
	Completed int         // completed visits; never rolls back
	Result    event.Value // of the latest completed visit
	Seen      event.Value // Result before the journal began, while there is a journal
	Failure   *event.Failure
	Agent     string // who did, or does, its latest attempt
	// Kept is what a visit had got when a restore made it begin anew: items that
	// have ended, or the answer. The next visit has it from the start.
	Kept *Visit
}

// Token is the right of a node to start, with what was delivered.
type Token struct {
	To, From string
	Visit    int // of From; 0 for the token an entry node starts with
	Thread   Thread
	Result   event.Value
	Failure  *event.Failure // the branch failed
	Source   *Visit         // with Failure: the visit that failed, for a retry of the run
}

// Visit is one visit of a node, under way.
type Visit struct {
	Node    string
	Visit   int
	Status  NodeStatus
	Attempt int                // latest attempt; 0 before the first
	Tried   int                // attempts that count against retry.max
	Agent   *event.AgentChosen // who does attempt Agent.Attempt; nil: nobody was chosen
	Calls   int                // of tools, in the latest attempt that called any
	Thread  Thread
	Inputs  []*Token
	Epoch   int  // State.Epoch when it began; the inputs' threads are of that journal
	Stale   bool // it failed before a position that was restored: its number is used up

	RetryAt event.Time // the next attempt is due then; 0: none is owed
	Losses  int        // attempts lost in a row
	Failure *event.Failure
	Errors  []event.Failure
	Then    string     // what follows the failure: an event.Then constant
	To      string     // the node the failure goes to
	DueAt   event.Time // ThenRetry: when the next attempt is to be due
	Fired   string     // the purpose of its timer that has fired

	Checkpoint event.Value // how far an attempt before had come; none: nobody said

	// Once the result is known, until every edge is taken.
	Result  event.Value
	Answer  []event.KV
	Sets    int              // state.set events still owed
	SetDone int              // and done
	Last    bool             // no edge leaves the node
	Direct  bool             // nothing else was under way: writes go past the journal
	Old     Map[event.Value] // Direct: what the keys it has set were before
	Taken   int              // edges taken
	Entry   int              // index of its journal entry, if not Direct

	Asked  bool  // human: the question is in the log
	Held   *Held // a result that does not count yet
	Signal string

	Child   eventlog.RunID
	Ordered bool // Child is set

	Chat *Chat // chat; nil: nobody has spoken
	Each *Each // foreach; plan, once it is made
	// Items is the machine's memo of a foreach's items, which follow from what the
	// visit sees.
	Items []any `msgpack:"-"`
	// Given is its memo of the input and result that all items of a foreach see: to
	// decode them once an item would take as long as there are items, squared.
	Given *Given `msgpack:"-"`
	// Short is the machine's memo of what its next attempt waits for.
	Short *Short `msgpack:"-"`
	// Item is set on the visit of one item: its number, from 1; 0 otherwise.
	Item int
	Of   string // Item: the foreach node
	Role string // Item of a plan: the role that does it
}

// Given is what the items of a foreach see alike.
type Given struct {
	Result  event.Value    // what was delivered to the foreach
	Decoded map[string]any // the variables input and result
}

// Each is the progress of a foreach, or of a plan, whose tasks are its items.
type Each struct {
	Plan    *event.PlanMade
	Next    int           // items below it were scheduled; of a plan, so many were
	Open    int           // scheduled and not ended
	Results []event.Value // by item; none: not ended
	Ended   int
	Again   []Redo // items below Next to be scheduled again, after a retry or a restore
	// Failures of the items that fail it. Once there is one no further item of a foreach
	// is scheduled, and of a plan none that builds on it.
	Failures []event.Failure
	Answers  []ItemAnswer // state that items' answers set, in log order
}

// Redo is an item, from 0, that is to be done again.
type Redo struct {
	Item    int
	Attempt int // its latest in this visit: a late result of that must not count
}

// ItemAnswer is what the answer of one item, from 0, sets once all have ended.
type ItemAnswer struct {
	Item int
	Set  []event.KV
}

// Timer is something that is due.
type Timer struct {
	Node  string
	Visit int
	For   string
	At    event.Time
}

// Mark is a named or pinned checkpoint.
type Mark struct {
	At     eventlog.Version
	Name   string
	Pinned bool
	Time   event.Time
}

// New returns the state of a run without events.
func New(id eventlog.RunID) *State {
	return &State{
		Run:     id,
		Status:  Pending,
		Vars:    map[string]event.Value{},
		Nodes:   map[string]*Node{},
		Live:    map[string]*Visit{},
		Signals: map[string][]event.Value{},
	}
}

// Node returns what is kept of node id, creating it.
func (s *State) node(id string) *Node {
	n := s.Nodes[id]
	if n == nil {
		n = &Node{}
		s.Nodes[id] = n
	}
	return n
}

// HasKey reports whether a command with this idempotency key was applied.
func (s *State) HasKey(key string) bool { return key != "" && slices.Contains(s.Keys, key) }

// TokensAt returns the tokens that wait at node id, in log order.
func (s *State) TokensAt(id string) []*Token { return s.AppendTokensAt(nil, id) }

// AppendTokensAt appends them to ts.
func (s *State) AppendTokensAt(ts []*Token, id string) []*Token {
	for _, t := range s.Tokens {
		if t.To == id {
			ts = append(ts, t)
		}
	}
	return ts
}

// Timer returns the timer of a visit for a purpose, nil if there is none.
func (s *State) Timer(node string, visit int, purpose string) *Timer {
	for i := range s.Timers {
		if t := &s.Timers[i]; t.Node == node && t.Visit == visit && t.For == purpose {
			return t
		}
	}
	return nil
}

// LiveIDs returns the keys of Live, sorted.
func (s *State) LiveIDs() []string { return slices.Sorted(maps.Keys(s.Live)) }
