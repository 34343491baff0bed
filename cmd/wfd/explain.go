package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/cmd/wfd/internal/explain"
)

func (a *app) explain() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [WORD]",
		Short: "Explain a problem, an error class, a code or an exit code",
		Long: `Explain what an error means and what to do about it: the type of a problem, the class
of a failure, the code of what is wrong with a definition, or an exit code. Without a
word all of them are listed.`,
		Example: `  wfd explain urn:wfd:problem:stale
  wfd explain rate_limit
  wfd explain 'error[unknown-node]'
  wfd explain exit 4`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: explainable,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.printEntries(explain.All(), true)
			}
			word := strings.Join(args, " ")
			found := explain.Find(word)
			if len(found) == 0 {
				more := ""
				if near := explain.Near(word); len(near) > 0 {
					more = "; is it " + strings.Join(near, ", ") + "?"
				}
				return &coded{exitNotFound, fmt.Errorf("nothing is called %q%s\nhint: wfd explain lists everything", word, more)}
			}
			return a.printEntries(found, false)
		},
	}
}

// explainable completes words that can be explained.
func explainable(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var words []string
	for _, e := range explain.All() {
		if e.Kind != explain.Exit {
			words = append(words, e.Word)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) printEntries(entries []explain.Entry, brief bool) error {
	raw, err := json.Marshal(map[string]any{"items": entries})
	if err != nil {
		return err
	}
	return a.printList(raw, func(t *text) {
		if brief {
			t.row("KIND", "WORD", "CAUSE")
		}
		for _, e := range entries {
			if brief {
				t.row(string(e.Kind), e.Word, e.Cause)
				continue
			}
			t.printf("%s %s\n  %s\n  %s\n", string(e.Kind), e.Word, e.Cause, e.Remedy)
		}
	})
}
