package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/client"
)

// commandPrefix begins the names of the tools that are no workflows.
const commandPrefix = "wfd_"

// arguments are those of all commands; the schema of each says which it takes.
type arguments struct {
	Workflow string            `json:"workflow"`
	Version  int               `json:"version"`
	Input    json.RawMessage   `json:"input"`
	Labels   map[string]string `json:"labels"`
	Run      string            `json:"run"`
	Wait     *float64          `json:"wait"`
	Node     string            `json:"node"`
	Visit    int               `json:"visit"`
	Value    json.RawMessage   `json:"value"`
	Name     string            `json:"name"`
	Reason   string            `json:"reason"`
	Status   string            `json:"status"`
	Limit    int               `json:"limit"`
}

// field describes an argument.
type field struct {
	name, typ, what string
	must            bool
}

var (
	anyRun  = field{"run", "string", "the run's ID", true}
	anyWait = field{"wait", "number", fmt.Sprintf("seconds to wait at most, up to %d", int(MaxWait.Seconds())), false}
)

// addCommands adds the tools that are no workflows.
func (s *Server) addCommands() {
	s.add("runs", "List runs, newest first: which there are, and how they stand.", true, s.listRuns,
		field{"workflow", "string", "only runs of this workflow", false},
		field{"status", "string", "only runs that are pending, running, waiting, paused, completed, failed or cancelled", false},
		field{"limit", "integer", "how many; 20 if left out", false})
	s.add("start", "Start a run of a workflow and do not wait for it. The answer has the run's ID.", false, s.startRun,
		field{"workflow", "string", "the workflow's name", true}, field{"input", "", "the run's input, any value", false},
		field{"version", "integer", "of the workflow; the newest if left out", false}, field{"labels", "object", "words to find the run by", false})
	s.add("await", "Wait until a run has ended or asks something, and say how it stands. Repeat it while the run goes on.", true, s.awaitRun, anyRun, anyWait)
	s.add("inbox", "List the questions of runs that wait for an answer, newest first.", true, s.inbox,
		field{"run", "string", "only of this run", false}, field{"limit", "integer", "how many; 20 if left out", false})
	s.add("answer", "Answer a question of a run, then wait for the run as wfd_await does.", false, s.answer, anyRun,
		field{"value", "", "the answer; it has to fit the question's form", true},
		field{"node", "string", "the node that asks; needed if several do", false}, field{"visit", "integer", "the node's visit; the present one if left out", false}, anyWait)
	s.add("signal", "Send a run a signal, then wait for the run as wfd_await does.", false, s.signal, anyRun,
		field{"name", "string", "the signal's name", true}, field{"value", "", "what it carries, any value", false}, anyWait)
	s.add("cancel", "End a run for good.", false, s.cancel, anyRun, field{"reason", "string", "why; it is kept", false})
}

type command func(ctx context.Context, req *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error)

func (s *Server) add(name, what string, reads bool, f command, fields ...field) {
	properties, required, known := map[string]any{}, []string{}, map[string]bool{}
	for _, x := range fields {
		p := map[string]any{"description": x.what}
		if x.typ != "" {
			p["type"] = x.typ
		}
		properties[x.name], known[x.name] = p, true
		if x.must {
			required = append(required, x.name)
		}
	}
	s.commands[commandPrefix+name] = true
	s.sdk.AddTool(&sdk.Tool{
		Name: commandPrefix + name, Description: what, Annotations: &sdk.ToolAnnotations{ReadOnlyHint: reads},
		InputSchema: map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false},
	}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		in, err := parse(req.Params.Arguments, known, required)
		if err != nil {
			return failed(err), nil
		}
		r, err := f(ctx, req, in)
		if err != nil {
			return failed(err), nil
		}
		return r, nil
	})
}

