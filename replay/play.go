package replay

import (
	"errors"
	"slices"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// maxWakes bounds how often a run is woken that only its own clock moves.
const maxWakes = 10_000

// A player plays a recording through a definition. Nothing is executed: results,
// answers and signals come from the recording, at the time they came; time that
// only the new definition waits for passes at once.
type player struct {
	w     *workflow.Workflow
	rec   *recording
	s     *run.State
	held  []fact // whose node has not come yet
	route route
	// Where the recording goes back to a position: the events that were decided, the
	// names of those recorded, and the versions of those decided by their names.
	keep   bool
	events []eventlog.Event
	namer  namer
	names  []string
	named  map[string]eventlog.Version
	told   map[event.CallID]int // what budgets said of calls, so far
	lost   string               // why the recording cannot be followed further, "" if it can
	last   event.Time
}

// play plays a recording to its end, or as far as it reaches. An error that is a
// refusal says that the run could not even have begun.
func play(w *workflow.Workflow, rec *recording) (*player, error) {
	p := &player{w: w, rec: rec, s: run.New(rec.s.Run), route: newRoute(), told: map[event.CallID]int{}}
	p.s.Past, p.s.Other = p.past, rec.s.Other
	if p.keep = slices.ContainsFunc(rec.facts, func(f fact) bool { return goesBack(f.cmd) }); p.keep {
		var err error
		if p.names, err = rec.names(); err != nil {
			return p, err
		}
		p.namer, p.named = namer{}, map[string]eventlog.Version{}
	}
	for i, f := range rec.facts {
		if i == 0 {
			if err := p.decide(f.meta, f.cmd); err != nil {
				return p, err
			}
			continue
		}
		if err := p.pass(f.meta.At); err != nil {
			return p, err
		}
		if p.lost != "" || p.s.Status.Terminal() && !revives(f.cmd) && !f.late {
			continue
		}
		if err := p.take(f); err != nil {
			return p, err
		}
	}
	return p, p.drain()
}

// revives reports whether a command is for a run that has ended.
func revives(c machine.Command) bool {
	switch c.(type) {
	case machine.Retry, machine.Restore, machine.Cancel, machine.Settle, machine.Raise:
		return true
	}
	return false
}

func (p *player) past(v eventlog.Version) (*run.State, error) {
	s := run.New(p.s.Run)
	s.Past, s.Other = p.past, p.s.Other
	for _, e := range p.events[:v] {
		if err := s.Apply(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// decide gives the run a command and notes where it goes.
func (p *player) decide(m machine.Meta, c machine.Command) error {
	at := p.s.Version
	m.Choose, m.Meter = p.rec.choose, playedMeter{p, m.At}
	decided, err := machine.Decide(p.w, p.s, m, p.known(c))
	if err != nil {
		return err
	}
	p.last = max(p.last, p.s.Time)
	for i, d := range decided {
		p.route.note(d.Payload)
		if p.keep {
			p.events = append(p.events, asEvent(d, p.s.Run, at+eventlog.Version(i+1)))
			p.named[p.namer.name(d.Payload)] = at + eventlog.Version(i+1)
		}
	}
	if machine.Cut(decided) {
		return p.decide(m, machine.Continue{})
	}
	if stop := p.s.Break; stop != nil && !p.rec.stops[*stop] {
		return p.decide(m, machine.Resume{}) // nobody looked at the run there
	}
	return nil
}

// known returns a command without the breakpoints that the definition has no place
// for: where a run was looked at does not change where it goes.
func (p *player) known(c machine.Command) machine.Command {
	unknown := func(spec string) bool {
		_, err := p.w.Breakpoint(spec)
		return err != nil
	}
	switch c := c.(type) {
	case machine.Start:
		c.Breakpoints = slices.DeleteFunc(slices.Clone(c.Breakpoints), unknown)
		return c
	case machine.Fork:
		c.Breakpoints = slices.DeleteFunc(slices.Clone(c.Breakpoints), unknown)
		return c
	case machine.Resume:
		c.Breakpoints = slices.DeleteFunc(slices.Clone(c.Breakpoints), unknown)
		return c
	}
	return c
}

// take gives the run a fact, or holds it until its node has come.
func (p *player) take(f fact) error {
	ok, err := p.give(f)
	if err != nil {
		return err
	}
	if !ok {
		p.held = append(p.held, f)
		return nil
	}
	return p.release()
}

// release gives the run what was held, as far as its nodes have come.
func (p *player) release() error {
	for i := 0; i < len(p.held); i++ {
		ok, err := p.give(p.held[i])
		if err != nil {
			return err
		}
		if ok {
			p.held = slices.Delete(p.held, i, i+1)
			i = -1
		}
	}
	return nil
}

// give gives the run a fact if it is ready for it. What the run refuses is dropped:
// nobody waits for it there.
func (p *player) give(f fact) (bool, error) {
	switch c := f.cmd.(type) {
	case machine.Result:
		if f.late {
			if v := p.s.Live[c.Node]; v != nil && v.Visit == c.Visit && v.Attempt == c.Attempt {
				return true, nil // here it counts, and what it was is not known
			}
			break
		}
		if v := p.s.Live[c.Node]; v == nil || v.Visit != c.Visit || v.Status != run.NodeRunning || v.Attempt != c.Attempt {
			return false, nil
		}
	case machine.Hold:
		if v := p.s.Live[c.Result.Node]; v == nil || v.Visit != c.Result.Visit || v.Status != run.NodeRunning || v.Attempt != c.Result.Attempt {
			return false, nil
		}
	case machine.Note:
		if v := p.s.Live[c.Call.Node]; v == nil || v.Visit != c.Call.Visit || v.Status != run.NodeRunning || v.Attempt != c.Call.Attempt {
			return false, nil
		}
	case machine.Reserve:
		if v := p.s.Live[c.Need.Node]; v == nil || v.Visit != c.Need.Visit || v.Status != run.NodeRunning || v.Attempt != c.Need.Attempt {
			return false, nil
		}
	case machine.Settle:
		v := p.s.Live[c.Call.Node]
		if p.s.Hold(c.Call) == nil || v != nil && v.Visit == c.Call.Visit && v.Attempt == c.Call.Attempt && v.Status == run.NodeRunning {
			return false, nil
		}
	case machine.Answer:
		if v := p.s.Live[c.Node]; v == nil || v.Visit != c.Visit || !v.Asks() {
			return false, nil
		}
	case machine.ChildEnded:
		v := p.s.Live[c.Node]
		if v == nil || v.Visit != c.Visit || !v.Ordered {
			return false, nil
		}
		c.Child = v.Child
		f.cmd = c
	}
	if !goesBack(f.cmd) {
		err := p.decide(f.meta, f.cmd)
		if c, ok := f.cmd.(machine.Resume); ok && len(c.Set) > 0 && errors.Is(err, machine.ErrInvalid) {
			p.lost, err = "it was resumed with state that is refused here: "+err.Error(), nil
		}
		if refused(err) {
			err = nil
		}
		return true, err
	}
	cmd, ok := p.translated(f.cmd)
	if !ok || p.departed() {
		p.lost = "the run went back later, to a position that is another one here"
		return true, nil
	}
	err := p.decide(f.meta, cmd)
	if refused(err) {
		p.lost, err = "the run went back later, which is refused here: "+err.Error(), nil
	}
	return true, err
}

func refused(err error) bool {
	return errors.Is(err, machine.ErrRefused) || errors.Is(err, machine.ErrInvalid) || errors.Is(err, machine.ErrNotFound)
}

// pass lets the time pass to which only this definition has set the run's clock.
func (p *player) pass(until event.Time) error {
	for range maxWakes {
		at, ok := p.foreign()
		if !ok || at >= until {
			return nil
		}
		if err := p.decide(machine.Meta{At: at, Actor: "system"}, machine.Wake{}); err != nil {
			return err
		}
		if err := p.release(); err != nil {
			return err
		}
	}
	return nil
}

// foreign returns when something is due next that was not in the recording.
func (p *player) foreign() (at event.Time, ok bool) {
	if p.s.Status.Terminal() || p.s.Status == run.Paused {
		return 0, false
	}
	see := func(t event.Time) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	for _, t := range p.s.Timers {
		if !p.rec.timers[t] {
			see(t.At)
		}
	}
	for _, v := range p.s.Live {
		if v.Status == run.NodeScheduled && v.RetryAt != 0 && p.rec.retries[attemptKey{VisitKey{v.Node, v.Visit}, v.Attempt + 1}] != v.RetryAt {
			see(v.RetryAt)
		}
	}
	return at, ok
}

// drain goes on after the last fact, as far as the run's own clock carries it. A
// recording that has not ended stops where it stands.
func (p *player) drain() error {
	for range maxWakes {
		if p.lost != "" || p.s.Status.Terminal() || len(p.missing()) > 0 {
			return nil
		}
		at, ok := machine.Due(p.s)
		if !p.rec.s.Status.Terminal() {
			at, ok = p.foreign()
			ok = ok && at <= p.rec.s.Time
		}
		if !ok {
			return nil
		}
		if err := p.decide(machine.Meta{At: at, Actor: "system"}, machine.Wake{}); err != nil {
			return err
		}
		if err := p.release(); err != nil {
			return err
		}
	}
	return nil
}

// missing returns the visits that wait for something from outside which the
// recording does not have, in order of their names. What the recorded run was
// itself still waiting for is not missing.
func (p *player) missing() []*run.Visit {
	var vs []*run.Visit
	for _, id := range p.s.LiveIDs() {
		v := p.s.Live[id]
		waits := v.Status == run.NodeRunning && v.Each == nil || v.Asks()
		if !waits {
			continue
		}
		if r := p.rec.s.Live[id]; r != nil && r.Visit == v.Visit && r.Status == v.Status {
			continue
		}
		vs = append(vs, v)
	}
	return vs
}

// departed reports whether the run has gone elsewhere.
func (p *player) departed() bool {
	_, found := departure(p)
	return found
}
