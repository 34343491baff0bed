package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/engine/agent/roster"
)

// What team-b has, and what stands for it where nothing is.
const (
	theirPlan, noPlan = "hidden-plan", "absent-plan"
	absentRun         = "01M84KD0WN38M2V8JMNSE3D6WV"
)

const theirDefinition = `
name: hidden-plan
nodes:
  start: {parallel: {}}
  ask: {needs: [start], human: {prompt: "the hidden question", timeout: 48h, on_timeout: no}}
  work: {needs: [start], worker: dig, input: {what: "the hidden work"}}
  no: {end: failed}
`

// bodies are what operations are asked with that change something or need to be told;
// RUN is a run of team-b, PLAN its workflow, TOKEN what its worker has.
var bodies = map[string]string{
	"register-workflow": "name: mine\nnodes: {a: {end: completed}}\n",
	"start-run":         `{}`,
	"set-budget":        `{"usd": 1}`,
	"what-if":           `{"definition": "name: PLAN\nnodes: {a: {end: completed}}", "runs": ["RUN"]}`,
	"poll-tasks":        `{"worker": "mine", "handlers": ["dig"], "max": 10}`,
	"heartbeat-task":    `{"token": "TOKEN"}`,
	"complete-task":     `{"token": "TOKEN", "result": 1}`,
	"fail-task":         `{"token": "TOKEN"}`,
	"release-task":      `{"token": "TOKEN"}`,

	"create-schedule": `{"name": "made", "cron": "@daily", "workflow": "PLAN"}`, "pause-schedule": `{}`, "resume-schedule": `{}`, "delete-schedule": `{}`,
	"backfill-schedule": `{"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}`,
	"create-hook-in":    `{"name": "made", "secret": "S", "workflow": "PLAN"}`, "pause-hook-in": `{}`, "resume-hook-in": `{}`, "delete-hook-in": `{}`,
	"create-hook-out": `{"name": "made", "url": "https://example.org/x", "secret": "S", "workflows": ["PLAN"]}`, "pause-hook-out": `{}`, "resume-hook-out": `{}`, "delete-hook-out": `{}`,
}

// queries are parameters that operations cannot do without.
var queries = map[string]string{"audit-proof": "?seq=SEQ", "audit-consistency": "?from=0"}

