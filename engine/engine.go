package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/bus"
	"github.com/wfd-dev/wfd/engine/lease"
	"github.com/wfd-dev/wfd/engine/price"
	"github.com/wfd-dev/wfd/engine/secret"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/crypt"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Errors of the engine, besides those of packages machine and eventlog.
var (
	// ErrNotFound: there is no such run, workflow or checkpoint.
	ErrNotFound = errors.New("not found")
	// ErrStopped: the engine does not accept commands any more.
	ErrStopped = errors.New("engine has stopped")
	// ErrExists: a run with this ID exists and is another one.
	ErrExists = errors.New("run exists")
	// ErrUnsupported: a definition needs something this engine cannot do.
	ErrUnsupported = errors.New("not supported")
)

// Options of an Engine. The zero value of every field is good.
type Options struct {
	Logger *slog.Logger
	// Runners do the tasks, by kind; a kind without one fails its tasks.
	Runners map[workflow.Kind]agent.Runner
	// Replies, if set, answers every task instead of Runners: those of the workflows that
	// Scripted names, or of all if that is nil.
	Replies  agent.Runner
	Scripted func(workflow string) bool
	// Agents are those that agent nodes name, or that have the roles they name; nil:
	// nobody is chosen.
	Agents *roster.Roster
	// Prices are what models cost; by default those of the binary.
	Prices *price.Book
	// Queues bounds the attempts under way at once, by queue; see DefaultQueues.
	Queues map[string]int
	// MaxLoaded bounds the runs kept in memory between commands.
	MaxLoaded int
	// Env returns an environment variable that definitions may read.
	Env func(name string) (value string, allowed bool)
	// Secrets finds the secrets that tasks are given, and takes them out of what comes
	// back; nil: there are none.
	Secrets *secret.Store
	// Guard looks at what comes into runs; nil: nobody does.
	Guard Guard
	// Breakpoints are added to every run that is started, where its workflow has what
	// they name; child runs too.
	Breakpoints []string
	// NoWorkers says that no worker can reach this engine: its tasks for workers wait for
	// another one.
	NoWorkers bool
	// NoTriggers says that this engine is not there to stay: schedules and hooks can be
	// changed, and none of them does anything.
	NoTriggers bool
	// Leases are those of workers, from before too; by default a book in memory.
	Leases *lease.Book
	// Traces says that attempts are told their place in a trace, for what they call. Those
	// of a run that was started in one are told in any case.
	Traces bool
	// Now is the clock.
	Now func() time.Time
	// OnAppend is called after each append of a run's events, with how long it took until
	// they were on disk. It is on the way of every step: it must not wait, nor keep records.
	OnAppend func(records []eventlog.Record, took time.Duration)
	// Bus carries doorbells; by default one of this process.
	Bus bus.Bus
	// Snapshots are kept of long runs. Without, runs are loaded from their events.
	Snapshots *projection.Snapshots
	// KeepCheckpoints is how many automatic checkpoints a run keeps. Default:
	// projection.KeepCheckpoints.
	KeepCheckpoints int
	Retention       Retention
}

// defaultMaxLoaded keeps the cache of loaded runs at a few megabytes.
const defaultMaxLoaded = 1024

// Engine runs workflows on a log.
type Engine struct {
	opt   Options
	log   eventlog.Log
	views *projection.Views
	bus   bus.Bus
	slog  *slog.Logger

	defs      *definitions
	runs      *runs
	clock     *alarms[eventlog.RunID]
	sched     *scheduler
	ledger    *ledgerKeeper
	damaged   bool // the log has lost events of some runs, which it has shut off
	crew      *crew
	watchers  watchers
	tokens    tokens
	children  children
	snapshots snapshots
	erasures  *erasures
	compact   *compactor
	custody   sync.Mutex // held while Record appends
	guarding  sync.Mutex // held while a finding is appended
	access    accesses
	triggers  *triggers
	looksBack sync.Mutex    // one reads far back in a run at a time
	importing sync.Mutex    // held by an import
	failed    chan struct{} // closed when the engine has stopped by itself
	stopped   chan struct{} // closed when commands are no longer accepted
	stop      sync.Once

	namespaces namespaces

	started atomic.Bool
	boot    atomic.Uint64 // the log's head when the engine was started

	mu      sync.Mutex
	failure error // why the engine stopped by itself; final once failed is closed
	ended   bool  // nothing new runs in the background
	cancel  context.CancelFunc
	wg      sync.WaitGroup // what runs in the background
}

// New returns an engine on log and its views. It does nothing yet but answer
// queries and take commands; see [Engine.Start]. The caller closes log and views
// after [Engine.Stop].
func New(log eventlog.Log, views *projection.Views, opt Options) *Engine {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.MaxLoaded <= 0 {
		opt.MaxLoaded = defaultMaxLoaded
	}
	if opt.Env == nil {
		opt.Env = func(string) (string, bool) { return "", false }
	}
	if opt.Prices == nil {
		opt.Prices = price.Default()
	}
	if opt.Leases == nil {
		opt.Leases, _ = lease.Open("", nil, opt.Logger) // in memory nothing can fail
	}
	if opt.Bus == nil {
		opt.Bus = bus.New(opt.Logger)
	}
	if opt.KeepCheckpoints <= 0 {
		opt.KeepCheckpoints = projection.KeepCheckpoints
	}
	if opt.Retention.Every <= 0 {
		opt.Retention.Every = time.Hour
	}
	if opt.Retention.MinBytes <= 0 {
		opt.Retention.MinBytes = 16 << 20
	}
	e := &Engine{opt: opt, log: log, views: views, bus: opt.Bus, slog: opt.Logger, stopped: make(chan struct{}), failed: make(chan struct{})}
	e.defs = newDefinitions(log, views)
	e.crew = newCrew()
	e.runs = newRuns(e)
	e.clock = newAlarms(opt.Now, e.wake)
	e.clock.reach, e.clock.look = horizon, lookAtClock
	if d, ok := log.(interface {
		Damage() []*eventlog.CorruptError
	}); ok {
		e.damaged = len(d.Damage()) > 0
	}
	e.sched = newScheduler(e)
	e.ledger = newLedger(e)
	if opt.Agents != nil {
		opt.Agents.Announce(e.announce)
	}
	e.snapshots = snapshots{opt.Snapshots}
	e.erasures = newErasures(e)
	e.compact = newCompactor(e)
	e.triggers = newTriggers(e)
	return e
}

