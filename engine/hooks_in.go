package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/trigger"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

const (
	// MaxWebhook bounds the body of a webhook that comes in.
	MaxWebhook = 1 << 20

	maxWebhookID = 256
	maxSecrets   = 4    // of one hook
	maxSetting   = 1024 // bytes of a template or a condition of a hook
)

// Errors of webhooks that come in, besides trigger.ErrDenied.
var (
	// ErrPaused: the hook is paused, and whoever sends may try again.
	ErrPaused = errors.New("the hook is paused")
	// ErrUnread: the body of a webhook cannot be read.
	ErrUnread = errors.New("the body cannot be read")
)

// incoming is a hook that can be acted on.
type incoming struct {
	input    *expr.Template // nil: the body as it came
	signal   *expr.Template
	run      *expr.Template
	id       *expr.Template
	when     *expr.Condition
	received map[string]bool // deliveries that are being dealt with; guarded by triggers.mu
	denied   uint64          // since the start, guarded by triggers.mu
	why      string          // of the last one that was denied
}

// SetIncoming makes a hook for webhooks that come in, or with replace changes it.
func (e *Engine) SetIncoming(ctx context.Context, id event.TriggerID, h event.Incoming, replace bool, reason, actor string) (made bool, v Trigger, err error) {
	if h.Form == "" {
		h.Form = event.VerifyStandard
	}
	if h.Secret, err = secretNames(h.Secret); err != nil {
		return false, v, err
	}
	if _, err := compileIncoming(&h); err != nil {
		return false, v, err
	}
	if h.Workflow != "" {
		reg, _, err := e.defs.find(ctx, id.Namespace(), h.Workflow, h.Version)
		if err != nil {
			return false, v, err
		}
		h.Workflow = reg.Name
	}
	return e.setTrigger(ctx, &event.TriggerSet{Name: string(id), Type: event.TriggerIncoming, Reason: reason, Incoming: &h}, replace, actor)
}

// secretNames reads the names of secrets, as NAME, ${secrets.NAME}, or several with
// commas between them.
func secretNames(s string) (string, error) {
	var names []string
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		if inner, ok := strings.CutPrefix(name, "${secrets."); ok {
			name = strings.TrimSuffix(inner, "}")
		}
		if !triggerName.MatchString(name) || len(name) > maxTriggerName {
			return "", fmt.Errorf("%w: a hook names its secret, as ${secrets.NAME}: what stands there is no name", machine.ErrInvalid)
		}
		names = append(names, name)
	}
	if len(names) > maxSecrets {
		return "", fmt.Errorf("%w: a hook has at most %d secrets at once", machine.ErrInvalid, maxSecrets)
	}
	return strings.Join(names, ","), nil
}

// secrets returns the secrets that a hook names. One that is not there does not matter
// beside another: secrets are changed one after the other.
func (e *Engine) secrets(names string) (list []string, err error) {
	var last error
	for name := range strings.SplitSeq(names, ",") {
		s, err := e.opt.Secrets.Get(name)
		if err != nil {
			last = err
			continue
		}
		list = append(list, strings.TrimSpace(s))
	}
	if len(list) == 0 {
		return nil, last
	}
	return list, nil
}

// compileIncoming checks a hook.
func compileIncoming(h *event.Incoming) (*incoming, error) {
	wrong := func(format string, args ...any) (*incoming, error) {
		return nil, fmt.Errorf("%w: %s", machine.ErrInvalid, fmt.Sprintf(format, args...))
	}
	if _, ok := trigger.HeaderOf(h.Form, h.Header); !ok {
		return wrong("the form is %s, %s or %s, not %q", event.VerifyStandard, event.VerifyToken, event.VerifySHA256, clip(h.Form))
	}
	if h.Header != "" && (h.Form == event.VerifyStandard || !triggerName.MatchString(h.Header) || len(h.Header) > maxTriggerName) {
		return wrong("%q is no header for the proof; %s has headers of its own", clip(h.Header), event.VerifyStandard)
	}
	switch {
	case (h.Workflow == "") == (h.Signal == ""):
		return wrong("a hook starts runs of a workflow, or sends a signal")
	case (h.Signal == "") != (h.Run == ""):
		return wrong("a signal is for a run: name it, as ${webhook.body.run}")
	}
	for _, s := range []string{h.Signal, h.Run, h.If, h.ID} {
		if len(s) > maxSetting {
			return wrong("a template or a condition of a hook has at most %d bytes", maxSetting)
		}
	}
	c := &incoming{received: map[string]bool{}}
	var err error
	template := func(into **expr.Template, what, text string) {
		if err == nil && text != "" {
			*into, err = compileTree(what, text, "webhook")
		}
	}
	template(&c.signal, "signal", h.Signal)
	template(&c.run, "run", h.Run)
	template(&c.id, "id", h.ID)
	if err == nil && len(h.Input) > 0 {
		c.input, err = compileTemplate("input", h.Input, "webhook")
	}
	if err == nil && h.If != "" {
		if c.when, err = expr.CompileCondition(h.If, triggerScope("webhook")); err != nil {
			err = fmt.Errorf("%w: if: %w", machine.ErrInvalid, err)
		}
	}
	return c, err
}

