package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/doctor"
	"github.com/wfd-dev/wfd/eventlog"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Look at what a daemon depends on: disk, clock, limits, address",
		Long: `Look at what a daemon depends on: the data directory and who holds it, the space and
the file system it is on, how long a sync takes there, the clock against the log's last
event, how many files may be open, in which sandboxes programs can be run, and whether the
address is free. Nothing is changed;
wfd check looks at the data itself.

Exit 0: nothing is wrong, warnings aside; 6: something about the storage; 4: something
else.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			addr := defaultAddr
			if a.addr != "" { // as it is given to serve, or to a client
				_, rest, isURL := strings.Cut(a.addr, "://")
				if addr = a.addr; isURL {
					addr = strings.TrimSuffix(rest, "/")
				}
			}
			checks := doctor.Run(cmd.Context(), doctor.Input{Dir: dir, Addr: addr, Now: time.Now, Last: func(ctx context.Context, held *eventlog.LockedError) (time.Time, error) {
				return a.lastEvent(ctx, dir, held)
			}})
			code, failed := exitOK, 0
			for _, c := range checks {
				if c.Status != doctor.Fail {
					continue
				}
				failed++
				if c.Storage {
					code = exitStorage
				} else if code == exitOK {
					code = exitConflict
				}
			}
			raw, err := json.Marshal(map[string]any{"ok": failed == 0, "version": buildVersion(), "items": checks})
			if err != nil {
				return err
			}
			if err := a.printList(raw, func(t *text) { showChecks(t, checks) }); err != nil || failed == 0 {
				return err
			}
			return &coded{code, fmt.Errorf("%s found", many(failed, "problem"))}
		},
	}
}

func showChecks(t *text, checks []doctor.Check) {
	for _, c := range checks {
		t.said(string(c.Status), c.Name, c.Found)
	}
	for _, c := range checks {
		if c.Remedy != "" {
			t.printf("%s: %s\n", c.Name, c.Remedy)
		}
	}
}

// lastEvent returns the time of the last event of a log: read from the directory, or
// asked of the daemon that holds it.
func (a *app) lastEvent(ctx context.Context, dir string, held *eventlog.LockedError) (last time.Time, err error) {
	if held == nil {
		keys, err := a.dataKeys()
		if err != nil {
			return last, err
		}
		log, err := eventlog.Open(dir, eventlog.Options{ReadOnly: true, Keys: keys, Logger: slog.New(slog.DiscardHandler)})
		if errors.Is(err, os.ErrNotExist) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		if head := log.Head(); head > 0 {
			var events []eventlog.Event
			if events, err = log.ReadFrom(head-1, 1); err == nil && len(events) == 1 {
				last = time.Unix(0, events[0].Time).UTC()
			}
		}
		return last, errors.Join(err, log.Close())
	}
	if held.Address == "" {
		return last, errors.New("a command has the directory")
	}
	secured, err := a.certs.Load()
	if err != nil {
		return last, err
	}
	c, err := client.New(held.Address, client.Token(a.token), client.TLS(secured), client.Patience(0))
	if err != nil {
		return last, err
	}
	var h api.Health
	if err := c.Get(ctx, client.Request{Path: "/livez"}, &h); err != nil || h.Head == 0 {
		return last, err
	}
	var page client.List[client.Event]
	err = c.Get(ctx, client.Request{Path: "/v1/events", Query: url.Values{"cursor": {strconv.FormatUint(uint64(h.Head)-1, 10)}, "limit": {"1"}}}, &page)
	if err == nil && len(page.Items) > 0 {
		last = page.Items[0].Time
	}
	return last, err
}
