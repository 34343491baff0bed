package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/trigger"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// hookPatterns are where webhooks come in, to hooks of the default namespace and of
// others. Their hook's own secret lets them in, and no token.
var hookPatterns = []string{"POST /hooks/{name}", "POST /hooks/{namespace}/{name}"}

// IncomingHook is a hook for webhooks that come in, as it stands.
type IncomingHook struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace" doc:"where it is, and the runs that it starts or sends signals to"`
	Path      string         `json:"path" doc:"where webhooks are sent to"`
	Spec      event.Incoming `json:"spec"`
	Created   event.Time     `json:"created"`
	Changed   event.Time     `json:"changed"`
	By        string         `json:"by" doc:"who changed it last"`
	Pausing
	Started int64             `json:"started" doc:"runs that were started, or signals that were sent"`
	Skipped int64             `json:"skipped"`
	Failed  int64             `json:"failed"`
	Denied  uint64            `json:"denied" doc:"webhooks that were not let in, since the daemon was started"`
	Why     string            `json:"denied_reason,omitempty" doc:"why the last was not"`
	Recent  []projection.Fire `json:"recent" doc:"what became of the last ones, the newest first"`
	Broken  string            `json:"broken,omitempty" doc:"why it does nothing"`
}

func incomingOf(t engine.Trigger) IncomingHook {
	h := IncomingHook{
		Name: t.ID().Name(), Namespace: t.ID().Namespace().String(), Path: "/hooks/" + string(t.ID()), Created: t.Created, Changed: t.Changed, By: t.By, Pausing: pausing(&t), Started: t.Started,
		Skipped: t.Skipped, Failed: t.Failed, Denied: t.Denied, Why: t.Why, Recent: fires(t.Recent), Broken: t.Broken,
	}
	if t.Incoming != nil {
		h.Spec = *t.Incoming
	}
	return h
}

// OutgoingHook is a hook that events are sent to, as it stands.
type OutgoingHook struct {
	Name      string         `json:"name"`
	Namespace string         `json:"namespace" doc:"where it is, and the runs that it tells of"`
	Spec      event.Outgoing `json:"spec"`
	Created   event.Time     `json:"created"`
	Changed   event.Time     `json:"changed"`
	By        string         `json:"by" doc:"who changed it last"`
	Pausing
	projection.Delivery
	Behind uint64 `json:"behind" doc:"events of the log that it has not come to"`
	Broken string `json:"broken,omitempty" doc:"why it does nothing"`
}

func outgoingOf(t engine.Trigger) OutgoingHook {
	h := OutgoingHook{Name: t.ID().Name(), Namespace: t.ID().Namespace().String(), Created: t.Created, Changed: t.Changed, By: t.By, Pausing: pausing(&t), Behind: t.Behind, Broken: t.Broken}
	if t.Outgoing != nil {
		h.Spec, h.Delivery = *t.Outgoing, *t.Delivery
	}
	return h
}

type createIncomingInput struct {
	Body struct {
		Name     string            `json:"name" minLength:"1" maxLength:"64" doc:"letters, digits, dots, hyphens and underscores"`
		Secret   string            `json:"secret" minLength:"1" maxLength:"512" doc:"name of a secret, as ${secrets.NAME}; several with commas between them, while it is changed"`
		Form     string            `json:"form,omitempty" doc:"how it is proved: standard (Standard Webhooks, by default), token, or sha256 (HMAC of the body, hex)"`
		Header   string            `json:"header,omitempty" maxLength:"64" doc:"that has the proof, with token and sha256"`
		Workflow string            `json:"workflow,omitempty" maxLength:"256" doc:"whose runs are started"`
		Version  int               `json:"version,omitempty" minimum:"0" doc:"0: the newest when one comes"`
		Input    event.Value       `json:"input,omitempty" doc:"of the run, or value of the signal; may hold ${webhook.body…}, ${webhook.headers['…']}, ${webhook.id}; absent: the body"`
		Labels   map[string]string `json:"labels,omitempty"`
		Signal   string            `json:"signal,omitempty" maxLength:"1024" doc:"name of a signal that is sent instead; a template"`
		Run      string            `json:"run,omitempty" maxLength:"1024" doc:"the run that it is for; a template"`
		If       string            `json:"if,omitempty" maxLength:"1024" doc:"a condition; what does not meet it is passed over"`
		ID       string            `json:"id,omitempty" maxLength:"1024" doc:"a template that names the delivery, where no header does"`
		Replacing
	}
}

