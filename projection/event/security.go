package event

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
)

// Security is the system stream of what guards found and let pass, or blocked. What
// they hold for a review stands in its run, and so does what comes of it.
var Security = eventlog.System("security")

// Finding is what a rule of a guard found in something that came from outside. The
// content is not part of it.
type Finding struct {
	Rule    string `json:"rule"`
	Message string `json:"message,omitempty"` // of the rule
	// What it was found in: input, signal, answer, or agent, http, tool, exec or worker,
	// by whom the result was brought. tool is also what an agent was told by one.
	What     string         `json:"what"`
	Workflow string         `json:"workflow,omitempty"`
	Of       eventlog.RunID `json:"of,omitzero"` // the run; none: it was not begun
	Node     string         `json:"node,omitempty"`
	Visit    int            `json:"visit,omitempty"`
	Attempt  int            `json:"attempt,omitempty"`
	Name     string         `json:"name,omitempty"` // of the signal, or the tool
}

// SecurityWarned: a rule found something, and it was let pass.
type SecurityWarned struct{ Finding }

// SecurityBlocked: a rule found something, and it was not let pass: it was refused, or
// its attempt failed. It is nowhere in the log.
type SecurityBlocked struct{ Finding }

// Review names the result that a rule has somebody asked about.
type Review struct {
	Node    string `json:"node"`
	Visit   int    `json:"visit"`
	Attempt int    `json:"attempt"`
	Rule    string `json:"rule"`
}

// SecurityRequested: a rule found something in a result, and somebody is asked whether
// it may be used. Until then it is held. What the attempt used is told here, and not
// when the visit ends.
type SecurityRequested struct {
	Review
	Message string `json:"message,omitempty"` // of the rule
	Result  Value  `json:"result"`
	Set     []KV   `json:"-"` // state that the answer itself sets, sorted
	Usage   *Usage `json:"usage,omitempty"`
	Sandbox string `json:"sandbox,omitempty"` // as in NodeCompleted
}

// ReviewForm is what a review is answered with, as JSON Schema.
var ReviewForm = MustValue(map[string]any{
	"type": "object", "required": []any{"approved"}, "additionalProperties": false,
	"properties": map[string]any{
		"approved": map[string]any{"type": "boolean", "description": "whether the result may be used"},
		"reason":   map[string]any{"type": "string", "description": "why; it is kept in the log"},
	},
})

// Question is what somebody is asked.
func (p *SecurityRequested) Question() string {
	why := p.Rule
	if p.Message != "" {
		why += ": " + p.Message
	}
	return fmt.Sprintf("May the result of %s be used? It is held by rule %s. It stands in the event security.requested.", p.Node, why)
}

// SecurityGranted: the event's actor lets a result be used.
type SecurityGranted struct {
	Review
	Reason string `json:"reason,omitempty"`
	Key    string `json:"key,omitempty"`
}

// SecurityDenied: the event's actor does not; the node fails.
type SecurityDenied struct {
	Review
	Reason string `json:"reason,omitempty"`
	Key    string `json:"key,omitempty"`
}

// The order of the fields below is on disk: append, never reorder.

func (p *Finding) code(c *coder) {
	c.str(&p.Rule)
	c.text(&p.Message)
	c.str(&p.What)
	c.str(&p.Workflow)
	c.run(&p.Of)
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.str(&p.Name)
}

func (p *Review) code(c *coder) {
	c.str(&p.Node)
	c.int(&p.Visit)
	c.int(&p.Attempt)
	c.str(&p.Rule)
}

// Kind returns KindSecurityWarned.
func (*SecurityWarned) Kind() eventlog.Kind { return KindSecurityWarned }

// Kind returns KindSecurityBlocked.
func (*SecurityBlocked) Kind() eventlog.Kind { return KindSecurityBlocked }

// Kind returns KindSecurityRequested.
func (*SecurityRequested) Kind() eventlog.Kind { return KindSecurityRequested }

func (p *SecurityRequested) code(c *coder) {
	p.Review.code(c)
	c.text(&p.Message)
	c.value(&p.Result)
	c.kvs(&p.Set)
	c.usage(&p.Usage)
	c.later()
	c.str(&p.Sandbox)
}

// Kind returns KindSecurityGranted.
func (*SecurityGranted) Kind() eventlog.Kind { return KindSecurityGranted }

func (p *SecurityGranted) code(c *coder) {
	p.Review.code(c)
	c.text(&p.Reason)
	c.text(&p.Key)
}

// Kind returns KindSecurityDenied.
func (*SecurityDenied) Kind() eventlog.Kind { return KindSecurityDenied }

func (p *SecurityDenied) code(c *coder) {
	p.Review.code(c)
	c.text(&p.Reason)
	c.text(&p.Key)
}
