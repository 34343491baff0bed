package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine"
)

func (a *app) worker() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Show the workers and what they do",
	}
	cmd.AddCommand(a.workerLs(), a.workerQueues())
	return cmd
}

func (a *app) workerLs() *cobra.Command {
	var cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the workers that have polled lately, and the tasks they hold",
		Long: `List the workers that have polled the daemon within the last ten minutes, or hold
a task: what they offer, when they were last heard of, and what they do.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			if cursor != "" {
				q.Set("cursor", cursor)
			}
			return a.exchangeList(cmd.Context(), reads, client.Request{Path: "/v1/workers", Query: q}, func(t *text, raw []byte) {
				list := answerOf[client.List[client.Worker]](t, raw)
				if t.err != nil {
					return
				}
				showWorkers(t, list.Items)
				if list.Next != "" {
					a.note("there are more: --cursor %s", list.Next)
				}
			})
		},
	}
	f := cmd.Flags()
	f.IntVar(&limit, "limit", 200, "workers per page, up to 1000")
	f.StringVar(&cursor, "cursor", "", "continue after the page before")
	return cmd
}

func (a *app) workerQueues() *cobra.Command {
	return &cobra.Command{
		Use:   "queues",
		Short: "Show the queues: what is under way in each, and what waits",
		Long: `Show the queues that have had an attempt since the daemon was started: how many
attempts may be under way at once, how many are, how many wait for one of those
places, and how many for a worker.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.exchangeAll(cmd.Context(), reads, "/v1/queues", func(t *text, raw []byte) {
				t.row("QUEUE", "LIMIT", "UNDER WAY", "WAIT FOR A PLACE", "WAIT FOR A WORKER")
				for _, q := range answerOf[client.List[engine.Queue]](t, raw).Items {
					t.row(q.Name, strconv.Itoa(q.Limit), strconv.Itoa(q.Running), strconv.Itoa(q.Ready), strconv.Itoa(q.Offered))
				}
				t.flush()
			})
		},
	}
}

func showWorkers(t *text, workers []client.Worker) {
	t.row("WORKER", "STATE", "HANDLERS", "QUEUES", "LAST SEEN", "TASKS")
	for _, w := range workers {
		t.row(w.Name, w.State, strings.Join(w.Handlers, ","), strings.Join(w.Queues, ","), when(w.Seen), strconv.Itoa(len(w.Tasks)))
	}
	t.flush()
	for _, w := range workers {
		for _, h := range w.Tasks {
			more := ""
			if h.Progress != "" {
				more = "  " + h.Progress
			}
			t.printf("  %s  %s  %s since %s%s\n", w.Name, h.Run, fmt.Sprintf("%s#%d attempt %d", h.Node, h.Visit, h.Attempt), when(h.Since), more)
		}
	}
}