// Received is what became of a webhook that came in.
type Received struct {
	ID      string         `json:"id" doc:"of the delivery"`
	Outcome string         `json:"outcome" doc:"started, signalled, skipped or failed"`
	Run     eventlog.RunID `json:"run,omitzero"`
	Reason  string         `json:"reason,omitempty"`
	Again   bool           `json:"again,omitempty" doc:"it was dealt with when it came before"`
}

// Receive deals with a webhook that came in. One that comes again with its ID is dealt
// with once.
func (e *Engine) Receive(ctx context.Context, hook event.TriggerID, header http.Header, body []byte) (r Received, err error) {
	t := e.triggers
	if err := t.load(ctx); err != nil {
		return r, err
	}
	if err := e.accepting(false); err != nil {
		return r, err
	}
	t.mu.Lock()
	s, err := t.find(event.TriggerIncoming, hook)
	if err == nil && s.broken != nil {
		err = s.broken
	}
	var c triggerState
	if err == nil {
		c = *s
	}
	t.mu.Unlock()
	if err != nil {
		return r, err
	}
	secrets, err := e.secrets(c.Incoming.Secret)
	if err != nil {
		e.slog.Error("a webhook cannot be looked at", "hook", hook, "error", err)
		return r, fmt.Errorf("%w: the hook has no secret here that it could be proved with", ErrPaused)
	}
	if err := trigger.Verify(c.Incoming.Form, c.Incoming.Header, secrets, header, body, e.opt.Now()); err != nil {
		t.mu.Lock()
		c.in.denied++
		c.in.why = err.Error()
		t.fires[TriggerCount{event.TriggerIncoming, "denied"}]++
		t.mu.Unlock()
		return r, err
	}
	if c.Paused || !t.acts() {
		return r, ErrPaused
	}
	value, err := event.DecodeJSON(body)
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrUnread, err)
	}
	vars, err := c.in.variables(&c, header, value)
	if err != nil {
		return r, err
	}
	r.ID = vars["webhook"].(map[string]any)["id"].(string)
	if !t.begin(c.in, r.ID) {
		return r, fmt.Errorf("%w: the same delivery is being dealt with", ErrBusy)
	}
	defer t.end(c.in, r.ID)
	err = t.received(ctx, &c, vars, &r)
	return r, err
}

func (t *triggers) begin(in *incoming, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if in.received[id] {
		return false
	}
	in.received[id] = true
	return true
}

func (t *triggers) end(in *incoming, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(in.received, id)
}

// idHeaders name a delivery, by those who send them.
var idHeaders = []string{trigger.HeaderID, "Idempotency-Key", "X-Github-Delivery", "X-Gitlab-Webhook-Uuid", "X-Request-Id"}

// variables returns what templates of a hook see of a webhook, with its ID.
func (in *incoming) variables(s *triggerState, header http.Header, body any) (named, error) {
	proof, _ := trigger.HeaderOf(s.Incoming.Form, s.Incoming.Header)
	headers := map[string]any{}
	for name, values := range header {
		if name != proof && !slices.Contains([]string{"Authorization", "Cookie", "Proxy-Authorization"}, name) {
			headers[strings.ToLower(name)] = values[0]
		}
	}
	webhook := map[string]any{"name": s.ID().Name(), "headers": headers, "body": body, "id": ""}
	vars := named{"webhook": webhook}
	id := ""
	if in.id != nil {
		v, err := in.id.Eval(vars)
		if err != nil {
			return nil, fmt.Errorf("%w: id: %w", ErrUnread, err)
		}
		id = expr.Text(v)
	}
	for _, name := range idHeaders {
		if id == "" {
			id = header.Get(name)
		}
	}
	if id == "" { // nobody can tell it from another
		var b [16]byte
		rand.Read(b[:]) // never fails: see crypto/rand
		id = hex.EncodeToString(b[:])
	}
	if len(id) > maxWebhookID {
		return nil, fmt.Errorf("%w: its ID has more than %d bytes", ErrUnread, maxWebhookID)
	}
	webhook["id"] = id
	return vars, nil
}

