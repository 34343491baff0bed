package replay

import (
	"errors"
	"fmt"
	"sync"

	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// DefinitionOf returns the hash of the definition that a run began with, "" if that
// was erased.
func DefinitionOf(log eventlog.Log, id eventlog.RunID) (hash string, err error) {
	first, err := log.ReadRun(id, 0, 1)
	if err != nil || len(first) == 0 {
		return "", err
	}
	p, err := payload(first[0])
	if errors.Is(err, ErrErased) {
		return "", nil
	}
	hash, _ = definitionOf(p)
	return hash, err
}

// ErrNoDefinition: no definition with this hash is known, or its text was erased.
var ErrNoDefinition = errors.New("the definition is gone")

// Definitions finds the definition that a run keeps. ByHash may be called
// concurrently; a hash that is not known is ErrNoDefinition.
type Definitions interface {
	ByHash(hash string) (*workflow.Workflow, error)
}

// Registered returns the definitions that were registered in a log.
func Registered(log eventlog.Log) Definitions {
	return &registered{log: log, text: map[string]string{}, compiled: map[string]*workflow.Workflow{}}
}

type registered struct {
	log eventlog.Log

	mu       sync.Mutex
	read     eventlog.Version  // of the stream of definitions, as far as it is in text
	text     map[string]string // by hash
	compiled map[string]*workflow.Workflow
}

// ByHash implements Definitions.
func (r *registered) ByHash(hash string) (*workflow.Workflow, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if wf := r.compiled[hash]; wf != nil {
		return wf, nil
	}
	if _, ok := r.text[hash]; !ok {
		if err := r.catchUp(); err != nil {
			return nil, err
		}
	}
	text, ok := r.text[hash]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoDefinition, hash)
	}
	wf, problems := workflow.Load(hash+".json", []byte(text))
	if wf == nil {
		return nil, fmt.Errorf("%w: %s no longer compiles: %w", ErrNoDefinition, hash, problems)
	}
	if wf.Hash.String() != hash {
		return nil, fmt.Errorf("%w: the text registered as %s has hash %s", ErrNoDefinition, hash, wf.Hash)
	}
	r.compiled[hash] = wf
	return wf, nil
}

// catchUp reads what was registered since it was last called.
func (r *registered) catchUp() error {
	for {
		events, err := r.log.ReadRun(projection.Workflows, r.read, page)
		if err != nil || len(events) == 0 {
			return err
		}
		for _, e := range events {
			r.read = e.Version
			p, err := whole(e)
			if errors.Is(err, ErrErased) {
				continue
			}
			if err != nil {
				return err
			}
			if p, ok := p.(*event.DefinitionRegistered); ok {
				r.text[p.Hash] = p.Definition
			}
		}
	}
}
