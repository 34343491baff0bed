package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
)

// What stands in the place of a server in the calls of an agent's own tools.
const (
	serverHTTP     = "http"
	serverWorkflow = "workflow"
)

// Workflows has runs of workflows started for the tools of agents.
type Workflows interface {
	// Describe says what a workflow is for, and returns the JSON Schema of its input, nil
	// if it takes any. Errors are *Failure where a further attempt makes no sense.
	Describe(ctx context.Context, name string) (description string, input map[string]any, err error)
	// Call has a run of a workflow started as a tool, once for each key, and returns what
	// became of it once it has ended; also if it was started by an attempt before. Errors
	// are *Failure, or ctx's.
	Call(ctx context.Context, tool, name, key string, input map[string]any) (ToolOutcome, error)
}

// ownTools returns the tools of an agent's file that a task may use: all, or those that
// its node names. The other names are left.
func ownTools(ctx context.Context, t *Task, names []string, named bool) (own []ToolInfo, left []string, err error) {
	if t.Agent == nil || len(t.Agent.Own) == 0 {
		return nil, names, nil
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	for _, o := range t.Agent.Own {
		if named && !wanted[o.Name] {
			continue
		}
		info := ToolInfo{Server: serverHTTP, Name: o.Name, Description: o.Description, Schema: o.Arguments, own: o}
		if o.Workflow != "" {
			info.Server = serverWorkflow
			if err := describe(ctx, t, &info); err != nil {
				return nil, nil, err
			}
		}
		if info.Schema == nil {
			info.Schema = map[string]any{"type": "object"}
		}
		own = append(own, info)
		delete(wanted, o.Name)
	}
	for _, name := range names {
		if wanted[name] {
			left = append(left, name)
		}
	}
	return own, left, nil
}

// describe takes from a workflow what its tool does not say.
func describe(ctx context.Context, t *Task, info *ToolInfo) error {
	if t.Workflows == nil {
		return &Failure{Class: event.ClassNotFound, Message: "tool " + info.Name + ": no workflow can be started from here", Again: new(bool)}
	}
	about, input, err := t.Workflows.Describe(ctx, info.own.Workflow)
	if err != nil {
		return err
	}
	if info.Description == "" {
		info.Description = about
	}
	if info.Schema == nil {
		info.Schema = input
	}
	return nil
}

// callOwn calls a tool of the agent's file. What it got wrong the model is told.
func (w *worker) callOwn(ctx context.Context, o *roster.Tool, arguments map[string]any) (ToolOutcome, error) {
	if err := o.Check(arguments); err != nil {
		return ToolOutcome{Text: "The arguments are not as they should be: " + err.Error(), Failed: true}, nil
	}
	if o.Workflow != "" {
		return w.t.Workflows.Call(ctx, o.Name, o.Workflow, w.key(o.Name, arguments), arguments)
	}
	return w.request(ctx, o, arguments)
}

// key names a call for the other side: the same call of a later attempt of the visit has
// the same one, and so finds what was done.
func (w *worker) key(tool string, arguments map[string]any) string {
	b, err := json.Marshal(arguments) // keys in order
	if err != nil {
		b = []byte(fmt.Sprint(arguments))
	}
	sum := sha256.Sum256(b)
	call := tool + "/" + hex.EncodeToString(sum[:12])
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.same == nil {
		w.same = map[string]int{}
	}
	w.same[call]++
	return fmt.Sprintf("%s/%s/%d", w.t.Key(), call, w.same[call])
}

// request makes the request of a tool, as an http node would.
func (w *worker) request(ctx context.Context, o *roster.Tool, arguments map[string]any) (ToolOutcome, error) {
	key := w.key(o.Name, arguments)
	secrets := &toolSecrets{store: w.secrets}
	settings, err := o.HTTP.Settings(toolVars{arguments, secrets}, toolVars{escaped(arguments).(map[string]any), secrets})
	switch {
	case secrets.err != nil:
		return ToolOutcome{}, &Failure{Class: event.ClassAuth, Message: "tool " + o.Name + ": " + secrets.err.Error(), Again: new(bool)}
	case err != nil:
		return ToolOutcome{Text: "The arguments do not fit: " + err.Error(), Failed: true}, nil
	case dots(settings["url"]):
		return ToolOutcome{Text: "The arguments do not fit: . and .. are no part of a path", Failed: true}, nil
	}
	headers, _ := settings["headers"].(map[string]any)
	if headers == nil {
		headers = map[string]any{}
	}
	headers["Idempotency-Key"] = key
	settings["headers"] = headers
	sub := *w.t
	// The redactor is a new one: it knows the secrets that were just read.
	sub.Settings, sub.Redact = settings, w.secrets.Redactor()
	a := (&HTTP{}).Run(ctx, &sub)
	a.Redact(sub.Redact)
	if a.Failure != nil {
		if ctx.Err() != nil {
			return ToolOutcome{}, ctx.Err()
		}
		return ToolOutcome{Text: a.Failure.Error(), Failed: true}, nil
	}
	r, _ := a.Result.(map[string]any)
	body, _ := r["body"].(string)
	return ToolOutcome{Text: body}, nil
}

// toolVars are what the texts of a tool see.
type toolVars struct {
	arguments map[string]any
	secrets   *toolSecrets
}

// Var implements expr.Vars.
func (v toolVars) Var(name string) (any, bool) {
	switch name {
	case "arguments":
		return v.arguments, true
	case "secrets":
		return v.secrets, true
	}
	return nil, false
}

var _ expr.Object = (*toolSecrets)(nil)

type toolSecrets struct {
	store *secret.Store
	err   error // why one was not to be had
}

// Get implements expr.Object.
func (s *toolSecrets) Get(key string) (any, bool) {
	v, err := s.store.Get(key)
	if s.err == nil {
		s.err = err
	}
	return v, err == nil
}

// Keys implements expr.Object: secrets are not listed.
func (*toolSecrets) Keys() []string { return nil }

// escaped returns a value whose texts may stand anywhere behind the host of a URL, and
// mean nothing there.
func escaped(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(url.QueryEscape(v), "+", "%20")
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = escaped(x)
		}
		return l
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = escaped(x)
		}
		return m
	}
	return v
}

// dots reports whether the path of a URL leads up: no escape stops that.
func dots(target any) bool {
	s, _ := target.(string)
	u, err := url.Parse(s)
	if err != nil {
		return false // the request says so
	}
	for _, part := range strings.Split(u.Path, "/") {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}
