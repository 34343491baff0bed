package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/bench"
)

func (a *app) benchSoak() *cobra.Command {
	var o bench.SoakOptions
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Build a large store, and measure it beside a small one",
		Long: `Build a store with runs that have ended (chains of twelve nodes), runs that wait with a
timer each, one long run, one foreach and one run of parallel nodes; then measure it,
and one of 1,000 runs, in a process of its own each: how long a start takes, memory,
bytes of an event, pages of lists, look-ups, appends, runs that are woken, and how
memory does under load.

With --dir the store stays there, and the next soak of that directory measures it
without building it: its data directory is DIR/large/data.`,
		Example: `  wfd bench soak --runs 1000000 --waiting 100000 --events 1000000 --items 100000 --dir /var/tmp/soak
  wfd check --data /var/tmp/soak/large/data`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Child, err = a.childOf("soak-child"); err != nil {
				return err
			}
			began := time.Now()
			every := 5 * time.Second
			if isTerminal(a.stderr) {
				every = 100 * time.Millisecond
			}
			o.Progress = tellEvery(every, func(what string, done, all int) {
				if isTerminal(a.stderr) {
					fmt.Fprintf(a.stderr, "\r\x1b[K%s: %d of %d ", what, done, all)
				} else {
					fmt.Fprintf(a.stderr, "%s: %s: %d of %d\n", time.Since(began).Round(time.Second), what, done, all)
				}
			})
			go tendRuntime(cmd.Context())
			r, err := bench.Soaking(cmd.Context(), o)
			if isTerminal(a.stderr) {
				fmt.Fprint(a.stderr, "\r\x1b[K")
			}
			if errors.Is(err, bench.ErrOptions) {
				return usagef("%w\nhint: see wfd bench soak --help", err)
			}
			if err != nil {
				return err
			}
			raw, err := json.Marshal(r)
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showSoak(t, r) })
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Runs, "runs", 100_000, "runs that have ended, of twelve nodes each")
	f.IntVar(&o.Waiting, "waiting", 10_000, "runs that wait, with a timer each")
	f.IntVar(&o.Events, "events", 100_000, "events of the long run")
	f.IntVar(&o.Items, "items", 10_000, "items of the foreach")
	f.IntVar(&o.Parallel, "parallel", 100, "nodes at once")
	f.DurationVar(&o.Limit, "limit", 20*time.Minute, "build nothing more after this")
	f.DurationVar(&o.Watch, "watch", 30*time.Second, "look at memory under load for so long")
	f.StringVar(&o.Dir, "dir", "", "build the store here and leave it (default: among temporary files, and remove it)")
	return cmd
}

// soakChild is the process in which wfd bench soak measures.
func (a *app) soakChild() *cobra.Command {
	return &cobra.Command{
		Use: "soak-child DIR WATCH", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			watch, err := time.ParseDuration(args[1])
			if err != nil {
				return usagef("%w", err)
			}
			go tendRuntime(cmd.Context())
			return bench.SoakChild(cmd.Context(), args[0], watch, a.stdout)
		},
	}
}

func showSoak(t *text, r *bench.Soak) {
	t.row("", "SMALL", "LARGE", "TIMES")
	line := func(name string, of func(*bench.Stand) float64) {
		small, large := of(&r.Small), of(&r.Large)
		times := ""
		if small > 0 {
			times = digits(large / small)
		}
		t.row(name, digits(small), digits(large), times)
	}
	line("runs that have ended", func(s *bench.Stand) float64 { return float64(s.Runs) })
	line("checkpoints of theirs", func(s *bench.Stand) float64 { return float64(s.Checkpoints) })
	line("runs that wait", func(s *bench.Stand) float64 { return float64(s.Waiting) })
	line("events of one run", func(s *bench.Stand) float64 { return float64(s.Events) })
	line("items of a foreach", func(s *bench.Stand) float64 { return float64(s.Items) })
	line("nodes at once", func(s *bench.Stand) float64 { return float64(s.Parallel) })
	line("events", func(s *bench.Stand) float64 { return float64(s.Total) })
	line("MB of log", func(s *bench.Stand) float64 { return float64(s.LogBytes) / 1e6 })
	line("MB of views", func(s *bench.Stand) float64 { return float64(s.ViewBytes) / 1e6 })
	line("bytes of an event", func(s *bench.Stand) float64 { return s.PerEvent })
	line("start, s", func(s *bench.Stand) float64 { return s.StartS })
	line("anonymous MB at start", func(s *bench.Stand) float64 { return s.AnonStart })
	line("anonymous MB at most", func(s *bench.Stand) float64 { return s.AnonMost })
	for _, q := range []struct {
		name string
		of   func(*bench.Stand) bench.Quantiles
	}{
		{"page of a list", func(s *bench.Stand) bench.Quantiles { return s.List }},
		{"look-up", func(s *bench.Stand) bench.Quantiles { return s.Lookup }},
		{"run loaded", func(s *bench.Stand) bench.Quantiles { return s.Load }},
		{"run verified", func(s *bench.Stand) bench.Quantiles { return s.Verify }},
		{"run started", func(s *bench.Stand) bench.Quantiles { return s.Append }},
		{"run woken", func(s *bench.Stand) bench.Quantiles { return s.Wake }},
	} {
		line(q.name+", ms at p50", func(s *bench.Stand) float64 { return q.of(s).P50 })
		line("at p99", func(s *bench.Stand) float64 { return q.of(s).P99 })
	}
	line("long run folded, s", func(s *bench.Stand) float64 { return s.Long })
	if w := r.Large.Watched; w != nil {
		t.printf("\n%.0f s under load: %.0f steps/s; anonymous memory %.1f MB, and in the last quarter %.1f MB; goroutines %d, then %d; open files %d, then %d\n",
			w.Seconds, w.StepsPerS, w.AnonFrom, w.AnonTo, w.Goroutines[0], w.Goroutines[1], w.Files[0], w.Files[1])
	}
	var over []string
	for _, name := range slices.Sorted(maps.Keys(r.Growth)) {
		if r.Growth[name] > 2 {
			over = append(over, fmt.Sprintf("%s %.1f", strings.ReplaceAll(name, "_", " "), r.Growth[name]))
		}
	}
	if len(over) > 0 {
		t.printf("more than twice that of the small one: %s\n", strings.Join(over, ", "))
	}
	for _, n := range r.Notes {
		t.printf("note: %s\n", n)
	}
	m := &r.Machine
	t.printf("built and measured in %.0f s on %d cores, %s; load %.1f before, %.1f after\n", r.BuildS, m.Cores, m.CPU, m.LoadBefore, m.LoadAfter)
}

// tellEvery passes on what is told, but not more often than that. It may be told from
// several goroutines.
func tellEvery(every time.Duration, tell func(what string, done, all int)) func(string, int, int) {
	var mu sync.Mutex
	var told time.Time
	return func(what string, done, all int) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(told) >= every {
			told = time.Now()
			tell(what, done, all)
		}
	}
}
