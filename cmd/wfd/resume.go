package main

import "github.com/spf13/cobra"

func (a *app) resume() *cobra.Command {
	var set, breaks []string
	var noBreak bool
	cmd := a.reasoned("resume", "Let a paused run go on", func(body map[string]any) error {
		values, err := stateOf(set)
		if err != nil {
			return err
		}
		if len(values) > 0 {
			body["set"] = values
		}
		switch {
		case noBreak && len(breaks) > 0:
			return usagef("--break and --no-break exclude each other")
		case noBreak:
			body["breakpoints"] = []string{}
		case len(breaks) > 0:
			body["breakpoints"] = breaks
		}
		return nil
	})
	cmd.Long = `Let a paused run go on. One that is paused at a breakpoint goes past it once and
stops at the next. --set changes the state before anything else is decided.`
	cmd.Example = `  wfd resume RUN --wait
  wfd resume RUN --set score=0.9 --set 'notes=["checked"]' --reason "the critic was too hard"
  wfd resume RUN --no-break`
	f := cmd.Flags()
	f.StringArrayVar(&set, "set", nil, "key=value of the state, the value as JSON or else as text; may be repeated")
	breakFlag(f, &breaks)
	f.Lookup("break").Usage += "; in place of those that the run has"
	f.BoolVar(&noBreak, "no-break", false, "stop at no breakpoint any more")
	return cmd
}
