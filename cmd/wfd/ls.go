package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

func (a *app) ls() *cobra.Command {
	var status, workflow, cursor string
	var labels []string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List runs, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for k, v := range map[string]string{"status": status, "workflow": workflow, "cursor": cursor} {
				if v != "" {
					q.Set(k, v)
				}
			}
			q["label"] = labels
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/runs", Query: q})
			if err != nil {
				return err
			}
			return a.printList(raw, func(t *text) {
				var list client.List[client.Row]
				if t.err = json.Unmarshal(raw, &list); t.err != nil {
					return
				}
				t.row("ID", "WORKFLOW", "STATUS", "CREATED", "DONE", "NOTE")
				for _, r := range list.Items {
					t.row(r.ID, r.Workflow, r.Status, when(r.Created), strconv.Itoa(r.Completed), rowNote(&r))
				}
				if list.Next != "" {
					a.note("there are more: --cursor %s", list.Next)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&status, "status", "", "only this status")
	f.StringVar(&workflow, "workflow", "", "only runs of this workflow")
	f.StringArrayVar(&labels, "label", nil, "only runs with key=value; may be repeated")
	f.IntVar(&limit, "limit", 50, "runs per page, up to 1000")
	f.StringVar(&cursor, "cursor", "", "continue after the page before")
	return cmd
}

func rowNote(r *client.Row) string {
	if r.Erased != "" {
		kept := *r
		kept.Erased = ""
		return strings.TrimSuffix(r.Erased+"; "+rowNote(&kept), "; ")
	}
	switch {
	case r.Damaged > 0:
		return r.Why
	case r.Failure != nil:
		return r.Failure.Class + ": " + r.Failure.Message
	case r.Reason != "":
		return r.Reason
	case r.Status == "running", slices.ContainsFunc(r.Waits, func(w client.Wait) bool { return w.For == "retry" }):
		return r.Why
	case len(r.Waits) > 0:
		w := r.Waits[0]
		s := fmt.Sprintf("%s waits for %s %s", w.Node, w.For, w.Name)
		if len(r.Waits) > 1 {
			s += fmt.Sprintf(", and %d more", len(r.Waits)-1)
		}
		return s
	}
	return ""
}
