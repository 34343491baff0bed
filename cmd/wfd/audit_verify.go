package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// verifying are the flags of wfd audit verify.
type verifying struct {
	from, state string
	keys, kept  []string
	here        bool // in this process; see auditApart
}

func (a *app) auditVerify() *cobra.Command {
	var v verifying
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify a data directory; or an export, a proof or checkpoints with the public key alone",
		Long: `Verify a data directory that no daemon holds, or a copy of one: that all events are
undamaged and are those that were signed for, at every checkpoint. With --from,
verify what somebody else has handed over: an export, a proof, or signed
checkpoints; that needs the public key and nothing else. Exit 6 if anything is
damaged, missing, rewritten or forged; file, seqs and run are named as far as
they are known.

Without --key the data directory's own key counts, which says nothing about a log
that was replaced together with its key.`,
		Example: `  wfd audit verify --data copy --key log.pub --kept kept.txt
  wfd audit verify --from proof.json --key log.pub
  wfd audit verify --state verified.json     # the next time only what is new`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, err := readPublic(v.keys)
			if err != nil {
				return err
			}
			if v.from != "" {
				if len(keys) != 1 {
					return usagef("--from needs --key, of one log: who hands over the file does not choose the key")
				}
				if v.state != "" || len(v.kept) > 0 {
					return usagef("--state and --kept are for a data directory")
				}
				x, err := auditFile(v.from, keys[0])
				if err != nil {
					return err
				}
				return a.concludeAudit(v.from, x)
			}
			if a.sources["addr"] > a.sources["data"] {
				return usagef("wfd audit verify works on a directory that no daemon holds: use --data, with a copy if need be")
			}
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
				return &coded{exitNotFound, fmt.Errorf("there is no data directory %s", dir)}
			}
			if v.here {
				return a.auditHere(dir, keys, &v)
			}
			x, err := a.auditApart(cmd.Context(), dir, &v)
			if err != nil {
				return err
			}
			return a.concludeAudit(dir, x)
		},
	}
	f := cmd.Flags()
	f.StringVar(&v.from, "from", "", "verify this file: an export, a proof, or signed checkpoints")
	f.StringArrayVar(&v.keys, "key", nil, "file with the public key, or with rotations that lead on from it; may be repeated")
	f.StringArrayVar(&v.kept, "kept", nil, "file with checkpoints that were kept elsewhere; may be repeated")
	f.StringVar(&v.state, "state", "", "remember in this file how far the log was verified, and look only at what is new")
	f.BoolVar(&v.here, "here", false, "")
	f.MarkHidden("here")
	return cmd
}
