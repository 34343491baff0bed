package sim

import (
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/invariant"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
	"github.com/wfd-dev/wfd/replay"
)

// world is one data directory with all who have to do with it.
type world struct {
	rng    *rand.Rand
	defs   *definitions
	values []event.Value
	digest hash.Hash // of all commits
	count  *Counts
	calm   bool // no faults any more
	wrong  error

	// Time: what timers of processes sleep by, and how far the clock on the wall is off.
	mono   time.Duration
	skew   time.Duration
	steps  []func() // that could be next
	agenda agenda
	number int // of things put on the agenda

	disk    *disk
	engine  *engine // nil: no process is there
	log     *log    // of the last process
	clients clients

	// What the log has said so far, and what was made of it.
	seen      int // events
	acked     eventlog.Seq
	histories map[eventlog.RunID]*invariant.History
	rows      map[eventlog.RunID]*projection.Row
	ids       []eventlog.RunID // of the rows, in the order of their first events
	live      int
	costs     invariant.Costs
	plant     Plant
}

// epoch is when every world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(seed, number uint64, defs *definitions, digest hash.Hash, count *Counts, o Options) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, number)), defs: defs, values: values(), digest: digest, count: count,
		histories: map[eventlog.RunID]*invariant.History{}, rows: map[eventlog.RunID]*projection.Row{},
		plant: o.Plant,
	}
	w.disk = &disk{rng: w.rng, lies: o.Lie}
	w.clients.acked = map[string]eventlog.RunID{}
	w.start()
	for _, id := range shared {
		w.setShared(id, event.Limits{Tokens: share, Micros: share})
	}
	w.act()
	return w
}

func (w *world) now() event.Time { return event.At(epoch.Add(w.mono + w.skew)) }

func (w *world) step(do func()) { w.steps = append(w.steps, do) }

func (w *world) after(d time.Duration, do func()) {
	w.number++
	heap.Push(&w.agenda, due{w.mono + d, w.number, do})
}

// broken ends the simulation: a rule does not hold.
func (w *world) broken(err error) {
	if w.wrong == nil {
		w.wrong = err
	}
}

// troubled says yes once in n times while there are faults.
func (w *world) troubled(n int) bool { return !w.calm && w.rng.IntN(n) == 0 }

// tick lets one thing happen.
func (w *world) tick() {
	w.count.Ticks++
	switch {
	case w.troubled(2000):
		w.crash()
	case w.troubled(8000):
		w.setClock()
	case w.troubled(1000):
		w.evict()
	case len(w.steps) > 0 && w.rng.IntN(8) > 0:
		i := w.rng.IntN(len(w.steps))
		do := w.steps[i]
		last := len(w.steps) - 1
		w.steps[i], w.steps[last] = w.steps[last], nil
		w.steps = w.steps[:last]
		do()
	case len(w.agenda) > 0:
		d := heap.Pop(&w.agenda).(due)
		w.mono = d.at
		d.do()
	}
}

// play lets so many ticks happen, then ends all faults and lets every run come to
// its end.
func (w *world) play(ticks uint64) error {
	for range ticks {
		if w.tick(); w.wrong != nil {
			return w.wrong
		}
	}
	w.calm = true
	for n := 0; w.live > 0 || len(w.clients.flying) > 0 || w.engine == nil || w.engine.failed || n < settling && len(w.costs.Held) > 0; n++ {
		if n == maxFinish {
			return w.stuck()
		}
		// More help than is taken would keep all ticks for itself.
		if n%64 == 0 && len(w.clients.flying) < maxHelp {
			w.help()
		}
		if w.tick(); w.wrong != nil {
			return w.wrong
		}
	}
	return w.finish()
}

// maxFinish is how many ticks the runs of a world have to come to their end once
// there are no faults any more.
const maxFinish = 400_000

// settling is how many ticks calls of runs that have ended have to tell what they used.
const settling = 40_000

// maxHelp is how many orders may be unanswered for further ones to be given then.
const maxHelp = 100

// stuck names a run that does not end.
func (w *world) stuck() error {
	for _, id := range w.ids {
		if row := w.rows[id]; !row.Status.Terminal() {
			s, err := run.Fold(w.log, id, run.Newest)
			if err != nil {
				return err
			}
			var live []string
			for _, n := range s.LiveIDs() {
				live = append(live, fmt.Sprintf("%s is %s", n, s.Live[n].Status))
			}
			at, due := machine.Due(s)
			return fmt.Errorf("run %s of %s is lost: it is %s (%s) and nothing moves it: %v; due %v at %s, it is %s, reason %q",
				id, s.Workflow, s.Status, row.Reason, live, due, at.Std(), w.now().Std(), s.Reason)
		}
	}
	return fmt.Errorf("%d commands are not answered", len(w.clients.flying))
}

// What may happen to a commit.
const (
	fine = iota
	full
	killBefore
	killWithin
	killWritten
	killSynced
	syncFails
)

