package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine"
)

const paint = "name: paint\nnodes: {a: {worker: {worker: paint, input: {color: red}}, retry: {max: 5, backoff: 1ms}}}"

type polled struct {
	Tasks []struct {
		ID, Token string
		Attempt   int
		Input     map[string]any
	}
}

// one polls for one task and returns its path and its token.
func (s *server) one(worker string) (path, token string) {
	s.t.Helper()
	var p polled
	b := s.want(200, "POST", "/v1/tasks/poll", `{"worker": "`+worker+`", "handlers": ["paint"], "wait": "5s"}`)
	if err := json.Unmarshal([]byte(b), &p); err != nil || len(p.Tasks) != 1 {
		s.t.Fatalf("%v: %s", err, b)
	}
	return "/v1/tasks/" + p.Tasks[0].ID, p.Tasks[0].Token
}

// A worker written against the API: it polls, beats, completes, fails and releases.
func TestTasks(t *testing.T) {
	s := serveOn(t, engine.Options{}, nil)
	s.apply(paint)
	if b := s.want(200, "POST", "/v1/tasks/poll", `{"worker": "w", "handlers": ["paint"], "queues": null, "wait": null, "lease": null}`); b != `{"tasks":[]}`+"\n" {
		t.Fatal(b)
	}
	id := s.start("paint", "")
	path, token := s.one("w")
	if b := s.want(200, "POST", path+"/heartbeat", `{"token": "`+token+`", "lease": 90, "checkpoint": {"page": 3}, "progress": "3 of 9"}`); field(t, b, "status") != "running" {
		t.Error(b)
	}
	s.want(200, "POST", path+"/heartbeat", `{"token": "`+token+`", "checkpoint": null, "progress": null}`) // as before
	if b := s.want(200, "GET", "/v1/runs/"+id, ""); !strings.Contains(b, "is done by worker w (attempt 1): 3 of 9.") {
		t.Error(b)
	}
	if b := s.want(200, "GET", "/v1/workers", ""); !strings.Contains(b, `"handlers":["paint"]`) || !strings.Contains(b, `"progress":"3 of 9"`) {
		t.Error(b)
	}
	if b := s.want(200, "POST", path+"/release", `{"token": "`+token+`", "reason": "a new version"}`); field(t, b, "status") != "released" {
		t.Error(b)
	}
	b := s.want(200, "POST", "/v1/tasks/poll", `{"worker": "w", "handlers": ["paint"], "wait": 5}`)
	if !strings.Contains(b, `"checkpoint":{"page":3}`) || !strings.Contains(b, `"attempt":2`) {
		t.Fatal(b)
	}
	var p polled
	json.Unmarshal([]byte(b), &p)
	fail := `{"token": "` + p.Tasks[0].Token + `", "class": "rate_limit", "message": "slow down", "after": "10ms", "usage": {"input_tokens": 3}}`
	for range 2 {
		if b := s.want(200, "POST", path+"/fail", fail); field(t, b, "status") != "failed" {
			t.Error(b)
		}
	}
	path, token = s.one("w")
	for range 2 {
		s.want(200, "POST", path+"/complete", `{"token": "`+token+`", "result": {"n": 9007199254740993}}`)
	}
	if b := s.want(200, "GET", "/v1/runs/"+id+"?wait=5s", ""); !strings.Contains(b, `"output":{"n":9007199254740993}`) {
		t.Error(b)
	}
	if b := s.want(200, "GET", "/v1/runs/"+id+"/events?kind=node.lost", ""); !strings.Contains(b, `"actor":"worker:w@local"`) || !strings.Contains(b, "worker w released it: a new version") {
		t.Error(b)
	}
}

