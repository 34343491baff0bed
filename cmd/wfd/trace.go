package main

import (
	"context"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/otlp"
)

// tracing is how a run is exported as a trace.
type tracing struct {
	otlp, content bool
	endpoint      string
}

func (t *tracing) register(f *pflag.FlagSet) {
	f.BoolVar(&t.otlp, "otlp", false, "write the run, and those under it, as a trace of OpenTelemetry: the same as a daemon with --otlp sends")
	f.StringVar(&t.endpoint, "endpoint", "", "with --otlp: send it to this receiver of OTLP over HTTP instead")
	f.BoolVar(&t.content, "otlp-content", false, "with --otlp: also what agents and people said")
}

// asked reports whether a trace is wanted.
func (t *tracing) asked(cmd *cobra.Command) (bool, error) {
	if !t.otlp && (t.endpoint != "" || t.content) {
		return false, usagef("--endpoint and --otlp-content go with --otlp")
	}
	if t.otlp && cmd.Flags().Changed("unproven") {
		return false, usagef("--unproven is of capsules: a trace proves nothing")
	}
	if t.endpoint == "" {
		return t.otlp, nil
	}
	if _, err := otlp.CheckEndpoint(t.endpoint); err != nil {
		return false, usagef("--endpoint: %w", err)
	}
	return t.otlp, nil
}

func (a *app) exportTrace(ctx context.Context, id, into string, t *tracing) (err error) {
	s, err := a.connect(ctx, reads)
	if err != nil {
		return err
	}
	defer closeInto(s, &err)
	raw, _, err := s.Do(ctx, client.Request{Path: runPath(id) + "/trace", Query: url.Values{"content": {strconv.FormatBool(t.content)}}})
	if err != nil {
		return err
	}
	switch {
	case t.endpoint != "":
		n, err := otlp.Post(ctx, t.endpoint, raw)
		if err != nil {
			return &coded{exitUnreachable, err}
		}
		a.note("sent %s to %s", many(n, "span"), t.endpoint)
		return nil
	case into != "":
		return asStorage(into, os.WriteFile(into, append(raw, '\n'), 0o600))
	}
	return writeCompact(a.stdout, raw)
}
