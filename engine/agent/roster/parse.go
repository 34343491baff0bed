package roster

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

const (
	// MaxFile is how long an agent's file may be, in bytes.
	MaxFile = 256 << 10

	maxName   = 128
	maxTools  = 128
	maxTokens = 1 << 20
	maxAtOnce = 10_000
)

var (
	fileName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
	secretRef = regexp.MustCompile(`^\$\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*\}$`)
	words     = source.Words{Content: "front matter", Empty: "write role: and what else the agent has, one field a line", Documents: "an agent's file has one", Syntax: true}
)

// fields are the fields of front matter.
var fields = []string{
	"name", "description", "role", "provider", "model", "base_url", "api_key", "temperature", "max_tokens", "max_parallel",
	"tools", "budget", "expect",
}

// Parse reads an agent's file. Problems are all that is wrong with it, and what is
// worth knowing about it; with an error among them there is no agent.
func Parse(file string, src []byte) (*Agent, workflow.Problems) {
	stem := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	a := &Agent{ID: strings.ToLower(stem), Name: stem, File: file}
	p := &parser{a: a}
	front, line, ok := p.split(file, src)
	if !ok {
		return nil, p.problems
	}
	_, t, problem := source.Read(file, []byte(front), words)
	if problem != nil {
		return nil, append(p.problems, *problem)
	}
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, "the front matter is "+t.What()+", not fields", "write role: coder, one field a line")
		return nil, p.problems
	}
	p.fields(t)
	p.complete(source.Place{Line: line, Column: 1})
	if p.problems.HasErrors() {
		return nil, p.problems.Sorted()
	}
	return a.seal(), p.problems.Sorted()
}

type parser struct {
	a        *Agent
	text     *source.File
	problems workflow.Problems
}

// split takes the file apart: its front matter, with blank lines before it so that
// places are those of the file, and the system prompt, which it keeps. line is where
// the front matter ends.
func (p *parser) split(file string, src []byte) (front string, line int, ok bool) {
	p.text = source.NewFile(file, string(src))
	whole := func(code, msg, hint string) {
		p.note(workflow.Error, code, source.Place{Line: 1, Column: 1}, msg, hint)
	}
	switch {
	case !fileName.MatchString(p.a.ID) || len(p.a.ID) > maxName:
		whole(workflow.CodeName, fmt.Sprintf("%q is no name for an agent", p.a.ID), "a file is named like its agent: letters, digits, -, _ and dots")
		return "", 0, false
	case len(src) > MaxFile:
		p.problems = append(p.problems, workflow.Problem{Severity: workflow.Error, Code: workflow.CodeLimit, File: file, Message: fmt.Sprintf("the file has %d bytes, the limit is %d", len(src), MaxFile)})
		return "", 0, false
	case !utf8.Valid(src):
		whole(workflow.CodeSyntax, "the file is not UTF-8", "save it as UTF-8")
		return "", 0, false
	}
	text := strings.ReplaceAll(strings.TrimPrefix(string(src), "\ufeff"), "\r\n", "\n")
	lines := strings.Split(text, "\n")
	if strings.TrimRight(lines[0], " \t") != "---" {
		whole(workflow.CodeSyntax, "the file does not begin with front matter", "its first line is ---, then come role: and other fields, then --- again and the system prompt")
		return "", 0, false
	}
	for i := 1; i < len(lines); i++ {
		if strings.TrimRight(lines[i], " \t") == "---" {
			p.a.System = strings.TrimSpace(strings.Join(lines[i+1:], "\n"))
			return "\n" + strings.Join(lines[1:i], "\n"), i + 1, true
		}
	}
	whole(workflow.CodeSyntax, "the front matter does not end", "a line --- ends it; the system prompt follows")
	return "", 0, false
}

func (p *parser) add(code string, t *source.Tree, msg, hint string) {
	p.note(workflow.Error, code, t.Place, msg, hint)
}

func (p *parser) note(s workflow.Severity, code string, at source.Place, msg, hint string) {
	x := workflow.Problem{Severity: s, Code: code, Message: msg, Hint: hint}
	p.text.Locate(&x, at)
	p.problems = append(p.problems, x)
}

