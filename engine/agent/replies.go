package agent

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Reply is one scripted answer.
type Reply struct {
	Text    string
	Result  any
	Results bool           // Result is meant, even if it is nil
	Set     map[string]any // state, on top of what the text sets
	Fail    string         // an event.Class constant: the attempt fails; "" = it does not
	Message string         // of the failure
	Delay   time.Duration  // before the answer
	Usage   *event.Usage
}

// Answer returns the answer that r stands for. It shares values with r: they are
// not to be changed.
func (r *Reply) Answer() Answer {
	var a Answer
	switch {
	case r.Fail != "":
		a = Fail(r.Fail, "%s", r.Message)
	case !r.Results:
		a = FromText(r.Text)
	case r.Result == nil:
		// null, asked for
	default:
		a.Result = Result(r.Text, r.Result)
	}
	if len(r.Set) > 0 && a.Failure == nil {
		set := make(map[string]any, len(a.Set)+len(r.Set))
		maps.Copy(set, a.Set)
		maps.Copy(set, Settable(r.Set))
		a.Set = set
	}
	a.Usage = r.Usage
	return a
}

// Replies are the scripted answers of a file. They do not change once parsed
// and are safe for concurrent use.
type Replies struct {
	file     string
	nodes    map[string]entry
	ids      []string // of nodes, in the file's order
	fallback entry    // for nodes without an entry; no visits: there is none
}

// entry holds the replies of one node.
type entry struct {
	visits    [][]Reply // by visit and attempt; the last of either goes on for ever
	line, col int
}

func (e entry) reply(visit, attempt int) (Reply, bool) {
	if len(e.visits) == 0 {
		return Reply{}, false
	}
	attempts := e.visits[min(max(visit, 1), len(e.visits))-1]
	return attempts[min(max(attempt, 1), len(attempts))-1], true
}

// For returns the reply to an attempt of a visit, both from 1, of a node. An
// item of a foreach, as each[2], has its own entry or shares that of its
// foreach. ok is false if neither an entry nor a default answers the node.
func (r *Replies) For(node string, visit, attempt int) (Reply, bool) {
	e, ok := r.nodes[node]
	if !ok {
		if of, _, item := run.ItemOf(node); item {
			e, ok = r.nodes[of]
		}
	}
	if !ok {
		e = r.fallback
	}
	return e.reply(visit, attempt)
}

// forTask returns the reply to a task. A task of a plan has an entry of its own, or the
// default: that of the plan is a plan. The turns of a chat are those of its
// participants, as discuss[ada], by round, or else those of the chat, in their order.
func (r *Replies) forTask(t *Task) (Reply, bool) {
	if e, ok := r.nodes[t.Node]; t.Part != nil && !ok {
		return r.fallback.reply(t.Visit, t.Attempt)
	} else if t.Part != nil {
		return e.reply(t.Visit, t.Attempt)
	}
	if t.Turn == nil {
		return r.For(t.Node, t.Visit, t.Attempt)
	}
	if e, ok := r.nodes[fmt.Sprintf("%s[%s]", t.Node, t.Turn.Who.Name)]; ok {
		return e.reply(t.Turn.Round, t.Turn.Try)
	}
	return r.For(t.Node, t.Visit, t.Turn.Number)
}

// Check returns a line for each entry that answers none of the nodes ids, which
// are those of a definition and of the definitions it runs as children.
func (r *Replies) Check(ids []string) []string {
	known := make(map[string]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	var notes []string
	for _, id := range r.ids {
		name := id
		if of, _, part := strings.Cut(id, "["); part && strings.HasSuffix(id, "]") && !known[id] {
			name = of
		}
		if known[name] {
			continue
		}
		e := r.nodes[id]
		p := workflow.Problem{
			Severity: workflow.Warning, Code: workflow.CodeUnknownNode, File: r.file, Line: e.line, Column: e.col,
			Message: fmt.Sprintf("no node is called %s", strconv.Quote(name)), Hint: meant(name, ids, "remove the entry"),
		}
		notes = append(notes, p.String())
	}
	return notes
}

// Runner returns a runner that answers every task from r. It may stand in for
// the runner of any kind.
func (r *Replies) Runner() Runner { return RunnerFunc(r.run) }

func (r *Replies) run(ctx context.Context, t *Task) Answer {
	reply, ok := r.forTask(t)
	if !ok {
		return Fail(event.ClassNotFound, "%s has no reply for node %s: add an entry under nodes, as `%s: some text`, or a default", r.file, t.Node, yamlKey(t.Node))
	}
	if reply.Delay > 0 {
		timer := time.NewTimer(reply.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return interrupted(ctx, t, fmt.Sprintf("the reply with a delay of %s", reply.Delay))
		}
	} else if ctx.Err() != nil {
		return interrupted(ctx, t, "the reply")
	}
	return reply.Answer()
}

// yamlKey writes a node's id as a key of a YAML map.
func yamlKey(id string) string {
	if strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
		return id
	}
	return strconv.Quote(id)
}
