package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

// changing are the flags of every command that changes a run.
type changing struct {
	key     string
	wait    bool
	timeout time.Duration
}

func (c *changing) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.key, "key", "", "idempotency key: repeated with it, the command is done once")
	f.BoolVar(&c.wait, "wait", false, "wait until the run has ended or is paused; exit 1 if it did not complete")
	f.DurationVar(&c.timeout, "timeout", 0, "with --wait: how long to wait; then exit 124")
}

// need is what the command asks of an engine in this process.
func (c *changing) need() need {
	if c.wait {
		return works
	}
	return writes
}

// finish waits for the run, if that is asked for, and prints it.
func (a *app) finish(ctx context.Context, s *session, raw json.RawMessage, c *changing) error {
	var r client.Run
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if !c.wait {
		if s.inside() && !r.Terminal() {
			a.note("note: nothing is executed until %s", a.unless())
		}
		if err := a.print(raw, func(t *text) { t.printf("%s\t%s\n", r.ID, r.Status) }); err != nil {
			return err
		}
		a.atBreakpoint(s, &r, c)
		return nil
	}
	raw, err := a.settle(ctx, s, r.ID, c.timeout)
	if raw == nil {
		return err
	}
	if jerr := json.Unmarshal(raw, &r); jerr != nil {
		return jerr
	}
	if perr := a.print(raw, func(t *text) { summary(t, &r) }); perr != nil {
		return perr
	}
	a.atBreakpoint(s, &r, c)
	if err != nil {
		return err
	}
	if r.Status != "completed" {
		return &coded{exitFailed, fmt.Errorf("run %s is %s: %s", r.ID, r.Status, r.Why)}
	}
	return nil
}

// unless says what it takes for the runs of this directory to go on.
func (a *app) unless() string {
	dir, err := a.dataDir()
	if err != nil {
		dir = "the data directory" // it is open, so that it has a name
	}
	return "a daemon serves " + dir + ", or a command with --wait works on it"
}

// settle waits until a run has ended or is paused; with the engine in this
// process also when only somebody outside can move it, who could not do so meanwhile.
// The run as it stands comes with a timeout, too.
func (a *app) settle(ctx context.Context, s *session, id string, timeout time.Duration) (json.RawMessage, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	wait := s.Wait
	if s.inside() {
		wait = s.WaitIdle
	}
	r, err := wait(ctx, id)
	if err == nil {
		return r.Raw, nil
	}
	if ctx.Err() == nil {
		return nil, err
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, ctx.Err()
	}
	goes := "it goes on"
	if s.inside() {
		goes = "nothing goes on until " + a.unless()
	}
	late := &coded{exitTimeout, fmt.Errorf("run %s is not done after %s; %s", id, timeout, goes)}
	now, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTime)
	defer cancel()
	raw, _, err := s.Do(now, client.Request{Path: runPath(id)})
	if err != nil {
		return nil, late // without the run: the timeout says enough
	}
	return raw, late
}

// summary shows how a run ended, or where it stands.
func summary(t *text, r *client.Run) {
	spent := max(0, time.Since(r.Created)) // the clock may have been set back
	if !r.Ended.IsZero() {
		spent = r.Ended.Sub(r.Created)
	}
	t.printf("%s\t%s after %s\n", r.ID, r.Status, took(spent))
	if r.Error != nil {
		t.printf("error: %s: %s\n", r.Error.Class, r.Error.Message)
	} else if r.Status != "completed" {
		t.printf("%s\n", r.Why)
	}
	if out := compact(r.Output); out != "null" && out != "" {
		t.printf("output: %s\n", out)
	}
}
