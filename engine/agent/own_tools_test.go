package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/projection/event"
)

// flows is workflows that answer with what they were called with.
type flows struct {
	mu   sync.Mutex
	keys []string
}

func (f *flows) Describe(_ context.Context, name string) (string, map[string]any, error) {
	if name != "refund" {
		return "", nil, &Failure{Class: event.ClassNotFound, Message: "no workflow " + name, Again: new(bool)}
	}
	return "Pays back", map[string]any{"type": "object", "required": []any{"order"}}, nil
}

func (f *flows) Call(_ context.Context, tool, name, key string, input map[string]any) (ToolOutcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = append(f.keys, key)
	return ToolOutcome{Text: fmt.Sprint(tool, " ran ", name, " on ", input["order"])}, nil
}

// An agent's own tools are called, recorded and told of as those of servers are. What the
// arguments say means nothing in a URL but themselves, and secrets come back to nobody.
func TestOwnTools(t *testing.T) {
	t.Setenv("WFD_SECRET_CRM", "very-secret-token")
	var mu sync.Mutex
	var seen, keys []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method+" "+r.URL.EscapedPath()+" "+r.URL.Query().Get("q"))
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		if strings.Contains(r.URL.Path, "gone") {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprintf(w, "%s for %s", r.URL.EscapedPath(), r.Header.Get("Authorization"))
	}))
	defer srv.Close()
	agent, problems := roster.Parse("s.md", []byte(`---
role: s
tools:
  - name: lookup
    description: Looks a customer up
    arguments: {type: object, required: [id], properties: {id: {type: string}}}
    http:
      url: `+srv.URL+`/c/${arguments.id}/x?q=${arguments.id}
      headers: {Authorization: "Bearer ${secrets.CRM}"}
      allow_private: true
  - name: inside
    http: {url: "`+srv.URL+`/"}
  - {name: refund, workflow: refund}
---
You help.
`))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	m := modelsOf(asks(
		call("1", "lookup", `{"id": "a/b?c=1&q=z #%"}`), call("2", "lookup", `{"id": 5}`), call("3", "lookup", `{"id": ".."}`),
		call("4", "lookup", `{"id": "gone"}`), call("5", "inside", `{}`), call("6", "refund", `{"order": 7}`), call("7", "refund", `{"order": 7}`)))
	var err error
	if m.Secrets, err = secret.Open(""); err != nil {
		t.Fatal(err)
	}
	task := taskOf(t, "{agent: s}", "")
	agent.Provider, agent.Model = task.Agent.Provider, task.Agent.Model
	task.Agent = agent
	n, f := &noted{}, &flows{}
	task.Note, task.Workflows = n.note, f
	a := m.Run(t.Context(), task)
	if a.Failure != nil {
		t.Fatal(a.Failure)
	}
	told := fmt.Sprint(a.Result.(map[string]any)["text"])
	for _, want := range []string{
		"1: /c/a%2Fb%3Fc%3D1%26q%3Dz%20%23%25/x for Bearer [secret", "2: The arguments are not as they should be: /id is a number, wanted is a string true",
		"3: The arguments do not fit: . and .. are no part of a path true", "4: not_found: GET 127.0.0.1:", "5: ", "private",
		"6: refund ran refund on 7 false", "7: refund ran refund on 7 false",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in\n%s", want, told)
		}
	}
	if strings.Contains(told, "very-secret") {
		t.Error(told)
	}
	if len(seen) != 2 || len(n.calls) != 7 || keys[0] == keys[1] || !strings.HasPrefix(keys[0], task.Key()+"/lookup/") {
		t.Errorf("asked %q with %q, recorded %q", seen, keys, n.calls)
	}
	if len(f.keys) != 2 || f.keys[0] == f.keys[1] {
		t.Errorf("keys %q", f.keys)
	}
	for _, c := range n.calls {
		if !strings.Contains(c, " http/") && !strings.Contains(c, " workflow/refund") {
			t.Error(c)
		}
	}

	// A node names the tools that it wants of them; one that is not there is an error.
	task = taskOf(t, "{agent: s, tools: [refund]}", "")
	task.Agent, task.Workflows = agent, f
	set, err := toolsetOf(t.Context(), nil, task)
	if err != nil || len(set.tools) != 1 || set.tools[0].Name != "refund" || set.tools[0].Description != "Pays back" || set.tools[0].Schema["required"] == nil {
		t.Errorf("%+v, %v", set.tools, err)
	}
	task.Workflows = nil
	if _, err := toolsetOf(t.Context(), nil, task); err == nil {
		t.Error("a workflow is called from nowhere")
	}
}
