package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

// reasoned is a command that gives a run a command and a reason. more, if not nil,
// adds to what is sent.
func (a *app) reasoned(name, short string, more func(body map[string]any) error) *cobra.Command {
	var c changing
	var reason string
	cmd := &cobra.Command{
		Use:   name + " RUN",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if reason != "" {
				body["reason"] = reason
			}
			if more != nil {
				if err := more(body); err != nil {
					return err
				}
			}
			return a.give(cmd.Context(), args[0], name, body, &c)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept in the log")
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}

// give gives a run a command.
func (a *app) give(ctx context.Context, id, name string, body any, c *changing) (err error) {
	s, err := a.connect(ctx, c.need())
	if err != nil {
		return err
	}
	defer closeInto(s, &err)
	raw, _, err := s.Do(ctx, client.Request{Path: runPath(id) + "/" + name, In: body, Key: c.key})
	if err != nil {
		return err
	}
	return a.finish(ctx, s, raw, c)
}
