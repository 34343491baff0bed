package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
)

const (
	// MaxRounds is how often an agent may have tools called before it answers.
	MaxRounds = 16

	// MaxToolText is how much of what a tool says is kept and told to the model, in
	// bytes.
	MaxToolText = 256 << 10

	maxCallsAtOnce = 8 // of one round
)

// Tools are what agents may use, and tool nodes call.
type Tools interface {
	// Find returns the tools that patterns stand for: "server/tool", "tool" of any
	// server, or "server" for all of its tools; * stands for any part. Errors are
	// *Failure.
	Find(ctx context.Context, patterns []string) ([]ToolInfo, error)
	// Call calls a tool. A tool that failed is a ToolOutcome with Failed; errors are
	// *Failure, or ctx's.
	Call(ctx context.Context, server, tool string, arguments map[string]any) (ToolOutcome, error)
}

// ToolInfo describes a tool.
type ToolInfo struct {
	Server, Name string
	Description  string
	Schema       map[string]any // of its arguments

	own *roster.Tool // nil: it is a server's
}

// ToolOutcome is what a tool said.
type ToolOutcome struct {
	Text   string
	JSON   any // what it said as a value; nil: nothing
	Failed bool

	Sandbox string // the level that the server's program runs at; "": it is none
}

// ErrNotCurrent: the attempt no longer counts; what it does is for nothing.
var ErrNotCurrent = errors.New("the attempt no longer counts")

// ToolNodes is the runner of tool nodes.
type ToolNodes struct{ Tools Tools }

// Run implements Runner.
func (n *ToolNodes) Run(ctx context.Context, t *Task) Answer {
	if n.Tools == nil {
		return final(event.ClassNotFound, "there are no tools here: name MCP servers with --mcp")
	}
	server, tool := t.Def.Def.Text("server"), t.Def.Def.Text("tool")
	name := tool
	if server != "" {
		name = server + "/" + tool
	}
	found, err := n.Tools.Find(ctx, []string{name})
	if err != nil {
		return toolError(ctx, t, name, err)
	}
	switch len(found) {
	case 0:
		return final(event.ClassNotFound, "there is no tool %s", name)
	case 1:
	default:
		return final(event.ClassNotFound, "several servers have a tool %s: %s and %s; name the server", name, found[0].Server, found[1].Server)
	}
	arguments, ok := t.setting("arguments").(map[string]any)
	if !ok && t.setting("arguments") != nil {
		return final(event.ClassToolFailed, "%s: arguments are no object", name)
	}
	w := &worker{t: t, tools: n.Tools}
	out, err := w.call(ctx, found[0], arguments)
	switch {
	case err != nil:
		return toolError(ctx, t, name, err)
	case out.Failed:
		return Fail(event.ClassToolFailed, "%s: %s", name, t.Redact.Head(out.Text, stderrTail))
	}
	r := map[string]any{"text": out.Text}
	if out.JSON != nil {
		r["json"] = out.JSON
	}
	return Answer{Result: r}
}

// toolError is the answer where a tool could not be called.
func toolError(ctx context.Context, t *Task, name string, err error) Answer {
	var f *Failure
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx, t, name)
	case errors.As(err, &f):
		return Answer{Failure: f}
	}
	return Fail(event.ClassInternal, "%s: %v", name, err)
}

// worker calls tools for one attempt and has each call recorded.
type worker struct {
	t       *Task
	tools   Tools
	secrets *secret.Store // of the agent's own tools

	mu    sync.Mutex
	calls int
	same  map[string]int // of the agent's own tools, with the same arguments
}

// call calls a tool and waits until that is recorded: what an attempt goes on from is
// in the log, and one that no longer counts learns of it here.
func (w *worker) call(ctx context.Context, info ToolInfo, arguments map[string]any) (out ToolOutcome, err error) {
	server, tool := info.Server, info.Name
	w.mu.Lock()
	w.calls++
	p := &event.ToolCalled{Node: w.t.Node, Visit: w.t.Visit, Attempt: w.t.Attempt, Call: w.calls, Server: server, Tool: tool}
	w.mu.Unlock()
	if w.t.Doing != nil {
		w.t.Doing("calling " + tool)
	}
	began := time.Now()
	if info.own != nil {
		out, err = w.callOwn(ctx, info.own, arguments)
	} else {
		out, err = w.tools.Call(ctx, server, tool, arguments)
	}
	p.Took = int64(time.Since(began))
	out.Text, out.JSON = w.clean(out.Text), w.t.Redact.Value(out.JSON)
	if err == nil && w.t.Screen != nil {
		switch why := w.t.Screen(ctx, server+"/"+tool, out.Text, out.JSON); {
		case why != nil && w.t.Kind == workflow.Tool:
			out, err = ToolOutcome{}, &Failure{Class: event.ClassInvalidOutput, Message: why.Error(), Again: new(bool)}
		case why != nil: // the model is told
			out = ToolOutcome{Text: why.Error(), Failed: true}
		}
	}
	if err := w.record(ctx, p, arguments, out, err); err != nil {
		return out, err
	}
	return out, err
}

func (w *worker) clean(text string) string {
	if len(text) > MaxToolText {
		return w.t.Redact.Head(text, MaxToolText) + "\n[cut]"
	}
	return w.t.Redact.Text(text)
}

