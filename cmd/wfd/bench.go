package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/bench"
)

func (a *app) bench() *cobra.Command {
	var o bench.Options
	var long strings.Builder
	long.WriteString(`Measure the engine on this machine, and beside it the disk: the same bytes in the
same commits, with one sync each and nothing else to do. Nothing of the data
directory is touched.

Workloads, and what --steps, --clients and --runs are unless they are given:
`)
	for _, name := range bench.Names() {
		what, steps, clients, runs := bench.Describe(name)
		fmt.Fprintf(&long, "\n  %-8s %s (%d, %d, %d)", name, what, steps, clients, runs)
	}
	cmd := &cobra.Command{
		Use:   "bench " + strings.Join(bench.Names(), "|"),
		Short: "Measure this machine: the engine, and the disk beside it",
		Long:  long.String(),
		Example: `  wfd bench chain
  wfd bench chain --clients 1 --runs 200 -o json --jq .p50_ms
  wfd bench log --steps 100 --dir /var/lib/wfd`,
		Args: cobra.ExactArgs(1), ValidArgs: bench.Names(),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Workload = args[0]
			var err error
			if o.Child, err = a.childOf("bench-child"); err != nil {
				return err
			}
			go tendRuntime(cmd.Context())
			r, err := bench.Run(cmd.Context(), o)
			if errors.Is(err, bench.ErrOptions) {
				return usagef("%w\nhint: see wfd bench --help", err)
			}
			if err != nil {
				return err
			}
			raw, err := json.Marshal(r)
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showBench(t, r) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Steps, "steps", 0, "nodes of a run; of log, events of an append")
	f.IntVar(&o.Clients, "clients", 0, "how many ask at once")
	f.IntVar(&o.Runs, "runs", 0, "how many runs; of log, appends")
	f.DurationVar(&o.Limit, "limit", 20*time.Second, "begin nothing after this")
	f.BoolVar(&o.Encrypt, "encrypt", false, "with a data directory that is encrypted; run it in turns with one that is not")
	f.StringVar(&o.Dir, "dir", "", "measure the disk of this directory (default: that of temporary files)")
	cmd.AddCommand(a.benchSoak())
	return cmd
}

// childOf returns what begins a process of this program that does a hidden command.
func (a *app) childOf(command string) (func(ctx context.Context, args ...string) *exec.Cmd, error) {
	self, err := os.Executable()
	return func(ctx context.Context, args ...string) *exec.Cmd {
		c := exec.CommandContext(ctx, self, append([]string{command}, args...)...)
		c.Stderr = a.stderr
		return c
	}, err
}

// benchChild is the process that wfd bench recover kills.
func (a *app) benchChild() *cobra.Command {
	return &cobra.Command{
		Use: "bench-child DIR STEPS CLIENTS RUNS", Hidden: true, Args: cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			var n [3]int
			for i := range n {
				var err error
				if n[i], err = strconv.Atoi(args[i+1]); err != nil {
					return usagef("%w", err)
				}
			}
			go tendRuntime(cmd.Context())
			return bench.Child(cmd.Context(), args[0], n[0], n[1], n[2], a.stdout)
		},
	}
}

func showBench(t *text, r *bench.Result) {
	t.printf("%s: %s\n", r.Workload, r.What)
	t.printf("%s of %s, %s at once, in %.2f s\n\n", many(r.Runs, "run"), many(r.StepsOfRun, "step"), many(r.Clients, "client"), r.Seconds)
	t.row("", "STEPS/S", "P50 MS", "P99 MS")
	t.row("wfd", digits(r.StepsPerS), digits(r.P50), digits(r.P99))
	if l := r.Log; l != nil {
		t.row("its log alone", digits(l.StepsPerS), digits(l.P50), digits(l.P99), fmt.Sprintf("%.2f times as long with the engine", l.Times))
	}
	t.row("the disk alone", digits(r.Raw), digits(r.RawP50), digits(r.RawP99), fmt.Sprintf("ratio %.3f", r.Ratio))
	if len(r.Targets) > 0 {
		t.printf("\n")
		t.row("UNDER LOAD", "P50 MS", "P99 MS", "WANTED")
	}
	for _, g := range r.Targets {
		t.row(g.Name, digits(g.P50), digits(g.P99), fmt.Sprintf("< %g", g.Want))
	}
	if c := r.Cost; c != nil {
		t.printf("\na step: %.1f µs of CPU, %.1f allocations of %.0f B, %.2f events, %.4f commits, %.0f B written\n", c.CPU, c.Allocs, c.Bytes, c.Events, c.Commits, c.Written)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		t.printf("%s: %.6g\n", strings.ReplaceAll(name, "_", " "), r.Figures[name])
	}
	for _, n := range r.Notes {
		t.printf("note: %s\n", n)
	}
	m := &r.Machine
	t.printf("%d cores, %s, %s, %s; load %.1f before, %.1f after\n", m.Cores, m.CPU, m.OS, m.Go, m.LoadBefore, m.LoadAfter)
}

// digits writes three digits of a figure of any size, or all of its whole part.
func digits(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}
