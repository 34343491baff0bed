package main

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/cmd/wfd/internal/api"
	"github.com/wfd-dev/wfd/projection/event"
)

func (a *app) runCommand() *cobra.Command {
	var c changing
	var input, id, budget string
	var estimate bool
	var labels, breaks []string
	var version int
	cmd := &cobra.Command{
		Use:   "run NAME|FILE",
		Short: "Start a run of a workflow",
		Long: `Start a run of a registered workflow, or of a file, which is registered first.
FILE is what has a / or ends in .yaml, .yml or .json.`,
		Example: `  wfd run review.yaml --input '{"topic":"tides"}' --wait
  wfd run review --input @input.json --label team=red
  wfd run ./review.yaml --replies replies.yaml --wait -o json
  wfd run review.yaml --break node=review --break 'if=state.score < 0.5' --wait`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			v, err := a.value(input, "--input")
			if err != nil {
				return err
			}
			body := api.StartBody{ID: id, Version: version, Breakpoints: breaks}
			if v != nil {
				if body.Input, err = event.ParseJSON(v); err != nil {
					return usagef("--input: %w", err)
				}
			}
			if budget != "" {
				if body.Budget, err = event.ParseJSON([]byte(budget)); err != nil {
					return usagef("--budget: %w", err)
				}
			}
			if body.Labels, err = pairs("label", labels); err != nil {
				return err
			}
			var text []byte
			if isFile(args[0]) {
				if version != 0 {
					return usagef("--version is for the NAME of a registered workflow: %s becomes the newest version of its name", args[0])
				}
				if text, err = readDefinition(args[0], false); err != nil {
					return err
				}
				if err = checkBreaks(args[0], text, breaks); err != nil {
					return err
				}
			}
			s, err := a.connect(ctx, c.need())
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			name := args[0]
			if text != nil {
				reg, _, err := a.apply(ctx, s, args[0], text, false)
				if err != nil {
					return err
				}
				name, body.Version = reg.Name, reg.Version
			}
			if estimate {
				q := url.Values{"version": {strconv.Itoa(body.Version)}}
				raw, _, err := s.Do(ctx, client.Request{Path: "/v1/workflows/" + url.PathEscape(name) + "/estimate", Query: q})
				return firstOf(err, func() error { return a.showEstimate(raw) })
			}
			raw, _, err := s.Do(ctx, client.Request{Path: "/v1/workflows/" + url.PathEscape(name) + "/runs", In: startBody(body), Key: c.key})
			if err != nil {
				return err
			}
			return a.finish(ctx, s, raw, &c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&input, "input", "", "the run's input: JSON, @file, or - for standard input")
	f.StringVar(&id, "id", "", "the run's ID, a ULID; made if absent")
	f.StringArrayVar(&labels, "label", nil, "key=value, to find the run by; may be repeated")
	f.IntVar(&version, "version", 0, "version of the registered workflow; 0 is the newest")
	f.StringVar(&budget, "budget", "", `what the run may spend, instead of what its definition says: {"usd": 0.5, "tokens": 20000, "on_exceed": "fail"}`)
	f.BoolVar(&estimate, "estimate", false, "say what the run may cost, and start nothing")
	breakFlag(f, &breaks)
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}

// startBody leaves an absent input out: the value "none" is null in JSON.
func startBody(b api.StartBody) map[string]any {
	m := map[string]any{}
	if len(b.Input) > 0 {
		m["input"] = b.Input
	}
	if b.ID != "" {
		m["id"] = b.ID
	}
	if b.Version != 0 {
		m["version"] = b.Version
	}
	if len(b.Labels) > 0 {
		m["labels"] = b.Labels
	}
	if len(b.Budget) > 0 {
		m["budget"] = b.Budget
	}
	if len(b.Breakpoints) > 0 {
		m["breakpoints"] = b.Breakpoints
	}
	return m
}

// readDefinition reads a definition that has no errors: so nothing is opened, or
// made, for one that has.
func readDefinition(file string, template bool) ([]byte, error) {
	text, err := readFile(file)
	if err == nil {
		_, _, err = api.Compile(file, text, template)
	}
	return text, err
}

// apply registers a definition and notes what is worth knowing about it.
func (a *app) apply(ctx context.Context, s *session, file string, text []byte, template bool) (api.Applied, json.RawMessage, error) {
	q := url.Values{"file": {file}}
	if template {
		q.Set("from", "template")
	}
	var reg api.Applied
	raw, _, err := s.Do(ctx, client.Request{Path: "/v1/workflows", Query: q, In: text, Type: "application/yaml"})
	if err == nil {
		err = json.Unmarshal(raw, &reg)
	}
	for i := range reg.Warnings {
		a.note("%s", reg.Warnings[i].String())
	}
	return reg, raw, err
}

// closeInto closes s and keeps its error if there is no other.
func closeInto(s io.Closer, err *error) {
	if cerr := s.Close(); *err == nil && cerr != nil {
		*err = cerr
	}
}
