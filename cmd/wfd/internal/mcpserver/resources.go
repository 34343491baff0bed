package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/wfd-dev/wfd/client"
)

const (
	scheme = "wfd://"
	// pageSize is how many runs, or events, one answer has.
	pageSize = 100
)

func runURI(id string) string { return scheme + "runs/" + id }

// addResources adds what can be read: runs are listed as they are, and everything
// about one has a template.
func (s *Server) addResources() {
	for _, t := range []struct{ uri, name, what string }{
		{"runs/{run}", "run", "A run as it stands: status, input, output, error, what it waits for."},
		{"runs/{run}/state", "state", "The state of a run and the status and result of its nodes."},
		{"runs/{run}/events{?after}", "events", fmt.Sprintf("The events of a run, oldest first, %d at a time; next_cursor is the after of the next page.", pageSize)},
		{"workflows/{workflow}", "workflow", "The newest version of a workflow's definition."},
	} {
		s.sdk.AddResourceTemplate(&sdk.ResourceTemplate{Name: t.name, Description: t.what, MIMEType: "application/json", URITemplate: scheme + t.uri}, s.read)
	}
	s.sdk.AddReceivingMiddleware(func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
			list, ok := req.(*sdk.ListResourcesRequest)
			if !ok {
				return next(ctx, method, req)
			}
			return s.listResources(ctx, list, next, method)
		}
	})
}

// listResources lists the runs, newest first, in the place of the fixed resources, of
// which there are none.
func (s *Server) listResources(ctx context.Context, req *sdk.ListResourcesRequest, next sdk.MethodHandler, method string) (sdk.Result, error) {
	cursor := ""
	if req.Params != nil {
		cursor, req.Params.Cursor = req.Params.Cursor, ""
	}
	out, err := next(ctx, method, req)
	result, ok := out.(*sdk.ListResourcesResult)
	if err != nil || !ok {
		return out, err
	}
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	var page client.List[client.Row]
	if err := s.o.Client.Get(ctx, client.Request{Path: "/v1/runs", Query: q}, &page); err != nil {
		return nil, err
	}
	result.NextCursor = page.Next
	for _, r := range page.Items {
		result.Resources = append(result.Resources, &sdk.Resource{
			URI: runURI(r.ID), Name: r.ID, Title: r.Workflow + " " + r.ID, MIMEType: "application/json",
			Description: fmt.Sprintf("A run of %s, %s since %s", r.Workflow, r.Status, r.Updated.UTC().Format("2006-01-02 15:04:05Z")),
		})
	}
	return result, nil
}

// read reads a resource.
func (s *Server) read(ctx context.Context, req *sdk.ReadResourceRequest) (*sdk.ReadResourceResult, error) {
	uri := req.Params.URI
	u, err := url.Parse(uri)
	if err != nil || !stays(u) {
		return nil, sdk.ResourceNotFoundError(uri)
	}
	r := client.Request{Path: "/v1/" + u.Host + u.EscapedPath()}
	if strings.HasSuffix(u.Path, "/events") {
		r.Query = url.Values{"limit": {strconv.Itoa(pageSize)}, "cursor": {u.Query().Get("after")}}
	}
	raw, _, err := s.o.Client.Do(ctx, r)
	var p *client.Problem
	switch {
	case errors.As(err, &p) && p.Status == 404:
		return nil, sdk.ResourceNotFoundError(uri)
	case err != nil:
		return nil, err
	case !json.Valid(raw):
		return nil, fmt.Errorf("%s is no JSON", uri)
	}
	return &sdk.ReadResourceResult{Contents: []*sdk.ResourceContents{{URI: uri, MIMEType: "application/json", Text: string(raw)}}}, nil
}

// stays reports whether a resource is what its template says: no part of its path leads
// elsewhere in the API.
func stays(u *url.URL) bool {
	parts := strings.Split(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	return (u.Host == "runs" || u.Host == "workflows") && !slices.ContainsFunc(parts, func(part string) bool {
		name, err := url.PathUnescape(part)
		return err != nil || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\")
	})
}
