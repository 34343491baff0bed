package main

import (
	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/engine/workflow"
)

func (a *app) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of definitions, for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.output == "table" {
				a.output = "json"
			}
			return a.printJSON(workflow.SchemaJSON())
		},
	}
}
