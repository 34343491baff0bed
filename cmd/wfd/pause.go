package main

import "github.com/spf13/cobra"

func (a *app) pause() *cobra.Command {
	return a.reasoned("pause", "Let a run start nothing more until it is resumed", nil)
}
