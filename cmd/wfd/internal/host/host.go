// Package host opens a data directory, puts an engine and its API on it, and
// serves them: as a daemon, or inside a CLI command.
//
// What was opened is closed in one order: the API takes nothing more, the engine
// finishes what is being appended, a daemon signs what is new, the views are closed,
// then the log.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/metrics"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/otlp"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/ui"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/anthropic"
	"github.com/wfd-dev/wfd/engine/agent/mcp"
	"github.com/wfd-dev/wfd/engine/agent/model"
	"github.com/wfd-dev/wfd/engine/agent/openai"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/agent/sandbox"
	"github.com/wfd-dev/wfd/engine/agent/sim"
	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/price"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection"
)

// Options of a Host.
type Options struct {
	Dir     string
	Keys    crypt.Keys // open the directory if it is encrypted, and encrypt it if it is not
	KeyFile string     // where they are, to be read again for a rotation
	Logger  *slog.Logger
	Version string

	// Of the API; see api.Options.
	Auth     bool
	Token    string
	Identify func(ctx context.Context, token string) (access.Principal, error)
	Hosts    func() []string
	Dev      *api.Dev // nil: this is no wfd dev

	// Traces is where traces of runs are sent, as a URL; "": nowhere. TraceContent says that
	// what agents and people said goes with them.
	Traces       string
	TraceContent bool

	// Metrics says that how the daemon does is counted, and shown at /metrics.
	Metrics bool

	// Of the engine.
	NoExec   bool
	Sandbox  sandbox.Policy // of programs
	AllowEnv []string
	Queues   map[string]int
	Replies  *agent.Replies             // answers every task
	Scripted func(workflow string) bool // whose tasks Replies answers; nil: everybody's
	Accounts map[string]agent.Account   // by provider of models
	MCP      []mcp.Server
	Secrets  *secret.Store
	Agents   *roster.Roster
	Prices   *price.Book  // nil: those of the binary
	Guard    engine.Guard // nil: there is none
	// Breakpoints are added to every run that is started.
	Breakpoints     []string
	Retention       engine.Retention
	KeepCheckpoints int
	Workers         bool // tasks are handed out to workers
	Triggers        bool // schedules and hooks do what they are for
}

// Host is an engine on a data directory, with its API.
type Host struct {
	API    *api.API
	Engine *engine.Engine
	Views  *projection.Views
	Log    *eventlog.DB

	snapshots *projection.Snapshots
	mcp       *mcp.Servers // nil: there are none

	tracing atomic.Pointer[otlp.Follower] // nil: nobody follows
	follow  otlp.Options
	leases  *lease.Book // nil: no tasks are handed out
	slog    *slog.Logger
	audit   *auditing
	commits bell
	ready   atomic.Bool
	close   sync.Once
	closed  error
}

// errStarting is why a host that was not started takes no commands from outside.
var errStarting = errors.New("the daemon takes up what it did before")

// Open opens a data directory, and creates it if there is none. Nothing is
// executed before Start, but commands are taken.
func Open(o Options) (*Host, error) {
	h := &Host{slog: o.Logger}
	log, views, err := engine.Store(o.Dir, o.Keys, o.Logger, func(eventlog.Seq) { h.commits.ring() })
	if err != nil {
		return nil, err
	}
	if h.snapshots, err = projection.OpenSnapshots(filepath.Join(o.Dir, "views"), log.Ring()); err != nil {
		return nil, errors.Join(err, views.Close(), log.Close())
	}
	if o.Workers {
		if h.leases, err = lease.Open(filepath.Join(o.Dir, "leases"), log.Ring(), o.Logger); err != nil {
			return nil, errors.Join(err, h.snapshots.Close(), views.Close(), log.Close())
		}
	}
	h.on(log, views, o)
	return h, nil
}