func (p *parser) fields(t *source.Tree) {
	for i, key := range t.Keys {
		name, v := key.Value.(string), t.Items[i]
		if v.IsNull() {
			continue // as if left out
		}
		switch name {
		case "name":
			if p.a.Name = p.word(key, v, maxName); p.a.Name == "" {
				p.a.Name = p.a.ID
			}
		case "description":
			p.a.Description = p.word(key, v, 4<<10)
		case "role":
			p.a.Role = p.role(key, v)
		case "provider":
			p.a.Provider = p.choice(key, v, []string{OpenAI, Anthropic, Sim})
		case "model":
			p.a.Model = p.word(key, v, maxName)
		case "base_url":
			p.a.BaseURL = p.url(key, v)
		case "api_key":
			p.a.APIKey = p.secret(key, v)
		case "temperature":
			if x, ok := p.number(key, v, 0, 2); ok {
				p.a.Temperature = &x
			}
		case "max_tokens":
			p.a.MaxTokens = int(p.count(key, v, 1, maxTokens))
		case "max_parallel":
			p.a.MaxParallel = int(p.count(key, v, 1, maxAtOnce))
		case "tools":
			p.a.Tools = p.tools(key, v)
		case "budget":
			p.a.Budget = p.budget(v)
		case "expect":
			p.a.Expect = p.schema(key, v)
		default:
			p.unknown(key, name)
		}
	}
}

// unknown refuses a field that was probably meant to be another; the others are those
// of programs that share the file.
func (p *parser) unknown(key *source.Tree, name string) {
	if near := expr.Closest(name, fields); near != "" {
		p.add(workflow.CodeUnknownField, key, fmt.Sprintf("an agent has no field %s", strconv.Quote(name)), "did you mean "+near+"?")
		return
	}
	if !strings.HasPrefix(name, "x-") {
		p.note(workflow.Note, workflow.CodeUnknownField, key.Place, fmt.Sprintf("the field %s means nothing here", strconv.Quote(name)), "there is "+strings.Join(fields, ", "))
	}
}

// complete adds what was left out; end is where the front matter ends.
func (p *parser) complete(end source.Place) {
	if p.a.System == "" {
		p.note(workflow.Warning, workflow.CodeMissingField, end, "the agent has no system prompt", "what follows the second --- is it")
	}
	if p.a.Role != "" {
		return
	}
	p.a.Role = inferred(p.a.Name + " " + p.a.Description)
	p.note(workflow.Note, workflow.CodeMissingField, source.Place{Line: 1, Column: 1}, "the agent has no role: it is taken for "+p.a.Role, "add role: "+p.a.Role+", or another")
}

// hints are words in names and descriptions that tell a role; the first that is there
// counts.
var hints = []struct{ word, role string }{
	{"orchestrat", "orchestrator"}, {"chief of staff", "orchestrator"}, {"coordinat", "orchestrator"},
	{"review", "critic"}, {"security", "critic"}, {"quality", "critic"}, {"audit", "critic"}, {"critic", "critic"}, {"complian", "critic"}, {"guardian", "critic"},
	{"code", "coder"}, {"coder", "coder"}, {"developer", "coder"}, {"engineer", "coder"}, {"architect", "coder"}, {"debug", "coder"},
	{"plan", "planner"}, {"strateg", "planner"}, {"roadmap", "planner"},
	{"write", "writer"}, {"writing", "writer"}, {"content", "writer"}, {"design", "writer"}, {"marketing", "writer"}, {"translat", "writer"},
	{"execut", "executor"}, {"manager", "executor"}, {"deploy", "executor"}, {"devops", "executor"}, {"release", "executor"},
	{"memory", "memory"}, {"knowledge", "memory"},
}

func inferred(text string) string {
	text = strings.ToLower(text)
	for _, h := range hints {
		if strings.Contains(text, h.word) {
			return h.role
		}
	}
	return "analyst"
}

func (p *parser) wrong(key, v *source.Tree, want string) {
	p.add(workflow.CodeType, v, fmt.Sprintf("%s is %s, and should be %s", key.Value, v.What(), want), "")
}

func (p *parser) word(key, v *source.Tree, limit int) string {
	s, ok := v.Value.(string)
	switch {
	case !ok || v.Kind != source.Scalar:
		p.wrong(key, v, "text")
		return ""
	case len(s) > limit:
		p.add(workflow.CodeLimit, v, fmt.Sprintf("%s has %d bytes, the limit is %d", key.Value, len(s), limit), "")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f }):
		p.add(workflow.CodeName, v, fmt.Sprintf("%s has control characters", key.Value), "")
	}
	return strings.TrimSpace(s)
}

func (p *parser) role(key, v *source.Tree) string {
	role := strings.ReplaceAll(strings.ToLower(p.word(key, v, 64)), "-", "_")
	if role != "" && strings.Trim(role, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		p.add(workflow.CodeName, v, fmt.Sprintf("%s is no role", strconv.Quote(source.Clip(role))), "a role is one word: letters, digits and _")
	}
	return role
}

func (p *parser) choice(key, v *source.Tree, choices []string) string {
	s := strings.ToLower(p.word(key, v, maxName))
	if s == "" || slices.Contains(choices, s) {
		return s
	}
	hint := "there is " + strings.Join(choices, ", ")
	if near := expr.Closest(s, choices); near != "" {
		hint = "did you mean " + near + "?"
	}
	p.add(workflow.CodeChoice, v, fmt.Sprintf("there is no %s %s", key.Value, strconv.Quote(source.Clip(s))), hint)
	return ""
}

