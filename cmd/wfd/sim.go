package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/sim"
)

func (a *app) sim() *cobra.Command {
	var o sim.Options
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate the engine with faults from a seed, and hold it against its promises",
		Long: `Play the engine in virtual time on a virtual disk: clients give commands and repeat
them, processes are killed, the power is cut, syncs fail, the disk is full, the clock
is set, doorbells are lost, results come twice or late, budgets that runs share are used
up and raised, and people review results. After every tick, every
restart and at every end the promises of the log and of runs are checked.

Everything follows from the seed: the same seed and number of ticks give the same
events and the same report, on any machine. Nothing is read or written.

Exit 1 if a promise is broken; the message names seed, world and tick.`,
		Example: `  wfd sim --seed 1 --ticks 1000000
  wfd sim --seed 1 --lying-disk    # a control: this must find a loss
  wfd sim --seed 1 --plant keep-dead --ticks 400000    # and this, money that is never free again`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Ticks == 0 {
				return usagef("--ticks 0: want at least 1")
			}
			if o.Plant != "" && !slices.Contains(sim.Plants, o.Plant) {
				return usagef("--plant %s: want one of %s", o.Plant, strings.Join(plants(), ", "))
			}
			began, shown := time.Now(), time.Now()
			o.Progress = func(c sim.Counts) {
				if isTerminal(a.stderr) && time.Since(shown) > 100*time.Millisecond {
					shown = time.Now()
					fmt.Fprintf(a.stderr, "\r%d of %d ticks ", c.Ticks, o.Ticks)
				}
			}
			r, err := sim.Run(cmd.Context(), o)
			if isTerminal(a.stderr) {
				fmt.Fprint(a.stderr, "\r\x1b[K")
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "%d ticks in %s, %.0f a second\n", r.Ticks, time.Since(began).Round(time.Millisecond), float64(r.Ticks)/time.Since(began).Seconds())
			// What is on standard output is the same every time.
			raw, err := json.Marshal(r)
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showSimulated(t, &r) })
		},
	}
	cmd.Flags().Uint64Var(&o.Seed, "seed", 1, "everything follows from it")
	cmd.Flags().Uint64Var(&o.Ticks, "ticks", 100_000, "how many things happen, at least")
	cmd.Flags().StringVar((*string)(&o.Plant), "plant", "", "a bug of the ledger of budgets, which this must find: "+strings.Join(plants(), ", "))
	cmd.Flags().BoolVar(&o.Lie, "lying-disk", false, "every other sync of the disk does nothing: this must find a loss")
	return cmd
}

func plants() (names []string) {
	for _, p := range sim.Plants {
		names = append(names, string(p))
	}
	return names
}

func showSimulated(t *text, r *sim.Report) {
	t.printf("ok: %d ticks in %d worlds from seed %d, and no promise was broken\n", r.Ticks, r.Worlds, r.Seed)
	t.printf("%d runs came to their end, in %d events and %d commits, after %d acknowledged commands\n", r.Ended, r.Events, r.Commits, r.Acks)
	t.printf("%d kills, %d of them power cuts; %d outcomes unknown, %d times a full disk, %d times the clock was set\n", r.Kills, r.Cuts, r.Unknown, r.Full, r.Jumps)
	t.printf("%d doorbells lost, %d results doubled, %d late; %d states folded again, %d runs decided again\n", r.LostBells, r.Doubled, r.Late, r.Folds, r.Verified)
	t.printf("%d calls reserved, %d waited, %d times a budget was exceeded; %d used more than was reserved, %d nobody told of; %d results reviewed\n", r.Calls, r.Waited, r.Exceeded, r.Beyond, r.Lost, r.Reviews)
	t.printf("digest %s\n", r.Digest)
}
