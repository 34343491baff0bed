package roster

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/engine/workflow"
)

func TestParse(t *testing.T) {
	src := "\ufeff---\r\nname: Baccio the Architect\r\ndescription: Systems\r\nrole: CODER\r\nprovider: OpenAI\r\nmodel: gpt-4.1\r\nbase_url: http://127.0.0.1:1/v1/\r\n" +
		"api_key: ${secrets.LOCAL}\r\ntemperature: 0\r\nmax_tokens: 50\r\nmax_parallel: 2\r\ntools: [search, 'files/*']\r\n" +
		"budget: {usd: 0.10, tokens: 500}\r\nexpect: {type: object}\r\ncolor: red\r\nx-own: 1\r\n---\r\n\r\nYou are Baccio.\r\n\r\n---\r\nBe brief.\r\n"
	a, problems := Parse("agents/Baccio-Tech.md", []byte(src))
	if problems.HasErrors() || len(problems) != 1 || problems[0].Line != 15 || problems[0].Severity != workflow.Note {
		t.Fatalf("%v", problems)
	}
	zero := 0.0
	want := &Agent{
		ID: "baccio-tech", Name: "Baccio the Architect", Description: "Systems", Role: "coder", Provider: OpenAI, Model: "gpt-4.1",
		BaseURL: "http://127.0.0.1:1/v1", APIKey: "LOCAL", Temperature: &zero, MaxTokens: 50, MaxParallel: 2, Tools: []string{"search", "files/*"},
		Budget: &Budget{MicroUSD: 100_000, Tokens: 500}, Expect: map[string]any{"type": "object"},
		System: "You are Baccio.\n\n---\nBe brief.", File: "agents/Baccio-Tech.md",
	}
	want.seal()
	if !reflect.DeepEqual(a, want) {
		t.Errorf("%+v", a)
	}
	elsewhere, _ := Parse("other/Baccio-Tech.md", []byte(src))
	if elsewhere.Hash != a.Hash {
		t.Error("the hash depends on where the file is")
	}
	other, _ := Parse("agents/Baccio-Tech.md", []byte(strings.Replace(src, "brief", "short", 1)))
	if other.Hash == a.Hash {
		t.Error("another prompt has the same hash")
	}
}

// An agent of another program, with a name and a description alone, is one here.
func TestParseForeign(t *testing.T) {
	for text, role := range map[string]string{
		"name: thor\ndescription: Quality assurance guardian\ntools: Read, Grep ,\ncolor: \"#fff\"\n": "critic",
		"name: ada\ndescription: Writes code in Go\n":                                                 "coder",
		"name: x\ndescription: Finds out\n":                                                           "analyst",
	} {
		a, problems := Parse("one.md", []byte("---\n"+text+"---\nYou are one.\n"))
		if a == nil || a.Role != role {
			t.Errorf("%s: %+v, %v", text, a, problems)
		}
		if a != nil && a.Name == "thor" && !reflect.DeepEqual(a.Tools, []string{"Read", "Grep"}) {
			t.Errorf("tools %q", a.Tools)
		}
	}
}

// A budget is what was written, or there is none.
func TestParseBudgets(t *testing.T) {
	for written, want := range map[string]string{
		"{usd: 0.0000015}":               "usd is 1.5e-06: an amount in dollars has at most six decimals",
		"{usd: .nan}":                    "infinity and NaN are no values",
		"{usd: -0.1}":                    "usd is -0.1, and should be from 0 to 1e+09",
		"{usd: 1e10}":                    "usd is 10000000000, and should be from 0 to 1e+09",
		"{tokens: 2000000000000000}":     "tokens is 2000000000000000, and should be from 1 to 1000000000000000",
		"{tokens: -1}":                   "tokens is -1, and should be from 1 to 1000000000000000",
		"{tokens: 99999999999999999999}": "does not fit 64 bits",
	} {
		_, problems := Parse("x.md", []byte("---\nrole: coder\nbudget: "+written+"\n---\nx\n"))
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", written, err)
		}
	}
	a, problems := Parse("x.md", []byte("---\nrole: coder\nbudget: {usd: 0.000001, tokens: 1}\n---\nx\n"))
	if problems.Err() != nil || *a.Budget != (Budget{MicroUSD: 1, Tokens: 1}) {
		t.Errorf("%+v %v", a, problems)
	}
}

