package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/audit"
	"github.com/wfd-dev/wfd/eventlog/zseal"
	"github.com/wfd-dev/wfd/replay/capsule"
)

// capsuleSuffix ends the name of a capsule, where a RUN can be one.
const capsuleSuffix = ".wfd"

func (a *app) export() *cobra.Command {
	var into string
	var unproven bool
	var t tracing
	cmd := &cobra.Command{
		Use:   "export RUN",
		Short: "Write a run with all that it stands on to one file, which proves itself",
		Long: `Write a capsule: a file with the events of a run, of the runs that it started, and of
those that it was forked from; with their definitions, and the proof that all of it
is in this log. It is looked at anywhere, without a daemon or a data directory:
show, state, events, replay, why, diff and verify take it in place of a RUN, if its
name ends in .wfd. wfd import puts it into another data directory.

A capsule has what agents and people said in the run. It has no secrets; and of
payloads that were erased, the hash.`,
		Example: `  wfd export RUN > run.wfd
  wfd replay run.wfd
  wfd verify run.wfd --key log.pub     # wfd audit keys prints it, where the run is
  wfd export --otlp RUN > trace.json   # as a trace of OpenTelemetry, in the JSON of OTLP
  wfd export --otlp RUN --endpoint http://127.0.0.1:4318`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asked, err := t.asked(cmd); asked || err != nil {
				return firstOf(err, func() error { return a.exportTrace(cmd.Context(), args[0], into, &t) })
			}
			if into == "" && isTerminal(a.stdout) {
				return usagef("a capsule is not for a terminal: use --into FILE, or > FILE")
			}
			return a.exportTo(cmd.Context(), args[0], into, unproven)
		},
	}
	f := cmd.Flags()
	f.StringVar(&into, "into", "", "write to this file (default: standard output)")
	t.register(f)
	f.BoolVar(&unproven, "unproven", false, "leave out the proof: for a log that cannot be signed")
	return cmd
}

func (a *app) exportTo(ctx context.Context, id, into string, unproven bool) (err error) {
	s, err := a.connect(ctx, reads)
	if err != nil {
		return err
	}
	defer closeInto(s, &err)
	resp, err := openCapsule(ctx, s, id, unproven)
	if err != nil {
		return err
	}
	defer resp.Close()
	out := a.stdout
	tmp := into + ".tmp"
	if into != "" {
		f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return usagef("%w", err)
		}
		defer os.Remove(tmp) // gone if all went well
		defer f.Close()
		out = f
	}
	// It is read while it is written: what breaks off is not taken for a capsule.
	if _, err := capsule.Read(io.TeeReader(resp, out), nil); err != nil {
		return capsuleError("the capsule", err)
	}
	if f, ok := out.(*os.File); ok && into != "" {
		if err := errors.Join(f.Sync(), os.Rename(tmp, into)); err != nil {
			return asStorage(into, err)
		}
	}
	return nil
}

func openCapsule(ctx context.Context, s *session, id string, unproven bool) (io.ReadCloser, error) {
	resp, err := s.Open(ctx, client.Request{Path: runPath(id) + "/capsule", Query: url.Values{"unproven": {strconv.FormatBool(unproven)}}})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// capsuleError is the error of a file that cannot be read as a capsule.
func capsuleError(name string, err error) error {
	switch {
	case errors.Is(err, zseal.ErrDamaged), errors.Is(err, audit.ErrProof), errors.Is(err, audit.ErrSignature), errors.Is(err, audit.ErrFormat), errors.Is(err, audit.ErrForked):
		return &coded{exitStorage, fmt.Errorf("%s: %w", name, err)}
	case errors.Is(err, capsule.ErrFormat), errors.Is(err, capsule.ErrTooLarge), errors.Is(err, capsule.ErrUnproven):
		return &coded{exitUsage, fmt.Errorf("%s: %w", name, err)}
	}
	return fmt.Errorf("%s: %w", name, err)
}

// looking are the flags of commands that look at a run, or at a capsule of one.
type looking struct{ keys []string }

func (l *looking) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&l.keys, "key", nil, "of a capsule: file with the public key of the log that it must be of; may be repeated")
}

// look returns a way to what looks back on a run, and the run's ID: to the API, or,
// if run is the name of a capsule, into that.
func (a *app) look(ctx context.Context, run string, l *looking) (*session, string, error) {
	if !strings.HasSuffix(run, capsuleSuffix) {
		if len(l.keys) > 0 {
			return nil, "", usagef("--key is for a capsule, a file whose name ends in %s", capsuleSuffix)
		}
		s, err := a.connect(ctx, reads)
		return s, run, err
	}
	c, err := a.readCapsule(run, l)
	if err != nil {
		return nil, "", err
	}
	return a.into(c.Log()), c.Run.String(), nil
}

// into returns a way into a log that nobody works on.
func (a *app) into(log eventlog.Log) *session {
	return &session{Client: inside(api.NewPast(log, api.Options{Version: buildVersion()}), ""), past: true}
}

// readCapsule reads a capsule, and says who vouches for it.
func (a *app) readCapsule(name string, l *looking) (*capsule.Capsule, error) {
	keys, err := readPublic(l.keys)
	if err != nil {
		return nil, err
	}
	if len(keys) > 1 {
		return nil, usagef("--key: want the keys of one log")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	defer f.Close()
	c, err := capsule.Read(f, append(keys, nil)[0])
	if err != nil {
		return nil, capsuleError(name, err)
	}
	base := filepath.Base(name)
	switch {
	case !c.Proven():
		a.note("note: %s proves nothing: it was exported without", base)
	case c.Pinned:
		a.note("note: %s is of %s, as signed for at %d events", base, c.Origin, c.Checkpoint.Size)
	default:
		a.note("note: %s is whole, and signed by a key that it brings: --key would say whether %s signed it", base, c.Origin)
	}
	return c, nil
}
