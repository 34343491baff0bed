package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// By says who gives a command, and under which idempotency key: a command that is
// repeated with its key is done once.
type By struct {
	Actor string
	Key   string
}

// StartRequest asks for a run of a workflow.
type StartRequest struct {
	Namespace event.Namespace // of the workflow, and so of the run
	Workflow  string
	Version   int            // 0 = the newest
	ID        eventlog.RunID // zero: one is made
	Input     event.Value
	Labels    map[string]string
	Budget    event.Value
	// Breakpoints are where the run is paused, see workflow.Breakpoint; those of
	// Options.Breakpoints that the workflow has are added.
	Breakpoints []string
}

// StartRun starts a run and returns it once it is on disk. A repetition, by ID
// or by key, returns the run that is there, created false; ErrExists if that was
// started differently.
func (e *Engine) StartRun(ctx context.Context, r StartRequest, by By) (view Run, created bool, err error) {
	reg, wf, err := e.defs.find(ctx, r.Namespace, r.Workflow, r.Version)
	if err != nil {
		return view, false, err
	}
	env, err := e.env(wf)
	if err != nil {
		return view, false, err
	}
	id, made := r.ID, false
	switch {
	case !id.IsZero():
	case by.Key != "":
		id = keyed(reg.key(), by.Key)
	default:
		id, made = e.newID(), true
	}
	err = e.runs.do(ctx, id, &request{
		meta: machine.Meta{At: e.now(), Actor: by.Actor, Key: by.Key},
		cmd:  machine.Start{Namespace: r.Namespace, Version: reg.Version, Input: r.Input, Labels: r.Labels, Env: env, Budget: r.Budget, Metered: true, Breakpoints: e.breakpoints(wf, r.Breakpoints)},
		wf:   wf, first: made,
		view: func(s *run.State, w *workflow.Workflow) { view = e.viewOf(s, w) },
	})
	if err == nil {
		return view, true, nil
	}
	if !errors.Is(err, machine.ErrRefused) {
		return view, false, err
	}
	same, foreign := false, false
	if err := e.look(ctx, id, func(s *run.State, w *workflow.Workflow) {
		if foreign = s.Namespace != r.Namespace; foreign {
			return
		}
		view = e.viewOf(s, w)
		same = s.Workflow == reg.Name && s.Key == by.Key && (len(r.Input) == 0 || bytes.Equal(s.Input, r.Input)) && s.Parent == nil
	}); err != nil {
		return view, false, err
	}
	if foreign {
		return view, false, fmt.Errorf("%w: the ID %s is taken: leave it out, or make another", ErrExists, id)
	}
	if !same {
		return view, false, fmt.Errorf("%w: %s is a run of %s with other input or another key", ErrExists, id, view.Workflow)
	}
	return view, false, nil
}

// breakpoints returns those that a run of wf is started with: what was asked for,
// and those of the engine that wf has.
func (e *Engine) breakpoints(wf *workflow.Workflow, asked []string) []string {
	all := slices.Clone(asked)
	for _, spec := range e.opt.Breakpoints {
		if _, err := wf.Breakpoint(spec); err == nil && !slices.Contains(all, spec) {
			all = append(all, spec)
		}
	}
	return all
}

// keyed names a run after an idempotency key, so that the same key finds the same
// run, whatever crashed in between.
func keyed(workflow, key string) eventlog.RunID {
	h := sha256.Sum256(fmt.Appendf(nil, "start\x00%s\x00%s", workflow, key))
	var id eventlog.RunID
	copy(id[:], h[:])
	id[0] |= 1 // never a system stream
	return id
}

// env reads the environment variables that a definition names.
func (e *Engine) env(wf *workflow.Workflow) (map[string]string, error) {
	if len(wf.EnvRefs) == 0 {
		return nil, nil
	}
	env := map[string]string{}
	for _, name := range wf.EnvRefs {
		v, allowed := e.opt.Env(name)
		if !allowed {
			return nil, fmt.Errorf("%w: workflow %s reads env.%s, which is not allowed: start with --allow-env %s", machine.ErrInvalid, wf.Name, name, name)
		}
		env[name] = v
	}
	return env, nil
}

