package main

import (
	"github.com/spf13/cobra"
)

func (a *app) retry() *cobra.Command {
	var from string
	cmd := a.reasoned("retry", "Let a failed run try again what failed, or go on from an earlier node", func(body map[string]any) error {
		positioned(body, "from", from)
		return nil
	})
	cmd.Long = `Let a failed run try again what failed. With --from it goes on in place from just
before a visit of a node: what had completed before is not done again, what came
after stays in the history and counts no more.`
	cmd.Example = `  wfd retry RUN
  wfd retry RUN --from review       # its latest visit
  wfd retry RUN --from review#2 --reason "the model was wrong"`
	cmd.Flags().StringVar(&from, "from", "", "go on from just before this visit: node, or node#2")
	return cmd
}
