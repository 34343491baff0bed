package main

import (
	"cmp"
	"encoding/json"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine"
	"github.com/wfd-dev/wfd/engine/access"
	"github.com/wfd-dev/wfd/projection/event"
)

func (a *app) tokens() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens by which others come in",
	}
	cmd.AddCommand(a.tokenCreate(), a.tokenLs(), a.tokenRevoke())
	return cmd
}

func (a *app) tokenCreate() *cobra.Command {
	var scopes []string
	var expires, reason string
	cmd := &cobra.Command{
		Use:   "create NAME --scope SCOPE",
		Short: "Make a token",
		Long: `Make a token for NAME, who is the actor of whatever is done with it. The token is
printed once and kept nowhere; the log has its hash.

  read     look at everything
  run      and start runs, send signals, answer questions
  operate  and change definitions, pause, resume, cancel, retry, fork, restore
  worker   be handed tasks and hand in their results, nothing else
  admin    everything: tokens, keys, backups, imports, erasures

With --namespace the token is good for that namespace alone, and whoever has it sees
nothing of the others.

A daemon asks for tokens if it is started with --auth or with --token; on an address
that others can reach it has to be.`,
		Example: `  wfd token create ci --scope run --expires 90d
  wfd token create gpu-1 --scope worker --expires never
  wfd token create ann --scope operate --namespace team-a`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(scopes) == 0 {
				return usagef("--scope is needed: read, run, operate, worker or admin")
			}
			life, err := parseLife(expires)
			if err != nil {
				return usagef("--expires: %w", err)
			}
			s, err := a.connect(cmd.Context(), writes)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			body := map[string]any{"name": args[0], "scopes": scopes, "reason": reason, "namespace": a.namespace}
			if life > 0 {
				body["expires"] = life.String()
			}
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/tokens", In: body})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				var made api.NewToken
				if t.err = json.Unmarshal(raw, &made); t.err != nil {
					return
				}
				t.printf("%s\n", made.Text)
				where := ""
				if made.Namespace != "" {
					where = " in namespace " + made.Namespace
				}
				a.note("token %s of %s may %s%s, %s; it is not shown again", made.ID, made.Name, made.Scopes, where, until(made.Expires))
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&scopes, "scope", nil, "what it may do: read, run, operate, worker, admin; may be repeated")
	f.StringVar(&expires, "expires", "90d", "after this time it is good for nothing; never: it lives until it is revoked")
	f.StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	return cmd
}

func (a *app) tokenLs() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the tokens, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.exchangeAll(cmd.Context(), reads, "/v1/tokens", func(t *text, raw []byte) {
				list := answerOf[client.List[access.Token]](t, raw)
				if t.err != nil {
					return
				}
				t.row("ID", "NAME", "SCOPES", "NAMESPACE", "MADE", "BY", "GOOD", "LAST USED")
				for _, k := range list.Items {
					good := until(k.Expires)
					if k.Revoked != 0 {
						good = "revoked " + day(k.Revoked)
					}
					used := "-"
					if k.Used != 0 {
						used = k.Used.Std().Format(time.DateTime)
					}
					t.row(k.ID, k.Name, k.Scopes.String(), cmp.Or(k.Namespace, "all"), day(k.Created), k.By, good, used)
				}
			})
		},
	}
}

func (a *app) tokenRevoke() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke ID|NAME",
		Short: "Let a token be good for nothing from now on",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			s, err := a.connect(cmd.Context(), reads)
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			raw, _, err := s.Do(cmd.Context(), client.Request{Path: "/v1/tokens/" + url.PathEscape(args[0]) + "/revoke", In: map[string]any{"reason": reason}})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				var k access.Token
				if t.err = json.Unmarshal(raw, &k); t.err == nil {
					t.printf("token %s of %s is revoked\n", k.ID, k.Name)
				}
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	return cmd
}

// parseLife reads how long a token lives; for ever is 0.
func parseLife(s string) (time.Duration, error) {
	if s == "never" {
		return 0, nil
	}
	return engine.ParseAge(s)
}

func until(t event.Time) string {
	if t == 0 {
		return "for ever"
	}
	return "until " + day(t)
}

func day(t event.Time) string { return t.Std().Format(time.DateOnly) }
