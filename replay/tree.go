package replay

import (
	"container/heap"
	"iter"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// tree yields the events of a run and of all runs under it, in the order of the
// log, up to its present head.
func tree(log eventlog.Log, id eventlog.RunID) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		w := newWeave(log, id)
		for {
			e, ok, err := w.next()
			if !ok && err == nil || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// A weave merges the events of a run and of all runs under it, in the order of the
// log. It ends at the log's head as it was when it began, so that no run is read
// further than another, and can go on from there.
type weave struct {
	log   eventlog.Log
	upTo  eventlog.Seq
	known map[eventlog.RunID]bool
	ready streams   // with an event up to upTo, the first of the log on top
	rest  []*stream // the others
}

func newWeave(log eventlog.Log, id eventlog.RunID) *weave {
	w := &weave{log: log, known: map[eventlog.RunID]bool{id: true}, rest: []*stream{{log: log, run: id}}}
	w.extend()
	return w
}

// extend goes on to the log's present head.
func (w *weave) extend() {
	if head := w.log.Head(); head > w.upTo {
		w.upTo = head
		for _, s := range w.rest {
			s.ended = false
		}
	}
}

// settle puts each stream where it belongs.
func (w *weave) settle() error {
	rest := w.rest
	w.rest = nil
	for _, s := range rest {
		e, ok, err := s.peek()
		if err != nil {
			return err
		}
		if ok && e.Seq <= w.upTo {
			heap.Push(&w.ready, s)
		} else {
			w.rest = append(w.rest, s)
		}
	}
	return nil
}

// peek returns the seq of the next event, 0 if there is none.
func (w *weave) peek() (eventlog.Seq, error) {
	if err := w.settle(); err != nil || len(w.ready) == 0 {
		return 0, err
	}
	return w.ready[0].page[0].Seq, nil
}

// next returns the next event; ok is false if there is none.
func (w *weave) next() (_ entry, ok bool, err error) {
	if seq, err := w.peek(); err != nil || seq == 0 {
		return entry{}, false, err
	}
	s := heap.Pop(&w.ready).(*stream)
	w.rest = append(w.rest, s)
	e := s.page[0]
	s.page = s.page[1:]
	p, err := payload(e)
	if err != nil && !e.Erased {
		return entry{}, false, err
	}
	if c, ok := p.(*event.ChildStarted); ok && !w.known[c.Child] {
		w.known[c.Child] = true
		w.rest = append(w.rest, &stream{log: w.log, run: c.Child})
	}
	return entry{e, p}, true, nil
}

// streams is a heap by the seq of the next event.
type streams []*stream

func (h streams) Len() int           { return len(h) }
func (h streams) Less(i, j int) bool { return h[i].page[0].Seq < h[j].page[0].Seq }
func (h streams) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *streams) Push(x any)        { *h = append(*h, x.(*stream)) }
func (h *streams) Pop() any {
	old := *h
	s := old[len(old)-1]
	*h = old[:len(old)-1]
	return s
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
