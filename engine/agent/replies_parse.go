package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/engine/workflow/source"
	"github.com/wfd-dev/wfd/projection/event"
)

// classes are the failures a reply can ask for.
var classes = []string{
	event.ClassTimeout, event.ClassNetwork, event.ClassRateLimit, event.ClassUnavailable, event.ClassToolFailed, event.ClassInvalidOutput,
	event.ClassBudget, event.ClassAuth, event.ClassNotFound, event.ClassCancelled, event.ClassInternal,
}

// replyWords are what is said of a file that cannot be read.
var replyWords = source.Words{
	Content:   "replies",
	Empty:     "write `default: some text`, or `nodes:` with an entry for each node",
	Documents: "put the replies into one",
	Syntax:    true,
}

// ParseReplies reads a file of scripted answers, YAML or JSON. The error, a
// workflow.Problems, holds everything that is wrong with it.
func ParseReplies(file string, src []byte) (*Replies, error) {
	text, t, problem := source.Read(file, src, replyWords)
	if problem != nil {
		return nil, workflow.Problems{*problem}
	}
	p := &replyParser{text: text}
	r := p.replies(t)
	if p.problems.HasErrors() {
		return nil, p.problems.Sorted()
	}
	return r, nil
}

type replyParser struct {
	text     *source.File
	problems workflow.Problems
}

// add notes a problem where t begins.
func (p *replyParser) add(code string, t *source.Tree, msg, hint string) {
	p.problems = append(p.problems, p.text.Wrong(code, t, msg, hint))
}

func (p *replyParser) unknown(key *source.Tree, what string, names []string) {
	name := key.Value.(string)
	p.add(workflow.CodeUnknownField, key, fmt.Sprintf("%s has no field %s", what, strconv.Quote(name)), meant(name, names, "there is "+strings.Join(names, ", ")))
}

// meant asks for the name that was probably meant, and says other if there is
// none.
func meant(name string, names []string, other string) string {
	if near := expr.Closest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return other
}

func (p *replyParser) replies(t *source.Tree) *Replies {
	r := &Replies{file: p.text.Name, nodes: map[string]entry{}}
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, "the file is "+t.What()+", not an object", "write `nodes:` with an entry for each node, and `default:` for the others")
		return r
	}
	for i, key := range t.Keys {
		v := t.Items[i]
		switch key.Value {
		case "nodes":
			if v.Kind != source.Map {
				p.add(workflow.CodeType, v, "nodes is "+v.What()+", not an object", "write one `<node>: <reply>` per line under it")
				continue
			}
			for i, id := range v.Keys {
				r.ids = append(r.ids, id.Value.(string))
				r.nodes[id.Value.(string)] = p.entry(id, v.Items[i])
			}
		case "default":
			r.fallback = p.entry(key, v)
		default:
			name := key.Value.(string)
			hint := meant(name, []string{"nodes", "default"}, "entries of nodes stand under nodes:")
			p.add(workflow.CodeUnknownField, key, fmt.Sprintf("a replies file has no field %s", strconv.Quote(name)), hint)
		}
	}
	return r
}

// entry reads the replies of a node: one, or a list by visit, of which each may
// be a list by attempt.
func (p *replyParser) entry(key, t *source.Tree) entry {
	e := entry{line: key.Place.Line, col: key.Place.Column}
	if t.Kind != source.List {
		e.visits = [][]Reply{{p.reply(t)}}
		return e
	}
	if len(t.Items) == 0 {
		p.add(workflow.CodeRange, t, "the list of replies is empty", "give one reply per visit; the last one goes on")
	}
	for _, visit := range t.Items {
		if visit.Kind != source.List {
			e.visits = append(e.visits, []Reply{p.reply(visit)})
			continue
		}
		if len(visit.Items) == 0 {
			p.add(workflow.CodeRange, visit, "the list of replies to a visit is empty", "give one reply per attempt; the last one goes on")
		}
		var attempts []Reply
		for _, x := range visit.Items {
			attempts = append(attempts, p.reply(x))
		}
		e.visits = append(e.visits, attempts)
	}
	return e
}

var replyFields = []string{"text", "result", "set", "fail", "message", "delay", "usage"}

