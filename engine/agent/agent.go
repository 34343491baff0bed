package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// Task is one attempt of one visit of a node, with every setting evaluated. It
// may hold secrets: it is never stored or logged.
type Task struct {
	Run       eventlog.RunID
	Namespace event.Namespace
	Workflow  string
	Node      string // of a foreach's item: "node[i]"
	Visit     int
	Attempt   int
	Depth     int // of the run among child runs

	Kind     workflow.Kind
	Def      *workflow.Node // literal settings; shared, not to be changed
	Agent    *roster.Agent  // who does it; nil: nobody, or nobody was chosen
	Prompt   string         // "" if the node has none
	Settings map[string]any // the node's settings, evaluated, by their name in the definition; not to be changed
	Input    event.Value    // what was delivered to the node; none: nothing
	Timeout  time.Duration
	Asks     *workflow.Asks // what the definition needs to know from the answer; nil: nothing
	Turn     *Turn          // of a chat: what the attempt is; nil otherwise
	Part     *Part          // a task of a plan; nil otherwise
	Before   *event.Failure // of the attempt before; nil: there was none, or it did not fail

	// Traceparent is the attempt's place in its trace, for what it calls; "": there is none.
	Traceparent string

	// Show shows pieces of the answer to those who watch, as they come; nil: nobody can.
	// It does not block, and nothing of it is kept.
	Show func(piece string)
	// Doing says what the attempt does at the moment; nil: nobody wants to know.
	Doing func(what string)
	// Note has a call of a tool recorded, and returns once that is on disk. ErrNotCurrent
	// says that the attempt no longer counts. nil: nothing is recorded.
	Note func(ctx context.Context, p *event.ToolCalled) error
	// Screen has what a tool said looked at, before it is recorded or told to a model. The
	// error is why it is not to be. nil: nobody looks.
	Screen func(ctx context.Context, tool string, said ...any) error
	// Workflows has runs of workflows started for tools; nil: nobody does.
	Workflows Workflows
	// Reserve has a further call of the model reserved, of so many characters and at most
	// so many tokens in answer; turn counts them, from 1. ErrNotCurrent says that it cannot
	// be made. nil: nothing is reserved.
	Reserve func(ctx context.Context, turn int, chars, output int64, used *event.Usage) error
	// Redact takes secrets out of texts. The engine takes them out of an Answer by
	// itself; a runner needs it for what it cuts, or tells others.
	Redact *secret.Redactor
}

// Key is the same for every attempt of a visit, of a chat for every one of a turn, so
// that the other side can tell a repetition from a new request.
func (t *Task) Key() string {
	key := fmt.Sprintf("%s/%s/%d", t.Run, t.Node, t.Visit)
	if t.Turn != nil {
		key += fmt.Sprintf("/%d", t.Turn.Number)
	}
	return key
}

// Answer is what became of a task.
type Answer struct {
	Result  any            // nil, bool, int64, float64, string, []any or map[string]any
	Set     map[string]any // state that the answer itself sets
	Usage   *event.Usage
	Failure *Failure // nil: it went well
	Sandbox string   // the level that a program ran at; "": none ran
}

// Redact takes secrets out of an answer.
func (a *Answer) Redact(r *secret.Redactor) {
	a.Result = r.Value(a.Result)
	if len(a.Set) > 0 {
		a.Set, _ = r.Value(a.Set).(map[string]any)
	}
	if f := a.Failure; f != nil {
		clean := *f
		clean.Message = r.Text(f.Message)
		a.Failure = &clean
	}
}

// Failure says why a task has no result.
type Failure struct {
	Class   string // an event.Class constant
	Message string
	Again   *bool         // whether a further attempt makes sense; nil: the class says
	After   time.Duration // what the other side asked to wait; 0 = nothing
}

// Error makes a Failure an error.
func (f *Failure) Error() string { return f.Class + ": " + f.Message }

// Fail returns an Answer that failed.
func Fail(class, format string, args ...any) Answer {
	return Answer{Failure: &Failure{Class: class, Message: fmt.Sprintf(format, args...)}}
}

// Runner does tasks. Run is called from many goroutines at once, once per
// attempt, and returns soon after ctx is done; ctx carries the task's timeout.
// A panic in Run fails the attempt, not the daemon.
type Runner interface {
	Run(ctx context.Context, t *Task) Answer
}

// RunnerFunc makes a function a Runner.
type RunnerFunc func(ctx context.Context, t *Task) Answer

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context, t *Task) Answer { return f(ctx, t) }
