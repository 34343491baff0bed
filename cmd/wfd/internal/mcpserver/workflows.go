package mcpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine/agent"
)

// maxTools is how many workflows are tools: no client can choose among more. The
// others are there for wfd_start.
const maxTools = 500

// offer is a workflow as a tool.
type offer struct{ tool, hash string }

// offer makes tools of the registered workflows that are none, or have changed.
func (s *Server) offer(ctx context.Context) error {
	names, err := s.workflows(ctx)
	if err != nil {
		return err
	}
	for _, d := range names {
		o, there := s.offered[d.Name]
		if there && o.hash == d.Hash || !there && len(s.offered) == maxTools {
			continue
		}
		if !there {
			o.tool = agent.PlainName(d.Name, s.taken)
		}
		var full client.Definition
		if err := s.o.Client.Get(ctx, client.Request{Path: "/v1/workflows/" + url.PathEscape(d.Name)}, &full); err != nil {
			return err
		}
		o.hash = full.Hash
		if err := s.addWorkflow(o.tool, &full); err != nil {
			s.o.Logger.Warn("a workflow is no tool", "workflow", d.Name, "error", err)
		}
		s.offered[d.Name] = o
	}
	return nil
}

// workflows returns the registered workflows in their newest version, by name.
func (s *Server) workflows(ctx context.Context) ([]client.Definition, error) {
	var all []client.Definition
	q := url.Values{"limit": {"500"}}
	for {
		var page client.List[client.Definition]
		if err := s.o.Client.Get(ctx, client.Request{Path: "/v1/workflows", Query: q}, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == "" {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

// taken reports whether a tool is called name.
func (s *Server) taken(name string) bool {
	if s.commands[name] {
		return true
	}
	for _, o := range s.offered {
		if o.tool == name {
			return true
		}
	}
	return false
}

// addWorkflow adds the tool of a workflow, or puts it in the place of an older one.
func (s *Server) addWorkflow(name string, d *client.Definition) (err error) {
	var def struct {
		Description string
		Input       map[string]any
	}
	if err := json.Unmarshal(d.JSON, &def); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p) // what the library thinks of a schema
		}
	}()
	schema, wrapped := argumentsOf(def.Input)
	description := def.Description
	if description == "" {
		description = "Runs the workflow " + d.Name + "."
	}
	s.sdk.AddTool(&sdk.Tool{
		Name: name, Title: d.Name, Description: description, InputSchema: schema,
		Annotations: &sdk.ToolAnnotations{Title: d.Name},
	}, func(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		input := req.Params.Arguments
		if len(input) == 0 || string(input) == "null" {
			input = json.RawMessage(`{}`)
		}
		if wrapped {
			var in struct {
				Input json.RawMessage `json:"input"`
			}
			if err := strict(input, &in); err != nil {
				return failed(err), nil
			}
			input = in.Input
		}
		r, err := s.start(ctx, d.Name, map[string]any{"input": input, "labels": map[string]string{"via": "mcp"}})
		if err != nil {
			return failed(err), nil
		}
		return s.await(ctx, req, r, s.o.Wait), nil
	})
	return nil
}

// argumentsOf returns the schema of a tool's arguments, which are an object, for a
// workflow's input, which may be anything: then it is the argument input.
func argumentsOf(input map[string]any) (schema map[string]any, wrapped bool) {
	switch typ := input["type"]; {
	case input == nil:
		return map[string]any{"type": "object"}, false
	case typ == "object":
		return input, false
	case typ == nil && input["properties"] != nil:
		schema = map[string]any{"type": "object"}
		for k, v := range input {
			schema[k] = v
		}
		return schema, false
	}
	return map[string]any{"type": "object", "properties": map[string]any{"input": input}, "required": []string{"input"}}, true
}

// start starts a run of a workflow.
func (s *Server) start(ctx context.Context, workflow string, body map[string]any) (*client.Run, error) {
	if v, ok := body["input"].(json.RawMessage); ok && len(v) == 0 {
		delete(body, "input")
	}
	return s.command(ctx, "/v1/workflows/"+url.PathEscape(workflow)+"/runs", body)
}