func (w *world) fault() int {
	if w.calm {
		return fine
	}
	switch n := w.rng.IntN(4000); {
	case n < 20:
		w.count.Full++
		return full
	case n < 28:
		return killBefore + n%4
	case n < 32:
		w.count.Unknown++
		return syncFails
	}
	return fine
}

// failed: the process has stopped by itself, and will end.
func (w *world) failed() {
	e := w.engine
	w.after(5*time.Second, func() {
		if w.engine == e {
			w.crash()
		}
	})
}

// crash ends the process, and sometimes the machine.
func (w *world) crash() {
	if w.engine == nil {
		return
	}
	w.count.Kills++
	late := w.engine
	w.engine = nil
	if w.troubled(3) {
		w.count.Cuts++
		w.disk.cut()
	}
	w.after(time.Duration(1+w.rng.IntN(3000))*time.Millisecond, func() { w.start() })
	w.unanswered()
	if w.troubled(2) {
		w.late(late)
	}
}

// late lets results of a former process come to the next.
func (w *world) late(e *engine) {
	for _, j := range e.under[:min(len(e.under), 3)] {
		r := e.result(j)
		r.Fenced = w.rng.IntN(2) == 0
		w.after(time.Duration(1+w.rng.IntN(20))*time.Second, func() {
			if w.engine != nil && !w.engine.failed {
				w.count.Late++
				w.engine.insist(j.run, "late", r, func() {})
			}
		})
	}
}

// start begins a process on what the one before has left.
func (w *world) start() {
	w.disk.sync() // what is read from here on is on the disk: see eventlog.Open
	w.disk.reread()
	l, err := openLog(w.disk, w.log)
	if err != nil {
		w.broken(err)
		return
	}
	w.log = l
	if l.Head() < w.acked {
		w.broken(fmt.Errorf("acknowledged and lost: the log ends at %d, and %d was acknowledged", l.Head(), w.acked))
		return
	}
	if l.head < w.seen {
		w.broken(fmt.Errorf("read and lost: the log ends at %d, and %d was read", l.head, w.seen))
		return
	}
	for _, ev := range l.events[w.seen:] {
		p, err := event.Decode(ev.Kind, ev.Payload)
		if err != nil {
			w.broken(err)
			return
		}
		w.feed(ev, p)
	}
	w.costs.Quiet()
	if w.troubled(6) {
		w.rebuild()
	}
	w.engine = w.newEngine(l)
	w.engine.recover()
}

// stored takes note of what a run has appended.
func (w *world) stored(l *loaded, first eventlog.Seq, events []machine.Event) {
	for i := range events {
		w.feed(w.log.events[int(first)-1+i], events[i].Payload)
	}
}

// feed holds an event against the rules and makes it part of its run's row.
func (w *world) feed(ev eventlog.Event, p event.Payload) {
	w.seen = max(w.seen, int(ev.Seq))
	w.spent(ev, p)
	if ev.Run.IsSystem() {
		return
	}
	h, row := w.histories[ev.Run], w.rows[ev.Run]
	if h == nil {
		h, row = &invariant.History{}, &projection.Row{}
		w.histories[ev.Run], w.rows[ev.Run] = h, row
		w.ids = append(w.ids, ev.Run)
		w.live++
		w.count.Runs++
	}
	before := row.Status.Terminal()
	h.AddPayload(ev, p)
	if err := row.Apply(ev); err != nil {
		w.broken(fmt.Errorf("run %s: its row: %w", ev.Run, err))
	}
	if len(h.Wrong) > 0 {
		w.broken(fmt.Errorf("run %s of %s: %w", ev.Run, row.Workflow, errors.Join(h.Wrong...)))
	}
	switch after := row.Status.Terminal(); {
	case after && !before:
		w.live--
	case before && !after:
		w.live++
	}
}

// spent holds an event against the rules of budgets.
func (w *world) spent(ev eventlog.Event, p event.Payload) {
	w.costs.AddPayload(ev, p)
	if len(w.costs.Wrong) > 0 {
		w.broken(fmt.Errorf("run %s: %w", ev.Run, errors.Join(w.costs.Wrong...)))
	}
	switch p := p.(type) {
	case *event.CostReserved:
		w.count.Calls++
	case *event.BudgetExceeded:
		w.count.Exceeded++
	case *event.CostSettled:
		if p.Lost && !p.Reserved.IsZero() {
			w.count.Lost++
		}
		if p.Charged().Tokens > p.Reserved.Tokens && p.Reserved.Tokens > 0 {
			w.count.Beyond++
		}
	case *event.SecurityGranted, *event.SecurityDenied:
		w.count.Reviews++
	}
}

// quiet: all that is on disk was told to those who wait for it.
func (w *world) quiet(e *engine) {
	w.costs.Quiet()
	if w.engine == e && w.rng.IntN(32) == 0 {
		e.ledger.check()
	}
}

