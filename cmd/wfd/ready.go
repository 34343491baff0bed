package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

func (a *app) ready() *cobra.Command {
	return &cobra.Command{
		Use:   "ready",
		Short: "Say whether a daemon takes commands, for health checks",
		Long: `Say whether the daemon at --addr takes commands: exit 0 if it does, 5 if it does not, or
not yet. It needs no token.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.daemonAt()
			if err != nil {
				return err
			}
			var h api.Health
			if err := c.Get(cmd.Context(), client.Request{Path: "/readyz"}, &h); err != nil {
				return &coded{exitUnreachable, fmt.Errorf("not ready: %w", err)}
			}
			return a.print([]byte(fmt.Sprintf(`{"status":%q,"head":%d}`, h.Status, h.Head)), func(t *text) { t.printf("%s\n", h.Status) })
		},
	}
}

// daemonAt returns a client of the daemon at --addr, or at the default address, that
// asks once.
func (a *app) daemonAt() (*client.Client, error) {
	addr := a.addr
	if addr == "" {
		addr = defaultAddr
	}
	secured, err := a.certs.Load()
	if err != nil {
		return nil, usagef("TLS: %w", err)
	}
	c, err := client.New(addr, client.Token(a.token), client.TLS(secured), client.Patience(0))
	if err != nil {
		return nil, usagef("%w", err)
	}
	return c, nil
}
