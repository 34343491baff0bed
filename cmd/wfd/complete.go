package main

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
)

const (
	// completeTime is how long somebody waits who has pressed tab.
	completeTime = 300 * time.Millisecond
	// completed is how many of the newest runs are offered.
	completed = 50
)

// complete has a command complete what its usage line says that it takes: runs,
// workflows, agents, of the daemon if one answers.
func (a *app) complete(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.complete(sub)
	}
	if c.ValidArgsFunction != nil || len(c.ValidArgs) > 0 || c.RunE == nil {
		return
	}
	words := strings.Fields(c.Use)[1:]
	kind := func(i int) string {
		if i >= len(words) {
			return ""
		}
		switch w := strings.Trim(words[i], "[]."); {
		case w == "RUN", w == "A" && c.Name() == "diff", w == "B" && c.Name() == "diff":
			return "runs"
		case strings.HasPrefix(w, "NAME") && c.Parent() != nil && c.Parent().Name() == "agent":
			return "agents"
		case strings.HasPrefix(w, "NAME") && (c.Name() == "run" || c.Parent() != nil && c.Parent().Name() == "workflow"):
			return "workflows"
		}
		return ""
	}
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		what := kind(len(args))
		if what == "" {
			return nil, cobra.ShellCompDirectiveDefault
		}
		found := a.offered(cmd, what, word)
		if len(found) == 0 { // a file may be meant
			return nil, cobra.ShellCompDirectiveDefault
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// offered lists what a daemon has that begins with word. Whatever goes wrong, there is
// nothing to complete. The settings are complete: they are those of the command that
// asks.
func (a *app) offered(cmd *cobra.Command, what, word string) (found []string) {
	c, err := a.daemonAt()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	add := func(id string, about ...string) {
		if strings.HasPrefix(strings.ToLower(id), strings.ToLower(word)) {
			found = append(found, cobra.CompletionWithDesc(clean(id), line(strings.Join(about, " "), 60)))
		}
	}
	var list client.List[struct{ ID, Name, Workflow, Status, Role string }]
	if c.Get(ctx, client.Request{Path: "/v1/" + what, Query: url.Values{"limit": {strconv.Itoa(completed)}}}, &list) != nil {
		return nil
	}
	for _, x := range list.Items {
		switch what {
		case "runs":
			add(x.ID, x.Workflow, x.Status)
		case "agents":
			add(x.ID, x.Role)
		default:
			add(x.Name)
		}
	}
	return found
}
