package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/client"
)

func (a *app) watch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch RUN",
		Short: "Watch a run until it has ended",
		Long: `Watch a run until it has ended. On a terminal the picture is redrawn in place;
elsewhere each change is a line, and the last picture follows.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			s, err := a.connect(ctx, reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			var r client.Run
			if err := s.Get(ctx, client.Request{Path: runPath(args[0])}, &r); err != nil {
				return err
			}
			wf, err := fetch(ctx, s, r.Workflow, r.Version)
			if err != nil {
				return err
			}
			m := newMonitor(&r, wf)
			t := a.text()
			live := isTerminal(a.stdout) && t.color
			drawn := 0
			err = readEvents(ctx, s, args, nil, !s.inside(), 0, func(raw json.RawMessage) error {
				var e client.Event
				if err := json.Unmarshal(raw, &e); err != nil {
					return err
				}
				changed := m.apply(&e)
				switch {
				case live && e.Seq >= r.Seq: // the past is not played
					drawn = m.draw(t, drawn)
				case !live && changed != "":
					t.printf("%s %s\n", e.Time.Local().Format("15:04:05.000"), changed)
				}
				return t.err
			})
			if err != nil {
				return err
			}
			if !live {
				t.printf("\n")
			}
			m.draw(t, drawn)
			m.total(t)
			return t.flush()
		},
	}
}
