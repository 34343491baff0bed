package workertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/wfd-dev/wfd/client"
)

// Options of a test.
type Options struct {
	Command string   // is given to sh -c
	Handler string   // that the worker offers
	Only    []string // checks, by name; none: all
	// Wait is how long a worker may take for anything.
	Wait   time.Duration
	Output io.Writer // of the worker; nil: it is shown only where a check fails
	Each   func(Result)
}

// Result is how a check came out.
type Result struct {
	Name   string  `json:"name"`
	What   string  `json:"what"` // a right worker does
	Passed bool    `json:"passed"`
	Why    string  `json:"why,omitempty"`    // not
	Output string  `json:"output,omitempty"` // the end of what the worker wrote
	Took   float64 `json:"seconds"`
}

// Report is how all checks came out.
type Report struct {
	Command string   `json:"command"`
	Passed  bool     `json:"passed"`
	Checks  []Result `json:"checks"`
}

// Checks lists the checks, as results that are yet to come.
func Checks() (list []Result) {
	for _, c := range checks {
		list = append(list, Result{Name: c.name, What: c.what})
	}
	return list
}

// Names lists the checks by their names.
func Names() (names []string) {
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// Run tests a worker. The error is one of the test itself.
func Run(ctx context.Context, o Options) (rep *Report, err error) {
	for _, name := range o.Only {
		if !slices.Contains(Names(), name) {
			return nil, fmt.Errorf("there is no check %q; there are %q", name, Names())
		}
	}
	dir, err := os.MkdirTemp("", "wfd-worker-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	b, err := openBench(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.down()) }()
	if err := b.register(ctx, o.Handler); err != nil {
		return nil, err
	}
	t := &trial{bench: b, o: o}
	defer t.end()
	rep = &Report{Command: o.Command, Passed: true, Checks: []Result{}}
	for _, c := range checks {
		if len(o.Only) > 0 && !slices.Contains(o.Only, c.name) {
			continue
		}
		began := time.Now()
		why := t.try(ctx, c.run)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r := Result{Name: c.name, What: c.what, Passed: why == nil, Took: time.Since(began).Seconds()}
		if why != nil {
			rep.Passed, r.Why = false, why.Error()
			if t.proc != nil {
				r.Output = t.proc.said.last()
			}
		}
		rep.Checks = append(rep.Checks, r)
		if o.Each != nil {
			o.Each(r)
		}
		if err := t.clear(ctx, why != nil); err != nil {
			return nil, err
		}
		if why != nil && c.name == "poll" {
			break // nothing else can be seen
		}
	}
	return rep, nil
}

// trial is a worker on the bench.
type trial struct {
	*bench
	o    Options
	proc *process // nil: it is not running
	runs []string // that the check has started
}

// try runs one check on a worker that is running.
func (t *trial) try(ctx context.Context, check func(*trial, context.Context) error) error {
	if t.proc != nil && t.proc.gone() {
		t.proc = nil
	}
	if t.proc == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	err := check(t, ctx)
	if err == nil && t.proc != nil && t.proc.gone() {
		err = errors.New("the worker ended by itself")
	}
	return err
}

// begin starts the worker.
func (t *trial) begin() (err error) {
	t.proc, err = startProcess(t.o.Command, []string{
		"WFD_ADDR=http://" + t.addr, "WFD_TOKEN=" + t.token, "WFD_QUEUE=" + queue, "WFD_HANDLER=" + t.o.Handler, "WFD_WORKER=under-test",
	}, t.o.Output)
	return err
}

// end ends the worker.
func (t *trial) end() {
	if t.proc != nil {
		t.proc.kill()
		t.proc = nil
	}
}

// clear leaves nothing of a check for the next one; a worker that failed it is started
// anew.
func (t *trial) clear(ctx context.Context, failed bool) error {
	t.setRule(nil)
	if failed {
		t.end()
	}
	for _, id := range t.runs {
		if _, err := t.c.Cancel(ctx, id, "the check is over"); err != nil && !errors.Is(err, client.ErrRefused) {
			return err
		}
	}
	t.runs = nil
	t.forget()
	return nil
}
