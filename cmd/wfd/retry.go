package main

import "github.com/spf13/cobra"

func (a *app) retry() *cobra.Command {
	return a.reasoned("retry", "Let a failed run try again what failed")
}