// rebuild throws the views away and folds them anew: they must come out as they were.
func (w *world) rebuild() {
	rows := make(map[eventlog.RunID]*projection.Row, len(w.rows))
	var costs invariant.Costs
	for _, ev := range w.log.events[:w.log.head] {
		if err := costs.Add(ev); err != nil {
			w.broken(err)
			return
		}
		if ev.Run.IsSystem() {
			continue
		}
		r := rows[ev.Run]
		if r == nil {
			r = &projection.Row{}
			rows[ev.Run] = r
		}
		if err := r.Apply(ev); err != nil {
			w.broken(err)
			return
		}
	}
	for _, id := range w.ids {
		if !reflect.DeepEqual(rows[id], w.rows[id]) {
			w.broken(fmt.Errorf("the row of run %s is %+v; from its events it is %+v", id, w.rows[id], rows[id]))
			return
		}
	}
	w.rows = rows
	if !reflect.DeepEqual(costs.Accounts, w.costs.Accounts) || !reflect.DeepEqual(costs.Runs, w.costs.Runs) || !reflect.DeepEqual(costs.Held, w.costs.Held) {
		w.broken(errors.New("what is spent and set aside is not that of the log's events"))
	}
}

// check holds a run in memory against its row and against what is under way.
func (w *world) check(l *loaded) {
	s, row, e := l.state, w.rows[l.id], w.engine
	if s == nil || row == nil {
		return
	}
	if s.Status != row.Status || s.Version != row.Version || s.Seq != row.Seq {
		w.broken(fmt.Errorf("run %s is %s at version %d, seq %d; its row %s at %d, %d", l.id, s.Status, s.Version, s.Seq, row.Status, row.Version, row.Seq))
	}
	if c := w.costs.Runs[l.id]; s.Spent != c.Spent || s.Reserved() != c.Held || s.Spent != row.Spent {
		w.broken(fmt.Errorf("run %s has spent %+v and set aside %+v; its row says %+v, the log %+v", l.id, s.Spent, s.Reserved(), row.Spent, c.Account))
	}
	if !s.Status.Terminal() && s.Seq > e.boot { // else it was not taken up yet
		for id, v := range s.Live {
			if n := machine.NodeOf(l.wf, v); v.Status != run.NodeRunning || !n.Runs || v.Each != nil {
				continue
			}
			if a := (attempt{l.id, id, v.Visit}); !e.has(a, v.Attempt) && e.handing[a] == 0 {
				w.broken(fmt.Errorf("run %s: attempt %d of visit %d of %s is under way, and nobody does it", l.id, v.Attempt, v.Visit, id))
			}
		}
	}
	if w.rng.IntN(16) == 0 {
		if wrong := s.Lawful(); len(wrong) > 0 {
			w.broken(fmt.Errorf("run %s: %v", l.id, wrong))
		}
	}
	if w.rng.IntN(128) == 0 {
		w.fold(s)
	}
}

// fold compares a state with the fold of its events.
func (w *world) fold(s *run.State) {
	again, err := run.Fold(w.log, s.Run, run.Newest)
	if err != nil {
		w.broken(err)
		return
	}
	a, err1 := s.Snapshot()
	b, err2 := again.Snapshot()
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
		w.broken(fmt.Errorf("run %s: its state at version %d is not the fold of its events: %v\n%+v\n%+v", s.Run, s.Version, err, s, again))
	}
	w.count.Folds++
}

// evict drops every run from memory that nobody owns.
func (w *world) evict() {
	if e := w.engine; e != nil {
		for _, l := range e.idle {
			if !l.owned && e.loaded[l.id] == l {
				delete(e.loaded, l.id)
			}
		}
		e.idle = nil
	}
}

// setClock sets the clock on the wall: back an hour, or forward a year.
func (w *world) setClock() {
	w.count.Jumps++
	if w.rng.IntN(4) == 0 {
		w.skew += 365 * 24 * time.Hour
		return
	}
	w.skew -= time.Hour
}

// finish holds everything against everything.
func (w *world) finish() error {
	w.rebuild()
	w.engine.ledger.check()
	if left := w.costs.Order(); len(left) > 0 {
		return fmt.Errorf("all runs have ended, and something is set aside for %d attempts; the first is %+v", len(left), left[0])
	}
	for key, id := range w.clients.acked {
		if h := w.histories[id]; h == nil || h.Keys[key] != 1 {
			return fmt.Errorf("run %s: its command with key %s was acknowledged, and is not in the log once", id, key)
		}
	}
	for _, id := range w.ids {
		s, err := run.Fold(w.log, id, run.Newest)
		if err != nil {
			return err
		}
		if wrong := s.Lawful(); len(wrong) > 0 {
			return fmt.Errorf("run %s: %v", id, wrong)
		}
		w.count.Ended++
		if w.rng.IntN(verifyOne) > 0 {
			continue
		}
		v, err := replay.Verify(w.log, w.defs, id)
		if err != nil || !v.OK {
			return fmt.Errorf("run %s is not decided again as it was: %+v %+v %w", id, v, v.Difference, err)
		}
		w.count.Verified++
	}
	return w.wrong
}

// verifyOne of so many runs is decided again.
const verifyOne = 6

// due is something on the agenda.
type due struct {
	at     time.Duration
	number int
	do     func()
}

type agenda []due

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].number < a[j].number
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(due)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = due{}
	*a = old[:len(old)-1]
	return x
}
