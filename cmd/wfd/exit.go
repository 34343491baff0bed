package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/limits"
	"github.com/wfd-dev/wfd/engine/workflow"
	"github.com/wfd-dev/wfd/eventlog"
)

// Exit codes. Scripts rely on them.
const (
	exitOK          = 0
	exitFailed      = 1 // a run that was waited for did not complete; any other failure
	exitUsage       = 2 // the command, or what it was given, is wrong
	exitNotFound    = 3
	exitConflict    = 4 // the present state does not allow it; the directory is held
	exitUnreachable = 5
	exitStorage     = 6   // the log has failed, is damaged, or cannot be written
	exitLimits      = 7   // as first.ExitCode: the system lets the process have too little: files, threads, address space, memory
	exitTimeout     = 124 // as timeout(1) has it
	exitSignal      = 130 // interrupted
)

// coded is an error with an exit code.
type coded struct {
	code int
	err  error // nil: nothing is left to say
}

func (e *coded) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *coded) Unwrap() error { return e.err }

// usagef is an error of the one who called.
func usagef(format string, args ...any) error {
	return &coded{exitUsage, fmt.Errorf(format, args...)}
}

// exitCode returns the code for what a command ended with.
func exitCode(err error) int {
	var c *coded
	var p *client.Problem
	var defects workflow.Problems
	var corrupt *eventlog.CorruptError
	switch {
	case err == nil:
		return exitOK
	case limits.Of(err) != nil: // whatever was being opened just then
		return exitLimits
	case errors.As(err, &c):
		return c.code
	case errors.As(err, &p):
		return problemCode(p)
	case errors.As(err, &defects):
		return exitUsage
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, eventlog.ErrLocked):
		return exitConflict
	case errors.As(err, &corrupt), errors.Is(err, host.ErrFailed), errors.Is(err, eventlog.ErrFormat), errors.Is(err, errStorage):
		return exitStorage
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS):
		return exitStorage // of a file beside the log: the disk is the same
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitSignal
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	}
	return exitFailed
}

func problemCode(p *client.Problem) int {
	switch {
	case p.Slug() == "starting":
		return exitUnreachable
	case slices.Contains([]string{"outcome-unknown", "stopped", "disk-full", "corrupt", "unwritable"}, p.Slug()):
		return exitStorage
	case p.Status == 404:
		return exitNotFound
	case p.Status == 409, p.Status == 429:
		return exitConflict
	case p.Status < 500:
		return exitUsage
	}
	return exitFailed
}

// defectsOf returns what a problem says is wrong with a definition.
func defectsOf(p *client.Problem) (defects workflow.Problems) {
	if raw, err := json.Marshal(p.Defects); err == nil && len(p.Defects) > 0 {
		json.Unmarshal(raw, &defects) // of the same fields
	}
	return defects
}

// exit says what a command ended with and returns the exit code.
func (a *app) exit(err error) int {
	a.say(err)
	return exitCode(err)
}

// say writes an error for people: of a definition, with the lines it is about.
func (a *app) say(err error) {
	if err == nil || err.Error() == "" {
		return
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	var p *client.Problem
	var defects workflow.Problems
	if errors.As(err, &p) {
		defects = defectsOf(p)
	} else {
		errors.As(err, &defects)
	}
	if len(defects) > 0 {
		var b strings.Builder
		defects.Render(&b, false) // to memory
		fmt.Fprint(a.stderr, clean(b.String()))
		return
	}
	fmt.Fprintf(a.stderr, "wfd: %s\n", clean(err.Error()))
	if p != nil && p.Hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", clean(p.Hint))
	} else if s := limits.Of(err); s != nil && s.What == "" { // the error says what
		fmt.Fprintf(a.stderr, "%s\nhint: %s\n", s.Need, s.Fix)
	}
}