// record fills in a call and hands it over.
func (w *worker) record(ctx context.Context, p *event.ToolCalled, arguments map[string]any, out ToolOutcome, err error) error {
	if w.t.Note == nil || ctx.Err() != nil {
		return nil // nobody records; or the attempt was given up, and its end is
	}
	var verr error
	if p.Arguments, verr = event.ValueOf(w.t.Redact.Value(arguments)); verr != nil {
		p.Arguments = event.Null
	}
	p.Sandbox = out.Sandbox
	var f *Failure
	switch {
	case errors.As(err, &f):
		p.Failure = &event.Failure{Class: f.Class, Message: w.t.Redact.Text(f.Message)}
	case err != nil:
		p.Failure = &event.Failure{Class: event.ClassInternal, Message: w.t.Redact.Text(err.Error())}
	case out.Failed:
		p.Failure = &event.Failure{Class: event.ClassToolFailed, Message: out.Text}
	case out.JSON != nil:
		p.Result, _ = event.ValueOf(out.JSON)
	default:
		p.Result = event.StringValue(out.Text)
	}
	return w.t.Note(ctx, p)
}

// toolset is what a model may call, by the names it is told.
type toolset struct {
	tools []model.Tool
	by    map[string]ToolInfo
}

// toolsetOf returns the tools of a task: those the node names, or else the agent. A
// name that nothing fits is an error: whoever wrote it counts on it.
func toolsetOf(ctx context.Context, tools Tools, t *Task) (toolset, error) {
	names, named := toolsOf(t)
	set := toolset{by: map[string]ToolInfo{}}
	own, names, err := ownTools(ctx, t, names, named)
	if err != nil {
		return set, err
	}
	for _, info := range own {
		set.add(info)
	}
	if len(names) == 0 {
		return set, nil
	}
	if tools == nil {
		return set, &Failure{Class: event.ClassNotFound, Message: "there are no tools here: name MCP servers with --mcp", Again: new(bool)}
	}
	for _, name := range names {
		found, err := tools.Find(ctx, []string{name})
		if err != nil {
			return set, err
		}
		if len(found) == 0 {
			return set, &Failure{Class: event.ClassNotFound, Message: "there is no tool " + name, Again: new(bool)}
		}
		for _, info := range found {
			set.add(info)
		}
	}
	return set, nil
}

// maxName is how long a tool's name may be for a model.
const maxName = 64

// PlainName returns a name for a tool that every model takes, made of text, and that
// is not taken.
func PlainName(text string, taken func(string) bool) string {
	plain := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r|0x20 >= 'a' && r|0x20 <= 'z' {
			return r
		}
		return '_'
	}, text)
	name := plain[max(0, len(plain)-maxName):]
	for i := 2; taken(name); i++ {
		suffix := fmt.Sprint("_", i)
		name = plain[max(0, len(plain)-maxName+len(suffix)):] + suffix
	}
	return name
}

// add adds a tool, once, under a name that every provider takes.
func (s *toolset) add(info ToolInfo) {
	for _, known := range s.by {
		if known.Server == info.Server && known.Name == info.Name {
			return
		}
	}
	name := info.Server + "__" + info.Name
	if info.own != nil {
		name = info.Name
	}
	name = PlainName(name, s.has)
	s.by[name] = info
	s.tools = append(s.tools, model.Tool{Name: name, Description: info.Description, Schema: info.Schema})
}

func (s *toolset) has(name string) bool {
	_, ok := s.by[name]
	return ok
}

// callAll calls the tools that a model asks for, several at once, and returns what it is
// to be told of them. What the model got wrong it is told, too; an error is one that
// the attempt does not outlive.
func (s *toolset) callAll(ctx context.Context, w *worker, calls []model.Call) ([]model.Result, error) {
	results, errs := make([]model.Result, len(calls)), make([]error, len(calls))
	places := make(chan struct{}, maxCallsAtOnce)
	var wg sync.WaitGroup
	for i, c := range calls {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			var out ToolOutcome
			out, errs[i] = s.callOne(ctx, w, c)
			results[i] = model.Result{Call: c.ID, Text: out.Text, Failed: out.Failed}
		})
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

func (s *toolset) callOne(ctx context.Context, w *worker, c model.Call) (ToolOutcome, error) {
	info, ok := s.by[c.Tool]
	if !ok {
		return ToolOutcome{Text: fmt.Sprintf("There is no tool %q.", c.Tool), Failed: true}, nil
	}
	arguments := map[string]any{}
	if text := strings.TrimSpace(string(c.Arguments)); text != "" {
		v, err := event.DecodeJSON([]byte(text))
		if arguments, ok = v.(map[string]any); !ok || err != nil {
			return ToolOutcome{Text: fmt.Sprintf("The arguments are no JSON object: %v", err), Failed: true}, nil
		}
	}
	out, err := w.call(ctx, info, arguments)
	if err == nil && out.Text == "" && out.JSON != nil {
		b, _ := json.Marshal(out.JSON)
		out.Text = string(b)
	}
	return out, err
}

// words returns a list of words as definitions hold it, nil if there is none.
func words(v any) []string {
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	names := make([]string, 0, len(list))
	for _, x := range list {
		if s, ok := x.(string); ok {
			names = append(names, s)
		}
	}
	return names
}