// Whatever a worker sends, it is told what is wrong, and the task is as it was.
func TestWrongWorkers(t *testing.T) {
	s := serveOn(t, engine.Options{}, nil)
	s.apply(paint)
	s.start("paint", "")
	path, token := s.one("w")
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	with := func(rest string) string { return `{"token": "` + token + `"` + rest + `}` }
	for _, c := range []struct {
		path, body string
		status     int
		slug, text string
	}{
		{"/v1/tasks/poll", "", 400, "malformed", "body"},
		{"/v1/tasks/poll", "{", 400, "malformed", ""},
		{"/v1/tasks/poll", `{"worker": "w"}`, 422, "invalid", "handlers"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "hanlders": []}`, 422, "invalid", "hanlders"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "max": 1e9}`, 422, "invalid", "1e9"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "max": 1000000}`, 422, "invalid", "between 1 and 100"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "wait": 1e300}`, 422, "invalid", "between 0s and 1m0s"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "wait": -1}`, 422, "invalid", "between 0s and 1m0s"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "wait": "soon"}`, 422, "invalid", "write it as 30s"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["x"], "lease": "9000h"}`, 422, "invalid", "between 1s and 1h0m0s"},
		{"/v1/tasks/poll", `{"worker": 7, "handlers": ["x"]}`, 422, "invalid", "worker"},
		{"/v1/tasks/poll", `{"worker": "w", "handlers": ["` + strings.Repeat("x", 70_000) + `"]}`, 413, "too-large", ""},
		{"/v1/tasks/nonsense/complete", with(""), 404, "not-found", "not the ID of a task"},
		{"/v1/tasks/" + strings.Repeat("x", 600) + "/complete", with(""), 422, "invalid", "id"},
		{path + "x/complete", with(""), 409, "stale", "was not handed out for this task"},
		{path + "/complete", `{"result": 1}`, 422, "invalid", "token"},
		{path + "/complete", `{"token": "1.dw.AAAA", "result": 1}`, 409, "stale", "was not handed out"},
		{path + "/complete", `{"token": null}`, 422, "invalid", "token"},
		{path + "/complete", with(`, "result": ` + deep), 400, "malformed", "nested deeper than 64"},
		{path + "/complete", with(`, "result": {"a": 1, "a": 2}`), 400, "malformed", "twice"},
		{path + "/complete", with(`, "result": "` + "\xff" + `"`), 400, "malformed", "UTF-8"},
		{path + "/complete", with(`, "result": 1e999`), 400, "malformed", ""},
		{path + "/complete", with(`, "reslut": 1`), 422, "invalid", "reslut"},
		{path + "/complete", with(`, "result": "` + strings.Repeat("x", 17<<20) + `"`), 413, "too-large", ""},
		{path + "/complete", with(`, "usage": {"input_tokens": -1}`), 422, "invalid", "input_tokens"},
		{path + "/fail", with(`, "class": "bad luck"`), 422, "invalid", "class"},
		{path + "/fail", with(`, "after": "48h"`), 422, "invalid", "between 0s and 24h0m0s"},
		{path + "/fail", with(`, "message": "` + strings.Repeat("x", 5000) + `"`), 422, "invalid", "the limit is 4096"},
		{path + "/heartbeat", with(`, "checkpoint": "` + strings.Repeat("x", 70_000) + `"`), 422, "invalid", "the limit is 65536"},
		{path + "/heartbeat", with(`, "checkpoint": ` + deep), 400, "malformed", "nested deeper than 64"},
		{path + "/heartbeat", with(`, "progress": 5`), 422, "invalid", "progress"},
		{path + "/heartbeat", with(`, "lease": 0.001`), 422, "invalid", "between 1s and 1h0m0s"},
		{path + "/release", with(`, "reason": ["x"]`), 422, "invalid", "reason"},
	} {
		resp, b := s.do("POST", c.path, c.body)
		var p Problem
		if err := json.Unmarshal([]byte(b), &p); err != nil || resp.StatusCode != c.status || p.Type != typeURI(c.slug) || !strings.Contains(b, c.text) || len(b) > 2000 {
			t.Errorf("%s %.80s: %d, want %d %s and %q: %.400s", c.path, c.body, resp.StatusCode, c.status, c.slug, c.text, b)
		}
	}
	s.want(200, "POST", path+"/complete", with(`, "result": "`+strings.Repeat("x", 1<<20)+`"`))
}
