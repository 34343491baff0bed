package event

import (
	"fmt"
	"strings"

	"github.com/wfd-dev/wfd/eventlog"
)

// Triggers is the system stream of what starts runs by itself, and of what is told to
// others about them.
var Triggers = eventlog.System("triggers")

// What triggers there are.
const (
	TriggerSchedule = "schedule" // starts runs at times
	TriggerIncoming = "in"       // starts runs, or signals to them, when a webhook comes in
	TriggerOutgoing = "out"      // sends events to a webhook
)

// TriggerSet: a trigger is there from now on, or is another than before. One of
// Schedule, Incoming and Outgoing is set, as Type says.
type TriggerSet struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Reason   string    `json:"reason,omitempty"`
	Schedule *Schedule `json:"schedule,omitempty"`
	Incoming *Incoming `json:"incoming,omitempty"`
	Outgoing *Outgoing `json:"outgoing,omitempty"`
}

// Schedule says when runs of a workflow are started.
type Schedule struct {
	Cron     string            `json:"cron"`
	Zone     string            `json:"zone"` // of the IANA database, as Europe/Berlin
	Workflow string            `json:"workflow"`
	Version  int               `json:"version,omitempty"` // 0: the newest when it is due
	Input    Value             `json:"input,omitempty"`   // a template
	Labels   map[string]string `json:"labels,omitempty"`
	Overlap  string            `json:"overlap"`
	Queue    int               `json:"queue,omitempty"`  // starts that wait at most, with OverlapQueue
	CatchUp  int               `json:"catch_up"`         // starts that were missed and are made up for, at most
	Window   int64             `json:"window"`           // nanoseconds; what was missed before is not made up for
	Jitter   int64             `json:"jitter,omitempty"` // nanoseconds; starts are spread over so much
}

// What a schedule does that is due while the run before has not ended.
const (
	OverlapSkip  = "skip"  // nothing
	OverlapQueue = "queue" // it starts when that has ended
	OverlapAllow = "allow" // it starts beside it
)

// Incoming says what becomes of a webhook that comes in. Secret names a secret, and
// is not one.
type Incoming struct {
	Secret   string            `json:"secret"`
	Form     string            `json:"form"`             // how whoever sends it proves that he knows the secret
	Header   string            `json:"header,omitempty"` // that has the token, with VerifyToken
	Workflow string            `json:"workflow,omitempty"`
	Version  int               `json:"version,omitempty"`
	Input    Value             `json:"input,omitempty"` // a template: of the run's input, or the signal's value
	Labels   map[string]string `json:"labels,omitempty"`
	Signal   string            `json:"signal,omitempty"` // a template; set: a signal is sent, and no run is started
	Run      string            `json:"run,omitempty"`    // a template: the run that the signal is for
	If       string            `json:"if,omitempty"`     // a condition: what does not meet it is passed over
	ID       string            `json:"id,omitempty"`     // a template: what names the delivery, where no header does
}

// How whoever sends a webhook proves that he knows the secret.
const (
	VerifyStandard = "standard" // a signature as Standard Webhooks has it
	VerifyToken    = "token"    // the secret itself
	VerifySHA256   = "sha256"   // hex of HMAC-SHA256 over the body
)

// Outgoing says which events are sent where. Secret names a secret, and is not one.
type Outgoing struct {
	URL          string   `json:"url"`
	Secret       string   `json:"secret"`
	Kinds        []string `json:"kinds"`
	Workflows    []string `json:"workflows,omitempty"`
	AllowPrivate bool     `json:"allow_private,omitempty"`
	Data         bool     `json:"data,omitempty"` // the event's content is sent too
	GiveUp       int64    `json:"give_up"`        // nanoseconds; after so much failing it is dead
}

// TriggerPaused: the trigger does nothing until it is resumed.
type TriggerPaused struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
}

// TriggerResumed: the trigger works again, from now on.
type TriggerResumed struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
	// Skip is set if an outgoing hook does not send what it has missed.
	Skip bool `json:"skip,omitempty"`
}

// TriggerDeleted: there is no such trigger any more.
type TriggerDeleted struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
}

// TriggerFired: what became of a time at which a schedule was due, or of a webhook
// that came in. Until and Count are set where it stands for several times.
type TriggerFired struct {
	Name    string         `json:"name"`
	Outcome string         `json:"outcome"`
	Due     Time           `json:"due,omitempty"`   // of a schedule
	Until   Time           `json:"until,omitempty"` // the last of several, or after it
	Count   int            `json:"count,omitempty"`
	Run     eventlog.RunID `json:"run,omitzero"`
	ID      string         `json:"id,omitempty"` // of a webhook, as whoever sent it named it
	Reason  string         `json:"reason,omitempty"`
}

// What becomes of a time at which a schedule is due, or of a webhook that came in.
const (
	FiredStarted   = "started"   // Run was started
	FiredSignalled = "signalled" // Run was sent a signal
	FiredQueued    = "queued"    // it waits until the run before has ended
	FiredSkipped   = "skipped"   // nothing was to be done
	FiredFailed    = "failed"    // it cannot be done
)

// TriggerDelivered: how far an outgoing hook has come.
type TriggerDelivered struct {
	Name     string       `json:"name"`
	Outcome  string       `json:"outcome"`
	Upto     eventlog.Seq `json:"upto"`               // events up to there are done with
	Count    int          `json:"count,omitempty"`    // of them were sent, since the event before this
	Attempts int          `json:"attempts,omitempty"` // that the next event has failed
	Since    Time         `json:"since,omitempty"`    // when the first of these was
	Reason   string       `json:"reason,omitempty"`
}

