package main

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
)

func (a *app) audit() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Prove what is in the log, verify it, and see who did what",
		Long: `All events are leaves of one Merkle tree, whose root is signed: a checkpoint. A
proof is verified with the public key alone, anywhere, without a daemon. Keep
checkpoints where the owner of the log cannot write: docs/audit.md.`,
	}
	cmd.AddCommand(a.auditHead(), a.auditProve(), a.auditConsistency(), a.auditVerify(), a.auditExport(), a.auditKeys(), a.auditRotate(), a.auditLog())
	return cmd
}

func (a *app) auditHead() *cobra.Command {
	return &cobra.Command{
		Use:   "head",
		Short: "Sign the log as it is now; print the checkpoint and the public key",
		Example: `  wfd audit head >> kept.txt        # somewhere else; see wfd audit verify --kept
  wfd audit head -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := a.ask(cmd.Context(), reads, client.Request{Path: "/v1/audit/head"})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				var h api.AuditHead
				if t.err = json.Unmarshal(raw, &h); t.err == nil {
					t.printf("%s\n# key: %s\n", h.Checkpoint, h.Key)
				}
			})
		},
	}
}

func (a *app) auditProve() *cobra.Command {
	var conceal bool
	cmd := &cobra.Command{
		Use:   "prove SEQ",
		Short: "Print the proof that an event is in the log",
		Long: `Print the proof that an event is in the log, a JSON document that wfd audit verify
--from checks with the public key alone. With --conceal it proves the event's run,
time, kind and actor, and does not show the payload.`,
		Example: `  wfd audit prove 3 > proof.json`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if seq, err := strconv.ParseUint(args[0], 10, 64); err != nil || seq == 0 {
				return usagef("%q is not a seq: they begin with 1", args[0])
			}
			return a.document(cmd.Context(), "/v1/audit/proof", url.Values{"seq": {args[0]}, "conceal": {strconv.FormatBool(conceal)}})
		},
	}
	cmd.Flags().BoolVar(&conceal, "conceal", false, "leave out the payload: its salted hash stands for it")
	return cmd
}

func (a *app) auditConsistency() *cobra.Command {
	return &cobra.Command{
		Use:   "consistency A [B]",
		Short: "Print the proof that the log was only appended to between two checkpoints",
		Long: `Print the proof that between the checkpoints of A and of B events the log was only
appended to. Both must have been signed; without B it is the last one.`,
		Example: `  wfd audit consistency 1200 > consistency.json`,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			for i, size := range args {
				if _, err := strconv.ParseUint(size, 10, 64); err != nil {
					return usagef("%q is not the size of a checkpoint", size)
				}
				q.Set([]string{"from", "to"}[i], size)
			}
			return a.document(cmd.Context(), "/v1/audit/consistency", q)
		},
	}
}

func (a *app) auditKeys() *cobra.Command {
	var rotations bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Print the public key that verifiers need",
		Example: `  wfd audit keys > log.pub
  wfd audit keys --rotations > rotations.txt   # if the key was ever rotated`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := a.ask(cmd.Context(), reads, client.Request{Path: "/v1/audit/keys"})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showKeys(t, raw, rotations) })
		},
	}
	cmd.Flags().BoolVar(&rotations, "rotations", false, "print how older keys lead to it instead")
	return cmd
}

func showKeys(t *text, raw json.RawMessage, rotations bool) {
	var k api.AuditKeys
	switch t.err = json.Unmarshal(raw, &k); {
	case t.err != nil:
	case rotations:
		t.printf("%s", k.Rotations)
	default:
		t.printf("%s\n", k.Key)
	}
}

func (a *app) auditRotate() *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new key, signed off by the present one; print its public part",
		Long: `Make a new key, signed off by the present one at the present size of the log. Who
has an old public key goes on verifying: proofs carry the rotations. If a key may
have been stolen, give wfd audit keys --rotations to everyone who verifies. An
event of the log says who rotated it, when and why: wfd audit log.`,
		Example: `  wfd audit rotate --reason "ann, who could read it, has left" > log.pub`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := a.ask(cmd.Context(), reads, client.Request{Path: "/v1/audit/rotate", In: map[string]string{"reason": reason}})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) { showKeys(t, raw, false) })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it is kept in the log")
	return cmd
}

// document prints a document as it came: it is verified to the byte.
func (a *app) document(ctx context.Context, path string, q url.Values) error {
	raw, err := a.ask(ctx, reads, client.Request{Path: path, Query: q})
	if err != nil {
		return err
	}
	if a.output != "table" {
		return a.printJSON(raw)
	}
	_, err = a.stdout.Write(raw)
	return err
}