// TestNamespaces goes over every operation with the token of one namespace and what
// another one has: there is nothing of it to be seen, and a name of it is answered as
// one that nothing has.
func TestNamespaces(t *testing.T) {
	agents, problems, err := roster.New(roster.Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	s := serveOn(t, engine.Options{}, func(o *Options) { o.Auth, o.Token, o.Agents = true, "the first", agents })
	root := "Authorization: Bearer the first"
	token := func(name, namespace string) string {
		resp, body := s.do("POST", "/v1/tokens", fmt.Sprintf(`{"name": %q, "scopes": ["operate", "worker"], "namespace": %q}`, name, namespace), root)
		var made NewToken
		if err := json.Unmarshal([]byte(body), &made); err != nil || resp.StatusCode != 201 || made.Namespace != namespace {
			t.Fatalf("%s %s", resp.Status, body)
		}
		return "Authorization: Bearer " + made.Text
	}
	mine, their := token("ann", "team-a"), token("bob", "team-b")
	ask := func(want int, who, method, path, body string, headers ...string) string {
		t.Helper()
		resp, got := s.do(method, path, body, append(headers, who)...)
		if resp.StatusCode != want {
			t.Fatalf("%s %s: %s %s", method, path, resp.Status, got)
		}
		return got
	}
	ask(201, their, "POST", "/v1/workflows", theirDefinition, "Content-Type: application/yaml")
	var theirRun, myRun engine.Run
	json.Unmarshal([]byte(ask(201, their, "POST", "/v1/workflows/hidden_plan/runs", `{"labels": {"of": "hidden"}}`)), &theirRun)
	ask(201, mine, "POST", "/v1/workflows", "name: mine\nnodes: {a: {human: {prompt: my question}}}\n", "Content-Type: application/yaml")
	json.Unmarshal([]byte(ask(201, mine, "POST", "/v1/workflows/mine/runs", `{}`)), &myRun)
	if theirRun.Namespace != "team-b" || myRun.Namespace != "team-a" {
		t.Fatalf("%+v %+v", theirRun, myRun)
	}
	var polled PollAnswer
	json.Unmarshal([]byte(ask(200, their, "POST", "/v1/tasks/poll", `{"worker": "hidden-worker", "handlers": ["dig"]}`)), &polled)
	if len(polled.Tasks) != 1 || polled.Tasks[0].Run != theirRun.ID {
		t.Fatalf("their own worker was handed %+v", polled)
	}
	held := polled.Tasks[0]
	ask(200, root, "POST", "/v1/budgets/workflow:hidden-plan", `{"usd": 7}`, NamespaceHeader+": team-b")
	// Each namespace has triggers of all types under the same names. A name is one of any type.
	ask(201, their, "POST", "/v1/schedules", `{"name": "hidden-plan", "cron": "0 0 1 1 *", "workflow": "hidden-plan"}`)
	for n, w := range map[string]string{"team-b": "hidden-plan", "team-a": "mine"} {
		ask(201, root, "POST", "/v1/hooks/in", `{"name": "`+w+`-in", "secret": "S", "workflow": "`+w+`"}`, NamespaceHeader+": "+n)
		ask(201, root, "POST", "/v1/hooks/out", `{"name": "`+w+`-out", "url": "https://example.org/`+w+`", "secret": "S"}`, NamespaceHeader+": "+n)
	}
	ask(201, mine, "POST", "/v1/schedules", `{"name": "mine", "cron": "0 0 1 1 *", "workflow": "mine"}`)
	if list := ask(200, mine, "GET", "/v1/runs", ""); !strings.Contains(list, myRun.ID.String()) {
		t.Fatalf("my own run is not in %s", list)
	}

	version, err := s.log.Version(theirRun.ID)
	if err != nil {
		t.Fatal(err)
	}
	id := theirRun.ID.String()
	hidden := []string{id, theirPlan, "hidden", "team-b", "bob", held.Token}
	// named is a text with the names of what is theirs, or of nothing.
	named := func(text string, there bool) string {
		run, plan, seq := absentRun, noPlan, s.log.Head()+1
		if there {
			run, plan, seq = id, theirPlan, theirRun.Seq
		}
		return strings.NewReplacer("RUN", run, "PLAN", plan, "TOKEN", held.Token, "SEQ", fmt.Sprint(seq)).Replace(text)
	}
	who := []string{mine}
	alike := func(what, method, path, body string, headers ...string) {
		t.Helper()
		resp, got := s.do(method, named(path, true), named(body, true), append(headers, who...)...)
		none, absent := s.do(method, named(path, false), named(body, false), append(headers, who...)...)
		plain := func(s string) string {
			return strings.NewReplacer(id, "RUN", absentRun, "RUN", theirPlan, "PLAN", noPlan, "PLAN").Replace(s)
		}
		if resp.StatusCode != none.StatusCode || plain(got) != plain(absent) {
			// A proof says how long the log is, which is no secret.
			if !strings.Contains(path, "/audit/proof") || resp.StatusCode != none.StatusCode {
				t.Errorf("%s: what is theirs: %s %s\nwhat is not there: %s %s", what, resp.Status, got, none.Status, absent)
			}
		}
		for _, h := range hidden[2:] {
			if strings.Contains(strings.ReplaceAll(got, theirPlan, ""), h) {
				t.Errorf("%s: %q is in %s", what, h, got)
			}
		}
	}
	for _, op := range s.operations() {
		if public[op.id] {
			continue
		}
		path := strings.NewReplacer("/v1/tasks/{id}", "/v1/tasks/"+strings.Replace(held.ID.String(), id, "RUN", 1), "{id}", "RUN", "{name}", "PLAN", "{budget}", "workflow:PLAN").Replace(op.path) + queries[op.id]
		for _, direction := range []string{"in", "out"} { // what is theirs is hidden-plan-in
			path = strings.Replace(path, "/hooks/"+direction+"/PLAN", "/hooks/"+direction+"/PLAN-"+direction, 1)
		}
		body, ok := bodies[op.id]
		kind := "Content-Type: application/json"
		if op.id == "register-workflow" {
			kind = "Content-Type: application/yaml"
		}
		switch about[op.id] {
		case theLog:
			if resp, got := s.do(op.method, named(path, true), "{}", mine, kind); resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s: %s %s", op.id, resp.Status, got)
			}
			continue
		case ofRun:
			if resp, got := s.do(op.method, named(path, true), "{}", mine, kind); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s %s", op.id, resp.Status, got)
			}
		case within, theirs:
			if op.method != "GET" && !ok {
				t.Errorf("%s: this test does not know what it is asked with: see bodies", op.id)
			}
		}
		if scopes[op.id] == access.Admin && about[op.id] == within { // which only those have who are kept to none
			who = []string{root, NamespaceHeader + ": team-a"}
		}
		alike(op.id, op.method, path, body, kind)
		who = []string{mine}
		if resp, got := s.do(op.method, named(path, true), named(body, true), mine, kind, NamespaceHeader+": team-b"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s in their namespace: %s %s", op.id, resp.Status, got)
		}
	}
	own := "/v1/runs/" + myRun.ID.String()
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/v1/inbox?run=RUN", ""}, {"GET", "/v1/inbox?workflow=PLAN", ""}, {"GET", "/v1/timers?run=RUN", ""},
		{"GET", "/v1/runs?workflow=PLAN", ""}, {"GET", "/v1/runs?label=of%3Dhidden", ""}, {"GET", "/v1/runs?status=waiting", ""},
		{"GET", "/v1/audit/log?run=RUN&all=true", ""}, {"GET", "/v1/audit/log?all=true", ""}, {"GET", "/v1/audit/log?actor=token:", ""},
		{"GET", "/v1/cost?by=run", ""}, {"GET", "/v1/cost?by=node", ""}, {"GET", own + "/diff?with=RUN", ""},
		{"POST", "/v1/whatif", `{"definition": "name: x\nnodes: {a: {end: completed}}", "workflow": "PLAN"}`},
		{"POST", own + "/fork", `{"workflow": "PLAN"}`}, {"POST", "/v1/budgets/workflow:PLAN", `{"usd": 2}`},
	} {
		alike(r.method+" "+r.path, r.method, r.path, r.body)
	}
	for _, accept := range []string{"application/json", "application/x-ndjson", "text/event-stream"} {
		got := ask(200, mine, "GET", "/v1/events?follow=false&limit=1000", "", "Accept: "+accept)
		for _, h := range hidden {
			if strings.Contains(got, h) {
				t.Errorf("all events as %s have %q", accept, h)
			}
		}
		if !strings.Contains(got, myRun.ID.String()) || !strings.Contains(got, "definition.registered") || !strings.Contains(got, "team-a/mine-in") {
			t.Errorf("all events as %s lack what is mine: %s", accept, got)
		}
	}
	// A name leads to no other namespace, nor does the path of a hook.
	for _, path := range []string{"/v1/schedules/hidden-plan", "/v1/schedules/team-b%2Fhidden-plan", "/v1/hooks/in/hidden-plan-in", "/v1/hooks/out/team-b%2Fhidden-plan-out"} {
		ask(404, root, "GET", path, "")
		ask(404, mine, "GET", path, "")
	}
	if got := ask(200, their, "GET", "/v1/schedules/hidden-plan", ""); !strings.Contains(got, `"name":"hidden-plan","namespace":"team-b"`) || !strings.Contains(got, `"started":0`) {
		t.Errorf("their schedule: %s", got)
	}
	if got := ask(200, root, "GET", "/v1/hooks/in", "", NamespaceHeader+": team-a"); !strings.Contains(got, `"path":"/hooks/team-a/mine-in"`) || strings.Contains(got, "hidden") {
		t.Errorf("hooks of team-a: %s", got)
	}
	for path, want := range map[string]int{
		"/hooks/mine-in": 404, "/hooks/team-b/mine-in": 404, "/hooks/Team%20A/mine-in": 404, "/hooks/default/mine-in": 404, "/hooks/team-a%2Fmine-in": 404,
		"/hooks/team-a/mine-in": 503, // it has no secret here
	} {
		if resp, got := s.do("POST", path, `{}`); resp.StatusCode != want {
			t.Errorf("%s: %s %s", path, resp.Status, got)
		}
	}
	// An ID that is taken is refused, and nothing is said of who has it.
	if got := ask(409, mine, "POST", "/v1/workflows/mine/runs", `{"id": "`+id+`"}`); strings.Contains(got, "hidden") {
		t.Errorf("%s", got)
	}
	ask(403, mine, "POST", "/v1/budgets/day", `{"usd": 2}`)
	ask(403, mine, "GET", "/v1/runs", "", NamespaceHeader+": default")
	ask(200, mine, "GET", "/v1/runs", "", NamespaceHeader+": team-a")
	ask(422, root, "GET", "/v1/runs", "", NamespaceHeader+": Team A")
	ask(404, root, "GET", "/v1/runs/"+id, "")
	ask(200, root, "GET", "/v1/runs/"+id, "", NamespaceHeader+": team-b")
	ask(422, root, "POST", "/v1/tokens", `{"name": "x", "scopes": ["admin"], "namespace": "team-a"}`)
	if got := ask(200, root, "GET", "/v1/events?limit=1000", ""); !strings.Contains(got, id) || !strings.Contains(got, myRun.ID.String()) {
		t.Error("who is kept to no namespace does not see the whole log")
	}
	if got := ask(200, mine, "GET", "/v1/whoami", ""); !strings.Contains(got, `"namespace":"team-a"`) || strings.Contains(got, "team-b") {
		t.Error(got)
	}
	if now, err := s.log.Version(theirRun.ID); err != nil || now != version {
		t.Errorf("their run was moved from version %d to %d, %v", version, now, err)
	}
	ask(200, their, "POST", "/v1/tasks/"+held.ID.String()+"/complete", `{"token": "`+held.Token+`", "result": 1}`)
}
