package mcp

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Server says how a server is reached: Command or URL.
type Server struct {
	Name    string
	Command []string
	Env     map[string]string // values may hold ${secrets.NAME}, as those of Headers
	Dir     string
	Sandbox sandbox.Ask // of the program
	URL     string
	Headers map[string]string
	Tools   []string // patterns of the tools that may be used; none: all
}

const maxServers = 100

var (
	serverName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	secretRef   = regexp.MustCompile(`\$\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*\}`)
	configWords = source.Words{Content: "servers", Empty: "write mcpServers: with an entry for each server", Documents: "put the servers into one", Syntax: true}
	fields      = []string{"command", "args", "env", "dir", "sandbox", "url", "headers", "tools", "type"}
)

// ParseConfig reads a file of servers, YAML or JSON. The error, a workflow.Problems,
// holds everything that is wrong with it.
func ParseConfig(file string, src []byte) ([]Server, error) {
	text, t, problem := source.Read(file, src, configWords)
	if problem != nil {
		return nil, workflow.Problems{*problem}
	}
	p := &parser{text: text}
	list := p.servers(t)
	if p.problems.HasErrors() {
		return nil, p.problems.Sorted()
	}
	return list, nil
}

type parser struct {
	text     *source.File
	problems workflow.Problems
}

func (p *parser) add(code string, t *source.Tree, msg, hint string) {
	p.problems = append(p.problems, p.text.Wrong(code, t, msg, hint))
}

func (p *parser) servers(t *source.Tree) []Server {
	in := t.Get("mcpServers")
	if in == nil {
		in = t.Get("servers")
	}
	if in == nil || in.Kind != source.Map {
		p.add(workflow.CodeType, t, "the file has no mcpServers", "write mcpServers: and under it an entry for each server")
		return nil
	}
	if len(in.Keys) > maxServers {
		p.add(workflow.CodeLimit, in, fmt.Sprintf("there are more than %d servers", maxServers), "")
	}
	var list []Server
	for i, key := range in.Keys {
		if !serverName.MatchString(key.Value.(string)) {
			p.add(workflow.CodeName, key, fmt.Sprintf("%s is no name for a server", strconv.Quote(key.Value.(string))), "letters, digits, - and _")
			continue
		}
		list = append(list, p.server(key, in.Items[i]))
	}
	return list
}

func (p *parser) server(key, t *source.Tree) Server {
	s := Server{Name: key.Value.(string)}
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, s.Name+" is "+t.What()+", not an object", "write command: [program, argument], or url:")
		return s
	}
	for i, k := range t.Keys {
		v := t.Items[i]
		switch k.Value {
		case "command":
			s.Command = append(p.texts(k, v), s.Command...)
		case "args":
			s.Command = append(s.Command, p.texts(k, v)...)
		case "env":
			s.Env = p.textMap(k, v)
		case "headers":
			s.Headers = p.textMap(k, v)
		case "dir":
			s.Dir = p.word(k, v)
		case "sandbox":
			ask, problems := workflow.ReadSandbox(p.text, v)
			p.problems = append(p.problems, problems...)
			s.Sandbox = agent.SandboxAsk(ask)
		case "url":
			s.URL = p.word(k, v)
			if u, err := url.Parse(s.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				p.add(workflow.CodeType, v, "url is no URL", "as https://host/mcp")
			}
		case "tools":
			s.Tools = p.texts(k, v)
		case "type": // of the transport, which command and url say
		default:
			name := k.Value.(string)
			hint := "there is " + strings.Join(fields, ", ")
			if near := expr.Closest(name, fields); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.add(workflow.CodeUnknownField, k, fmt.Sprintf("a server has no field %s", strconv.Quote(name)), hint)
		}
	}
	if (len(s.Command) == 0) == (s.URL == "") {
		p.add(workflow.CodeMissingField, key, s.Name+" needs a command, or a url", "one of the two")
	}
	return s
}

func (p *parser) word(key, v *source.Tree) string {
	s, ok := v.Value.(string)
	if !ok || v.Kind != source.Scalar || strings.ContainsRune(s, 0) {
		p.add(workflow.CodeType, v, fmt.Sprintf("%s is %s, not text", key.Value, v.What()), "")
	}
	return s
}

// texts reads a text or a list of them.
func (p *parser) texts(key, v *source.Tree) []string {
	if v.Kind == source.Scalar {
		return []string{p.word(key, v)}
	}
	if v.Kind != source.List {
		p.add(workflow.CodeType, v, fmt.Sprintf("%s is %s, not a list", key.Value, v.What()), "")
		return nil
	}
	var list []string
	for _, x := range v.Items {
		list = append(list, p.word(key, x))
	}
	return list
}

func (p *parser) textMap(key, v *source.Tree) map[string]string {
	if v.Kind != source.Map {
		p.add(workflow.CodeType, v, fmt.Sprintf("%s is %s, not an object", key.Value, v.What()), "")
		return nil
	}
	m := map[string]string{}
	for i, k := range v.Keys {
		m[k.Value.(string)] = p.word(k, v.Items[i])
	}
	return m
}

// fill puts secrets into a text.
func fill(text string, secret func(string) (string, error)) (string, error) {
	var bad error
	out := secretRef.ReplaceAllStringFunc(text, func(ref string) string {
		v, err := secret(secretRef.FindStringSubmatch(ref)[1])
		if err != nil && bad == nil {
			bad = err
		}
		return v
	})
	return out, bad
}

// sorted returns the names of servers, sorted.
func sorted(list []Server) []string {
	var names []string
	for _, s := range list {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}
