package main

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/projection/event"
)

func (a *app) fork() *cobra.Command {
	var c changing
	var at, input, definition string
	var set, labels, breaks []string
	var pause bool
	cmd := &cobra.Command{
		Use:   "fork RUN",
		Short: "Start a run where another stood; what it had completed is not done again",
		Long: `Start a run where another stood at a position of its history: 412 (a seq), v12 (a
version) or node#2 (the end of a visit). The other run is not touched. Results up
to the position are reused; what was under way there is begun anew.`,
		Example: `  wfd fork 01M84KD0WN38M2V8JMNSE3D6WV --at review#1 --set score=0.9 --wait
  wfd fork 01M84KD0WN38M2V8JMNSE3D6WV --at v20 --definition ./review.yaml --input @other.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ctx := cmd.Context()
			body := positioned(map[string]any{"pause": pause}, "at", at)
			if in, err := a.value(input, "--input"); err != nil {
				return err
			} else if in != nil {
				if body["input"], err = event.ParseJSON(in); err != nil {
					return usagef("--input: %w", err)
				}
			}
			if len(breaks) > 0 {
				body["breakpoints"] = breaks
			}
			if body["set"], err = stateOf(set); err != nil {
				return err
			}
			if body["labels"], err = pairs("label", labels); err != nil {
				return err
			}
			var text []byte
			if isFile(definition) {
				if text, err = readDefinition(definition, false); err != nil {
					return err
				}
				if err = checkBreaks(definition, text, breaks); err != nil {
					return err
				}
			}
			s, err := a.connect(ctx, c.need())
			if err != nil {
				return err
			}
			defer closeInto(s, &err)
			switch {
			case text != nil:
				reg, _, err := a.apply(ctx, s, definition, text, false)
				if err != nil {
					return err
				}
				body["workflow"], body["version"] = reg.Name, reg.Version
			case definition != "":
				body["workflow"] = definition
			}
			raw, _, err := s.Do(ctx, client.Request{Path: "/v1/runs/" + url.PathEscape(args[0]) + "/fork", In: body, Key: c.key})
			if err != nil {
				return err
			}
			return a.finish(ctx, s, raw, &c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&at, "at", "", "the position; where the run stands if absent")
	f.StringVar(&input, "input", "", "another input: JSON, @file, or - for standard input")
	f.StringArrayVar(&set, "set", nil, "key=value of the state as the fork begins, the value as JSON or else as text; may be repeated")
	f.StringVar(&definition, "definition", "", "go on under this definition: NAME or FILE")
	f.StringArrayVar(&labels, "label", nil, "key=value, to find the fork by; may be repeated")
	breakFlag(f, &breaks)
	f.BoolVar(&pause, "pause", false, "begin paused, to be looked at first")
	c.register(cmd)
	a.engine.register(cmd)
	return cmd
}

// stateOf reads key=value pairs whose values are JSON, or else text.
func stateOf(set []string) (map[string]event.Value, error) {
	m := map[string]event.Value{}
	for _, s := range set {
		key, text, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, usagef("--set %q: want key=value", s)
		}
		v, err := event.ParseJSON([]byte(text))
		if err != nil {
			if json.Valid([]byte(text)) {
				return nil, usagef("--set %s: %w", key, err)
			}
			v = event.StringValue(text)
		}
		m[key] = v
	}
	return m, nil
}
