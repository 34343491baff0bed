package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/engine/agent"
	"github.com/wfd-dev/wfd/engine/agent/roster"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/examples"
)

// lookEvery is how often the directory is looked at: as good as at once for
// somebody who saves a file.
const lookEvery = 300 * time.Millisecond

func (a *app) dev() *cobra.Command {
	var breaks []string
	var noOpen, keys, demo bool
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Run the daemon and register the definitions of a directory as they are saved",
		Long: `Run the daemon and register every definition of DIR, again each time it is saved;
what is wrong with one is shown, here and on the page. Without definitions the bundled
examples are registered and, in a data directory without runs, two of them started.

On a terminal there are keys: to open the page, start a run, and to kill the daemon
with SIGKILL and see it take up what it did. A browser is opened where there is one.

Agents are answered by --replies, else by DIR/replies.yaml, else by the models of
--provider, else by a simulation: then nothing leaves this machine. The examples bring
a script of their own. With
--break every run that is started is paused there, if its workflow has what the
breakpoint names; child runs too.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.engine.provider == "" {
				a.engine.provider = roster.Sim // a key in the environment is no order to use it
			}
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			kept := os.Getenv(devChild) != ""
			if !cmd.Flags().Changed("keys") {
				keys = terminal(os.Stdin)
			}
			if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
				return usagef("%s is not a directory", dir)
			}
			if keys && !kept {
				k := &keeper{a: a, args: os.Args[1:], open: !noOpen && hasBrowser()}
				defer byKey(os.Stdin)()
				return k.keep(cmd.Context(), a.stdin)
			}
			ctx := cmd.Context()
			if kept { // by somebody who may be gone
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
				go func() {
					io.Copy(io.Discard, a.stdin)
					cancel()
				}()
			}
			files := os.DirFS(dir)
			names, err := definitionFiles(files)
			if err != nil {
				return err
			}
			bundled := len(names) == 0
			if bundled {
				a.note("%s has no definitions: the bundled examples are registered", dir)
			}
			replies, err := a.devReplies(files)
			if err != nil {
				return err
			}
			var scripted func(string) bool
			if replies == nil && (bundled || demo) { // the examples' script is for them alone
				scripted = examples.Has
				if replies, err = a.devReplies(examples.Files); err != nil {
					return err
				}
			}
			shown := dir
			if abs, err := filepath.Abs(dir); err == nil {
				shown = abs
			}
			state := api.NewDev(shown)
			change := func(o *host.Options) {
				o.Breakpoints, o.Dev = breaks, state
				if o.Replies == nil {
					o.Replies, o.Scripted = replies, scripted
				}
			}
			return a.daemon(ctx, change, func(ctx context.Context, h *host.Host) {
				r := registrar{
					a: a, s: &session{Client: inside(h.API, "")}, state: state,
					seen: map[string]stamp{}, bad: map[string]api.DevFile{}, workflows: map[string]*workflow.Workflow{},
				}
				if bundled || demo {
					r.look(ctx, examples.Files)
					a.demos(ctx, r.s)
				}
				if len(breaks) > 0 {
					r.look(ctx, files)
					a.unknownBreakpoints(breaks, r.workflows)
					told := make(chan struct{})
					go func() {
						defer close(told)
						a.tellBreakpoints(ctx, r.s, uint64(h.Log.Head()))
					}()
					defer func() { <-told }()
				}
				r.keep(ctx, files)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&noOpen, "no-open", false, "open no browser")
	f.BoolVar(&keys, "keys", false, "listen to keys on standard input (default: if it is a terminal)")
	f.BoolVar(&demo, "demo", false, "register the examples beside definitions of one's own, and start two of them")
	breakFlag(f, &breaks)
	a.engine.register(cmd)
	a.door.register(cmd)
	return cmd
}

// demos starts the runs to begin with, where there is none yet.
func (a *app) demos(ctx context.Context, s *session) {
	totals := map[string]int{}
	if err := s.Get(ctx, client.Request{Path: "/v1/totals"}, &totals); err != nil || sum(totals) > 0 {
		return
	}
	for _, d := range examples.Demos {
		id, err := startDemo(ctx, s.Client, d)
		if err != nil {
			if ctx.Err() == nil {
				a.say(err)
			}
			return
		}
		a.note("started %s: %s", d.Workflow, id)
	}
}

// devReplies reads the scripted answers beside the definitions, if there are any.
func (a *app) devReplies(files fs.FS) (*agent.Replies, error) {
	b, err := fs.ReadFile(files, examples.Replies)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	return agent.ParseReplies(examples.Replies, b)
}

// definitionFiles lists the files of a directory that may be definitions.
func definitionFiles(files fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, usagef("%w", err)
	}
	var names []string
	for _, e := range entries {
		n := e.Name()
		if !e.IsDir() && !strings.HasPrefix(n, ".") && n != examples.Replies && slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(n)) {
			names = append(names, n)
		}
	}
	return names, nil
}

// registrar registers files when they are new and when they have changed.
type registrar struct {
	a     *app
	s     *session
	state *api.Dev // what the page shows of it
	seen  map[string]stamp
	lost  error                  // why the directory could not be read when it was last looked at
	bad   map[string]api.DevFile // those that cannot be registered as they are
	// workflows are the newest of each file that could be registered.
	workflows map[string]*workflow.Workflow
}

// stamp tells one state of a file from the next.
type stamp struct {
	size int64
	at   time.Time
}

// keep looks at files until ctx ends.
func (r *registrar) keep(ctx context.Context, files fs.FS) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		r.look(ctx, files)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (r *registrar) look(ctx context.Context, files fs.FS) {
	names, err := definitionFiles(files)
	if err != nil && (r.lost == nil || err.Error() != r.lost.Error()) {
		r.a.say(err) // once: it is looked at again and again
	}
	r.lost = err
	changed := false
	for name := range r.bad {
		if !slices.Contains(names, name) { // it is gone, and its mistakes with it
			delete(r.bad, name)
			delete(r.seen, name)
			changed = true
		}
	}
	defer func() {
		if changed {
			r.state.Set(slices.SortedFunc(maps.Values(r.bad), func(a, b api.DevFile) int { return strings.Compare(a.File, b.File) }))
		}
	}()
	for _, name := range names {
		fi, err := fs.Stat(files, name)
		if err != nil || r.seen[name] == (stamp{fi.Size(), fi.ModTime()}) {
			continue // gone since, or as it was
		}
		r.seen[name] = stamp{fi.Size(), fi.ModTime()}
		src, err := fs.ReadFile(files, name)
		if err == nil {
			err = r.register(ctx, name, src)
		}
		if ctx.Err() != nil {
			return
		}
		if _, was := r.bad[name]; err != nil || was {
			changed = true
		}
		delete(r.bad, name)
		if err != nil {
			r.a.say(err) // the next save is the answer
			r.bad[name] = mistakes(name, err)
		}
	}
}

// mistakes is what the page shows of a file that cannot be registered.
func mistakes(name string, err error) api.DevFile {
	f := api.DevFile{File: name}
	var p *client.Problem
	if errors.As(err, &p) {
		f.Problems = defectsOf(p)
	}
	if f.Problems == nil {
		f.Problems = workflow.Problems{}
	}
	if len(f.Problems) == 0 {
		f.Error = err.Error()
	}
	return f
}

func (r *registrar) register(ctx context.Context, name string, src []byte) error {
	reg, _, err := r.a.apply(ctx, r.s, name, src, false)
	if err == nil {
		r.workflows[name], _, err = api.Compile(name, src, false)
	}
	if err == nil {
		r.a.note("registered %s v%d from %s", reg.Name, reg.Version, name)
	}
	return err
}
