package main

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/engine"
)

const hooksPath = "/v1/hooks/"

func (a *app) hook() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Webhooks: those that come in start runs or are signals; events of runs go out",
	}
	in := &cobra.Command{Use: "in", Short: "Webhooks that come in, at /hooks/NAME"}
	in.AddCommand(a.hookInCreate(), a.hookInLs())
	out := &cobra.Command{Use: "out", Short: "Events of runs that are sent to a URL"}
	out.AddCommand(a.hookOutCreate(), a.hookOutLs())
	for _, c := range []*cobra.Command{in, out} {
		path := hooksPath + c.Name()
		c.AddCommand(a.hookShow(c.Name()),
			a.triggerCommand("pause", "Let a hook do nothing until it is resumed", path, nil, "is paused"),
			a.triggerCommand("delete", "Delete a hook", path, nil, "is deleted"))
	}
	in.AddCommand(a.triggerCommand("resume", "Let a hook work again", hooksPath+"in", nil, "is at work"))
	var skip bool
	resume := a.triggerCommand("resume", "Let a hook send again, from where it was", hooksPath+"out", func() map[string]any { return map[string]any{"skip": skip} }, "is at work")
	resume.Flags().BoolVar(&skip, "skip", false, "do not send what it has missed")
	out.AddCommand(resume)
	cmd.AddCommand(in, out)
	return cmd
}

func (a *app) hookInCreate() *cobra.Command {
	body := map[string]any{}
	var secret, form, header, workflow, input, signal, run, cond, id, reason string
	var version int
	var labelled []string
	var replace bool
	cmd := &cobra.Command{
		Use:   "create NAME --secret SECRET",
		Short: "Let webhooks start runs of a workflow, or be signals to runs",
		Long: `Let webhooks that are posted to /hooks/NAME start runs of a workflow, or be signals to
runs. Who sends them proves that he knows the secret, which is named and not given:

  standard  by a signature as Standard Webhooks has it (the default)
  token     by sending it, as a bearer token or in --header
  sha256    by HMAC-SHA256 of the body, in hex, in --header (X-Hub-Signature-256)

A delivery that comes again with its ID is dealt with once. The ID is in the header
webhook-id, or one that services are known to send; where there is none, --id says what
it is of the body. Templates may hold ${webhook.body…}, ${webhook.headers['x-…']},
${webhook.id} and ${webhook.name}.`,
		Example: `  wfd hook in create deploys --secret DEPLOY --workflow deploy --if "webhook.body.ref == 'refs/heads/main'"
  wfd hook in create github --secret GITHUB --form sha256 --workflow triage --input '{"issue": "${webhook.body.issue.number}"}'
  wfd hook in create paid --secret PAY --form token --signal paid --run '${webhook.body.run}' --id '${webhook.body.event}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, err := a.value(input, "--input")
			if err != nil {
				return err
			}
			l, err := pairs("label", labelled)
			if err != nil {
				return err
			}
			if in != nil {
				body["input"] = in
			}
			for k, v := range map[string]any{
				"name": args[0], "secret": secret, "form": form, "header": header, "workflow": workflow, "version": version, "labels": l,
				"signal": signal, "run": run, "if": cond, "id": id, "replace": replace, "reason": reason,
			} {
				body[k] = v
			}
			return a.exchange(cmd.Context(), writes, client.Request{Path: hooksPath + "in", In: body}, func(t *text, raw []byte) {
				h := answerOf[api.IncomingHook](t, raw)
				t.printf("%s takes webhooks at %s\n", h.Name, h.Path)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&secret, "secret", "", "name of the secret; several with commas between them, while it is changed")
	f.StringVar(&form, "form", "standard", "how it is proved: standard, token or sha256")
	f.StringVar(&header, "header", "", "header with the proof, with token and sha256")
	f.StringVar(&workflow, "workflow", "", "workflow whose runs are started")
	f.IntVar(&version, "version", 0, "version of the workflow; 0: the newest when one comes")
	f.StringVar(&input, "input", "", "input of the run, or value of the signal: JSON, @FILE, or - for standard input; by default the body")
	f.StringVar(&signal, "signal", "", "name of a signal that is sent instead of a start")
	f.StringVar(&run, "run", "", "the run that the signal is for, as '${webhook.body.run}'")
	f.StringVar(&cond, "if", "", "condition; what does not meet it is passed over")
	f.StringVar(&id, "id", "", "what names the delivery, as '${webhook.body.id}'")
	f.StringArrayVar(&labelled, "label", nil, "KEY=VALUE of the runs; may be repeated")
	f.BoolVar(&replace, "replace", false, "what is there under NAME becomes this")
	f.StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	return cmd
}

func (a *app) hookOutCreate() *cobra.Command {
	var secret, reason string
	var kinds, workflows []string
	var allowPrivate, data, replace bool
	var giveUp time.Duration
	cmd := &cobra.Command{
		Use:   "create NAME URL --secret SECRET",
		Short: "Send events of runs to a URL",
		Long: `Send events of runs to a URL, as CloudEvents that are signed as Standard Webhooks has it,
in their order, each until it is taken: at least once, with the same webhook-id. A hook
that fails for as long as --give-up says, or is answered with 410, is dead: nothing is
sent until wfd hook out resume, and then it goes on where it was.`,
		Example: `  wfd hook out create pager https://hooks.example.org/wfd --secret PAGER --kind run.failed
  wfd hook out create mirror https://mirror.example.org --secret MIRROR --kind run.,node. --workflow report --data-too`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{
				"name": args[0], "url": args[1], "secret": secret, "kinds": kinds, "workflows": workflows, "allow_private": allowPrivate, "data": data,
				"give_up": giveUp.String(), "replace": replace, "reason": reason,
			}
			return a.exchange(cmd.Context(), writes, client.Request{Path: hooksPath + "out", In: body}, func(t *text, raw []byte) {
				h := answerOf[api.OutgoingHook](t, raw)
				t.printf("%s sends %s\n", h.Name, strings.Join(h.Spec.Kinds, ", "))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&secret, "secret", "", "name of the secret that it is signed with; with several it is signed with each")
	f.StringSliceVar(&kinds, "kind", nil, "kinds of events; run. stands for all that begin with it; by default those of the end of a run")
	f.StringSliceVar(&workflows, "workflow", nil, "of these workflows only; may be repeated")
	f.BoolVar(&allowPrivate, "allow-private", false, "private and loopback addresses may be sent to, and http")
	f.BoolVar(&data, "data-too", false, "send what the event says too, with inputs and answers")
	f.DurationVar(&giveUp, "give-up", engine.DefaultGiveUp, "after so much failing it is dead")
	f.BoolVar(&replace, "replace", false, "what is there under NAME becomes this")
	f.StringVar(&reason, "reason", "", "why; it stays in the audit trail")
	return cmd
}

func (a *app) hookInLs() *cobra.Command {
	return a.hookLs("in", func(t *text, raw []byte) string {
		list := answerOf[client.List[api.IncomingHook]](t, raw)
		t.row("NAME", "DOES", "PROOF", "STARTED", "SKIPPED", "FAILED", "DENIED", "STATE")
		for _, h := range list.Items {
			does := "starts " + h.Spec.Workflow
			if h.Spec.Signal != "" {
				does = "signals " + h.Spec.Signal
			}
			t.row(h.Name, does, h.Spec.Form, strconv.FormatInt(h.Started, 10), strconv.FormatInt(h.Skipped, 10), strconv.FormatInt(h.Failed, 10),
				strconv.FormatUint(h.Denied, 10), hookState(h.Paused, h.Broken))
		}
		return list.Next
	})
}

func (a *app) hookOutLs() *cobra.Command {
	return a.hookLs("out", func(t *text, raw []byte) string {
		list := answerOf[client.List[api.OutgoingHook]](t, raw)
		t.row("NAME", "URL", "KINDS", "SENT", "BEHIND", "STATE", "LAST FAILURE")
		for _, h := range list.Items {
			state := hookState(h.Paused, h.Broken)
			switch {
			case h.Dead:
				state = "dead"
			case h.Attempts > 0 && !h.Paused:
				state = "failing since " + moment(h.Delivery.Since)
			}
			t.row(h.Name, line(h.Spec.URL, 60), strings.Join(h.Spec.Kinds, ","), strconv.FormatInt(h.Sent, 10), strconv.FormatUint(h.Behind, 10), state, line(h.Delivery.Reason, 60))
		}
		return list.Next
	})
}

func hookState(paused bool, broken string) string {
	switch {
	case broken != "":
		return "broken"
	case paused:
		return "paused"
	}
	return "at work"
}

func (a *app) hookLs(direction string, show func(t *text, raw []byte) (next string)) *cobra.Command {
	var cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the hooks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := client.Request{Path: hooksPath + direction, Query: url.Values{"limit": {strconv.Itoa(limit)}, "cursor": {cursor}}}
			return a.exchangeList(cmd.Context(), reads, r, func(t *text, raw []byte) {
				if next := show(t, raw); next != "" {
					a.note("there are more: --cursor %s", next)
				}
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "hooks per page, up to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "continue after the page before")
	return cmd
}

func (a *app) hookShow(direction string) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a hook, and what became of its last webhooks",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := client.Request{Path: hooksPath + direction + "/" + url.PathEscape(args[0])}
			return a.exchange(cmd.Context(), reads, r, func(t *text, raw []byte) {
				if direction == "in" {
					showIncoming(t, answerOf[api.IncomingHook](t, raw))
				} else {
					showOutgoing(t, answerOf[api.OutgoingHook](t, raw))
				}
			})
		},
	}
}