// Everything that is wrong with a file is said at once, each with its place.
func TestParseProblems(t *testing.T) {
	const src = `---
name: 12
rolle: coder
role: two words
provider: opnai
model: [a]
base_url: ftp://x
api_key: sk-1234567890abcdef
temperature: 3
max_tokens: 0
max_parallel: many
tools: {a: b}
budget: {usd: -1, cents: 5}
expect: {type: nonsense}
---
`
	const want = `error[type]: name is a number, and should be text
 --> agents/bad.md:2:7
  |
2 | name: 12
  |       ^^

error[unknown-field]: an agent has no field "rolle"
 --> agents/bad.md:3:1
  |
3 | rolle: coder
  | ^^^^^ did you mean role?

error[name]: "two words" is no role
 --> agents/bad.md:4:7
  |
4 | role: two words
  |       ^^^^^^^^^ a role is one word: letters, digits and _

error[choice]: there is no provider "opnai"
 --> agents/bad.md:5:11
  |
5 | provider: opnai
  |           ^^^^^ did you mean openai?

error[type]: model is a list, and should be text
 --> agents/bad.md:6:8
  |
6 | model: [a]
  |        ^

error[type]: base_url is no URL
 --> agents/bad.md:7:11
  |
7 | base_url: ftp://x
  |           ^^^^^^^ as https://host/v1

error[secret]: api_key does not name a secret
 --> agents/bad.md:8:10
  |
8 | api_key:
  |          ^ write ${secrets.NAME}: keys do not belong into files

error[range]: temperature is 3, and should be from 0 to 2
 --> agents/bad.md:9:14
  |
9 | temperature: 3
  |              ^

error[range]: max_tokens is 0, and should be from 1 to 1048576
  --> agents/bad.md:10:13
   |
10 | max_tokens: 0
   |             ^

error[type]: max_parallel is text, and should be a whole number
  --> agents/bad.md:11:15
   |
11 | max_parallel: many
   |               ^^^^

error[type]: tools is an object, and should be a list of names
  --> agents/bad.md:12:8
   |
12 | tools: {a: b}
   |        ^

error[range]: usd is -1, and should be from 0 to 1e+09
  --> agents/bad.md:13:15
   |
13 | budget: {usd: -1, cents: 5}
   |               ^^

error[unknown-field]: budget has no field "cents"
  --> agents/bad.md:13:19
   |
13 | budget: {usd: -1, cents: 5}
   |                   ^^^^^ there is usd, tokens

error[schema]: expect: `
	a, problems := Parse("agents/bad.md", []byte(src))
	var b strings.Builder
	if err := problems.Render(&b, false); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); a != nil || !strings.HasPrefix(got, want) {
		n := 0
		for n < min(len(got), len(want)) && got[n] == want[n] {
			n++
		}
		t.Errorf("%v, from %q on:\n%s", a, got[n:min(n+60, len(got))], got)
	}
	if strings.Contains(b.String(), "sk-123") {
		t.Error("a key is shown")
	}
}

