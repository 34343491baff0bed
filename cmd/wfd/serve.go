package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/limits"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/oidc"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/otlp"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/workflow"
)

func (a *app) serve() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon on a data directory. Once it takes requests it prints its URL on
standard output; /readyz is green once it takes commands. SIGTERM and SIGINT end it
in order; a second one ends it at once.`,
		Example: `  wfd serve --data ./data
  wfd serve --addr 127.0.0.1:0 --token "$(cat token)"
  wfd serve --addr 0.0.0.0:7117 --auth --tls-cert wfd.crt --tls-key wfd.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.daemon(cmd.Context(), nil, nil)
		},
	}
	a.engine.register(cmd)
	a.door.register(cmd)
	return cmd
}

// doorFlags say who comes in at a daemon.
type doorFlags struct {
	auth                      bool
	hosts                     []string
	issuer, audience, jwtKeys string
	pprof                     string
	otlp                      string
	otlpContent               bool
}

func (d *doorFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&d.auth, "auth", false, "let nobody in who does not say who he is, by a token or a certificate; an address that others can reach needs it")
	f.StringSliceVar(&d.hosts, "host", nil, "name by which requests may address the daemon, beside those of its address and certificate; may be repeated")
	f.StringVar(&d.pprof, "pprof", "", "serve profiles of this process at this loopback address, as 127.0.0.1:6060")
	f.StringVar(&d.otlp, "otlp", "", "send traces of runs to this receiver of OTLP over HTTP, as http://127.0.0.1:4318")
	f.BoolVar(&d.otlpContent, "otlp-content", false, "with --otlp: also what agents and people said")
	f.StringVar(&d.issuer, "jwt-issuer", "", "let in who brings a token of this OpenID Connect provider (its URL)")
	f.StringVar(&d.audience, "jwt-audience", "", "what these tokens must be for")
	f.StringVar(&d.jwtKeys, "jwt-keys", "", "file with the provider's keys, a JWK set; by default they are found by its discovery document")
}

// open makes the settings of a door those of a host that listens at addr.
func (a *app) open(addr string, o *host.Options) (net.Listener, error) {
	d := host.Door{Logger: o.Logger, Addr: addr, Names: a.door.hosts, Auth: a.door.auth || a.token != ""}
	if a.certs.Cert != "" || a.certs.Key != "" || a.certs.CA != "" {
		d.TLS = &a.certs
	}
	o.Auth, o.Token = d.Auth, a.token
	if a.door.issuer != "" || a.door.audience != "" {
		if !d.Auth {
			return nil, usagef("--jwt-issuer says who may come in besides those with a token: without --auth everybody may")
		}
		provider, err := oidc.Open(oidc.Options{Issuer: a.door.issuer, Audience: a.door.audience, Keys: a.door.jwtKeys})
		if err != nil {
			return nil, usagef("--jwt-issuer: %w", err)
		}
		o.Identify = provider.Identify
	}
	l, names, err := host.Listen(d)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &coded{exitConflict, fmt.Errorf("%w\nhint: is a daemon running already? --addr names another address", err)}
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	o.Hosts = names
	return l, nil
}

// daemon serves a data directory until ctx ends. change may adjust the options;
// ready is called once requests are taken, and its work ends with its context.
func (a *app) daemon(ctx context.Context, change func(*host.Options), ready func(ctx context.Context, h *host.Host)) error {
	log, err := a.logger(slog.LevelInfo)
	if err != nil {
		return err
	}
	if err := limits.Daemon(); err != nil {
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
	o.Workers, o.Triggers, o.Metrics = true, true, true
	if _, err := o.Sandbox.Grant(sandbox.Ask{}); err != nil {
		return usagef("--sandbox: no program could be run: %w", err)
	}
	if a.door.otlp != "" {
		if _, err := otlp.CheckEndpoint(a.door.otlp); err != nil {
			return usagef("--otlp: %w", err)
		}
	} else if a.door.otlpContent {
		return usagef("--otlp-content says what --otlp sends: name a receiver")
	}
	o.Traces, o.TraceContent = a.door.otlp, a.door.otlpContent
	if change != nil {
		change(&o)
	}
	fitPrograms(&o)
	addr := a.addr
	if addr == "" {
		addr = defaultAddr
	}
	l, err := a.open(addr, &o)
	if err != nil {
		return err
	}
	h, err := openDir(ctx, o, true)
	if err != nil {
		l.Close()
		return err
	}
	at := l.Addr().String() // as a client is told it
	url := "http://" + at
	if a.certs.Cert != "" {
		url = "https://" + at
		at = url
	}
	if err := h.Log.SetAddress(at); err != nil {
		l.Close()
		return asStorage(dir, errors.Join(err, h.Close()))
	}
	if a.door.pprof != "" {
		at, end, err := host.ServeProfiles(a.door.pprof)
		if err != nil {
			l.Close()
			return errors.Join(usagef("--pprof: %w", err), h.Close())
		}
		defer end()
		log.Info("profiles", "url", "http://"+at+"/debug/pprof/")
	}
	go tendRuntime(ctx)
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

// fitPrograms has no more programs run at once than leave the daemon the threads it needs,
// and makes those first: see limits.ReserveThreads.
func fitPrograms(o *host.Options) {
	const queue = string(workflow.Exec)
	n, of := limits.Programs()
	if of == "" {
		return
	}
	n = min(n, engine.DefaultQueues[queue])
	if o.Queues[queue] == 0 {
		o.Queues = maps.Clone(o.Queues)
		if o.Queues == nil {
			o.Queues = map[string]int{}
		}
		o.Queues[queue] = n
	}
	limits.ReserveThreads(n)
	o.Logger.Warn("few threads and processes may be made: fewer programs run at once", "limit", of, "programs", o.Queues[queue])
}
