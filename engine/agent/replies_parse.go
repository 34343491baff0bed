package agent

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/engine/workflow/expr"
	"github.com/wfd-dev/wfd/projection/event"
)

// classes are the failures a reply can ask for.
var classes = []string{
	event.ClassTimeout, event.ClassNetwork, event.ClassRateLimit, event.ClassUnavailable, event.ClassToolFailed, event.ClassInvalidOutput,
	event.ClassBudget, event.ClassAuth, event.ClassNotFound, event.ClassCancelled, event.ClassInternal,
}

// ParseReplies reads a file of scripted answers, YAML or JSON. The error, a
// workflow.Problems, holds everything that is wrong with it.
func ParseReplies(file string, src []byte) (*Replies, error) {
	p := &replyParser{file: file}
	if len(src) > workflow.MaxFile {
		p.add(workflow.CodeLimit, nil, fmt.Sprintf("the file has %d bytes, the limit is %d", len(src), workflow.MaxFile), "")
		return nil, p.problems
	}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	p.lines = strings.Split(string(src), "\n")
	var r *Replies
	if t := p.read(src); t != nil {
		r = p.replies(t)
	}
	if p.problems.HasErrors() {
		slices.SortStableFunc(p.problems, func(a, b workflow.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return nil, p.problems
	}
	return r, nil
}

type replyParser struct {
	file     string
	lines    []string
	problems workflow.Problems
}

// add notes a problem with t; nil is the file as a whole.
func (p *replyParser) add(code string, t *tree, msg, hint string) {
	x := workflow.Problem{Severity: workflow.Error, Code: code, Message: msg, Hint: hint, File: p.file}
	if t != nil && t.line >= 1 && t.line <= len(p.lines) {
		x.Line, x.Column, x.Width = t.line, t.col, 1
		line := []rune(strings.TrimRight(p.lines[t.line-1], "\r"))
		const window = 160 // characters of a long line that are shown
		if len(line) > window {
			x.Shift = min(max(t.col-1-window/2, 0), len(line)-window)
			line = line[x.Shift : x.Shift+window]
		}
		x.Source = string(line)
	}
	p.problems = append(p.problems, x)
}

func (p *replyParser) unknown(key *tree, what string, names []string) {
	name := key.scalar.(string)
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

func (p *replyParser) replies(t *tree) *Replies {
	r := &Replies{file: p.file, nodes: map[string]entry{}}
	if t.shape != aMap {
		p.add(workflow.CodeType, t, "the file is "+t.kind()+", not an object", "write `nodes:` with an entry for each node, and `default:` for the others")
		return r
	}
	for i, key := range t.keys {
		v := t.items[i]
		switch key.scalar {
		case "nodes":
			if v.shape != aMap {
				p.add(workflow.CodeType, v, "nodes is "+v.kind()+", not an object", "write one `<node>: <reply>` per line under it")
				continue
			}
			for i, id := range v.keys {
				r.ids = append(r.ids, id.scalar.(string))
				r.nodes[id.scalar.(string)] = p.entry(id, v.items[i])
			}
		case "default":
			r.fallback = p.entry(key, v)
		default:
			name := key.scalar.(string)
			hint := meant(name, []string{"nodes", "default"}, "entries of nodes stand under nodes:")
			p.add(workflow.CodeUnknownField, key, fmt.Sprintf("a replies file has no field %s", strconv.Quote(name)), hint)
		}
	}
	return r
}

// entry reads the replies of a node: one, or a list by visit, of which each may
// be a list by attempt.
func (p *replyParser) entry(key, t *tree) entry {
	e := entry{line: key.line, col: key.col}
	if t.shape != aList {
		e.visits = [][]Reply{{p.reply(t)}}
		return e
	}
	if len(t.items) == 0 {
		p.add(workflow.CodeRange, t, "the list of replies is empty", "give one reply per visit; the last one goes on")
	}
	for _, visit := range t.items {
		if visit.shape != aList {
			e.visits = append(e.visits, []Reply{p.reply(visit)})
			continue
		}
		if len(visit.items) == 0 {
			p.add(workflow.CodeRange, visit, "the list of replies to a visit is empty", "give one reply per attempt; the last one goes on")
		}
		var attempts []Reply
		for _, x := range visit.items {
			attempts = append(attempts, p.reply(x))
		}
		e.visits = append(e.visits, attempts)
	}
	return e
}

var replyFields = []string{"text", "result", "set", "fail", "message", "delay", "usage"}

func (p *replyParser) reply(t *tree) Reply {
	var r Reply
	if s, ok := t.scalar.(string); ok && t.shape == aScalar {
		r.Text = s
		return r
	}
	if t.shape != aMap {
		hint := "text needs quotes here; another result is written {result: …}"
		if t.shape == aList {
			hint = "lists are by visit, lists in them by attempt, and no deeper; a list as the result is written {result: […]}"
		}
		p.add(workflow.CodeType, t, "a reply is text or an object, not "+t.kind(), hint)
		return r
	}
	at := map[string]*tree{}
	for i, key := range t.keys {
		v := t.items[i]
		at[key.scalar.(string)] = key
		switch key.scalar {
		case "text":
			r.Text = p.string(key, v)
		case "result":
			r.Result, r.Results = v.plain(), true
		case "set":
			if v.shape != aMap {
				p.add(workflow.CodeType, v, "set is "+v.kind()+", not an object", "write set: {key: value}")
				continue
			}
			r.Set, _ = v.plain().(map[string]any)
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

func (p *replyParser) string(key, v *tree) string {
	s, ok := v.scalar.(string)
	if !ok || v.shape != aScalar {
		hint := "put it in quotes"
		if v.shape != aScalar {
			hint = "a value that is no text is written {result: …}"
		}
		p.add(workflow.CodeType, v, fmt.Sprintf("%s is %s, not text", key.scalar, v.kind()), hint)
	}
	return s
}

func (p *replyParser) class(key, v *tree) string {
	s, ok := v.scalar.(string)
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

func (p *replyParser) delay(t *tree) time.Duration {
	s, ok := t.scalar.(string)
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

func (p *replyParser) usage(t *tree) *event.Usage {
	if t.shape != aMap {
		p.add(workflow.CodeType, t, "usage is "+t.kind()+", not an object", "write usage: {input_tokens: 100, output_tokens: 20}")
		return nil
	}
	u := &event.Usage{}
	for i, key := range t.keys {
		v := t.items[i]
		n, ok := v.scalar.(int64)
		if slices.Contains(usageFields, key.scalar.(string)) && (!ok || n < 0) {
			p.add(workflow.CodeType, v, fmt.Sprintf("%s is a whole number, 0 or more", key.scalar), "")
			continue
		}
		switch key.scalar {
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
