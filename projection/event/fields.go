package event

import "github.com/wfd-dev/wfd/eventlog"

// The order of the fields below is on disk: append, never reorder. What is appended
// stands behind later. A field that somebody's words are in is text, a value or a
// map; a str is a name that the fold of a run rests on, and stays when the run is
// erased.

// Kind returns KindDefinitionRegistered.
func (*DefinitionRegistered) Kind() eventlog.Kind { return KindDefinitionRegistered }

func (p *DefinitionRegistered) code(c *coder) {
	c.str(&p.Name)
	c.int(&p.Version)
	c.str(&p.Hash)
	c.text(&p.Definition)
	c.text(&p.Source)
	c.later()
	c.str(&p.Origin)
	c.str((*string)(&p.Namespace))
}

// Kind returns KindRunCreated.
func (*RunCreated) Kind() eventlog.Kind { return KindRunCreated }

func (p *RunCreated) code(c *coder) {
	c.str(&p.Workflow)
	c.int(&p.Version)
	c.str(&p.Hash)
	c.value(&p.Input)
	c.strs(&p.Entry)
	c.strmap(&p.Labels)
	c.strmap(&p.Env)
	c.kvs(&p.Defaults)
	c.parent(&p.Parent)
	c.int(&p.Depth)
	c.time(&p.Deadline)
	c.text(&p.Key)
	c.value(&p.Budget)
	c.later()
	c.strs(&p.Breakpoints)
	optional(c, &p.Limits, codeLimits)
	c.str((*string)(&p.Namespace))
}

// Kind returns KindRunCompleted.
func (*RunCompleted) Kind() eventlog.Kind { return KindRunCompleted }

func (p *RunCompleted) code(c *coder) {
	c.value(&p.Output)
}

// Kind returns KindRunFailed.
func (*RunFailed) Kind() eventlog.Kind { return KindRunFailed }

func (p *RunFailed) code(c *coder) {
	c.failure(&p.Failure)
	c.failures(&p.Errors)
}

// Kind returns KindRunCancelled.
func (*RunCancelled) Kind() eventlog.Kind { return KindRunCancelled }

func (p *RunCancelled) code(c *coder) {
	c.text(&p.Reason)
	c.text(&p.Key)
}

// Kind returns KindRunPaused.
func (*RunPaused) Kind() eventlog.Kind { return KindRunPaused }

func (p *RunPaused) code(c *coder) {
	c.text(&p.Reason)
	c.text(&p.Key)
	c.later()
	c.str(&p.Breakpoint)
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.To)
}

// Kind returns KindRunResumed.
func (*RunResumed) Kind() eventlog.Kind { return KindRunResumed }

func (p *RunResumed) code(c *coder) {
	c.text(&p.Reason)
	c.bool(&p.Retry)
	c.text(&p.Key)
	c.later()
	c.bool(&p.Rebreak)
	c.strs(&p.Breakpoints)
}

// Kind returns KindRunWaiting.
func (*RunWaiting) Kind() eventlog.Kind { return KindRunWaiting }

func (p *RunWaiting) code(c *coder) {
	c.waits(&p.On)
}

// Kind returns KindRunRestored.
func (*RunRestored) Kind() eventlog.Kind { return KindRunRestored }

func (p *RunRestored) code(c *coder) {
	c.version(&p.To)
	c.str(&p.Name)
	c.bool(&p.Pause)
	c.text(&p.Key)
	c.later()
	c.str(&p.Node)
	c.int(&p.Visit)
	c.text(&p.Reason)
}

// Kind returns KindRunForked.
func (*RunForked) Kind() eventlog.Kind { return KindRunForked }

func (p *RunForked) code(c *coder) {
	c.run(&p.From)
	c.version(&p.At)
	c.str(&p.Workflow)
	c.int(&p.Version)
	c.str(&p.Hash)
	c.value(&p.Input)
	c.strmap(&p.Labels)
	c.strmap(&p.Env)
	c.time(&p.Deadline)
	c.bool(&p.Pause)
	c.text(&p.Key)
	c.later()
	c.strs(&p.Breakpoints)
	c.strs(&p.Anew)
	optional(c, &p.Limits, codeLimits)
	c.str((*string)(&p.Namespace))
}

// Kind returns KindNodeScheduled.
func (*NodeScheduled) Kind() eventlog.Kind { return KindNodeScheduled }

func (p *NodeScheduled) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.Signal)
}

// Kind returns KindNodeStarted.
func (*NodeStarted) Kind() eventlog.Kind { return KindNodeStarted }

func (p *NodeStarted) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.bool(&p.Each)
	c.int(&p.Items)
}

// Kind returns KindNodeCompleted.
func (*NodeCompleted) Kind() eventlog.Kind { return KindNodeCompleted }

func (p *NodeCompleted) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.value(&p.Result)
	c.str(&p.Passes)
	c.kvs(&p.Set)
	c.int(&p.Sets)
	c.bool(&p.Last)
	c.texts(&p.Dropped)
	c.usage(&p.Usage)
	c.str(&p.Signal)
	c.later()
	c.str(&p.Sandbox)
}

// Kind returns KindNodeFailed.
func (*NodeFailed) Kind() eventlog.Kind { return KindNodeFailed }

