package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/replay"
)

// Of a long way to a visit its beginning and its end are shown.
const (
	firstSteps = 2
	lastSteps  = 10
)

func (a *app) why() *cobra.Command {
	var at string
	var all, asked bool
	var l looking
	cmd := &cobra.Command{
		Use:   "why RUN [NODE[#VISIT]]",
		Short: "Explain how a run came to a node, or why it did not",
		Long: `why lists the visits that led to a node: the edges taken, the conditions with the
values they read and who had set them, attempts, answers, signals, child runs. Of a
node that the run has not come to it says what kept it from there. Without a node
it explains the one at which the run failed, or else the last. --asked shows what the
latest attempt of a visit was given instead: its prompt, its input and its settings, with
the values that the run had then; of secrets the names.`,
		Example: `  wfd why RUN publish
  wfd why RUN review --asked
  wfd why RUN review#2 --at 412`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, id, err := a.look(cmd.Context(), args[0], &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			q := url.Values{}
			if len(args) > 1 {
				q.Set("node", args[1])
			}
			if asked {
				return a.whatWasAsked(cmd.Context(), s, id, q)
			}
			if at != "" {
				q.Set("at", at)
			}
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(id) + "/why", Query: q})
			if err != nil {
				return err
			}
			var x replay.Explanation
			if err := json.Unmarshal(raw, &x); err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showWhy(t, &x, all) })
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "as the run stood at a seq (412), a version (v12) or a visit (node#2)")
	cmd.Flags().BoolVar(&all, "all", false, "show every visit of a long way")
	cmd.Flags().BoolVar(&asked, "asked", false, "show what the latest attempt of the visit was given")
	cmd.MarkFlagsMutuallyExclusive("asked", "at")
	cmd.MarkFlagsMutuallyExclusive("asked", "all")
	l.register(cmd)
	return cmd
}

func (a *app) whatWasAsked(ctx context.Context, s *session, id string, q url.Values) error {
	if !q.Has("node") {
		return usagef("--asked needs a node: wfd why %s NODE --asked", id)
	}
	raw, _, err := s.Do(ctx, client.Request{Path: runPath(id) + "/asked", Query: q})
	if err != nil {
		return err
	}
	var x replay.Asked
	if err := json.Unmarshal(raw, &x); err != nil {
		return err
	}
	return a.print(raw, func(t *text) {
		t.printf("%s#%d, attempt %d, began at v%d.\n", x.Node, x.Visit, x.Attempt, x.At)
		if x.Prompt != "" {
			t.printf("\n%s\n", x.Prompt)
		}
		for _, part := range []struct {
			name  string
			value any
		}{{"input", x.Input}, {"settings", x.Settings}} {
			if b, err := json.MarshalIndent(part.value, "", "  "); err == nil && string(b) != "null" && string(b) != "{}" {
				t.printf("\n%s\n%s\n", part.name, b)
			}
		}
	})
}

func showWhy(t *text, x *replay.Explanation, all bool) {
	last := len(x.Steps) - 1
	if x.Visit > 0 {
		t.printf("%s#%d is %s. The run of %s is %s at v%d.\n", x.Node, x.Visit, x.Steps[last].Status, x.Workflow, x.Status, x.Version)
	} else {
		t.printf("%s was not reached. The run of %s is %s at v%d.\n", x.Node, x.Workflow, x.Status, x.Version)
		for _, m := range x.Missing {
			showMissing(t, &m)
		}
	}
	t.printf("\nv1 input %s\n", brief(x.Input, cellWidth))
	hidden := map[string]int{}
	notes := x.Notes
	for i := range x.Steps {
		st := &x.Steps[i]
		for len(notes) > 0 && notes[0].Version < st.Version {
			showNote(t, &notes[0])
			notes = notes[1:]
		}
		if !all && len(x.Steps) > firstSteps+lastSteps+1 && i >= firstSteps && i <= last-lastSteps {
			hidden[st.Node]++
			if i == last-lastSteps {
				t.printf("… %s; --all shows them\n", times(hidden))
			}
			continue
		}
		showStep(t, st)
	}
	for i := range notes {
		showNote(t, &notes[i])
	}
}

func showMissing(t *text, m *replay.Missing) {
	t.printf("  %s: %s", m.Node, m.Why)
	if m.Tested != nil {
		t.printf(": %s", condition(m.Tested))
	}
	if m.Taken != "" && m.From != nil {
		t.printf("; %s went to %s", visitName(*m.From), m.Taken)
	}
	t.printf("\n")
}

