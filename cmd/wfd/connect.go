package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/mcp"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/guard"
	"github.com/wfd-dev/wfd/engine/price"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
)

const (
	defaultAddr = client.DefaultAddr
	// probeTime is how long a daemon at the default address has to answer.
	probeTime = 500 * time.Millisecond
	// heldTime is how long a directory is waited for that another command holds
	// for a moment.
	heldTime = 2 * time.Second
)

// errStorage marks a data directory that cannot be used.
var errStorage = errors.New("the data directory cannot be used")

// engineFlags are the settings of an engine in this process.
type engineFlags struct {
	replies     string
	noExec      bool
	sandbox     string
	allowEnv    []string
	queues      []string
	secrets     string
	agents      string
	provider    string
	models      []string
	noSpawn     bool
	mcp         string
	prices      string
	guard       string
	retain      []string
	retainEvery time.Duration
	keep        int
}

func (e *engineFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&e.replies, "replies", "", "answer agents, services and programs from this file")
	f.BoolVar(&e.noExec, "no-exec", false, "run no programs")
	f.StringVar(&e.sandbox, "sandbox", "", "sandbox of programs, and the least that any runs in: none, rlimits, landlock or full; or LEVEL:LEAST")
	f.StringSliceVar(&e.allowEnv, "allow-env", nil, "let definitions read this environment variable; may be repeated")
	f.StringVar(&e.prices, "prices", "", "lay this price list over the one in the binary")
	f.StringVar(&e.agents, "agents", "", "directory of agent files (NAME.md), beside the built-in agents")
	f.StringVar(&e.provider, "provider", "", "provider of agents that name none: openai, anthropic or sim; by default the one that there is a key for")
	f.StringSliceVar(&e.models, "model", nil, "model of agents that name none, or provider=model; may be repeated")
	f.StringVar(&e.mcp, "mcp", "", "file of MCP servers, whose tools agents and tool nodes may use")
	f.StringVar(&e.guard, "guard", "", "look at what comes from outside, and at answers, by the rules of this file; default: those of the binary")
	f.BoolVar(&e.noSpawn, "no-spawn", false, "refuse a role that no agent has, instead of giving it a generic agent")
	f.StringArrayVar(&e.retain, "retain", nil, "keep payloads of ended runs within limits: [WORKFLOW:]after=30d,runs=1000,bytes=10GB,drop,drop_after=365d; may be repeated")
	f.DurationVar(&e.retainEvery, "retain-every", time.Hour, "how often retention looks")
	f.IntVar(&e.keep, "keep-checkpoints", projection.KeepCheckpoints, "automatic checkpoints that a run keeps")
	f.StringSliceVar(&e.queues, "queue", nil, "name=n: at most n attempts of a queue at once; may be repeated")
	f.StringVar(&e.secrets, "secrets", "", "file of NAME=value lines, or directory with a file per secret; "+secret.Prefix+"<name> counts before it")
	setOutside(f, insideFlags...)
}

// insideFlags are the flags of engineFlags.
var insideFlags = []string{
	"replies", "no-exec", "sandbox", "allow-env", "queue", "secrets", "prices", "agents", "provider", "model", "no-spawn", "mcp", "guard",
	"retain", "retain-every", "keep-checkpoints",
}

// insideFlag names a setting of an engine that was given to a command of a daemon, "" if
// none was: it would do nothing there. What is set for good, outside the command, is for
// when there is no daemon; but answers of a script are expected of the call at hand.
func (a *app) insideFlag() string {
	for _, name := range insideFlags {
		switch from := a.sources[name]; {
		case name == "retain" && len(a.engine.retain) == 0: // that of wfd compact, which is for the daemon
		case from == aFlag, name == "replies" && from != nowhere:
			return name
		}
	}
	return ""
}

// options returns the options of a host on dir.
func (a *app) options(dir string, log *slog.Logger) (host.Options, error) {
	o := host.Options{Dir: dir, Logger: log, Version: buildVersion(), NoExec: a.engine.noExec, AllowEnv: a.engine.allowEnv}
	for _, q := range a.engine.queues {
		name, n, ok := strings.Cut(q, "=")
		limit, err := strconv.Atoi(n)
		if !ok || name == "" || err != nil || limit < 1 {
			return o, usagef("--queue %q: want name=number", q)
		}
		if o.Queues == nil {
			o.Queues = map[string]int{}
		}
		o.Queues[name] = limit
	}
	var err error
	o.KeyFile = a.keyFile
	if o.Keys, err = a.dataKeys(); err != nil {
		return o, err
	}
	if a.engine.sandbox != "" {
		if o.Sandbox, err = sandbox.ParsePolicy(a.engine.sandbox); err != nil {
			return o, usagef("--sandbox: %w", err)
		}
	}
	o.Sandbox.Hidden = []string{dir}
	for _, file := range []string{a.engine.secrets, a.keyFile} {
		if file != "" {
			o.Sandbox.Hidden = append(o.Sandbox.Hidden, file)
		}
	}
	if o.Retention, err = engine.ParseRetention(a.engine.retain); err != nil {
		return o, usagef("--retain: %w", err)
	}
	o.Retention.Every = a.engine.retainEvery
	if o.KeepCheckpoints = a.engine.keep; a.engine.keep < 0 {
		return o, usagef("--keep-checkpoints %d: want a number of checkpoints", a.engine.keep)
	}
	if o.Secrets, err = secret.Open(a.engine.secrets); err != nil {
		return o, usagef("%w", err)
	}
	a.secrets.Store(o.Secrets)
	if o.Agents, err = a.roster(); err != nil {
		return o, err
	}
	o.Accounts = accounts(o.Secrets)
	if a.engine.mcp != "" {
		if o.MCP, err = readServers(a.engine.mcp); err != nil {
			return o, err
		}
		for _, s := range o.MCP {
			if len(s.Command) > 0 && o.NoExec {
				return o, usagef("--no-exec forbids the program of the MCP server %s in %s", s.Name, a.engine.mcp)
			}
		}
	}
	if o.Guard, err = readRules(a.engine.guard); err != nil {
		return o, err
	}
	if o.Prices, err = readPrices(a.engine.prices); err == nil && a.engine.replies != "" {
		o.Replies, err = readReplies(a.engine.replies)
	}
	return o, err
}

