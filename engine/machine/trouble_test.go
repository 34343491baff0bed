package machine

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A trial drives a wide program through whatever can happen to a run.
type trial struct {
	*history
	*program
	rng      *rand.Rand
	restores int // still to come
	failures int // that nobody handles, still to come
	kept     map[eventlog.Version][]byte
}

// deal gives one command that the outside world owes the run. It reports false if
// there is none but time.
func (r *trial) deal() ([]Event, bool) {
	var open []Command
	for _, id := range r.s.LiveIDs() {
		if c := r.owed(r.s.Live[id]); c != nil {
			open = append(open, c)
		}
	}
	for _, h := range r.s.Holds { // a call whose visit was given up
		if v := r.s.Live[h.Node]; v == nil || v.Visit != h.Visit || v.Attempt != h.Attempt || v.Status != run.NodeRunning {
			open = append(open, Settle{Call: h.CallID, Usage: &event.Usage{InputTokens: 10, Price: unit}})
		}
	}
	if len(open) == 0 {
		return nil, false
	}
	return r.do(open[r.rng.IntN(len(open))]), true
}

// owed returns what a visit waits for from outside, nil if nothing.
func (r *trial) owed(v *run.Visit) Command {
	of := v.Node
	if v.Item > 0 {
		of = v.Of
	}
	bad := r.fails[of]
	if !bad && r.failures > 0 && r.rng.IntN(12) == 0 {
		bad = true
		r.failures--
	}
	failure := &event.Failure{Class: event.ClassAuth, Message: "test"}
	value := event.MustValue(map[string]any{"v": r.value(of, r.s.Nodes[of].Counted), "text": "for a chat", "tasks": someTasks})
	var usage *event.Usage
	if r.rng.IntN(4) > 0 {
		usage = &event.Usage{InputTokens: 10, OutputTokens: int64(r.rng.IntN(6)), Price: unit}
	}
	switch {
	case v.Ordered && bad:
		return ChildEnded{Node: v.Node, Visit: v.Visit, Child: v.Child, Status: run.Failed, Failure: failure}
	case v.Ordered:
		return ChildEnded{Node: v.Node, Visit: v.Visit, Child: v.Child, Status: run.Completed, Output: value}
	case v.Status == run.NodeRunning && v.Each == nil && bad:
		return Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Failure: failure}
	case v.Status == run.NodeRunning && v.Each == nil && !NodeOf(r.wf, v).Runs:
		return nil // a child run that ended during a pause
	case v.Status == run.NodeRunning && v.Each == nil && v.Tried < 3 && r.rng.IntN(8) == 0:
		return Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Failure: &event.Failure{Class: event.ClassTimeout, Message: "test"}}
	case v.Status == run.NodeRunning && v.Each == nil:
		return Result{Node: v.Node, Visit: v.Visit, Attempt: v.Attempt, Value: value, Usage: usage}
	case v.Signal != "" && len(r.s.Signals[v.Signal]) == 0:
		return Signal{Name: v.Signal, Value: value}
	case v.Asked && v.Status == run.NodeWaiting && len(v.Result) == 0:
		return Answer{Node: v.Node, Value: value}
	}
	return nil
}

// disturb gives a command that must not change what is done in the end. It
// returns nil if it gave none.
func (r *trial) disturb() []Event {
	switch k := r.rng.IntN(14); {
	case k == 0:
		return r.do(Recover{Reason: "test"})
	case k == 1 && (r.s.Status == run.Running || r.s.Status == run.Waiting):
		return r.do(Pause{})
	case k == 2:
		s, err := fold(r.events) // a restart
		if err != nil {
			r.t.Fatal(err)
		}
		r.s = s
		r.s.Past = r.past
	case k == 3:
		r.kept[r.s.Version] = snapshot(r.t, r.s)
	case k == 4 && r.restores > 0 && len(r.events) > 3:
		return r.restore()
	}
	return nil
}

// restore goes back to any position from which a run can go on.
func (r *trial) restore() []Event {
	to := eventlog.Version(1 + r.rng.IntN(len(r.events)-1))
	past, err := r.past(to)
	if err != nil {
		r.t.Fatal(err)
	}
	if past.Status.Terminal() {
		return nil
	}
	r.restores--
	return r.do(Restore{To: to, Pause: r.rng.IntN(3) == 0})
}

// breakpoints returns some that the program has, for half of the runs none.
func (r *trial) breakpoints() []string {
	var all []string
	for r.rng.IntN(2) == 0 {
		n, e := r.wf.Nodes[r.rng.IntN(len(r.wf.Nodes))], r.wf.Edges[r.rng.IntN(len(r.wf.Edges))]
		all = append(all, []string{
			"node=" + n.ID, "node=" + n.ID + "#2", "edge=" + r.wf.Nodes[e.From].ID + "->" + r.wf.Nodes[e.To].ID, "if=size(state.seen) > 2",
		}[r.rng.IntN(4)])
	}
	return all
}

// resume lets the run go on, now and then with other breakpoints.
func (r *trial) resume() []Event {
	c := Resume{}
	if r.rng.IntN(5) == 0 {
		c.Rebreak, c.Breakpoints = true, r.breakpoints()
	}
	return r.do(c)
}

