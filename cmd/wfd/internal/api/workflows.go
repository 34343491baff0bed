package api

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/replay"
)

// Applied is what registering a definition gave.
type Applied struct {
	engine.Registered
	Warnings workflow.Problems `json:"warnings"`
}

// Definition is a registered version of a workflow with its text.
type Definition struct {
	projection.Definition
	JSON   json.RawMessage `json:"definition"`
	Source string          `json:"source,omitempty" doc:"the text as it was handed in"`
	Graph  *replay.Graph   `json:"graph,omitempty"`
}

type registerInput struct {
	Type    string `header:"Content-Type" default:"application/yaml" doc:"application/yaml or application/json"`
	File    string `query:"file" maxLength:"4096" doc:"name of the file, for problems"`
	From    string `query:"from" enum:"wfd,template" default:"wfd" doc:"template: a JSON template of the original engine"`
	RawBody []byte `contentType:"application/yaml"`
}

type namedInput struct {
	Name    string `path:"name" maxLength:"256" doc:"letter case, - and _ alike"`
	Version int    `query:"version" minimum:"0" doc:"0: the newest"`
}

func (a *API) workflows(h huma.API, defs replay.Definitions) {
	const tag = "workflows"
	register(h, operation{method: "POST", path: "/v1/workflows", id: "register-workflow", status: 201, tag: tag,
		summary: "Register a definition as the next version of its name"}, a.register)
	register(h, operation{method: "GET", path: "/v1/workflows", id: "list-workflows", tag: tag,
		summary: "List the workflows in their newest version"},
		func(ctx context.Context, in *Paged) (*answer[List[projection.Definition]], error) {
			return listOf(a.o.Views.Definitions(ctx, namespace(ctx), in.Cursor, in.Limit))
		})
	register(h, operation{method: "GET", path: "/v1/workflows/{name}", id: "get-workflow", tag: tag,
		summary: "A version of a workflow with its text"},
		func(ctx context.Context, in *namedInput) (*answer[Definition], error) {
			def, err := a.o.Views.Definition(ctx, namespace(ctx), in.Name, in.Version)
			if err != nil {
				return nil, err
			}
			out := Definition{Definition: def, JSON: json.RawMessage(def.JSON), Source: def.Source}
			if w, err := defs.ByHash(def.Hash); err == nil {
				g := replay.GraphOf(w)
				out.Graph = &g
			}
			return &answer[Definition]{out}, nil
		})
	register(h, operation{method: "GET", path: "/v1/workflows/{name}/versions", id: "list-versions", tag: tag,
		summary: "List the versions of a workflow, oldest first"},
		func(ctx context.Context, in *struct {
			Name string `path:"name" maxLength:"256"`
			Paged
		}) (*answer[List[projection.Definition]], error) {
			return listOf(a.o.Views.DefinitionVersions(ctx, namespace(ctx), in.Name, in.Cursor, in.Limit))
		})
}

// definitionTypes are the media types that a definition may come as. The text
// itself tells YAML from JSON.
var definitionTypes = map[string]bool{
	"application/yaml": true, "application/x-yaml": true, "text/yaml": true, "text/x-yaml": true,
	"application/json": true, "text/plain": true,
}

func (a *API) register(ctx context.Context, in *registerInput) (*answer[Applied], error) {
	if media, _, err := mime.ParseMediaType(in.Type); err != nil || !definitionTypes[media] {
		return nil, problem("media-type", fmt.Sprintf("a definition cannot come as %q", in.Type), "send application/yaml or application/json")
	}
	wf, notes, err := Compile(in.File, in.RawBody, in.From == "template")
	if err != nil {
		return nil, err
	}
	reg, err := a.o.Engine.RegisterIn(ctx, namespace(ctx), wf, strings.Clone(string(in.RawBody)), by(ctx, Keyed{}).Actor)
	if err != nil {
		return nil, err
	}
	return &answer[Applied]{Applied{reg, notes}}, nil
}

// Compile makes a definition, or a template of the original engine, ready to
// run, and returns what is worth knowing about it. The error holds all problems.
func Compile(file string, text []byte, template bool) (*workflow.Workflow, workflow.Problems, error) {
	var wf *workflow.Workflow
	var problems workflow.Problems
	if template {
		var def *workflow.Definition
		if def, problems = workflow.Import(file, text); !problems.HasErrors() {
			wf, _ = workflow.Compile(def) // its problems are among those of Import
		}
	} else {
		wf, problems = workflow.Load(file, text)
	}
	if err := problems.Err(); err != nil {
		return nil, nil, err
	}
	if problems == nil {
		problems = workflow.Problems{} // [] in JSON
	}
	return wf, problems, nil
}
