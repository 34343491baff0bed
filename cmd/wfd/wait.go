package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/client"
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

const (
	// pollTime is how long one request waits for a run.
	pollTime = 30 * time.Second
	// returnTime is how long a daemon that went away has to come back while a
	// run is waited for.
	returnTime = 30 * time.Second
)

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
	q := url.Values{"wait": {pollTime.String()}}
	if s.inside() {
		q.Set("until", "idle")
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	req := client.Request{Path: runPath(id), Query: q}
	var away time.Time // since when the daemon has been away
	for ctx.Err() == nil {
		raw, _, err := s.Do(ctx, req)
		var p *api.Problem
		switch {
		case err == nil:
			away = time.Time{}
			var r client.Run
			if err := json.Unmarshal(raw, &r); err != nil {
				return nil, err
			}
			if r.Terminal() || r.Status == "paused" || s.inside() && r.Idle {
				return raw, nil
			}
		case ctx.Err() != nil:
		case errors.Is(err, client.ErrUnreachable), errors.As(err, &p) && p.Status == http.StatusServiceUnavailable:
			// A daemon that is restarted takes its runs up.
			if away.IsZero() {
				away = time.Now()
			}
			if time.Since(away) > returnTime || s.inside() {
				return nil, err
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		default:
			return nil, err
		}
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
	raw, _, err := s.Do(now, client.Request{Path: req.Path})
	if err != nil {
		return nil, late // without the run: the timeout says enough
	}
	return raw, late
}

// summary shows how a run ended, or where it stands.
func summary(t *text, r *client.Run) {
	spent := time.Since(r.Created)
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
