package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// Registered is a version of a workflow's name in a namespace.
type Registered struct {
	Namespace event.Namespace `json:"namespace,omitempty" doc:"absent: the default one"`
	Name      string          `json:"name"`
	Version   int             `json:"version"`
	Hash      string          `json:"hash"`
}

// key is the name among those of all namespaces.
func (r Registered) key() string {
	if r.Namespace == "" {
		return r.Name
	}
	return string(r.Namespace) + "\x00" + r.Name // which no name has
}

// maxCompiled bounds the compiled definitions kept in memory.
const maxCompiled = 256

// definitions registers workflows and finds them again.
type definitions struct {
	log   eventlog.Log
	views *projection.Views

	register sync.Mutex // one registration at a time: versions of a name are dense

	mu         sync.Mutex
	compiled   map[string]*workflow.Workflow // by hash
	named      map[asked]Registered          // answers given; empty after a registration
	generation int                           // registrations so far
}

// asked is how somebody named a workflow.
type asked struct {
	namespace event.Namespace
	name      string
	version   int
}

func newDefinitions(log eventlog.Log, views *projection.Views) *definitions {
	return &definitions{log: log, views: views, compiled: map[string]*workflow.Workflow{}, named: map[asked]Registered{}}
}

// Register is RegisterIn the default namespace.
func (e *Engine) Register(ctx context.Context, wf *workflow.Workflow, source, actor string) (Registered, error) {
	return e.RegisterIn(ctx, "", wf, source, actor)
}

// RegisterIn gives a definition the next version of its name in a namespace. One that
// is the newest version already keeps it.
func (e *Engine) RegisterIn(ctx context.Context, n event.Namespace, wf *workflow.Workflow, source, actor string) (Registered, error) {
	if err := e.accepting(false); err != nil {
		return Registered{}, err
	}
	reg, err := e.defs.add(ctx, n, wf, source, actor, e.now())
	return reg, e.stored(err)
}

func (d *definitions) add(ctx context.Context, n event.Namespace, wf *workflow.Workflow, source, actor string, at event.Time) (Registered, error) {
	d.register.Lock()
	defer d.register.Unlock()
	reg := Registered{Namespace: n, Name: wf.Name, Version: 1, Hash: wf.Hash.String()}
	old, err := d.exactly(ctx, n, wf.Name)
	switch {
	case err == nil && old.Hash == reg.Hash:
		reg.Version = old.Version
		return reg, nil
	case err == nil:
		reg.Version = old.Version + 1
	case !errors.Is(err, projection.ErrNotFound):
		return reg, err
	}
	text, err := wf.Def.MarshalJSON()
	if err != nil {
		return reg, err
	}
	p := &event.DefinitionRegistered{Name: reg.Name, Version: reg.Version, Hash: reg.Hash, Definition: string(text), Source: source, Namespace: n}
	if source == p.Definition {
		p.Source = ""
	}
	_, err = appendFact(ctx, d.log, projection.Workflows, p, actor, at)
	if err == nil {
		d.keep(wf)
		d.mu.Lock()
		clear(d.named)
		d.generation++
		d.mu.Unlock()
	}
	return reg, err
}

// exactly returns the newest version of a name, letter for letter.
func (d *definitions) exactly(ctx context.Context, n event.Namespace, name string) (projection.Definition, error) {
	def, err := d.views.Definition(ctx, n, name, 0)
	if (err == nil && def.Name != name) || errors.Is(err, projection.ErrAmbiguous) {
		err = projection.ErrNotFound // there are others like it; to the letter it would have been found
	}
	return def, err
}

// find returns a version of a workflow of a namespace by name; version 0 is the newest.
func (d *definitions) find(ctx context.Context, n event.Namespace, name string, version int) (Registered, *workflow.Workflow, error) {
	key := asked{n, name, version}
	d.mu.Lock()
	reg, ok := d.named[key]
	wf, generation := d.compiled[reg.Hash], d.generation
	d.mu.Unlock()
	if ok && wf != nil {
		return reg, wf, nil
	}
	def, err := d.views.Definition(ctx, n, name, version)
	if err != nil {
		if errors.Is(err, projection.ErrNotFound) {
			err = fmt.Errorf("%w: workflow %q; see the list of workflows", ErrNotFound, name)
		}
		return Registered{}, nil, err
	}
	if wf, err = d.compile(def); err != nil {
		return Registered{}, nil, err
	}
	reg = Registered{Namespace: n, Name: def.Name, Version: def.Version, Hash: def.Hash}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.named) >= maxCompiled {
		clear(d.named)
	}
	if d.generation == generation { // else a newer version may have come meanwhile
		d.named[key] = reg
	}
	return reg, wf, nil
}

// byHash returns a definition by its hash.
func (d *definitions) byHash(hash string) (*workflow.Workflow, error) {
	d.mu.Lock()
	wf := d.compiled[hash]
	d.mu.Unlock()
	if wf != nil {
		return wf, nil
	}
	def, err := d.views.DefinitionByHash(context.Background(), hash)
	if err != nil {
		return nil, err
	}
	return d.compile(def)
}

func (d *definitions) compile(def projection.Definition) (*workflow.Workflow, error) {
	d.mu.Lock()
	wf := d.compiled[def.Hash]
	d.mu.Unlock()
	if wf != nil {
		return wf, nil
	}
	wf, problems := workflow.Load(def.Name+".json", []byte(def.JSON))
	if wf == nil {
		return nil, fmt.Errorf("workflow %s, version %d, no longer compiles: %w", def.Name, def.Version, problems)
	}
	if wf.Hash.String() != def.Hash {
		return nil, fmt.Errorf("workflow %s, version %d: its text has hash %s, registered was %s", def.Name, def.Version, wf.Hash, def.Hash)
	}
	d.keep(wf)
	return wf, nil
}

// forget drops what is in memory: a text may have been erased.
func (d *definitions) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.compiled)
	clear(d.named)
	d.generation++
}

func (d *definitions) keep(wf *workflow.Workflow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.compiled) >= maxCompiled {
		clear(d.compiled) // rare, and what is in use comes back at the next look
	}
	d.compiled[wf.Hash.String()] = wf
}
