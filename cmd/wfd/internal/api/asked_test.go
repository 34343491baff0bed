package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/replay"
)

// What an attempt is said to have been given is what its runner was given, through
// loops, branches that do not see each other, items and retries, and whatever the state
// has become since. Where a secret went in there is its name.
func TestAsked(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "PLANTED"), []byte("pl4nted-s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := secret.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		given []*agent.Task
	)
	s := serveOn(t, engine.Options{Secrets: secrets, Replies: agent.RunnerFunc(func(_ context.Context, task *agent.Task) agent.Answer {
		mu.Lock()
		given = append(given, task)
		mu.Unlock()
		if task.Node == "flaky" && task.Attempt == 1 {
			return agent.Fail(event.ClassTimeout, "once")
		}
		return agent.Answer{Result: map[string]any{"text": fmt.Sprint(task.Node, task.Visit)}}
	})}, nil)
	s.apply(`
name: asks
input: {type: object, properties: {who: {type: string}, list: {type: array}}}
state: {n: {type: number, default: 0}}
entry: loop
nodes:
  loop:  {agent: x, prompt: "${input.who} at ${state.n}", set: {n: "${state.n + 1}"}, max_visits: 9}
  fork:  {parallel: {}}
  left:  {agent: x, prompt: "left ${state.n}", set: {n: "${100}"}, needs: [fork]}
  right: {agent: x, prompt: "right ${state.n}", set: {n: "${200}"}, needs: [fork]}
  join:  {converge: {}, needs: [left, right]}
  each:  {foreach: {items: "${input.list}", as: thing, do: {agent: x, prompt: "${thing} of ${state.n}"}}, needs: [join]}
  flaky: {agent: x, prompt: "again ${state.n}", retry: {max: 2, backoff: 1ms}, needs: [each]}
  call:  {http: {url: "http://127.0.0.1:1/${secrets.PLANTED}", headers: {X: "${state.n}"}}, needs: [flaky], retry: 1}
edges:
  - {from: loop, to: loop, if: "state.n < 3"}
  - {from: loop, to: fork, default: true}
`)
	id := s.start("asks", `{"input":{"who":"Ada","list":["a","b"]}}`)
	s.want(200, "GET", "/v1/runs/"+id+"?wait=20s", "")
	if len(given) != 3+2+2+2+1 {
		t.Fatalf("%d attempts", len(given))
	}
	for _, task := range given {
		q := url.Values{"node": {fmt.Sprintf("%s#%d", task.Node, task.Visit)}, "attempt": {fmt.Sprint(task.Attempt)}}
		var x replay.Asked
		if err := json.Unmarshal([]byte(s.want(200, "GET", "/v1/runs/"+id+"/asked?"+q.Encode(), "")), &x); err != nil {
			t.Fatal(err)
		}
		if x.Prompt != task.Prompt || x.Visit != task.Visit || x.Attempt != task.Attempt || !sameJSON(t, x.Input, task.Input) {
			t.Errorf("%s#%d.%d was given %q, %v: said to be %+v", task.Node, task.Visit, task.Attempt, task.Prompt, task.Input, x)
		}
	}
	call := s.want(200, "GET", "/v1/runs/"+id+"/asked?node=call", "")
	if strings.Contains(call, "s3cret") || !strings.Contains(call, "http://127.0.0.1:1/${secrets.PLANTED}") {
		t.Error(call)
	}
	for _, q := range []string{"node=nowhere", "node=loop%239", "node=flaky&attempt=3"} {
		s.want(404, "GET", "/v1/runs/"+id+"/asked?"+q, "")
	}
	s.want(422, "GET", "/v1/runs/"+id+"/asked", "")
}

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	var back any
	raw, err := json.Marshal(b)
	if err == nil {
		err = json.Unmarshal(raw, &back)
	}
	if err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(a, back)
}
