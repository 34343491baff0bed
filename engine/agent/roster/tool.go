package roster

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
)

// Tool is a tool that an agent's file makes: a request to a service, or a run of a
// workflow. One of HTTP and Workflow is set.
type Tool struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Arguments   map[string]any `json:"arguments,omitempty"` // JSON Schema; nil: any, or the input of the workflow
	HTTP        *Request       `json:"http,omitempty"`
	Workflow    string         `json:"workflow,omitempty"`

	schema *workflow.Schema // of Arguments; nil: any
}

// Request is what a tool asks of a service. Its texts may hold ${arguments.…}, and all but
// the body ${secrets.…}.
type Request struct {
	Method       string            `json:"method"`
	URL          string            `json:"url"`
	Headers      map[string]string `json:"headers,omitempty"`
	Body         any               `json:"body,omitempty"`
	AllowPrivate bool              `json:"allow_private,omitempty"`

	url, headers, body *expr.Template
}

// CallsWorkflows reports whether a tool of the agent's own is a workflow.
func (a *Agent) CallsWorkflows() bool {
	return slices.ContainsFunc(a.Own, func(t *Tool) bool { return t.Workflow != "" })
}

// Check returns why a tool cannot be called with arguments.
func (t *Tool) Check(arguments map[string]any) error {
	if t.schema == nil {
		return nil
	}
	return t.schema.Validate(arguments)
}

// Settings evaluates a request as the settings of an http node. escaped sees the
// arguments as they may stand in a URL.
func (r *Request) Settings(vars, escaped expr.Vars) (map[string]any, error) {
	s := map[string]any{"method": r.Method, "allow_private": r.AllowPrivate}
	for _, part := range []struct {
		name string
		t    *expr.Template
		vars expr.Vars
	}{{"url", r.url, escaped}, {"headers", r.headers, vars}, {"body", r.body, vars}} {
		if part.t == nil {
			continue
		}
		v, err := part.t.Eval(part.vars)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
		s[part.name] = v
	}
	return s, nil
}

var (
	toolName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`) // as every model takes it
	toolFields = []string{"name", "description", "arguments", "http", "workflow"}
	httpFields = []string{"method", "url", "headers", "body", "allow_private"}
	methods    = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	// A host is the file's to say, not the arguments'.
	fixedHost = regexp.MustCompile(`^https?://[^/?#$]+[/?]`)
)

// ownTool reads a tool that the file makes.
func (p *parser) ownTool(v *source.Tree) *Tool {
	t := &Tool{}
	at := p.object("a tool", v, toolFields)
	if k := at["name"]; k != nil {
		t.Name = p.word(k.key, k.value, maxName)
		switch {
		case t.Name == "":
		case !toolName.MatchString(t.Name):
			p.add(workflow.CodeName, k.value, fmt.Sprintf("%s is no name for a tool", strconv.Quote(t.Name)), "models take up to 64 letters, digits, - and _")
		case slices.ContainsFunc(p.a.Own, func(o *Tool) bool { return o.Name == t.Name }):
			p.add(workflow.CodeDuplicateKey, k.value, fmt.Sprintf("there are two tools %s", t.Name), "")
		}
	} else {
		p.add(workflow.CodeMissingField, v, "the tool has no name", "the model calls it by that")
	}
	if k := at["description"]; k != nil {
		t.Description = p.word(k.key, k.value, 4<<10)
	}
	if k := at["arguments"]; k != nil {
		t.Arguments, _ = p.schema(k.key, k.value).(map[string]any)
		if t.Arguments != nil {
			t.schema, _ = workflow.CompileSchema(t.Arguments) // it was tried
		}
	}
	switch h, w := at["http"], at["workflow"]; {
	case h != nil && w != nil:
		p.add(workflow.CodeType, w.key, "the tool has both http and workflow", "make two tools of it")
	case h != nil:
		t.HTTP = p.request(h.value)
	case w != nil:
		t.Workflow = p.word(w.key, w.value, maxName)
	default:
		p.add(workflow.CodeMissingField, v, "the tool does nothing", "write http: {url: …}, or workflow: with a name")
	}
	return t
}

// entry is a field with its name.
type entry struct{ key, value *source.Tree }

// object returns the fields of an object, which are to be among names. Those that are
// null are as if left out.
func (p *parser) object(what string, v *source.Tree, names []string) map[string]*entry {
	at := map[string]*entry{}
	if v.Kind != source.Map {
		p.add(workflow.CodeType, v, what+" is "+v.What()+", not an object", "there is "+strings.Join(names, ", "))
		return at
	}
	for i, k := range v.Keys {
		name := fmt.Sprint(k.Value)
		switch {
		case !slices.Contains(names, name):
			hint := "there is " + strings.Join(names, ", ")
			if near := expr.Closest(name, names); near != "" {
				hint = "did you mean " + near + "?"
			}
			p.add(workflow.CodeUnknownField, k, fmt.Sprintf("%s has no field %s", what, strconv.Quote(name)), hint)
		case !v.Items[i].IsNull():
			at[name] = &entry{k, v.Items[i]}
		}
	}
	return at
}

func (p *parser) request(v *source.Tree) *Request {
	r := &Request{Method: "GET"}
	at := p.object("http", v, httpFields)
	if k := at["method"]; k != nil {
		r.Method = strings.ToUpper(p.word(k.key, k.value, 16))
		if r.Method != "" && !slices.Contains(methods, r.Method) {
			p.add(workflow.CodeType, k.value, fmt.Sprintf("method is %s", r.Method), "one of "+strings.Join(methods, ", "))
		}
	}
	switch k := at["url"]; {
	case k == nil:
		p.add(workflow.CodeMissingField, v, "the request has no url", "write url: https://host/…")
	default:
		if r.URL = p.word(k.key, k.value, 4<<10); r.URL != "" && !fixedHost.MatchString(r.URL) {
			p.add(workflow.CodeType, k.value, "url does not begin with http://host/ or https://host/", "the arguments may say what comes after the host, not the host")
			break
		}
		r.url = p.template(k.value, r.URL, "arguments", "secrets")
	}
	if k := at["headers"]; k != nil {
		r.Headers = map[string]string{}
		all := map[string]any{}
		if k.value.Kind != source.Map {
			p.wrong(k.key, k.value, "an object")
		} else {
			for i, name := range k.value.Keys {
				s := p.word(name, k.value.Items[i], 4<<10)
				r.Headers[fmt.Sprint(name.Value)], all[fmt.Sprint(name.Value)] = s, s
			}
			r.headers = p.template(k.value, all, "arguments", "secrets")
		}
	}
	if k := at["body"]; k != nil {
		r.Body = k.value.Plain()
		r.body = p.template(k.value, r.Body, "arguments")
	}
	if k := at["allow_private"]; k != nil {
		b, ok := k.value.Value.(bool)
		if !ok {
			p.wrong(k.key, k.value, "true or false")
		}
		r.AllowPrivate = b
	}
	return r
}

// template compiles a value that may hold ${…}; nil if there is something wrong.
func (p *parser) template(at *source.Tree, v any, vars ...string) *expr.Template {
	refused := map[string]string{}
	for _, name := range expr.Variables {
		if !slices.Contains(vars, name) {
			refused[name] = "a tool sees its " + strings.Join(vars, " and ") + " alone"
		}
	}
	t, err := expr.CompileTemplate(v, expr.Scope{Vars: vars, Refused: refused})
	if err != nil {
		p.add(workflow.CodeType, at, err.Error(), "")
		return nil
	}
	return t
}
