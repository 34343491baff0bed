package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine/workflow"
)

// breakFlag adds --break.
func breakFlag(f *pflag.FlagSet, list *[]string) {
	f.StringArrayVar(list, "break", nil, "pause before this: node=review, node=review#2, edge=review->draft, if=CONDITION; may be repeated")
}

// checkBreaks refuses breakpoints that the definition in a file does not have, before
// anything is registered or made.
func checkBreaks(file string, text []byte, specs []string) error {
	if len(specs) == 0 {
		return nil
	}
	w, _, err := api.Compile(file, text, false)
	if err != nil {
		return err
	}
	for _, spec := range specs {
		if _, err := w.Breakpoint(spec); err != nil {
			return usagef("--break: %w", err)
		}
	}
	return nil
}

// atBreakpoint says how to look at a run that is paused at a breakpoint, and how to
// go on.
func (a *app) atBreakpoint(s *session, r *client.Run, c *changing) {
	if r.Breakpoint == nil {
		return
	}
	where, work := "", ""
	for _, name := range []string{"addr", "data"} {
		if a.sources[name] == aFlag {
			where = " --" + name + " " + quoted(map[string]string{"addr": a.addr, "data": a.data}[name])
		}
	}
	if s.inside() && a.sources["replies"] == aFlag {
		work = " --replies " + quoted(a.engine.replies)
	}
	if c.wait {
		work += " --wait"
	}
	a.note("look:     wfd state %s%s", r.ID, where)
	a.note("          wfd why %s%s", r.ID, where)
	a.note("go on:    wfd resume %s%s%s", r.ID, where, work)
	a.note("          --set key=value changes the state first, --no-break drops the breakpoints")
	a.note("or apart: wfd fork %s --set key=value%s%s", r.ID, where, work)
}

// quoted writes a word as a shell reads it.
func quoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// tellBreakpoints says, as long as ctx lasts, which runs come to a breakpoint after
// an event of the log.
func (a *app) tellBreakpoints(ctx context.Context, s *session, after uint64) {
	err := readEvents(ctx, s, nil, reading{kinds: []string{"run.paused"}, follow: true, after: after}, func(raw json.RawMessage) error {
		var e struct {
			Run  string
			Data struct{ Reason, Breakpoint string }
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		if e.Data.Breakpoint != "" {
			a.note("run %s is paused: %s. wfd resume %s goes on", e.Run, e.Data.Reason, e.Run)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		a.say(err)
	}
}

// unknownBreakpoints says which breakpoints none of the workflows has.
func (a *app) unknownBreakpoints(specs []string, workflows map[string]*workflow.Workflow) {
	for _, spec := range specs {
		var why string
		had, alike := len(workflows) == 0, true
		for _, name := range slices.Sorted(maps.Keys(workflows)) {
			_, err := workflows[name].Breakpoint(spec)
			if err == nil {
				had = true
				break
			}
			alike = alike && (why == "" || why == err.Error())
			why = err.Error()
		}
		switch {
		case had:
		case alike:
			a.note("%s", why)
		default:
			a.note("breakpoint %q: none of the %d workflows has it", spec, len(workflows))
		}
	}
}
