package replay

import (
	"bytes"
	"maps"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Frame is one event and what it changed in its run.
type Frame struct {
	Event   event.View `json:"event"`
	Changes Changes    `json:"changes"`
}

// Changes are what one event changed. Each says what was and what is, so that a
// reader can go forwards and backwards.
type Changes struct {
	Status *StatusChange          `json:"status,omitempty"` // of the run
	Nodes  map[string]NodeChange  `json:"nodes,omitempty"`
	State  map[string]ValueChange `json:"state,omitempty"`
	Tokens map[string]TokenChange `json:"tokens,omitempty"` // that wait, by node
}

// StatusChange is the change of a run's status.
type StatusChange struct {
	From run.Status `json:"from"`
	To   run.Status `json:"to"`
}

// NodeChange is the change of a node's status; "" is a node that was not come to.
type NodeChange struct {
	From  run.NodeStatus `json:"from"`
	To    run.NodeStatus `json:"to"`
	Visit int            `json:"visit"` // the latest, from here on
	// Completed is how many visits have completed, from here on.
	Completed int `json:"completed"`
}

// ValueChange is the change of a key of the state; one that is absent was not set.
type ValueChange struct {
	From event.Value `json:"from,omitempty"`
	To   event.Value `json:"to,omitempty"`
}

// TokenChange is the change of how many tokens wait at a node.
type TokenChange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Frames returns up to limit frames of a run and the runs under it after an event
// of the log, in the log's order. What can be folded no further, because a
// payload was erased, has no changes.
func Frames(log eventlog.Log, id eventlog.RunID, after eventlog.Seq, limit int) ([]Frame, error) {
	r := NewReel(log, id)
	if err := r.Skip(after); err != nil {
		return nil, err
	}
	frames, _, err := r.Frames(limit)
	return frames, err
}

// A Reel gives the frames of a run, and of the runs under it, part by part: each
// event is read and folded once. It is not safe for concurrent use.
type Reel struct {
	log   eventlog.Log
	weave *weave
	folds map[eventlog.RunID]*folding
}

// NewReel returns a reel before the run's first event.
func NewReel(log eventlog.Log, id eventlog.RunID) *Reel {
	return &Reel{log: log, weave: newWeave(log, id), folds: map[eventlog.RunID]*folding{}}
}

// Runs is how many runs the reel holds the states of.
func (r *Reel) Runs() int { return len(r.folds) }

func (r *Reel) foldOf(e entry) *folding {
	f := r.folds[e.Run]
	if f == nil {
		f = &folding{s: newState(r.log, e.Run)}
		r.folds[e.Run] = f
	}
	return f
}

// Skip goes on to behind an event of the log.
func (r *Reel) Skip(after eventlog.Seq) error {
	for {
		seq, err := r.weave.peek()
		if err != nil || seq == 0 || seq > after {
			return err
		}
		e, _, err := r.weave.next()
		if err == nil {
			err = r.foldOf(e).apply(e)
		}
		if err != nil {
			return err
		}
	}
}

// Frames returns the next frames, at most limit, and the seq of the one after
// them, 0 if the log has none yet.
func (r *Reel) Frames(limit int) (frames []Frame, next eventlog.Seq, err error) {
	r.weave.extend()
	for len(frames) < limit {
		e, ok, err := r.weave.next()
		if err != nil || !ok {
			return frames, 0, err
		}
		changes, err := r.foldOf(e).changes(e)
		if err != nil {
			return nil, 0, err
		}
		v, err := event.ViewOf(e.Event)
		if err != nil {
			return nil, 0, err
		}
		frames = append(frames, Frame{Event: v, Changes: changes})
	}
	next, err = r.weave.peek()
	return frames, next, err
}

// folding is the fold of one run.
type folding struct {
	s      *run.State
	broken bool // by an event that was erased
}

func (f *folding) apply(e entry) error {
	if f.broken = f.broken || e.p == nil; f.broken {
		return nil
	}
	return f.s.ApplyPayload(e.Event, e.p)
}

// changes applies an event and returns what that changed.
func (f *folding) changes(e entry) (Changes, error) {
	before := glimpse(f.s, e.p)
	if err := f.apply(e); err != nil || f.broken {
		return Changes{}, err
	}
	after := glimpse(f.s, e.p)
	var c Changes
	if before.status != after.status {
		c.Status = &StatusChange{before.status, after.status}
	}
	for _, id := range sortedKeys(before.nodes, after.nodes) {
		a, b := before.nodes[id], after.nodes[id]
		if a != b {
			set(&c.Nodes, id, NodeChange{a.status, b.status, b.visit, b.completed})
		}
	}
	for _, k := range sortedKeys(before.vars, after.vars) {
		if a, b := before.vars[k], after.vars[k]; !bytes.Equal(a, b) {
			set(&c.State, k, ValueChange{a, b})
		}
	}
	for _, id := range sortedKeys(before.tokens, after.tokens) {
		if a, b := before.tokens[id], after.tokens[id]; a != b {
			set(&c.Tokens, id, TokenChange{a, b})
		}
	}
	return c, nil
}

func set[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// glance is what a frame compares of a state.
type glance struct {
	status run.Status
	nodes  map[string]nodeGlance
	vars   map[string]event.Value
	tokens map[string]int
}

type nodeGlance struct {
	status    run.NodeStatus
	visit     int
	completed int
}

// glimpse looks at what an event may change: one node and one key, or everything.
func glimpse(s *run.State, p event.Payload) glance {
	g := glance{status: s.Status, nodes: map[string]nodeGlance{}, tokens: map[string]int{}}
	node := func(id string) {
		if n := s.Nodes[id]; n != nil {
			g.nodes[id] = nodeGlance{n.Status, n.Visits, n.Completed}
		}
	}
	for _, t := range s.Tokens {
		g.tokens[t.To]++
	}
	if set, ok := p.(*event.StateSet); ok {
		if v, ok := s.Vars[set.Key]; ok {
			g.vars = map[string]event.Value{set.Key: v}
		}
		return g
	}
	if k, ok := visitKey(p); ok {
		node(k.Node)
		return g
	}
	for id := range s.Nodes {
		node(id)
	}
	g.vars = maps.Clone(s.Vars)
	return g
}
