package main

import (
	"encoding/json"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

func (a *app) state() *cobra.Command {
	var at string
	var l looking
	cmd := &cobra.Command{
		Use:   "state RUN",
		Short: "Show a run's state, now or at any position of its history",
		Example: `  wfd state RUN
  wfd state RUN --at 412         # after event 412 of the log
  wfd state RUN --at v12         # after the run's own event 12
  wfd state RUN --at review#2    # once visit 2 of node review had ended
  wfd state run.wfd              # of a capsule: wfd export`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, id, err := a.look(cmd.Context(), args[0], &l)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			q := url.Values{}
			if at != "" {
				q.Set("at", at)
			}
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: runPath(id) + "/state", Query: q})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				var st client.State
				if t.err = json.Unmarshal(raw, &st); t.err != nil {
					return
				}
				t.printf("%s at version %d (seq %d): %s\n", st.Run, st.Version, st.Seq, st.Status)
				showState(t, &st)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "a seq (412), a version (v12) or a visit (node#2)")
	l.register(cmd)
	return cmd
}

func runPath(id string) string { return "/v1/runs/" + url.PathEscape(id) }
