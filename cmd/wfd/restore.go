package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/host"
	"github.com/wfd-dev/wfd/eventlog"
	"github.com/wfd-dev/wfd/eventlog/backup"
)

// restored is what wfd restore has made.
type restored struct {
	Data   string       `json:"data"`
	Origin string       `json:"origin,omitempty"` // of the log that was copied
	At     eventlog.Seq `json:"at"`               // its last event that is here
	Time   time.Time    `json:"time"`             // the latest of any event up to there
	Head   eventlog.Seq `json:"head"`             // its last event in the copy
	Signed uint64       `json:"signed"`           // events that it had signed for
	Same   bool         `json:"same_log"`
	host.Paused
}

// restoring are the flags of wfd restore.
type restoring struct {
	from, to, reason string
	live, same       bool
	unproven         bool
}

func (a *app) restore() *cobra.Command {
	var r restoring
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Make a data directory of a backup, up to any event or moment",
		Long: `Make a new data directory of a backup, or of another data directory that no daemon
holds, which is left as it is: with all events, or those up to --to. Every event is
verified, and must be as it was signed for (--unproven: need not). The directory of --data must be empty, or not there yet; it appears in one
step, or not at all.

Runs that were live there would go on from that point, and do again what they did
after it. So they are paused: look at them, and wfd resume them one by one. So are
schedules and hooks: those of the other log may still be at work. --live leaves them as they are: they go on with the next start of a daemon.

The restored log is a log of its own: with a new name and key, and knowing what it
comes from. wfd audit verify holds it against all that was signed before. Events
after --to that had been signed for are told to whoever asks for them as left behind.
--same-log keeps name and key: for a log that moves and never goes on where it was;
that needs a backup --with-keys, and all of its events.

An event in the log says that it was restored, by whom and why.`,
		Example: `  wfd restore /mnt/backup/wfd --data ./data
  wfd restore wfd-2026-11-23.tar.zst --data ./data --to 2026-11-23T09:30:00Z
  wfd restore --from ./data --data ./before --to 41250 --reason "before the import"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if r.from != "" {
					return usagef("name the backup once: as an argument, or with --from")
				}
				r.from = args[0]
			}
			if r.from == "" {
				return usagef("name the backup, or the data directory, to restore from")
			}
			if a.sources["addr"] > a.sources["data"] {
				return usagef("wfd restore makes a directory that no daemon holds yet: use --data")
			}
			return a.restoreTo(cmd.Context(), &r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.from, "from", "", "the backup or data directory to restore from")
	f.StringVar(&r.to, "to", "", "the last event (41250), or a moment: 2026-11-23T09:30:00Z, or 90m ago as 90m")
	f.StringVar(&r.reason, "reason", "", "why; it is kept in the log")
	f.BoolVar(&r.live, "live", false, "leave live runs as they are, instead of pausing them")
	f.BoolVar(&r.unproven, "unproven", false, "restore it even if its events are not those that were signed for")
	f.BoolVar(&r.same, "same-log", false, "go on under the same name and key: the log has moved")
	return cmd
}

func (a *app) restoreTo(ctx context.Context, r *restoring) error {
	until, err := untilOf(r.to, time.Now())
	if err != nil {
		return err
	}
	if err := isThere(r.from); err != nil {
		return err
	}
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	fail, err := killpoint()
	if err != nil {
		return err
	}
	log, err := a.logger(slog.LevelError)
	if err != nil {
		return err
	}
	keys, err := a.dataKeys()
	if err != nil {
		return err
	}
	out := restored{Data: dir, Same: r.same}
	done, err := backup.Restore(ctx, r.from, dir, backup.RestoreOptions{
		Until: until, Same: r.same, DataKeys: keys, Unproven: r.unproven, Failpoint: fail,
		Complete: func(tmp string, done *backup.Restored) (err error) {
			o, err := a.options(tmp, log)
			if err == nil {
				out.Paused, err = host.CompleteRestored(ctx, o, done, host.Restoring{Actor: localActor(), Reason: r.reason, Same: r.same, Live: r.live})
			}
			return err
		},
	})
	var held *eventlog.LockedError
	switch {
	case errors.As(err, &held):
		return fmt.Errorf("%w\nhint: make a backup of it, with wfd backup, and restore that; or stop the daemon", held)
	case err != nil:
		return backupError(r.from, err)
	}
	out.Origin, out.At, out.Head = done.From.Origin, done.To.Head, done.From.Head
	out.Time, out.Signed = time.Unix(0, done.To.Time).UTC(), done.From.Signed()
	raw, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return a.print(raw, func(t *text) { showRestored(t, &out, r.live) })
}

func showRestored(t *text, r *restored, live bool) {
	t.printf("restored %d events, up to %s, to %s\n", r.At, r.Time.Local().Format(time.RFC3339), r.Data)
	if n := r.Head - r.At; n > 0 {
		t.printf("%d later events of the copy were left behind\n", n)
	}
	switch {
	case live:
		t.printf("live runs go on with the next start: what they did after that point is done again\n")
	default:
		if r.Runs > 0 {
			t.printf("%d live runs are paused: wfd ls --status paused; wfd resume lets one go on\n", r.Runs)
		}
		if r.Triggers > 0 {
			t.printf("%s paused: wfd schedule ls, wfd hook in ls, wfd hook out ls; resume those that this log is to see to\n", many(r.Triggers, "schedule or hook"))
		}
	}
	if r.Origin != "" && !r.Same {
		t.printf("it is a log of its own now, with a new key; tell those who verify %s\n", r.Origin)
	}
}

// untilOf reads where a restored log is to end: a seq, a moment, or how long ago.
func untilOf(s string, now time.Time) (u eventlog.Until, err error) {
	if s == "" {
		return u, nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && n > 0 {
		return eventlog.Until{Seq: eventlog.Seq(n)}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil && t.UnixNano() > 0 {
		return eventlog.Until{Time: t.UnixNano()}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return eventlog.Until{Time: now.Add(-d).UnixNano()}, nil
	}
	return u, usagef("--to %q: want a seq (41250), a moment (2026-11-23T09:30:00Z), or how long ago (90m)", s)
}
