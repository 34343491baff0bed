package workflow

import (
	"bytes"
	"os/exec"
	"testing"
)

func TestDiagrams(t *testing.T) {
	w := compiled(t, `
name: "draw \"me\""
state: {score: number}
nodes:
  end: {agent: x, name: "Qualità \"alta\" (già) [1] <b>; #1 | end"}
  graph: {decision: {}, needs: [end]}
  class: {human: "ok?", on_timeout: click}
  click: {workflow: other, on_error: style}
  style: {end: failed}
  split: {parallel: {}, max_visits: 3}
  one: {wait: 1s, needs: [split]}
  two: {foreach: {items: [1], do: {agent: x}}, needs: [split]}
  join: {converge: {}, needs: [one, two]}
edges:
  - {from: graph, to: class, if: "score >= 0.8 && score != 1 || 'a|b\"' == 'c'"}
  - {from: graph, to: split, default: true}
  - {from: class, to: click}
  - {from: join, to: graph}
`)
	overlay := Drawing{Status: map[string]string{"end": "completed", "graph": "running", "class": "waiting", "style": "failed", "one": "skipped"}, Taken: map[int]bool{1: true, 3: true}}
	for name, d := range map[string]Drawing{"plain": {}, "overlay": overlay} {
		for form, draw := range map[string]func(*bytes.Buffer) error{
			"mmd": func(b *bytes.Buffer) error { return w.Mermaid(b, d) },
			"dot": func(b *bytes.Buffer) error { return w.DOT(b, d) },
		} {
			var b bytes.Buffer
			if err := draw(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/graph/"+name+"."+form, b.Bytes())
			if dot, err := exec.LookPath("dot"); form == "dot" && err == nil {
				cmd := exec.Command(dot, "-Tsvg", "-o/dev/null")
				cmd.Stdin = &b
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("graphviz: %v %s", err, out)
				}
			}
		}
	}
}
