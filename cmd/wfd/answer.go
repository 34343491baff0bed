package main

import "github.com/spf13/cobra"

func (a *app) answer() *cobra.Command {
	var c changing
	var node string
	var visit int
	cmd := &cobra.Command{
		Use:   "answer RUN [NODE] VALUE",
		Short: "Answer a question of a run",
		Long:  `Answer a question of a run. NODE may be left out if one question is open.`,
		Example: `  wfd inbox
  wfd answer RUN '{"approved": true}'
  wfd answer RUN approve @answer.json --wait`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 3 {
				if node != "" && node != args[1] {
					return usagef("NODE is %s, and --node says %s", args[1], node)
				}
				node = args[1]
			}
			v, err := a.value(args[len(args)-1], "VALUE")
			if err != nil {
				return err
			}
			if v == nil {
				return usagef("VALUE is empty: want JSON, @file or -")
			}
			body := map[string]any{"value": v}
			if node != "" {
				body["node"] = node
			}
			if visit != 0 {
				body["visit"] = visit
			}
			return a.give(cmd.Context(), args[0], "answer", body, &c)
		},
	}
	cmd.Flags().StringVar(&node, "node", "", "the node that asks")
	cmd.Flags().IntVar(&visit, "visit", 0, "only if it is at this visit")
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}