// Do gives a command to a run and returns the run as it stands after it.
func (e *Engine) Do(ctx context.Context, id eventlog.RunID, c machine.Command, by By) (Run, error) {
	var view Run
	err := e.runs.do(ctx, id, &request{
		meta: machine.Meta{At: e.now(), Actor: by.Actor, Key: by.Key},
		cmd:  c,
		view: func(s *run.State, w *workflow.Workflow) { view = e.viewOf(s, w) },
	})
	return view, err
}

// RestoreTo takes a run back to a checkpoint: a version, or the name of one; none
// of both is the newest named one, or else the last completed node.
func (e *Engine) RestoreTo(ctx context.Context, id eventlog.RunID, to eventlog.Version, name string, pause bool, by By) (Run, error) {
	if to == 0 {
		list, err := projection.Checkpoints(e.log, id, 0)
		if err != nil {
			return Run{}, err
		}
		for _, c := range list {
			if name == "" || c.Name == name {
				to, name = c.At, c.Name
				break
			}
		}
		if to == 0 && name != "" {
			return Run{}, fmt.Errorf("%w: run %s has no checkpoint %q", ErrNotFound, id, name)
		}
		if to == 0 {
			return Run{}, fmt.Errorf("%w: run %s has no checkpoint yet", ErrNotFound, id)
		}
	}
	return e.Do(ctx, id, machine.Restore{To: to, Name: name, Pause: pause}, by)
}

// ForkRequest asks for a run that begins where another stood.
type ForkRequest struct {
	At       eventlog.Version
	Workflow string // "" = the definition of the other run
	Version  int    // of Workflow; 0 = the newest
	Input    event.Value
	Set      map[string]event.Value
	Labels   map[string]string
	Pause    bool
	// Breakpoints are where the fork is paused; those of the run are not taken over.
	Breakpoints []string
}

// ForkRun starts a run where run id stood after version r.At, and returns it once
// it is on disk. The other run is not touched.
func (e *Engine) ForkRun(ctx context.Context, id eventlog.RunID, r ForkRequest, by By) (Run, error) {
	erased, n := false, event.Namespace("")
	if err := e.look(ctx, id, func(s *run.State, _ *workflow.Workflow) { erased, n = s.Erased, s.Namespace }); err != nil {
		return Run{}, err
	}
	if erased {
		return Run{}, fmt.Errorf("%w: what run %s did was erased: there is nothing to go on from", machine.ErrRefused, id)
	}
	wf, version, err := e.forkDefinition(ctx, id, n, r)
	if err != nil {
		return Run{}, err
	}
	env, err := e.env(wf)
	if err != nil {
		return Run{}, err
	}
	fork := e.newID()
	if by.Key != "" {
		fork = keyed("fork of "+id.String(), by.Key)
	}
	var view Run
	err = e.runs.do(ctx, fork, &request{
		meta: machine.Meta{At: e.now(), Actor: by.Actor, Key: by.Key},
		cmd: machine.Fork{
			From: id, At: r.At, Version: version, Input: r.Input, Set: r.Set, Labels: r.Labels, Env: env, Pause: r.Pause,
			Breakpoints: r.Breakpoints, Metered: true,
		},
		wf:   wf,
		view: func(s *run.State, w *workflow.Workflow) { view = e.viewOf(s, w) },
	})
	if by.Key != "" && errors.Is(err, machine.ErrRefused) {
		if there, lookErr := e.Run(ctx, fork); lookErr == nil {
			return there, nil // repeated with its key
		}
	}
	return view, err
}

// forkDefinition returns the definition that a fork of a run of namespace n begins with.
func (e *Engine) forkDefinition(ctx context.Context, id eventlog.RunID, n event.Namespace, r ForkRequest) (wf *workflow.Workflow, version int, err error) {
	if r.Workflow == "" {
		err = e.look(ctx, id, func(s *run.State, w *workflow.Workflow) { wf, version = w, s.WFVer })
	} else {
		var reg Registered
		reg, wf, err = e.defs.find(ctx, n, r.Workflow, r.Version)
		version = reg.Version
	}
	if err != nil {
		return nil, 0, err
	}
	return wf, version, nil
}

func (e *Engine) newID() eventlog.RunID {
	return eventlog.RunID(ulid.MustNew(ulid.Timestamp(e.opt.Now()), ulid.DefaultEntropy()))
}