func (p *NodeFailed) code(c *coder) {
	c.failure(&p.Failure)
	c.str(&p.Then)
	c.str(&p.To)
	c.time(&p.RetryAt)
	c.usage(&p.Usage)
	c.failures(&p.Errors)
	c.later()
	c.value(&p.Checkpoint)
	c.str(&p.Sandbox)
}

// Kind returns KindNodeRetried.
func (*NodeRetried) Kind() eventlog.Kind { return KindNodeRetried }

func (p *NodeRetried) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.time(&p.At)
}

// Kind returns KindNodeLost.
func (*NodeLost) Kind() eventlog.Kind { return KindNodeLost }

func (p *NodeLost) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.text(&p.Reason)
	c.later()
	c.value(&p.Checkpoint)
}

// Kind returns KindNodeSkipped.
func (*NodeSkipped) Kind() eventlog.Kind { return KindNodeSkipped }

func (p *NodeSkipped) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.Reason)
}

// Kind returns KindEdgeTaken.
func (*EdgeTaken) Kind() eventlog.Kind { return KindEdgeTaken }

func (p *EdgeTaken) code(c *coder) {
	c.str(&p.From)
	c.int(&p.Visit)
	c.str(&p.To)
	c.str(&p.Outcome)
	c.int(&p.Branch)
	c.int(&p.Of)
	c.evals(&p.Evals)
	c.failureOpt(&p.Failure)
}

// Kind returns KindStateSet.
func (*StateSet) Kind() eventlog.Kind { return KindStateSet }

func (p *StateSet) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.Key)
	c.value(&p.Value)
	c.str(&p.Reduce)
	c.value(&p.Operand)
	c.bool(&p.Merge)
}

// Kind returns KindTimerSet.
func (*TimerSet) Kind() eventlog.Kind { return KindTimerSet }

func (p *TimerSet) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.For)
	c.time(&p.At)
}

// Kind returns KindTimerFired.
func (*TimerFired) Kind() eventlog.Kind { return KindTimerFired }

func (p *TimerFired) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.str(&p.For)
}

// Kind returns KindSignalReceived.
func (*SignalReceived) Kind() eventlog.Kind { return KindSignalReceived }

func (p *SignalReceived) code(c *coder) {
	c.str(&p.Name)
	c.value(&p.Value)
	c.text(&p.Key)
}

// Kind returns KindInputRequested.
func (*InputRequested) Kind() eventlog.Kind { return KindInputRequested }

func (p *InputRequested) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.text(&p.Prompt)
	c.value(&p.Form)
	c.text(&p.Assignee)
}

// Kind returns KindInputReceived.
func (*InputReceived) Kind() eventlog.Kind { return KindInputReceived }

func (p *InputReceived) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.value(&p.Value)
	c.text(&p.Key)
}

// Kind returns KindChildStarted.
func (*ChildStarted) Kind() eventlog.Kind { return KindChildStarted }

func (p *ChildStarted) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.run(&p.Child)
	c.str(&p.Workflow)
	c.int(&p.Version)
	c.value(&p.Input)
}

// Kind returns KindChildEnded.
func (*ChildEnded) Kind() eventlog.Kind { return KindChildEnded }

func (p *ChildEnded) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.run(&p.Child)
	c.str(&p.Status)
	c.value(&p.Output)
	c.failureOpt(&p.Failure)
}

// Kind returns KindCheckpointCreated.
func (*CheckpointCreated) Kind() eventlog.Kind { return KindCheckpointCreated }

func (p *CheckpointCreated) code(c *coder) {
	c.version(&p.At)
	c.str(&p.Name)
	c.bool(&p.Pinned)
	c.text(&p.Key)
}

// Kind returns KindCheckpointPruned.
func (*CheckpointPruned) Kind() eventlog.Kind { return KindCheckpointPruned }

func (p *CheckpointPruned) code(c *coder) {
	c.version(&p.Below)
}

// Kind returns KindAgentChosen.
func (*AgentChosen) Kind() eventlog.Kind { return KindAgentChosen }

func (p *AgentChosen) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.str(&p.Agent)
	c.str(&p.Role)
	c.int(&p.Candidates)
	c.str(&p.Provider)
	c.str(&p.Model)
	c.str(&p.Hash)
}

// Kind returns KindToolCalled.
func (*ToolCalled) Kind() eventlog.Kind { return KindToolCalled }

func (p *ToolCalled) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.int(&p.Call)
	c.str(&p.Server)
	c.str(&p.Tool)
	c.value(&p.Arguments)
	c.value(&p.Result)
	c.failureOpt(&p.Failure)
	c.int64(&p.Took)
	c.later()
	c.str(&p.Sandbox)
}

// Kind returns KindResultIgnored.
func (*ResultIgnored) Kind() eventlog.Kind { return KindResultIgnored }

func (p *ResultIgnored) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.text(&p.Reason)
	c.usage(&p.Usage)
}

// Kind returns KindPayloadErased.
func (*PayloadErased) Kind() eventlog.Kind { return KindPayloadErased }

func (p *PayloadErased) code(c *coder) {
	c.str(&p.Scope)
	c.str(&p.Reason)
	c.str(&p.Archive)
	array(c, &p.Targets, func(c *coder, t *ErasedSpan) {
		nested(c, t, func(c *coder, t *ErasedSpan) {
			c.run(&t.Run)
			c.version(&t.From)
			c.version(&t.To)
			c.int64(&t.Bytes)
			c.str(&t.Digest)
		})
	})
	c.str(&p.Key)
}