// parse reads the arguments of a command.
func parse(raw json.RawMessage, known map[string]bool, required []string) (*arguments, error) {
	if len(bytes.TrimSpace(raw)) == 0 || string(raw) == "null" {
		raw = json.RawMessage(`{}`)
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return nil, errors.New("the arguments are no JSON object")
	}
	for name := range given {
		if !known[name] {
			return nil, fmt.Errorf("there is no argument %q", name)
		}
	}
	for _, name := range required {
		if given[name] == nil {
			return nil, fmt.Errorf("the argument %s is missing", name)
		}
	}
	in := &arguments{}
	if err := strict(raw, in); err != nil {
		return nil, err
	}
	return in, nil
}

func strict(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the arguments are not as the tool has them: %w", err)
	}
	return nil
}

// wait is how long a command waits.
func (s *Server) wait(in *arguments) time.Duration {
	if in.Wait == nil {
		return s.o.Wait
	}
	return time.Duration(max(0, min(*in.Wait, MaxWait.Seconds())) * float64(time.Second))
}

func (s *Server) startRun(ctx context.Context, _ *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	labels := map[string]string{"via": "mcp"}
	for k, v := range in.Labels {
		labels[k] = v
	}
	body := map[string]any{"input": in.Input, "labels": labels}
	if in.Version != 0 {
		body["version"] = in.Version
	}
	r, err := s.start(ctx, in.Workflow, body)
	if err != nil {
		return nil, err
	}
	return s.told(ctx, r), nil
}

func (s *Server) awaitRun(ctx context.Context, req *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	var r client.Run
	if err := s.o.Client.Get(ctx, client.Request{Path: runPath(in.Run)}, &r); err != nil {
		return nil, err
	}
	return s.await(ctx, req, &r, s.wait(in)), nil
}

// give gives a run a command, and waits for what it does then.
func (s *Server) give(ctx context.Context, req *sdk.CallToolRequest, in *arguments, name string, body map[string]any) (*sdk.CallToolResult, error) {
	r, err := s.command(ctx, runPath(in.Run)+"/"+name, body)
	if err != nil {
		return nil, err
	}
	return s.await(ctx, req, r, s.wait(in)), nil
}

func (s *Server) answer(ctx context.Context, req *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	body := map[string]any{"value": in.Value}
	if in.Node != "" {
		body["node"] = in.Node
	}
	if in.Visit != 0 {
		body["visit"] = in.Visit
	}
	return s.give(ctx, req, in, "answer", body)
}

func (s *Server) signal(ctx context.Context, req *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	body := map[string]any{"name": in.Name}
	if len(in.Value) > 0 {
		body["value"] = in.Value
	}
	return s.give(ctx, req, in, "signal", body)
}

func (s *Server) cancel(ctx context.Context, _ *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	r, err := s.command(ctx, runPath(in.Run)+"/cancel", map[string]any{"reason": in.Reason})
	if err != nil {
		return nil, err
	}
	result := s.told(ctx, r)
	result.IsError = false // it is what was asked for
	return result, nil
}

func (s *Server) listRuns(ctx context.Context, _ *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	return s.list(ctx, "/v1/runs", in, map[string]string{"workflow": in.Workflow, "status": in.Status})
}

func (s *Server) inbox(ctx context.Context, _ *sdk.CallToolRequest, in *arguments) (*sdk.CallToolResult, error) {
	return s.list(ctx, "/v1/inbox", in, map[string]string{"run": in.Run})
}

// list answers with a page of a list.
func (s *Server) list(ctx context.Context, path string, in *arguments, filter map[string]string) (*sdk.CallToolResult, error) {
	limit := in.Limit
	if limit == 0 {
		limit = 20
	}
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	for k, v := range filter {
		if v != "" {
			q.Set(k, v)
		}
	}
	raw, _, err := s.o.Client.Do(ctx, client.Request{Path: path, Query: q})
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimSpace(raw)
	return &sdk.CallToolResult{StructuredContent: raw, Content: []sdk.Content{&sdk.TextContent{Text: string(raw)}}}, nil
}
