package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

func (a *app) auditLog() *cobra.Command {
	var actor, since, run string
	var kinds []string
	var all bool
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print who did what, when and how",
		Long: `Print who did what, when and how, from the events: the commands that people and
programs gave. HOW is directory (a command on the data directory, by a user of the
machine), token (the API, with the token), loopback (the API of a daemon that asks
for none), engine or runner (the daemon itself). What follows from commands, and
what the daemon does by itself, is there with --all.`,
		Example: `  wfd audit log --since 24h
  wfd audit log --actor cli: --kind run.cancelled,run.paused
  wfd audit log --run RUN --all -o ndjson`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			q := url.Values{"limit": {"1000"}, "all": {strconv.FormatBool(all)}, "kind": kinds}
			for key, v := range map[string]string{"actor": actor, "run": run} {
				if v != "" {
					q.Set(key, v)
				}
			}
			if since != "" {
				at, err := sinceTime(since)
				if err != nil {
					return err
				}
				q.Set("since", at.Format(time.RFC3339Nano))
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			p := &deedPrinter{eventPrinter{a: a}}
			for {
				var page client.List[json.RawMessage]
				if err := s.Get(cmd.Context(), client.Request{Path: "/v1/audit/log", Query: q}, &page); err != nil {
					return err
				}
				for _, raw := range page.Items {
					if err := p.print(raw); err != nil {
						return err
					}
				}
				if page.Next == "" {
					return p.end()
				}
				q.Set("cursor", page.Next)
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&actor, "actor", "", "only what this actor did; cli: stands for all that begin with it")
	f.StringVar(&since, "since", "", "only since then: 24h, 2026-01-31 or 2026-01-31T12:00:00Z")
	f.StringSliceVar(&kinds, "kind", nil, "only these kinds; node. stands for all that begin with it")
	f.StringVar(&run, "run", "", "only of this run")
	f.BoolVar(&all, "all", false, "also what follows from commands, and what the daemon does by itself")
	return cmd
}

// sinceTime reads a time, or how long ago it was.
func sinceTime(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return at, nil
	}
	return time.Time{}, usagef("--since %q: want 24h, 2026-01-31 or 2026-01-31T12:00:00Z", s)
}

// deedPrinter prints events with who caused them, as they come.
type deedPrinter struct{ eventPrinter }

func (p *deedPrinter) print(raw json.RawMessage) error {
	if p.a.output != "table" {
		return p.eventPrinter.print(raw)
	}
	var e struct {
		client.Event
		How string `json:"how"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	t := p.a.text()
	if p.n++; p.n == 1 {
		t.printf("%8s  %-19s  %-20s  %-9s  %-26s  %-19s  %s\n", "SEQ", "TIME", "ACTOR", "HOW", "RUN", "KIND", "WHAT")
	}
	t.printf("%8d  %-19s  %-20s  %-9s  %-26s  %-19s  %s\n", e.Seq, when(e.Time), line(e.Actor, 60), e.How, e.Run, e.Kind, line(what(&e.Event), 120))
	return t.err
}
