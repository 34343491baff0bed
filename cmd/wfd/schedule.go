package main

import (
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/projection/event"
)

const schedulesPath = "/v1/schedules"

func (a *app) schedule() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Start runs of workflows at times",
		Long: `Start runs of workflows at times. A daemon starts them; each time has one run, whatever
crashes. See docs/triggers.md.`,
	}
	cmd.AddCommand(a.scheduleCreate(), a.scheduleLs(), a.scheduleShow(), a.scheduleBackfill(),
		a.triggerCommand("pause", "Let a schedule start nothing until it is resumed", schedulesPath, nil, "is paused"),
		a.triggerCommand("resume", "Let a schedule start runs again, from now on", schedulesPath, nil, "is at work"),
		a.triggerCommand("delete", "Delete a schedule; its runs go on", schedulesPath, nil, "is deleted"))
	return cmd
}

func (a *app) scheduleCreate() *cobra.Command {
	var zone, input, overlap, reason string
	var version, queue, catchUp int
	var window, jitter time.Duration
	var labelled []string
	var replace bool
	cmd := &cobra.Command{
		Use:   "create NAME CRON WORKFLOW",
		Short: "Make a schedule",
		Long: `Make a schedule: CRON has five fields (minute, hour, day of the month, month, day of the
week), or six with seconds before them; or it is @hourly, @daily, @weekly, @monthly,
@yearly, or "@every 15m".

--overlap says what is done when it is due while the run before has not ended: skip (it
is done without), queue (it starts when that has ended) or allow (it starts beside it).
Of the times that are missed because no daemon was at work, the last ones are made up
for, as many as --catch-up says, but none from before --catch-up-window.

What CRON says of hours is meant as clocks on the wall show it in --zone: a time that is
left out when they are set forward is made up for at that moment, one that is shown twice
is taken once. A CRON for every hour means hours as they pass.

--input may hold ${schedule.due}, ${schedule.local} and ${schedule.name}.`,
		Example: `  wfd schedule create nightly "30 2 * * *" report --zone Europe/Berlin
  wfd schedule create poll "@every 90s" poll --overlap queue
  wfd schedule create hourly "0 * * * *" import --input '{"until": "${schedule.due}"}' --catch-up 24`,
		Args: cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := a.value(input, "--input")
			if err != nil {
				return err
			}
			l, err := pairs("label", labelled)
			if err != nil {
				return err
			}
			body := map[string]any{
				"name": args[0], "cron": args[1], "workflow": args[2], "zone": zone, "overlap": overlap, "version": version, "queue": queue,
				"catch_up": catchUp, "window": window.String(), "jitter": jitter.String(), "labels": l, "replace": replace, "reason": reason,
			}
			if in != nil {
				body["input"] = in
			}
			return a.exchange(cmd.Context(), writes, client.Request{Path: schedulesPath, In: body}, func(t *text, raw []byte) {
				s := answerOf[api.Schedule](t, raw)
				t.printf("%s starts %s, next at %s\n", s.Name, s.Spec.Workflow, moment(s.Next))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&zone, "zone", "UTC", "time zone, as Europe/Berlin")
	f.StringVar(&input, "input", "", "input of the runs: JSON, @FILE, or - for standard input")
	f.StringVar(&overlap, "overlap", event.OverlapSkip, "while the run before goes on: skip, queue or allow")
	f.IntVar(&version, "version", 0, "version of the workflow; 0: the newest when it is due")
	f.IntVar(&queue, "queue", 0, "with --overlap queue: starts that wait at most; 0: "+strconv.Itoa(engine.DefaultStarts))
	f.IntVar(&catchUp, "catch-up", engine.DefaultCatchUp, "missed starts that are made up for, the last ones")
	f.DurationVar(&window, "catch-up-window", engine.DefaultWindow, "what was missed longer ago is not made up for")
	f.DurationVar(&jitter, "jitter", 0, "spread starts over so much")
	f.StringArrayVar(&labelled, "label", nil, "KEY=VALUE of the runs; may be repeated")
	f.BoolVar(&replace, "replace", false, "what is there under NAME becomes this")
	f.StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	return cmd
}

func (a *app) scheduleLs() *cobra.Command {
	var cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the schedules",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := client.Request{Path: schedulesPath, Query: url.Values{"limit": {strconv.Itoa(limit)}, "cursor": {cursor}}}
			return a.exchangeList(cmd.Context(), reads, r, func(t *text, raw []byte) {
				list := answerOf[client.List[api.Schedule]](t, raw)
				t.row("NAME", "CRON", "ZONE", "WORKFLOW", "NEXT", "STARTED", "SKIPPED", "FAILED", "LAST")
				for _, s := range list.Items {
					next, last := moment(s.Next), "-"
					if s.Paused {
						next = "paused"
					}
					if s.Broken != "" {
						next = "broken"
					}
					if len(s.Recent) > 0 {
						last = s.Recent[0].Outcome
					}
					t.row(s.Name, s.Spec.Cron, s.Spec.Zone, s.Spec.Workflow, next, strconv.FormatInt(s.Started, 10), strconv.FormatInt(s.Skipped, 10), strconv.FormatInt(s.Failed, 10), last)
				}
				if list.Next != "" {
					a.note("there are more: --cursor %s", list.Next)
				}
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "schedules per page, up to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "continue after the page before")
	return cmd
}

func (a *app) scheduleShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a schedule, when it is due and what became of its last times",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := client.Request{Path: schedulesPath + "/" + url.PathEscape(args[0])}
			return a.exchange(cmd.Context(), reads, r, func(t *text, raw []byte) {
				s := answerOf[api.Schedule](t, raw)
				t.printf("schedule: %s\ncron:     %s (%s)\nworkflow: %s\noverlap:  %s\ncatch-up: %d within %s\n", s.Name, s.Spec.Cron, s.Spec.Zone,
					s.Spec.Workflow, s.Spec.Overlap, s.Spec.CatchUp, time.Duration(s.Spec.Window))
				t.pausing(s.Pausing)
				if s.Broken != "" {
					t.printf("broken:   %s\n", s.Broken)
				}
				for i, due := range s.Dues {
					t.printf("%-10s%s\n", []string{"next:", ""}[min(i, 1)], moment(due))
				}
				if len(s.Queue) > 0 {
					t.printf("waiting:  %s for the end of run %s\n", many(len(s.Queue), "start"), s.Waiting)
				}
				t.printf("started:  %d, skipped %d, failed %d\n", s.Started, s.Skipped, s.Failed)
				t.fires(s.Recent)
			})
		},
	}
}

func (a *app) scheduleBackfill() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:     "backfill NAME --from TIME",
		Short:   "Start the runs for past times that were not started",
		Long:    "Start the runs for past times that were not started: one after the other, unless they\nmay overlap. Times whose runs are there are left out.",
		Example: "  wfd schedule backfill nightly --from 2026-11-01 --to 2026-11-08",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return usagef("--from is needed: 48h, 2026-01-31 or 2026-01-31T12:00:00Z")
			}
			begin, err := momentOf("from", from)
			if err != nil {
				return err
			}
			end := time.Now()
			if to != "" {
				if end, err = momentOf("to", to); err != nil {
					return err
				}
			}
			r := client.Request{Path: schedulesPath + "/" + url.PathEscape(args[0]) + "/backfill", In: map[string]any{"from": begin, "to": end}}
			return a.exchange(cmd.Context(), writes, r, func(t *text, raw []byte) {
				done := answerOf[engine.Backfilled](t, raw)
				t.printf("%s of %s; the runs of %s were there\n", many(len(done.Queued), "start"), args[0], many(done.There, "time"))
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the first time: 48h ago, 2026-01-31 or 2026-01-31T12:00:00Z")
	cmd.Flags().StringVar(&to, "to", "", "the last time; by default now")
	return cmd
}
