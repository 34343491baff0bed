package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine"
)

func (a *app) compact() *cobra.Command {
	var dry bool
	var retain []string
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Move payloads of old runs out of the log, and give space back",
		Long: `Let retention do now what the daemon does by and by: move the payloads of ended
runs that pass a limit to an archive, or drop them, and write the log's files anew
without them. Events, hashes and proofs stay; an archived run is read as before.
Files that nothing refers to go as well.

The policy is the daemon's --retain, unless this command brings one of its own. A
run with the label "` + engine.HoldLabel + `" stays.`,
		Example: `  wfd compact --dry-run
  wfd compact --retain after=30d --retain "nightly: runs=100,drop"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if _, err := engine.ParseRetention(retain); err != nil {
				return usagef("--retain: %w", err)
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			body := map[string]any{"dry_run": dry}
			if len(retain) > 0 {
				body["retain"] = retain
			}
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/compact", In: body})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showCompaction(t, raw, dry) })
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	cmd.Flags().StringArrayVar(&retain, "retain", nil, "a policy instead of the daemon's: [WORKFLOW:]after=30d,runs=1000,bytes=10GB,drop,drop_after=365d; may be repeated")
	setOutside(cmd.Flags(), "retain")
	return cmd
}

func showCompaction(t *text, raw json.RawMessage, dry bool) {
	var c engine.Compaction
	if t.err = json.Unmarshal(raw, &c); t.err != nil {
		return
	}
	if len(c.Workflows) > 0 {
		t.row("WORKFLOW", "RUNS", "BYTES", "LIMITS PASSED")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Workflows)) {
		w := c.Workflows[name]
		var by []string
		for _, limit := range slices.Sorted(maps.Keys(w.By)) {
			by = append(by, limit+" "+count(w.By[limit]))
		}
		t.row(name, count(w.Runs), bytesText(w.Bytes), strings.Join(by, ", "))
	}
	if !c.Policy {
		t.printf("there is no policy: no run passes a limit that nobody set; see --retain\n")
	}
	if dry {
		t.printf("would archive the payloads of %d runs and drop those of %d, %s\n", c.Archived, c.Dropped, bytesText(c.Bytes))
		return
	}
	t.printf("archived the payloads of %d runs, dropped those of %d, %s; %d segments are %s smaller, the views %s\n",
		c.Archived, c.Dropped, bytesText(c.Bytes), c.Segments, bytesText(c.Freed), bytesText(c.ViewsFreed))
}

func (a *app) du() *cobra.Command {
	return &cobra.Command{
		Use:   "du",
		Short: "Say what takes how much room on the disk",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.exchange(cmd.Context(), reads, client.Request{Path: "/v1/usage"}, func(t *text, raw []byte) { showUsage(t, raw) })
		},
	}
}

func showUsage(t *text, raw json.RawMessage) {
	var u engine.DiskUsage
	if t.err = json.Unmarshal(raw, &u); t.err != nil {
		return
	}
	t.row("SIZE", "WHAT")
	for _, f := range []struct {
		n    int64
		what string
	}{{u.Segments, "log"}, {u.Blobs, "blobs"}, {u.Archives, "archives"}, {u.Catalog, "catalog"}, {u.Views, "views"}} {
		t.row(bytesText(f.n), f.what)
	}
	t.row(bytesText(u.Segments+u.Blobs+u.Archives+u.Catalog+u.Views), "in all")
	t.printf("\n")
	t.row("PAYLOADS", "RUNS", "LIVE", "ARCHIVED", "ERASED", "EVENTS", "WORKFLOW")
	names := slices.SortedFunc(maps.Keys(u.Workflows), func(a, b string) int { return int(u.Workflows[b].Bytes - u.Workflows[a].Bytes) })
	for _, name := range names {
		w := u.Workflows[name]
		t.row(bytesText(w.Bytes), count(w.Runs), count(w.Live), count(w.Archived), count(w.Erased), strconv.FormatInt(w.Events, 10), name)
	}
}

func count(n int) string { return strconv.Itoa(n) }