// Prices returns what models cost here.
func (e *Engine) Prices() *price.Book { return e.opt.Prices }

// now is the present in the form of events.
func (e *Engine) now() event.Time { return event.At(e.opt.Now()) }

// Start takes up every run that a former process left, then begins to do tasks
// and to fire timers. It returns once all that was due is under way.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	if e.started.Load() {
		e.mu.Unlock()
		return errors.New("engine was started before")
	}
	e.boot.Store(uint64(e.log.Head()))
	e.started.Store(true)
	ctx, e.cancel = context.WithCancel(ctx)
	e.mu.Unlock()
	if err := e.views.CatchUp(ctx, nil); err != nil {
		return fmt.Errorf("views: %w", err)
	}
	if err := e.views.Start(ctx); err != nil {
		return err
	}
	if err := e.sched.start(ctx); err != nil {
		return err
	}
	if err := e.compact.start(ctx); err != nil {
		return err
	}
	if err := e.recover(ctx); err != nil {
		return fmt.Errorf("taking up the runs of the former process: %w", err)
	}
	e.spawn(func() { e.clock.run(ctx) })
	if err := e.triggers.start(ctx); err != nil {
		return fmt.Errorf("triggers: %w", err)
	}
	if e.opt.Agents != nil {
		e.spawn(func() { e.keepAgents(ctx) })
	}
	return nil
}

// Stop ends the engine in order: no more commands from outside, no new attempts;
// running attempts are cancelled, and those that come to a result all the same
// have it recorded; what is being appended is finished. An attempt that was
// cancelled is not recorded: the next start finds it lost.
func (e *Engine) Stop() {
	e.stop.Do(func() {
		close(e.stopped)
		e.mu.Lock()
		if e.cancel != nil {
			e.cancel()
		}
		e.mu.Unlock()
		e.sched.wait()
		e.mu.Lock()
		e.ended = true
		e.mu.Unlock()
		e.wg.Wait()
		e.runs.drain()
		e.crew.dismiss()
		e.views.Stop()
		if err := e.bus.Close(); err != nil {
			e.slog.Error("closing the bus", "error", err)
		}
	})
}

// spawn runs f in the background. Once the engine has ended f is not run: what it
// would have done is found in the log by the next start.
func (e *Engine) spawn(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.wg.Go(f)
	}
}

// Stopped is closed when the engine no longer accepts commands.
func (e *Engine) Stopped() <-chan struct{} { return e.stopped }

// Failed returns why the engine stopped by itself, nil if it did not.
func (e *Engine) Failed() error {
	select {
	case <-e.failed:
		return e.failure
	default:
		return nil
	}
}

// fail stops the acceptance of commands for good: the log's state is not known,
// only a fresh start can tell. Reads go on until the process is ended.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure == nil {
		e.failure = err
		close(e.failed)
		e.slog.Error("the log has stopped; nothing more is accepted until a fresh start", "error", err)
	}
}

// accepting returns why commands are refused, nil if they are not. Internal ones
// are served while the engine stops.
func (e *Engine) accepting(internal bool) error {
	if err := e.Failed(); err != nil {
		return fmt.Errorf("%w: %w", ErrStopped, err)
	}
	if internal {
		return nil
	}
	select {
	case <-e.stopped:
		return ErrStopped
	default:
		return nil
	}
}

// Store opens the log and the views of a data directory. Where the log is damaged, the
// runs concerned are shut off. keys open it if it is encrypted, and encrypt it if it is
// not: see [eventlog.Options].
func Store(dir string, keys crypt.Keys, logger *slog.Logger, onCommit func(eventlog.Seq)) (*eventlog.DB, *projection.Views, error) {
	var views *projection.Views
	var ready sync.Mutex
	db, err := eventlog.Open(dir, eventlog.Options{Keys: keys, Logger: logger, Quarantine: true, OnCommit: func(head eventlog.Seq) {
		ready.Lock()
		v := views
		ready.Unlock()
		if v != nil {
			v.Notify(head)
		}
		if onCommit != nil {
			onCommit(head)
		}
	}})
	if err != nil {
		return nil, nil, err
	}
	v, err := projection.Open(filepath.Join(dir, "views"), db, projection.Options{Logger: logger, Ring: db.Ring()})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	ready.Lock()
	views = v
	ready.Unlock()
	return db, v, nil
}

// EnvAllowed returns an Options.Env that lets definitions read the named
// variables of the process.
func EnvAllowed(names []string) func(string) (string, bool) {
	allowed := map[string]bool{}
	for _, n := range names {
		allowed[n] = true
	}
	return func(name string) (string, bool) {
		if !allowed[name] {
			return "", false
		}
		return os.Getenv(name), true
	}
}
