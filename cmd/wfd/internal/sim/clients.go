package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// clients are those who give commands. Each has a key, and is repeated until it is
// answered: what is answered is written down.
type clients struct {
	number int
	flying []*order // not answered yet
	acked  map[string]eventlog.RunID
}

// order is a command that a client wants done.
type order struct {
	key string
	run eventlog.RunID
	cmd machine.Command
	wf  *workflow.Workflow
	at  *engine // the process that has it; nil: none
}

// maxLive is how many runs are under way before no more are started.
const maxLive = 40

const insistAgain = 50 * time.Millisecond

// act gives some command, again and again.
func (w *world) act() {
	if w.calm {
		return
	}
	w.after(time.Duration(w.rng.IntN(3000))*time.Millisecond, w.act)
	if w.live == 0 || w.live < maxLive && w.rng.IntN(3) == 0 {
		w.startRun()
		return
	}
	id := w.ids[len(w.ids)-1-w.rng.IntN(min(len(w.ids), 2*maxLive))]
	switch n := w.rng.IntN(100); {
	case n < 25:
		w.give(id, machine.Signal{Name: "go", Value: w.values[1]})
	case n < 45:
		w.give(id, machine.Answer{Value: w.values[w.rng.IntN(len(w.values))]})
	case n < 52:
		w.give(id, machine.Answer{Value: verdicts[w.rng.IntN(len(verdicts))]})
	case n < 60:
		w.raise()
	case n < 65:
		w.give(id, machine.Pause{Reason: "somebody wants it"})
	case n < 80:
		w.give(id, machine.Resume{Reason: "somebody wants it"})
	case n < 85:
		w.give(id, machine.Cancel{Reason: "somebody wants it"})
	case n < 92:
		w.give(id, machine.Retry{Reason: "somebody wants it"})
	case n < 96:
		w.give(id, machine.Checkpoint{Name: "here"})
	default:
		if v := w.rows[id].Version; v > 1 {
			w.give(id, machine.Restore{To: 1 + eventlog.Version(w.rng.IntN(int(v)))})
		}
	}
}

func (w *world) startRun() {
	wf := w.defs.list[w.rng.IntN(len(w.defs.list))]
	if child(wf) {
		return
	}
	var id eventlog.RunID
	binary.BigEndian.PutUint64(id[:8], w.rng.Uint64()|1<<63)
	binary.BigEndian.PutUint64(id[8:], w.rng.Uint64())
	w.order(&order{run: id, wf: wf, cmd: machine.Start{Version: 1, Input: one, Metered: true}})
}

// one is the input of all runs; verdicts are what is said of results that are held.
var (
	one      = event.MustValue(map[string]any{"n": 1})
	verdicts = []event.Value{
		event.MustValue(map[string]any{"approved": true}), event.MustValue(map[string]any{"approved": false, "reason": "no"}),
		event.MustValue(true),
	}
)

func (w *world) give(id eventlog.RunID, c machine.Command) { w.order(&order{run: id, cmd: c}) }

func (w *world) order(o *order) {
	w.clients.number++
	o.key = fmt.Sprintf("k%d", w.clients.number)
	w.clients.flying = append(w.clients.flying, o)
	w.send(o)
}

// send gives an order to the process that is there, or tries again later.
func (w *world) send(o *order) {
	e := w.engine
	if e == nil || e.failed {
		w.again(o)
		return
	}
	o.at = e
	e.enqueue(o.run, &request{
		meta: machine.Meta{At: w.now(), Actor: "client", Key: o.key}, cmd: o.cmd, wf: o.wf,
		answered: func(err error) {
			o.at = nil
			switch {
			case err == nil && w.troubled(30): // the answer is lost on the way
				w.again(o)
			case err == nil:
				w.acked = max(w.acked, w.log.Head())
				w.clients.acked[o.key] = o.run
				w.count.Acks++
				w.landed(o)
			case refusal(err), errors.Is(err, errNotFound):
				w.landed(o)
			default:
				w.again(o)
			}
		},
	})
}

func (w *world) again(o *order) {
	w.after(time.Duration(10+w.rng.IntN(500))*time.Millisecond, func() { w.send(o) })
}

func (w *world) landed(o *order) {
	if i := slices.Index(w.clients.flying, o); i >= 0 {
		w.clients.flying = slices.Delete(w.clients.flying, i, i+1)
	}
}

// unanswered has clients try again whose process is gone.
func (w *world) unanswered() {
	for _, o := range w.clients.flying {
		if o.at != nil {
			o.at = nil
			w.again(o)
		}
	}
}

// help answers, signals and resumes all that waits for a person.
func (w *world) help() {
	for _, id := range w.ids {
		switch row := w.rows[id]; row.Status {
		case run.Paused:
			if row.Over != (event.BudgetID{}) {
				w.afford(row.Over)
			}
			if row.Parent == nil || row.Reason != reasonPaused {
				w.give(id, machine.Resume{Reason: "the end"})
			}
		case run.Waiting, run.Running:
			w.give(id, machine.Signal{Name: "go", Value: w.values[1]})
			w.answer(id)
		}
	}
}

// answer answers all that a run asks.
func (w *world) answer(id eventlog.RunID) {
	if w.engine == nil || w.engine.failed {
		return
	}
	w.engine.look(id, func(s *run.State) {
		if s == nil {
			return
		}
		for _, node := range s.LiveIDs() {
			v := s.Live[node]
			switch {
			case !v.Asks():
			case v.Held != nil:
				w.give(id, machine.Answer{Node: node, Value: verdicts[0]})
			default:
				w.give(id, machine.Answer{Node: node, Value: w.values[2]})
			}
		}
	})
}
