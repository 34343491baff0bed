package machine

import (
	"fmt"
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

func TestSmoke(t *testing.T) {
	wf, probs := workflow.Load("x.yaml", []byte(`
name: x
state:
  notes: {type: array, reduce: append}
  score: {type: number, default: 0}
nodes:
  a: {exec: {command: [x]}}
  b: {exec: {command: [x]}, needs: [a], set: {notes: "${[result.v]}"}}
  c: {exec: {command: [x]}, needs: [a], set: {notes: "${[result.v]}"}}
  j: {converge: {}, needs: [b, c]}
  r: {exec: {command: [x]}, set: {score: "${result.v}"}, needs: [j]}
  h: {human: {prompt: "ok ${state.score}?", timeout: 5s}}
edges:
  - {from: r, to: r2, if: "state.score < 0.8"}
  - {from: r, to: h, default: true}
  - {from: r2, to: r}
`+"  # end\n"))
	_ = wf
	fmt.Println(probs)
	wf, probs = workflow.Load("x.yaml", []byte(`
name: x
state:
  notes: {type: array, reduce: append}
  score: {type: number, default: 0}
nodes:
  a: {exec: {command: [x]}}
  b: {exec: {command: [x]}, needs: [a], set: {notes: "${[result.v]}"}}
  c: {exec: {command: [x]}, needs: [a], set: {notes: "${[result.v]}"}}
  j: {converge: {}, needs: [b, c]}
  r: {exec: {command: [x]}, set: {score: "${result.v}"}, needs: [j]}
  r2: {exec: {command: [x]}}
  h: {human: {prompt: "ok ${state.score}?", timeout: 5s}}
edges:
  - {from: r, to: r2, if: "state.score < 0.8"}
  - {from: r, to: h, default: true}
  - {from: r2, to: r}
`))
	if wf == nil {
		t.Fatal(probs)
	}
	id := eventlog.RunID{1, 2, 3}
	s := run.New(id)
	at := event.Time(0)
	do := func(c Command) {
		at += 1000
		ev, err := Decide(wf, s, Meta{At: at, Actor: "t"}, c)
		fmt.Printf("> %T %+v\n", c, c)
		if err != nil {
			fmt.Println("   ERR", err)
		}
		for _, e := range ev {
			v, _ := event.ViewOf(eventlog.Event{Kind: e.Record.Kind, Payload: e.Record.Payload, Run: id})
			b, _ := event.ValueOf(nil)
			_ = b
			fmt.Printf("   %s %s\n", v.Kind, js(v.Data))
		}
	}
	do(Start{})
	do(Result{Node: "a", Visit: 1, Attempt: 1, Value: event.MustValue(map[string]any{"v": 1})})
	do(Result{Node: "c", Visit: 1, Attempt: 1, Value: event.MustValue(map[string]any{"v": "C"})})
	do(Result{Node: "b", Visit: 1, Attempt: 1, Value: event.MustValue(map[string]any{"v": "B"})})
	do(Result{Node: "r", Visit: 1, Attempt: 1, Value: event.MustValue(map[string]any{"v": 0.2})})
	do(Result{Node: "r2", Visit: 1, Attempt: 1, Failure: &event.Failure{Class: "timeout", Message: "x"}})
	at = 10e9
	do(Wake{})
	do(Result{Node: "r2", Visit: 1, Attempt: 2, Value: event.MustValue(map[string]any{"v": 0.2})})
	do(Result{Node: "r", Visit: 2, Attempt: 1, Value: event.MustValue(map[string]any{"v": 0.9})})
	do(Answer{Value: event.MustValue(true)})
}
