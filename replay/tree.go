package replay

import (
	"iter"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// tree yields the events of a run and of all runs under it, in the order of the
// log.
func tree(log eventlog.Log, id eventlog.RunID) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		known := map[eventlog.RunID]bool{id: true}
		streams := []*stream{{log: log, run: id}}
		for {
			var next *stream
			for _, s := range streams {
				e, ok, err := s.peek()
				if err != nil {
					yield(entry{}, err)
					return
				}
				if ok && (next == nil || e.Seq < next.page[0].Seq) {
					next = s
				}
			}
			if next == nil {
				return
			}
			e := next.page[0]
			next.page = next.page[1:]
			p, err := payload(e)
			if err != nil && !e.Erased {
				yield(entry{}, err)
				return
			}
			if c, ok := p.(*event.ChildStarted); ok && !known[c.Child] {
				known[c.Child] = true
				streams = append(streams, &stream{log: log, run: c.Child})
			}
			if !yield(entry{e, p}, nil) {
				return
			}
		}
	}
}

// stream reads the events of one run.
type stream struct {
	log   eventlog.Log
	run   eventlog.RunID
	page  []eventlog.Event
	after eventlog.Version
	ended bool
}

// peek returns the next event, which is then first in page.
func (s *stream) peek() (eventlog.Event, bool, error) {
	if len(s.page) == 0 && !s.ended {
		var err error
		if s.page, err = s.log.ReadRun(s.run, s.after, page); err != nil {
			return eventlog.Event{}, false, err
		}
		if s.ended = len(s.page) == 0; !s.ended {
			s.after = s.page[len(s.page)-1].Version
		}
	}
	if len(s.page) == 0 {
		return eventlog.Event{}, false, nil
	}
	return s.page[0], true, nil
}

// Tree returns a run and the runs under it as they stood after an event of the
// log, the run first, then the others in the order they began; those that began
// later are left out. Seq 0 is the newest.
func Tree(log eventlog.Log, id eventlog.RunID, seq eventlog.Seq) ([]*run.State, error) {
	at := Position{Seq: seq}
	s, err := State(log, id, at)
	if err != nil {
		return nil, err
	}
	states := []*run.State{s}
	known := map[eventlog.RunID]bool{id: true}
	for e, err := range tree(log, id) {
		if err != nil {
			return nil, err
		}
		if seq != 0 && e.Seq > seq {
			break
		}
		if known[e.Run] {
			continue
		}
		known[e.Run] = true
		child, err := State(log, e.Run, at)
		if err != nil {
			return nil, err
		}
		states = append(states, child)
	}
	return states, nil
}