// received does what a hook is for, and tells of it. If we crash in between, whoever
// sent the webhook sends it again, and what was done is found there.
func (t *triggers) received(ctx context.Context, s *triggerState, vars named, r *Received) error {
	if s.in.when != nil {
		if o := s.in.when.Eval(vars); !o.Met {
			r.Outcome, r.Reason = event.FiredSkipped, "it does not meet the hook's condition"
			if o.Err != "" {
				r.Reason = o.Err
			}
			return t.tell(s, r)
		}
	}
	by := By{Actor: "hook:" + s.Name, Key: fmt.Sprintf("hook %s of %d for %s", s.Name, s.Created, r.ID)}
	var err error
	if s.Incoming.Signal != "" {
		err = t.signal(ctx, s, vars, by, r)
	} else {
		err = t.startFor(ctx, s, vars, by, r)
	}
	var missing *expr.MissingError
	switch {
	case err == nil && r.Again:
		told, err := t.told(s, r)
		if err != nil || told {
			return err
		}
	case err == nil:
	case permanent(err), errors.As(err, &missing):
		r.Outcome, r.Run, r.Reason = event.FiredFailed, eventlog.RunID{}, clipReason(err)
	default:
		return err
	}
	return t.tell(s, r)
}

func (t *triggers) tell(s *triggerState, r *Received) error {
	return t.append(&event.TriggerFired{Name: s.Name, Outcome: r.Outcome, Run: r.Run, ID: r.ID, Reason: r.Reason}, "hook:"+s.Name)
}

// value returns the input of a run, or the value of a signal.
func (in *incoming) value(vars named) (event.Value, error) {
	v := vars["webhook"].(map[string]any)["body"]
	if in.input != nil {
		var err error
		if v, err = in.input.Eval(vars); err != nil {
			return nil, err
		}
	}
	return event.ValueOf(v)
}

func (t *triggers) startFor(ctx context.Context, s *triggerState, vars named, by By, r *Received) error {
	input, err := s.in.value(vars)
	if err != nil {
		return err
	}
	view, created, err := t.e.StartRun(ctx, StartRequest{Namespace: s.ID().Namespace(), Workflow: s.Incoming.Workflow, Version: s.Incoming.Version, Input: input, Labels: s.Incoming.Labels}, by)
	r.Outcome, r.Run, r.Again = event.FiredStarted, view.ID, err == nil && !created
	return err
}

func (t *triggers) signal(ctx context.Context, s *triggerState, vars named, by By, r *Received) error {
	value, err := s.in.value(vars)
	if err != nil {
		return err
	}
	name, err := s.in.signal.Eval(vars)
	if err != nil {
		return err
	}
	of, err := s.in.run.Eval(vars)
	if err != nil {
		return err
	}
	id, err := eventlog.ParseRunID(expr.Text(of))
	if err != nil || id.IsSystem() {
		return fmt.Errorf("%w: %q is not a run's ID", machine.ErrInvalid, clip(expr.Text(of)))
	}
	if n, err := t.e.NamespaceOf(id); err != nil {
		return err
	} else if n != s.ID().Namespace() {
		return fmt.Errorf("%w: run %s", ErrNotFound, id)
	}
	if err := t.e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) { r.Again = s.HasKey(by.Key) }); err != nil {
		return err
	}
	_, err = t.e.Do(ctx, id, machine.Signal{Name: expr.Text(name), Value: value}, by)
	r.Outcome, r.Run = event.FiredSignalled, id
	return err
}

// told reports whether it was told before what became of a delivery: only a crash has
// it that it was not.
func (t *triggers) told(s *triggerState, r *Received) (bool, error) {
	events, err := t.e.log.ReadRun(r.Run, 0, 1)
	if err != nil || len(events) == 0 {
		return false, err
	}
	for after, looked := events[0].Seq, 0; looked < maxLook; {
		page, err := t.e.log.ReadFrom(after, loadPage)
		if err != nil || len(page) == 0 {
			return false, err
		}
		for _, ev := range page {
			after, looked = ev.Seq, looked+1
			if ev.Run != event.Triggers || ev.Kind != event.KindTriggerFired {
				continue
			}
			if p, err := event.Decode(ev.Kind, ev.Payload); err == nil {
				if p := p.(*event.TriggerFired); p.Name == s.Name && p.ID == r.ID && p.Run == r.Run {
					return true, nil
				}
			}
		}
	}
	return true, nil
}

// maxLook bounds how far told looks.
const maxLook = 20_000
