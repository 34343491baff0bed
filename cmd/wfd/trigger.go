package main

import (
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/projection"
	"github.com/wfd-dev/wfd/projection/event"
)

// triggerCommand is a command that does one thing to the trigger of a name; path is
// that of its kind.
func (a *app) triggerCommand(use, short, path string, body func() map[string]any, done string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   use + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"reason": reason}
			if body != nil {
				for k, v := range body() {
					in[k] = v
				}
			}
			r := client.Request{Path: path + "/" + url.PathEscape(args[0]) + "/" + use, In: in}
			return a.exchange(cmd.Context(), reads, r, func(t *text, _ []byte) { t.printf("%s %s\n", args[0], done) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	return cmd
}

// moment is a time as people read it, in their own zone.
func moment(t event.Time) string {
	if t == 0 {
		return "-"
	}
	return t.Std().Local().Format("2006-01-02 15:04:05 MST")
}

func (t *text) pausing(p api.Pausing) {
	if p.Paused {
		t.printf("paused:   since %s by %s%s\n", moment(p.Since), p.Pauser, because(p.Reason))
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + line(reason, 200)
}

// fires shows what became of a trigger's last times.
func (t *text) fires(list []projection.Fire) {
	for _, f := range list {
		what, subject := f.Outcome, moment(f.Due)
		if f.Count > 1 {
			what += " " + many(f.Count, "time")
		}
		if f.ID != "" {
			subject = f.ID
		}
		if !f.Run.IsZero() {
			what += " " + f.Run.String()
		}
		t.row(moment(f.At), subject, what, line(f.Reason, 80))
	}
}

// momentOf reads a moment, or how long ago it was.
func momentOf(flag, s string) (time.Time, error) {
	at, err := sinceTime(s)
	if err != nil {
		return at, usagef("--%s %q: want 24h, 2026-01-31 or 2026-01-31T12:00:00Z", flag, s)
	}
	return at, nil
}
