package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wfd-dev/wfd/client"
	"github.com/wfd-dev/wfd/engine/agent/roster"
)

func (a *app) agent() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Show the agents and what they do",
	}
	cmd.AddCommand(a.agentLs(), a.agentShow())
	return cmd
}

func (a *app) agentLs() *cobra.Command {
	var role, cursor string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the agents and what they do",
		Long: `List the agents: those of the daemon, with what they do; without a daemon the
built-in ones and those of --agents.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(limit)}}
			for k, v := range map[string]string{"role": role, "cursor": cursor} {
				if v != "" {
					q.Set(k, v)
				}
			}
			raw, err := a.agents(cmd.Context(), client.Request{Path: "/v1/agents", Query: q})
			if err != nil {
				return err
			}
			return a.printList(raw, func(t *text) {
				var list client.List[roster.Status]
				if t.err = json.Unmarshal(raw, &list); t.err != nil {
					return
				}
				t.row("AGENT", "ROLE", "MODEL", "STATE", "TASKS", "DONE", "FAILED", "WHAT FOR")
				for i := range list.Items {
					s := &list.Items[i]
					t.row(s.ID, s.Role, modelOf(s), s.State, strconv.Itoa(s.Working+s.Queued), strconv.Itoa(s.Done), strconv.Itoa(s.Failed), s.Description)
				}
				if list.Next != "" {
					a.note("there are more: --cursor %s", list.Next)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "only agents with this role")
	f.IntVar(&limit, "limit", 200, "agents per page, up to 1000")
	f.StringVar(&cursor, "cursor", "", "continue after the page before")
	a.engine.register(cmd)
	return cmd
}

func (a *app) agentShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show an agent, its prompt, and what it does",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := a.agents(cmd.Context(), client.Request{Path: "/v1/agents/" + url.PathEscape(args[0])})
			if err != nil {
				return err
			}
			return a.print(raw, func(t *text) {
				var s roster.Status
				if t.err = json.Unmarshal(raw, &s); t.err == nil {
					showAgent(t, &s)
				}
			})
		},
	}
	a.engine.register(cmd)
	return cmd
}

func modelOf(s *roster.Status) string {
	if s.Model == "" {
		return s.Provider
	}
	return s.Provider + "/" + s.Model
}

func showAgent(t *text, s *roster.Status) {
	file := s.File
	switch {
	case s.Spawned:
		file = "made for the role"
	case file == "":
		file = "built in"
	}
	tools := slices.Clone(s.Tools)
	for _, o := range s.Own {
		tools = append(tools, o.Name)
	}
	for _, f := range [][2]string{
		{"agent", s.ID}, {"name", s.Name}, {"what for", s.Description}, {"role", s.Role}, {"model", modelOf(s)}, {"base URL", s.BaseURL},
		{"tools", strings.Join(tools, ", ")}, {"file", file}, {"hash", s.Hash[:min(12, len(s.Hash))]},
		{"state", fmt.Sprintf("%s: %d at work, %d queued, %d done, %d failed", s.State, s.Working, s.Queued, s.Done, s.Failed)},
	} {
		if f[1] != "" {
			t.row(f[0], f[1])
		}
	}
	t.flush()
	for _, w := range s.Tasks {
		t.printf("  %s  %s#%d attempt %d  %s since %s\n", w.Run, w.Node, w.Visit, w.Attempt, w.State, when(w.Since))
	}
	t.printf("\n%s\n", s.System)
}

// agents asks for agents: a daemon, or an engine in this process.
func (a *app) agents(ctx context.Context, r client.Request) (raw json.RawMessage, err error) {
	s, err := a.connect(ctx, writes)
	if err != nil {
		return nil, err
	}
	defer closeInto(s, &err)
	raw, _, err = s.Do(ctx, r)
	return raw, err
}