func showIncoming(t *text, h api.IncomingHook) {
	t.printf("hook:     %s\npath:     %s\nproof:    %s with %s\n", h.Name, h.Path, h.Spec.Form, h.Spec.Secret)
	if h.Spec.Workflow != "" {
		t.printf("starts:   %s\n", h.Spec.Workflow)
	} else {
		t.printf("signals:  %s to %s\n", h.Spec.Signal, h.Spec.Run)
	}
	if h.Spec.If != "" {
		t.printf("if:       %s\n", h.Spec.If)
	}
	t.pausing(h.Pausing)
	t.printf("started:  %d, skipped %d, failed %d, not let in %d%s\n", h.Started, h.Skipped, h.Failed, h.Denied, because(h.Why))
	t.fires(h.Recent)
}

func showOutgoing(t *text, h api.OutgoingHook) {
	t.printf("hook:     %s\nurl:      %s\nsigned:   with %s\nkinds:    %s\n", h.Name, h.Spec.URL, h.Spec.Secret, strings.Join(h.Spec.Kinds, ", "))
	if len(h.Spec.Workflows) > 0 {
		t.printf("of:       %s\n", strings.Join(h.Spec.Workflows, ", "))
	}
	t.pausing(h.Pausing)
	t.printf("sent:     %d, up to event %d; %d events behind\n", h.Sent, h.Upto, h.Behind)
	switch {
	case h.Dead:
		t.printf("dead:     %s failed since %s%s\n", many(h.Attempts, "attempt"), moment(h.Delivery.Since), because(h.Delivery.Reason))
	case h.Attempts > 0:
		t.printf("failing:  %s since %s%s\n", many(h.Attempts, "attempt"), moment(h.Delivery.Since), because(h.Delivery.Reason))
	}
}
