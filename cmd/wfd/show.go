package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/projection/run"
)

func (a *app) show() *cobra.Command {
	var l looking
	cmd := &cobra.Command{
		Use:   "show RUN",
		Short: "Show a run: where it stands and why",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, id, err := a.look(cmd.Context(), args[0], &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(id)})
			if err != nil || a.output != "table" {
				return firstOf(err, func() error { return a.printJSON(raw) })
			}
			var r client.Run
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			var st client.State
			if err := s.Get(cmd.Context(), client.Request{Path: runPath(id) + "/state"}, &st); err != nil {
				return err
			}
			spent, err := costOf(raw)
			if err != nil {
				return err
			}
			t := a.text()
			showRun(t, &r)
			showCost(t, spent, false)
			showState(t, &st)
			return t.flush()
		},
	}
	l.register(cmd)
	return cmd
}

// firstOf returns err, or what next returns.
func firstOf(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

func showRun(t *text, r *client.Run) {
	t.row("run", r.ID)
	t.row("workflow", r.Workflow+" v"+strconv.Itoa(r.Version))
	t.row("status", r.Status)
	t.said("why", r.Why)
	t.row("created", when(r.Created))
	if !r.Ended.IsZero() {
		t.row("ended", when(r.Ended)+" (after "+took(r.Ended.Sub(r.Created))+")")
	}
	if !r.Deadline.IsZero() {
		t.row("deadline", when(r.Deadline))
	}
	for _, k := range slices.Sorted(maps.Keys(r.Labels)) {
		t.row("label", k+"="+r.Labels[k])
	}
	if r.Parent != nil {
		t.row("parent", r.Parent.Run+" node "+r.Parent.Node)
	}
	for _, b := range r.Breakpoints {
		t.row("breakpoint", b)
	}
	if r.Content != "" {
		t.row("content", r.Content)
	}
	t.row("version", strconv.FormatUint(r.At, 10)+" (seq "+strconv.FormatUint(r.Seq, 10)+")")
	t.row("input", compact(r.Input))
	if out := compact(r.Output); out != "null" {
		t.row("output", out)
	}
	if r.Error != nil {
		t.said("error", r.Error.Class+": "+r.Error.Message)
	}
	if r.Usage.Input+r.Usage.Output > 0 {
		t.row("tokens", strconv.FormatInt(r.Usage.Input, 10)+" in, "+strconv.FormatInt(r.Usage.Output, 10)+" out")
	}
}

func showState(t *text, st *client.State) {
	if len(st.State) > 0 {
		t.printf("\n")
		t.row("STATE", "VALUE")
		for _, k := range slices.Sorted(maps.Keys(st.State)) {
			t.row(k, compact(st.State[k]))
		}
	}
	if len(st.Nodes) > 0 {
		t.printf("\n")
		t.row("NODE", "STATUS", "VISITS", "RESULT")
		for _, id := range slices.SortedFunc(maps.Keys(st.Nodes), run.Compare) {
			n := st.Nodes[id]
			result := ""
			switch {
			case n.Error != nil:
				result = n.Error.Class + ": " + n.Error.Message
			case n.Result != nil:
				result = compact(n.Result)
			}
			t.row(id, n.Status, strconv.Itoa(n.Visits), result)
		}
	}
}