func showNote(t *text, n *replay.Note) {
	t.printf("v%d %s", n.Version, n.Kind)
	if n.To != 0 {
		t.printf(" to v%d", n.To)
	}
	if n.Reason != "" {
		t.printf(": %s", line(n.Reason, cellWidth))
	}
	t.printf(" (%s)\n", n.Actor)
}

func showStep(t *text, st *replay.Step) {
	t.printf("v%d %s %s", st.Version, visitName(st.VisitKey), string(st.Status))
	if !st.Ended.IsZero() {
		t.printf(" in %s", took(st.Ended.Sub(st.Began)))
	}
	if st.Run != nil {
		t.printf(", in run %s", *st.Run)
	}
	t.printf("\n")
	for _, c := range st.Came {
		t.printf("   from %s", visitName(c.VisitKey))
		switch c.Outcome {
		case event.OutcomeAlways:
		case event.OutcomeMet:
			t.printf(": %s", condition(&c.Tested[len(c.Tested)-1]))
		default:
			t.printf(": %s", c.Outcome)
		}
		if c.Failure != nil {
			t.printf(" (%s)", line(c.Failure.Error(), cellWidth))
		}
		t.printf("\n")
		for _, ev := range c.Tested {
			if !ev.Met {
				t.printf("     not %s: %s\n", ev.To, condition(&ev))
			}
		}
	}
	for _, at := range st.Attempts {
		switch {
		case at.Outcome == "failed":
			t.printf("   attempt %d%s%s failed: %s\n", at.Attempt, after(" by ", at.Agent), after(" in the sandbox ", at.Sandbox), line(at.Failure.Error(), cellWidth))
		case at.Outcome == "spoke":
			t.printf("   %s spoke%s\n", at.Speaker, after(" by ", at.Agent))
		case at.Outcome == "missed":
			t.printf("   %s missed a turn: %v\n", at.Speaker, at.Failure.Error())
		case at.Outcome != "completed" || at.Attempt > 1 || at.Agent != "" || sandbox.Level(at.Sandbox).Confines():
			t.printf("   attempt %d%s%s %s%s\n", at.Attempt, after(" by ", at.Agent), after(" in the sandbox ", at.Sandbox), at.Outcome, after(": ", at.Reason))
		}
	}
	if st.Failure != nil && len(st.Attempts) == 0 {
		t.printf("   failed: %s\n", line(st.Failure.Error(), cellWidth))
	}
	if st.Skipped != "" {
		t.printf("   given up: %s%s\n", st.Skipped, after(" for ", st.SkippedBy))
	}
	if st.Asked != "" {
		t.printf("   asked %q\n", line(st.Asked, cellWidth))
	}
	showGiven(t, "answered", st.Answer)
	showGiven(t, "signal", st.Signal)
	if st.Fired != "" {
		t.printf("   its time had come (%s)\n", st.Fired)
	}
	if st.Child != nil {
		t.printf("   child run %s %s\n", st.Child.Run, st.Child.Status)
	}
	if len(st.Result) > 0 {
		t.printf("   result %s\n", brief(st.Result, cellWidth))
	}
	for _, set := range st.Sets {
		t.printf("   set %s = %s\n", set.Key, brief(set.Value, cellWidth))
	}
}

func showGiven(t *text, what string, g *replay.Given) {
	if g != nil {
		t.printf("   %s%s %s by %s\n", what, after(" ", g.Name), brief(g.Value, cellWidth), g.Actor)
	}
}

// condition shows a condition with what it read, and where that was from.
func condition(ev *replay.Tested) string {
	var reads []string
	for _, r := range ev.Reads {
		s := r.Name + " is missing"
		if !r.Missing {
			s = fmt.Sprintf("%s = %s", r.Name, brief(r.Value, 40))
		}
		if r.From != nil {
			s += ", set by " + visitName(*r.From)
		} else if r.By != "" {
			s += ", set by " + r.By
		}
		reads = append(reads, s)
	}
	s := ev.If
	if len(reads) > 0 {
		s += " (" + strings.Join(reads, "; ") + ")"
	}
	return s + after(": ", ev.Err)
}

func after(sep, s string) string {
	if s == "" {
		return ""
	}
	return sep + s
}

// times counts what is left out, as "draft ×3, review ×3".
func times(n map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", k, n[k]))
	}
	return strings.Join(parts, ", ")
}

// brief shows a value on one line.
func brief(v event.Value, n int) string {
	b, err := v.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return line(string(b), n)
}
