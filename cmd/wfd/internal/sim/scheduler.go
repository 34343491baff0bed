package sim

import (
	"slices"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// attempt names one visit of a run's node; at most one attempt of it counts.
type attempt struct {
	run   eventlog.RunID
	node  string
	visit int
}

// job is an attempt that is ready or under way.
type job struct {
	attempt
	number int
	kind   workflow.Kind
	agent  string
	spends bool // it may use a model
	calls  bool // it does
	begun  bool
	gone   bool
}

// places is how many attempts are under way at once, sweepEvery how soon work is
// found whose doorbell was lost.
const (
	places     = 16
	sweepEvery = time.Second
)

// add makes an attempt ready and rings.
func (e *engine) add(l *loaded, v *run.Visit) {
	n := machine.NodeOf(l.wf, v)
	j := &job{attempt: attempt{l.id, v.Node, v.Visit}, number: v.Attempt, kind: n.Kind, spends: machine.Spends(n), calls: machine.CallsModel(n)}
	if v.Agent != nil {
		j.agent = v.Agent.Agent
	}
	e.jobs[j.attempt] = j
	e.ready = append(e.ready, j)
	e.after(sweepEvery, e.sweep)
	if e.w.troubled(40) {
		e.w.count.LostBells++
		return
	}
	e.bell()
}

func (e *engine) bell() {
	if !e.sweeping {
		e.sweeping = true
		e.step(e.sweep)
	}
}

// sweep starts what is ready, as far as there are places.
func (e *engine) sweep() {
	e.sweeping = false
	for len(e.under) < places && len(e.ready) > 0 && !e.failed {
		j := e.ready[0]
		e.ready = e.ready[1:]
		if j.gone {
			continue
		}
		e.under = append(e.under, j)
		j.begun = true
		e.work(j, 1)
	}
}

// maxTurns is how many calls an attempt makes at most.
const maxTurns = 4

// work is an attempt under way: now and then it has a further call reserved before it
// ends.
func (e *engine) work(j *job, turn int) {
	e.after(e.duration(), func() {
		if j.calls && !j.gone && turn < maxTurns && e.w.rng.IntN(3) == 0 {
			e.turn(j, turn, func() { e.work(j, turn+1) })
			return
		}
		e.ends(j)
	})
}

// duration is how long an attempt takes.
func (e *engine) duration() time.Duration {
	if e.w.rng.IntN(30) == 0 {
		return time.Duration(e.w.rng.IntN(600)) * time.Second
	}
	return time.Duration(1+e.w.rng.IntN(2000)) * time.Millisecond
}

// ends hands in the result of an attempt, and keeps it until it is on disk.
func (e *engine) ends(j *job) {
	e.under = slices.DeleteFunc(e.under, func(o *job) bool { return o == j })
	e.bell()
	if j.gone && e.w.rng.IntN(3) > 0 { // cancelled, and it noticed
		if j.spends {
			id := event.CallID{Node: j.node, Visit: j.visit, Attempt: j.number}
			e.insist(j.run, "runner", machine.Settle{Call: id, Usage: e.usage(j)}, func() {})
		}
		return
	}
	r := e.result(j)
	var cmd machine.Command = r
	if j.kind == workflow.Agent && r.Failure == nil && e.w.rng.IntN(10) == 0 {
		cmd = machine.Hold{Result: r, Rule: "look", Message: "somebody has to look at it"}
	}
	e.handing[j.attempt]++
	e.insist(j.run, "runner", cmd, func() {
		e.handing[j.attempt]--
		if e.jobs[j.attempt] == j {
			delete(e.jobs, j.attempt)
		}
	})
	if e.w.troubled(40) { // whoever did it did not hear the answer, and says it again
		e.w.count.Doubled++
		r.Fenced = e.w.rng.IntN(2) == 0
		e.after(e.duration(), func() { e.insist(j.run, "runner", r, func() {}) })
	}
}

// result is what a runner returns, made up.
func (e *engine) result(j *job) machine.Result {
	r := machine.Result{Node: j.node, Visit: j.visit, Attempt: j.number, Usage: e.usage(j)}
	if e.w.troubled(12) {
		class := failures[e.w.rng.IntN(len(failures))]
		r.Failure = &event.Failure{Class: class, Message: "made up"}
		return r
	}
	n := e.w.rng.IntN(len(e.w.values))
	if r.Value = e.w.values[n]; j.kind == workflow.Chat {
		r.Value = message
	}
	return r
}

var failures = []string{event.ClassTimeout, event.ClassNetwork, event.ClassToolFailed, event.ClassRateLimit, event.ClassInternal}

// values are the results that runners return.
func values() (vs []event.Value) {
	for n := range 16 {
		items := make([]any, n%5)
		for i := range items {
			items[i] = i
		}
		vs = append(vs, event.MustValue(map[string]any{"n": n, "score": float64(n) / 16, "items": items, "approved": n%2 == 0}))
	}
	return vs
}

// message is what somebody says in a chat.
var message = event.MustValue(map[string]any{"message": "Tea?"})

// cancel gives up the attempt of a visit; an unknown one is none. It reports whether the
// attempt has begun: what it used until it ends is told.
func (e *engine) cancel(a attempt) bool {
	j := e.jobs[a]
	if j == nil {
		return false
	}
	j.gone = true
	delete(e.jobs, a)
	return j.begun
}

// has reports whether an attempt is ready or under way here.
func (e *engine) has(a attempt, number int) bool {
	j := e.jobs[a]
	return j != nil && j.number == number
}

// commit is the writer: it commits what has collected.
func (e *engine) commit() {
	e.committing = false
	if len(e.log.batch) == 0 {
		return
	}
	w, batch := e.w, e.log.take()
	b := e.log.begin(batch)
	first := eventlog.Seq(e.log.head + 1)
	err := error(nil)
	switch fault := w.fault(); fault {
	case full:
		e.log.undo()
		err = eventlog.ErrFull
	case killBefore:
		e.log.undo()
		w.crash()
		return
	case killWithin:
		w.disk.kill(b)
		w.crash()
		return
	case syncFails:
		w.disk.write(b)
		w.disk.syncFails()
		err = eventlog.ErrUnknown
		e.log.stopped, e.failed = true, true
		w.failed()
	default:
		w.disk.write(b)
		if fault == killWritten {
			w.crash()
			return
		}
		w.disk.sync()
		if fault == killSynced { // on disk, nobody told
			w.crash()
			return
		}
		w.digest.Write(b)
		w.count.Commits++
		w.count.Events += uint64(len(e.log.events) - e.log.head)
		defer w.quiet(e)
		e.log.publish()
	}
	if err != nil {
		batch = append(batch, e.log.take()...) // decided on what does not exist now
	}
	for _, p := range batch {
		p.done(first, err)
		first += eventlog.Seq(len(p.Records))
	}
}
