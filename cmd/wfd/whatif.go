package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/replay"
)

// whatIfPart is how many runs one request plays, so that there is progress to see.
const whatIfPart = 250

type whatIfFlags struct {
	definition, workflow, since string
	limit                       int
	exit                        bool
}

func (a *app) whatif() *cobra.Command {
	var f whatIfFlags
	cmd := &cobra.Command{
		Use:   "whatif --definition FILE",
		Short: "Play recorded runs through another definition and list those that would go elsewhere",
		Long: `whatif takes what had come to runs from outside (results, answers, signals, times)
and plays it through a definition that is not registered yet. It lists, by reason,
the runs that would have gone elsewhere: a decision that differs, a node that the
recording has no result for, results that no longer fit, another end. Nothing is
executed and nothing is written.`,
		Example: `  wfd whatif --definition new.yaml
  wfd whatif --definition new.yaml --workflow review-loop --since 24h --limit 1000 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.definition == "" {
				return usagef("whatif needs --definition FILE")
			}
			if f.limit < 0 {
				return usagef("--limit %d: want a number of runs", f.limit)
			}
			source, err := readFile(f.definition)
			if err != nil {
				return err
			}
			w, _, err := api.Compile(f.definition, source, false)
			if err != nil {
				return err
			}
			if f.workflow == "" {
				f.workflow = w.Name
			}
			since, err := sinceWhen(f.since, time.Now())
			if err != nil {
				return err
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			ids, err := runsSince(cmd.Context(), s, f.workflow, since, f.limit)
			if err != nil {
				return err
			}
			r, err := a.playAll(cmd.Context(), s, api.WhatIfBody{Definition: string(source), File: f.definition}, ids)
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				r.Workflow, r.Hash, r.Groups = w.Name, w.Hash.String(), []replay.Group{}
			}
			raw, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err := a.print(raw, func(t *text) { showReport(t, &r, f.workflow) }); err != nil {
				return err
			}
			return differs(!f.exit || r.Elsewhere+r.Unknown == 0)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.definition, "definition", "", "the definition to play runs through")
	fl.StringVar(&f.workflow, "workflow", "", "play the runs of this workflow (default: that of the definition's name)")
	fl.StringVar(&f.since, "since", "", "only runs created since: 24h, 7d, or a time of RFC 3339")
	fl.BoolVar(&f.exit, "exit-code", false, "exit with 1 if some run would go elsewhere")
	fl.IntVar(&f.limit, "limit", 0, "at most so many runs, the newest (default: all)")
	return cmd
}

// sinceWhen reads how far to look back; "" is all the way.
func sinceWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 {
			return now.Add(-time.Duration(n * float64(24*time.Hour))), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, usagef("--since %q: want a duration (24h, 7d) or a time of RFC 3339", s)
	}
	return now.Add(-d), nil
}

// runsSince lists runs of a workflow, newest first.
func runsSince(ctx context.Context, s *session, workflow string, since time.Time, limit int) ([]string, error) {
	var ids []string
	for cursor := ""; ; {
		q := url.Values{"workflow": {workflow}, "limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page client.List[client.Row]
		if err := s.Get(ctx, client.Request{Path: "/v1/runs", Query: q}, &page); err != nil {
			return nil, err
		}
		for _, row := range page.Items {
			if limit > 0 && len(ids) == limit || row.Created.Before(since) {
				return ids, nil
			}
			ids = append(ids, row.ID)
		}
		if cursor = page.Next; cursor == "" {
			return ids, nil
		}
	}
}

// playAll plays runs in parts and shows how far it is.
func (a *app) playAll(ctx context.Context, s *session, body api.WhatIfBody, ids []string) (replay.Report, error) {
	var whole replay.Report
	bar := isTerminal(a.stderr)
	for i := 0; i < len(ids); i += whatIfPart {
		body.Runs = ids[i:min(len(ids), i+whatIfPart)]
		var part replay.Report
		if err := s.Get(ctx, client.Request{Path: "/v1/whatif", In: body}, &part); err != nil {
			return whole, err
		}
		whole.Merge(part)
		if bar {
			const width = 30
			full := width * whole.Runs / len(ids)
			fmt.Fprintf(a.stderr, "\r[%s%s] %d/%d runs", strings.Repeat("█", full), strings.Repeat("░", width-full), whole.Runs, len(ids))
		}
	}
	if bar && len(ids) > 0 {
		fmt.Fprintf(a.stderr, "\r\x1b[K")
	}
	return whole, nil
}

func showReport(t *text, r *replay.Report, workflow string) {
	t.printf("%d runs of %s: %d the same, %d would go elsewhere", r.Runs, workflow, r.Same, r.Elsewhere)
	if r.Unknown > 0 {
		t.printf(", %d cannot be played", r.Unknown)
	}
	t.printf("\n")
	for _, g := range r.Groups {
		t.printf("\n%d × %s\n", g.Runs, g.Reason)
		t.printf("  as %s: %s\n", g.Example.Run, line(g.Example.Why, 300))
		if len(g.Example.Missing) > 0 && g.What != replay.WhatResult {
			t.printf("  then %s has no recorded result\n", visitName(g.Example.Missing[0]))
		}
	}
	if len(r.Changed) > 0 {
		t.printf("\nTaken as recorded, though asked differently now: %s\n", strings.Join(r.Changed, ", "))
	}
}
