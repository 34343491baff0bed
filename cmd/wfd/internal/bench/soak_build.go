package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// Runs of a soak, named by what they are and a number. Those that have ended are runNo's.
func soakRun(what byte, i int) eventlog.RunID {
	id := eventlog.RunID{what}
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

const (
	waitingRun = 2
	longRun    = 3
	itemsRun   = 4
)

// soakSteps are the nodes of a run that has ended: 50 events, twelve of which are a
// checkpoint each.
const soakSteps = 12

// napSource waits with a timer, far enough away that it fires in no soak.
const napSource = "name: nap\nnodes: {w: {wait: {signal: go, timeout: 8760h}}}\n"

// longSource goes round until its run has the events, then waits. A round has five.
const longSource = `
name: long
entry: step
state: {n: {type: number, default: 0}}
nodes:
  step: {worker: {worker: noop}, max_visits: 1000000, set: {n: "${state.n + 1.0}"}}
  rest: {wait: {signal: go, timeout: 8760h}}
edges:
  - {from: step, to: step, if: "state.n < input.rounds"}
  - {from: step, to: rest, default: true}
`

const roundEvents = 5

const itemsSource = "name: items\nnodes: {each: {foreach: {items: \"${input.items}\", do: {worker: {worker: noop}}, max_parallel: 100}}}\n"

// builder builds a store. Runs that have ended and the long one are what an engine would
// have appended, event by event, but without one: all the rest an engine does.
type builder struct {
	built
	end      time.Time
	progress func(what string, done, all int)
	l        *life
}

func (b *builder) left() time.Duration { return max(time.Until(b.end), 0) }

// missed notes that less was built than was asked for.
func (b *builder) missed(what string, n *int, done int) {
	if done < *n {
		b.Notes = append(b.Notes, fmt.Sprintf("the time was enough for %d of %d %s", done, *n, what))
		*n = done
	}
}

func (b *builder) all(ctx context.Context, dir string) (err error) {
	if b.l, err = begin(ctx, dir, nil, noop, 0); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.l.end()) }()
	for _, source := range []string{chainOf(soakSteps), napSource, longSource, itemsSource, fanOf(b.Parallel)} {
		if err := b.l.register(ctx, source); err != nil {
			return err
		}
	}
	for _, part := range []func(context.Context) error{b.long, b.items, b.parallel, b.waiting, b.ended} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	b.progress("views", 0, 1)
	return b.l.views.Flush(ctx)
}

// decide has a run decide a command, and returns what is to be appended.
func decide(wf *workflow.Workflow, s *run.State, c machine.Command) ([]eventlog.Record, error) {
	events, err := machine.Decide(wf, s, machine.Meta{At: event.At(time.Now()), Actor: by.Actor}, c)
	records := make([]eventlog.Record, len(events))
	for i := range events {
		records[i] = events[i].Record
	}
	return records, err
}

// ended appends the runs that have ended, many at a time so that their events lie among
// one another. What one decides is what all of them would.
func (b *builder) ended(ctx context.Context) error {
	wf, problems := workflow.Load("bench.yaml", []byte(chainOf(soakSteps)))
	if wf == nil {
		return problems
	}
	value, err := event.ValueOf(result)
	if err != nil {
		return err
	}
	var appends [][]eventlog.Record
	s := run.New(runNo(0))
	var c machine.Command = machine.Start{Version: 1}
	for n := 0; !s.Status.Terminal(); n++ {
		records, err := decide(wf, s, c)
		if err != nil {
			return err
		}
		appends = append(appends, records)
		c = machine.Result{Node: fmt.Sprintf("n%d", n), Visit: 1, Attempt: 1, Value: value}
	}
	const writers = 1024
	done, err := drive(ctx, b.Runs, writers, b.left(), func(i int) error {
		var v eventlog.Version
		for n, records := range appends {
			now := time.Now().UnixNano()
			records = append([]eventlog.Record(nil), records...)
			for i := range records {
				records[i].Time = now
			}
			a := eventlog.Append{ID: eventlog.AppendID(i*len(appends) + n + 1), Run: runNo(i), Expect: v, Records: records}
			if _, err := b.l.log.Append(ctx, a); err != nil {
				return err
			}
			v += eventlog.Version(len(records))
		}
		if i%1000 == 0 {
			b.progress("runs", i, b.Runs)
		}
		return nil
	})
	b.missed("runs", &b.Runs, len(done))
	return err
}

// waiting starts the runs that wait.
func (b *builder) waiting(ctx context.Context) error {
	const clients = 512
	done, err := drive(ctx, b.Waiting, clients, b.left()/2, func(i int) error {
		if i%1000 == 0 {
			b.progress("waiting runs", i, b.Waiting)
		}
		_, _, err := b.l.e.StartRun(ctx, engine.StartRequest{Workflow: "nap", ID: soakRun(waitingRun, i)}, by)
		return err
	})
	b.missed("waiting runs", &b.Waiting, len(done))
	return err
}

// long appends the long run.
func (b *builder) long(ctx context.Context) error {
	wf, problems := workflow.Load("bench.yaml", []byte(longSource))
	if wf == nil {
		return problems
	}
	value, err := event.ValueOf(result)
	if err != nil {
		return err
	}
	input, err := event.ValueOf(map[string]any{"rounds": b.Events / roundEvents})
	if err != nil {
		return err
	}
	s := run.New(soakRun(longRun, 0))
	a := eventlog.Append{ID: 1, Run: s.Run}
	var c machine.Command = machine.Start{Version: 1, Input: input}
	for visit := 1; ; visit++ {
		records, err := decide(wf, s, c)
		if err != nil {
			return err
		}
		a.Records = append(a.Records, records...)
		rests := s.Status == run.Waiting
		if rests || len(a.Records) > 1000 {
			if _, err := b.l.log.Append(ctx, a); err != nil || rests {
				return err
			}
			a.ID, a.Expect, a.Records = a.ID+1, s.Version, nil
			b.progress("events of a run", int(s.Version), b.Events)
		}
		c = machine.Result{Node: "step", Visit: visit, Attempt: 1, Value: value}
	}
}

// items has a foreach go over its items.
func (b *builder) items(ctx context.Context) error {
	b.progress("items", 0, b.Items)
	list := make([]any, b.Items)
	for i := range list {
		list[i] = i
	}
	input, err := event.ValueOf(map[string]any{"items": list})
	if err != nil {
		return err
	}
	id := soakRun(itemsRun, 0)
	if _, _, err := b.l.e.StartRun(ctx, engine.StartRequest{Workflow: "items", ID: id, Input: input}, by); err != nil {
		return err
	}
	began := time.Now()
	limited, stop := context.WithTimeout(ctx, b.left()/4)
	defer stop()
	if _, err := b.l.ended(limited, id); limited.Err() == nil || ctx.Err() != nil {
		b.Notes = append(b.Notes, fmt.Sprintf("a foreach of %d items took %.1f s", b.Items, time.Since(began).Seconds()))
		return err
	}
	v, err := b.l.log.Version(id)
	if err != nil {
		return err
	}
	b.missed("items", &b.Items, int(v)/3)
	_, err = b.l.e.Do(ctx, id, machine.Cancel{Reason: "no more time"}, by)
	return err
}

// parallel has nodes run at once.
func (b *builder) parallel(ctx context.Context) error {
	began := time.Now()
	_, err := b.l.once(ctx, "fanout", eventlog.RunID{})
	b.Notes = append(b.Notes, fmt.Sprintf("%d nodes at once and a join took %.1f ms", b.Parallel, ms(time.Since(began))))
	return err
}