// retry tries again what failed, or goes on from just before some visit.
func (r *trial) retry() []Event {
	var visits []Retry
	for _, e := range r.events {
		if p, err := event.Decode(e.Kind, e.Payload); err == nil {
			if p, ok := p.(*event.NodeScheduled); ok && !strings.Contains(p.Node, "[") {
				visits = append(visits, Retry{Node: p.Node, Visit: p.Visit, To: e.Version - 1})
			}
		}
	}
	if r.restores == 0 || r.rng.IntN(2) == 0 {
		return r.do(Retry{})
	}
	r.restores--
	return r.do(visits[r.rng.IntN(len(visits))])
}

// drive goes on until the run has ended and nothing more is to happen to it.
func (r *trial) drive(seed uint64, source string) {
	start := Start{Breakpoints: r.breakpoints()}
	if seed%2 == 1 {
		start.Metered, start.Budget = true, event.MustValue(map[string]any{"tokens": 20 + r.rng.IntN(60)})
	}
	last := r.do(start)
	for steps := 0; ; steps++ {
		if steps > 20000 {
			r.t.Fatalf("seed %d: no end\n%s", seed, source)
		}
		r.checkPrefixes(last)
		if steps%9 == 0 {
			r.checkFold()
		}
		switch r.s.Status {
		case run.Completed:
			if r.restores == 0 || r.rng.IntN(2) == 0 {
				return
			}
			last = r.restore()
			continue
		case run.Failed:
			last = r.retry()
			continue
		case run.Paused:
			if r.s.Over != nil {
				more := r.s.Taken().Tokens + int64(15+r.rng.IntN(60))
				last = r.do(Raise{Tokens: &more})
				continue
			}
			if r.rng.IntN(3) > 0 {
				last = r.resume()
				continue
			}
		}
		if last = r.disturb(); last != nil {
			continue
		}
		var dealt bool
		if last, dealt = r.deal(); dealt {
			continue
		}
		if r.s.Status == run.Paused {
			last = r.do(Resume{})
			continue
		}
		at, ok := Due(r.s)
		if !ok {
			r.t.Fatalf("seed %d: the run stands still, %s\n%s\n%s", seed, r.s.Status, dump(r.s), source)
		}
		r.at = max(at, r.at)
		last = r.do(Wake{})
	}
}

// Programs of every kind of node complete in the end, whatever fails for good and
// is retried, is lost, paused, timed out or restored to any earlier position; the
// state then holds what the slow twin says, each visit has completed once, and the
// history folds to the same bytes every time.
func TestRandomTrouble(t *testing.T) {
	n := uint64(45)
	if s := os.Getenv("WFD_TROUBLE"); s != "" {
		n, _ = strconv.ParseUint(s, 10, 64)
	}
	if testing.Short() {
		n = 27
	}
	kinds := map[eventlog.Kind]int{}
	for seed := range n {
		p := &program{rng: rand.New(rand.NewPCG(seed, 3)), wide: true, joins: int(seed % 3)}
		_, source, visits := p.build(1 + int(seed/3%3))
		if seed%2 == 1 {
			source = strings.ReplaceAll(source, execSpec, "agent: x")
		}
		r := &trial{history: newHistory(t, source), program: p, rng: rand.New(rand.NewPCG(seed, 4)), restores: int(seed / 9 % 4), kept: map[eventlog.Version][]byte{}}
		r.meter = &tab{}
		if p.joins > 0 {
			r.failures = int(seed / 5 % 4)
		}
		r.drive(seed, source)
		r.check(seed, source, visits)
		for _, e := range r.events {
			kinds[e.Kind]++
		}
	}
	for _, k := range []eventlog.Kind{
		event.KindRunRestored, event.KindRunResumed, event.KindRunFailed, event.KindNodeSkipped, event.KindNodeLost, event.KindNodeRetried,
		event.KindTimerFired, event.KindSignalReceived, event.KindInputReceived, event.KindChildEnded,
		event.KindCostReserved, event.KindCostSettled, event.KindBudgetExceeded, event.KindBudgetRaised,
	} {
		if kinds[k] < 3 {
			t.Errorf("only %d events %s in %d runs: the trials are too tame", kinds[k], event.KindName(k), n)
		}
	}
}

// check looks at a history once the run has completed.
func (r *trial) check(seed uint64, source string, visits map[string]int) {
	r.t.Helper()
	r.checkFold()
	r.checkCompleted()
	for range 2 {
		s, err := fold(r.events)
		if err != nil {
			r.t.Fatal(err)
		}
		if !bytes.Equal(snapshot(r.t, s), snapshot(r.t, r.s)) {
			r.t.Fatalf("seed %d: the history folds to another state", seed)
		}
	}
	for v, want := range r.kept {
		s, err := fold(r.events[:v])
		if err != nil {
			r.t.Fatal(err)
		}
		if !bytes.Equal(snapshot(r.t, s), want) {
			r.t.Fatalf("seed %d: version %d folds to another state than it was\n%s", seed, v, source)
		}
	}
	if r.loose {
		return
	}
	var want []string
	for _, id := range r.keys {
		for range visits[id] {
			want = append(want, id)
		}
	}
	var got []string
	if v, ok := r.s.Vars["seen"]; ok {
		list, _ := v.Any()
		for _, id := range list.([]any) {
			got = append(got, id.(string))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		r.t.Fatalf("seed %d: state.seen is\n%v, want\n%v\n%s", seed, got, want, source)
	}
}
