package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/projection/event"
)

func (a *app) events() *cobra.Command {
	var r reading
	var l looking
	cmd := &cobra.Command{
		Use:   "events [RUN]",
		Short: "Print the events of a run, or of the whole log",
		Example: `  wfd events RUN
  wfd events RUN -o ndjson --follow
  wfd events RUN --kind node.completed,edge.taken
  wfd events --after 1000        # of all runs`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, id, err := a.look(cmd.Context(), strings.Join(args, ""), &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			if len(args) > 0 {
				args = []string{id}
			}
			if r.follow && s.inside() {
				a.note("note: nothing happens in a directory that no daemon serves: not following")
				r.follow = false
			}
			p := &eventPrinter{a: a}
			if err := readEvents(cmd.Context(), s, args, r, p.print); err != nil {
				return err
			}
			return p.end()
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&r.kinds, "kind", nil, "only these kinds; node. stands for all that begin with it")
	f.BoolVarP(&r.follow, "follow", "f", false, "go on until the run has ended")
	f.Uint64Var(&r.after, "after", 0, "begin after this seq")
	l.register(cmd)
	return cmd
}

// reading is which events are read.
type reading struct {
	kinds  []string
	follow bool
	after  uint64
	tokens bool // also the pieces of answers, as events of the kind token without a seq
}

// readEvents calls f with each event of the run in args, or of the log.
func readEvents(ctx context.Context, s *session, args []string, r reading, f func(json.RawMessage) error) error {
	path := "/v1/events"
	if len(args) > 0 {
		path = runPath(args[0]) + "/events"
	}
	q := url.Values{"follow": {strconv.FormatBool(r.follow)}, "cursor": {strconv.FormatUint(r.after, 10)}}
	for _, k := range r.kinds {
		q.Add("kind", k)
	}
	if r.tokens {
		q.Set("tokens", "true")
	}
	for raw, err := range s.Lines(ctx, client.Request{Path: path, Query: q}) {
		if err == nil {
			err = f(raw)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eventPrinter prints events as they come.
type eventPrinter struct {
	a    *app
	n    int
	list []json.RawMessage // of json and yaml, which are one value
}

func (p *eventPrinter) print(raw json.RawMessage) error {
	switch p.a.output {
	case "ndjson":
		return p.a.printJSON(raw)
	case "table":
		var e client.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		t := p.a.text()
		if p.n++; p.n == 1 {
			t.printf("%8s  %-23s  %-18s  %s\n", "SEQ", "TIME", "KIND", "WHAT")
		}
		t.printf("%8d  %-23s  %-18s  %s\n", e.Seq, e.Time.Local().Format("2006-01-02 15:04:05.000"), e.Kind, line(what(&e), 160))
		return t.err
	}
	p.list = append(p.list, bytes.Clone(raw))
	return nil
}

func (p *eventPrinter) end() error {
	if p.a.output == "table" || p.a.output == "ndjson" {
		return nil
	}
	if p.list == nil {
		p.list = []json.RawMessage{}
	}
	raw, err := json.Marshal(map[string]any{"items": p.list})
	if err != nil {
		return err
	}
	return p.a.printJSON(raw)
}

// what says what an event says, on one line.
func what(e *client.Event) string {
	var d struct {
		Node, From, If, Name, Key, Outcome, Prompt, Class, Message, Then, Reason, Workflow, Signal, Origin, Tool string
		Visit, Attempt, At                                                                                       int
		To                                                                                                       any // a node, or a version
		Result, Value, Output, Input                                                                             json.RawMessage
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return compact(e.Data)
	}
	var b bytes.Buffer
	if e.Kind == "chat.turn" || e.Kind == "chat.ended" {
		return d.Node + " " + whatOfChat(e)
	}
	if strings.HasPrefix(e.Kind, "security.") {
		return whatOfSecurity(e)
	}
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+" ", args...) }
	if e.Kind == "run.restored" {
		add("back to v%v", d.To)
		if d.Node != "" {
			add("before")
		}
	}
	switch {
	case e.Kind == "key.rotated":
		add("to %v after seq %d", d.To, d.At)
	case e.Kind == "run.forked":
		add("%s at v%d", d.From, d.At)
	case d.From != "":
		add("%s → %s (%s)", d.From, d.To, d.Outcome)
	case d.Node != "" && d.Visit > 1:
		add("%s#%d", d.Node, d.Visit)
	case d.Node != "":
		add("%s", d.Node)
	}
	if d.Attempt > 1 {
		add("attempt %d", d.Attempt)
	}
	key := d.Key
	if e.Kind != "state.set" {
		key = "" // elsewhere it is the command's, or the log's
	}
	for _, s := range []string{d.Workflow, d.Name, d.Signal, d.Tool, key, d.Origin, d.Reason, d.Prompt} {
		if s != "" {
			add("%s", s)
		}
	}
	if d.Class != "" {
		add("%s: %s", d.Class, d.Message)
	}
	if d.Then != "" {
		add("(then %s)", d.Then)
	}
	for _, raw := range []json.RawMessage{d.Result, d.Value, d.Output, d.Input} {
		if raw != nil && string(raw) != "null" {
			add("%s", compact(raw))
		}
	}
	return b.String()
}

// whatOfSecurity says what a guard found, or what became of it.
func whatOfSecurity(e *client.Event) string {
	var d struct{ Rule, Message, What, Name, Workflow, Of, Node, Reason string }
	if json.Unmarshal(e.Data, &d) != nil {
		return compact(e.Data)
	}
	said := "rule " + d.Rule
	for _, s := range []string{d.What + after(" ", d.Name), d.Workflow, after("run ", d.Of), after("node ", d.Node), d.Message, d.Reason} {
		said += after(", ", s)
	}
	return said
}

// whatOfChat says what happened in a chat.
func whatOfChat(e *client.Event) string {
	if e.Kind == "chat.ended" {
		var d event.ChatEnded
		if json.Unmarshal(e.Data, &d) != nil {
			return compact(e.Data)
		}
		return fmt.Sprintf("%s after %d turns: %d of %d approve", d.Outcome, d.Turns, d.Approve, d.Of)
	}
	var d event.ChatTurn
	if json.Unmarshal(e.Data, &d) != nil {
		return compact(e.Data)
	}
	said := fmt.Sprintf("round %d, %s: ", d.Round, d.Speaker)
	if d.Missed != nil {
		return said + "no answer (" + d.Missed.Error() + ")"
	}
	if d.Vote != "" {
		said += "[" + d.Vote + "] "
	}
	raw, err := d.Message.MarshalJSON()
	if err != nil {
		return said
	}
	return said + compact(raw)
}