func (p *parser) url(key, v *source.Tree) string {
	s := p.word(key, v, 2<<10)
	u, err := url.Parse(s)
	switch {
	case s == "":
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		p.add(workflow.CodeType, v, fmt.Sprintf("%s is no URL", key.Value), "as https://host/v1")
	case u.User != nil:
		p.add(workflow.CodeSecret, v, fmt.Sprintf("%s holds a password", key.Value), "give it as api_key: ${secrets.NAME}")
	}
	return strings.TrimRight(s, "/")
}

// secret returns the name of a secret. A key itself is not shown.
func (p *parser) secret(key, v *source.Tree) string {
	s := p.word(key, v, 2<<10)
	m := secretRef.FindStringSubmatch(s)
	if m == nil {
		p.problems = append(p.problems, workflow.Problem{
			Severity: workflow.Error, Code: workflow.CodeSecret, File: p.text.Name, Line: v.Place.Line, Column: v.Place.Column, Width: 1,
			Source: fmt.Sprintf("%s:", key.Value), Message: fmt.Sprintf("%s does not name a secret", key.Value), Hint: "write ${secrets.NAME}: keys do not belong into files",
		})
		return ""
	}
	return m[1]
}

func (p *parser) number(key, v *source.Tree, from, to float64) (float64, bool) {
	var x float64
	switch n := v.Value.(type) {
	case int64:
		x = float64(n)
	case float64:
		x = n
	default:
		p.wrong(key, v, "a number")
		return 0, false
	}
	if x < from || x > to {
		p.add(workflow.CodeRange, v, fmt.Sprintf("%s is %v, and should be from %v to %v", key.Value, v.Value, from, to), "")
		return 0, false
	}
	return x, true
}

func (p *parser) count(key, v *source.Tree, from, to int64) int64 {
	n, ok := v.Value.(int64)
	switch {
	case !ok:
		p.wrong(key, v, "a whole number")
		return 0
	case n < from || n > to:
		p.add(workflow.CodeRange, v, fmt.Sprintf("%s is %d, and should be from %d to %d", key.Value, n, from, to), "")
		return 0
	}
	return n
}

// tools reads a list of names and of tools that the file makes, or, as others write it,
// names with commas between them.
func (p *parser) tools(key, v *source.Tree) []string {
	var list []string
	if s, ok := v.Value.(string); ok && v.Kind == source.Scalar {
		for _, w := range strings.Split(s, ",") {
			if w = strings.TrimSpace(w); w != "" {
				list = append(list, w)
			}
		}
	} else if v.Kind != source.List {
		p.wrong(key, v, "a list of names")
		return nil
	}
	for _, x := range v.Items {
		if x.Kind == source.Map {
			p.a.Own = append(p.a.Own, p.ownTool(x))
		} else if s := p.word(key, x, maxName); s != "" {
			list = append(list, s)
		}
	}
	if n := len(list) + len(p.a.Own); n > maxTools {
		p.add(workflow.CodeLimit, v, fmt.Sprintf("there are %d tools, the limit is %d", n, maxTools), "")
	}
	return list
}

func (p *parser) budget(v *source.Tree) *Budget {
	if v.Kind != source.Map {
		p.add(workflow.CodeType, v, "budget is "+v.What()+", not an object", "write budget: {usd: 5, tokens: 1000000}")
		return nil
	}
	b := &Budget{}
	for i, key := range v.Keys {
		x := v.Items[i]
		switch key.Value {
		case "usd":
			if _, ok := p.number(key, x, 0, workflow.MaxUSD); ok {
				var err error
				if b.MicroUSD, err = workflow.Micros(x.Value); err != nil {
					p.add(workflow.CodeRange, x, fmt.Sprintf("usd is %v: %v", x.Value, err), "")
				}
			}
		case "tokens":
			b.Tokens = p.count(key, x, 1, workflow.MaxTokens)
		default:
			p.add(workflow.CodeUnknownField, key, fmt.Sprintf("budget has no field %s", strconv.Quote(key.Value.(string))), "there is usd, tokens")
		}
	}
	return b
}

func (p *parser) schema(key, v *source.Tree) any {
	if v.Kind != source.Map {
		p.wrong(key, v, "a JSON Schema")
		return nil
	}
	s := v.Plain()
	if _, err := workflow.CompileSchema(s); err != nil {
		p.add(workflow.CodeSchema, v, fmt.Sprintf("%s: %v", key.Value, err), "")
		return nil
	}
	return s
}
