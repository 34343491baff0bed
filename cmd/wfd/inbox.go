package main

import (
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

func (a *app) inbox() *cobra.Command {
	var run, workflow, assignee, cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "inbox",
		Short: "List the questions that wait for an answer",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for k, v := range map[string]string{"run": run, "workflow": workflow, "assignee": assignee, "cursor": cursor} {
				if v != "" {
					q.Set(k, v)
				}
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/inbox", Query: q})
			if err != nil {
				return err
			}
			return a.printList(raw, func(t *text) {
				var list client.List[client.Input]
				if t.err = json.Unmarshal(raw, &list); t.err != nil {
					return
				}
				t.row("RUN", "NODE", "WORKFLOW", "ASSIGNEE", "ASKED", "DUE", "PROMPT")
				for _, in := range list.Items {
					t.row(in.Run, in.Node, in.Workflow, in.Assignee, when(in.Asked), when(in.Due), in.Prompt)
				}
				if list.Next != "" {
					a.note("there are more: --cursor %s", list.Next)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&run, "run", "", "only of this run")
	f.StringVar(&workflow, "workflow", "", "only of runs of this workflow")
	f.StringVar(&assignee, "assignee", "", "only for this person")
	f.IntVar(&limit, "limit", 50, "questions per page, up to 1000")
	f.StringVar(&cursor, "cursor", "", "continue after the page before")
	return cmd
}
