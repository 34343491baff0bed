package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/mcpserver"
)

func (a *app) mcp() *cobra.Command {
	var listen string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Serve workflows as tools and runs as resources to MCP clients",
		Long: `Serve wfd to programs that speak the Model Context Protocol, over standard input and
output or, with --http, over HTTP on loopback at /mcp. Each registered workflow is a
tool with the workflow's input as arguments; runs are resources. What takes longer
than --wait is answered with the run's ID, to come back to.

With --data the engine is in this process, and runs go on for as long as it does; what
is not done then goes on with whoever works on the directory next.

Clients over HTTP are let in by the daemon, by the token that each brings: what it sees
and may do is what that token may. With --data, --token is one that may everything.`,
		Example: `  wfd mcp --addr 127.0.0.1:7117
  wfd mcp --data ./data
  wfd mcp --http 127.0.0.1:7118 --addr 127.0.0.1:7117`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			if wait <= 0 || wait > mcpserver.MaxWait {
				return usagef("--wait %s: want a time up to %s", wait, mcpserver.MaxWait)
			}
			log, err := a.logger(slog.LevelError)
			if err != nil {
				return err
			}
			var l net.Listener
			var hosts func() []string
			if listen != "" {
				if l, hosts, err = host.Listen(host.Door{Addr: listen}); errors.Is(err, syscall.EADDRINUSE) {
					return &coded{exitConflict, err}
				} else if err != nil {
					return usagef("%w", err)
				}
				defer l.Close()
			}
			s, err := a.connect(ctx, works)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			o := mcpserver.Options{Client: s.Client, Wait: wait, Version: buildVersion(), Logger: log}
			ctx, stop := context.WithCancel(ctx)
			defer stop()
			if s.host != nil {
				go func() { // an engine that has failed serves nobody
					select {
					case <-s.host.Engine.Stopped():
						stop()
					case <-ctx.Done():
					}
				}()
			}
			if l == nil {
				var m *mcpserver.Server
				if m, err = mcpserver.New(ctx, o); err != nil {
					return err
				}
				defer m.Close()
				err = m.Stdio(ctx, a.stdin, a.stdout)
			} else {
				// An API that is not there is said to be so now, and not to each client.
				if err = s.Get(ctx, client.Request{Path: "/livez"}, &struct{}{}); err != nil {
					return err
				}
				web := mcpserver.NewWeb(o, mcpserver.Door{Hosts: hosts, API: func(token string) (*client.Client, error) { return a.guest(s, token) }})
				defer web.Close()
				err = a.serveMCP(ctx, l, web)
			}
			if s.host != nil && s.host.Engine.Failed() != nil {
				return fmt.Errorf("%w: %w", host.ErrFailed, s.host.Engine.Failed())
			}
			return err
		},
	}
	cmd.Flags().StringVar(&listen, "http", "", "serve over HTTP on this loopback address, instead of standard input and output")
	cmd.Flags().DurationVar(&wait, "wait", mcpserver.DefaultWait, "how long a call waits for its run")
	a.engine.register(cmd)
	return cmd
}

// guest returns a way to the API of a session for who brings a token to this process, which
// lends him nothing of its own: no token, and no certificate.
func (a *app) guest(s *session, token string) (*client.Client, error) {
	if s.host != nil {
		return client.New("wfd", client.Token(token), client.Namespace(a.namespace), client.Transport(api.Inside(s.host.API, "")), client.Patience(0))
	}
	secured, err := a.certs.Load()
	if err != nil {
		return nil, err
	}
	secured.GetClientCertificate = nil
	return client.New(a.addr, client.Token(token), client.Namespace(a.namespace), client.TLS(secured))
}

// mcpDrain is how long calls under way have to end; their runs go on.
const mcpDrain = 2 * time.Second

// serveMCP serves clients over HTTP until ctx ends.
func (a *app) serveMCP(ctx context.Context, l net.Listener, h http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("/mcp", h)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	if _, err := fmt.Fprintf(a.stdout, "http://%s/mcp\n", l.Addr()); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), mcpDrain)
	defer cancel()
	if s.Shutdown(down) != nil {
		s.Close()
	}
	return nil
}