// on puts the engine and its API on a log and its views.
func (h *Host) on(log *eventlog.DB, views *projection.Views, o Options) {
	h.Log, h.Views = log, views
	var tools agent.Tools
	if len(o.MCP) > 0 {
		h.mcp = mcp.Open(o.MCP, o.Sandbox, o.Secrets, o.Logger, o.Version)
		tools = h.mcp
	}
	opt := engine.Options{
		Snapshots: h.snapshots, Retention: o.Retention, KeepCheckpoints: o.KeepCheckpoints,
		Logger: o.Logger, Runners: runners(o, tools), Queues: o.Queues, Env: engine.EnvAllowed(o.AllowEnv), Secrets: o.Secrets, Agents: o.Agents,
		Prices: o.Prices, Guard: o.Guard, Leases: h.leases, NoWorkers: h.leases == nil, NoTriggers: !o.Triggers,
		Breakpoints: o.Breakpoints, Traces: o.Traces != "",
	}
	h.follow = otlp.Options{
		Endpoint: o.Traces, Content: o.TraceContent, Version: o.Version, File: filepath.Join(o.Dir, "views", "traces"),
		Next: h.commits.next, Logger: o.Logger,
	}
	var dataKeys func() (crypt.Keys, error)
	if o.KeyFile != "" {
		dataKeys = func() (crypt.Keys, error) { return crypt.LoadKeys(o.KeyFile) }
	}
	var counted api.Metrics
	if o.Metrics {
		m := metrics.New(o.Version)
		defer func() { m.Begin(metrics.Source{Engine: h.Engine, Log: log, Views: views, Traces: h.traced}) }()
		opt.OnAppend, counted = m.Appended, m
	}
	if o.Replies != nil {
		opt.Replies, opt.Scripted = o.Replies.Runner(), o.Scripted
	}
	h.Engine = engine.New(log, views, opt)
	h.audit = &auditing{dir: o.Dir, log: log, slog: o.Logger, record: h.Engine.Record}
	var agents api.Agents
	if o.Agents != nil {
		agents = o.Agents
	}
	h.API = api.New(api.Options{
		Engine: h.Engine, Agents: agents, Log: log, Views: views, Audit: h.audit, Backup: h.audit.backup, DataKeys: dataKeys, Commit: h.commits.next, Version: o.Version,
		Auth: o.Auth, Token: o.Token, Identify: o.Identify, Hosts: o.Hosts, Page: ui.Routes(), Metrics: counted, Dev: o.Dev, Logger: o.Logger,
		Ready: func() error {
			if !h.ready.Load() {
				return errStarting
			}
			return nil
		},
	})
}

func runners(o Options, tools agent.Tools) map[workflow.Kind]agent.Runner {
	m := map[workflow.Kind]agent.Runner{
		workflow.Exec: &agent.Exec{Disabled: o.NoExec, Policy: o.Sandbox},
		workflow.HTTP: &agent.HTTP{},
		workflow.Tool: &agent.ToolNodes{Tools: tools},
	}
	models := &agent.Models{
		Roster: o.Agents, Accounts: o.Accounts, Secrets: o.Secrets, Tools: tools,
		Providers: map[string]model.Provider{roster.OpenAI: &openai.Provider{}, roster.Anthropic: &anthropic.Provider{}, roster.Sim: sim.Provider{}},
	}
	for _, k := range []workflow.Kind{workflow.Agent, workflow.Converge, workflow.Chat, workflow.Plan} {
		m[k] = models
	}
	return m
}

// Start takes up what a former process left, and begins to execute.
func (h *Host) Start(ctx context.Context) error {
	began := time.Now()
	if err := h.Engine.Start(ctx); err != nil {
		return err
	}
	if h.follow.Endpoint != "" {
		f, err := otlp.Start(h.Log, h.follow)
		if err != nil {
			return fmt.Errorf("traces: %w", err)
		}
		h.tracing.Store(f)
	}
	h.ready.Store(true)
	h.slog.Info("ready", "events", h.Log.Head(), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// traced says what became of traces.
func (h *Host) traced() (sent, failed, dropped, behind uint64) {
	if f := h.tracing.Load(); f != nil {
		return f.Counts()
	}
	return 0, 0, 0, 0
}

// Close stops the engine and closes the directory. To close twice is to close once.
func (h *Host) Close() error {
	h.close.Do(func() {
		h.API.Drain()
		h.Engine.Stop()
		if h.mcp != nil {
			h.mcp.Close()
		}
		if f := h.tracing.Load(); f != nil {
			f.Stop()
		}
		h.audit.close(h.Engine.Failed() == nil)
		h.closed = errors.Join(h.Views.Close(), h.Log.Close())
		if h.snapshots != nil {
			h.closed = errors.Join(h.closed, h.snapshots.Close())
		}
		if h.leases != nil {
			h.closed = errors.Join(h.closed, h.leases.Close())
		}
	})
	return h.closed
}

// bell tells those who wait that there is a commit.
type bell struct {
	mu sync.Mutex
	ch chan struct{} // nil: nobody waits
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// ring is called by the log's writer: it must not block.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
