package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/projection/event"
)

// shed has the tools files/read and files/write, and web/read.
type shed struct{ fail error }

func (s *shed) Find(_ context.Context, patterns []string) ([]ToolInfo, error) {
	var found []ToolInfo
	for _, t := range []ToolInfo{{Server: "files", Name: "read"}, {Server: "files", Name: "write"}, {Server: "web", Name: "read"}} {
		t.Schema = map[string]any{"type": "object"}
		for _, p := range patterns {
			if p == t.Name || p == t.Server || p == t.Server+"/"+t.Name {
				found = append(found, t)
			}
		}
	}
	return found, nil
}

func (s *shed) Call(_ context.Context, server, tool string, arguments map[string]any) (ToolOutcome, error) {
	if tool == "write" {
		return ToolOutcome{Text: "the disk is full", Failed: true}, nil
	}
	return ToolOutcome{Text: fmt.Sprint(server, " has ", arguments["name"]), JSON: map[string]any{"name": arguments["name"]}}, s.fail
}

// noted keeps the calls that an attempt has recorded.
type noted struct {
	mu    sync.Mutex
	calls []string
	err   error
}

func (n *noted) note(_ context.Context, p *event.ToolCalled) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	failed := ""
	if p.Failure != nil {
		failed = " " + p.Failure.Class
	}
	n.calls = append(n.calls, fmt.Sprintf("%d %s/%s%s", p.Call, p.Server, p.Tool, failed))
	return n.err
}

// asks returns a provider that wants calls made, and then says what it was told.
func asks(calls ...model.Call) fake {
	return func(_ context.Context, r *model.Request, _ func(string)) (model.Answer, error) {
		last := r.Messages[len(r.Messages)-1]
		if len(last.Results) == 0 {
			return model.Answer{Stop: model.Calls, Calls: calls, Usage: &event.Usage{InputTokens: 1, OutputTokens: 1}}, nil
		}
		var told []string
		for _, x := range last.Results {
			told = append(told, fmt.Sprint(x.Call, ": ", x.Text, " ", x.Failed))
		}
		return model.Answer{Text: strings.Join(told, "; "), Stop: model.End, Usage: &event.Usage{InputTokens: 2, OutputTokens: 2}}, nil
	}
}

func call(id, tool, arguments string) model.Call {
	return model.Call{ID: id, Tool: tool, Arguments: json.RawMessage(arguments)}
}

// An agent's calls are made, recorded and told of, those that went wrong too; what was
// used is the sum.
func TestToolLoop(t *testing.T) {
	m := modelsOf(asks(call("1", "files__read", `{"name": "a"}`), call("2", "files__write", ``), call("3", "no_such", `{}`), call("4", "files__read", `[1]`)))
	m.Tools = &shed{}
	task := taskOf(t, "{agent: s, tools: [files]}", "")
	n := &noted{}
	task.Note = n.note
	a := m.Run(t.Context(), task)
	if a.Failure != nil {
		t.Fatal(a.Failure)
	}
	want := `1: files has a false; 2: the disk is full true; 3: There is no tool "no_such". true; 4: The arguments are no JSON object: <nil> true`
	if got := a.Result.(map[string]any)["text"]; got != want {
		t.Errorf("%s", got)
	}
	all := strings.Join(n.calls, ", ")
	if len(n.calls) != 2 || !strings.Contains(all, "files/read") || !strings.Contains(all, "files/write tool_failed") {
		t.Errorf("recorded %q", n.calls)
	}
	if a.Usage.InputTokens != 3 || a.Usage.OutputTokens != 3 {
		t.Errorf("used %+v", a.Usage)
	}
}

// What an attempt does not outlive: a tool that is not there, a server that has gone, an
// agent that never answers, another attempt that counts.
func TestToolLoopFails(t *testing.T) {
	read := call("1", "files__read", `{}`)
	forever := fake(func(context.Context, *model.Request, func(string)) (model.Answer, error) {
		return model.Answer{Stop: model.Calls, Calls: []model.Call{read}, Usage: &event.Usage{InputTokens: 1}}, nil
	})
	for want, c := range map[string]struct {
		p     model.Provider
		tools string
		shed  *shed
		note  error
	}{
		"not_found: there is no tool typo":                                {asks(read), "typo", &shed{}, nil},
		"unavailable: gone":                                               {asks(read), "files", &shed{&Failure{Class: event.ClassUnavailable, Message: "gone"}}, nil},
		"invalid_output: fake m: after 16 rounds of tools":                {forever, "files", &shed{}, nil},
		"internal: tools: the attempt no longer counts":                   {asks(read), "files", &shed{}, ErrNotCurrent},
		"not_found: there are no tools here: name MCP servers with --mcp": {asks(read), "files", nil, nil},
	} {
		m := modelsOf(c.p)
		if c.shed != nil {
			m.Tools = c.shed
		}
		task := taskOf(t, "{agent: s, tools: ["+c.tools+"]}", "")
		task.Note = (&noted{err: c.note}).note
		if a := m.Run(t.Context(), task); a.Failure == nil || !strings.HasPrefix(a.Failure.Error(), want) {
			t.Errorf("%v, want %s", a.Failure, want)
		}
	}
}

func TestToolNodes(t *testing.T) {
	for node, want := range map[string]string{
		`{tool: write}`:   "tool_failed: write: the disk is full",
		`{tool: read}`:    "not_found: several servers have a tool read: files and web; name the server",
		`{tool: nothing}`: "not_found: there is no tool nothing",
		`{tool: read, server: web, arguments: [1]}`: "tool_failed: web/read: arguments are no object",
		`{tool: read, server: web}`:                 "map[json:map[name:<nil>] text:web has <nil>]",
	} {
		task := taskOf(t, node, "")
		n := &noted{}
		task.Note = n.note
		a := (&ToolNodes{&shed{}}).Run(t.Context(), task)
		got := fmt.Sprint(a.Result)
		if a.Failure != nil {
			got = a.Failure.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", node, got, want)
		}
	}
}