func (p *replyParser) reply(t *source.Tree) Reply {
	var r Reply
	if s, ok := t.Value.(string); ok && t.Kind == source.Scalar {
		r.Text = s
		return r
	}
	if t.Kind != source.Map {
		hint := "text needs quotes here; another result is written {result: …}"
		if t.Kind == source.List {
			hint = "lists are by visit, lists in them by attempt, and no deeper; a list as the result is written {result: […]}"
		}
		p.add(workflow.CodeType, t, "a reply is text or an object, not "+t.What(), hint)
		return r
	}
	at := map[string]*source.Tree{}
	for i, key := range t.Keys {
		v := t.Items[i]
		at[key.Value.(string)] = key
		switch key.Value {
		case "text":
			r.Text = p.string(key, v)
		case "result":
			r.Result, r.Results = v.Plain(), true
		case "set":
			if v.Kind != source.Map {
				p.add(workflow.CodeType, v, "set is "+v.What()+", not an object", "write set: {key: value}")
				continue
			}
			r.Set, _ = v.Plain().(map[string]any)
		case "fail":
			r.Fail = p.class(key, v)
		case "message":
			r.Message = p.string(key, v)
		case "delay":
			r.Delay = p.delay(v)
		case "usage":
			r.Usage = p.usage(v)
		default:
			p.unknown(key, "a reply", replyFields)
		}
	}
	if at["fail"] == nil {
		if m := at["message"]; m != nil {
			p.add(workflow.CodeNoEffect, m, "message is that of a failure, and this reply does not fail", "add fail: <class>, or write text:")
		}
		return r
	}
	for _, name := range []string{"result", "set"} {
		if k := at[name]; k != nil {
			p.add(workflow.CodeContradiction, k, name+" and fail exclude each other: a failed attempt has no result", "make it a list of two replies")
		}
	}
	if r.Message = cmp.Or(r.Message, r.Text); r.Message == "" {
		r.Message = "as the replies say"
	}
	return r
}

func (p *replyParser) string(key, v *source.Tree) string {
	s, ok := v.Value.(string)
	if !ok || v.Kind != source.Scalar {
		hint := "put it in quotes"
		if v.Kind != source.Scalar {
			hint = "a value that is no text is written {result: …}"
		}
		p.add(workflow.CodeType, v, fmt.Sprintf("%s is %s, not text", key.Value, v.What()), hint)
	}
	return s
}

func (p *replyParser) class(key, v *source.Tree) string {
	s, ok := v.Value.(string)
	if !ok {
		p.string(key, v)
		return ""
	}
	if slices.Contains(classes, s) {
		return s
	}
	p.add(workflow.CodeChoice, v, fmt.Sprintf("no failure has the class %s", strconv.Quote(s)), meant(s, classes, "there is "+strings.Join(classes, ", ")))
	return s
}

func (p *replyParser) delay(t *source.Tree) time.Duration {
	s, ok := t.Value.(string)
	if ok {
		d, err := workflow.ParseDuration(s)
		if err == nil {
			return d
		}
	}
	p.add(workflow.CodeDuration, t, "delay is no duration", "write a number and a unit, as 50ms, 2s or 1m")
	return 0
}

var usageFields = []string{"input_tokens", "output_tokens"}

func (p *replyParser) usage(t *source.Tree) *event.Usage {
	if t.Kind != source.Map {
		p.add(workflow.CodeType, t, "usage is "+t.What()+", not an object", "write usage: {input_tokens: 100, output_tokens: 20}")
		return nil
	}
	u := &event.Usage{}
	for i, key := range t.Keys {
		v := t.Items[i]
		n, ok := v.Value.(int64)
		if slices.Contains(usageFields, key.Value.(string)) && (!ok || n < 0) {
			p.add(workflow.CodeType, v, fmt.Sprintf("%s is a whole number, 0 or more", key.Value), "")
			continue
		}
		switch key.Value {
		case "input_tokens":
			u.InputTokens = n
		case "output_tokens":
			u.OutputTokens = n
		default:
			p.unknown(key, "usage", usageFields)
		}
	}
	return u
}
