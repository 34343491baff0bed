package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine"
)

func (a *app) erase() *cobra.Command {
	var payload, reason, key string
	var dry bool
	cmd := &cobra.Command{
		Use:   "erase RUN | --payload HASH",
		Short: "Take the content of a run, or a payload, out of every file for good",
		Long: `Take content out of every file of the data directory: segments, blobs, archives,
views. RUN goes with all runs under it. HASH is the SHA-256 of a payload, as the
files in blobs/ are named, or the salted one in a proof or an export; the payload goes
wherever it is, and so do the events in the same runs that have its texts.

Events stay, with their order, times, kinds, actors, nodes and usage; so do their
hashes, and every proof remains valid. The erasure is an event itself. It cannot be
undone; backups and exports made before still have the content.`,
		Example: `  wfd erase 01M84KD0WN38M2V8JMNSE3D6WV --reason "request 4711" --dry-run
  wfd erase --payload 9f86d081884c7d65… --reason "a password in an answer"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if (len(args) == 1) == (payload != "") {
				return usagef("name a run, or a payload with --payload")
			}
			if reason == "" {
				return usagef("--reason is needed: it stays in the audit trail")
			}
			body := map[string]any{"reason": reason, "dry_run": dry}
			if payload != "" {
				body["payload"] = payload
			} else {
				body["run"] = args[0]
			}
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/erasures", In: body, Key: key})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showErasure(t, raw, dry) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&payload, "payload", "", "hash of a payload to erase wherever it is")
	f.StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	f.BoolVar(&dry, "dry-run", false, "only say what would be erased")
	f.StringVar(&key, "key", "", "idempotency key")
	return cmd
}

func showErasure(t *text, raw json.RawMessage, dry bool) {
	var e engine.Erasure
	if t.err = json.Unmarshal(raw, &e); t.err != nil {
		return
	}
	t.row("RUN", "WORKFLOW", "EVENTS")
	for _, r := range e.Runs {
		t.row(r.ID, r.Workflow, count(r.Events))
	}
	if dry {
		t.printf("would erase the content of %d events, %s\n", e.Events, bytesText(e.Bytes))
	} else {
		t.printf("erased the content of %d events, %s; event %d says so\n", e.Events, bytesText(e.Bytes), e.Seq)
	}
	for _, f := range e.Forks {
		t.printf("run %s was forked off; what it wrote itself stays\n", f)
	}
}