func TestParseHostile(t *testing.T) {
	for name, c := range map[string]struct{ file, src, want string }{
		"empty":        {"a.md", "", "does not begin with front matter"},
		"no matter":    {"a.md", "You are A.", "does not begin with front matter"},
		"no end":       {"a.md", "---\nrole: x\n", "does not end"},
		"a list":       {"a.md", "---\n- a\n---\nx", "a list, not fields"},
		"nothing":      {"a.md", "---\n---\nx", "the file is empty"},
		"twice":        {"a.md", "---\nrole: a\nrole: b\n---\nx", "twice"},
		"not UTF-8":    {"a.md", "---\nrole: \xff\n---\nx", "not UTF-8"},
		"too long":     {"a.md", "---\nrole: a\n---\n" + strings.Repeat("x", MaxFile), "the limit is 262144"},
		"a bad name":   {"a b.md", "---\nrole: a\n---\nx", "no name for an agent"},
		"a long name":  {strings.Repeat("a", 129) + ".md", "---\nrole: a\n---\nx", "no name for an agent"},
		"control":      {"a.md", "---\nrole: a\ndescription: \"\\u001b[2J\"\n---\nx", "control characters"},
		"a password":   {"a.md", "---\nrole: a\nbase_url: https://me:pw@host/\n---\nx", "holds a password"},
		"many tools":   {"a.md", "---\nrole: a\ntools: [" + strings.Repeat("t,", 200) + "t]\n---\nx", "the limit is 128"},
		"deep":         {"a.md", "---\nrole: a\nexpect: " + strings.Repeat("{a: ", 100) + strings.Repeat("}", 100) + "\n---\nx", "nested deeper"},
		"aliases":      {"a.md", "---\nrole: &r a\ntools: [" + strings.Repeat("*r, ", 300) + "*r]\n---\nx", "limit"},
		"a remote ref": {"a.md", "---\nrole: a\nexpect: {$ref: 'http://127.0.0.1/x'}\n---\nx", "own parts only"},
	} {
		a, problems := Parse(c.file, []byte(c.src))
		if a != nil || !problems.HasErrors() || !strings.Contains(problems.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, a, problems)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("---\nrole: coder\nbudget: {usd: 1}\n---\nYou are.\n")
	f.Add("---\n---\n")
	f.Fuzz(func(t *testing.T, src string) {
		a, problems := Parse("a.md", []byte(src))
		if (a == nil) != problems.HasErrors() {
			t.Fatalf("%v, %v", a, problems)
		}
		if a != nil && (a.Role == "" || a.Hash == "") {
			t.Fatalf("%+v", a)
		}
	})
}

// The agents of the binary have no problems, and are enough for what the documents
// name.
func TestBuiltIn(t *testing.T) {
	r, _, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.IDs()); n < 54 {
		t.Errorf("there are %d agents", n)
	}
	by := map[string]string{
		"orchestrator": "ali", "planner": "satya antonio wanda", "analyst": "domik matteo omri po amy", "coder": "baccio dan",
		"executor": "marco luke davide", "critic": "luca thor elena socrates", "writer": "sara jony sofia", "memory": "marcus",
		"": "fabio stefano ava rex paolo dario otto anna fiona jenny marcello sam evan taskmaster tester guardian app-release-manager",
	}
	for role, names := range by {
		for _, name := range strings.Fields(names) {
			if a, err := r.Lookup(strings.ToUpper(name)); err != nil || role != "" && a.Role != role || a.System == "" {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
	}
}

// Every role that the original's templates use has an agent.
func TestRolesOfTemplates(t *testing.T) {
	files, _ := filepath.Glob("../../../../shared/templates/*.json")
	if len(files) == 0 {
		t.Skip("../shared/templates is not here")
	}
	r, _, err := New(Options{NoSpawn: true})
	if err != nil {
		t.Fatal(err)
	}
	roles := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var template struct {
			Nodes []struct {
				Role string `json:"agent_role"`
			}
		}
		if err := json.Unmarshal(b, &template); err != nil {
			t.Fatal(file, err)
		}
		for _, n := range template.Nodes {
			if n.Role != "" {
				roles[n.Role] = true
			}
		}
	}
	picks := r.Begin()
	defer picks.End()
	for role := range roles {
		if c, err := picks.Choose("", role); err != nil || c.Spawned {
			t.Errorf("%s: %v, %v", role, c.Agent, err)
		}
	}
	if len(roles) < 8 {
		t.Errorf("found %d roles", len(roles))
	}
}

// Tools that a file makes are read with their places; what is wrong with one is said.
func TestOwnTools(t *testing.T) {
	parse := func(tool string) (*Agent, error) {
		a, problems := Parse("a.md", []byte("---\nrole: a\ntools:\n  - search\n  - "+tool+"\n---\nx"))
		return a, problems.Err()
	}
	a, err := parse("{name: look, description: d, arguments: {type: object, required: [id]}, http: {method: post, url: 'https://h/${arguments.id}', headers: {A: '${secrets.X}'}, body: {id: '${arguments.id}'}, allow_private: true}}")
	if err != nil || len(a.Own) != 1 || len(a.Tools) != 1 || a.CallsWorkflows() || a.Own[0].HTTP.Method != "POST" || a.Own[0].Check(map[string]any{}) == nil || a.Own[0].Check(map[string]any{"id": 1}) != nil {
		t.Fatalf("%+v, %v", a, err)
	}
	if b, err := parse("{name: run, workflow: w}"); err != nil || !b.CallsWorkflows() || a.Hash == b.Hash {
		t.Fatal(b, err)
	}
	for tool, want := range map[string]string{
		"{workflow: w}":                                              "a.md:5:5: error[missing-field]: the tool has no name",
		"{name: a}":                                                  "a.md:5:5: error[missing-field]: the tool does nothing",
		"{name: 'a b', workflow: w}":                                 `a.md:5:12: error[name]: "a b" is no name for a tool`,
		"{name: a, workflow: w, http: {}}":                           "a.md:5:15: error[type]: the tool has both http and workflow",
		"{name: a, http: {}}":                                        "a.md:5:21: error[missing-field]: the request has no url",
		"{name: a, http: {uri: x}}":                                  `http has no field "uri" (did you mean url?)`,
		"{name: a, http: {url: '${arguments.u}'}}":                   "a.md:5:27: error[type]: url does not begin with http://host/",
		"{name: a, http: {url: 'https://${arguments.h}/'}}":          "url does not begin with http://host/",
		"{name: a, http: {url: 'https://x.${arguments.h}/'}}":        "url does not begin with http://host/",
		"{name: a, http: {url: 'ftp://h/'}}":                         "url does not begin with http://host/",
		"{name: a, http: {url: 'https://h/${state.x}'}}":             "a.md:5:27: error[type]: ",
		"{name: a, http: {url: 'https://h/${arguments.'}}":           "a.md:5:27: error[type]: ",
		"{name: a, http: {url: 'https://h/', body: '${secrets.X}'}}": "a.md:5:47: error[type]: ",
		"{name: a, http: {url: 'https://h/', method: TRACE}}":        "method is TRACE",
		"{name: a, http: {url: 'https://h/', headers: [a]}}":         "headers is a list, and should be an object",
		"{name: a, http: {url: 'https://h/', allow_private: 1}}":     "allow_private is a number, and should be true or false",
		"{name: a, workflow: w, arguments: {type: objekt}}":          "error[schema]: arguments: ",
		"{name: a, workflow: w}\n  - {name: a, workflow: w}":         "a.md:6:12: error[duplicate-key]: there are two tools a",
		"{name: a, nme: b, workflow: w}":                             `a tool has no field "nme" (did you mean name?)`,
	} {
		if _, err := parse(tool); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", tool, err, want)
		}
	}
}
