package sim

import (
	"fmt"

	"github.com/wfd-dev/wfd/engine/workflow"
)

// sources are the definitions that runs are started of. Between them they have every
// kind of node that events are decided for, and every way that one can wait or fail.
var sources = []string{`
name: sim-chain
nodes:
  a: {worker: w}
  b: {worker: w, needs: [a], retry: {max: 4, backoff: 1s}}
  c: {worker: w, needs: [b], timeout: 2m}
`, `
name: sim-loop
state:
  notes: {type: array, reduce: append}
  score: {type: number, default: 0}
timeout: 6h
nodes:
  begin: {worker: w}
  left: {worker: w, needs: [begin], set: {notes: "${[result.n]}"}}
  right: {worker: w, needs: [begin], set: {notes: "${[result.n]}"}, retry: {max: 3, backoff: 20s}}
  meet: {converge: {}, needs: [left, right]}
  review: {worker: w, needs: [meet], set: {score: "${result.score}"}, max_visits: 6}
  improve: {worker: w}
  approve: {human: {prompt: "Score ${state.score}?", timeout: 30m, on_timeout: late}}
  choose: {decision: {}, needs: [approve]}
  yes: {worker: w}
  no: {end: failed}
  late: {worker: w}
edges:
  - {from: review, to: improve, if: "state.score < 0.6"}
  - {from: review, to: approve, default: true}
  - {from: improve, to: review}
  - {from: choose, to: yes, if: "result.approved"}
  - {from: choose, to: no, default: true}
`, `
name: sim-child
nodes:
  a: {worker: w}
  b: {wait: {for: 5s}, needs: [a]}
  c: {worker: w, needs: [b]}
`, `
name: sim-family
nodes:
  list: {worker: w}
  each: {foreach: {items: "${result.items}", do: {worker: w}, max_parallel: 3}, needs: [list], on_failure: continue}
  children: {foreach: {items: "${[1, 2]}", workflow: sim-child}, needs: [list], on_error: rescue}
  one: {workflow: {workflow: sim-child}, needs: [each, children], on_error: rescue}
  rescue: {worker: w}
`, `
name: sim-wait
nodes:
  nap: {wait: {for: 90s}}
  note: {worker: w, needs: [nap], on_error: rescue}
  rescue: {worker: w}
  signal: {wait: {signal: go, timeout: 10m}, on_timeout: late}
  late: {worker: w}
  end: {end: completed}
edges:
  - {from: note, to: signal}
  - {from: rescue, to: signal}
  - {from: signal, to: end}
  - {from: late, to: end}
`, `
name: sim-race
nodes:
  begin: {worker: w}
  fast: {worker: w, needs: [begin], priority: 2}
  slow: {worker: w, needs: [begin], timeout: 1m, retry: {max: 2, backoff: 5s}}
  ask: {human: {prompt: "?"}, needs: [begin]}
  nap: {wait: {for: 20m}, needs: [begin]}
  first: {converge: {}, join: {quorum: 2}, on_failure: continue, needs: [fast, slow, ask, nap]}
  after: {worker: w, needs: [first]}
`, `
name: sim-spend
budget: {tokens: 500}
nodes:
  go: {parallel: {}}
  a: {agent: writer, prompt: "?", max_tokens: 80, needs: [go], retry: {max: 3, backoff: 1s}}
  b: {agent: writer, prompt: "?", max_tokens: 60, needs: [go], timeout: 1m}
  c: {role: critic, prompt: "?", max_tokens: 60, needs: [go]}
  d: {worker: {worker: w, max_tokens: 50}, needs: [go]}
  meet: {converge: {}, join: {quorum: 3}, on_failure: continue, needs: [a, b, c, d]}
  sum: {agent: writer, prompt: "?", max_tokens: 100, needs: [meet]}
`, `
name: sim-poor
budget: {tokens: 160, usd: 0.00014, on_exceed: fail}
nodes:
  a: {role: critic, prompt: "?", max_tokens: 60}
  b: {agent: writer, prompt: "?", max_tokens: 60, needs: [a], on_error: rescue}
  rescue: {worker: w}
`, `
name: sim-talk
budget: {tokens: 2000}
nodes:
  talk: {chat: {participants: [writer, critic-1], rounds: 2, prompt: tea}, timeout: 5m, on_timeout: late, max_tokens: 40}
  done: {human: {prompt: "?", timeout: 20m, on_timeout: late}, needs: [talk]}
  late: {worker: w}
`, `
name: sim-firm
budget: {tokens: 700}
nodes:
  list: {worker: w}
  each: {foreach: {items: "${[1, 2, 3]}", workflow: sim-clerk}, needs: [list], on_error: rescue}
  rescue: {worker: w}
`, `
name: sim-clerk
nodes:
  a: {agent: writer, prompt: "?", max_tokens: 80}
  b: {role: critic, prompt: "?", max_tokens: 80, needs: [a]}
`}

// definitions are the sources, compiled.
type definitions struct {
	list   []*workflow.Workflow
	byName map[string]*workflow.Workflow
	byHash map[string]*workflow.Workflow
}

func compile() (*definitions, error) {
	d := &definitions{byName: map[string]*workflow.Workflow{}, byHash: map[string]*workflow.Workflow{}}
	for _, source := range sources {
		wf, problems := workflow.Load("sim.yaml", []byte(source))
		if wf == nil {
			return nil, fmt.Errorf("a definition of the simulator is wrong: %w", problems)
		}
		d.list = append(d.list, wf)
		d.byName[wf.Name], d.byHash[wf.Hash.String()] = wf, wf
	}
	return d, nil
}

// ByHash implements replay.Definitions.
func (d *definitions) ByHash(hash string) (*workflow.Workflow, error) {
	if wf := d.byHash[hash]; wf != nil {
		return wf, nil
	}
	return nil, fmt.Errorf("no definition has the hash %s", hash)
}

// child reports whether runs of a definition are started by others only.
func child(wf *workflow.Workflow) bool { return wf.Name == "sim-child" || wf.Name == "sim-clerk" }
