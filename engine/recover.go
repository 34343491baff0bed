package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wfd-dev/wfd/engine/machine"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
	"github.com/wfd-dev/wfd/projection/run"
)

// A crash takes attempts, alarms and messages between runs; the log has what
// they stood for. The runs that had something under way are those in status
// running: they are read at start. A paused run is taken up when it is next
// looked at, a waiting run by its timer.

// recoverPage is how many rows are read at once, recoverWide how many runs are, and
// recoverOpen how many are taken up at once: those share commits.
const (
	recoverPage = 500
	recoverWide = 16
	recoverOpen = 512
)

// taken returns the seq up to which the log was written before this engine was
// started: a run that has not moved since may have something under way that only
// the log knows of. It is 0 while the engine is not started.
func (e *Engine) taken() eventlog.Seq { return eventlog.Seq(e.boot.Load()) }

// running reports whether the engine was started: it then does tasks and takes up
// what it finds under way.
func (e *Engine) running() bool { return e.started.Load() }

// lost decides that the attempts a former process had under way are lost, in a run
// that has not moved since.
func (e *Engine) lost(l *loaded, d *decided) error {
	return d.decide(l, machine.Meta{At: e.now(), Actor: system}, machine.Recover{
		Reason: "the engine was restarted",
		Keep: func(v *run.Visit) bool {
			return e.sched.has(l.id, v.Node, v.Visit, v.Attempt) || e.remote(l.wf, machine.NodeOf(l.wf, v))
		},
	})
}

// recover takes up every run that was running, and sets the alarms of the next
// hour.
func (e *Engine) recover(ctx context.Context) error {
	began, n := time.Now(), 0
	ledger, err := e.views.Ledger(ctx) // before any run of it goes on
	if err != nil {
		return err
	}
	e.adoptAll(ctx)
	var wg sync.WaitGroup
	reading, open := make(chan struct{}, recoverWide), make(chan struct{}, recoverOpen)
	for row, err := range e.inStatus(ctx, run.Running) {
		if err != nil {
			return err
		}
		open <- struct{}{}
		wg.Go(func() {
			defer func() { <-open }()
			reading <- struct{}{}
			err := e.look(ctx, row.ID, nil)
			<-reading
			if err == nil {
				err = e.takeUpRun(ctx, row)
			}
			if shutOff(err) {
				e.slog.Error("a run is damaged, and is left as it is", "run", row.ID.String(), "error", err)
			} else if err != nil {
				e.slog.Error("cannot take up a run yet; this is tried again", "run", row.ID.String(), "error", err)
				e.clock.arm(row.ID, e.now()+event.Time(wakeAgain), true)
			}
		})
		n++
	}
	wg.Wait()
	if n > 0 {
		e.slog.Info("took up the runs of the former process", "runs", n, "took", time.Since(began).Round(time.Millisecond))
	}
	e.releaseDead(ledger.Holds)
	if err := e.fetchAlarms(ctx); err != nil {
		return err
	}
	e.spawn(func() { e.keepAlarms(ctx) })
	e.spawn(func() { e.keepDays(ctx) })
	e.spawn(func() { e.resumeRaised(ctx) })
	e.spawn(func() { e.tendResting(ctx) })
	return nil
}

// shutOff reports whether err says that a run's events are damaged: nothing moves it
// until somebody has mended the log.
func shutOff(err error) bool {
	var c *eventlog.CorruptError
	return errors.As(err, &c)
}

// takeUpRun has a run that was running taken up: any command does.
func (e *Engine) takeUpRun(ctx context.Context, row projection.Row) error {
	if row.Parent != nil {
		e.tend(*row.Parent, row.ID)
	}
	return e.runs.do(ctx, row.ID, &request{meta: machine.Meta{At: e.now(), Actor: system}, cmd: machine.Continue{}, internal: true})
}

// tendResting looks after the child runs that wait or are paused: their parents may
// have ended, paused or gone on when nobody could tell them.
func (e *Engine) tendResting(ctx context.Context) {
	for _, status := range []run.Status{run.Waiting, run.Paused} {
		for row, err := range e.inStatus(ctx, status) {
			switch {
			case err != nil && ctx.Err() == nil:
				e.slog.Error("cannot look after resting child runs", "error", err)
			case err == nil && row.Parent != nil:
				e.tend(*row.Parent, row.ID)
			}
		}
	}
}

// look has the run loaded and calls view, if any, with its state.
func (e *Engine) look(ctx context.Context, id eventlog.RunID, view func(*run.State, *workflow.Workflow)) error {
	return e.runs.do(ctx, id, &request{view: view})
}

// keepAlarms fetches alarms before they come within reach: those of a clock that was set
// forward at once.
func (e *Engine) keepAlarms(ctx context.Context) {
	t := time.NewTicker(lookAtClock)
	defer t.Stop()
	fetched := e.now()
	for {
		select {
		case <-t.C:
			now := e.now()
			if now >= fetched && now < fetched+event.Time(horizon/2) {
				continue
			}
			fetched = now
			if err := e.fetchAlarms(ctx); err != nil && ctx.Err() == nil {
				e.slog.Error("cannot read the timers that come next", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// fetchAlarms sets the alarms of the coming horizon from the views.
func (e *Engine) fetchAlarms(ctx context.Context) error {
	all, err := e.views.AllTotals(ctx)
	if err != nil {
		return err
	}
	until := e.now() + event.Time(horizon)
	for n := range all {
		if err := e.fetchAlarmsOf(ctx, n, until); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) fetchAlarmsOf(ctx context.Context, n event.Namespace, until event.Time) error {
	for cursor := ""; ; {
		timers, next, err := e.views.NextTimers(ctx, n, cursor, recoverPage)
		if err != nil {
			return err
		}
		for _, t := range timers {
			if t.At > until {
				return nil
			}
			e.clock.armFirst(t.Run, t.At)
		}
		if cursor = next; cursor == "" {
			return nil
		}
	}
}

// wakeAgain is when a run is woken again that could not look at what is due: the
// disk is full, say.
const wakeAgain = time.Second

// wake has a run look at what is due, and calls awake when it has.
func (e *Engine) wake(id eventlog.RunID, awake func()) {
	var at event.Time
	var armed bool
	q := &request{
		meta: machine.Meta{At: e.now(), Actor: system}, cmd: machine.Wake{}, internal: true,
		view: func(s *run.State, _ *workflow.Workflow) { at, armed = machine.Due(s) },
	}
	q.answered = func(err error) {
		if err != nil && !errors.Is(err, ErrNotFound) && !shutOff(err) {
			at, armed = event.At(e.opt.Now().Add(wakeAgain)), true
		}
		e.clock.arm(id, at, armed)
		awake()
	}
	if err := e.runs.give(id, q); err != nil {
		q.answered(err)
	}
}
