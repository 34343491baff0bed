package main

import "github.com/spf13/cobra"

func (a *app) signal() *cobra.Command {
	var c changing
	cmd := &cobra.Command{
		Use:   "signal RUN NAME [VALUE]",
		Short: "Send a run a signal; one that comes early is kept",
		Example: `  wfd signal RUN approved
  wfd signal RUN payment '{"amount": 12}'
  wfd signal RUN payment @payment.json`,
		Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"name": args[1]}
			if len(args) == 3 {
				v, err := a.value(args[2], "VALUE")
				if err != nil {
					return err
				}
				body["value"] = v
			}
			return a.give(cmd.Context(), args[0], "signal", body, &c)
		},
	}
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}
