package workflow

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow/source"
)

func compiled(t testing.TB, text string) *Workflow {
	t.Helper()
	w, problems := Load("test.yaml", []byte(text))
	if w == nil {
		t.Fatal(problems)
	}
	return w
}

// examples are the definitions users get.
func examples(t *testing.T) map[string][]byte {
	files, err := filepath.Glob("../../testdata/definitions/*")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(f)] = text
	}
	return all
}

func TestExamplesAreCleanAndSettle(t *testing.T) {
	for file, text := range examples(t) {
		w, problems := Load(file, text)
		if w == nil || len(problems) > 0 {
			t.Errorf("%s: %v", file, problems)
			continue
		}
		canonical, err := json.Marshal(w.Def)
		if err != nil {
			t.Fatal(err)
		}
		yaml, err := w.Def.YAML()
		if err != nil {
			t.Fatal(err)
		}
		for form, text := range map[string][]byte{"c.json": canonical, "c.yaml": yaml} {
			again, problems := Load(form, text)
			if again == nil || again.Hash != w.Hash {
				t.Errorf("%s as %s is another definition: %v\n%s", file, form, problems, text)
			}
		}
	}
}

func TestSpellingsOfOneMeaningHashEqual(t *testing.T) {
	for name, group := range map[string][]string{
		"yaml, json and list form": {
			"name: x\nnodes:\n  a: {agent: w, prompt: hi}\n  b: {end: completed, needs: [a]}\n",
			`{"nodes": {"a": {"prompt": "hi", "agent": "w"}, "b": {"needs": ["a"], "end": "completed"}}, "name": "x"}`,
			"name: x\nnodes: [{id: a, agent: w, prompt: hi}, {id: b, end: completed, needs: a}]",
			"# comment\nname: 'x'\nnodes:\n  a:\n    type: AGENT\n    agent: w\n    prompt: |-\n      hi\n  b: {type: end, end: COMPLETED, needs: [a]}\nedges: []\n",
		},
		"fields beside and inside the kind": {
			"name: x\nnodes: {a: {http: {method: GET, url: 'https://x.example', timeout: 90s}}}",
			"name: x\nnodes: {a: {type: http, method: GET, url: 'https://x.example', timeout: 1m30s}}",
			"name: x\nnodes: {a: {http: 'https://x.example', method: GET, timeout: 1.5m}}",
			"name: x\nnodes: {a: {type: HTTP, http: {url: 'https://x.example'}, method: GET, timeout: 90s}}",
		},
		"bare values": {
			"name: x\ntimeout: 1d\nnodes: {a: {wait: 24h}, b: {human: Really?, needs: [a]}, c: {exec: [ls, -l], needs: [b], retry: 2}, d: {workflow: other, needs: [c]}}",
			"name: x\ntimeout: 24h\nnodes: {a: {wait: {for: 1d}}, b: {human: {prompt: Really?}, needs: [a]}, c: {exec: {command: [ls, -l]}, needs: [b], retry: {max: 2}}, d: {type: workflow, workflow: other, needs: [c]}}",
		},
		"aliases and state": {
			"name: x\nstate: {a: number, b: {type: number, default: 1.0}}\nnodes: {n: {agent: w, expect: &e {type: object}}, m: {agent: w, expect: *e, needs: [n]}}",
			"name: x\nstate: {a: {type: number}, b: {default: 1, type: number}}\nnodes: {n: {agent: w, expect: {type: object}}, m: {agent: w, expect: {type: object}, needs: [n]}}",
		},
		"edges and budget": {
			"name: x\nbudget: {usd: 0.5}\nnodes: {a: {decision: {}}, b: {end: failed}}\nedges: [{from: a, to: b, if: ' input.x '}, {from: a, to: b, default: true}]",
			"name: x\nbudget: {usd: 0.50}\nnodes: {a: {type: decision}, b: {end: {end: failed}}}\nedges: [{to: b, from: a, if: input.x, default: false}, {default: true, to: b, from: a}]",
		},
	} {
		var first Hash
		for i, text := range group {
			w, problems := Load("f", []byte(text))
			if w == nil {
				t.Errorf("%s %d: %v", name, i, problems)
				continue
			}
			if i == 0 {
				first = w.Hash
			} else if w.Hash != first {
				a, _ := must(t, group[0]).MarshalJSON()
				b, _ := w.Def.MarshalJSON()
				t.Errorf("%s:\n%s\n%s", name, a, b)
			}
		}
	}
}

