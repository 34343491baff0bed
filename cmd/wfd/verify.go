package main

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/replay"
)

// verifyWide is how many runs are verified at once.
const verifyWide = 4

func (a *app) verify() *cobra.Command {
	var all bool
	var l looking
	cmd := &cobra.Command{
		Use:   "verify [RUN]",
		Short: "Decide histories again and name the first event that does not follow",
		Long: `verify takes the facts of a run (results, answers, signals, timers), decides again
what follows from each, and compares it with the events in the log, byte for byte.
A run whose definition is gone or whose payloads were erased passes as not
verifiable from a version on. Exit code 1: some run differs.`,
		Example: `  wfd verify RUN
  wfd verify run.wfd --key log.pub
  wfd verify --all -o ndjson --jq 'select(.ok | not)'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if all == (len(args) > 0) {
				return usagef("name a run, or use --all")
			}
			s, id, err := a.look(cmd.Context(), strings.Join(args, ""), &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			if !all {
				raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(id) + "/verify"})
				if err != nil {
					return err
				}
				var v replay.Verdict
				if err := json.Unmarshal(raw, &v); err != nil {
					return err
				}
				if err := a.print(raw, func(t *text) { showVerdict(t, &v) }); err != nil {
					return err
				}
				return differs(v.OK)
			}
			return a.verifyAll(cmd.Context(), s)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every run")
	l.register(cmd)
	return cmd
}

// differs is the error of a run that differs: the exit code says it all.
func differs(ok bool) error {
	if ok {
		return nil
	}
	return &coded{exitFailed, nil}
}

func showVerdict(t *text, v *replay.Verdict) {
	switch {
	case v.Difference != nil:
		d := v.Difference
		t.printf("%s differs at version %d", v.Run, d.Version)
		if d.Seq != 0 {
			t.printf(" (seq %d)", d.Seq)
		}
		t.printf(": %s\n", d.Why)
		if d.Fact != d.Version {
			t.printf("it was decided with version %d; everything before that follows\n", d.Fact)
		}
	case v.NotFrom != 0:
		t.printf("%s is not verifiable from version %d: %s\n", v.Run, v.NotFrom, v.Why)
	default:
		t.printf("%s follows: %d events of %s decided again\n", v.Run, v.Verified, v.Workflow)
	}
}

// verifyAll verifies every run, a page of the list at a time.
func (a *app) verifyAll(ctx context.Context, s *session) error {
	var runs, events, part, wrong int
	t := a.text()
	var together []json.RawMessage
	for cursor := ""; ; {
		var page client.List[client.Row]
		q := url.Values{"limit": {"200"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if err := s.Get(ctx, client.Request{Path: "/v1/runs", Query: q}, &page); err != nil {
			return err
		}
		raws, err := each(ctx, page.Items, func(row client.Row) (json.RawMessage, error) {
			raw, _, err := s.Do(ctx, client.Request{Path: runPath(row.ID) + "/verify"})
			return raw, err
		})
		if err != nil {
			return err
		}
		for _, raw := range raws {
			var v replay.Verdict
			if err := json.Unmarshal(raw, &v); err != nil {
				return err
			}
			runs++
			events += int(v.Verified)
			if v.NotFrom != 0 {
				part++
			}
			if !v.OK {
				wrong++
			}
			switch a.output {
			case "table":
				if !v.OK || v.NotFrom != 0 {
					showVerdict(t, &v)
				}
			case "ndjson":
				if err := a.printJSON(raw); err != nil {
					return err
				}
			default:
				together = append(together, raw)
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	switch a.output {
	case "table":
		t.printf("%d runs, %d events decided again: %d differ, %d not verifiable to the end\n", runs, events, wrong, part)
	case "ndjson":
	default:
		if together == nil {
			together = []json.RawMessage{}
		}
		raw, err := json.Marshal(together)
		if err == nil {
			err = a.printJSON(raw)
		}
		if err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return differs(wrong == 0)
}

// each calls f for every item, several at once, and returns the answers in order.
func each[T, R any](ctx context.Context, items []T, f func(T) (R, error)) ([]R, error) {
	out := make([]R, len(items))
	errs := make([]error, len(items))
	var wg sync.WaitGroup
	places := make(chan struct{}, verifyWide)
	for i, item := range items {
		if ctx.Err() != nil {
			break
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			out[i], errs[i] = f(item)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return out, ctx.Err()
}

// visitName writes a visit as positions are written.
func visitName(k replay.VisitKey) string {
	if k.Node == "" {
		return "the start"
	}
	return k.Node + "#" + strconv.Itoa(k.Visit)
}
