package crash

// workflows are the names of the definitions that runs are started of; between
// them they have every kind of node there is a runner for.
var workflows = []string{"crash-loop", "crash-family", "crash-wait"}

var definitions = []string{`
name: crash-loop
state:
  notes: {type: array, reduce: append}
  score: {type: number, default: 0}
nodes:
  begin: {exec: {command: ["true"]}}
  left: {exec: {command: ["true"]}, needs: [begin], set: {notes: "${[result.text]}"}}
  right: {exec: {command: ["true"]}, needs: [begin], set: {notes: "${[result.text]}"}, retry: {max: 3, backoff: 20ms}}
  meet: {converge: {}, needs: [left, right]}
  review: {exec: {command: ["true"]}, needs: [meet], set: {score: "${result.score}"}, max_visits: 5}
  improve: {exec: {command: ["true"]}}
  approve: {human: {prompt: "Score ${state.score}?", form: {type: object, required: [approved], properties: {approved: {type: boolean}}}}}
  choose: {decision: {}, needs: [approve]}
  yes: {exec: {command: ["true"]}}
  no: {end: failed}
edges:
  - {from: review, to: improve, if: "state.score < 0.8"}
  - {from: review, to: approve, default: true}
  - {from: improve, to: review}
  - {from: choose, to: yes, if: "result.approved"}
  - {from: choose, to: no, default: true}
`, `
name: crash-child
nodes:
  a: {exec: {command: ["true"]}}
  b: {exec: {command: ["true"]}, needs: [a]}
`, `
name: crash-family
nodes:
  list: {exec: {command: ["true"]}}
  each: {foreach: {items: "${result.items}", do: {exec: {command: ["true"]}}, max_parallel: 3}, needs: [list]}
  children: {foreach: {items: "${[1, 2, 3]}", workflow: crash-child}, needs: [list]}
  one: {workflow: {workflow: crash-child}, needs: [each, children]}
`, `
name: crash-wait
nodes:
  nap: {wait: {for: 60ms}}
  note: {exec: {command: ["true"]}, needs: [nap], on_error: rescue}
  rescue: {exec: {command: ["true"]}}
  signal: {wait: {signal: go, timeout: 300ms}, on_timeout: late}
  late: {exec: {command: ["true"]}}
  end: {end: completed}
edges:
  - {from: note, to: signal}
  - {from: rescue, to: signal}
  - {from: signal, to: end}
  - {from: late, to: end}
`}

// breakpoints are what some runs are started with, by workflow.
var breakpoints = map[string][]string{
	"crash-loop":   {"node=review", "edge=choose->yes", "if=state.score > 0.5"},
	"crash-family": {"node=each", "node=one"},
	"crash-wait":   {"edge=note->rescue", "node=signal"},
}

const replies = `
nodes:
  list: {result: {items: [1, 2, 3, 4, 5, 6, 7]}}
  left: {text: left, delay: 15ms}
  right: [[{fail: timeout}, {text: right, delay: 5ms}]]
  review: [{result: {score: 0.3}}, {result: {score: 0.9}}]
  note: {fail: tool_failed}
default: {text: ok, delay: 3ms}
`