func TestWhatChangesTheHash(t *testing.T) {
	base := must(t, "name: x\nnodes: {a: {agent: w}, b: {agent: w}}").Hash()
	for _, text := range []string{
		"name: y\nnodes: {a: {agent: w}, b: {agent: w}}",
		"name: x\nnodes: {b: {agent: w}, a: {agent: w}}", // the order nodes start in
		"name: x\nnodes: {a: {agent: w}, b: {agent: v}}",
		"name: x\nnodes: {a: {agent: w}, b: {agent: w, needs: [a]}}",
		"name: x\nnodes: {a: {agent: w}, b: {agent: w}}\nx-owner: me",
	} {
		if must(t, text).Hash() == base {
			t.Errorf("%q hashes like the other", text)
		}
	}
	if h, err := ParseHash(base.String()); err != nil || h != base {
		t.Errorf("%v, %v", h, err)
	}
	if _, err := ParseHash("abc"); err == nil {
		t.Error("a short hash was taken")
	}
	var h Hash
	if b, _ := base.MarshalText(); h.UnmarshalText(b) != nil || h != base || h.IsZero() {
		t.Error("text form")
	}
}

func TestCompiledForm(t *testing.T) {
	w := compiled(t, `
name: all
input: {type: object}
state: {score: {type: number, default: 0}, notes: {type: array, reduce: append}}
nodes:
  ask: {agent: writer, prompt: "On ${input.topic}", max_tokens: 100, temperature: 0.5, outputs: {mood: string}, retry: {max: 5, backoff: 2s}, timeout: 1m, max_visits: 7, on_error: sorry, priority: 3, queue: slow}
  get: {http: {url: "${env.URL}/${input.id}", headers: {A: "${secrets.K}", B: 1}, body: {n: "${state.score}"}}, needs: [ask]}
  run: {exec: {command: [echo, "${input.x}", 3]}, needs: [get], set: {notes: "${[result]}", score: 1}}
  call: {worker: {worker: w.h, input: {a: "${input.a}"}}, needs: [run]}
  use: {tool: search, arguments: {q: hi}, needs: [call]}
  each: {foreach: {items: "${state.notes}", as: note, do: {http: {url: "https://x.example/${note}/${item}"}, retry: 2}, max_parallel: 3}, needs: [use]}
  sub: {foreach: {items: [1, 2], workflow: child, input: {i: "${item}"}, version: 2}, needs: [each]}
  till: {wait: {until: "2030-01-01T00:00:00Z"}, needs: [sub]}
  sig: {wait: {signal: go, timeout: 2d, on_timeout: sorry}, needs: [till]}
  form: {human: {prompt: "OK?", form: {type: object, required: [ok]}, assignee: ops}, needs: [sig]}
  split: {parallel: {}, needs: [form]}
  l: {agent: x, needs: [split]}
  r: {agent: x, needs: [split]}
  join: {converge: {prompt: "combine", role: chief}, needs: [l, r], join: {quorum: 1}, on_failure: fail_fast}
  sorry: {end: failed, message: "sorry ${env.WHO}"}
output: {score: "${state.score}"}
`)
	node := w.Node("ask")
	if node.Retry != (Retry{Max: 5, Backoff: 2 * time.Second, MaxBackoff: time.Minute}) || node.Timeout != time.Minute || node.MaxVisits != 7 || !node.Runs || node.Prompt == nil || node.OnError == nil {
		t.Errorf("ask: %+v", node)
	}
	if v, ok := node.Settings["max_tokens"].Literal(); !ok || v != int64(100) {
		t.Errorf("max_tokens %v", v)
	}
	if n := w.Node("get"); n.Retry != (Retry{Max: 3, Backoff: time.Second, MaxBackoff: time.Minute}) || n.Timeout != 5*time.Minute || n.MaxVisits != 100 {
		t.Errorf("defaults: %+v", n)
	}
	if refs := strings.Join(w.Node("get").Settings["headers"].Refs(), " "); refs != "secrets.K" {
		t.Errorf("refs %s", refs)
	}
	if v, _ := w.Node("run").Settings["command"].Literal(); v != nil {
		t.Errorf("command %v", v)
	}
	if s := w.Node("run").Set; len(s) != 2 || s[0].Key != "notes" || s[1].Key != "score" {
		t.Errorf("set %+v", s)
	}
	each := w.Node("each")
	if each.Do == nil || each.Do.Kind != HTTP || each.Do.Retry.Max != 2 || each.Def.Text("as") != "note" || each.Def.Int("max_parallel") != 3 || each.Runs || each.Do.Index != -1 {
		t.Errorf("each %+v", each)
	}
	if refs := strings.Join(each.Do.Settings["url"].Refs(), " "); refs != "note item" {
		t.Errorf("do reads %q", refs)
	}
	if s := w.Node("sub"); s.Child == nil || s.Def.Text("workflow") != "child" || s.Def.Int("version") != 2 {
		t.Errorf("sub %+v", s)
	}
	if s := w.Node("sig"); s.Timeout != 48*time.Hour || s.OnTimeout == nil || s.Def.Text("signal") != "go" || w.Node("till").WaitTill == nil {
		t.Errorf("sig %+v", s)
	}
	if f := w.Node("form"); f.Form == nil || f.Form.Validate(map[string]any{}) == nil || f.Form.Validate(map[string]any{"ok": true}) != nil || f.Timeout != 0 {
		t.Errorf("form %+v", f)
	}
	if j := w.Node("join"); j.Join != (Join{JoinQuorum, 1}) || j.OnFailure != FailFast || !j.Runs {
		t.Errorf("join %+v", j)
	}
	if len(w.Keys) != 3 || w.Keys[1].Reduce != ReduceAppend || w.Key("mood").Type != "string" || w.Keys[0].Default != int64(0) {
		t.Errorf("keys %+v", w.Keys)
	}
	if strings.Join(w.EnvRefs, " ") != "URL WHO" || w.Output == nil || w.Input == nil || w.Timeout != 0 {
		t.Errorf("workflow %+v", w)
	}
	if len(w.Entry) != 1 || w.Nodes[w.Entry[0]].ID != "ask" {
		t.Errorf("entry %v", w.Entry)
	}
	last := w.Edges[len(w.Edges)-1]
	if last.Role != OnTimeout || w.Edges[len(w.Edges)-2].Role != OnError {
		t.Error("edges of needs come first, then on_error, then on_timeout")
	}
}

