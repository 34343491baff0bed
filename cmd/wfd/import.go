package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

// maxImport is how large a file the API takes.
const maxImport = 256 << 20

func (a *app) importCommand() *cobra.Command {
	var keys []string
	var reason string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put the runs of a capsule into this log",
		Long: `Import what wfd export has written: the run, those that it started, and those that it
was forked from, with their IDs and their events. An event behind them says from
which log they are, who has imported them, and when; whoever acted there is marked as
another log's. Nothing is executed: a run that had not ended is paused, and goes on,
here, if it is resumed. A definition that is not known here is kept under its hash
and takes no name.

A run that is here already, the same, is left as it is: to import twice is to import
once. Exit code 4, and nothing is imported, if it is another one. With --key, the
capsule must be signed by that key.`,
		Example: `  wfd import run.wfd
  wfd import run.wfd --key their.pub --reason "incident 7"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			body, err := readLarge(args[0])
			if err != nil {
				return err
			}
			// Checked here as well: what a file is wrong in is the caller's matter.
			if _, err := a.readCapsule(args[0], &looking{keys: keys}); err != nil {
				return err
			}
			q := url.Values{}
			if reason != "" {
				q.Set("reason", reason)
			}
			for _, name := range keys {
				b, err := readFile(name)
				if err != nil {
					return err
				}
				if !isChain(b) { // a capsule brings the rotations with it
					q.Set("key", q.Get("key")+string(b)+"\n")
				}
			}
			s, err := a.connect(cmd.Context(), writes)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: "/v1/import", Query: q, In: body, Type: "application/zstd"})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showImported(t, raw) })
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "file with the public key of the log that it must be of; may be repeated")
	f.StringVar(&reason, "reason", "", "why; it is kept in the log")
	return cmd
}

// readLarge reads a file of up to maxImport bytes.
func readLarge(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New(name + " is not a regular file")
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	if st.Size() > maxImport {
		return nil, usagef("%s: it has more than %d MiB", name, maxImport>>20)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return b, nil
}

func showImported(t *text, raw json.RawMessage) {
	var r api.ImportBody
	if t.err = json.Unmarshal(raw, &r); t.err != nil {
		return
	}
	t.row("RUN", "WORKFLOW", "STATUS", "EVENTS")
	for _, run := range r.Runs {
		note := ""
		switch {
		case run.There:
			note = "it was here already"
		case run.Partial:
			note = "its beginning, which another was forked from"
		}
		t.row(run.ID.String(), run.Workflow, string(run.Status), strconv.Itoa(run.Events), note)
	}
}