// How an outgoing hook does.
const (
	DeliveredSent    = "sent"    // as it should
	DeliveredFailing = "failing" // the next event could not be sent yet
	DeliveredDead    = "dead"    // nothing is sent until somebody resumes it
)

// The order of the fields below is on disk: append, never reorder.

// Kind returns KindTriggerSet.
func (*TriggerSet) Kind() eventlog.Kind { return KindTriggerSet }

func (p *TriggerSet) code(c *coder) {
	c.str(&p.Name)
	c.str(&p.Type)
	c.text(&p.Reason)
	c.later()
	optional(c, &p.Schedule, codeSchedule)
	optional(c, &p.Incoming, codeIncoming)
	optional(c, &p.Outgoing, codeOutgoing)
}

func codeSchedule(c *coder, s *Schedule) {
	c.str(&s.Cron)
	c.str(&s.Zone)
	c.str(&s.Workflow)
	c.int(&s.Version)
	c.value(&s.Input)
	c.strmap(&s.Labels)
	c.str(&s.Overlap)
	c.int(&s.Queue)
	c.int(&s.CatchUp)
	c.int64(&s.Window)
	c.int64(&s.Jitter)
}

func codeIncoming(c *coder, h *Incoming) {
	c.str(&h.Secret)
	c.str(&h.Form)
	c.str(&h.Header)
	c.str(&h.Workflow)
	c.int(&h.Version)
	c.value(&h.Input)
	c.strmap(&h.Labels)
	c.str(&h.Signal)
	c.str(&h.Run)
	c.str(&h.If)
	c.str(&h.ID)
}

func codeOutgoing(c *coder, h *Outgoing) {
	c.str(&h.URL)
	c.str(&h.Secret)
	c.strs(&h.Kinds)
	c.strs(&h.Workflows)
	c.bool(&h.AllowPrivate)
	c.bool(&h.Data)
	c.int64(&h.GiveUp)
}

// Kind returns KindTriggerPaused.
func (*TriggerPaused) Kind() eventlog.Kind { return KindTriggerPaused }

func (p *TriggerPaused) code(c *coder) {
	c.str(&p.Name)
	c.text(&p.Reason)
}

// Kind returns KindTriggerResumed.
func (*TriggerResumed) Kind() eventlog.Kind { return KindTriggerResumed }

func (p *TriggerResumed) code(c *coder) {
	c.str(&p.Name)
	c.text(&p.Reason)
	c.bool(&p.Skip)
}

// Kind returns KindTriggerDeleted.
func (*TriggerDeleted) Kind() eventlog.Kind { return KindTriggerDeleted }

func (p *TriggerDeleted) code(c *coder) {
	c.str(&p.Name)
	c.text(&p.Reason)
}

// Kind returns KindTriggerFired.
func (*TriggerFired) Kind() eventlog.Kind { return KindTriggerFired }

func (p *TriggerFired) code(c *coder) {
	c.str(&p.Name)
	c.str(&p.Outcome)
	c.time(&p.Due)
	c.time(&p.Until)
	c.int(&p.Count)
	c.run(&p.Run)
	c.text(&p.ID)
	c.text(&p.Reason)
}

// Kind returns KindTriggerDelivered.
func (*TriggerDelivered) Kind() eventlog.Kind { return KindTriggerDelivered }

func (p *TriggerDelivered) code(c *coder) {
	c.str(&p.Name)
	c.str(&p.Outcome)
	c.seq(&p.Upto)
	c.int(&p.Count)
	c.int(&p.Attempts)
	c.time(&p.Since)
	c.text(&p.Reason)
}

// TriggerID is what events name a trigger by: its name in the default namespace, and
// elsewhere its namespace, a slash and its name, as team-a/nightly. So the names in
// events from before there were others mean what they meant.
type TriggerID string

// TriggerIn returns the ID of the trigger that has a name in a namespace. A name in which
// there is a slash leads to no other namespace: it is one that no trigger can have.
func TriggerIn(n Namespace, name string) TriggerID {
	if n == "" && !strings.Contains(name, "/") {
		return TriggerID(name)
	}
	return TriggerID(string(n) + "/" + name)
}

// Namespace returns where the trigger is.
func (t TriggerID) Namespace() Namespace {
	n, _, elsewhere := strings.Cut(string(t), "/")
	if !elsewhere {
		return ""
	}
	return Namespace(n)
}

// Name returns what the trigger is called there.
func (t TriggerID) Name() string {
	if _, name, elsewhere := strings.Cut(string(t), "/"); elsewhere {
		return name
	}
	return string(t)
}

// TriggerOf returns the ID of the trigger that an event is of, as it names it.
func TriggerOf(p Payload) (string, error) {
	switch p := p.(type) {
	case *TriggerSet:
		return p.Name, nil
	case *TriggerPaused:
		return p.Name, nil
	case *TriggerResumed:
		return p.Name, nil
	case *TriggerDeleted:
		return p.Name, nil
	case *TriggerFired:
		return p.Name, nil
	case *TriggerDelivered:
		return p.Name, nil
	}
	return "", fmt.Errorf("%w: a %s among the triggers", ErrUnknown, KindName(p.Kind()))
}
