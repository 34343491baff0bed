package main

import (
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

func (a *app) checkpoint() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "List, name, pin and restore checkpoints",
		Long: `Every completed node leaves a checkpoint: a position that the run can be restored
to. A position is a seq (412), a version of the run (v12) or a visit (node#2).`,
	}
	cmd.AddCommand(a.checkpointLs(), a.checkpointCreate(), a.checkpointPin(), a.checkpointRestore())
	return cmd
}

func (a *app) checkpointLs() *cobra.Command {
	var keep int
	cmd := &cobra.Command{
		Use:   "ls RUN",
		Short: "List the checkpoints of a run, newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(args[0]) + "/checkpoints", Query: url.Values{"keep": {strconv.Itoa(keep)}}})
			if err != nil {
				return err
			}
			return a.printList(raw, func(t *text) {
				var list client.List[client.Checkpoint]
				if t.err = json.Unmarshal(raw, &list); t.err != nil {
					return
				}
				t.row("", "AT", "SEQ", "TIME", "NODE", "NAME", "PINNED")
				for _, c := range list.Items {
					current, pinned, node := "", "", c.Node
					if c.Current {
						current = "*"
					}
					if c.Pinned {
						pinned = "yes"
					}
					if c.Visit > 0 {
						node += "#" + strconv.Itoa(c.Visit)
					}
					t.row(current, "v"+strconv.FormatUint(c.At, 10), strconv.FormatUint(c.Seq, 10), when(c.Time), node, c.Name, pinned)
				}
			})
		},
	}
	cmd.Flags().IntVar(&keep, "keep", 10, "automatic checkpoints to list")
	return cmd
}

func (a *app) checkpointCreate() *cobra.Command {
	var c changing
	var at string
	var pin bool
	cmd := &cobra.Command{
		Use:   "create RUN NAME",
		Short: "Name a position of a run",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.give(cmd.Context(), args[0], "checkpoint", positioned(map[string]any{"name": args[1], "pinned": pin}, "at", at), &c)
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the position; where the run stands if absent")
	cmd.Flags().BoolVar(&pin, "pin", false, "pin it as well")
	cmd.Flags().StringVar(&c.key, "key", "", "idempotency key")
	return cmd
}

func (a *app) checkpointPin() *cobra.Command {
	var c changing
	cmd := &cobra.Command{
		Use:   "pin RUN [POSITION]",
		Short: "Keep a position of a run, whatever is pruned",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			at := ""
			if len(args) == 2 {
				at = args[1]
			}
			return a.give(cmd.Context(), args[0], "checkpoint", positioned(map[string]any{"pinned": true}, "at", at), &c)
		},
	}
	cmd.Flags().StringVar(&c.key, "key", "", "idempotency key")
	return cmd
}

func (a *app) checkpointRestore() *cobra.Command {
	var c changing
	var pause bool
	cmd := &cobra.Command{
		Use:   "restore RUN [NAME|POSITION]",
		Short: "Go back to a checkpoint and continue from there; the history stays",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := ""
			if len(args) == 2 {
				to = args[1]
			}
			return a.give(cmd.Context(), args[0], "restore", positioned(map[string]any{"pause": pause}, "to", to), &c)
		},
	}
	cmd.Flags().BoolVar(&pause, "pause", false, "stop there")
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}

func positioned(m map[string]any, key, at string) map[string]any {
	if at != "" {
		m[key] = at
	}
	return m
}