type createOutgoingInput struct {
	Body struct {
		Name         string   `json:"name" minLength:"1" maxLength:"64" doc:"letters, digits, dots, hyphens and underscores"`
		URL          string   `json:"url" minLength:"1" maxLength:"2048"`
		Secret       string   `json:"secret" minLength:"1" maxLength:"512" doc:"name of a secret, as ${secrets.NAME}; with several it is signed with each"`
		Kinds        []string `json:"kinds,omitempty" maxItems:"32" doc:"of events; run. stands for all that begin with it; absent: run.completed, run.failed, run.cancelled"`
		Workflows    []string `json:"workflows,omitempty" maxItems:"32" doc:"absent: all"`
		AllowPrivate bool     `json:"allow_private,omitempty" doc:"private and loopback addresses may be sent to, and http"`
		Data         bool     `json:"data,omitempty" doc:"what the event says is sent too, with inputs and answers"`
		GiveUp       Span     `json:"give_up,omitempty" doc:"after so much failing it is dead; absent: 72h"`
		Replacing
	}
}

type resumeHookInput struct {
	OfTrigger
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"1024"`
		Skip   bool   `json:"skip,omitempty" doc:"what it has missed is not sent"`
	}
}

func (a *API) hooks(h huma.API) {
	incoming := hookOperations[IncomingHook]{a, h, "in", event.TriggerIncoming, incomingOf}
	incoming.register()
	register(h, operation{method: "POST", path: "/v1/hooks/in", id: "create-hook-in", tag: "triggers", status: 201,
		summary: "Let webhooks start runs, or be signals to them"},
		func(ctx context.Context, in *createIncomingInput) (*made[IncomingHook], error) {
			b := &in.Body
			isNew, t, err := a.o.Engine.SetIncoming(ctx, triggerIn(ctx, b.Name), event.Incoming{
				Secret: b.Secret, Form: b.Form, Header: b.Header, Workflow: b.Workflow, Version: b.Version, Input: b.Input, Labels: b.Labels,
				Signal: b.Signal, Run: b.Run, If: b.If, ID: b.ID,
			}, b.Replace, b.Why, by(ctx, Keyed{}).Actor)
			if err != nil {
				return nil, err
			}
			return madeOf(isNew, incomingOf(t)), nil
		})
	outgoing := hookOperations[OutgoingHook]{a, h, "out", event.TriggerOutgoing, outgoingOf}
	outgoing.register()
	register(h, operation{method: "POST", path: "/v1/hooks/out", id: "create-hook-out", tag: "triggers", status: 201,
		summary: "Send events of runs to a URL"},
		func(ctx context.Context, in *createOutgoingInput) (*made[OutgoingHook], error) {
			b := &in.Body
			isNew, t, err := a.o.Engine.SetOutgoing(ctx, triggerIn(ctx, b.Name), event.Outgoing{
				URL: b.URL, Secret: b.Secret, Kinds: b.Kinds, Workflows: b.Workflows, AllowPrivate: b.AllowPrivate, Data: b.Data, GiveUp: int64(b.GiveUp),
			}, b.Replace, b.Why, by(ctx, Keyed{}).Actor)
			if err != nil {
				return nil, err
			}
			return madeOf(isNew, outgoingOf(t)), nil
		})
	for _, pattern := range hookPatterns {
		a.mux.HandleFunc(pattern, a.receive)
		a.own[pattern] = true
	}
}

// hookOperations are those that hooks of both directions have.
type hookOperations[T any] struct {
	a         *API
	h         huma.API
	direction string
	kind      string
	show      func(engine.Trigger) T
}

func (o hookOperations[T]) register() {
	const tag = "triggers"
	path, engine := "/v1/hooks/"+o.direction, o.a.o.Engine
	register(o.h, operation{method: "GET", path: path, id: "list-hooks-" + o.direction, tag: tag,
		summary: "List the hooks of this direction, by name"},
		func(ctx context.Context, in *Paged) (*answer[List[T]], error) {
			list, next, err := engine.Triggers(ctx, namespace(ctx), o.kind, in.Cursor, in.Limit)
			return listOf(mapped(list, o.show), next, err)
		})
	register(o.h, operation{method: "GET", path: path + "/{name}", id: "get-hook-" + o.direction, tag: tag,
		summary: "A hook as it stands"},
		func(ctx context.Context, in *OfTrigger) (*answer[T], error) {
			t, err := engine.Trigger(ctx, o.kind, triggerIn(ctx, in.Name))
			return answered(o.show(t), err)
		})
	register(o.h, operation{method: "POST", path: path + "/{name}/pause", id: "pause-hook-" + o.direction, tag: tag,
		summary: "Let a hook do nothing until it is resumed"},
		func(ctx context.Context, in *triggerCommandInput) (*answer[T], error) {
			t, err := engine.PauseTrigger(ctx, o.kind, triggerIn(ctx, in.Name), in.reason(), by(ctx, Keyed{}).Actor)
			return answered(o.show(t), err)
		})
	register(o.h, operation{method: "POST", path: path + "/{name}/resume", id: "resume-hook-" + o.direction, tag: tag,
		summary: "Let a hook work again; one that sends goes on where it was"},
		func(ctx context.Context, in *resumeHookInput) (*answer[T], error) {
			reason, skip := "", false
			if in.Body != nil {
				reason, skip = in.Body.Reason, in.Body.Skip
			}
			t, err := engine.ResumeTrigger(ctx, o.kind, triggerIn(ctx, in.Name), reason, skip, by(ctx, Keyed{}).Actor)
			return answered(o.show(t), err)
		})
	register(o.h, operation{method: "POST", path: path + "/{name}/delete", id: "delete-hook-" + o.direction, tag: tag,
		summary: "Delete a hook"},
		func(ctx context.Context, in *triggerCommandInput) (*answer[Deleted], error) {
			err := engine.DeleteTrigger(ctx, o.kind, triggerIn(ctx, in.Name), in.reason(), by(ctx, Keyed{}).Actor)
			return answered(Deleted{in.Name, true}, err)
		})
}

// receive takes a webhook.
func (a *API) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, engine.MaxWebhook))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeProblem(w, problem("too-large", fmt.Sprintf("the body of a webhook has at most %d MiB", engine.MaxWebhook>>20), ""))
		return
	case err != nil:
		writeProblem(w, problem("timeout", "the body did not arrive", ""))
		return
	}
	var done engine.Received
	n, err := event.ParseNamespace(r.PathValue("namespace"))
	hook := event.TriggerIn(n, r.PathValue("name"))
	if err == nil {
		done, err = a.o.Engine.Receive(r.Context(), hook, r.Header, body)
	}
	switch {
	case errors.Is(err, event.ErrNamespace): // in which there is nothing
		writeProblem(w, problem("not-found", fmt.Sprintf("there is no incoming hook %q", hook.Name()), ""))
		return
	case errors.Is(err, trigger.ErrDenied):
		if ok, left := a.denied.may(time.Now()); ok {
			a.o.Logger.Warn("a webhook was not let in", "hook", hook, "from", r.RemoteAddr, "error", err, "before_it", left)
		}
		writeProblem(w, problem("denied", err.Error(), "send it as the hook is made for: see docs/triggers.md"))
		return
	case errors.Is(err, engine.ErrUnread):
		writeProblem(w, problem("malformed", err.Error(), ""))
		return
	case errors.Is(err, engine.ErrPaused):
		p := problem("paused", err.Error(), "send it again later")
		p.retryAfter = "60"
		writeProblem(w, p)
		return
	case err != nil:
		writeProblem(w, AsProblem(err))
		return
	case done.Outcome == event.FiredFailed:
		writeProblem(w, problem("invalid", done.Reason, ""))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if done.Again {
		w.WriteHeader(http.StatusOK)
	} else {
		w.WriteHeader(http.StatusAccepted)
	}
	json.NewEncoder(w).Encode(done) // a client that has gone needs no answer
}
