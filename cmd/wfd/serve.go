package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
)

func (a *app) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon on a data directory. Once it takes requests it prints its URL on
standard output; /readyz is green once it takes commands. SIGTERM and SIGINT end it
in order; a second one ends it at once.`,
		Example: `  wfd serve --data ./data
  wfd serve --addr 127.0.0.1:0 --token "$(cat token)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.daemon(cmd.Context(), nil, nil)
		},
	}
	a.engine.register(cmd)
	return cmd
}

// daemon serves a data directory until ctx ends. change may adjust the options;
// ready is called once requests are taken, and its work ends with its context.
func (a *app) daemon(ctx context.Context, change func(*host.Options), ready func(ctx context.Context, h *host.Host)) error {
	log, err := a.logger(slog.LevelInfo)
	if err != nil {
		return err
	}
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	o, err := a.options(dir, log)
	if err != nil {
		return err
	}
	o.Workers = true
	if change != nil {
		change(&o)
	}
	addr := a.addr
	if addr == "" {
		addr = defaultAddr
	}
	l, hosts, err := host.Listen(addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return &coded{exitConflict, fmt.Errorf("%w\nhint: is a daemon running already? --addr names another address", err)}
	}
	if err != nil {
		return usagef("%w", err)
	}
	o.Token, o.Hosts = a.token, hosts
	h, err := openDir(ctx, o, true)
	if err != nil {
		l.Close()
		return err
	}
	url := "http://" + l.Addr().String()
	if err := h.Log.SetAddress(l.Addr().String()); err != nil {
		l.Close()
		return asStorage(dir, errors.Join(err, h.Close()))
	}
	go tendGC(ctx)
	log.Info("serving", "url", url, "data", dir, "version", buildVersion())
	if _, err := fmt.Fprintln(a.stdout, url); err != nil {
		log.Warn("the URL was not written", "error", err)
	}
	if ready == nil {
		return h.Serve(ctx, l)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ready(ctx, h)
	}()
	err = h.Serve(ctx, l)
	cancel()
	<-done
	return err
}
