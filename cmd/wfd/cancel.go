package main

import "github.com/spf13/cobra"

func (a *app) cancel() *cobra.Command {
	return a.reasoned("cancel", "End a run", nil)
}
