package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

func (a *app) watch() *cobra.Command {
	return &cobra.Command{
		Use:   "watch RUN",
		Short: "Watch a run until it has ended",
		Long: `Watch a run until it has ended; exit 1 if it did not complete. On a terminal the
picture is redrawn in place; elsewhere each change is a line, and the last picture
follows. What agents say is shown as they say it. With -o ndjson each event is a line;
with -o json or yaml the run as it stands in the end is printed.`,
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
			if a.output == "table" {
				err = a.watchPicture(ctx, s, &r)
			} else {
				err = a.watchEvents(ctx, s, r.ID)
			}
			if err != nil {
				return err
			}
			return a.ended(ctx, s, r.ID)
		},
	}
}

// watchPicture shows a run as it goes.
func (a *app) watchPicture(ctx context.Context, s *session, r *client.Run) error {
	wf, err := fetch(ctx, s, r.Workflow, r.Version)
	if err != nil {
		return err
	}
	m := newMonitor(r, wf)
	t := a.text()
	live := isTerminal(a.stdout) && t.color
	drawn := 0
	err = readEvents(ctx, s, []string{r.ID}, reading{follow: !s.inside(), tokens: true}, func(raw json.RawMessage) error {
		var e client.Event
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		if e.Kind == "token" {
			if said := m.hear(e.Data, !live); !live {
				t.printf("%s", said)
			} else {
				drawn = m.draw(t, drawn)
			}
			return t.err
		}
		rest := ""
		if !live {
			rest = m.unsaid(&e)
		}
		changed := m.apply(&e)
		switch {
		case live && e.Seq >= r.Seq: // the past is not played
			drawn = m.draw(t, drawn)
		case !live && changed != "":
			t.printf("%s", rest)
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
}

// watchEvents writes a run's events as they come, one a line if that is asked for.
func (a *app) watchEvents(ctx context.Context, s *session, id string) error {
	return readEvents(ctx, s, []string{id}, reading{follow: !s.inside()}, func(raw json.RawMessage) error {
		if a.output == "ndjson" {
			return a.printJSON(raw)
		}
		return nil
	})
}

// ended says how a run ended, as data if that is asked for; one that did not
// complete is an error.
func (a *app) ended(ctx context.Context, s *session, id string) error {
	raw, _, err := s.Do(ctx, client.Request{Path: runPath(id)})
	if err != nil {
		return err
	}
	if a.output == "json" || a.output == "yaml" {
		if err := a.printJSON(raw); err != nil {
			return err
		}
	}
	var r client.Run
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	if r.Terminal() && r.Status != "completed" {
		return &coded{exitFailed, fmt.Errorf("run %s is %s: %s", r.ID, r.Status, r.Why)}
	}
	return nil
}
