package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
)

func (a *app) workflowPlan() *cobra.Command {
	var lossy, force bool
	cmd := &cobra.Command{
		Use:   "plan NAME|FILE|RUN",
		Short: "Write a definition, or what a run has done, as a plan",
		Long: `Write a definition as a plan: its goal, and its tasks with what each builds on. A
plan has no decisions, loops, conditions and questions: a definition that has them is
refused with what does not fit, or flattened with --lossy. Of a run it is the way that
was really taken, with the results.`,
		Example: `  wfd workflow plan review.yaml --lossy
  wfd workflow plan RUN > plan.json
  wfd workflow from-plan plan.json > again.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var wf *workflow.Workflow
			var done map[string]workflow.Done
			if isFile(args[0]) {
				src, err := readFile(args[0])
				if err != nil {
					return err
				}
				if wf, _, err = api.Compile(args[0], src, false); err != nil {
					return err
				}
			} else {
				s, err := a.connect(cmd.Context(), reads)
				if err != nil {
					return err
				}
				defer closeInto(s, &err)
				if _, no := eventlog.ParseRunID(args[0]); no == nil {
					wf, done, err = carriedOut(cmd.Context(), s, args[0], force)
				} else {
					wf, err = fetch(cmd.Context(), s, args[0], 0)
				}
				if err != nil {
					return err
				}
			}
			p, losses := workflow.ToPlan(wf, done)
			if len(losses) > 0 && done == nil && !lossy {
				return usagef("a plan cannot hold all of %s:\n  %s\nflatten it with --lossy, or convert a finished run of it", wf.Name, strings.Join(losses, "\n  "))
			}
			for _, l := range losses {
				fmt.Fprintln(a.stderr, "lost:", l)
			}
			raw, err := json.Marshal(p)
			if err != nil {
				return err
			}
			return a.printJSON(raw)
		},
	}
	cmd.Flags().BoolVar(&lossy, "lossy", false, "leave out what a plan cannot hold, and say so")
	cmd.Flags().BoolVar(&force, "force", false, "take a run that has not completed, too")
	return cmd
}

// carriedOut returns a run's definition, and what became of its nodes.
func carriedOut(ctx context.Context, s *session, id string, force bool) (*workflow.Workflow, map[string]workflow.Done, error) {
	wf, d, err := drawn(ctx, s, nil, nil, 0, id)
	if err != nil {
		return nil, nil, err
	}
	var st client.State
	if err := s.Get(ctx, client.Request{Path: runPath(id) + "/state"}, &st); err != nil {
		return nil, nil, err
	}
	if st.Status != "completed" && !force {
		return nil, nil, usagef("the run is %s: its plan is not complete; --force takes it as it is", st.Status)
	}
	done := map[string]workflow.Done{}
	for node, n := range st.Nodes {
		one := workflow.Done{Status: d.Status[node], Visits: n.Visits}
		if len(n.Result) > 0 {
			if err := json.Unmarshal(n.Result, &one.Result); err != nil {
				return nil, nil, err
			}
		}
		if n.Error != nil {
			one.Error = n.Error.Class + ": " + n.Error.Message
		}
		done[node] = one
	}
	return wf, done, nil
}

func (a *app) workflowFromPlan() *cobra.Command {
	var name, out string
	var force bool
	cmd := &cobra.Command{
		Use:   "from-plan FILE",
		Short: "Make a definition of a plan, to be run again",
		Long: `Make a definition of a plan: of a file that wfd workflow plan wrote, or the result of a
plan node. Each task becomes a node, with edges from what it builds on; subtasks run in
parallel and converge. Results are left out.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := readFile(args[0])
			if err != nil {
				return err
			}
			p, err := workflow.ReadPlan(src)
			if err != nil {
				return usagef("%s: %w", args[0], err)
			}
			def, err := workflow.FromPlan(p, name, force, a.registered(cmd.Context()))
			if err != nil {
				return usagef("%s: %w", args[0], err)
			}
			return a.write(def, out)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the workflow; made of the goal if left out")
	cmd.Flags().StringVar(&out, "out", "", "write to this file")
	cmd.Flags().BoolVar(&force, "force", false, "take a plan that is not complete, too")
	return cmd
}

// registered returns what tells whether a workflow has a name already, as far as there
// is anything to look in.
func (a *app) registered(ctx context.Context) func(string) bool {
	return func(name string) bool {
		s, err := a.connect(ctx, reads)
		if err != nil {
			return false
		}
		wf, err := fetch(ctx, s, name, 0)
		_ = s.Close()
		return err == nil && wf != nil
	}
}
