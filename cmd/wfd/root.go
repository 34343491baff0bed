package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/engine/secret"
)

// app is one call of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	addr, token, namespace, data, config string
	keyFile                              string
	output, jq                           string
	logFormat, logLevel                  string

	certs   host.Certificates // of this side of TLS
	engine  engineFlags
	door    doorFlags
	sources map[string]source // of the settings that are set
	secrets atomic.Pointer[secret.Store]
}

// run runs the command that args name.
func (a *app) run(ctx context.Context, args []string) error {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if ctx.Err() != nil && err != nil && errors.Is(err, context.Canceled) {
		return ctx.Err()
	}
	return err
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wfd",
		Short: "Durable execution of workflows of agents, people and services",
		Long: `wfd runs workflows durably: every step is an event in a log, and a run goes on
where it was after a crash.

Commands reach the daemon at --addr. With --data they work on a directory that no
daemon holds. With neither, a daemon at ` + defaultAddr + ` is used if one answers,
else the directory ` + "$XDG_DATA_HOME/wfd" + `.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q\nhint: see wfd --help%s", args[0], suggest(cmd, args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.settings(cmd); err != nil {
				return err
			}
			return a.checkOutput()
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w\nhint: see %s --help", err, cmd.CommandPath())
	})
	f := root.PersistentFlags()
	f.StringVar(&a.addr, "addr", "", "address of the daemon: host:port or a URL (serve and dev: to listen on)")
	f.StringVar(&a.token, "token", "", "token that the daemon asks for")
	f.StringVar(&a.namespace, "namespace", "", "namespace of runs and definitions (default \"default\", or the token's)")
	f.StringVar(&a.certs.Cert, "tls-cert", "", "file with the certificate to show: the daemon's, or a client's")
	f.StringVar(&a.certs.Key, "tls-key", "", "file with its key")
	f.StringVar(&a.certs.CA, "tls-ca", "", "file with who must have signed the other side's certificate; by default, for a client, the system's")
	f.StringVar(&a.data, "data", "", "work on this data directory")
	f.StringVar(&a.keyFile, "key-file", "", "file with the keys of an encrypted data directory; one that is not encrypted is from then on: see wfd key")
	f.StringVar(&a.config, "config", "", "read settings from this YAML file")
	f.StringVarP(&a.output, "output", "o", "table", "table, json, ndjson or yaml")
	f.StringVar(&a.jq, "jq", "", "filter the JSON output; strings are printed without quotes")
	f.StringVar(&a.logFormat, "log-format", "text", "text or json")
	f.StringVar(&a.logLevel, "log-level", "", "debug, info, warn or error (default info for serve and dev, else error)")
	root.AddCommand(
		a.serve(), a.dev(), a.initCommand(), a.doctor(), a.explain(),
		a.runCommand(), a.ls(), a.show(), a.events(), a.watch(), a.state(), a.inbox(),
		a.signal(), a.answer(), a.pause(), a.resume(), a.cancel(), a.retry(), a.checkpoint(), a.fork(),
		a.mcp(),
		a.verify(), a.whatif(), a.diff(), a.replay(), a.why(), a.export(), a.importCommand(),
		a.workflow(), a.agent(), a.worker(), a.workerTest(), a.tokens(), a.schedule(), a.hook(), a.cost(), a.budget(), a.audit(), a.schema(), a.erase(), a.compact(), a.du(),
		a.backup(), a.restore(), a.key(),
		a.check(), a.checkLog(), a.sim(), a.bench(), a.benchChild(), a.soakChild(), a.version(), a.ready(), a.man(),
	)
	for _, c := range root.Commands() {
		a.harden(c)
		a.complete(c)
	}
	return root
}

// harden makes wrong arguments a matter of usage, in every command.
func (a *app) harden(c *cobra.Command) {
	if len(c.Commands()) > 0 && c.RunE == nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q\nhint: see %s --help%s", args[0], cmd.CommandPath(), cmd.CommandPath(), suggest(cmd, args[0]))
			}
			return cmd.Help()
		}
	} else if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%w\nusage: %s", err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		a.harden(sub)
	}
}

func suggest(cmd *cobra.Command, word string) string {
	if s := cmd.SuggestionsFor(word); len(s) > 0 {
		return "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return ""
}

// logger returns a logger to standard error at a level unless another is asked for.
func (a *app) logger(level slog.Level) (*slog.Logger, error) {
	if a.logLevel != "" {
		if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
			return nil, usagef("--log-level %q: want debug, info, warn or error", a.logLevel)
		}
	}
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: a.redact}
	switch a.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(a.stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(a.stderr, o)), nil
	}
	return nil, usagef("--log-format %q: want text or json", a.logFormat)
}

// redact takes secrets out of what is logged. What reaches the log was relieved of
// them before; this is for what nobody thought of.
func (a *app) redact(_ []string, attr slog.Attr) slog.Attr {
	switch r := a.secrets.Load().Redactor(); {
	case r == nil:
	case attr.Value.Kind() == slog.KindString:
		attr.Value = slog.StringValue(r.Text(attr.Value.String()))
	case attr.Value.Kind() == slog.KindAny:
		attr.Value = slog.StringValue(r.Text(fmt.Sprintf("%+v", attr.Value.Any())))
	}
	return attr
}

// stamped is the version that a build is given: -ldflags "-X main.stamped=v1.2.3".
var stamped string

// buildVersion is what this binary was built from.
func buildVersion() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version, dirty := info.Main.Version, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && (version == "" || version == "(devel)"):
			version = "devel-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true" && !strings.Contains(version, "+dirty"):
			dirty = "+dirty"
		}
	}
	if version == "" || version == "(devel)" {
		version = "devel"
	}
	return version + dirty
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}
