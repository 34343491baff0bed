package main

import "github.com/spf13/cobra"

func (a *app) resume() *cobra.Command {
	return a.reasoned("resume", "Let a paused run go on", nil)
}