func TestDefaultEdges(t *testing.T) {
	w := compiled(t, "name: x\nstate: {n: number}\nnodes: {a: {agent: w}, b: {agent: w}, c: {agent: w, needs: [a]}, d: {agent: w, needs: [b]}, e: {agent: w, needs: [b]}}\nedges: [{from: a, to: b, if: n > 1}]")
	a, b := w.Node("a"), w.Node("b")
	if !a.Conditional() || len(a.Out) != 2 || a.Out[0].If == nil || !a.Out[1].Default {
		t.Errorf("the lone unconditional edge is the default: %+v", a.Out)
	}
	if b.Conditional() || b.Out[0].Default || b.Out[1].Default {
		t.Errorf("a fan-out has no default: %+v", b.Out)
	}
}

func TestSchemaErrorsAreClear(t *testing.T) {
	s, err := CompileSchema(map[string]any{"type": "object", "required": []any{"a"}, "additionalProperties": false, "properties": map[string]any{
		"a": map[string]any{"type": "integer", "minimum": int64(1)}, "b": map[string]any{"enum": []any{"x", "y"}}, "c/d": map[string]any{"type": "array", "items": map[string]any{"type": "string"}}, "e": map[string]any{"anyOf": []any{map[string]any{"type": "string"}, map[string]any{"type": "null"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		v    any
		want string
	}{
		{map[string]any{"a": int64(3), "b": "x"}, ""},
		{map[string]any{"a": 3.0}, ""},
		{map[string]any{}, `lacks "a"`},
		{"text", "is a string, wanted is an object"},
		{map[string]any{"a": "x"}, "/a is a string, wanted is an integer"},
		{map[string]any{"a": int64(1), "zz": int64(1)}, `has fields it may not have: "zz"`},
		{map[string]any{"a": int64(1), "b": "q"}, `/b is "q", wanted is one of x, y`},
		{map[string]any{"a": int64(1), "c/d": []any{"ok", int64(1)}}, "/c~1d/1 is a number, wanted is a string"},
		{map[string]any{"a": int64(1), "e": int64(1)}, "/e matches none of the alternatives (anyOf): is a number, wanted is a string; or is a number, wanted is null"},
	} {
		err := s.Validate(c.v)
		if got := ""; err != nil {
			got = err.Error()
			if c.want == "" || !strings.Contains(got, c.want) {
				t.Errorf("%v: %s, want %s", c.v, got, c.want)
			}
		} else if c.want != "" {
			t.Errorf("%v is valid, want %s", c.v, c.want)
		}
	}
	for _, bad := range []any{int64(1), map[string]any{"type": "objekt"}, map[string]any{"$ref": "https://example.com/x.json"}, map[string]any{"$ref": "file:///etc/passwd"}, map[string]any{"pattern": "("}} {
		if _, err := CompileSchema(bad); err == nil {
			t.Errorf("%v is no schema", bad)
		}
	}
	if _, err := CompileSchema(map[string]any{"$ref": "#/$defs/a", "$defs": map[string]any{"a": true}}); err != nil {
		t.Error(err)
	}
	if (*Schema)(nil).Validate(3) != nil {
		t.Error("no schema allows anything")
	}
}

// What the schema refuses the parser refuses, and what is right is right to both.
func TestSchemaAndParserAgree(t *testing.T) {
	var doc any
	if err := json.Unmarshal(SchemaJSON(), &doc); err != nil {
		t.Fatal(err)
	}
	schema, err := CompileSchema(doc)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := doc.(map[string]any); !ok || v["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Error("draft")
	}
	plain := func(text string) any {
		src, tree, problem := source.Read("f", []byte(text), words)
		if problem != nil {
			t.Fatal(src, problem)
		}
		return tree.Plain()
	}
	for file, text := range examples(t) {
		if err := schema.Validate(plain(string(text))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		w, _ := Load(file, text)
		canonical, _ := w.Def.MarshalJSON()
		if err := schema.Validate(plain(string(canonical))); err != nil {
			t.Errorf("%s, canonical: %v", file, err)
		}
	}
	for _, text := range []string{
		"name: x\nnodes: {a: {wait: 1s}, b: {converge: {}, agent: c, prompt: p, needs: [a]}}",
		"name: x\nnodes: {a: {type: WORKER, worker: w}, b: {end: {end: failed}, needs: [a]}, x-note: {decision: {}}}",
	} {
		if err := schema.Validate(plain(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"nodes: {a: {wait: 1s}}", "name: x", "name: x\nnodes: {}", "name: x\nnodes: {a: {}}", "name: x\nnodes: {a: {prompt: hi}}", "name: [x]\nnodes: {a: {wait: 1s}}",
		"name: x\nnodes: {a: {agent: w, promt: hi}}", "name: x\nnodes: {a: {type: agnet, agent: w}}", "name: x\nnodes: {a: {http: {url: u, command: [x]}}}",
		"name: x\nnodes: {a: {decision: {}, url: u}}", "name: x\nnodes: {a: {exec: 'ls'}}", "name: x\nnodes: {a: {end: stopped}}", "name: x\nnodes: {a: {agent: w, max_visits: 0}}",
		"name: x\nnodes: {a: {agent: w, temperature: 9}}", "name: x\nnodes: {a: {agent: w, timeout: 5}}", "name: x\nnodes: {a: {agent: w, retry: {tries: 3}}}",
		"name: x\nnodes: {a: {agent: w}}\nedges: [{from: a}]", "name: x\nnodes: {a: {agent: w}}\nedges: {from: a, to: a}", "name: x\nnodes: {a: {agent: w}}\nedges: [{from: a, to: a, when: x}]",
		"name: x\nnodes: {a: {agent: w}}\nstate: {k: {type: numbr}}", "name: x\nnodes: {a: {agent: w}}\nstate: {k: {reduce: avg}}", "name: x\nnodes: {a: {agent: w}}\nbudget: {usd: lots}",
		"name: x\nnodes: {'1a': {agent: w}}", "name: x\nnodes: {a: {agent: w}}\nstate: {a-b: string}", "name: x\nnodes: {a: {agent: w}}\ntimout: 1h", "name: x\nnodes: {a: {chat: {participants: [x], mode: shout}}}",
		"name: x\nnodes: {a: {converge: {}, join: some}}", "name: x\nnodes: {a: {foreach: {items: [], do: {promt: x}}}}", "name: x\nnodes: {a: [1]}", "[]",
	} {
		if err := schema.Validate(plain(text)); err == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, problems := Load("f", []byte(text)); !problems.HasErrors() {
			t.Errorf("the parser takes %q", text)
		}
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{"90s": 90 * time.Second, "1d": 24 * time.Hour, "2d12h": 60 * time.Hour, "1h30m": 90 * time.Minute, "500ms": 500 * time.Millisecond, "0s": 0} {
		if d, err := ParseDuration(in); err != nil || d != want {
			t.Errorf("%s: %v %v", in, d, err)
		}
		if back, err := ParseDuration(span(want)); want > 0 && (err != nil || back != want) {
			t.Errorf("%v is spelt %s", want, span(want))
		}
	}
	for _, in := range []string{"", "5", "1w", "-1s", "d", "1.5d", "99999999d", "1d-2h", "9999999h", "1d 2h"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("%q is %v", in, d)
		}
	}
}
