package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/workertest"
)

func (a *app) workerTest() *cobra.Command {
	o := workertest.Options{Handler: "steps", Wait: 10 * time.Second}
	verbose := false
	cmd := &cobra.Command{
		Use:   "worker-test --cmd COMMAND",
		Short: "Prove a worker right: a program of yours that does tasks",
		Long: `Start a daemon on a directory of its own and the worker beside it, and look at what the
worker does while answers are lost, leases pass, runs are cancelled, the daemon is away,
and the worker is killed. Exit 1 if it does something wrong.

COMMAND is given to sh. It finds WFD_ADDR, WFD_TOKEN, WFD_QUEUE and WFD_HANDLER in its
environment, and has to offer that handler as docs/workers.md describes it. The checks:

  ` + checkLines(),
		Example: `  wfd worker-test --cmd 'python3 examples/workers/worker.py'
  wfd worker-test --cmd './my-worker' --only slow,lost --verbose`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(o.Command) == "" {
				return usagef("--cmd is missing: the command that starts the worker")
			}
			if o.Wait < time.Second {
				return usagef("--wait %s: want a second or more", o.Wait)
			}
			for _, name := range o.Only {
				if !slices.Contains(workertest.Names(), name) {
					return usagef("--only %q: there are the checks %s", name, strings.Join(workertest.Names(), ", "))
				}
			}
			if verbose {
				o.Output = a.stderr
			}
			t := a.text()
			if a.output == "table" {
				o.Each = func(r workertest.Result) { showCheck(t, &r) }
			}
			rep, err := workertest.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			raw, err := json.Marshal(rep)
			if err != nil {
				return err
			}
			if a.output != "table" {
				err = a.printJSON(raw)
			} else {
				err = t.flush()
			}
			if err == nil && !rep.Passed {
				failed := len(rep.Checks)
				for _, r := range rep.Checks {
					if r.Passed {
						failed--
					}
				}
				err = &coded{exitFailed, fmt.Errorf("the worker fails %d of %s", failed, many(len(rep.Checks), "check"))}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Command, "cmd", "", "the command that starts the worker")
	f.StringVar(&o.Handler, "handler", o.Handler, "the handler that the worker offers for the test")
	f.StringSliceVar(&o.Only, "only", nil, "only these checks; may be repeated")
	f.DurationVar(&o.Wait, "wait", o.Wait, "how long the worker may take for anything")
	f.BoolVar(&verbose, "verbose", false, "show what the worker writes")
	return cmd
}

func checkLines() string {
	var lines []string
	for _, c := range workertest.Checks() {
		lines = append(lines, fmt.Sprintf("%-12s a right worker %s", c.Name, c.What))
	}
	return strings.Join(lines, "\n  ")
}

func showCheck(t *text, r *workertest.Result) {
	if r.Passed {
		t.printf("ok    %-12s %s (%.1fs)\n", r.Name, r.What, r.Took)
		return
	}
	t.printf("FAIL  %-12s a right worker %s (%.1fs)\n      %s\n", r.Name, r.What, r.Took, strings.ReplaceAll(r.Why, "\n", "\n      "))
	if r.Output != "" {
		t.printf("      its output ends with:\n        %s\n", strings.ReplaceAll(r.Output, "\n", "\n        "))
	}
}
