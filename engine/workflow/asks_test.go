package workflow

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

const asksSource = `
name: asks
state:
  severity: {type: string, description: How bad it is}
  score: {type: number, default: 0}
  grade: {type: number}
  mine: {type: string}
  tags: {type: array, reduce: append}
  both: {type: boolean}
  left: {type: boolean}
  right: {type: boolean}
nodes:
  triage: {role: analyst, prompt: Triage.}
  route:  {decision: {}}
  fix:    {agent: a, prompt: Fix., outputs: {patch: string}, set: {score: "${result.points}", mine: "fixed", tags: "${[result.tag]}"}, max_visits: 3}
  judge:  {agent: b, prompt: Judge., max_visits: 3}
  split:  {parallel: {}}
  one:    {agent: c, prompt: One.}
  two:    {agent: c, prompt: Two.}
  meet:   {converge: {}}
  last:   {agent: d, prompt: "Last ${result}"}
edges:
  - {from: triage, to: route}
  - {from: route, to: fix, if: "severity == 'high' || severity == 'low'"}
  - {from: route, to: split, default: true}
  - {from: fix, to: judge, if: "state.score > 3"}
  - {from: fix, to: split, default: true}
  - {from: judge, to: fix, if: "!result.ok && state.mine == 'fixed'"}
  - {from: judge, to: split, if: "result.ok"}
  - {from: split, to: one}
  - {from: split, to: two}
  - {from: one, to: meet}
  - {from: two, to: meet}
  - {from: meet, to: last, if: "left && right && result.one.x"}
  - {from: meet, to: last, default: true}
`

// What is asked of an answer is what conditions read next, what the node sets from it,
// and what it promises; the cases take every edge.
func TestAsks(t *testing.T) {
	src := asksSource
	wf, problems := Load("asks.yaml", []byte(src))
	if wf == nil {
		t.Fatal(problems)
	}
	for id, want := range map[string]string{
		"triage": `{"Keys":[{"Name":"severity","Type":"string","Doc":"How bad it is; decides severity == 'high' || severity == 'low'","Values":["high","low","other"]}],"Cases":[{"severity":"high"},{"severity":"anything else"}]}`,
		"fix":    `{"Keys":[{"Name":"patch","Type":"string","Doc":"","Values":null},{"Name":"points","Type":"number","Doc":"decides state.score \u003e 3","Values":null},{"Name":"tag","Type":"","Doc":"","Values":null}],"Cases":[{"points":4},{"points":2}]}`,
		"judge":  `{"Keys":[{"Name":"ok","Type":"boolean","Doc":"decides !result.ok \u0026\u0026 state.mine == 'fixed'; decides result.ok","Values":null}],"Cases":null}`,
		"one":    `{"Keys":[{"Name":"left","Type":"boolean","Doc":"decides left \u0026\u0026 right \u0026\u0026 result.one.x","Values":null},{"Name":"right","Type":"boolean","Doc":"decides left \u0026\u0026 right \u0026\u0026 result.one.x","Values":null}],"Cases":null}`,
		"last":   `{"Keys":null,"Cases":null}`,
	} {
		b, err := json.Marshal(wf.Asks(wf.Node(id)))
		if err != nil || string(b) != want {
			t.Errorf("%s:\n%s\nwant\n%s", id, b, want)
		}
	}
	if wf.Asks(wf.Node("last")).Schema() != nil {
		t.Error("nothing is asked, and there is a schema")
	}
	schema := wf.Asks(wf.Node("triage")).Schema()
	b, _ := json.Marshal(schema)
	if want := `{"additionalProperties":false,"properties":{"severity":{"description":"How bad it is; decides severity == 'high' || severity == 'low'","enum":["high","low","other"],"type":"string"},"text":{"description":"the answer itself","type":"string"}},"required":["text","severity"],"type":"object"}`; string(b) != want {
		t.Errorf("%s", b)
	}
	if _, err := CompileSchema(schema); err != nil {
		t.Error(err)
	}
}

// In every template of the original, what its conditions read is asked of somebody, and
// the cases take every edge.
func TestAsksOfTemplates(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/templates/*.json")
	if len(files) == 0 {
		t.Skip("../shared/templates is not here")
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		def, problems := Import(file, src)
		if problems.HasErrors() {
			t.Fatal(problems)
		}
		wf, problems := Compile(def)
		if wf == nil {
			t.Fatal(problems)
		}
		asked := map[string]bool{}
		for _, n := range wf.Nodes {
			if !n.Runs {
				continue
			}
			a := wf.Asks(n)
			for _, k := range a.Keys {
				asked[k.Name] = true
				if k.Type == "" {
					t.Errorf("%s: %s: the type of %s is not known", file, n.ID, k.Name)
				}
			}
			if len(a.Keys) > 0 && len(a.Cases) < 2 {
				t.Errorf("%s: %s: %d cases", file, n.ID, len(a.Cases))
			}
			if s := a.Schema(); s != nil {
				if _, err := CompileSchema(s); err != nil {
					t.Errorf("%s: %s: %v", file, n.ID, err)
				}
			}
		}
		for _, k := range wf.Keys {
			if !asked[k.Name] {
				t.Errorf("%s: nobody is asked for %s", file, k.Name)
			}
		}
	}
}
