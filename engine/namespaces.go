package engine

import (
	"fmt"
	"sync"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// maxNamespaces is how many runs' namespaces are remembered.
const maxNamespaces = 1 << 16

// namespaces remembers of runs where they belong, which never changes.
type namespaces struct {
	mu sync.Mutex
	of map[eventlog.RunID]event.Namespace
}

// NamespaceOf returns the namespace of a run, as its first event says; ErrNotFound if
// there is no such run.
func (e *Engine) NamespaceOf(id eventlog.RunID) (event.Namespace, error) {
	c := &e.namespaces
	c.mu.Lock()
	n, ok := c.of[id]
	c.mu.Unlock()
	if ok {
		return n, nil
	}
	first, err := e.log.ReadRun(id, 0, 1)
	if err == nil && (len(first) == 0 || id.IsSystem()) {
		err = fmt.Errorf("%w: run %s", ErrNotFound, id)
	}
	if err != nil {
		return "", err
	}
	if len(first[0].Payload) > 0 { // or all of it was erased, and nobody's words are left
		p, err := event.Decode(first[0].Kind, first[0].Payload)
		if err != nil {
			return "", fmt.Errorf("run %s: %w", id, err)
		}
		switch p := p.(type) {
		case *event.RunCreated:
			n = p.Namespace
		case *event.RunForked:
			n = p.Namespace
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxNamespaces {
		c.of = map[eventlog.RunID]event.Namespace{}
	}
	c.of[id] = n
	return n, nil
}
