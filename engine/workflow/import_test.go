package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sharedTemplates finds the templates beside the repository, if they are there.
func sharedTemplates(t *testing.T) []string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above")
		}
		dir = filepath.Dir(dir)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "shared", "templates", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("the original engine's templates are not beside the repository (../shared/templates)")
	}
	return files
}

func TestOriginalTemplatesImport(t *testing.T) {
	for _, file := range sharedTemplates(t) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		importsWell(t, filepath.Base(file), text)
	}
}

func TestTemplateTraitsImport(t *testing.T) {
	files, err := filepath.Glob("testdata/templates/*.json")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, problems := importsWell(t, filepath.Base(file), text)
		if d == nil {
			continue
		}
		out, err := d.YAML()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		b.Write(out)
		for _, p := range problems {
			fmt.Fprintf(&b, "# %s\n", p.String())
		}
		golden(t, strings.TrimSuffix(file, ".json")+".golden", b.Bytes())
	}
}

// importsWell checks what holds for every template.
func importsWell(t *testing.T, name string, text []byte) (*Definition, Problems) {
	t.Helper()
	d, problems := Import(name, text)
	if problems.HasErrors() {
		t.Errorf("%s: %v", name, problems)
		return nil, nil
	}
	w, _ := Compile(d)
	again, _ := Import(name, text)
	if w == nil || again.Hash() != d.Hash() {
		t.Errorf("%s: importing twice gives two hashes", name)
		return nil, nil
	}
	settles(t, d)
	var raw struct {
		Nodes []struct{ ID, Name, Type string } `json:"nodes"`
		Edges []struct {
			From, To  string
			Condition string
		} `json:"edges"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return d, problems // next_nodes as text and the like
	}
	for _, n := range raw.Nodes {
		if got := w.Node(n.ID); n.ID != "" && (got == nil || n.Name != "" && got.Def.Name != n.Name) {
			t.Errorf("%s: node %s became %v", name, n.ID, got)
		}
	}
	if name != "schema.json" {
		for i, e := range raw.Edges {
			if got := d.Edges[i]; got.From != e.From || got.To != e.To || got.If != e.Condition {
				t.Errorf("%s: edge %+v became %+v", name, e, got)
			}
		}
	}
	for _, e := range w.Edges { // each key a condition reads is declared
		if e.If == nil {
			continue
		}
		for _, ref := range e.If.Refs() {
			if k := w.Key(strings.TrimPrefix(ref, "state.")); k == nil || k.Default != nil {
				t.Errorf("%s: %s of %s is %+v", name, ref, e.If.Text(), k)
			}
		}
	}
	return d, problems
}

func TestImportRules(t *testing.T) {
	text, err := os.ReadFile("testdata/templates/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	d, problems := Import("schema.json", text)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	w, _ := Compile(d)
	ask, route, work, poll := w.Node("ask"), w.Node("route"), w.Node("work"), w.Node("poll")
	if ask.Kind != Human || ask.Timeout != time.Hour || ask.Def.OnTimeout != "give_up" || ask.Def.Text("prompt") != "Chi approva?" {
		t.Errorf("ask %+v", ask.Def)
	}
	if len(route.Out) != 3 || w.Nodes[route.Out[0].To].ID != "sub" || w.Nodes[route.Out[1].To].ID != "work" || !route.Out[2].Default {
		t.Errorf("route: priority orders, the fallback is the default: %+v", route.Out)
	}
	if end := w.Nodes[route.Out[2].To]; end.Kind != End || end.ID != "finished_2" || end.Def.Text("end") != "completed" {
		t.Errorf("fallback none ends the run: %+v", end.Def)
	}
	if route.Out[0].If.Text() != "tags.contains('fast')" {
		t.Errorf("condition %s", route.Out[0].If.Text())
	}
	if work.Def.Text("agent") != "12" || work.Timeout != 30*time.Second || work.Retry.Max != 3 || work.OnError == nil || work.Def.Extra["x-priority_class"] != "x" {
		t.Errorf("work %+v", work.Def)
	}
	if poll.Timeout != 1500*time.Millisecond || poll.MaxVisits != 4 || poll.Def.Text("agent") != "baccio" || poll.Def.Text("prompt") != "poll $$${x}" {
		t.Errorf("poll %+v", poll.Def)
	}
	if v, _ := poll.Prompt.Literal(); v != "poll $${x}" {
		t.Errorf("a prompt is text, not a template: %v", v)
	}
	if k := w.Key("iteration_count"); k == nil || k.Type != "number" {
		t.Errorf("key %+v", k)
	}
	if d.Extra["x-id"] != int64(77) || d.Extra["x-status"] != "PENDING" {
		t.Errorf("extras %v", d.Extra)
	}
	_, strict := ImportStrict("schema.json", text)
	if !strict.HasErrors() || !has(strict, CodeUnknownField) {
		t.Errorf("strict: %v", strict)
	}
}

func TestImportRefusals(t *testing.T) {
	node := func(s string) string { return `{"id": "a", "type": "ACTION", "agent_role": "CODER"` + s + `}` }
	whole := func(nodes, edges string) string {
		return `{"name": "t", "entry_node": "a", "nodes": [` + nodes + `], "edges": [` + edges + `]}`
	}
	for _, c := range []struct{ text, code, says string }{
		{`{"name": "t", "entry_node": "a", "nodes": [}`, CodeSyntax, "cannot start a value"},
		{`{"name": "t", "name": "u"}`, CodeDuplicateKey, "name"},
		{`{"entry_node": "a", "nodes": [` + node("") + `]}`, CodeMissingField, "name"},
		{`{"name": "t", "nodes": [` + node("") + `]}`, CodeMissingField, "entry_node"},
		{`{"name": "t", "entry_node": "a"}`, CodeMissingField, "nodes"},
		{strings.Replace(whole(node(""), ""), `"entry_node": "a"`, `"entry_node": "b"`, 1), CodeUnknownNode, `"b"`},
		{whole(node("")+","+node(""), ""), CodeDuplicateID, `"a"`},
		{whole(node(""), `{"from": "a", "to": "zz"}`), CodeUnknownNode, "zz"},
		{whole(node(""), `{"from": "a", "to": "a"}`), CodeSelfEdge, "max_visits"},
		{whole(node("")+`,{"id": "b", "type": "CONVERGE"}`, ""), CodeUnreachable, "b"},
		{whole(`{"id": "a", "type": "ACTION"}`, ""), CodeMissingField, "agent_role"},
		{whole(`{"id": "a", "type": "LOOP", "agent_role": "X"}`, ""), CodeKind, "LOOP"},
		{whole(node("")+`,{"id": "b", "type": "CONVERGE"}`, `{"from": "a", "to": "b", "condition": "x == 'unclosed"}`), CodeCondition, "no closing '"},
		{whole(`{"id": "a", "type": "PARALLEL"}`, ""), CodeNoEdges, "a"},
		{whole(`{"id": "a", "type": "DECISION"}`, ""), CodeNoEdges, "a"},
		{whole(node("")+`,{"id": "b", "type": "CONVERGE"}`, `{"from": "a", "to": "b"},{"from": "b", "to": "a"}`), CodeEndlessLoop, "no way out"},
		{whole(node(`, "next_nodes": ["b"]`)+`,{"id": "b", "type": "CONVERGE"},{"id": "c", "type": "CONVERGE"}`, `{"from": "a", "to": "c"},{"from": "c", "to": "b"}`), CodeNextNodes, "[b]"},
		{whole(`{"id": "a", "type": "PARALLEL", "next_nodes": ["j"]},{"id": "j", "type": "CONVERGE"},{"id": "b", "type": "CONVERGE"},{"id": "c", "type": "CONVERGE"}`, `{"from": "a", "to": "b"},{"from": "a", "to": "c"},{"from": "b", "to": "j"}`), CodeNextNodes, "[j]"},
		{whole(node("")+`,{"id": "b", "type": "CONVERGE"}`, `{"from": "a", "to": "b", "condition": "list == 'x'"}`), CodeReservedKey, "list"},
		{"name: t\nnodes: {a: {wait: 1s}}", CodeTemplate, "definition already"},
	} {
		_, problems := Import("t.json", []byte(c.text))
		found := false
		for _, p := range problems {
			found = found || p.Severity == Error && p.Code == c.code && strings.Contains(p.Message+p.Hint, c.says)
		}
		if !found {
			t.Errorf("%s: want %s with %q, got %v", c.text, c.code, c.says, problems)
		}
	}
}
