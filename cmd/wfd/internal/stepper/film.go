// Package stepper steps through what a run did, in a terminal: its events, its
// graph and its state after each of them, forwards and backwards.
//
// A [Film] holds the frames and the state at one of them; each frame says what was
// and what is, so that a step either way costs what it changed. [Run] shows it.
package stepper

import (
	"strings"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// Frame is one event and what it changed.
type Frame struct {
	Event   client.Event   `json:"event"`
	Changes replay.Changes `json:"changes"`
	// What says the event in one line.
	What string `json:"-"`
}

// Film is a run, and the runs under it, at one of its events.
type Film struct {
	Frames []Frame
	Graphs map[string]replay.Graph // by run
	at     int                     // frames below it have happened
	runs   map[string]*Shot
}

// Shot is one run as it stands.
type Shot struct {
	Status run.Status
	Nodes  map[string]run.NodeStatus
	Tokens map[string]int
	State  map[string]event.Value
}

// NewFilm returns a film that stands before its first frame.
func NewFilm(frames []Frame, graphs map[string]replay.Graph) *Film {
	return &Film{Frames: frames, Graphs: graphs, runs: map[string]*Shot{}}
}

// At returns how many frames have happened.
func (f *Film) At() int { return f.at }

// Current returns the frame that happened last, nil before the first.
func (f *Film) Current() *Frame {
	if f.at == 0 {
		return nil
	}
	return &f.Frames[f.at-1]
}

// Shot returns a run as it stands.
func (f *Film) Shot(id string) *Shot {
	s := f.runs[id]
	if s == nil {
		s = &Shot{Status: run.Pending, Nodes: map[string]run.NodeStatus{}, Tokens: map[string]int{}, State: map[string]event.Value{}}
		f.runs[id] = s
	}
	return s
}

// Seek goes to where n frames have happened, at most as far as there are frames.
func (f *Film) Seek(n int) {
	n = max(0, min(n, len(f.Frames)))
	for ; f.at < n; f.at++ {
		f.Shot(f.Frames[f.at].Event.Run).step(&f.Frames[f.at].Changes, true)
	}
	for ; f.at > n; f.at-- {
		f.Shot(f.Frames[f.at-1].Event.Run).step(&f.Frames[f.at-1].Changes, false)
	}
}

// SeekSeq goes to where every event up to a seq has happened.
func (f *Film) SeekSeq(seq uint64) {
	n := 0
	for n < len(f.Frames) && f.Frames[n].Event.Seq <= seq {
		n++
	}
	f.Seek(n)
}

// step applies changes, or takes them back.
func (s *Shot) step(c *replay.Changes, forward bool) {
	if c.Status != nil {
		s.Status = pick(forward, c.Status.From, c.Status.To)
	}
	for id, n := range c.Nodes {
		put(s.Nodes, id, pick(forward, n.From, n.To), n.From == "" && !forward || n.To == "" && forward)
	}
	for id, n := range c.Tokens {
		v := pick(forward, n.From, n.To)
		put(s.Tokens, id, v, v == 0)
	}
	for k, n := range c.State {
		v := pick(forward, n.From, n.To)
		put(s.State, k, v, len(v) == 0)
	}
}

func pick[T any](forward bool, from, to T) T {
	if forward {
		return to
	}
	return from
}

func put[V any](m map[string]V, k string, v V, gone bool) {
	if gone {
		delete(m, k)
		return
	}
	m[k] = v
}

// Find goes to the next frame (by 1) or the one before (by -1) that contains a
// text, in its kind, its line or its data, in any letter case. It reports whether
// there is one; if not it stays.
func (f *Film) Find(text string, by int) bool {
	text = strings.ToLower(text)
	return f.find(by, func(fr *Frame) bool {
		return strings.Contains(strings.ToLower(fr.Event.Kind+" "+fr.What+" "+string(fr.Event.Data)), text)
	})
}

// FindNode goes to the next frame (by 1) or the one before (by -1) that changed a
// node whose name begins so.
func (f *Film) FindNode(node string, by int) bool {
	return f.find(by, func(fr *Frame) bool {
		for id := range fr.Changes.Nodes {
			if strings.HasPrefix(id, node) {
				return true
			}
		}
		return false
	})
}

func (f *Film) find(by int, match func(*Frame) bool) bool {
	for i := f.at - 1 + by; i >= 0 && i < len(f.Frames); i += by {
		if match(&f.Frames[i]) {
			f.Seek(i + 1)
			return true
		}
	}
	return false
}