// readPrices returns the prices of the binary with those of a file, if one is
// named, laid over them.
func readPrices(file string) (*price.Book, error) {
	if file == "" {
		return price.Default(), nil
	}
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	own, err := price.Parse(file, b)
	if err != nil {
		return nil, err
	}
	return own.Over(price.Default()), nil
}

// readRules returns the guard that --guard asks for, nil if it asks for none.
func readRules(file string) (engine.Guard, error) {
	switch file {
	case "":
		return nil, nil
	case "default":
		return guard.Default(), nil
	}
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return guard.Parse(file, b)
}

func readServers(file string) ([]mcp.Server, error) {
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return mcp.ParseConfig(file, b)
}

func readReplies(file string) (*agent.Replies, error) {
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return agent.ParseReplies(file, b)
}

// need is what a command asks of an engine in this process.
type need int

const (
	reads  need = iota // the directory must be there
	writes             // it is made if it is not
	works              // and the engine executes
)

// session is a way to an API.
type session struct {
	*client.Client
	host *host.Host // nil: a daemon's
	past bool       // nobody's: of a capsule
}

// inside reports whether the engine is in this process.
func (s *session) inside() bool { return s.host != nil || s.past }

// Close ends the engine, if it is in this process.
func (s *session) Close() error {
	if s.host == nil {
		return nil
	}
	return s.host.Close()
}

// connect returns a way to the API: to the daemon at --addr, to the directory of
// --data, to a daemon at the default address, or to the default directory.
func (a *app) connect(ctx context.Context, n need) (*session, error) {
	if a.addr != "" && a.data != "" {
		switch by := a.sources; {
		case by["addr"] > by["data"]:
			a.data = ""
		case by["addr"] < by["data"]:
			a.addr = ""
		default:
			return nil, usagef("--addr and --data exclude each other: a daemon has its own directory")
		}
	}
	if a.addr == "" && a.data == "" && a.answers(ctx) {
		a.addr = defaultAddr
	}
	if a.addr != "" {
		if flag := a.insideFlag(); flag != "" {
			return nil, usagef("--%s is for an engine in this process: give it to the daemon at %s, or use --data", flag, a.addr)
		}
		secured, err := a.certs.Load()
		if err != nil {
			return nil, usagef("TLS: %w", err)
		}
		c, err := client.New(a.addr, client.Token(a.token), client.Namespace(a.namespace), client.TLS(secured))
		if err != nil {
			return nil, usagef("%w", err)
		}
		return &session{Client: c}, nil
	}
	dir, err := a.dataDir()
	if err != nil {
		return nil, err
	}
	log, err := a.logger(slog.LevelError)
	if err != nil {
		return nil, err
	}
	o, err := a.options(dir, log)
	if err != nil {
		return nil, err
	}
	o.Token = a.token // of those who come from outside, as to wfd mcp
	h, err := openDir(ctx, o, n != reads)
	if err != nil {
		return nil, err
	}
	if n == works {
		if err := h.Start(ctx); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return &session{Client: inside(h.API, a.namespace), host: h}, nil
}

func (a *app) dataDir() (string, error) {
	if a.data != "" {
		return filepath.Abs(a.data)
	}
	return defaultData()
}

// answers reports whether a daemon is at the default address.
func (a *app) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c, err := client.New(defaultAddr)
	if err != nil {
		return false
	}
	var h api.Health
	return c.Get(ctx, client.Request{Path: "/livez"}, &h) == nil && h.Service == "wfd"
}

// openDir opens a data directory. One that another command holds is waited for;
// one that a daemon holds is not.
func openDir(ctx context.Context, o host.Options, create bool) (*host.Host, error) {
	if _, err := os.Stat(o.Dir); !create && errors.Is(err, os.ErrNotExist) {
		return nil, &coded{exitNotFound, fmt.Errorf("there is no data directory %s\nhint: wfd run makes one, as do wfd serve and wfd dev; --data names another", o.Dir)}
	}
	for end := time.Now().Add(heldTime); ; {
		h, err := host.Open(o)
		var held *eventlog.LockedError
		if !errors.As(err, &held) {
			return h, asStorage(o.Dir, err)
		}
		if held.Address != "" {
			return nil, fmt.Errorf("%w\nhint: use --addr %s, or stop the daemon", held, held.Address)
		}
		if time.Now().After(end) {
			return nil, held
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// asStorage makes an error of the directory one of storage.
func asStorage(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", errStorage, dir, err)
}

// inside returns a client of an API in this process.
func inside(h http.Handler, namespace string) *client.Client {
	c, err := client.New("wfd", client.Namespace(namespace), client.Transport(api.Inside(h, localActor())), client.Patience(0))
	if err != nil {
		panic("wfd: " + err.Error()) // made of constants
	}
	return c
}

// localActor names the one who works on a directory of this machine.
func localActor() string {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return "cli:" + name + "@local"
}
