package crash

import (
	"fmt"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
)

// history is what the audit keeps of a run.
type history struct {
	keys      map[string]int // idempotency key → events that carry it
	version   eventlog.Version
	completed map[string]bool // node and visit
	stopped   map[string]bool // at a breakpoint, before a node and visit or an edge of it
	wrong     []error
	ended     bool
}

// read reads every run of the log.
func read(log eventlog.Log) (map[string]*history, error) {
	all := map[string]*history{}
	var seq eventlog.Seq
	for {
		page, err := log.ReadFrom(seq, 1000)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return all, nil
		}
		for _, e := range page {
			if e.Seq != seq+1 {
				return nil, fmt.Errorf("seq %d follows %d", e.Seq, seq)
			}
			seq = e.Seq
			if e.Run.IsSystem() {
				continue
			}
			h := all[e.Run.String()]
			if h == nil {
				h = &history{keys: map[string]int{}, completed: map[string]bool{}, stopped: map[string]bool{}}
				all[e.Run.String()] = h
			}
			p, err := event.Decode(e.Kind, e.Payload)
			if err != nil {
				return nil, err
			}
			h.add(e, p)
		}
	}
}

func (h *history) add(e eventlog.Event, p event.Payload) {
	bad := func(format string, args ...any) {
		h.wrong = append(h.wrong, fmt.Errorf("version %d: %s", e.Version, fmt.Sprintf(format, args...)))
	}
	if e.Version != h.version+1 {
		bad("follows version %d", h.version)
	}
	h.version = e.Version
	if h.ended && e.Kind != event.KindResultIgnored {
		bad("%s after the end of the run", event.KindName(e.Kind))
	}
	visit := func(node string, n int) string { return fmt.Sprintf("%s#%d", node, n) }
	switch p := p.(type) {
	case *event.RunCreated:
		h.keys[p.Key]++
	case *event.SignalReceived:
		h.keys[p.Key]++
	case *event.InputReceived:
		h.keys[p.Key]++
	case *event.RunResumed:
		h.keys[p.Key]++
	case *event.RunPaused:
		place := visit(p.Node, p.Visit) + " " + p.To
		if p.Breakpoint != "" && h.stopped[place] {
			bad("stopped twice before %s", place)
		}
		h.stopped[place] = true
	case *event.NodeStarted:
		if h.completed[visit(p.Node, p.Visit)] {
			bad("%s is done again after it completed", visit(p.Node, p.Visit))
		}
	case *event.NodeCompleted:
		if h.completed[visit(p.Node, p.Visit)] {
			bad("%s completed twice", visit(p.Node, p.Visit))
		}
		h.completed[visit(p.Node, p.Visit)] = true
	case *event.RunCompleted, *event.RunFailed, *event.RunCancelled:
		h.ended = true
	}
}
